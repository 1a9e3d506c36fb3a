//! What a driver wants to know from the server: `verify` and `remote`. The answer comes
//! later than those to other calls, but never later than its time.

use serde_json::{Value, json};

use super::DriverSocket;
use super::methods::{BUSY, Methods, describe};
use super::rpc::{Call, Fault, Params};
use crate::protocol::record::{Pin, Punch};
use crate::reactor;
use crate::server_queries::{OFFLINE, Outcome, Question};
use crate::store::options::VERIFICATION;
use crate::store::{Moment, NewPunch};

/// Most calls of one driver that wait for the server, so that there is room for others.
const MOST_OF_ONE: usize = 8;
/// Nothing came from the server (App. 1).
const NOT_FETCHED: i64 = -1008;

/// A call that waits for the server.
pub(super) struct Waiting {
    server_query: u64,
    /// Whose call it is.
    driver: u64,
    call: Call,
    asked: Asked,
}

/// What is asked, as far as the answer needs it.
enum Asked {
    Verify,
    Remote(Pin),
}

/// How a call begins.
enum Begun {
    Answered(Value),
    /// To be asked.
    Open(Asked, Question),
}

impl DriverSocket {
    /// Begins what only the server can answer. An answer, if there is one already.
    pub(super) fn ask(&mut self, driver: u64, call: Call) -> Option<String> {
        let (asked, question) = match self.methods.begin(&call) {
            Ok(Begun::Open(asked, question)) => (asked, question),
            Ok(Begun::Answered(value)) => return call.answer(Ok(value)),
            Err(fault) => return call.answer(Err(fault)),
        };
        let others = self.waiting.iter().filter(|waiting| waiting.driver == driver).count();
        let now = self.methods.clock.monotonic();
        let server_query =
            (others < MOST_OF_ONE).then(|| self.methods.server_queries.ask(question, now));
        let Some(server_query) = server_query.flatten() else {
            let message = "too many questions wait for the server already";
            return call.answer(Err(Fault::new(BUSY, message)));
        };
        reactor::wake_loop();
        self.waiting.push(Waiting { server_query, driver, call, asked });
        None
    }

    /// Answers the calls whose outcome is there, or whose time is over.
    pub(super) fn deliver(&mut self) {
        let (methods, connections) = (&self.methods, &mut self.connections);
        let now = methods.clock.monotonic();
        self.waiting.retain(|waiting| {
            let Some(outcome) = methods.server_queries.take(waiting.server_query, now) else {
                return true;
            };
            let driver = connections.iter_mut().find(|driver| driver.number() == waiting.driver);
            let answer = waiting.call.answer(methods.end(&waiting.asked, outcome));
            if let (Some(driver), Some(answer)) = (driver, answer) {
                driver.send(&answer);
            }
            false
        });
    }

    /// Drops the questions of drivers that have left.
    pub(super) fn forget_who_left(&mut self) {
        let (methods, connections) = (&self.methods, &self.connections);
        self.waiting.retain(|waiting| {
            let is_here = connections.iter().any(|driver| driver.number() == waiting.driver);
            if !is_here {
                methods.server_queries.forget(waiting.server_query);
            }
            is_here
        });
    }
}

impl Methods {
    fn begin(&self, call: &Call) -> Result<Begun, Fault> {
        match call.method.as_str() {
            "verify" => self.verify(&call.params),
            _ => self.remote(&call.params),
        }
    }

    /// Whether a person may pass whom the sensor knows.
    fn verify(&self, params: &Params) -> Result<Begun, Fault> {
        let NewPunch { pin, moment, status, verify, workcode, .. } = self.attempt(params)?;
        if self.store.options().get(VERIFICATION)?.is_none() {
            return Ok(Begun::Answered(json!({"allowed": true, "by": "terminal"})));
        }
        // An unset clock never goes on the wire, and nobody waits for it at a door.
        let Moment::At(time) = moment else { return Ok(Begun::Answered(self.fallback())) };
        if !self.status.connection().online {
            return Ok(Begun::Answered(self.fallback()));
        }
        let attempt = Punch { pin, time, status, verify, workcode };
        Ok(Begun::Open(Asked::Verify, Question::Verify(attempt)))
    }

    /// Who it is that the terminal does not know, or not for good.
    fn remote(&self, params: &Params) -> Result<Begun, Fault> {
        let pin = Pin::new(&params.required("pin")?)?;
        let is_here = self.store.people().get(&pin)?.is_some();
        let is_guest = self.store.guests().get(&pin)?.is_some();
        if is_here && !is_guest {
            return Ok(Begun::Answered(self.here(&pin)?));
        }
        if !is_here {
            self.room_for_one()?;
        }
        if !self.status.connection().online {
            let offline = Outcome::Failed(OFFLINE.into());
            return self.end(&Asked::Remote(pin), offline).map(Begun::Answered);
        }
        Ok(Begun::Open(Asked::Remote(pin.clone()), Question::Remote(pin)))
    }

    /// What a driver is told in the end.
    fn end(&self, asked: &Asked, outcome: Outcome) -> Result<Value, Fault> {
        match (asked, outcome) {
            (Asked::Verify, Outcome::Allowed(allowed)) => {
                Ok(json!({"allowed": allowed, "by": "server"}))
            }
            (Asked::Verify, _) => Ok(self.fallback()),
            (Asked::Remote(pin), Outcome::Failed(message)) => match self.here(pin)? {
                Value::Null => {
                    Err(Fault::new(NOT_FETCHED, format!("{pin} was not fetched: {message}")))
                }
                // A guest is not turned away because the server is.
                guest => Ok(guest),
            },
            (Asked::Remote(pin), Outcome::Here) => self.here(pin),
            (Asked::Remote(_), _) => Ok(Value::Null),
        }
    }

    fn fallback(&self) -> Value {
        json!({"allowed": self.server_queries.rules().fallback, "by": "fallback"})
    }

    /// A person who is here, with the end of their stay; null for one who is not.
    fn here(&self, pin: &Pin) -> Result<Value, Fault> {
        let (Some(user), stay) = (self.store.people().get(pin)?, self.store.guests().get(pin)?)
        else {
            return Ok(Value::Null);
        };
        if stay.is_some_and(|stay| stay.is_over(self.clock.utc_if_set())) {
            return Ok(Value::Null);
        }
        let until = stay.and_then(|stay| self.clock.wall(stay.until?));
        let mut user = describe(&user);
        user["guest"] = stay.is_some().into();
        user["until"] = until.map(|time| time.to_string()).into();
        Ok(user)
    }
}
