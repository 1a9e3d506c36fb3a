//! Binary data in rows: base64, with its number of characters in `Size`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Invalid;
use crate::protocol::codes::ReturnCode;
use crate::protocol::fields::{Fields, Refusal};

/// The limits of one sort of data, and what a command answers to data that breaks them.
pub(super) struct Rules {
    /// Most bytes, decoded.
    pub most: usize,
    /// The answer if `Size` is wrong.
    pub size: ReturnCode,
    /// The answer if it is not base64.
    pub base64: ReturnCode,
}

impl Rules {
    /// Refuses no bytes, and too many.
    pub(super) fn check(&self, field: &'static str, data: &[u8]) -> Result<(), Invalid> {
        if data.is_empty() {
            return Err(Invalid::new(field, "is empty"));
        }
        if data.len() > self.most {
            return Err(Invalid::new(field, self.too_long(data.len())));
        }
        Ok(())
    }

    /// Decodes base64. A text that is too long is not decoded.
    pub(super) fn decode(&self, field: &'static str, text: &str) -> Result<Vec<u8>, Refusal> {
        let refusal =
            |code, why: &dyn std::fmt::Display| Refusal { code, ..Refusal::field(field, why) };
        if text.len() > characters(self.most) {
            let bytes = text.len() / 4 * 3;
            return Err(refusal(ReturnCode::TOO_LONG, &self.too_long(bytes)));
        }
        let data = STANDARD
            .decode(text)
            .map_err(|error| refusal(self.base64, &format_args!("is not base64: {error}")))?;
        if data.len() > self.most {
            return Err(refusal(ReturnCode::TOO_LONG, &self.too_long(data.len())));
        }
        Ok(data)
    }

    /// Decodes a required field whose number of characters is in `size`. Servers in use count the
    /// decoded bytes there.
    pub(super) fn sized(&self, fields: &Fields, field: &'static str) -> Result<Vec<u8>, Refusal> {
        let text = fields.required(field)?;
        let size: usize = required_number(fields, "size")?;
        if size == text.len() {
            return self.decode(field, text);
        }
        match self.decode(field, text) {
            Ok(data) if size == data.len() => Ok(data),
            Err(refusal) if refusal.code == ReturnCode::TOO_LONG => Err(refusal),
            _ => {
                let why = format!("is {size}, but {field} has {} characters", text.len());
                Err(Refusal { code: self.size, ..Refusal::field("size", why) })
            }
        }
    }

    fn too_long(&self, bytes: usize) -> String {
        format!("has {bytes} bytes, more than {}", self.most)
    }
}

/// The characters of base64 for this many bytes.
pub(super) const fn characters(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Appends data as base64.
pub(super) fn write(data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + characters(data.len()), b'=');
    STANDARD
        .encode_slice(data, &mut out[start..])
        .expect("the slice has as many bytes as there are characters");
}

/// A required number.
pub(super) fn required_number<N: std::str::FromStr>(
    fields: &Fields,
    key: &'static str,
) -> Result<N, Refusal> {
    fields.required(key)?;
    fields.number(key)?.ok_or_else(|| Refusal::field(key, "is blank"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { most: 4, size: ReturnCode::TEMPLATE_SIZE, base64: ReturnCode::TEMPLATE_FORMAT };

    #[test]
    fn what_is_written_has_the_characters_that_were_counted() {
        for (data, text) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj")] {
            let mut out = b"TMP=".to_vec();
            write(data.as_bytes(), &mut out);
            assert_eq!(out, format!("TMP={text}").as_bytes());
            assert_eq!(text.len(), characters(data.len()));
        }
    }

    #[test]
    fn each_fault_has_its_code_of_appendix_1() {
        for (size, text, code, word) in [
            ("8", "YWJjZA==", None, ""),
            ("7", "YWJjZA==", Some(-9), "size is 7"),
            ("4", "YWJjZA==", None, ""),
            ("5", "YWJjZA==", Some(-9), "size is 5"),
            ("4", "YWJjZA", Some(-9), "size is 4"),
            ("", "YWJjZA==", Some(-1), "size is empty"),
            (" ", "YWJjZA==", Some(-1), "size is blank"),
            ("x", "YWJjZA==", Some(-1), "size is not a number"),
            ("-8", "YWJjZA==", Some(-1), "size is not a number"),
            ("0", "", Some(-1), "tmp is empty"),
            ("6", "YWJjZA", Some(-11), "tmp is not base64"),
            ("8", "YWJj*A==", Some(-11), "tmp is not base64"),
            ("8", "YWJjZGU=", Some(-1006), "tmp has 5 bytes, more than 4"),
            ("12", "YWJjZGVmZ2hp", Some(-1006), "tmp has 9 bytes, more than 4"),
        ] {
            let fields =
                Fields::from_pairs(vec![("size".into(), size.into()), ("tmp".into(), text.into())]);
            let found = RULES.sized(&fields, "tmp").err();
            assert_eq!(found.as_ref().map(|refusal| refusal.code.0), code, "{size} {text}");
            assert!(found.is_none_or(|refusal| refusal.why.contains(word)), "{size} {text}");
        }
        assert!(RULES.check("tmp", b"abcd").is_ok());
        assert!(RULES.check("tmp", b"abcde").unwrap_err().why.contains("5 bytes"));
        assert!(RULES.check("tmp", b"").is_err());
    }
}
