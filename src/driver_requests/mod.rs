//! DriverRequests: what the server wants done that only a driver can do, an enrolment (§12.9), a
//! door (§12.10).
//!
//! The loop puts a request down here, inside the transaction that writes down that it does.
//! The drivers' door finds it in the next wait, hands it to the driver that provides such a
//! thing, and puts the answer beside it. A driver that leaves, or takes too long, is an
//! answer too: nobody waits for ever.

mod service;

pub use service::Service;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::protocol::enroll::{Enroll, Outcome};
use crate::protocol::record::Template;

/// Most requests at once.
const MOST: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverRequest {
    /// Enrol somebody.
    Enroll {
        /// Whom and what.
        enroll: Enroll,
        /// Their name, to be shown.
        name: String,
    },
    /// Open the door.
    Unlock,
    /// End the alarm.
    Unalarm,
}

impl DriverRequest {
    /// What it takes.
    pub fn service(&self) -> Service {
        match self {
            Self::Enroll { enroll, .. } => Service::to_enroll(enroll.sought),
            Self::Unlock => Service::Unlock,
            Self::Unalarm => Service::Unalarm,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The person is enrolled with these.
    Templates(Vec<Template>),
    /// The person is enrolled with a card of this number.
    Card(String),
    /// The person is not enrolled.
    NotEnrolled(Outcome),
    /// The driver cannot do that after all.
    Unable,
    /// The driver failed, answered nonsense, or left; a message for a person.
    Failed(String),
    /// It did not answer in time.
    Late,
}

/// Why nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// No driver provides it.
    Nobody,
    /// Too many requests are under way.
    TooMany,
}

/// A driver that provides something; of several the last one is asked.
struct Provider {
    service: Service,
    driver: u64,
    name: String,
}

struct Open {
    number: u64,
    key: i64,
    request: DriverRequest,
    limit: Duration,
    state: State,
}

enum State {
    Waiting,
    Sent { driver: u64, until: Duration },
    Answered(Answer),
}

/// All requests, and who can be asked.
#[derive(Default)]
pub struct DriverRequests {
    providers: RefCell<Vec<Provider>>,
    last: Cell<u64>,
    open: RefCell<Vec<Open>>,
}

impl DriverRequests {
    /// A driver says what it provides, in place of what it said before. Those who provided it
    /// until now, by service and name.
    pub fn register(
        &self,
        driver: u64,
        name: &str,
        services: &[Service],
    ) -> Vec<(Service, String)> {
        self.unregister(driver);
        let mut providers = self.providers.borrow_mut();
        let mut before = Vec::new();
        for service in services {
            let earlier = providers.iter().rev().find(|provider| provider.service == *service);
            // Messages are for all who show them.
            before.extend(
                earlier
                    .filter(|_| *service != Service::Message)
                    .map(|earlier| (*service, earlier.name.clone())),
            );
            providers.retain(|other| other.service != *service || other.driver != driver);
            providers.push(Provider { service: *service, driver, name: name.to_owned() });
        }
        before
    }

    fn unregister(&self, driver: u64) {
        self.providers.borrow_mut().retain(|provider| provider.driver != driver);
    }

    /// The driver that is asked for a service.
    pub fn provider(&self, service: Service) -> Option<u64> {
        let providers = self.providers.borrow();
        let last = providers.iter().rev().find(|provider| provider.service == service);
        last.map(|provider| provider.driver)
    }

    /// Whether this driver said that it provides this.
    pub fn provides(&self, driver: u64, service: Service) -> bool {
        let is_it = |provider: &Provider| provider.driver == driver && provider.service == service;
        self.providers.borrow().iter().any(is_it)
    }

    /// What is provided, by the names of those who would be asked: the last of several.
    pub fn provided(&self) -> Vec<(Service, String)> {
        let providers = self.providers.borrow();
        providers.iter().map(|provider| (provider.service, provider.name.clone())).collect()
    }

    /// Puts a request down, known by `key` from now on. It is to be answered within `limit`
    /// from when the driver has it.
    pub fn ask(&self, key: i64, request: DriverRequest, limit: Duration) -> Result<(), Unasked> {
        if self.provider(request.service()).is_none() {
            return Err(Unasked::Nobody);
        }
        let mut open = self.open.borrow_mut();
        if open.len() >= MOST {
            return Err(Unasked::TooMany);
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        open.push(Open { number, key, request, limit, state: State::Waiting });
        Ok(())
    }

    /// Whether a request has no answer yet.
    pub fn is_open(&self, key: i64) -> bool {
        let is_it = |open: &Open| open.key == key && !matches!(open.state, State::Answered(_));
        self.open.borrow().iter().any(is_it)
    }

    /// What came of a request; told until it is forgotten.
    pub fn answer(&self, key: i64) -> Option<Answer> {
        let open = self.open.borrow();
        open.iter().filter(|open| open.key == key).find_map(|open| match &open.state {
            State::Answered(answer) => Some(answer.clone()),
            State::Waiting | State::Sent { .. } => None,
        })
    }

    /// Nobody wants to know any longer.
    pub fn forget(&self, key: i64) {
        self.open.borrow_mut().retain(|open| open.key != key);
    }

    /// Takes the next request that is to be sent, now that its driver can have it: its number,
    /// the driver, and what is asked.
    pub fn send_next(&self, now: Duration) -> Option<(u64, u64, DriverRequest)> {
        for open in self.open.borrow_mut().iter_mut() {
            if !matches!(open.state, State::Waiting) {
                continue;
            }
            match self.provider(open.request.service()) {
                Some(driver) => {
                    open.state = State::Sent { driver, until: now + open.limit };
                    return Some((open.number, driver, open.request.clone()));
                }
                None => open.state = State::Answered(Answer::Failed("the driver left".into())),
            }
        }
        None
    }

    /// What this driver was asked under this number.
    pub fn asked(&self, driver: u64, number: u64) -> Option<DriverRequest> {
        let open = self.open.borrow();
        let sent = open.iter().find(|open| open.number == number)?;
        matches!(sent.state, State::Sent { driver: other, .. } if other == driver)
            .then(|| sent.request.clone())
    }

    /// This came of it.
    pub fn end(&self, number: u64, answer: Answer) {
        for open in self.open.borrow_mut().iter_mut() {
            if open.number == number {
                open.state = State::Answered(answer);
                return;
            }
        }
    }

    /// Gives up one whose time is over: its number and its driver.
    pub fn give_up_next(&self, now: Duration) -> Option<(u64, u64)> {
        for open in self.open.borrow_mut().iter_mut() {
            if let State::Sent { driver, until } = open.state
                && until <= now
            {
                open.state = State::Answered(Answer::Late);
                return Some((open.number, driver));
            }
        }
        None
    }

    /// A driver left: what it was asked is not done. Whether it was asked anything.
    pub fn leave(&self, driver: u64) -> bool {
        self.unregister(driver);
        let mut any = false;
        for open in self.open.borrow_mut().iter_mut() {
            if matches!(open.state, State::Sent { driver: other, .. } if other == driver) {
                open.state = State::Answered(Answer::Failed("the driver left".into()));
                any = true;
            }
        }
        any
    }

    /// When the drivers' door is to look at the requests; zero if one is to be sent.
    pub fn due(&self) -> Option<Duration> {
        let due = |open: &Open| match open.state {
            State::Waiting => Some(Duration::ZERO),
            State::Sent { until, .. } => Some(until),
            State::Answered(_) => None,
        };
        self.open.borrow().iter().filter_map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn requests() -> DriverRequests {
        let requests = DriverRequests::default();
        requests.register(1, "first", &[Service::Unlock, Service::Card]);
        requests
    }

    #[test]
    fn the_last_who_provides_it_is_asked_and_the_one_before_when_they_leave() {
        let requests = requests();
        let before = requests.register(2, "second", &[Service::Unlock, Service::Unlock]);
        assert_eq!(before[0], (Service::Unlock, "first".into()));
        assert_eq!(requests.provider(Service::Unlock), Some(2));
        assert_eq!(requests.provider(Service::Card), Some(1));
        assert!(!requests.leave(2));
        assert_eq!(requests.provider(Service::Unlock), Some(1));
        requests.register(1, "first", &[]);
        assert_eq!(requests.ask(7, DriverRequest::Unlock, SECOND), Err(Unasked::Nobody));
    }

    #[test]
    fn each_request_comes_to_an_end() {
        let requests = requests();
        for key in 1..=4 {
            requests.ask(key, DriverRequest::Unlock, SECOND).unwrap();
        }
        assert_eq!(requests.due(), Some(Duration::ZERO));
        let numbers: Vec<u64> = (0..3).map(|_| requests.send_next(SECOND).unwrap().0).collect();
        assert_eq!(requests.asked(1, numbers[0]), Some(DriverRequest::Unlock));
        assert_eq!(requests.asked(2, numbers[0]), None);
        requests.end(numbers[0], Answer::Done);
        assert_eq!((requests.answer(1), requests.is_open(1)), (Some(Answer::Done), false));
        assert_eq!(requests.asked(1, numbers[0]), None);
        assert_eq!(requests.give_up_next(SECOND), None);
        assert_eq!(requests.give_up_next(2 * SECOND), Some((numbers[1], 1)));
        assert_eq!(requests.answer(2), Some(Answer::Late));
        assert!(requests.leave(1));
        assert!(matches!(requests.answer(3), Some(Answer::Failed(_))));
        assert_eq!(requests.send_next(SECOND), None);
        assert!(matches!(requests.answer(4), Some(Answer::Failed(_))));
        assert_eq!(requests.due(), None);
        (1..=4).for_each(|key| requests.forget(key));
        assert_eq!(requests.answer(1), None);
    }

    #[test]
    fn there_is_an_end_to_how_many_wait() {
        let requests = requests();
        for key in 0..MOST as i64 {
            requests.ask(key, DriverRequest::Unlock, SECOND).unwrap();
        }
        assert_eq!(requests.ask(99, DriverRequest::Unlock, SECOND), Err(Unasked::TooMany));
        requests.forget(0);
        assert_eq!(requests.ask(99, DriverRequest::Unlock, SECOND), Ok(()));
    }
}
