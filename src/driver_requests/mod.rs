//! Driver requests: what the server wants done that only a driver can do, an enrolment (§12.9),
//! a door (§12.10).
//!
//! The loop adds a request, inside the transaction that records that it does. The driver socket
//! sends it in the next wait to the driver that provides such a thing, and stores the answer
//! here. That a driver disconnects, or takes too long, is an answer, too: every request ends.

mod request;
mod service;

pub(crate) use request::Sent;
pub use request::{Answer, DriverId, DriverRequest, Unasked};
pub use service::Service;

use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Most requests at once.
const MOST: usize = 1024;

/// A driver that provides something; of several the last one is asked.
struct Provider {
    service: Service,
    driver: DriverId,
    name: String,
}

struct Open {
    id: u64,
    key: i64,
    request: DriverRequest,
    limit: Duration,
    state: State,
}

impl Open {
    fn sent_to(&self, driver: DriverId) -> Sent {
        Sent { id: self.id, driver, request: self.request.clone() }
    }
}

enum State {
    Waiting,
    Sent { driver: DriverId, until: Duration },
    Answered(Answer),
}

/// All requests, and who can be asked.
#[derive(Default)]
pub struct DriverRequests {
    /// The drivers that are connected and have registered, with their names.
    registered: RefCell<Vec<(DriverId, String)>>,
    providers: RefCell<Vec<Provider>>,
    last_id: Cell<u64>,
    open: RefCell<Vec<Open>>,
}

impl DriverRequests {
    /// Stores what a driver provides, in place of what it provided before. Returns those who
    /// were asked for it until now, by service and name.
    pub(crate) fn register(
        &self,
        driver: DriverId,
        name: &str,
        services: &[Service],
    ) -> Vec<(Service, String)> {
        self.unregister(driver);
        self.registered.borrow_mut().push((driver, name.to_owned()));
        let mut providers = self.providers.borrow_mut();
        let mut before = Vec::new();
        for &service in services {
            let earlier = providers.iter().rev().find(|provider| provider.service == service);
            // Messages go to all who provide them.
            let replaced = earlier.filter(|_| service != Service::Message);
            before.extend(replaced.map(|earlier| (service, earlier.name.clone())));
            providers.retain(|other| other.service != service || other.driver != driver);
            providers.push(Provider { service, driver, name: name.to_owned() });
        }
        before
    }

    fn unregister(&self, driver: DriverId) {
        self.registered.borrow_mut().retain(|(other, _)| *other != driver);
        self.providers.borrow_mut().retain(|provider| provider.driver != driver);
    }

    /// The names of the drivers that are connected and have registered, in the order in which they
    /// did.
    pub(crate) fn registered(&self) -> Vec<String> {
        self.registered.borrow().iter().map(|(_, name)| name.clone()).collect()
    }

    /// The driver that is asked for a service.
    fn provider(&self, service: Service) -> Option<DriverId> {
        let providers = self.providers.borrow();
        let last = providers.iter().rev().find(|provider| provider.service == service);
        last.map(|provider| provider.driver)
    }

    /// Whether this driver provides this.
    pub(crate) fn provides(&self, driver: DriverId, service: Service) -> bool {
        let is_it = |provider: &Provider| provider.driver == driver && provider.service == service;
        self.providers.borrow().iter().any(is_it)
    }

    /// What is provided, with the names of the drivers. Of several, the last one is asked.
    pub(crate) fn provided(&self) -> Vec<(Service, String)> {
        let providers = self.providers.borrow();
        providers.iter().map(|provider| (provider.service, provider.name.clone())).collect()
    }

    /// Adds a request, known by `key`. The driver has to answer within `limit` from when it is
    /// sent.
    pub fn ask(&self, key: i64, request: DriverRequest, limit: Duration) -> Result<(), Unasked> {
        if self.provider(request.service()).is_none() {
            return Err(Unasked::Nobody);
        }
        let mut open = self.open.borrow_mut();
        if open.len() >= MOST {
            return Err(Unasked::TooMany);
        }
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        open.push(Open { id, key, request, limit, state: State::Waiting });
        Ok(())
    }

    /// Whether a request has no answer yet.
    pub fn is_open(&self, key: i64) -> bool {
        let is_it = |open: &Open| open.key == key && !matches!(open.state, State::Answered(_));
        self.open.borrow().iter().any(is_it)
    }

    /// The answer to a request; kept until [`DriverRequests::forget`].
    pub fn answer(&self, key: i64) -> Option<Answer> {
        let open = self.open.borrow();
        open.iter().filter(|open| open.key == key).find_map(|open| match &open.state {
            State::Answered(answer) => Some(answer.clone()),
            State::Waiting | State::Sent { .. } => None,
        })
    }

    /// Removes a request: its answer is of no interest any longer.
    pub fn forget(&self, key: i64) {
        self.open.borrow_mut().retain(|open| open.key != key);
    }

    /// The next request that is to be sent. It counts as sent from now on.
    pub(crate) fn next_to_send(&self, now: Duration) -> Option<Sent> {
        for open in self.open.borrow_mut().iter_mut() {
            if !matches!(open.state, State::Waiting) {
                continue;
            }
            match self.provider(open.request.service()) {
                Some(driver) => {
                    open.state = State::Sent { driver, until: now + open.limit };
                    return Some(open.sent_to(driver));
                }
                None => open.state = State::Answered(disconnected()),
            }
        }
        None
    }

    /// The request that this driver was sent under this `id`, if it has not ended.
    pub(crate) fn sent(&self, driver: DriverId, id: u64) -> Option<Sent> {
        let open = self.open.borrow();
        let sent = open.iter().find(|open| open.id == id)?;
        matches!(sent.state, State::Sent { driver: other, .. } if other == driver)
            .then(|| sent.sent_to(driver))
    }

    /// Stores the answer to a request.
    pub(crate) fn set_answer(&self, id: u64, answer: Answer) {
        if let Some(open) = self.open.borrow_mut().iter_mut().find(|open| open.id == id) {
            open.state = State::Answered(answer);
        }
    }

    /// The next request whose time is over. It is answered with [`Answer::Late`].
    pub(crate) fn next_timed_out(&self, now: Duration) -> Option<Sent> {
        for open in self.open.borrow_mut().iter_mut() {
            if let State::Sent { driver, until } = open.state
                && until <= now
            {
                open.state = State::Answered(Answer::Late);
                return Some(open.sent_to(driver));
            }
        }
        None
    }

    /// A driver disconnected: it provides nothing, and what it was sent has failed. Whether it
    /// was sent anything.
    pub(crate) fn remove_driver(&self, driver: DriverId) -> bool {
        self.unregister(driver);
        let mut any = false;
        for open in self.open.borrow_mut().iter_mut() {
            if matches!(open.state, State::Sent { driver: other, .. } if other == driver) {
                open.state = State::Answered(disconnected());
                any = true;
            }
        }
        any
    }

    /// When the driver socket is to look at the requests; zero if one is to be sent.
    pub(crate) fn due(&self) -> Option<Duration> {
        let due = |open: &Open| match open.state {
            State::Waiting => Some(Duration::ZERO),
            State::Sent { until, .. } => Some(until),
            State::Answered(_) => None,
        };
        self.open.borrow().iter().filter_map(due).min()
    }
}

fn disconnected() -> Answer {
    Answer::Failed("the driver disconnected".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FIRST: DriverId = DriverId(1);
    const OTHER: DriverId = DriverId(2);

    fn requests() -> DriverRequests {
        let requests = DriverRequests::default();
        requests.register(FIRST, "first", &[Service::Unlock, Service::Card]);
        requests
    }

    #[test]
    fn the_last_provider_is_asked_and_the_one_before_when_it_disconnects() {
        let requests = requests();
        let before = requests.register(OTHER, "second", &[Service::Unlock, Service::Unlock]);
        assert_eq!(before[0], (Service::Unlock, "first".into()));
        assert_eq!(requests.provider(Service::Unlock), Some(OTHER));
        assert_eq!(requests.provider(Service::Card), Some(FIRST));
        assert!(!requests.remove_driver(OTHER));
        assert_eq!(requests.provider(Service::Unlock), Some(FIRST));
        requests.register(FIRST, "first", &[]);
        assert_eq!(requests.ask(7, DriverRequest::Unlock, SECOND), Err(Unasked::Nobody));
    }

    #[test]
    fn every_request_ends() {
        let requests = requests();
        for key in 1..=4 {
            requests.ask(key, DriverRequest::Unlock, SECOND).unwrap();
        }
        assert_eq!(requests.due(), Some(Duration::ZERO));
        let ids: Vec<u64> = (0..3).map(|_| requests.next_to_send(SECOND).unwrap().id).collect();
        assert_eq!(requests.sent(FIRST, ids[0]).unwrap().request, DriverRequest::Unlock);
        assert_eq!(requests.sent(OTHER, ids[0]), None);
        requests.set_answer(ids[0], Answer::Done);
        assert_eq!((requests.answer(1), requests.is_open(1)), (Some(Answer::Done), false));
        assert_eq!(requests.sent(FIRST, ids[0]), None);
        assert_eq!(requests.next_timed_out(SECOND), None);
        assert_eq!(requests.next_timed_out(2 * SECOND).unwrap().id, ids[1]);
        assert_eq!(requests.answer(2), Some(Answer::Late));
        assert!(requests.remove_driver(FIRST));
        assert!(matches!(requests.answer(3), Some(Answer::Failed(_))));
        assert_eq!(requests.next_to_send(SECOND), None);
        assert!(matches!(requests.answer(4), Some(Answer::Failed(_))));
        assert_eq!(requests.due(), None);
        (1..=4).for_each(|key| requests.forget(key));
        assert_eq!(requests.answer(1), None);
    }

    #[test]
    fn the_number_of_requests_is_bounded() {
        let requests = requests();
        for key in 0..MOST as i64 {
            requests.ask(key, DriverRequest::Unlock, SECOND).unwrap();
        }
        assert_eq!(requests.ask(99, DriverRequest::Unlock, SECOND), Err(Unasked::TooMany));
        requests.forget(0);
        assert_eq!(requests.ask(99, DriverRequest::Unlock, SECOND), Ok(()));
    }
}
