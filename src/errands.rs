//! Errands: what drivers ask that only the server can answer, whether a person may pass
//! (§12.11.3), and who stands there (§14).
//!
//! Drivers are served inside waits, where no exchange may begin. So a question is put down
//! here, the loop takes it to the server between two exchanges, and the driver is answered
//! when the outcome is there or the time is over, whichever comes first. A late outcome
//! finds nobody who waits for it, and changes nothing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::protocol::record::{Pin, Punch};

/// Most errands at once.
pub const MOST: usize = 32;
/// Why nobody is asked.
pub const OFFLINE: &str = "there is no connection to the server";

/// What the owner decides about errands.
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
    /// Nothing; why, in words.
    Failed(String),
}

/// A question under way.
#[derive(Clone, Debug)]
pub struct Errand {
    /// By which it is known.
    pub number: u64,
    /// What is asked.
    pub question: Question,
    /// When its time is over, on the monotonic clock.
    pub until: Duration,
}

/// All errands.
#[derive(Debug, Default)]
pub struct Errands {
    rules: Cell<Rules>,
    last: Cell<u64>,
    open: RefCell<Vec<(Errand, Option<Outcome>)>>,
}

impl Errands {
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
        open.push((Errand { number, question, until: now + limit }, None));
        Some(number)
    }

    /// The oldest that has no outcome yet, and time left.
    pub fn next(&self, now: Duration) -> Option<Errand> {
        let open = self.open.borrow();
        let is_next = |(errand, outcome): &&(Errand, Option<Outcome>)| {
            outcome.is_none() && errand.until > now
        };
        open.iter().find(is_next).map(|(errand, _)| errand.clone())
    }

    /// Whether somebody still waits for this one.
    pub fn is_open(&self, number: u64, now: Duration) -> bool {
        let open = self.open.borrow();
        open.iter().any(|(errand, _)| errand.number == number && errand.until > now)
    }

    /// This came of it.
    pub fn end(&self, number: u64, outcome: Outcome) {
        for (errand, place) in self.open.borrow_mut().iter_mut() {
            if errand.number == number {
                *place = Some(outcome);
                return;
            }
        }
    }

    /// None of them can be run.
    pub fn fail_all(&self, words: &str) {
        for (_, outcome) in self.open.borrow_mut().iter_mut() {
            outcome.get_or_insert_with(|| Outcome::Failed(words.to_owned()));
        }
    }

    /// Takes the outcome away, if there is one or the time is over.
    pub fn take(&self, number: u64, now: Duration) -> Option<Outcome> {
        let mut open = self.open.borrow_mut();
        let place = open.iter().position(|(errand, _)| errand.number == number)?;
        if open[place].1.is_none() && open[place].0.until > now {
            return None;
        }
        let late = || Outcome::Failed("the server did not answer in time".into());
        Some(open.remove(place).1.unwrap_or_else(late))
    }

    /// Nobody waits for it any longer.
    pub fn forget(&self, number: u64) {
        self.open.borrow_mut().retain(|(errand, _)| errand.number != number);
    }

    /// When the next outcome is to be taken; zero if one is there.
    pub fn due(&self) -> Option<Duration> {
        let due = |(errand, outcome): &(Errand, Option<Outcome>)| match outcome {
            Some(_) => Duration::ZERO,
            None => errand.until,
        };
        self.open.borrow().iter().map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn errands() -> Errands {
        let errands = Errands::default();
        errands.set_rules(Rules { remote: 3 * SECOND, ..Rules::default() });
        errands
    }

    fn who() -> Question {
        Question::Remote(Pin::new("1001").unwrap())
    }

    #[test]
    fn an_outcome_counts_only_within_its_time() {
        let errands = errands();
        let first = errands.ask(who(), SECOND).unwrap();
        let second = errands.ask(who(), 2 * SECOND).unwrap();
        assert_eq!(errands.next(SECOND).unwrap().number, first);
        assert_eq!((errands.take(first, SECOND), errands.due()), (None, Some(4 * SECOND)));
        errands.end(first, Outcome::Nobody);
        assert_eq!(
            (errands.next(SECOND).unwrap().number, errands.due()),
            (second, Some(Duration::ZERO))
        );
        assert_eq!(errands.take(first, 9 * SECOND), Some(Outcome::Nobody));
        assert!(errands.is_open(second, 4 * SECOND) && !errands.is_open(second, 5 * SECOND));
        assert!(errands.next(5 * SECOND).is_none());
        assert!(matches!(errands.take(second, 5 * SECOND), Some(Outcome::Failed(_))));
        errands.end(second, Outcome::Here);
        assert_eq!((errands.take(second, 5 * SECOND), errands.due()), (None, None));
    }

    #[test]
    fn there_is_an_end_to_how_many_wait() {
        let errands = errands();
        let numbers: Vec<u64> = (0..MOST).map(|_| errands.ask(who(), SECOND).unwrap()).collect();
        assert_eq!(errands.ask(who(), SECOND), None);
        errands.forget(numbers[0]);
        assert!(errands.ask(who(), SECOND).is_some());
        errands.fail_all("offline");
        assert!(errands.next(SECOND).is_none());
    }
}
