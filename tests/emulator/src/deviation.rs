//! What a terminal did otherwise than the protocol document, or servers in use, expect.
//!
//! Every deviation has a [`Kind`] — one rule of the protocol, named so that it can be permitted —
//! and a plain sentence that names the request and the field. The kinds that end in `dialect` are
//! habits of field firmware: wrong by the document, common on the wire.

use std::fmt;

use serde::de::IntoDeserializer;
use serde::de::value::Error as NameError;
use serde::{Deserialize, Serialize};

use crate::documented::documented;

documented! {
    /// One rule of the protocol. In text it is written `kebab-case`, as in `POST /allow`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Kind {
        /// The bytes are no HTTP request.
        Malformed,
        /// The request ended before its `Content-Length` was met.
        CutShort,
        /// HTTP/1.0, or anything but HTTP/1.1.
        HttpVersion,
        /// No `Host` field, or an empty one.
        MissingHost,
        /// A POST without `Content-Length`, or with one that is no number.
        MissingLength,
        /// A body in chunks.
        Chunked,
        /// A body sent as `application/x-www-form-urlencoded`.
        ContentType,
        /// The body did not leave together with the header.
        SplitRequest,
        /// A query value that is not percent-encoded.
        QueryEncoding,
        /// A parameter that stands twice in the query.
        DuplicateParameter,
        /// A path or table the protocol does not have.
        UnknownPath,
        /// GET where the document says POST, or the reverse.
        Method,
        /// No `SN`, or an empty one.
        MissingSerial,
        /// An `SN` the server does not know.
        UnknownSerial,
        /// A request that is not encrypted although keys were exchanged, or whose message is not as it should be.
        Unsealed,
        /// A public key or a factor that is not of the form agreed upon.
        KeyForm,
        /// A request before the initial exchange succeeded.
        BeforeHandshake,
        /// A parameter of the initial exchange with an impossible value.
        HandshakeParameter,
        /// A POST to `cdata` without `Stamp`.
        MissingStamp,
        /// A `Stamp` that is no number.
        StampForm,
        /// New rows under a `Stamp` not greater than the last one acknowledged.
        StampOrder,
        /// The `Stamp` is always 9999.
        StampDialect,
        /// `OpStamp=` for `Stamp=`.
        OpStampDialect,
        /// An upload without rows.
        EmptyBody,
        /// A body longer than the `MaxPostSize` of the handshake.
        BodySize,
        /// A row that does not end with LF, or that holds a CR.
        RowEnd,
        /// A blank row.
        BlankRow,
        /// Photos of users in one body with other rows: servers in use pass over the others.
        SharedBody,
        /// A row that does not begin with a keyword of its table.
        UnknownRow,
        /// Bytes that are not in the encoding agreed upon.
        Encoding,
        /// A row with a wrong number of values.
        FieldCount,
        /// An attendance row of 8 to 11 values, with an empty workcode, or with a TAB at its end.
        AttlogDialect,
        /// Keys missing, misspelt or in another order.
        Keys,
        /// A time in another form, an impossible one, or one before 2015.
        Time,
        /// A PIN that is blank or longer than 24 bytes.
        Pin,
        /// A value that is no number, or none of those the document lists.
        Value,
        /// A name of more than 24 bytes.
        NameLength,
        /// `Size` differs from the length of the data.
        Size,
        /// Data that is not base64.
        Base64,
        /// A face template without its 16 leading bytes.
        FaceHeader,
        /// A photo whose name is not that of a `.jpg`, or not of the form the document gives.
        FileName,
        /// `Additional` of an error is not JSON in base64.
        Additional,
        /// An attendance photo whose body has another form.
        PhotoForm,
        /// A packed body that is no `tgz`.
        Archive,
        /// A body of options that is not `key=value` joined by commas.
        OptionsForm,
        /// A record newer than the negotiated protocol version.
        Version,
        /// A row sent again with other bytes.
        RowDiffers,
        /// `Count`, `PackCnt`, `PackIdx`, `CmdId` that do not fit together.
        Query,
        /// `INFO` with other than 10 values.
        InfoCount,
        /// `INFO` with 6 or 13 values.
        InfoDialect,
        /// `INFO` with a value of the wrong form.
        InfoValue,
        /// A reply to a command that was never handed out.
        UnknownCommand,
        /// A reply without `ID`, `Return` or `CMD`.
        ReplyForm,
        /// A reply that has lines in the document, joined with `&`.
        ReplyDialect,
        /// The keys of a reply in another order.
        ReplyOrder,
        /// A `CMD` that does not fit the command.
        ReplyName,
        /// More than 100 replies in a POST.
        ReplyCount,
        /// A reply with content that shares its POST with others.
        ReplyAlone,
        /// A second reply to the same command that differs from the first.
        ReplyDiffers,
    }
}

impl Kind {
    /// The kind of that name, as `POST /allow` takes it.
    pub fn named(name: &str) -> Option<Kind> {
        named(name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The variant of an enum whose serde name is `name`.
pub(crate) fn named<T: for<'de> Deserialize<'de>>(name: &str) -> Option<T> {
    let name: serde::de::value::StrDeserializer<'_, NameError> = name.into_deserializer();
    T::deserialize(name).ok()
}

/// One fault of a message: the rule that it breaks, and an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The rule.
    pub kind: Kind,
    /// What was found, and what was expected.
    pub text: String,
}

impl Flaw {
    /// A breach of the rule `kind`.
    pub fn new(kind: Kind, text: impl Into<String>) -> Flaw {
        Flaw { kind, text: text.into() }
    }

    /// The same, with the place it was found put in front.
    pub(crate) fn at(self, place: impl fmt::Display) -> Flaw {
        Flaw { text: format!("{place}: {}", self.text), ..self }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Flaw {}

/// What is wrong with a request, in the order in which it was noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flaws(pub Vec<Flaw>);

impl Flaws {
    /// Notes a breach of the rule `kind`.
    pub(crate) fn add(&mut self, kind: Kind, text: impl Into<String>) {
        self.0.push(Flaw::new(kind, text));
    }

    /// Notes what is wrong, if something is.
    pub(crate) fn note(&mut self, flaw: impl IntoIterator<Item = Flaw>) {
        self.0.extend(flaw);
    }
}

/// A flaw in a request that came in.
#[derive(Debug, Clone, Serialize)]
pub struct Deviation {
    /// The rule.
    pub kind: Kind,
    /// The number of the request, counted from 1.
    pub request: u64,
    /// What the request was: method, path, table.
    pub of: String,
    /// What was found, and what was expected.
    pub text: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} ({}): {}", self.request, self.of, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_name() {
        assert_eq!(Kind::named("stamp-dialect"), Some(Kind::StampDialect));
        assert_eq!(Kind::named("stamp dialect"), None);
    }
}
