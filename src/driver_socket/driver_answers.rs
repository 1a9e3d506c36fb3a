//! What the response of a driver to a request means.

use serde_json::Value;

use super::biometrics::{self, Data};
use super::call::SHOWN;
use super::context::MethodContext;
use crate::driver_requests::{Answer, DriverRequest};
use crate::protocol::codes::Language;
use crate::protocol::enroll::{Enroll, Outcome, Sought};
use crate::protocol::fields::Fields;
use crate::protocol::foreign::{plain, quoted};
use crate::protocol::record::{Template, User, UserChange};
use crate::rpc::{ErrorCode, Params, RpcError};

/// Most templates of one enrolment: a finger has three at most, a face some twelve.
const MOST_TEMPLATES: usize = 32;

pub(super) fn interpret(
    context: &MethodContext,
    request: &DriverRequest,
    result: Result<Value, RpcError>,
) -> Answer {
    let result = match result {
        Ok(result) => result,
        Err(RpcError { code: ErrorCode::MethodNotFound, .. }) => return Answer::Unable,
        Err(RpcError { code, message, .. }) => {
            let message = plain(&message, SHOWN);
            return Answer::Failed(format!("the driver failed: {message} ({})", code.number()));
        }
    };
    match request {
        DriverRequest::Unlock | DriverRequest::Unalarm if result == false => {
            Answer::Failed("the driver answered false: it was not done".into())
        }
        DriverRequest::Unlock | DriverRequest::Unalarm => Answer::Done,
        DriverRequest::Enroll { enroll, .. } => enrolled(context.language, enroll, result)
            .unwrap_or_else(|why| {
                Answer::Failed(format!("the driver's answer cannot be used: {why}"))
            }),
    }
}

fn enrolled(language: Language, enroll: &Enroll, mut result: Value) -> Result<Answer, String> {
    let outcome = match result["outcome"].as_str() {
        Some("done") => {
            return Ok(match enroll.sought {
                Sought::Card => Answer::Card(card(language, enroll, &result["card"])?),
                _ => Answer::Templates(templates(enroll, result["templates"].take())?),
            });
        }
        Some("exists") => Outcome::Exists,
        Some("failed") => Outcome::Failed,
        Some("duplicate") => Outcome::Duplicate,
        Some("cancelled") => Outcome::Cancelled,
        Some("busy") => Outcome::Busy,
        Some("timeout") => Outcome::TimedOut,
        Some(other) => return Err(format!("there is no outcome {}", quoted(other))),
        None => return Err("outcome is missing".into()),
    };
    Ok(Answer::NotEnrolled(outcome))
}

/// The number of a card, by the rules of `user.put`.
fn card(language: Language, enroll: &Enroll, card: &Value) -> Result<String, String> {
    let card = match card {
        Value::String(card) => card.clone(),
        Value::Number(card) => card.to_string(),
        _ => return Err("card is missing".into()),
    };
    let pairs = [("pin", enroll.pin.to_string()), ("card", card)];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value));
    let change = UserChange::from_fields(&Fields::from_pairs(pairs.into()), language)
        .map_err(|refusal| refusal.why)?;
    let mut user = User::new(enroll.pin.clone());
    change.apply(&mut user);
    Some(user.card).filter(|card| !card.is_empty()).ok_or_else(|| "card is empty".into())
}

/// The templates of an enrolment, by the rules of `template.put`: each of what was asked for.
fn templates(enroll: &Enroll, list: Value) -> Result<Vec<Template>, String> {
    let list = match list {
        Value::Array(list) if (1..=MOST_TEMPLATES).contains(&list.len()) => list,
        _ => return Err(format!("templates must be a list of 1 to {MOST_TEMPLATES}")),
    };
    list.into_iter().map(|template| one_template(enroll, template)).collect()
}

fn one_template(enroll: &Enroll, template: Value) -> Result<Template, String> {
    let params = Params::from_value(template).ok_or("a template must be an object")?;
    let template = biometrics::template(&params, enroll.pin.clone(), || Data::inline(&params))
        .map_err(|error| error.into_rpc().message)?;
    let slot = template.slot;
    let (of, number) = (slot.kind().bio_type(), slot.number());
    if Some(of) != enroll.sought.bio_type()
        || enroll.sought.number().is_some_and(|sought| sought != number)
    {
        return Err(format!("a template is of {of} {number}, which was not asked for"));
    }
    Ok(template)
}
