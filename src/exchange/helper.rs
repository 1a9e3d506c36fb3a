//! What takes long, the making of keys and decryption with them, on a thread of its own at the lowest priority.
//! The loop waits for it in the reactor, so that drivers are served.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::process::setpriority_process;

use crate::reactor::{self, Woken};

/// The lowest priority (`nice`).
const LOWEST: i32 = 19;
const STACK: usize = 256 << 10;

/// A piece of work on a thread.
pub(super) struct Helper<T> {
    thread: JoinHandle<T>,
    /// Readable when the work is done.
    end: UnixStream,
}

impl<T: Send + 'static> Helper<T> {
    pub(super) fn begin(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (end, at_end) = UnixStream::pair()?;
        let run = move || {
            // Of this thread alone. Where it fails, the kernel shares the time among both.
            let _ = setpriority_process(None, LOWEST);
            let result = work();
            drop(at_end);
            result
        };
        let thread =
            std::thread::Builder::new().name("keys".into()).stack_size(STACK).spawn(run)?;
        Ok(Self { thread, end })
    }

    /// Waits for the result, at the latest until `deadline`; what is not done then goes on.
    pub(super) fn wait(self, deadline: Instant) -> io::Result<Result<T, Self>> {
        if reactor::wait(self.end.as_fd(), PollFlags::IN, deadline)? == Woken::TimedOut {
            return Ok(Err(self));
        }
        let ended = || io::Error::other("the thread that makes keys has ended");
        self.thread.join().map(Ok).map_err(|_| ended())
    }
}
