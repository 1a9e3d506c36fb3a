//! What the daemon asks of drivers, on the wire: `enroll`, `unlock`, `unalarm`.

use serde_json::{Value, json};

use super::DriverSocket;
use super::enrolled::template;
use super::methods::Methods;
use super::rpc::{Fault, Params, Reply, request};
use crate::driver_requests::{Answer, DriverRequest, Service};
use crate::protocol::enroll::{Enroll, Outcome, Sought};
use crate::protocol::fields::{Fields, clip};
use crate::protocol::record::{Template, User, UserChange};
use crate::reactor;

/// Most templates of one enrolment: a finger has three at most, a face some twelve.
const MOST_TEMPLATES: usize = 32;
/// What JSON-RPC says of a method that is not there.
const NO_METHOD: i64 = -32601;

impl DriverSocket {
    /// Takes the answer of a driver. One to a request that nobody made is passed over.
    pub(super) fn hear(&mut self, nth: usize, reply: Reply) {
        let driver = &mut self.connections[nth];
        let requests = &self.methods.requests;
        let asked = reply
            .number
            .and_then(|number| Some((number, requests.asked(driver.number(), number)?)));
        let Some((number, request)) = asked else {
            driver.answered_unasked();
            return;
        };
        requests.end(number, self.methods.understand(&request, reply.result));
        reactor::wake_loop();
    }

    /// Sends what is to be asked, and gives up what takes too long.
    pub(super) fn ask_drivers(&mut self) {
        let requests = &self.methods.requests;
        let now = self.methods.clock.monotonic();
        while let Some((number, driver)) = requests.give_up_next(now) {
            tell(&mut self.connections, driver, &request(None, "cancel", &json!({"id": number})));
            reactor::wake_loop();
        }
        while let Some((number, driver, asked)) = requests.send_next(now) {
            let (method, params) = describe(&asked);
            let line = request(Some(number), method, &params);
            tell(&mut self.connections, driver, &line);
        }
    }

    /// DriverSocket that have left provide nothing any longer, and answer nothing.
    pub(super) fn unregister_who_left(&self) {
        for driver in self.connections.iter().filter(|driver| driver.is_over()) {
            if self.methods.requests.leave(driver.number()) {
                reactor::wake_loop();
            }
        }
    }
}

fn tell(connections: &mut [super::Connection], driver: u64, line: &str) {
    if let Some(driver) = connections.iter_mut().find(|other| other.number() == driver) {
        driver.tell(line);
    }
}

/// Method and parameters of a request.
fn describe(request: &DriverRequest) -> (&'static str, Value) {
    let (enroll, name) = match request {
        DriverRequest::Unlock => return ("unlock", json!({})),
        DriverRequest::Unalarm => return ("unalarm", json!({})),
        DriverRequest::Enroll { enroll, name } => (enroll, name),
    };
    let mut params = json!({
        "pin": enroll.pin.as_str(),
        "kind": Service::to_enroll(enroll.sought).name(),
        "retry": enroll.retry,
        "overwrite": enroll.overwrite,
    });
    if let Some(number) = enroll.sought.number() {
        params["no"] = number.into();
    }
    if !name.is_empty() {
        params["name"] = name.as_str().into();
    }
    if let Some(card) = &enroll.card {
        params["card"] = card.as_str().into();
    }
    ("enroll", params)
}

impl Methods {
    /// What a driver's answer means.
    fn understand(&self, request: &DriverRequest, result: Result<Value, (i64, String)>) -> Answer {
        let result = match result {
            Ok(result) => result,
            Err((NO_METHOD, _)) => return Answer::Unable,
            Err((code, message)) => {
                return Answer::Failed(format!("the driver failed: {} ({code})", plain(&message)));
            }
        };
        match request {
            DriverRequest::Unlock | DriverRequest::Unalarm if result == false => {
                Answer::Failed("the driver says that it did not happen".into())
            }
            DriverRequest::Unlock | DriverRequest::Unalarm => Answer::Done,
            DriverRequest::Enroll { enroll, .. } => {
                self.enrolled(enroll, result).unwrap_or_else(|message| {
                    Answer::Failed(format!("the driver's answer makes no sense: {message}"))
                })
            }
        }
    }

    fn enrolled(&self, enroll: &Enroll, mut result: Value) -> Result<Answer, String> {
        let outcome = result["outcome"].as_str().map(str::to_owned);
        Ok(match outcome.as_deref() {
            Some("done") => match enroll.sought {
                Sought::Card => Answer::Card(self.card_of(enroll, &result)?),
                _ => Answer::Templates(templates(enroll, result["templates"].take())?),
            },
            Some("exists") => Answer::NotEnrolled(Outcome::Exists),
            Some("failed") => Answer::NotEnrolled(Outcome::Failed),
            Some("duplicate") => Answer::NotEnrolled(Outcome::Duplicate),
            Some("cancelled") => Answer::NotEnrolled(Outcome::Cancelled),
            Some("busy") => Answer::NotEnrolled(Outcome::Busy),
            Some("timeout") => Answer::NotEnrolled(Outcome::TimedOut),
            Some(other) => return Err(format!("the outcome {:?} is none", clip(other))),
            None => return Err("it has no outcome".into()),
        })
    }

    /// The number of a card, by the rules of `user.put`.
    fn card_of(&self, enroll: &Enroll, result: &Value) -> Result<String, String> {
        let card = match &result["card"] {
            Value::String(card) => card.clone(),
            Value::Number(card) => card.to_string(),
            _ => return Err("it has no card".into()),
        };
        let pairs = [("pin", enroll.pin.to_string()), ("card", card)];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value));
        let change = UserChange::from_fields(&Fields::from_pairs(pairs.into()), self.language)
            .map_err(|refusal| refusal.why)?;
        let mut user = User::new(enroll.pin.clone());
        change.apply(&mut user);
        Some(user.card).filter(|card| !card.is_empty()).ok_or_else(|| "the card is none".into())
    }
}

/// The templates of an enrolment, by the rules of `template.put`: each of what was asked for.
fn templates(enroll: &Enroll, list: Value) -> Result<Vec<Template>, String> {
    let list = match list {
        Value::Array(list) if (1..=MOST_TEMPLATES).contains(&list.len()) => list,
        _ => return Err(format!("it has no templates, 1 to {MOST_TEMPLATES} of them")),
    };
    let mut templates = Vec::with_capacity(list.len());
    for each in list {
        let params = Params::of(each).ok_or("a template is no object")?;
        let template = template(&params, enroll.pin.clone())
            .map_err(|fault: Fault| fault.message().to_owned())?;
        let slot = template.slot;
        if Some(slot.kind().bio_type()) != enroll.sought.bio_type()
            || enroll.sought.number().is_some_and(|number| number != slot.number())
        {
            let (of, number) = (slot.kind().bio_type(), slot.number());
            return Err(format!("a template is of {of} {number}, which was not asked for"));
        }
        templates.push(template);
    }
    Ok(templates)
}

/// The beginning of a driver's message, fit for a log.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
