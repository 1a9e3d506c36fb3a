//! `operation`, `alarm` and `error`: what happened on the terminal besides punches.

use serde_json::Value;

use super::context::MethodContext;
use super::error::MethodError;
use crate::protocol::codes::operation;
use crate::protocol::record::{ErrorCode, ErrorLog, Invalid, Operand, Pin};
use crate::rpc::Params;
use crate::store::NewOperation;

pub(super) fn operation(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let operation = NewOperation {
        code: params.required_number("op", u16::MAX.into())? as u16,
        moment: context.moment(params)?,
        operator: operator(params)?,
        who: operand(params, "who")?,
        values: [operand(params, "v1")?, operand(params, "v2")?, operand(params, "v3")?],
    };
    context.recorded(context.store.journal().add_operation(&operation))
}

/// An operation that is an alarm: App. 4 has the reason of App. 5 as its second object.
pub(super) fn alarm(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let reason = params.required_number("reason", u16::MAX.into())?;
    let operation = NewOperation {
        code: operation::ALARM,
        moment: context.moment(params)?,
        operator: operator(params)?,
        who: Operand::default(),
        values: [
            Operand::new("reason", &reason.to_string())?,
            Operand::default(),
            Operand::default(),
        ],
    };
    context.recorded(context.store.journal().add_operation(&operation))
}

/// Who did it: servers read a PIN there.
pub(super) fn operator(params: &Params) -> Result<Operand, MethodError> {
    match params.text("operator")?.as_deref() {
        None | Some("") => Ok(Operand::default()),
        Some(pin) => {
            let named = |invalid| Invalid { field: "operator", ..invalid };
            Ok(Operand::new("operator", Pin::new(pin).map_err(named)?.as_str())?)
        }
    }
}

fn operand(params: &Params, field: &'static str) -> Result<Operand, MethodError> {
    Ok(Operand::new(field, &params.text(field)?.unwrap_or_default())?)
}

/// An error for the server's error log (§11.16).
pub(super) fn error(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let code = ErrorCode::new(&params.required_text("code")?)?;
    let message = params.text("message")?.unwrap_or_default();
    let command = params.text("command")?;
    let additional = params.get("additional").clone();
    let error = ErrorLog::new(code, &message, command.as_deref(), additional)?;
    context.recorded(context.store.error_log().add_from_driver(&error))
}
