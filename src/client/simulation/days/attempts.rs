//! When the terminal asked its server: every wait has an end, and none is without one. Rule 9 of
//! docs/promises.md.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::{Character, HOUR, Kind, SECOND};

/// `ErrorDelay` counts as so many seconds at least, once a failure has lasted.
const LASTING_PAUSE: u32 = 30;

/// The requests of a terminal.
#[derive(Default)]
pub(super) struct Attempts {
    last: Duration,
    /// The hour that is counted, and the requests in it.
    hour: Duration,
    in_hour: u64,
    /// Things that happened in the hour, of which each costs requests.
    work: u64,
    pub(super) all: u64,
    pub(super) most_in_hour: u64,
    /// The server asked for a pause until then.
    later: Duration,
    /// Requests of these kinds do not come before then: `Retry-After`.
    refused: BTreeMap<Kind, Duration>,
}

impl Attempts {
    /// The terminal has come up.
    pub(super) fn start(&mut self, now: Duration) {
        self.last = now;
        self.refused.clear();
    }

    /// The server asked for a pause of requests of a kind.
    pub(super) fn refused(&mut self, kind: Kind, until: Duration) {
        // Of the other kinds, different activities send some.
        if [Kind::Handshake, Kind::Poll, Kind::Punches].contains(&kind) {
            self.refused.insert(kind, until);
        }
    }

    /// A command asked for what waits, whatever the pause.
    pub(super) fn release(&mut self) {
        self.refused.clear();
    }

    /// A request came to its end.
    pub(super) fn ended(&mut self, now: Duration) {
        self.last = now;
    }

    pub(super) fn ask_later(&mut self, until: Duration) {
        self.later = self.later.max(until);
    }

    /// Something that costs requests.
    pub(super) fn add_work(&mut self, count: u64) {
        self.work += count;
    }

    /// The longest time in which a terminal that runs asks nothing.
    fn longest(server: &Character) -> Duration {
        let error = SECOND * server.error_delay.max(LASTING_PAUSE) * 5 / 4;
        error.max(SECOND * server.delay) + SECOND * 20
    }

    /// Whether the terminal has been silent for too long.
    pub(super) fn check_silence(&self, server: &Character, now: Duration) -> Result<(), String> {
        let since = self.last.max(self.later);
        if now > since + Self::longest(server) {
            let silent = now - self.last;
            return Err(format!("no request for {silent:?}, Delay {}", server.delay));
        }
        Ok(())
    }

    /// A request leaves.
    pub(super) fn attempt(
        &mut self,
        server: &Character,
        kind: Kind,
        now: Duration,
    ) -> Result<(), String> {
        self.check_silence(server, now)?;
        if let Some(until) = self.refused.remove(&kind).filter(|until| now < *until) {
            return Err(format!("{kind:?} at {now:?}: the server asked for a pause to {until:?}"));
        }
        self.last = now;
        self.all += 1;
        if now >= self.hour + HOUR {
            (self.hour, self.in_hour) = (now, 0);
            self.work /= 4;
        }
        self.in_hour += 1;
        self.most_in_hour = self.most_in_hour.max(self.in_hour);
        // Where nothing tells the end of an answer, one that is cut may have lost the last digit of `Delay`.
        let delay = if server.is_unframed { server.delay / 10 } else { server.delay };
        let regular = 3600 / u64::from(delay.min(server.error_delay).max(1));
        let most = 3 * regular + 12 * self.work + 100;
        if self.in_hour > most {
            return Err(format!("{} requests within an hour, {most} are enough", self.in_hour));
        }
        Ok(())
    }
}
