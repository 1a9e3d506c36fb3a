//! What a line says, and the lines that are written.

use serde_json::{Map, Value, json};

use super::bounded;
use super::error::{ErrorCode, RpcError};
use super::params::Params;

/// Bytes of an id that is a text: it stands in the answer, too.
const LONGEST_ID: usize = 256;

/// What a line says.
#[derive(Debug)]
pub(crate) enum Message {
    /// The other side calls a method.
    Request(Request),
    /// The other side answers a call.
    Response(Response),
}

/// A call of a method.
#[derive(Debug)]
pub(crate) struct Request {
    /// `None` for a notification, which gets no response.
    pub(crate) id: Option<Value>,
    /// Not checked yet: it may be a method that nobody knows.
    pub(crate) method: String,
    /// Empty if there were none.
    pub(crate) params: Params,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Response {
    /// The call's; null if it had none, or one that could not be read.
    pub(crate) id: Value,
    /// The result, or why there is none.
    pub(crate) result: Result<Value, RpcError>,
}

/// A line that is neither a request nor a response.
#[derive(Debug)]
pub(crate) struct Malformed {
    /// For the response: that of the line, null if it has none.
    pub(crate) id: Value,
    /// What is wrong with the line.
    pub(crate) error: RpcError,
}

/// Reads one line.
///
/// # Errors
/// What is to be answered to a line that is no message.
pub(crate) fn parse(line: &[u8]) -> Result<Message, Malformed> {
    let refuse = |id, code, message: String| Malformed { id, error: RpcError::new(code, message) };
    let members = bounded::members(line).map_err(|error| match error.is_data() {
        true => refuse(Value::Null, ErrorCode::InvalidRequest, error.to_string()),
        false => {
            refuse(Value::Null, ErrorCode::ParseError, format!("the line must be JSON: {error}"))
        }
    })?;
    let Some(mut object) = members else {
        let message = "a line must be one JSON object; batches are not taken";
        return Err(refuse(Value::Null, ErrorCode::InvalidRequest, message.into()));
    };
    let id = object.remove("id");
    if !matches!(id, None | Some(Value::Null | Value::Number(_) | Value::String(_))) {
        let message = "id must be a number or a string";
        return Err(refuse(Value::Null, ErrorCode::InvalidRequest, message.into()));
    }
    if id.as_ref().and_then(Value::as_str).is_some_and(|id| id.len() > LONGEST_ID) {
        let message = format!("id may have {LONGEST_ID} bytes at most");
        return Err(refuse(Value::Null, ErrorCode::InvalidRequest, message));
    }
    message(id.clone(), &mut object).map_err(|message| {
        refuse(id.unwrap_or_default(), ErrorCode::InvalidRequest, message.to_owned())
    })
}

/// The message that the members of an object make, or what is wrong with them.
fn message(id: Option<Value>, object: &mut Map<String, Value>) -> Result<Message, &'static str> {
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err("jsonrpc must be \"2.0\"");
    }
    if !object.contains_key("method")
        && let Some(result) = outcome(object)
    {
        return Ok(Message::Response(Response { id: id.unwrap_or_default(), result }));
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Err("method must be a string");
    };
    let params = match object.remove("params") {
        None | Some(Value::Null) => Params::default(),
        Some(params) => Params::from_value(params).ok_or("params must be an object")?,
    };
    Ok(Message::Request(Request { id, method, params }))
}

/// What a response says; `None` if it has neither a result nor an error.
fn outcome(object: &mut Map<String, Value>) -> Option<Result<Value, RpcError>> {
    match object.remove("error") {
        None | Some(Value::Null) => object.remove("result").map(Ok),
        Some(error) => Some(Err(RpcError::from_json(&error))),
    }
}

/// Writes a request, or without an `id` a notification.
pub(super) fn request(id: Option<u64>, method: &str, params: &Value) -> String {
    match id {
        Some(id) => json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}),
        None => json!({"jsonrpc": "2.0", "method": method, "params": params}),
    }
    .to_string()
}

/// Writes the response to the request of this `id`.
pub(crate) fn response(id: &Value, result: Result<Value, RpcError>) -> String {
    // Written by hand: `json!` would copy the result, which may be a page with a photo in it.
    match result {
        Ok(result) => format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{result}}}"#),
        Err(error) => format!(r#"{{"error":{},"id":{id},"jsonrpc":"2.0"}}"#, error.to_json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{DriverMethod, Method};

    #[test]
    fn what_is_written_is_read_the_same() {
        let params = json!({"pin": "1001"});
        for (line, id) in [
            (Method::Punch.request(7, &params), Some(json!(7))),
            (DriverMethod::Changed.notification(&params), None),
        ] {
            let Ok(Message::Request(request)) = parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!((request.id, request.params.get("pin")), (id, &json!("1001")));
        }
        for result in [Ok(json!({"seq": 1})), Err(RpcError::new(ErrorCode::Busy, "busy"))] {
            let line = response(&json!("a"), result.clone());
            let Ok(Message::Response(response)) = parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!((response.id, response.result), (json!("a"), result));
        }
    }

    #[test]
    fn a_parameter_at_fault_is_named_in_the_response() {
        let line = response(&json!(1), Err(RpcError::param("pin", "is missing")));
        let line: Value = serde_json::from_str(&line).unwrap();
        let error = json!({"code": -32602, "message": "pin: is missing", "data": {"field": "pin"}});
        assert_eq!(line, json!({"jsonrpc": "2.0", "id": 1, "error": error}));
    }

    #[test]
    fn a_malformed_line_is_answered_under_its_id() {
        for (line, id, code) in [
            (r#"{"jsonrpc": "2.0", "id": 5, "method": 7}"#, json!(5), -32600),
            (r#"{"jsonrpc": "1.0", "id": "a", "method": "punch"}"#, json!("a"), -32600),
            (r#"{"jsonrpc": "2.0", "id": 5, "method": "punch", "params": []}"#, json!(5), -32600),
            (r#"{"jsonrpc": "2.0", "id": 5, "method": null, "result": 1}"#, json!(5), -32600),
            (r#"{"jsonrpc": "2.0", "id": 5, "error": null}"#, json!(5), -32600),
            (r#"{"jsonrpc": "2.0", "id": [5], "result": 1}"#, Value::Null, -32600),
            ("[]", Value::Null, -32600),
            ("{", Value::Null, -32700),
            ("\u{0}", Value::Null, -32700),
        ] {
            let malformed = parse(line.as_bytes()).unwrap_err();
            assert_eq!((malformed.id, malformed.error.code.number()), (id, code), "{line}");
        }
    }
}
