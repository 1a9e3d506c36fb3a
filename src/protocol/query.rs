//! Request targets: a path and a percent-encoded query string.

use std::fmt::Write as _;

/// A request target such as `/iclock/cdata?SN=…&table=ATTLOG`, built key by key.
#[derive(Clone, Debug)]
pub struct Target(String);

impl Target {
    /// A target for a path; its first key is `SN`.
    pub fn new(path: &str, serial: &str) -> Self {
        Self(path.to_owned()).first("SN", serial)
    }

    fn first(mut self, key: &str, value: &str) -> Self {
        self.0.push('?');
        self.0.push_str(key);
        self.0.push('=');
        encode_into(&mut self.0, value);
        self
    }

    /// Adds `&key=value`; the value is percent-encoded.
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.0.push('&');
        self.0.push_str(key);
        self.0.push('=');
        encode_into(&mut self.0, &value.to_string());
        self
    }

    /// The target for the request line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What stands before the query of a target or a URL.
pub fn path_of(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or(target)
}

/// Adds a text, percent-encoded. Commas are not encoded: they separate the values of `INFO` in all known servers.
pub fn encode_into(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' => {
                out.push(byte.into());
            }
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// The bytes of a percent-encoded text; none if a `%` is not followed by two hexadecimal digits.
pub fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_owned();
    for part in parts {
        let digits =
            part.get(..2).filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded_except_for_commas() {
        let target = Target::new("/iclock/getrequest", "MADE01")
            .with("INFO", "Ver 2.0.12-20150625,0,0,0,192.168.16.27,10,7,15,0,111")
            .with("x", "a&b=c%\n王");
        assert_eq!(
            target.as_str(),
            "/iclock/getrequest?SN=MADE01&INFO=Ver%202.0.12-20150625,0,0,0,192.168.16.27,10,7,15,0,111\
             &x=a%26b%3Dc%25%0A%E7%8E%8B"
        );
    }
}
