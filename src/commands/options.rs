//! `SET OPTION` (§12.7.1). What the terminal acts on holds at once, until a handshake says otherwise; the
//! rest is kept for drivers. An option that cannot have the value is refused: 0 means that `INFO` and
//! the options push say this value.

use super::context::Context;
use super::error::CommandError;
use crate::device::Device;
use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::device::is_same_option;
use crate::protocol::fields::Refusal;
use crate::protocol::foreign::quoted;
use crate::protocol::option_rule::{MOST_OPTION_BYTES, MOST_OPTIONS, check_name, check_value};
use crate::protocol::options::ServerOptions;
use crate::protocol::text;

/// Sets an option. The caller holds the transaction.
pub(super) fn set_option(
    context: &Context<'_>,
    device: &dyn Device,
    option: &[u8],
) -> Result<(), CommandError> {
    let (name, value) = parse(option, context.language)?;
    let known = context.profile.known(context.language, device);
    let counted = context.profile.counted(context.store)?;
    let own = known.iter().chain(&counted).find(|(own, _)| is_same_option(own, &name));
    if let Some((own, now)) = own {
        if !context.profile.is_switch(own) {
            return require_same(own, now, &value);
        }
        require_possible(own, now, &value)?;
    }
    if !context.store.options().put(&name, &value)? {
        let why = format!(
            "the terminal keeps at most {MOST_OPTIONS} options of {MOST_OPTION_BYTES} bytes"
        );
        return Err(Refusal::new(ReturnCode::CAPACITY, why).into());
    }
    Ok(())
}

/// The name and the value, checked. Of an option of the session the name has no `~`.
fn parse(option: &[u8], language: Language) -> Result<(String, String), Refusal> {
    let option = text::decode(option, language)
        .ok_or_else(|| Refusal::parameter("the option is neither UTF-8 nor GBK text"))?;
    let (name, value) = option
        .split_once('=')
        .ok_or_else(|| Refusal::parameter("the option is not of the form name=value"))?;
    let (name, value) = (name.trim(), value.trim());
    check_name(name)
        .map_err(|why| Refusal::parameter(format!("the name {} {why}", quoted(name))))?;
    let refuse = |why: String| Refusal::parameter(format!("{name} {why}: {}", quoted(value)));
    check_value(name, value).map_err(refuse)?;
    let bare = name.trim_start_matches('~');
    let key = bare.to_ascii_lowercase();
    if ServerOptions::is_of_handshake(&key) {
        return Err(Refusal::parameter(format!("{name} has an effect in a handshake only")));
    }
    if !ServerOptions::is_settable(&key) {
        return Ok((name.to_owned(), value.to_owned()));
    }
    ServerOptions::check(&key, value).map_err(refuse)?;
    let mut read = ServerOptions::default();
    read.set(&key, value);
    for warning in &read.warnings {
        log::warn!("SET OPTION: {warning}");
    }
    Ok((bare.to_owned(), value.to_owned()))
}

/// What the terminal counts or is configured with can only be set to what it is.
fn require_same(name: &str, now: &str, value: &str) -> Result<(), CommandError> {
    if value == now {
        return Ok(());
    }
    let why = format!(
        "{name} is {} and is read-only: the terminal counts it, or is configured with it",
        quoted(now)
    );
    Err(Refusal::parameter(why).into())
}

/// A function can be switched off, and on if the terminal has it.
fn require_possible(name: &str, configured: &str, value: &str) -> Result<(), CommandError> {
    match (value, configured) {
        ("0", _) | ("1", "1") => Ok(()),
        ("1", _) => {
            let why =
                format!("{name} cannot be 1: the terminal is configured without it ([device])");
            Err(Refusal::parameter(why).into())
        }
        _ => Err(Refusal::parameter(format!("{name} is not 0 or 1: {}", quoted(value))).into()),
    }
}
