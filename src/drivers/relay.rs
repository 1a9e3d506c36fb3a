//! `punchd relay`: opens the door by a relay on a line, and ends an alarm by another.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::line::Line;
use super::link::{Event, Link};
use super::{Stop, settings, take_signals};
use crate::reactor::Served;
use crate::rpc::{DriverMethod, ErrorCode, Request, RpcError};

/// The pause before a door that could not be locked is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Runs until TERM or INT. The lines are inactive from its start, and after its end.
///
/// # Errors
/// A line cannot be opened; the system refused something.
pub(crate) fn run(socket: &Path, settings: &settings::Relay) -> Result<(), Stop> {
    take_signals()?;
    let open = |spec| Line::open(spec, settings.active_low).map_err(Stop::System);
    let door = open(&settings.door)?;
    let alarm = settings.alarm.as_ref().map(open).transpose()?;
    let provides: &[_] = if alarm.is_some() { &["unlock", "unalarm"] } else { &["unlock"] };
    let link = Link::new(socket, "relay", provides);
    log::info!("{}: the door's line is ready, inactive", settings.door);
    let relay = Relay {
        link,
        door,
        alarm,
        pulse: settings.pulse,
        locks_at: None,
        is_failure_logged: false,
    };
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
    locks_at: Option<Instant>,
    /// Whether the log has that it could not be made inactive.
    is_failure_logged: bool,
}

impl Relay {
    fn on_event(&mut self, event: Event, now: Instant) {
        let Event::Requested(Request { id, method, .. }) = event else { return };
        let result = match (DriverMethod::from_name(&method), &self.alarm) {
            (Some(DriverMethod::Unlock), _) => self.unlock(now).map_err(line_failed),
            (Some(DriverMethod::Unalarm), Some(alarm)) => end_alarm(alarm).map_err(line_failed),
            _ => {
                let message = format!("this relay has no line for {method}");
                Err(RpcError::new(ErrorCode::MethodNotFound, message))
            }
        };
        if let Err(error) = &result
            && error.code == ErrorCode::LineFailed
        {
            log::error!("{method} failed: {error}");
        }
        if let Some(id) = id {
            self.link.answer(&id, result.map(|()| true.into()));
        }
    }

    /// Unlocks the door for a pulse, from now on if it is unlocked already.
    fn unlock(&mut self, now: Instant) -> Result<(), String> {
        self.door.set(true)?;
        self.locks_at = Some(now + self.pulse);
        log::info!("door unlocked for {} ms", self.pulse.as_millis());
        Ok(())
    }

    /// Locks the door when its time is over. A failure is tried again until it locks.
    fn lock_if_due(&mut self, now: Instant) {
        if self.locks_at.is_none_or(|at| now < at) {
            return;
        }
        match self.door.set(false) {
            Ok(()) => (self.locks_at, self.is_failure_logged) = (None, false),
            Err(message) => {
                self.locks_at = Some(now + RETRY_PAUSE);
                if !std::mem::replace(&mut self.is_failure_logged, true) {
                    log::error!("THE DOOR STAYS UNLOCKED, tried again until it locks: {message}");
                }
            }
        }
    }

    /// Makes the lines inactive before the process ends.
    fn release(&self) {
        for line in std::iter::once(&self.door).chain(&self.alarm) {
            if let Err(message) = line.set(false) {
                log::error!("a line could not be made inactive: {message}");
            }
        }
    }
}

fn end_alarm(alarm: &Line) -> Result<(), String> {
    alarm.set(false)?;
    log::info!("alarm ended");
    Ok(())
}

fn line_failed(message: String) -> RpcError {
    RpcError::new(ErrorCode::LineFailed, message)
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
        self.lock_if_due(now);
        for event in self.link.serve(is_ready, now) {
            self.on_event(event, now);
        }
        // Without punchd, the door still locks when its time is over.
        let _ = self.link.flush(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.link.deadline().into_iter().chain(self.locks_at).min()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::line::Spec;
    use super::*;

    #[test]
    fn a_door_that_does_not_lock_is_tried_again_each_half_second() {
        const PULSE: Duration = Duration::from_secs(3);
        let dir = std::env::temp_dir().join(format!("punchd-relay-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("door");
        let mut relay = Relay {
            link: Link::new(&dir.join("driver.sock"), "relay", &["unlock"]),
            door: Line::open(&Spec::File(path.clone()), false).unwrap(),
            alarm: None,
            pulse: PULSE,
            locks_at: None,
            is_failure_logged: false,
        };
        let state = || fs::read_to_string(&path).unwrap();
        let (unlocked, instant) = (Instant::now(), Duration::from_nanos(1));
        relay.unlock(unlocked).unwrap();
        relay.lock_if_due(unlocked + PULSE - instant);
        assert_eq!((state().as_str(), relay.locks_at), ("1\n", Some(unlocked + PULSE)));
        // The line breaks.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let mut due = unlocked + PULSE;
        for _ in 0..3 {
            relay.lock_if_due(due);
            due += Duration::from_millis(500);
            assert_eq!((relay.locks_at, relay.is_failure_logged), (Some(due), true));
        }
        assert!(relay.deadline().is_some_and(|at| at <= due));
        // It works again.
        fs::remove_dir(&path).unwrap();
        relay.lock_if_due(due - instant);
        assert_eq!(relay.locks_at, Some(due));
        relay.lock_if_due(due);
        assert_eq!((state().as_str(), relay.locks_at), ("0\n", None));
        assert!(!relay.is_failure_logged);
        fs::remove_dir_all(&dir).unwrap();
    }
}
