//! Where the rows of each stream are, and how they are read.

use std::collections::BTreeSet;

use rusqlite::Row;

use super::readers;
use super::rows::{Content, Pass};
use crate::protocol::stream::Stream;

/// People's rows without those of guests, who are never uploaded (see `guests`).
macro_rules! residents {
    ($filter:literal) => {
        concat!($filter, " AND pin NOT IN (SELECT pin FROM guest)")
    };
}

/// What [`residents`] adds to a filter.
pub(super) const RESIDENTS: &str = residents!("");

/// Rows of which the server knows an earlier version, and rows that it does not know (`novelty`).
const CHANGED: &str = "is_new = 0";
const NEW: &str = "is_new = 1";

/// The rows of a stream.
pub(super) struct Source {
    /// The SQL table.
    pub table: &'static str,
    /// Which of its rows.
    pub filter: &'static str,
    /// Which of these are sent by this stream; they are resent and asked for together.
    pub part: &'static str,
    /// The column with the number under which a row is sent.
    pub new: &'static str,
    /// The column with the number under which it is resent.
    pub resend: &'static str,
    /// Whether rows may wait for the clock to be set (SQL column `held`).
    pub can_await_clock: bool,
    /// What [`Source::read`] reads; number and `held` come before it.
    pub columns: &'static str,
    /// Reads a row; `None` if it breaks a rule of this version.
    pub read: fn(&Row<'_>) -> rusqlite::Result<Option<Content>>,
}

impl Source {
    /// The rows of a stream.
    pub(super) fn of(stream: Stream) -> Self {
        match stream {
            Stream::Punches => Self {
                filter: "id_num IS NULL",
                columns: readers::PUNCH,
                read: readers::punch,
                ..Self::journal("punch")
            },
            Stream::IdPunches => Self {
                filter: "id_num IS NOT NULL AND coalesce(verification, 0) = 0",
                ..Self::id_punches()
            },
            Stream::IdVerifications => {
                Self { filter: "id_num IS NOT NULL AND verification = 1", ..Self::id_punches() }
            }
            Stream::Operations => Self {
                columns: readers::OPERATION,
                read: readers::operation,
                ..Self::journal("operation")
            },
            Stream::Users => Self::users(CHANGED),
            Stream::NewUsers => Self::users(NEW),
            Stream::Fingerprints => Self { part: CHANGED, ..Self::fingerprints() },
            Stream::NewFingerprints => Self { part: NEW, ..Self::fingerprints() },
            // None of them is told apart as new: so SQLite goes by the index of local changes.
            Stream::Faces => {
                Self { filter: residents!("kind = 1"), part: CHANGED, ..Self::templates() }
            }
            Stream::FingerVeins => {
                Self { filter: residents!("kind = 2"), part: CHANGED, ..Self::templates() }
            }
            Stream::Unified => {
                Self { part: "is_new = 0 AND type NOT IN (1, 2, 9)", ..Self::unified() }
            }
            Stream::UnifiedFingerprints => {
                Self { part: "is_new = 0 AND type = 1", ..Self::unified() }
            }
            Stream::NewUnifiedFingerprints => Self { part: NEW, ..Self::unified() },
            Stream::UnifiedFaces => {
                Self { part: "is_new = 0 AND type IN (2, 9)", ..Self::unified() }
            }
            Stream::UserPics => Self { filter: residents!("kind = 0"), ..Self::pictures() },
            Stream::BioPhotos => Self { filter: residents!("kind = 1"), ..Self::pictures() },
            Stream::IdCards => {
                Self { columns: readers::CARD, read: readers::card, ..Self::changes("card") }
            }
            Stream::Errors => Self {
                can_await_clock: false,
                columns: readers::ERROR,
                read: readers::error,
                ..Self::journal("error")
            },
            Stream::Photos => Self { filter: "id_num IS NULL", ..Self::photos() },
            Stream::IdPhotos => Self { filter: "id_num IS NOT NULL", ..Self::photos() },
        }
    }

    /// What happened, by its number.
    fn journal(table: &'static str) -> Self {
        Self {
            table,
            filter: "TRUE",
            part: "TRUE",
            new: "seq",
            resend: "seq",
            can_await_clock: true,
            columns: "",
            read: |_| Ok(None),
        }
    }

    /// What is, by the number of its last change.
    fn changes(table: &'static str) -> Self {
        Self { new: "local", resend: "changed", can_await_clock: false, ..Self::journal(table) }
    }

    fn id_punches() -> Self {
        Self { columns: readers::ID_PUNCH, read: readers::id_punch, ..Self::journal("punch") }
    }

    fn users(part: &'static str) -> Self {
        Self {
            filter: residents!("TRUE"),
            part,
            columns: readers::USER,
            read: readers::record,
            ..Self::changes("user")
        }
    }

    fn fingerprints() -> Self {
        Self { filter: residents!("kind = 0"), ..Self::templates() }
    }

    fn unified() -> Self {
        Self { filter: residents!("kind = 3"), ..Self::templates() }
    }

    fn templates() -> Self {
        Self { columns: readers::TEMPLATE, read: readers::template, ..Self::changes("template") }
    }

    fn pictures() -> Self {
        Self { columns: readers::PICTURE, read: readers::picture, ..Self::changes("picture") }
    }

    fn photos() -> Self {
        Self { columns: readers::PHOTO, read: readers::photo, ..Self::journal("photo") }
    }

    /// The SQL tables whose rows may wait for the clock to be set.
    pub(super) fn tables_that_await_the_clock() -> BTreeSet<&'static str> {
        let sources = Stream::ALL.into_iter().map(Self::of);
        sources.filter(|source| source.can_await_clock).map(|source| source.table).collect()
    }

    /// Whether rows change in place, and are numbered by their last change.
    pub(super) fn changes_in_place(&self) -> bool {
        self.resend == "changed"
    }

    /// The column with the number by which a pass goes.
    pub(super) fn column(&self, pass: Pass) -> &'static str {
        match pass {
            Pass::New | Pass::Retry => self.new,
            Pass::Resend => self.resend,
        }
    }

    /// Which rows a pass is of: all are resent by one stream.
    pub(super) fn filter_of(&self, pass: Pass) -> String {
        match pass {
            Pass::New | Pass::Retry => format!("{} AND {}", self.filter, self.part),
            Pass::Resend => self.filter.to_owned(),
        }
    }

    /// Which rows of a pass stand after `?1` and up to `?2`. `> 0` lets SQLite see that the
    /// partial indexes hold all there is to find.
    pub(super) fn range(&self, pass: Pass) -> String {
        let (column, filter) = (self.column(pass), self.filter_of(pass));
        format!("{filter} AND {column} > ?1 AND {column} > 0 AND {column} <= ?2")
    }
}
