//! How a call can fail.

use std::fmt;

use serde_json::{Value, json};

/// The `code` of an error. The numbers are part of the driver protocol and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The line is not JSON.
    ParseError,
    /// The line is JSON, but neither a request nor a response.
    InvalidRequest,
    /// There is no such method.
    MethodNotFound,
    /// A parameter is missing or wrong.
    InvalidParams,
    /// A driver that ships could not set its line (of those that JSON-RPC leaves to a server).
    LineFailed,
    /// Nothing was recorded: the store failed, most often for a full disk, or there are as many
    /// users as may be (`CAPACITY` in App. 1).
    Capacity,
    /// The owner does not allow it to this user (App. 1).
    NotAllowed,
    /// Too much waits already (App. 1).
    Busy,
    /// The server was asked and gave no usable answer (App. 1).
    NotFetched,
    /// A number that only its sender knows.
    Other(i64),
}

impl ErrorCode {
    /// All but [`ErrorCode::Other`].
    pub const ALL: [Self; 9] = [
        Self::ParseError,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::LineFailed,
        Self::Capacity,
        Self::NotAllowed,
        Self::Busy,
        Self::NotFetched,
    ];

    /// The number on the wire.
    pub fn number(self) -> i64 {
        match self {
            Self::ParseError => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::LineFailed => -32000,
            Self::Capacity => -1001,
            Self::NotAllowed => -1002,
            Self::Busy => -1005,
            Self::NotFetched => -1008,
            Self::Other(number) => number,
        }
    }

    /// The code with this number.
    pub(crate) fn from_number(number: i64) -> Self {
        let known = Self::ALL.into_iter().find(|code| code.number() == number);
        known.unwrap_or(Self::Other(number))
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RpcError {
    /// What went wrong, for a program.
    pub(crate) code: ErrorCode,
    /// The same for a person.
    pub(crate) message: String,
    /// The parameter at fault (`data.field`). Written only: nobody needs that of a response.
    field: Option<&'static str>,
}

impl RpcError {
    /// An error about no parameter in particular.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// A parameter is wrong; `why` goes on from its name and a colon.
    pub(crate) fn param(field: &'static str, why: impl fmt::Display) -> Self {
        Self::about(Some(field), format!("{field}: {why}"))
    }

    /// A parameter is wrong, or several together are (no `field`); `message` says which.
    pub(crate) fn about(field: Option<&'static str>, message: String) -> Self {
        Self { code: ErrorCode::InvalidParams, message, field }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut error = json!({"code": self.code.number(), "message": self.message});
        if let Some(field) = self.field {
            error["data"] = json!({"field": field});
        }
        error
    }

    pub(super) fn from_json(error: &Value) -> Self {
        let code = ErrorCode::from_number(error["code"].as_i64().unwrap_or(0));
        Self::new(code, error["message"].as_str().unwrap_or("no message"))
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RpcError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_codes_are_fixed() {
        for (code, number) in [
            (ErrorCode::ParseError, -32700),
            (ErrorCode::InvalidRequest, -32600),
            (ErrorCode::MethodNotFound, -32601),
            (ErrorCode::InvalidParams, -32602),
            (ErrorCode::LineFailed, -32000),
            (ErrorCode::Capacity, -1001),
            (ErrorCode::Busy, -1005),
            (ErrorCode::NotFetched, -1008),
            (ErrorCode::Other(7), 7),
        ] {
            assert_eq!((code.number(), ErrorCode::from_number(number)), (number, code));
            assert_eq!(ErrorCode::ALL.contains(&code), number != 7, "{code:?}");
        }
    }
}
