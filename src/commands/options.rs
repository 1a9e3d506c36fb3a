//! `SET OPTION` (§12.7.1).

use super::Executor;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::Refusal;
use crate::protocol::text;
use crate::store::StoreError;

/// Most options that are kept.
const MOST_OPTIONS: usize = 500;
/// Most bytes of all options together.
const MOST_BYTES: usize = 64 << 10;
/// Longest value of an option in characters.
const LONGEST_VALUE: usize = 1000;
/// What is counted or comes from the configuration, and cannot be set from outside.
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

impl Executor<'_> {
    /// Keeps an option. Drivers and `INFO` see it; those of the handshake hold at once.
    pub(super) fn set_option(&self, option: &[u8]) -> Result<Result<(), Refusal>, StoreError> {
        let (key, value) = match self.read_option(option) {
            Ok(pair) => pair,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let others: Vec<_> = self.store.options().all()?;
        let others = others.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(&key));
        let bytes: usize = others.clone().map(|(name, value)| name.len() + value.len()).sum();
        if others.count() >= MOST_OPTIONS || bytes + value.len() > MOST_BYTES {
            return Ok(Err(Refusal::new(
                ReturnCode::CAPACITY,
                format!("{MOST_OPTIONS} options or {MOST_BYTES} bytes of them are set already"),
            )));
        }
        self.store.options().set(&key, &value)?;
        Ok(Ok(()))
    }

    fn read_option(&self, option: &[u8]) -> Result<(String, String), Refusal> {
        let option = text::decode(option, self.language)
            .ok_or_else(|| Refusal::parameter("the option is neither UTF-8 nor GBK text"))?;
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| Refusal::parameter("there is no = in the option"))?;
        let (key, value) = (key.trim(), value.trim());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"~_".contains(&byte);
        if key.is_empty() || key.len() > 64 || !key.bytes().all(plain) {
            return Err(Refusal::parameter(format!("{key:?} is no name of an option")));
        }
        if !text::is_clean(value) || value.chars().count() > LONGEST_VALUE {
            return Err(Refusal::parameter(format!(
                "the value of {key} is too long, or holds a control character"
            )));
        }
        if READ_ONLY.contains(&key.to_ascii_lowercase().as_str()) {
            return Err(Refusal::new(
                ReturnCode::MISMATCH,
                format!("{key} cannot be set by the server"),
            ));
        }
        Ok((key.to_owned(), value.to_owned()))
    }
}
