//! JSON-RPC 2.0: calls as they come in and answers as they go out, and the other way round.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::protocol::fields::Refusal;
use crate::protocol::record::Invalid;
use crate::store::StoreError;

/// The error code for a store that fails, as App. 1 has it for want of room.
const STORAGE: i64 = -1001;

/// A call of a driver.
pub(super) struct Call {
    /// `None` for a notification, which gets no answer.
    id: Option<Value>,
    pub(super) method: String,
    pub(super) params: Params,
}

/// What a driver answers to a request of ours.
pub(super) struct Reply {
    /// Which request; none that we ever made has another id than a number.
    pub(super) number: Option<u64>,
    /// What came of it, or code and message of the error.
    pub(super) result: Result<Value, (i64, String)>,
}

/// What a line says.
pub(super) enum Said {
    Call(Call),
    Reply(Reply),
}

/// Why a call was refused.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    code: i64,
    message: String,
    field: Option<&'static str>,
    id: Value,
}

/// The parameters of a call, each looked up by its name.
#[derive(Clone)]
pub(super) struct Params(Map<String, Value>);

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> Result<Said, Fault> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| Fault::new(-32700, format!("this is not JSON: {error}")))?;
    let Value::Object(mut object) = value else {
        return Err(Fault::new(-32600, "a call is one JSON object a line; batches are not taken"));
    };
    let id = object.remove("id");
    let refuse = |message: &str| Fault {
        id: id.clone().unwrap_or(Value::Null),
        ..Fault::new(-32600, message)
    };
    if !matches!(id, None | Some(Value::Null | Value::Number(_) | Value::String(_))) {
        return Err(Fault::new(-32600, "id is neither a number nor a string"));
    }
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(refuse("jsonrpc is not \"2.0\""));
    }
    if !object.contains_key("method")
        && let Some(result) = outcome(&mut object)
    {
        return Ok(Said::Reply(Reply { number: id.as_ref().and_then(Value::as_u64), result }));
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Err(refuse("method is missing or no string"));
    };
    let params = match object.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(refuse("params is no object")),
    };
    Ok(Said::Call(Call { id, method, params: Params(params) }))
}

/// The result or the error of an answer; none, if it holds neither.
fn outcome(object: &mut Map<String, Value>) -> Option<Result<Value, (i64, String)>> {
    match object.remove("error") {
        None | Some(Value::Null) => object.remove("result").map(Ok),
        Some(error) => {
            let message = error["message"].as_str().unwrap_or("no message").to_owned();
            Some(Err((error["code"].as_i64().unwrap_or(0), message)))
        }
    }
}

/// A request or, without a number, a notification to a driver.
pub(super) fn request(number: Option<u64>, method: &str, params: &Value) -> String {
    match number {
        Some(id) => json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}),
        None => json!({"jsonrpc": "2.0", "method": method, "params": params}),
    }
    .to_string()
}

impl Call {
    /// Whether it changes the store.
    pub(super) fn writes(&self) -> bool {
        matches!(
            self.method.as_str(),
            "punch"
                | "operation"
                | "alarm"
                | "photo"
                | "error"
                | "user.put"
                | "template.put"
                | "picture.put"
                | "idcard.put"
                | "quarantine"
        )
    }

    /// Whether it is done after all others that came with it, and their commit.
    pub(super) fn comes_last(&self) -> bool {
        self.method == "changes" || self.asks_the_server()
    }

    /// Whether only the server can answer it.
    pub(super) fn asks_the_server(&self) -> bool {
        matches!(self.method.as_str(), "verify" | "remote")
    }

    /// The line that answers it; none for a notification.
    pub(super) fn answer(&self, result: Result<Value, Fault>) -> Option<String> {
        let id = self.id.clone()?;
        Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string(),
            Err(fault) => Fault { id, ..fault }.answer(),
        })
    }
}

impl Fault {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, id: Value::Null }
    }

    pub(super) fn unknown_method(method: &str) -> Self {
        Self::new(-32601, format!("there is no method {method:?}"))
    }

    pub(super) fn too_long(longest: usize) -> Self {
        Self::new(-32600, format!("a line is at most {longest} bytes long"))
    }

    /// Whether the store failed.
    pub(super) fn is_of_the_store(&self) -> bool {
        self.code == STORAGE
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn field(field: &'static str, why: impl std::fmt::Display) -> Self {
        Self { field: Some(field), ..Self::new(-32602, format!("{field}: {why}")) }
    }

    pub(super) fn answer(&self) -> String {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(field) = self.field {
            error["data"] = json!({"field": field});
        }
        json!({"jsonrpc": "2.0", "id": self.id, "error": error}).to_string()
    }
}

/// The store could not keep it: nothing was recorded.
impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::new(STORAGE, format!("not recorded: {error}"))
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self::field(invalid.field, invalid.why)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self { field: refusal.field, ..Self::new(-32602, refusal.why) }
    }
}

impl Params {
    /// An object that came inside something else.
    pub(super) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self(members)),
            _ => None,
        }
    }

    /// A text; a whole number is taken as text too, since PINs often are.
    pub(super) fn text(&self, field: &'static str) -> Result<Option<String>, Fault> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) if number.is_u64() || number.is_i64() => {
                Ok(Some(number.to_string()))
            }
            Some(_) => Err(Fault::field(field, "is no string")),
        }
    }

    /// A text that must be there.
    pub(super) fn required(&self, field: &'static str) -> Result<String, Fault> {
        self.text(field)?.ok_or_else(|| Fault::field(field, "is missing"))
    }

    /// A whole number from 0 to `highest`.
    pub(super) fn number(&self, field: &'static str, highest: u64) -> Result<Option<u64>, Fault> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if number <= highest => Ok(Some(number)),
                _ => Err(Fault::field(field, format!("is no whole number from 0 to {highest}"))),
            },
        }
    }

    /// The member of this name as it came, null if it is not there.
    pub(super) fn value(&self, field: &'static str) -> Value {
        self.0.get(field).cloned().unwrap_or_default()
    }

    /// The same, with a member that holds these bytes.
    pub(super) fn with_bytes(mut self, field: &'static str, bytes: &[u8]) -> Self {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        self.0.insert(field.into(), text.into());
        self
    }

    /// Bytes in base64 that must be there.
    pub(super) fn bytes(&self, field: &'static str) -> Result<Vec<u8>, Fault> {
        base64::engine::general_purpose::STANDARD
            .decode(self.required(field)?)
            .map_err(|error| Fault::field(field, format_args!("is not base64: {error}")))
    }

    /// A switch, 0 and 1 included.
    pub(super) fn switch(&self, field: &'static str) -> Result<Option<bool>, Fault> {
        match self.0.get(field) {
            Some(Value::Bool(on)) => Ok(Some(*on)),
            _ => Ok(self.number(field, 1)?.map(|number| number == 1)),
        }
    }

    /// A complaint about a field, for rules that go beyond its type.
    pub(super) fn complain(field: &'static str, why: &str) -> Fault {
        Fault::field(field, why)
    }
}

/// Calls a method of a running daemon, as `punchd status` and `punchd punch` do.
///
/// # Errors
/// A message for a person: that nobody listens at `socket`, or what the daemon refused.
pub fn call(socket: &Path, method: &str, params: &Value) -> Result<Value, String> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = exchange(socket, &request.to_string()).map_err(|error| {
        format!(
            "no answer at {}: {error}. Is `punchd run` running, with the same configuration?",
            socket.display()
        )
    })?;
    let mut answer: Value =
        serde_json::from_str(&answer).map_err(|error| format!("the answer is no JSON: {error}"))?;
    match answer["error"]["message"].as_str() {
        Some(message) => Err(message.to_owned()),
        None => Ok(answer["result"].take()),
    }
}

fn exchange(socket: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    writeln!(stream, "{request}")?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
