//! Server queries: what drivers ask that only the server can answer, whether a person may pass
//! (§12.11.3), and who stands there (§14).
//!
//! Drivers are served inside waits, where no exchange may begin. So the driver socket adds a
//! question here, the loop asks the server between two exchanges, and the driver is answered
//! when the outcome is there or the time is over, whichever comes first. A late outcome changes
//! nothing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::protocol::record::{Pin, Punch};

/// Most queries at once.
const MOST: usize = 32;
/// Why the server is not asked.
pub(crate) const OFFLINE: &str = "there is no connection to the server";

/// What the owner decides about the queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long a verification may take.
    pub verification: Duration,
    /// Whether a person may pass if the server gives no answer.
    pub fallback: bool,
    /// How long it may take to fetch a person.
    pub remote: Duration,
    /// How long a fetched person stays.
    pub stay: Duration,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether this person may pass.
    Verify(Punch),
    /// Who this is.
    Remote(Pin),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Whether the server lets the person pass.
    Allowed(bool),
    /// The person who was asked for is in the store.
    Here,
    /// The server knows no person with this PIN.
    Nobody,
    /// The server gave no usable answer; why.
    Failed(String),
}

/// A question that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct ServerQuery {
    /// The number of the query.
    pub(crate) number: u64,
    /// What is asked.
    pub(crate) question: Question,
    /// When its time is over, on the monotonic clock.
    pub(crate) until: Duration,
}

/// All queries.
#[derive(Debug, Default)]
pub struct ServerQueries {
    rules: Cell<Rules>,
    last_number: Cell<u64>,
    open: RefCell<Vec<(ServerQuery, Option<Outcome>)>>,
}

impl ServerQueries {
    /// The owner's decisions.
    pub(crate) fn rules(&self) -> Rules {
        self.rules.get()
    }

    /// Replaces the owner's decisions.
    pub(crate) fn set_rules(&self, rules: Rules) {
        self.rules.set(rules);
    }

    /// Adds a question. Its number; none while there are too many.
    pub(crate) fn ask(&self, question: Question, now: Duration) -> Option<u64> {
        let mut open = self.open.borrow_mut();
        if open.len() >= MOST {
            return None;
        }
        let limit = match question {
            Question::Verify(_) => self.rules().verification,
            Question::Remote(_) => self.rules().remote,
        };
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        open.push((ServerQuery { number, question, until: now + limit }, None));
        Some(number)
    }

    /// The oldest that has no outcome yet, and time left.
    pub(crate) fn next(&self, now: Duration) -> Option<ServerQuery> {
        let open = self.open.borrow();
        let is_next = |(query, outcome): &&(ServerQuery, Option<Outcome>)| {
            outcome.is_none() && query.until > now
        };
        open.iter().find(is_next).map(|(query, _)| query.clone())
    }

    /// Whether a driver still waits for this one.
    pub(crate) fn is_open(&self, number: u64, now: Duration) -> bool {
        let open = self.open.borrow();
        open.iter().any(|(query, _)| query.number == number && query.until > now)
    }

    /// Stores the outcome.
    pub(crate) fn set_outcome(&self, number: u64, outcome: Outcome) {
        for (query, place) in self.open.borrow_mut().iter_mut() {
            if query.number == number {
                *place = Some(outcome);
                return;
            }
        }
    }

    /// Ends all of them: the server cannot be asked.
    pub(crate) fn fail_all(&self, message: &str) {
        for (_, outcome) in self.open.borrow_mut().iter_mut() {
            outcome.get_or_insert_with(|| Outcome::Failed(message.to_owned()));
        }
    }

    /// Removes a query that has an outcome, or whose time is over.
    pub(crate) fn take(&self, number: u64, now: Duration) -> Option<Outcome> {
        let mut open = self.open.borrow_mut();
        let place = open.iter().position(|(query, _)| query.number == number)?;
        if open[place].1.is_none() && open[place].0.until > now {
            return None;
        }
        let late = || Outcome::Failed("the server did not answer in time".into());
        Some(open.remove(place).1.unwrap_or_else(late))
    }

    /// Removes a query: its driver has disconnected.
    pub(crate) fn forget(&self, number: u64) {
        self.open.borrow_mut().retain(|(query, _)| query.number != number);
    }

    /// When the next outcome is to be taken; zero if one is there.
    pub(crate) fn due(&self) -> Option<Duration> {
        let due = |(query, outcome): &(ServerQuery, Option<Outcome>)| match outcome {
            Some(_) => Duration::ZERO,
            None => query.until,
        };
        self.open.borrow().iter().map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queries() -> ServerQueries {
        let queries = ServerQueries::default();
        queries.set_rules(Rules { remote: 3 * SECOND, ..Rules::default() });
        queries
    }

    fn who() -> Question {
        Question::Remote(Pin::new("1001").unwrap())
    }

    #[test]
    fn an_outcome_counts_only_within_its_time() {
        let queries = queries();
        let first = queries.ask(who(), SECOND).unwrap();
        let second = queries.ask(who(), 2 * SECOND).unwrap();
        assert_eq!(queries.next(SECOND).unwrap().number, first);
        assert_eq!((queries.take(first, SECOND), queries.due()), (None, Some(4 * SECOND)));
        queries.set_outcome(first, Outcome::Nobody);
        assert_eq!(
            (queries.next(SECOND).unwrap().number, queries.due()),
            (second, Some(Duration::ZERO))
        );
        assert_eq!(queries.take(first, 9 * SECOND), Some(Outcome::Nobody));
        assert!(queries.is_open(second, 4 * SECOND) && !queries.is_open(second, 5 * SECOND));
        assert!(queries.next(5 * SECOND).is_none());
        assert!(matches!(queries.take(second, 5 * SECOND), Some(Outcome::Failed(_))));
        queries.set_outcome(second, Outcome::Here);
        assert_eq!((queries.take(second, 5 * SECOND), queries.due()), (None, None));
    }

    #[test]
    fn the_number_of_queries_is_bounded() {
        let queries = queries();
        let numbers: Vec<u64> = (0..MOST).map(|_| queries.ask(who(), SECOND).unwrap()).collect();
        assert_eq!(queries.ask(who(), SECOND), None);
        queries.forget(numbers[0]);
        assert!(queries.ask(who(), SECOND).is_some());
        queries.fail_all("offline");
        assert!(queries.next(SECOND).is_none());
    }
}
