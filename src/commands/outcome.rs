//! What carrying out a command leads to: for its answer, for a job, for the loop.

use crate::protocol::codes::ReturnCode;
use crate::store::Lane;

/// How a command of a list ended.
pub(super) enum End {
    /// Answered with a code, and with what follows `CMD=…` in the reply.
    Now(ReturnCode, Vec<u8>),
    /// Answered with the content of a file: its size in bytes as the code, and its path.
    File(ReturnCode, String),
    /// Answered when the query is: its rows go up first. `is_copied`: as they are now.
    Query { is_copied: bool },
    /// A job answers it: it continues in the background, across restarts.
    Job(Lane),
    /// It was not begun: it waits for the command in this row of the command log; 0 if it waits for
    /// something else.
    Waits(i64),
}

impl End {
    pub(super) const DONE: Self = Self::Now(ReturnCode::DONE, Vec::new());
}

/// What a step of a job led to. A step that is refused ends the job with the refusal's code.
pub(crate) enum Step {
    /// There is more to do: now, or when a program ends or a driver answers.
    Continues,
    /// The file that was fetched is not what the server promised, and why: it is fetched again.
    Corrupt(String),
    /// The job is over, with this answer.
    Ended(ReturnCode, Vec<u8>),
    /// The job is over, and its answer is stored together with its effect.
    Stored,
}

/// What the loop has to do after a part of a command list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// How many commands were not known before.
    pub(crate) fresh: usize,
    /// Get the options from the server again (`CHECK`).
    pub(crate) handshake: bool,
    /// Upload new data now (`LOG`).
    pub(crate) upload: bool,
    /// An option was set, and may be one that the loop uses.
    pub(crate) option_set: bool,
    /// A driver was asked to open a door: let it have the request at once.
    pub(crate) driver_asked: bool,
    /// The audit log got an entry.
    pub(super) audited: bool,
}

impl Effects {
    pub(super) fn add(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.handshake |= other.handshake;
        self.upload |= other.upload;
        self.option_set |= other.option_set;
        self.driver_asked |= other.driver_asked;
        self.audited |= other.audited;
    }
}
