//! What a request is for, by its method, path and query.

use std::fmt;

use crate::deviation::{Flaw, Kind};

/// One kind of exchange between terminal and server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// `GET cdata?options=all` (chapter 6)
    Handshake,
    /// `GET getrequest` (chapters 10 and 12)
    Poll,
    /// `POST devicecmd` (chapter 13)
    Reply,
    /// `POST cdata?table=…` (chapters 9 and 11)
    Upload(String),
    /// `GET cdata?table=RemoteAtt` (chapter 14)
    Remote,
    /// `POST cdata?type=PostVerifyData` (§12.11.3)
    Verify,
    /// `POST exchange` (chapters 7 and 8)
    Keys,
    /// `GET file?url=…`, or any other path below `/iclock/`
    File(String),
    /// Nothing the protocol knows.
    Unknown,
}

impl Exchange {
    /// Reads method, path and query. A prefix before `/iclock/` and a suffix as `.aspx` are
    /// allowed.
    pub(crate) fn of(method: &str, path: &str, query: &[(String, String)]) -> Exchange {
        let parameter =
            |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let Some((_, rest)) = path.split_once("/iclock/") else { return Exchange::Unknown };
        match (method, without_suffix(rest)) {
            ("GET", "cdata") if parameter("options").is_some() => Exchange::Handshake,
            ("GET", "cdata") if parameter("table") == Some("RemoteAtt") => Exchange::Remote,
            ("GET", "getrequest") => Exchange::Poll,
            ("POST", "devicecmd") => Exchange::Reply,
            ("POST", "cdata") if parameter("type") == Some("PostVerifyData") => Exchange::Verify,
            ("POST", "cdata") => Exchange::Upload(parameter("table").unwrap_or("").to_owned()),
            // For attendance photos only (§11.3, §11.8).
            ("POST", "fdata") if matches!(parameter("table"), None | Some("ATTPHOTO")) => {
                Exchange::Upload("ATTPHOTO".to_owned())
            }
            ("POST", "exchange") => Exchange::Keys,
            ("GET", "file") => Exchange::File(parameter("url").unwrap_or("").to_owned()),
            (_, "cdata" | "fdata" | "getrequest" | "devicecmd" | "exchange") => Exchange::Unknown,
            ("GET", _) => Exchange::File(rest.to_owned()),
            _ => Exchange::Unknown,
        }
    }

    /// Whether the terminal must name itself in such a request.
    pub(crate) fn needs_serial(&self) -> bool {
        !matches!(self, Exchange::File(_) | Exchange::Unknown)
    }

    /// What is wrong with a request that is no exchange.
    pub(crate) fn unknown(method: &str, path: &str) -> Flaw {
        let known = path.split_once("/iclock/").map(|(_, rest)| without_suffix(rest));
        match known {
            Some("cdata" | "getrequest" | "devicecmd" | "fdata" | "exchange") => {
                Flaw::new(Kind::Method, format!("{method} is not what {path} is for"))
            }
            _ => Flaw::new(
                Kind::UnknownPath,
                format!("{method} {path} is nothing the protocol knows"),
            ),
        }
    }
}

fn without_suffix(name: &str) -> &str {
    match name.split_once('.') {
        Some((
            stem @ ("cdata" | "fdata" | "getrequest" | "devicecmd" | "exchange" | "file"),
            _,
        )) => stem,
        _ => name,
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exchange::Handshake => f.write_str("handshake"),
            Exchange::Poll => f.write_str("poll"),
            Exchange::Reply => f.write_str("reply"),
            Exchange::Upload(table) => write!(f, "upload:{table}"),
            Exchange::Remote => f.write_str("remote"),
            Exchange::Verify => f.write_str("verify"),
            Exchange::Keys => f.write_str("keys"),
            Exchange::File(_) => f.write_str("file"),
            Exchange::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let of = |method: &str, path: &str, key: &str, value: &str| {
            Exchange::of(method, path, &[(key.to_owned(), value.to_owned())])
        };
        for (method, path, key, value, expected) in [
            ("GET", "/iclock/cdata", "options", "all", "handshake"),
            ("GET", "/site/iclock/cdata.aspx", "options", "all", "handshake"),
            ("GET", "/iclock/cdata", "table", "RemoteAtt", "remote"),
            ("GET", "/iclock/getrequest.aspx", "SN", "1", "poll"),
            ("POST", "/iclock/devicecmd", "SN", "1", "reply"),
            ("POST", "/iclock/cdata", "table", "ATTLOG", "upload:ATTLOG"),
            ("POST", "/iclock/fdata", "SN", "1", "upload:ATTPHOTO"),
            ("POST", "/iclock/fdata", "table", "ATTPHOTO", "upload:ATTPHOTO"),
            ("POST", "/iclock/fdata", "table", "ATTLOG", "unknown"),
            ("POST", "/iclock/cdata", "type", "PostVerifyData", "verify"),
            ("POST", "/iclock/exchange", "type", "publickey", "keys"),
            ("GET", "/iclock/file", "url", "x", "file"),
            ("GET", "/iclock/file/fw/main.tgz", "SN", "1", "file"),
            ("GET", "/iclock/cdata", "SN", "1", "unknown"),
            ("GET", "/iclock/devicecmd", "SN", "1", "unknown"),
            ("GET", "/", "SN", "1", "unknown"),
        ] {
            assert_eq!(of(method, path, key, value).to_string(), expected, "{method} {path}");
        }
    }
}
