//! The streams that go up, each with a cursor of its own.

use super::transflag::Kind;

/// A table of the wire: what stands in `table=` and whose stamp the server keeps (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Attendance records.
    Attlog,
    /// Operations, users and templates.
    Operlog,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 2] = [Self::Attlog, Self::Operlog];

    /// Its name in `table=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attlog => "ATTLOG",
            Self::Operlog => "OPERLOG",
        }
    }

    /// Whether a request carries one row of it and no more.
    pub fn is_single(self) -> bool {
        false
    }

    /// The streams that go up by it.
    pub fn streams(self) -> impl Iterator<Item = Stream> {
        Stream::ALL.into_iter().filter(move |stream| stream.table() == self)
    }

    /// The names of its stamp in a handshake reply; the second is that of old servers.
    pub fn stamp_names(self) -> [&'static str; 2] {
        match self {
            Self::Attlog => ["attlogstamp", "stamp"],
            Self::Operlog => ["operlogstamp", "opstamp"],
        }
    }
}

/// One kind of row that the terminal uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Punches (§11.2).
    Punches,
    /// The operation log (§11.4).
    Operations,
    /// Users changed on the terminal (§11.5).
    Users,
}

impl Stream {
    /// Every stream, in the order in which they are served.
    pub const ALL: [Self; 3] = [Self::Punches, Self::Operations, Self::Users];

    /// The stream with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    /// Its name in the store and in `punchd status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Punches => "punches",
            Self::Operations => "operations",
            Self::Users => "users",
        }
    }

    /// The table by which it goes up.
    pub fn table(self) -> Table {
        match self {
            Self::Punches => Table::Attlog,
            Self::Operations | Self::Users => Table::Operlog,
        }
    }

    /// The kinds of `TransFlag` of which one must be on for the stream to go by itself.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Punches => &[Kind::AttLog],
            Self::Operations => &[Kind::OpLog],
            Self::Users => &[Kind::EnrollUser, Kind::ChgUser],
        }
    }
}
