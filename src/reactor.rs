//! The one place where this thread waits, by poll(2).
//!
//! Everything that takes time (connecting, reading and writing a socket, a name look-up, idling
//! until the next deadline) calls [`wait`] or [`rest`]. Both serve the drivers and take signals
//! meanwhile, so that no driver waits for a server. Long work without a wait calls [`yield_now`]
//! between its chunks. Two rules make that safe: no store transaction is open across a wait, and
//! nothing that is served inside a wait starts an exchange of its own. It calls [`wake_loop`]
//! instead, which ends the next [`rest`].
//!
//! When the program is asked to stop, each of the three fails with [`Stopping`].

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Something that is served whenever the thread waits.
pub trait Served {
    /// Adds the descriptors to watch, always in the same order for one round.
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>);
    /// Serves what is ready; `ready` stands in the order of [`Served::watch`].
    fn serve(&mut self, ready: &[PollFlags]);
    /// When it is to be served although nothing is ready.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The descriptor is ready; in a [`rest`], there is something to do.
    Ready,
    /// The deadline passed first.
    TimedOut,
    /// [`wake_loop`] was called, or a signal came, before the descriptor was ready.
    ByLoop,
    /// [`link_came`] was called before the descriptor was ready.
    ByLink,
}

/// The program was asked to stop (TERM, INT): what is being done is given up, and nothing is
/// wrong. It passes through readers and libraries as an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping;

impl Stopping {
    /// Whether an error is this one.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("punchd was asked to stop")
    }
}

impl Error for Stopping {}

impl From<Stopping> for io::Error {
    fn from(stopping: Stopping) -> Self {
        Self::other(stopping)
    }
}

#[derive(Default)]
struct Reactor {
    served: RefCell<Vec<Rc<RefCell<dyn Served>>>>,
    signals: RefCell<Option<Signals>>,
    /// There is something for the loop to do, so that the next rest ends at once.
    is_woken: Cell<bool>,
    /// How often a link or an address has come up.
    links: Cell<u32>,
}

/// The signals that are taken: a flag each, and a self-pipe that ends a poll(2).
struct Signals {
    self_pipe: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

thread_local! {
    static REACTOR: Reactor = Reactor::default();
}

/// From now on `source` is served in every wait of this thread.
pub fn serve(source: Rc<RefCell<dyn Served>>) {
    REACTOR.with(|reactor| reactor.served.borrow_mut().push(source));
}

/// Takes TERM, INT (stop) and HUP (reload) from now on, on this thread. A signal whose byte the
/// self-pipe has no room for is not waited for: signal-hook writes without blocking.
pub fn take_signals() -> io::Result<()> {
    let (self_pipe, writer) = UnixStream::pair()?;
    let signals = Signals { self_pipe, stop: Arc::default(), reload: Arc::default() };
    for (signal, flag) in
        [(SIGTERM, &signals.stop), (SIGINT, &signals.stop), (SIGHUP, &signals.reload)]
    {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    REACTOR.with(|reactor| *reactor.signals.borrow_mut() = Some(signals));
    Ok(())
}

/// Whether HUP came since the last call.
pub fn take_reload() -> bool {
    REACTOR.with(|reactor| {
        reactor
            .signals
            .borrow()
            .as_ref()
            .is_some_and(|signals| signals.reload.swap(false, Ordering::Relaxed))
    })
}

/// There is something for the loop to do: the next [`rest`] ends at once.
pub fn wake_loop() {
    REACTOR.with(|reactor| reactor.is_woken.set(true));
}

/// A link or an address of this machine has come up: what waits for the network may have waited in
/// vain ([`wait_on_link`]).
pub fn link_came() {
    REACTOR.with(|reactor| reactor.links.set(reactor.links.get().wrapping_add(1)));
}

/// How often [`link_came`] was called.
pub fn links_come() -> u32 {
    REACTOR.with(|reactor| reactor.links.get())
}

/// Waits until `fd` is ready for `interest`, at the latest until `deadline`.
///
/// # Errors
/// [`Stopping`], or poll(2) failed.
pub fn wait(fd: BorrowedFd<'_>, interest: PollFlags, deadline: Instant) -> io::Result<Woken> {
    REACTOR.with(|reactor| reactor.wait(fd, interest, deadline, Ends::default()))
}

/// Waits like [`wait`], and no longer than until there is something else for the loop to do: for an
/// exchange beside which others may go on.
///
/// # Errors
/// [`Stopping`], or poll(2) failed.
pub fn wait_unless_woken(
    fd: BorrowedFd<'_>,
    interest: PollFlags,
    deadline: Instant,
) -> io::Result<Woken> {
    let ends = Ends { when_woken: true, ..Ends::default() };
    REACTOR.with(|reactor| reactor.wait(fd, interest, deadline, ends))
}

/// Waits like [`wait`], and no longer than until a link or an address comes up: for what is repeated by
/// the kernel at growing intervals while the network is away.
///
/// # Errors
/// [`Stopping`], or poll(2) failed.
pub fn wait_on_link(
    fd: BorrowedFd<'_>,
    interest: PollFlags,
    deadline: Instant,
) -> io::Result<Woken> {
    let ends = Ends { when_link_came: true, ..Ends::default() };
    REACTOR.with(|reactor| reactor.wait(fd, interest, deadline, ends))
}

/// What ends a wait beside the descriptor and the deadline.
#[derive(Clone, Copy, Default)]
struct Ends {
    when_woken: bool,
    when_link_came: bool,
}

/// Serves what is ready, without waiting: for work that takes long and has no wait in it.
///
/// # Errors
/// [`Stopping`]: the work is to be given up.
pub fn yield_now() -> Result<(), Stopping> {
    REACTOR.with(|reactor| {
        // A poll(2) that fails is no reason to give up the work: the next wait fails, too.
        let _ = reactor.poll_once(None, Some(Duration::ZERO));
        reactor.check_stop()
    })
}

/// Idles until `deadline` (without one, for ever), or until there is something to do: a signal
/// came, or [`wake_loop`] was called.
///
/// # Errors
/// [`Stopping`], or poll(2) failed.
pub fn rest(deadline: Option<Instant>) -> io::Result<Woken> {
    REACTOR.with(|reactor| {
        loop {
            reactor.check_stop()?;
            if reactor.is_woken.take() {
                return Ok(Woken::Ready);
            }
            let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            reactor.poll_once(None, timeout)?;
            if timeout.is_some_and(|left| left.is_zero()) && !reactor.is_woken.get() {
                return Ok(Woken::TimedOut);
            }
        }
    })
}

impl Reactor {
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: PollFlags,
        deadline: Instant,
        ends: Ends,
    ) -> io::Result<Woken> {
        let links = self.links.get();
        loop {
            self.check_stop()?;
            let timeout = match ends.when_woken && self.is_woken.get() {
                true => Duration::ZERO,
                false => deadline.saturating_duration_since(Instant::now()),
            };
            if self.poll_once(Some(PollFd::from_borrowed_fd(fd, interest)), Some(timeout))? {
                return Ok(Woken::Ready);
            }
            if ends.when_woken && self.is_woken.take() {
                return Ok(Woken::ByLoop);
            }
            if ends.when_link_came && self.links.get() != links {
                return Ok(Woken::ByLink);
            }
            if timeout.is_zero() {
                return Ok(Woken::TimedOut);
            }
        }
    }

    fn check_stop(&self) -> Result<(), Stopping> {
        match &*self.signals.borrow() {
            Some(signals) if signals.stop.load(Ordering::Relaxed) => Err(Stopping),
            _ => Ok(()),
        }
    }

    /// One poll(2), and service for all that is ready. Whether `waited` is.
    fn poll_once(&self, waited: Option<PollFd<'_>>, timeout: Option<Duration>) -> io::Result<bool> {
        let served: Vec<_> = self.served.borrow().clone();
        let deadline = served.iter().filter_map(|source| source.borrow().deadline()).min();
        let until = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.into_iter().chain(until).min();
        let (is_ready, ready) = self.poll(&served, waited, timeout)?;
        if ready.signalled {
            self.drain_self_pipe();
        }
        let mut flags = ready.flags.as_slice();
        for (source, count) in served.iter().zip(ready.counts) {
            let (mine, others) = flags.split_at(count);
            flags = others;
            let is_late = || source.borrow().deadline().is_some_and(|at| at <= Instant::now());
            if mine.iter().any(|flag| !flag.is_empty()) || is_late() {
                source.borrow_mut().serve(mine);
            }
        }
        Ok(is_ready)
    }

    fn poll(
        &self,
        served: &[Rc<RefCell<dyn Served>>],
        waited: Option<PollFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<(bool, Ready)> {
        let signals = self.signals.borrow();
        let sources: Vec<_> = served.iter().map(|source| source.borrow()).collect();
        let mut fds = Vec::with_capacity(8);
        fds.extend(waited);
        let mine = fds.len();
        fds.extend(signals.as_ref().map(|signals| PollFd::new(&signals.self_pipe, PollFlags::IN)));
        let first = fds.len();
        let mut counts = Vec::with_capacity(sources.len());
        for source in &sources {
            let before = fds.len();
            source.watch(&mut fds);
            counts.push(fds.len() - before);
        }
        // A timeout too long for the clock is none.
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let fired = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let ready = Ready {
            signalled: fds[mine..first].iter().any(fired),
            flags: fds[first..].iter().map(PollFd::revents).collect(),
            counts,
        };
        Ok((fds[..mine].iter().any(fired), ready))
    }

    fn drain_self_pipe(&self) {
        if let Some(signals) = &*self.signals.borrow() {
            let _ = (&signals.self_pipe).read(&mut [0; 64]);
        }
        self.is_woken.set(true);
    }
}

struct Ready {
    signalled: bool,
    flags: Vec<PollFlags>,
    counts: Vec<usize>,
}
