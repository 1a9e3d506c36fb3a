//! Name look-up without deafness. libc cannot do it without blocking, so it runs on one
//! long-lived helper thread and is waited for like a socket.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use super::explain::Stopping;
use crate::reactor::{self, Woken};

/// How long a look-up may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Looks names up on a helper thread, which begins with the first name that is no address.
#[derive(Default)]
pub(super) struct PatientResolver {
    helper: Mutex<Option<Helper>>,
}

impl Resolver for PatientResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let port =
            uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = match bare.parse() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.look_up(bare, port)?,
        };
        let mut addresses = self.empty();
        for address in found.into_iter().take(MOST_ADDRESSES) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

impl PatientResolver {
    fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        let helper = match &mut *helper {
            Some(helper) => helper,
            none => none.insert(Helper::start()?),
        };
        helper.ask(host, port)
    }
}

impl fmt::Debug for PatientResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientResolver")
    }
}

/// The helper thread, seen from outside. It ends when this is dropped.
struct Helper {
    questions: Sender<(u64, String, u16)>,
    answers: Receiver<(u64, std::io::Result<Vec<SocketAddr>>)>,
    bell: UnixStream,
    asked: u64,
}

impl Helper {
    fn start() -> std::io::Result<Self> {
        let (questions, asked) = channel::<(u64, String, u16)>();
        let (tell, answers) = channel();
        let (bell, mut ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        std::thread::Builder::new().name("look-up".into()).stack_size(256 << 10).spawn(
            move || {
                for (ticket, host, port) in asked {
                    let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
                    if tell.send((ticket, found)).is_err() || ring.write_all(&[0]).is_err() {
                        break;
                    }
                }
            },
        )?;
        Ok(Self { questions, answers, bell, asked: 0 })
    }

    /// Asks, and waits in the reactor. An answer to an earlier question, for which nobody
    /// waits any more, is thrown away.
    fn ask(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        self.asked += 1;
        if self.questions.send((self.asked, host.to_owned(), port)).is_err() {
            return Err(Error::HostNotFound);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match reactor::wait(self.bell.as_fd(), PollFlags::IN, deadline)? {
                Woken::TimedOut => return Err(Error::Timeout(Timeout::Resolve)),
                Woken::Stopping => return Err(std::io::Error::other(Stopping).into()),
                Woken::Ready => {}
            }
            let _ = (&self.bell).read(&mut [0; 16]);
            while let Ok((ticket, found)) = self.answers.try_recv() {
                if ticket == self.asked {
                    return found.map_err(|error| {
                        log::debug!("looking up {host}: {error}");
                        Error::HostNotFound
                    });
                }
            }
        }
    }
}
