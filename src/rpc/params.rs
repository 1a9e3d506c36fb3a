//! The parameters of a call, each read by its name and type. An error names the parameter and
//! says what is right.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::error::RpcError;

/// The parameters of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    members: Map<String, Value>,
    /// Which were looked at, by their place: a bit for each of the first ones.
    read: Cell<u64>,
}

impl Params {
    /// The members of an object; `None` if it is something else.
    pub(crate) fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self { members, read: Cell::default() }),
            _ => None,
        }
    }

    /// A parameter as it came, null if it is missing.
    pub(crate) fn get(&self, field: &str) -> &Value {
        let Some(nth) = self.members.keys().position(|name| name == field) else {
            return &Value::Null;
        };
        self.read.set(self.read.get() | 1u64.checked_shl(nth as u32).unwrap_or(0));
        &self.members[field]
    }

    /// The names of those that nobody looked at: of a later version, or misspelt.
    pub(crate) fn ignored(&self) -> Vec<&str> {
        let names = self.members.keys().zip(0..u64::BITS);
        let unread = names.filter(|(_, nth)| self.read.get() & (1 << nth) == 0);
        unread.map(|(name, _)| name.as_str()).collect()
    }

    /// A text. A whole number is taken as text, too, since PINs often are.
    pub(crate) fn text(&self, field: &'static str) -> Result<Option<String>, RpcError> {
        match self.get(field) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            Value::Number(number) if number.is_u64() || number.is_i64() => {
                Ok(Some(number.to_string()))
            }
            _ => Err(RpcError::param(field, "must be a string")),
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, field: &'static str) -> Result<String, RpcError> {
        self.text(field)?.ok_or_else(|| missing(field))
    }

    /// A whole number from 0 to `highest`.
    pub(crate) fn number(
        &self,
        field: &'static str,
        highest: u64,
    ) -> Result<Option<u64>, RpcError> {
        let wrong =
            || RpcError::param(field, format_args!("must be a whole number from 0 to {highest}"));
        match self.get(field) {
            Value::Null => Ok(None),
            value => value.as_u64().filter(|number| *number <= highest).map(Some).ok_or_else(wrong),
        }
    }

    /// A whole number from 0 to `highest` that must be there.
    pub(crate) fn required_number(
        &self,
        field: &'static str,
        highest: u64,
    ) -> Result<u64, RpcError> {
        self.number(field, highest)?.ok_or_else(|| missing(field))
    }

    /// True or false, also as 1 or 0.
    pub(crate) fn switch(&self, field: &'static str) -> Result<Option<bool>, RpcError> {
        match self.get(field) {
            Value::Null => Ok(None),
            Value::Bool(on) => Ok(Some(*on)),
            value => match value.as_u64() {
                Some(number @ 0..=1) => Ok(Some(number == 1)),
                _ => Err(RpcError::param(field, "must be true, false, 1 or 0")),
            },
        }
    }

    /// Bytes in base64 that must be there.
    pub(crate) fn required_bytes(&self, field: &'static str) -> Result<Vec<u8>, RpcError> {
        let text = match self.get(field) {
            Value::Null => return Err(missing(field)),
            value => value.as_str().ok_or_else(|| RpcError::param(field, "must be a string"))?,
        };
        STANDARD
            .decode(text)
            .map_err(|error| RpcError::param(field, format_args!("must be base64: {error}")))
    }
}

fn missing(field: &'static str) -> RpcError {
    RpcError::param(field, "is missing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn params(value: Value) -> Params {
        Params::from_value(value).unwrap()
    }

    #[test]
    fn parameters_are_read_by_their_type() {
        let params = params(json!({
            "text": "a", "pin": 7, "byte": 255, "on": true, "off": 0, "data": "YWI=", "none": null,
        }));
        assert_eq!(params.text("text"), Ok(Some("a".into())));
        assert_eq!(params.required_text("pin"), Ok("7".into()));
        assert_eq!(params.required_number("byte", 255), Ok(255));
        assert_eq!((params.switch("on"), params.switch("off")), (Ok(Some(true)), Ok(Some(false))));
        assert_eq!(params.required_bytes("data"), Ok(b"ab".to_vec()));
        for field in ["none", "other"] {
            assert_eq!(params.text(field), Ok(None));
            assert_eq!(params.number(field, 1), Ok(None));
            assert_eq!(params.switch(field), Ok(None));
            assert_eq!(
                params.required_text(field).unwrap_err().message,
                format!("{field}: is missing")
            );
            assert!(
                params.required_number(field, 1).is_err() && params.required_bytes(field).is_err()
            );
        }
    }

    #[test]
    fn an_error_names_the_parameter_and_what_is_right() {
        for value in [json!(1.5), json!([]), json!({}), json!(-1), json!("*"), json!(256)] {
            let params = params(json!({"p": value}));
            let number = params.number("p", 255).unwrap_err().message;
            assert_eq!(number, "p: must be a whole number from 0 to 255");
            let switch = params.switch("p").unwrap_err().message;
            assert_eq!(switch, "p: must be true, false, 1 or 0");
            assert!(params.required_bytes("p").unwrap_err().message.starts_with("p: must be "));
        }
        let text = params(json!({"p": 1.5})).text("p").unwrap_err().message;
        assert_eq!(text, "p: must be a string");
    }
}
