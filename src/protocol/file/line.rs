//! Commands with one parameter, `GetFile` and `SHELL`, and the rule for text of all commands
//! about files.

use std::borrow::Cow;

use crate::protocol::fields::Refusal;
use crate::protocol::text;

/// Most bytes of a URL or a path.
pub(super) const LONGEST: usize = 2048;

/// The path after `GetFile` (§12.8.1).
pub fn get_file(text: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    let path = plain(text.trim_ascii(), "GetFile")?;
    if path.is_empty() || path.len() > LONGEST {
        return Err(Refusal::parameter("the path is missing or too long"));
    }
    Ok(path)
}

/// The command line after `SHELL` (§12.11.1).
pub fn shell(text: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    const LONGEST_LINE: usize = 16 << 10;
    let line = text::decode_any(text.trim_ascii())
        .filter(|line| !line.contains('\0'))
        .ok_or_else(|| Refusal::parameter("the line of SHELL is neither UTF-8 nor GBK text"))?;
    if line.is_empty() || line.len() > LONGEST_LINE {
        return Err(Refusal::parameter("the line of SHELL is missing or too long"));
    }
    Ok(line)
}

/// The text of a command, without control characters except TAB.
pub(super) fn plain<'a>(text: &'a [u8], command: &str) -> Result<Cow<'a, str>, Refusal> {
    text::decode_any(text)
        .filter(|text| text.chars().all(|c| c == '\t' || !c.is_control()))
        .ok_or_else(|| {
            Refusal::parameter(format!(
                "the text of {command} has a control character, or is neither UTF-8 nor GBK"
            ))
        })
}
