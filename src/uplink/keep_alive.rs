//! Which connections are kept and used again.
//!
//! A connection is kept if the answer allows it (its end is known, and the server does not close). Three
//! failures of kept connections within a day, or no answer to the first request that was sent on one,
//! and the place gets one connection a request for a day; so does one that sends bytes behind its answers,
//! since those could become the answer to the next request. Between the terminal and the server, devices
//! forget connections that are idle: the longest idle time that a connection survived is learned, and
//! after a failure none that was idle for longer is used.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::connection::{Connection, Place, Quiet};

/// How long a place is remembered as one that does not keep connections.
const A_DAY: Duration = Duration::from_secs(24 * 3600);
/// Failures within [`A_DAY`] after which connections are not kept.
const MOST_FAILURES: usize = 3;
/// Idle connections to one place: the usual one, and that beside a held poll.
const MOST_IDLE: usize = 2;
/// Places that are remembered: the server, and a few other servers of files.
const MOST_PLACES: usize = 4;
/// After so many of the first answers it is looked for bytes behind them, for so long each.
const PROBATION: u8 = 3;
const LOOK: Duration = Duration::from_millis(30);
/// How long a connection may be idle in any case, although a longer time was not survived.
const SHORT_IDLE: Duration = Duration::from_secs(2);

/// The idle connections, and what is known of the places they lead to.
#[derive(Default)]
pub(super) struct KeptConnections {
    idle: Vec<(Connection, Instant)>,
    places: VecDeque<(Place, History)>,
}

impl KeptConnections {
    /// A connection to a place that was idle and is still open, and for how long it was idle.
    pub(super) fn take(&mut self, place: &Place, now: Instant) -> Option<(Connection, Duration)> {
        // The one that was used last: the others may be forgotten.
        while let Some(nth) = self.idle.iter().rposition(|(kept, _)| kept.place == *place) {
            let (mut connection, since) = self.idle.remove(nth);
            let idle = now.saturating_duration_since(since);
            if !self.history(place).may_be_used(idle, now) {
                continue;
            }
            match connection.quiet() {
                Quiet::Yes => return Some((connection, idle)),
                Quiet::Closed => {}
                Quiet::Excess => self.history(place).had_excess(now),
            }
        }
        None
    }

    /// Keeps a connection whose last answer allows that.
    pub(super) fn put(&mut self, connection: Connection, now: Instant) {
        if !self.history(&connection.place).keeps(now) {
            return;
        }
        let alike = |(kept, _): &(Connection, Instant)| kept.place == connection.place;
        if self.idle.iter().filter(|kept| alike(kept)).count() >= MOST_IDLE
            && let Some(oldest) = self.idle.iter().position(alike)
        {
            self.idle.remove(oldest);
        }
        if self.idle.len() >= MOST_PLACES {
            self.idle.remove(0);
        }
        self.idle.push((connection, now));
    }

    /// What is known of a place.
    pub(super) fn history(&mut self, place: &Place) -> &mut History {
        let nth = match self.places.iter().position(|(known, _)| known == place) {
            Some(nth) => nth,
            None => {
                if self.places.len() >= MOST_PLACES {
                    self.places.pop_front();
                }
                self.places.push_back((place.clone(), History::default()));
                self.places.len() - 1
            }
        };
        &mut self.places[nth].1
    }
}

/// What is known of the connections to one place.
#[derive(Debug, Default)]
pub(super) struct History {
    /// A second request on a connection was answered.
    is_proven: bool,
    /// Answers that nothing followed.
    calm_answers: u8,
    /// The longest idle time after which a request was answered.
    survived: Duration,
    /// No connection is used that was idle for longer, until then.
    idle_limit: Option<(Duration, Instant)>,
    /// The last failures of connections that were used again.
    failures: VecDeque<Instant>,
    /// Until then each request gets a connection of its own.
    one_each_until: Option<Instant>,
}

impl History {
    /// Whether connections are kept.
    fn keeps(&self, now: Instant) -> bool {
        self.one_each_until.is_none_or(|until| until <= now)
    }

    /// Whether a connection that was idle for so long may be used again.
    fn may_be_used(&self, idle: Duration, now: Instant) -> bool {
        let limit = self.idle_limit.filter(|(_, until)| *until > now);
        self.keeps(now) && limit.is_none_or(|(longest, _)| idle <= longest)
    }

    /// Whether it is not known yet if the server answers a second request on a connection.
    pub(super) fn is_unproven(&self) -> bool {
        !self.is_proven
    }

    /// A request was answered on a connection that had been idle for so long.
    pub(super) fn answered(&mut self, idle: Duration) {
        self.is_proven = true;
        self.survived = self.survived.max(idle);
    }

    /// How long to look for bytes after an answer before it counts: a server that answers twice is found
    /// out by its first answers.
    pub(super) fn look(&self) -> Duration {
        if self.calm_answers < PROBATION { LOOK } else { Duration::ZERO }
    }

    /// Nothing followed an answer.
    pub(super) fn was_calm(&mut self) {
        self.calm_answers = self.calm_answers.saturating_add(1);
    }

    /// Bytes came that belong to no answer: the next could become the answer to a request that it does
    /// not belong to.
    pub(super) fn had_excess(&mut self, now: Instant) {
        if self.keeps(now) {
            log::info!(
                "the server sends bytes behind its answers: for a day each request gets a connection \
                 of its own"
            );
        }
        self.calm_answers = 0;
        self.one_each_until = Some(now + A_DAY);
    }

    /// A request on a connection that had been idle for so long got no byte of an answer.
    /// Returns what is worth a line in the log.
    pub(super) fn failed(&mut self, how: NoAnswer, idle: Duration, now: Instant) -> Option<String> {
        if idle > self.survived.max(SHORT_IDLE) {
            self.idle_limit = Some((self.survived.max(SHORT_IDLE), now + A_DAY));
        }
        self.failures.retain(|at| now.saturating_duration_since(*at) < A_DAY);
        self.failures.push_back(now);
        let is_silent = how == NoAnswer::Silent && !self.is_proven;
        if !is_silent && self.failures.len() < MOST_FAILURES {
            return None;
        }
        self.failures.clear();
        self.one_each_until = Some(now + A_DAY);
        let why = match is_silent {
            true => "a second request on a connection was not answered",
            false => "three connections that were kept failed within a day",
        };
        Some(format!("{why}: for a day each request gets a connection of its own"))
    }
}

/// How a request on a kept connection got no byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The connection was closed or reset.
    Closed,
    /// Nothing came in time.
    Silent,
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn two_connections_to_a_place_and_four_in_all_are_kept_the_newest() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The peers stay open.
        let mut peers = Vec::new();
        let mut kept = KeptConnections::default();
        let now = Instant::now();
        let place = |host: u32| Place { https: false, host: host.to_string(), port: 80 };
        let mut put = |kept: &mut KeptConnections, host: u32, at: Instant| {
            let socket = TcpStream::connect(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            peers.push(listener.accept().unwrap());
            kept.put(Connection::new(place(host), address, socket), at);
        };
        let count = |kept: &mut KeptConnections, host: u32| {
            let taken = std::iter::from_fn(|| kept.take(&place(host), now + MINUTE));
            taken.map(|(_, idle)| (MINUTE - idle).as_secs()).collect::<Vec<_>>()
        };
        for seconds in 0..3 {
            put(&mut kept, 1, now + Duration::from_secs(seconds));
        }
        assert_eq!(count(&mut kept, 1), [2, 1], "the one that was used last goes first");
        for host in 1..=5 {
            put(&mut kept, host, now);
        }
        assert!(count(&mut kept, 1).is_empty(), "the oldest of five places is closed");
        (2..=5).for_each(|host| assert_eq!(count(&mut kept, host), [0]));
    }

    #[test]
    fn a_place_whose_kept_connections_fail_three_times_gets_one_each_for_a_day() {
        let (mut history, start) = (History::default(), Instant::now());
        history.answered(MINUTE);
        assert_eq!(history.failed(NoAnswer::Closed, MINUTE, start), None);
        // A day later the first failure counts no more.
        assert_eq!(history.failed(NoAnswer::Closed, MINUTE, start + A_DAY), None);
        assert_eq!(history.failed(NoAnswer::Silent, MINUTE, start + A_DAY + MINUTE), None);
        assert!(history.keeps(start + A_DAY + MINUTE));
        let third = start + A_DAY + 2 * MINUTE;
        assert!(history.failed(NoAnswer::Closed, MINUTE, third).is_some());
        assert!(!history.keeps(third) && !history.may_be_used(Duration::ZERO, third));
        assert!(history.keeps(third + A_DAY));
    }

    #[test]
    fn a_place_that_sends_more_than_answers_gets_one_connection_each() {
        let (mut history, now) = (History::default(), Instant::now());
        let looks = |history: &History| !history.look().is_zero();
        for _ in 0..3 {
            assert!(looks(&history));
            history.was_calm();
        }
        assert!(!looks(&history) && history.keeps(now));
        history.had_excess(now);
        assert!(looks(&history) && !history.keeps(now) && history.keeps(now + A_DAY));
    }

    #[test]
    fn a_place_that_does_not_answer_a_second_request_gets_one_connection_each() {
        let (mut history, now) = (History::default(), Instant::now());
        assert!(history.is_unproven() && history.keeps(now));
        assert!(history.failed(NoAnswer::Silent, Duration::ZERO, now).is_some());
        assert!(!history.keeps(now));
    }

    #[test]
    fn after_a_failure_no_connection_is_used_that_was_idle_for_longer_than_one_survived() {
        let (mut history, now) = (History::default(), Instant::now());
        let may =
            |history: &History, seconds| history.may_be_used(Duration::from_secs(seconds), now);
        history.answered(Duration::from_secs(20));
        assert!(may(&history, 300));
        history.failed(NoAnswer::Closed, MINUTE, now);
        assert!(may(&history, 20) && !may(&history, 21));
        // Within the time that is survived, a failure is no matter of time.
        history.failed(NoAnswer::Closed, Duration::from_secs(10), now + A_DAY);
        assert!(history.may_be_used(MINUTE, now + 2 * A_DAY));
    }
}
