//! Rows as the body of a request (§11), packed or encrypted where that is wanted.

use super::context::Context;
use super::encrypt::encrypt;
use super::session::Session;
use crate::protocol::record::{Punch, Record};
use crate::protocol::stream::{Stream, Table};
use crate::protocol::version::Version;
use crate::store::{Content, PendingRow, Seq, StoreError};

/// A body shorter than this is not packed: the archive alone takes 1.5 KB before it shrinks.
const WORTH_PACKING: usize = 1024;
/// The first version with rows of punches that have an identity card (§11.7).
const ID_PUNCHES_SINCE: Version = Version(2, 4, 0);

/// The body of an upload.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// How many rows it holds.
    pub(super) rows: u64,
    /// How many of a batch are done with it: also those that cannot be read from the store, which
    /// are set aside.
    pub(super) used: usize,
    /// Whether it ends before a row that may not share it, and not because it is full.
    pub(super) is_divided: bool,
}

/// How a body goes on the wire.
pub(super) enum Encoded {
    Plain,
    /// As a tgz archive (§11.14).
    Packed(Vec<u8>),
    Encrypted(Vec<u8>),
}

/// Writes as many rows as fit into `most` bytes and may share a body, one at least. The store keeps
/// which punches go without their identity card, so that they never go in another form.
pub(super) fn write(
    context: &Context,
    session: &Session,
    rows: &[PendingRow],
    most: usize,
) -> Result<Body, StoreError> {
    let mut body = Body { bytes: Vec::new(), rows: 0, used: 0, is_divided: false };
    let mut first = None;
    for row in rows {
        let before = body.bytes.len();
        write_row(context, session, row, &mut body.bytes);
        if row.content.is_some() {
            let sharing = Sharing::of(row.stream, &body.bytes[before..]);
            let shares = first.is_none_or(|first| sharing.with(first));
            if !shares || (body.bytes.len() > most && body.rows > 0) {
                body.bytes.truncate(before);
                body.is_divided = !shares;
                break;
            }
            first = Some(sharing);
            body.rows += 1;
        }
        body.used += 1;
    }
    let plain = rows[..body.used].iter().filter(|row| as_plain_punch(session, row).is_some());
    let plain: Vec<Seq> = plain.map(|row| row.seq).collect();
    context.store.outbox().send_as_plain(&plain)?;
    Ok(body)
}

fn write_row(context: &Context, session: &Session, row: &PendingRow, out: &mut Vec<u8>) {
    let settings = &context.settings;
    let mut write_punch = |punch| {
        settings.dialect.write_punch(punch, row.seq, out);
        out.push(b'\n');
    };
    if let Some(punch) = as_plain_punch(session, row) {
        return write_punch(punch);
    }
    match &row.content {
        Some(Content::Record(Record::Punch(punch))) => write_punch(punch),
        Some(Content::Record(Record::User(user))) => {
            settings.dialect.write_user(user, settings.language, out);
            out.push(b'\n');
        }
        Some(Content::Record(record)) => record.write(out, settings.language),
        Some(Content::Photo(photo)) => {
            photo.write(out, &settings.profile.serial, session.options.photos_base64);
        }
        None => {}
    }
}

/// Whether the version of the session has a form for the row: there is none for a verification of an
/// identity card before such rows came, since it is no attendance.
pub(super) fn has_form(session: &Session, row: &PendingRow) -> bool {
    let is_verification = match &row.content {
        Some(Content::Record(Record::IdPunch(punch))) => punch.is_verification(),
        _ => false,
    };
    !is_verification || session.version() >= ID_PUNCHES_SINCE
}

/// The punch of a row with an identity card, if the version of the session has no such rows. A
/// verification is no attendance and never a plain punch.
fn as_plain_punch<'a>(session: &Session, row: &'a PendingRow) -> Option<&'a Punch> {
    match &row.content {
        Some(Content::Record(Record::IdPunch(punch)))
            if session.version() < ID_PUNCHES_SINCE && !punch.is_verification() =>
        {
            Some(punch.punch())
        }
        _ => None,
    }
}

/// With which rows a row may share a body. There are servers that pass over every other row of a
/// body of the operation log in which the word `USERPIC` stands, wherever that is, and say OK.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// With rows that do not have the word.
    Any,
    /// With photos of users only.
    UserPics,
    /// With none: the word is in a value of another row, such as a name.
    Alone,
}

/// The values that may be any text are in the first part of a row.
const START_OF_A_ROW: usize = 2048;

impl Sharing {
    fn of(stream: Stream, row: &[u8]) -> Self {
        let word = b"USERPIC";
        let start = &row[..row.len().min(START_OF_A_ROW)];
        let has_word = || start.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
        match stream {
            Stream::UserPics => Self::UserPics,
            _ if stream.table() == Table::Operlog && has_word() => Self::Alone,
            _ => Self::Any,
        }
    }

    fn with(self, other: Self) -> bool {
        self == other && self != Self::Alone
    }
}

/// Packs or encrypts the body of an upload, if the owner or the server wants that.
pub(super) fn encode(context: &Context, session: &Session, table: Table, bytes: &[u8]) -> Encoded {
    if let Some(packed) = packed(context, table, bytes) {
        return Encoded::Packed(packed);
    }
    encrypted(context, session, table, bytes).map_or(Encoded::Plain, Encoded::Encrypted)
}

/// The body encrypted, if the server wants that of the table and there is a key.
pub(super) fn encrypted(
    context: &Context,
    session: &Session,
    table: Table,
    bytes: &[u8],
) -> Option<Vec<u8>> {
    let key = context.settings.attlog_key.as_ref()?;
    let is_wanted = table == Table::Attlog && session.wants_encrypted_punches();
    is_wanted.then(|| encrypt(key.as_bytes(), bytes))
}

/// The body as tgz, if the owner wants that and it gets smaller (§11.14).
fn packed(context: &Context, table: Table, bytes: &[u8]) -> Option<Vec<u8>> {
    let is_wanted = context.settings.dialect.packed && table == Table::Operlog;
    if !is_wanted || bytes.len() < WORTH_PACKING {
        return None;
    }
    pack(bytes).ok().filter(|packed| packed.len() < bytes.len())
}

/// An archive with one file. The same bytes give the same archive, so that a request that is
/// sent again is the same.
fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::default(),
    ));
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, "operlog.txt", bytes)?;
    archive.into_inner()?.finish()
}
