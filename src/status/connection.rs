//! The connection to the server and what the loop does next, as the loop reports it.

use std::time::Duration;

use super::clock_facts::{ClockStep, LastDate};
use crate::protocol::stream::{Stream, Table};

/// The connection to the server.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The server's URL.
    pub server: String,
    /// Whether the handshake succeeded and nothing failed since.
    pub online: bool,
    /// When the server last answered correctly, in seconds since 1970.
    pub last_contact: Option<i64>,
    /// What went wrong last, in plain language, and when; cleared by the next success of the
    /// same kind.
    pub trouble: Option<(String, i64)>,
    /// Keys were exchanged with the server: requests and answers are encrypted.
    #[cfg(feature = "exchange")]
    pub is_encrypted: bool,
    /// Why nothing is encrypted although the server asks for it, or nothing is sent because the owner does.
    #[cfg(feature = "exchange")]
    pub unencrypted: Option<String>,
    /// Rows that count as delivered although the server did not count them.
    pub not_counted: u64,
    /// The last handshake brought only `OK`, and no options.
    pub no_options: bool,
    /// The time on the wall clock is known.
    pub clock_set: bool,
    /// The last `Date` of the server.
    pub last_date: Option<LastDate>,
    /// The last step of the clock by more than a day in this run.
    pub clock_step: Option<ClockStep>,
    /// When the loop does what next.
    pub schedule: Schedule,
}

/// Rows that do not go up by themselves in this session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithheldStream {
    /// Of which stream.
    pub stream: Stream,
    /// [`Reason::TransFlag`] or [`Reason::Version`].
    pub reason: Reason,
    /// For a person: why, and what to change.
    pub message: String,
}

/// When the loop does what next. Moments are of the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// The next attempt to shake hands.
    pub handshake: Option<Duration>,
    /// The next poll; none without a session.
    pub poll: Option<Duration>,
    /// When new rows may go up; [`Duration::MAX`] if never by itself.
    pub uploads: Duration,
    /// What does not go up in this session.
    pub withheld: Vec<WithheldStream>,
    /// What failed since its last success.
    pub failing: Vec<Failing>,
    /// Since when there is no session.
    pub offline_since: Option<Duration>,
    /// What the loop does now.
    pub under_way: Option<UnderWay>,
}

/// Something that the loop does now, in whose waits it says nothing else.
#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    /// What it is, for a person.
    pub what: &'static str,
    /// Since when.
    pub since: Duration,
}

/// Something that failed since its last success.
#[derive(Clone, Debug)]
pub struct Failing {
    /// Whose upload it is, if it is one.
    pub table: Option<Table>,
    /// The first of the failures.
    pub since: Duration,
    /// The next attempt.
    pub until: Duration,
    /// What was done, and what went wrong with it.
    pub message: String,
}

/// What holds rows back. The code is a promise to programs that read `punchd status --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The terminal has no session with the server.
    NotConnected,
    /// The server does not ask for such rows.
    TransFlag,
    /// The server's version of the protocol does not have such rows.
    Version,
    /// The server takes rows at intervals, or at times of the day.
    Schedule,
    /// The upload failed; it is repeated after a pause.
    Retry,
    /// A request waits for the server's answer, for longer than usual; nothing else goes up meanwhile.
    UnderWay,
    /// The server refused rows while it took others; they are offered again soon.
    PassedOver,
    /// The server refused rows on several occasions.
    SetAside,
    /// The time of the rows is not known yet.
    Clock,
    /// The zone of the terminal's time is not known yet.
    Zone,
}

impl Reason {
    /// The name of the reason in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotConnected => "not-connected",
            Self::TransFlag => "trans-flag",
            Self::Version => "version",
            Self::Schedule => "schedule",
            Self::Retry => "retry",
            Self::UnderWay => "under-way",
            Self::PassedOver => "passed-over",
            Self::SetAside => "set-aside",
            Self::Clock => "clock",
            Self::Zone => "zone",
        }
    }
}
