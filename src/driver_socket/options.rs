//! `option.get` and `option.set`: options that the server set for drivers, and those by which drivers
//! describe the terminal to the server.

use serde_json::{Value, json};

use super::context::MethodContext;
use super::error::MethodError;
use crate::protocol::device::is_same_option;
use crate::protocol::option_rule::{
    MOST_OPTION_BYTES, MOST_OPTIONS, check_name, check_value, is_taken,
};
use crate::reactor;
use crate::rpc::{Params, RpcError};

/// The option that the server or a driver set, or `null`.
pub(super) fn get(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let name = params.required_text("name")?;
    let mut all = context.store.options().all()?.into_iter();
    let found = all.find(|(other, _)| is_same_option(other, &name));
    Ok(found.map_or(Value::Null, |(name, value)| json!({"name": name, "value": value})))
}

/// Sets an option that the terminal itself does not have. `INFO` and the options push say it.
pub(super) fn set(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let (name, value) = (params.required_text("name")?, params.required_text("value")?);
    check_name(&name).map_err(|why| RpcError::param("name", why))?;
    check_value(&name, &value).map_err(|why| RpcError::param("value", why))?;
    if is_taken(&name) {
        let why =
            "is an option that the terminal counts, or that its configuration or the server sets";
        return Err(RpcError::param("name", why).into());
    }
    if !context.store.options().put(&name, &value)? {
        let why = format!(
            "is one too many: the terminal keeps at most {MOST_OPTIONS} options of {MOST_OPTION_BYTES} bytes"
        );
        return Err(RpcError::param("name", why).into());
    }
    reactor::wake_loop();
    Ok(json!({}))
}
