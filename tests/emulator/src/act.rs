//! The faults that a server can apply to a request.

use serde::{Deserialize, Serialize};

use crate::answer::Answer;

/// What a server can do wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// Close the connection without reading the request (on `any`: without reading a byte).
    Drop,
    /// Reset the connection without reading the request (on `any`: without reading a byte).
    ResetUnread,
    /// Read the request, do nothing, reset the connection.
    ResetRead,
    /// Read the request, do nothing, stay silent; then close. Without `ms` until `release_stalled`
    /// or the end.
    Stall {
        /// How long.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Do what was asked, answer after so long.
    Delay {
        /// How long.
        ms: u64,
    },
    /// Do nothing, answer this.
    Answer {
        /// The status.
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
        /// Further header fields.
        #[serde(default)]
        fields: Vec<(String, String)>,
    },
    /// Do nothing, send these bytes, which need not be HTTP, and close.
    Garbage {
        /// The bytes, as text.
        text: String,
    },
    /// Do nothing, answer `OK` and one endless line.
    LongLine {
        /// Its length.
        bytes: usize,
    },
    /// Do what was asked, answer half the body under the full `Content-Length`, close.
    HalfBody,
    /// Do what was asked, answer half the body under the full `Content-Length`, reset.
    ResetBody,
    /// Do what was asked, answer under a `Content-Length` too small by half.
    ShortLength,
    /// Do what was asked, answer one byte at a time.
    Drip {
        /// The pause between two bytes.
        ms: u64,
    },
    /// Do what was asked, answer in chunks of odd sizes.
    Chunked,
    /// Do what was asked, answer without `Content-Length`; the body ends with the connection.
    NoLength,
    /// The same, but the connection is reset in the middle of the body.
    NoLengthReset,
    /// Do what was asked, then close (or reset) instead of answering.
    LoseAck {
        /// Reset instead of closing.
        #[serde(default)]
        reset: bool,
    },
    /// Do what was asked, but miscount in `OK:n`.
    CountOff {
        /// By how much.
        by: i64,
    },
    /// Do what was asked, answer `OK` without a count.
    NoCount,
    /// Do what was asked, and encrypt the answer wrongly, where keys were exchanged.
    Seal {
        /// How.
        how: SealFault,
    },
}

/// What is wrong with an encrypted answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SealFault {
    /// It is not encrypted.
    Plain,
    /// A bit is turned over.
    Damaged,
    /// The last byte is missing.
    Cut,
    /// A byte follows it.
    Excess,
    /// It is the answer to the request before.
    Swapped,
    /// It is encrypted with other keys.
    OtherKeys,
    /// The server has lost the keys: it does not open the request.
    Lost,
}

impl Act {
    /// A status with a body.
    pub fn status(status: u16, body: &str) -> Act {
        Act::Answer { status, body: body.to_owned(), fields: Vec::new() }
    }

    /// A captive portal: status 200 and a web page.
    pub fn html() -> Act {
        let fields = vec![("Content-Type".to_owned(), "text/html".to_owned())];
        Act::Answer {
            status: 200,
            body: "<!DOCTYPE html><html><body>Please sign in.</body></html>".into(),
            fields,
        }
    }

    /// 200 and nothing.
    pub fn empty() -> Act {
        Act::status(200, "")
    }

    /// 301 to another place.
    pub fn redirect(location: &str) -> Act {
        Act::Answer {
            status: 301,
            body: String::new(),
            fields: vec![("Location".to_owned(), location.to_owned())],
        }
    }

    /// Bytes that are not HTTP.
    pub fn garbage() -> Act {
        Act::Garbage { text: "\u{1}\u{2}\u{3} 220 mail.example ESMTP\r\n".into() }
    }

    /// Whether the request is not even read.
    pub(crate) fn before_reading(&self) -> bool {
        matches!(self, Act::Drop | Act::ResetUnread)
    }

    /// Whether the answer will not arrive whole.
    pub(crate) fn cuts(&self) -> bool {
        matches!(
            self,
            Act::HalfBody
                | Act::ResetBody
                | Act::ShortLength
                | Act::NoLengthReset
                | Act::LoseAck { .. }
        )
    }

    /// Whether nothing at all is sent.
    pub(crate) fn silent(&self) -> bool {
        matches!(
            self,
            Act::Drop | Act::ResetUnread | Act::ResetRead | Act::Stall { .. } | Act::LoseAck { .. }
        )
    }

    /// The answer in place of the normal one; `None` when the request is to be served.
    pub(crate) fn instead(&self) -> Option<Answer> {
        match self {
            Act::Answer { status, body, fields } => Some(Answer {
                status: *status,
                fields: fields.clone(),
                body: body.clone().into_bytes(),
            }),
            Act::LongLine { bytes } => Some(Answer::ok(format!("OK{}", "A".repeat(*bytes)))),
            Act::Drop
            | Act::ResetUnread
            | Act::ResetRead
            | Act::Stall { .. }
            | Act::Garbage { .. } => Some(Answer { status: 0, ..Answer::default() }),
            _ => None,
        }
    }

    /// Changes the body of the normal answer.
    pub(crate) fn reword(&self, answer: &mut Answer) {
        let count = std::str::from_utf8(&answer.body)
            .ok()
            .and_then(|body| body.strip_prefix("OK:"))
            .and_then(|n| n.trim().parse::<i64>().ok());
        match (self, count) {
            (Act::CountOff { by }, Some(n)) => {
                answer.body = format!("OK:{}", (n + by).max(0)).into_bytes()
            }
            (Act::NoCount, Some(_)) => answer.body = b"OK".to_vec(),
            _ => {}
        }
    }
}
