//! A command on its way from a line of a command list to its execution. The line is split and
//! hashed once.

use std::time::Duration;

use md5::{Digest, Md5};

use crate::protocol::codes::ReturnCode;
use crate::protocol::command::CommandLine;
use crate::protocol::foreign::is_hidden;
use crate::protocol::lines::Line;
use crate::protocol::private::public_part;
use crate::protocol::text::decode_for_log;

/// How often a command may be begun that never ends.
pub(super) const MOST_ATTEMPTS: u32 = 3;
/// How long a part of a list, or of the records of a command, may take before its commit: a punch may
/// have to wait that long, and for the commit.
pub(super) const TIME_SLICE: Duration = Duration::from_millis(10);
/// Bytes of a command that a log line shows.
const EXCERPT: usize = 80;

/// A line of a command list.
pub(crate) struct ListedCommand<'l> {
    /// The server's id of the command.
    pub(super) id: &'l str,
    pub(super) text: &'l [u8],
    /// The line was longer than allowed, and `text` is only the beginning of it.
    pub(super) is_overlong: bool,
    /// Digest of id and text, by which the command log knows the command again.
    pub(super) digest: [u8; 16],
}

impl<'l> ListedCommand<'l> {
    /// Whether it may be a command that sets the clock.
    pub(super) fn may_set_clock(&self) -> bool {
        self.text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"SET "))
    }

    /// Splits a line; `None`, and a log line, if it is not a command.
    pub(crate) fn read(line: &'l Line) -> Option<Self> {
        let (bytes, is_overlong) = match line {
            Line::Whole(bytes) => (bytes, false),
            Line::Overlong(bytes) => (bytes, true),
        };
        match CommandLine::parse(bytes) {
            Ok(CommandLine { id, text }) => {
                Some(Self { id, text, is_overlong, digest: Md5::digest(bytes).into() })
            }
            Err(why) => {
                log::warn!("a line of the command list was skipped: {why}: {}", excerpt(bytes));
                None
            }
        }
    }
}

/// A command that the command log says is to be carried out now.
pub(super) struct PendingCommand<'l> {
    /// Its row in the command log.
    pub(super) row: i64,
    /// How often it was begun, this time included.
    pub(super) attempts: u32,
    /// The server's id of the command.
    pub(super) id: &'l str,
    /// How a reply names it (`CMD=`).
    pub(super) name: String,
    pub(super) text: &'l [u8],
    /// As in [`ListedCommand`].
    pub(super) is_overlong: bool,
    /// It waited for commands before it; they have ended.
    pub(super) is_resumed: bool,
    /// The log has its result already: it is the one that the command most likely gets in this
    /// transaction.
    pub(super) result: Option<ReturnCode>,
    /// It never came before.
    pub(super) is_new: bool,
}

/// The beginning of a command, fit for a log: without passwords, templates and pictures.
pub(super) fn excerpt(text: &[u8]) -> String {
    let shown = decode_for_log(&text[..text.len().min(EXCERPT)]);
    let fields = shown.split('\t').map(|field| match public_part(field) {
        Some(public) => format!("{public}…"),
        None => field.to_owned(),
    });
    let shown = fields.collect::<Vec<_>>().join(" ");
    shown.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}
