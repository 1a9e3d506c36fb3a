//! `verify` and `remote`: what only the server can answer. The answer comes later than those
//! to other calls, but never later than its time.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::context::MethodContext;
use super::describe;
use super::drivers::Drivers;
use super::error::MethodError;
use super::punches::attempt;
use crate::driver_requests::DriverId;
use crate::protocol::record::{Pin, Punch};
use crate::reactor;
use crate::rpc::{ErrorCode, Params, RpcError};
use crate::server_queries::{OFFLINE, Outcome, Question};
use crate::store::options::VERIFICATION;
use crate::store::{Moment, NewPunch};

/// Most calls of one driver that wait for the server, so that there is room for others.
const MOST_OF_ONE_DRIVER: usize = 8;

/// May this person pass, whom the sensor knows?
pub(super) fn verify(context: &MethodContext, params: &Params) -> Result<Reply, MethodError> {
    let NewPunch { pin, moment, status, verify, workcode, screening, .. } =
        attempt(context, params)?;
    if context.store.options().get(VERIFICATION)?.is_none() {
        return Ok(Reply::Done(json!({"allowed": true, "by": "terminal"})));
    }
    // The server is never sent a time of a clock that is not set.
    let Moment::At(time) = moment else { return Ok(Reply::Done(fallback(context))) };
    if !context.status.connection().online {
        return Ok(Reply::Done(fallback(context)));
    }
    Ok(Reply::AskServer(Question::Verify(Punch { pin, time, status, verify, workcode, screening })))
}

/// Who is this, whom the terminal does not know, or knows as a guest?
pub(super) fn remote(context: &MethodContext, params: &Params) -> Result<Reply, MethodError> {
    let pin = Pin::new(&params.required_text("pin")?)?;
    let is_here = context.store.people().get(&pin)?.is_some();
    let is_guest = context.store.guests().get(&pin)?.is_some();
    if is_here && !is_guest {
        return Ok(Reply::Done(person(context, &pin)?));
    }
    if !is_here {
        context.store.guests().require_room()?;
    }
    if !context.status.connection().online {
        let result = remote_result(context, &pin, Outcome::Failed(OFFLINE.into()))?;
        return Ok(Reply::Done(result));
    }
    Ok(Reply::AskServer(Question::Remote(pin)))
}

/// The result of a call whose question has this outcome.
fn result(
    context: &MethodContext,
    question: &Question,
    outcome: Outcome,
) -> Result<Value, MethodError> {
    match (question, outcome) {
        (Question::Verify(_), Outcome::Allowed(allowed)) => {
            Ok(json!({"allowed": allowed, "by": "server"}))
        }
        (Question::Verify(_), _) => Ok(fallback(context)),
        (Question::Remote(pin), outcome) => remote_result(context, pin, outcome),
    }
}

fn remote_result(
    context: &MethodContext,
    pin: &Pin,
    outcome: Outcome,
) -> Result<Value, MethodError> {
    match outcome {
        Outcome::Failed(why) => match person(context, pin)? {
            Value::Null => {
                let message = format!("{pin} was not fetched from the server: {why}");
                Err(RpcError::new(ErrorCode::NotFetched, message).into())
            }
            // A guest who is here stays, also while the server cannot be asked.
            guest => Ok(guest),
        },
        Outcome::Here => person(context, pin),
        Outcome::Nobody | Outcome::Allowed(_) => Ok(Value::Null),
    }
}

fn fallback(context: &MethodContext) -> Value {
    json!({"allowed": context.server_queries.rules().fallback, "by": "fallback"})
}

/// A person who is here, with the end of their stay; null for one who is not.
fn person(context: &MethodContext, pin: &Pin) -> Result<Value, MethodError> {
    let (user, stay) = (context.store.people().get(pin)?, context.store.guests().get(pin)?);
    let Some(user) = user else { return Ok(Value::Null) };
    if stay.is_some_and(|stay| stay.is_over(context.clock.utc_if_set())) {
        return Ok(Value::Null);
    }
    let until = stay.and_then(|stay| context.clock.wall(stay.until?));
    let mut person = describe::user(&user);
    person["guest"] = stay.is_some().into();
    person["until"] = until.map(|time| time.to_string()).into();
    Ok(person)
}

/// The calls that wait for the server.
#[derive(Default)]
pub(super) struct PendingCalls(Vec<Pending>);

struct Pending {
    /// The number of the server query.
    query: u64,
    question: Question,
    driver: DriverId,
    call: Call,
}

impl PendingCalls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has the server asked for a call. The answer at once, if too many wait already.
    pub(super) fn ask(
        &mut self,
        context: &MethodContext,
        driver: DriverId,
        call: Call,
        question: Question,
    ) -> Option<String> {
        let of_driver = self.0.iter().filter(|pending| pending.driver == driver).count();
        let now = context.clock.monotonic();
        let query = (of_driver < MOST_OF_ONE_DRIVER)
            .then(|| context.server_queries.ask(question.clone(), now))
            .flatten();
        let Some(query) = query else {
            let message = "too many questions wait for the server already";
            return call.answer(Err(RpcError::new(ErrorCode::Busy, message)));
        };
        reactor::wake_loop();
        self.0.push(Pending { query, question, driver, call });
        None
    }

    /// Answers the calls whose outcome is there, or whose time is over.
    pub(super) fn answer(&mut self, context: &MethodContext, drivers: &mut Drivers) {
        let now = context.clock.monotonic();
        self.0.retain(|pending| {
            let Some(outcome) = context.server_queries.take(pending.query, now) else {
                return true;
            };
            let result = result(context, &pending.question, outcome);
            if let Some(line) = pending.call.answer(result.map_err(MethodError::into_rpc)) {
                drivers.send(pending.driver, line);
            }
            false
        });
    }

    /// Drops the calls of a driver that has disconnected.
    pub(super) fn drop_calls_of(&mut self, driver: DriverId, context: &MethodContext) {
        for pending in self.0.extract_if(.., |pending| pending.driver == driver) {
            context.server_queries.forget(pending.query);
        }
    }
}
