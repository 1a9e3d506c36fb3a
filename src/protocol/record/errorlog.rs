//! The error log (§11.16; codes in App. 9).

use std::fmt;

use serde_json::{Map, Value};

use super::Invalid;
use super::data;
use super::invalid::clean;
use crate::protocol::codes::Language;
use crate::protocol::{foreign, text, texts};

/// Most characters of a message.
const LONGEST_MESSAGE: usize = 512;
/// Most characters in the id of a command.
const LONGEST_ID: usize = 32;
/// Most bytes of additional information as JSON: a request has room for many rows.
const LONGEST_ADDITIONAL: usize = 16 * 1024;

/// The code of an error: `D` terminal or `S` server, two digits of the module, `E`, four
/// digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCode(String);

impl ErrorCode {
    /// Checks a code. `00000000` (success) is refused.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let fits = text.len() == 8
            && text.bytes().zip(*b"D99E9999").all(|(byte, shape)| match shape {
                b'D' => matches!(byte, b'D' | b'S'),
                b'E' => byte == b'E',
                _ => byte.is_ascii_digit(),
            });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new("code", "is not of the form D01E0001"))
        }
    }

    /// The eight characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The code, with its text or its module if App. 9 has one.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.as_str();
        let module = code[1..3].parse().ok().and_then(texts::error_module);
        match (texts::error(code), module) {
            (Some(message), _) => write!(f, "{code} ({message})"),
            (None, Some(module)) if code.starts_with('D') => write!(f, "{code} (of {module})"),
            _ => f.write_str(code),
        }
    }
}

/// Whether this can be the id of a command.
fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// An error that the terminal met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLog {
    code: ErrorCode,
    message: String,
    command: Option<String>,
    additional: Option<Map<String, Value>>,
}

impl ErrorLog {
    /// An error of the terminal's own data, or of the data of the command with this id.
    /// `additional` is an object, or null for nothing.
    pub fn new(
        code: ErrorCode,
        message: &str,
        command: Option<&str>,
        additional: Value,
    ) -> Result<Self, Invalid> {
        if command.is_some_and(|id| !is_id(id)) {
            return Err(Invalid::new("command", "is not 1 to 32 letters, digits, - and _"));
        }
        let additional = match additional {
            Value::Null => None,
            Value::Object(object) => Some(object),
            _ => return Err(Invalid::new("additional", "is not a JSON object")),
        };
        let error = Self {
            code,
            message: visible(clean("message", message, LONGEST_MESSAGE)?),
            command: command.map(str::to_owned),
            additional,
        };
        let bytes = error.json().len();
        if bytes > LONGEST_ADDITIONAL {
            let why = format!("has {bytes} bytes as JSON, more than {LONGEST_ADDITIONAL}");
            return Err(Invalid::new("additional", why));
        }
        Ok(error)
    }

    /// An error that was accepted before. Its rules are not checked again: numbers in the
    /// additional information can become a digit longer in the store, and what was accepted goes
    /// up. `None` if the additional information is no object.
    pub fn stored(
        code: ErrorCode,
        message: String,
        command: Option<String>,
        additional: Value,
    ) -> Option<Self> {
        let additional = match additional {
            Value::Null => None,
            Value::Object(object) => Some(object),
            _ => return None,
        };
        Some(Self { code, message, command, additional })
    }

    /// The error that the data of a command was refused. A code becomes `D06E0001` if it breaks
    /// a rule; a message or an id that breaks a rule is left out: they come from the server.
    pub fn of_data(code: &str, message: &str, command: &str) -> Self {
        let code = ErrorCode::new(code).unwrap_or(ErrorCode("D06E0001".into()));
        let id = Some(command).filter(|id| is_id(id));
        Self {
            code,
            message: visible(clean("message", message, LONGEST_MESSAGE).unwrap_or_default()),
            command: id.map(str::to_owned),
            additional: None,
        }
    }

    /// The code.
    pub fn code(&self) -> &ErrorCode {
        &self.code
    }

    /// The message; may be empty.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The id of the command whose data is wrong; none for the terminal's own data.
    pub fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }

    /// Additional information.
    pub fn additional(&self) -> Option<&Map<String, Value>> {
        self.additional.as_ref()
    }

    /// Writes the row without its line end.
    pub fn write(&self, out: &mut Vec<u8>, language: Language) {
        let Self { code, message, command, .. } = self;
        let (origin, id) = command.as_deref().map_or(("dev", ""), |id| ("cmd", id));
        out.extend_from_slice(format!("ERRORLOG ErrCode={}\tErrMsg=", code.as_str()).as_bytes());
        out.extend_from_slice(&text::encode(message, language));
        out.extend_from_slice(format!("\tDataOrigin={origin}\tCmdId={id}\tAdditional=").as_bytes());
        data::write(self.json().as_bytes(), out);
    }

    /// The additional information as JSON; empty for none.
    fn json(&self) -> String {
        self.additional
            .as_ref()
            .map(|object| Value::Object(object.clone()).to_string())
            .unwrap_or_default()
    }
}

/// A message in which nothing is hidden: marks of the direction of writing are escaped.
fn visible(message: String) -> String {
    if message.contains(foreign::is_hidden) {
        foreign::plain(&message, LONGEST_MESSAGE)
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code() -> ErrorCode {
        ErrorCode::new("D01E0001").unwrap()
    }

    fn row(error: &ErrorLog, language: Language) -> Vec<u8> {
        let mut row = Vec::new();
        error.write(&mut row, language);
        row
    }

    #[test]
    fn a_row_is_as_in_the_document() {
        let error = ErrorLog::new(code(), "", Some("123"), Value::Null).unwrap();
        assert_eq!(
            String::from_utf8(row(&error, Language::ENGLISH)).unwrap(),
            "ERRORLOG ErrCode=D01E0001\tErrMsg=\tDataOrigin=cmd\tCmdId=123\tAdditional="
        );
    }

    #[test]
    fn an_error_of_the_terminal_has_no_command_and_its_additions_are_base64() {
        let error = ErrorLog::new(code(), "太暗", None, json!({"a": 1})).unwrap();
        let row = row(&error, Language::SIMPLIFIED_CHINESE);
        let (text, ..) = encoding_rs::GBK.decode(&row);
        assert_eq!(
            text,
            "ERRORLOG ErrCode=D01E0001\tErrMsg=太暗\tDataOrigin=dev\tCmdId=\tAdditional=eyJhIjoxfQ=="
        );
    }

    #[test]
    fn codes_have_one_form_and_a_text() {
        for text in ["", "00000000", "D01E001", "X01E0001", "D01e0001", "D01E000é", "D0AE0001"] {
            assert_eq!(ErrorCode::new(text).unwrap_err().field, "code", "{text}");
        }
        for (text, message) in [
            ("D01E0001", "D01E0001 (no face found)"),
            ("D03E0042", "D03E0042 (of hardware)"),
            ("D99E0042", "D99E0042"),
            ("S01E0042", "S01E0042"),
        ] {
            assert_eq!(ErrorCode::new(text).unwrap().to_string(), message);
        }
    }

    #[test]
    fn wrong_values_are_refused_with_their_field() {
        let long = "x".repeat(LONGEST_MESSAGE + 1);
        let huge = json!({"a": "x".repeat(LONGEST_ADDITIONAL)});
        for (message, command, additional, field) in [
            ("a\tb", None, Value::Null, "message"),
            (long.as_str(), None, Value::Null, "message"),
            ("", Some(""), Value::Null, "command"),
            ("", Some("1\t2"), Value::Null, "command"),
            ("", None, json!([1]), "additional"),
            ("", None, json!("text"), "additional"),
            ("", None, huge, "additional"),
        ] {
            let invalid = ErrorLog::new(code(), message, command, additional).unwrap_err();
            assert_eq!(invalid.field, field, "{message}");
        }
    }
}
