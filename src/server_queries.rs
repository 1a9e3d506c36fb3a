//! ServerQueries: what drivers ask that only the server can answer, whether a person may pass
//! (§12.11.3), and who stands there (§14).
//!
//! Drivers are served inside waits, where no exchange may begin. So a question is put down
//! here, the loop takes it to the server between two exchanges, and the driver is answered
//! when the outcome is there or the time is over, whichever comes first. A late outcome
//! finds nobody who waits for it, and changes nothing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::protocol::record::{Pin, Punch};

/// Most server_queries at once.
pub const MOST: usize = 32;
/// Why nobody is asked.
pub const OFFLINE: &str = "there is no connection to the server";

/// What the owner decides about server_queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long a verification may take.
    pub verification: Duration,
    /// Whether a person may pass about whom the server said nothing.
    pub fallback: bool,
    /// How long it may take to fetch a person.
    pub remote: Duration,
    /// How long a fetched person stays.
    pub stay: Duration,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether this person may pass.
    Verify(Punch),
    /// Who this is.
    Remote(Pin),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server's word about a person.
    Allowed(bool),
    /// The person who was asked for is in the store.
    Here,
    /// The server knows nobody by this PIN.
    Nobody,
    /// Nothing; why, as text.
    Failed(String),
}

/// A question under way.
#[derive(Clone, Debug)]
pub struct ServerQuery {
    /// By which it is known.
    pub number: u64,
    /// What is asked.
    pub question: Question,
    /// When its time is over, on the monotonic clock.
    pub until: Duration,
}

/// All server_queries.
#[derive(Debug, Default)]
pub struct ServerQueries {
    rules: Cell<Rules>,
    last: Cell<u64>,
    open: RefCell<Vec<(ServerQuery, Option<Outcome>)>>,
}

impl ServerQueries {
    /// The owner's decisions.
    pub fn rules(&self) -> Rules {
        self.rules.get()
    }

    /// The owner decided anew.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.set(rules);
    }

    /// Puts a question down. Its number; none while [`MOST`] are open.
    pub fn ask(&self, question: Question, now: Duration) -> Option<u64> {
        let mut open = self.open.borrow_mut();
        if open.len() >= MOST {
            return None;
        }
        let limit = match question {
            Question::Verify(_) => self.rules().verification,
            Question::Remote(_) => self.rules().remote,
        };
        let number = self.last.get() + 1;
        self.last.set(number);
        open.push((ServerQuery { number, question, until: now + limit }, None));
        Some(number)
    }

    /// The oldest that has no outcome yet, and time left.
    pub fn next(&self, now: Duration) -> Option<ServerQuery> {
        let open = self.open.borrow();
        let is_next = |(server_query, outcome): &&(ServerQuery, Option<Outcome>)| {
            outcome.is_none() && server_query.until > now
        };
        open.iter().find(is_next).map(|(server_query, _)| server_query.clone())
    }

    /// Whether somebody still waits for this one.
    pub fn is_open(&self, number: u64, now: Duration) -> bool {
        let open = self.open.borrow();
        open.iter()
            .any(|(server_query, _)| server_query.number == number && server_query.until > now)
    }

    /// This came of it.
    pub fn end(&self, number: u64, outcome: Outcome) {
        for (server_query, place) in self.open.borrow_mut().iter_mut() {
            if server_query.number == number {
                *place = Some(outcome);
                return;
            }
        }
    }

    /// None of them can be run.
    pub fn fail_all(&self, message: &str) {
        for (_, outcome) in self.open.borrow_mut().iter_mut() {
            outcome.get_or_insert_with(|| Outcome::Failed(message.to_owned()));
        }
    }

    /// Takes the outcome away, if there is one or the time is over.
    pub fn take(&self, number: u64, now: Duration) -> Option<Outcome> {
        let mut open = self.open.borrow_mut();
        let place = open.iter().position(|(server_query, _)| server_query.number == number)?;
        if open[place].1.is_none() && open[place].0.until > now {
            return None;
        }
        let late = || Outcome::Failed("the server did not answer in time".into());
        Some(open.remove(place).1.unwrap_or_else(late))
    }

    /// Nobody waits for it any longer.
    pub fn forget(&self, number: u64) {
        self.open.borrow_mut().retain(|(server_query, _)| server_query.number != number);
    }

    /// When the next outcome is to be taken; zero if one is there.
    pub fn due(&self) -> Option<Duration> {
        let due = |(server_query, outcome): &(ServerQuery, Option<Outcome>)| match outcome {
            Some(_) => Duration::ZERO,
            None => server_query.until,
        };
        self.open.borrow().iter().map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn server_queries() -> ServerQueries {
        let server_queries = ServerQueries::default();
        server_queries.set_rules(Rules { remote: 3 * SECOND, ..Rules::default() });
        server_queries
    }

    fn who() -> Question {
        Question::Remote(Pin::new("1001").unwrap())
    }

    #[test]
    fn an_outcome_counts_only_within_its_time() {
        let server_queries = server_queries();
        let first = server_queries.ask(who(), SECOND).unwrap();
        let second = server_queries.ask(who(), 2 * SECOND).unwrap();
        assert_eq!(server_queries.next(SECOND).unwrap().number, first);
        assert_eq!(
            (server_queries.take(first, SECOND), server_queries.due()),
            (None, Some(4 * SECOND))
        );
        server_queries.end(first, Outcome::Nobody);
        assert_eq!(
            (server_queries.next(SECOND).unwrap().number, server_queries.due()),
            (second, Some(Duration::ZERO))
        );
        assert_eq!(server_queries.take(first, 9 * SECOND), Some(Outcome::Nobody));
        assert!(
            server_queries.is_open(second, 4 * SECOND)
                && !server_queries.is_open(second, 5 * SECOND)
        );
        assert!(server_queries.next(5 * SECOND).is_none());
        assert!(matches!(server_queries.take(second, 5 * SECOND), Some(Outcome::Failed(_))));
        server_queries.end(second, Outcome::Here);
        assert_eq!((server_queries.take(second, 5 * SECOND), server_queries.due()), (None, None));
    }

    #[test]
    fn there_is_an_end_to_how_many_wait() {
        let server_queries = server_queries();
        let numbers: Vec<u64> =
            (0..MOST).map(|_| server_queries.ask(who(), SECOND).unwrap()).collect();
        assert_eq!(server_queries.ask(who(), SECOND), None);
        server_queries.forget(numbers[0]);
        assert!(server_queries.ask(who(), SECOND).is_some());
        server_queries.fail_all("offline");
        assert!(server_queries.next(SECOND).is_none());
    }
}
