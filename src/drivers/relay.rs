//! `punchd relay`: opens the door by a relay on a line, and ends an alarm by another.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::line::Line;
use super::link::{Heard, Link};
use super::{Stop, begin, settings};
use crate::driver_socket;
use crate::reactor::Served;

/// How soon the end of a pulse that failed is tried again: a door stands open.
const PAUSE: Duration = Duration::from_millis(500);
/// The error code of a line that cannot be set.
const BROKEN: i64 = -32000;

/// Runs until TERM or INT. The lines are inactive from its start, and after its end.
///
/// # Errors
/// A line cannot be had; the system refuses something.
pub fn run(run_dir: &Path, settings: &settings::Relay) -> Result<(), Stop> {
    begin()?;
    let open = |spec| Line::open(spec, settings.active_low).map_err(Stop::System);
    let door = open(&settings.door)?;
    let alarm = settings.alarm.as_ref().map(open).transpose()?;
    let provides: &[_] = if alarm.is_some() { &["unlock", "unalarm"] } else { &["unlock"] };
    let link = Link::new(driver_socket::socket_path(run_dir), "relay", provides);
    log::info!("{}: the door's line is here, inactive", settings.door);
    let relay = Relay { link, door, alarm, pulse: settings.pulse, until: None, told: false };
    let relay = Rc::new(RefCell::new(relay));
    let done = super::run(Rc::clone(&relay) as Rc<RefCell<dyn Served>>, &Cell::new(false));
    relay.borrow().release();
    done
}

struct Relay {
    link: Link,
    door: Line,
    alarm: Option<Line>,
    pulse: Duration,
    /// When the door's line is to become inactive.
    until: Option<Instant>,
    /// It was said that it cannot be.
    told: bool,
}

impl Relay {
    fn hear(&mut self, heard: Heard, now: Instant) {
        let Heard::Asked { id, method, .. } = heard else { return };
        let done = match (method.as_str(), &self.alarm) {
            ("unlock", _) => self.unlock(now),
            ("unalarm", Some(alarm)) => alarm.set(false).inspect(|()| log::info!("alarm ended")),
            _ => {
                if let Some(id) = id {
                    self.link.refuse(&id, -32601, &format!("this relay has nothing to {method}"));
                }
                return;
            }
        };
        if let Err(message) = &done {
            log::error!("{method}: {message}");
        }
        match (id, done) {
            (Some(id), Ok(())) => self.link.answer(&id, &true.into()),
            (Some(id), Err(message)) => self.link.refuse(&id, BROKEN, &message),
            (None, _) => {}
        }
    }

    /// Once more while it is unlocked: the time begins anew.
    fn unlock(&mut self, now: Instant) -> Result<(), String> {
        self.door.set(true)?;
        self.until = Some(now + self.pulse);
        log::info!("door unlocked for {} ms", self.pulse.as_millis());
        Ok(())
    }

    /// Locks the door when its time is over, however often that takes.
    fn look_after(&mut self, now: Instant) {
        if self.until.is_none_or(|until| now < until) {
            return;
        }
        match self.door.set(false) {
            Ok(()) => (self.until, self.told) = (None, false),
            Err(message) => {
                self.until = Some(now + PAUSE);
                if !std::mem::replace(&mut self.told, true) {
                    log::error!("THE DOOR STAYS UNLOCKED, tried again until it locks: {message}");
                }
            }
        }
    }

    /// Before the lines are given up.
    fn release(&self) {
        for line in std::iter::once(&self.door).chain(&self.alarm) {
            if let Err(message) = line.set(false) {
                log::error!("a line could not be made inactive: {message}");
            }
        }
    }
}

impl Served for Relay {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if let Some((fd, interest)) = self.link.watched() {
            fds.push(PollFd::from_borrowed_fd(fd, interest));
        }
    }

    fn serve(&mut self, ready: &[PollFlags]) {
        let now = Instant::now();
        let is_ready = ready.first().is_some_and(|flags| !flags.is_empty());
        self.look_after(now);
        for heard in self.link.serve(is_ready, now) {
            self.hear(heard, now);
        }
        // What goes on between the daemon and us is none of the door's business.
        let _ = self.link.flush(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.link.due().into_iter().chain(self.until).min()
    }
}
