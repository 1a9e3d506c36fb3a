//! Errors (§11.16, appendix 9): `ERRORLOG`, a blank, five keys.

use serde::Serialize;

use super::{after, base64, keyed};
use crate::deviation::{Flaw, Kind};

/// One error the terminal met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorLog {
    /// Eight characters: side, module, `E`, number.
    pub code: String,
    /// The message.
    pub message: String,
    /// `true`: data of a command was at fault. `false`: the terminal's own.
    pub of_command: bool,
    /// The command, if one was at fault.
    pub command: String,
    /// The JSON of `Additional`.
    pub additional: Option<serde_json::Value>,
}

/// Reads a row.
pub fn parse(row: &str) -> Result<ErrorLog, Flaw> {
    let keys = ["ErrCode", "ErrMsg", "DataOrigin", "CmdId", "Additional"];
    let [code, message, origin, command, additional] = keyed(after(row, "ERRORLOG")?, keys)?;
    if !is_code(code) {
        return Err(Flaw::new(
            Kind::Value,
            format!("ErrCode is {code:?}, not of the form D01E0001"),
        ));
    }
    if !["dev", "cmd"].contains(&origin) {
        return Err(Flaw::new(
            Kind::Value,
            format!("DataOrigin is {origin:?}, neither dev nor cmd"),
        ));
    }
    if origin == "cmd" && command.is_empty() {
        return Err(Flaw::new(Kind::Value, "DataOrigin is cmd, but CmdId is empty"));
    }
    Ok(ErrorLog {
        code: code.to_owned(),
        message: message.to_owned(),
        of_command: origin == "cmd",
        command: command.to_owned(),
        additional: json(additional)?,
    })
}

fn is_code(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    text == "00000000"
        || (text.is_ascii()
            && text.len() == 8
            && text.starts_with(['D', 'S'])
            && digits(&text[1..3])
            && &text[3..4] == "E"
            && digits(&text[4..]))
}

fn json(additional: &str) -> Result<Option<serde_json::Value>, Flaw> {
    if additional.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| {
        Flaw::new(Kind::Additional, format!("Additional is not JSON in base64: {why}"))
    };
    let bytes = base64("it", additional).map_err(|flaw| wrong(flaw.text))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "ERRORLOG ErrCode=D01E0001\tErrMsg=\tDataOrigin=cmd\tCmdId=123\tAdditional=";

    #[test]
    fn the_documents_example() {
        let error = parse(GOOD).unwrap();
        assert_eq!(
            (error.code.as_str(), error.of_command, error.command.as_str()),
            ("D01E0001", true, "123")
        );
        assert!(parse(&format!("{GOOD}eyJhIjoxfQ==")).unwrap().additional.is_some());
    }

    #[test]
    fn what_is_wrong() {
        for (from, to, kind) in [
            ("D01E0001", "D01E01", Kind::Value),
            ("D01E0001", "X01E0001", Kind::Value),
            ("=cmd", "=CMD", Kind::Value),
            ("CmdId=123", "CmdId=", Kind::Value),
            ("CmdId", "CmdID", Kind::Keys),
            ("Additional=", "Additional={}", Kind::Additional),
            ("Additional=", "Additional=SghTUw==", Kind::Additional),
        ] {
            assert_eq!(parse(&GOOD.replace(from, to)).map_err(|flaw| flaw.kind), Err(kind), "{to}");
        }
    }
}
