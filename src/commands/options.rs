//! `SET OPTION` (§12.7.1): the option is kept, `INFO` and the options push report it, and those that the
//! handshake sets hold at once.

use super::context::Context;
use super::error::CommandError;
use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::fields::Refusal;
use crate::protocol::text;

/// Most options that are kept.
const MOST_OPTIONS: usize = 500;
/// Most bytes of all options together.
const MOST_BYTES: usize = 64 << 10;
/// Longest name of an option in bytes.
const LONGEST_NAME: usize = 64;
/// Longest value of an option in characters.
const LONGEST_VALUE: usize = 1000;
/// What the terminal counts, or takes from its configuration; names in lower case.
const READ_ONLY: [&str; 8] = [
    "~serialnumber",
    "fwversion",
    "pushversion",
    "usercount",
    "transactioncount",
    "language",
    "ipaddress",
    "~maxusercount",
];

/// Keeps an option. The caller holds the transaction.
pub(super) fn set_option(context: &Context<'_>, option: &[u8]) -> Result<(), CommandError> {
    let (key, value) = parse(option, context.language)?;
    let all = context.store.options().all()?;
    let others = all.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(&key));
    let bytes: usize = others.clone().map(|(name, value)| name.len() + value.len()).sum();
    if others.count() >= MOST_OPTIONS || bytes + value.len() > MOST_BYTES {
        let why =
            format!("the terminal keeps at most {MOST_OPTIONS} options of {MOST_BYTES} bytes");
        return Err(Refusal::new(ReturnCode::CAPACITY, why).into());
    }
    context.store.options().set(&key, &value)?;
    Ok(())
}

fn parse(option: &[u8], language: Language) -> Result<(String, String), Refusal> {
    let option = text::decode(option, language)
        .ok_or_else(|| Refusal::parameter("the option is neither UTF-8 nor GBK text"))?;
    let (key, value) = option
        .split_once('=')
        .ok_or_else(|| Refusal::parameter("the option is not of the form name=value"))?;
    let (key, value) = (key.trim(), value.trim());
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"~_".contains(&byte);
    if key.is_empty() || key.len() > LONGEST_NAME || !key.bytes().all(is_allowed) {
        return Err(Refusal::parameter(format!(
            "{key:?} is not the name of an option: that has 1 to {LONGEST_NAME} letters, digits, ~ and _"
        )));
    }
    if !text::is_clean(value) || value.chars().count() > LONGEST_VALUE {
        return Err(Refusal::parameter(format!(
            "the value of {key} is longer than {LONGEST_VALUE} characters, or has a control character"
        )));
    }
    if READ_ONLY.contains(&key.to_ascii_lowercase().as_str()) {
        let why = format!("{key} is read-only: the terminal counts it, or is configured with it");
        return Err(Refusal::new(ReturnCode::MISMATCH, why));
    }
    Ok((key.to_owned(), value.to_owned()))
}
