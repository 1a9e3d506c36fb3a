//! How far a job is, and where it is looked for.

use crate::protocol::touches::{Also, Touches};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing happened yet, or its file is being fetched.
    Fetching,
    /// The file of an upgrade is there and is what it should be.
    Verified,
    /// A program runs, or a driver was asked; it must not happen twice by itself.
    HandedOver,
    /// The program said that the upgrade is installed; it is to prove itself.
    Running,
    /// The command was not begun: it waits for commands before it.
    Waiting,
    /// The rows of a query go up.
    Answering,
    /// The signature of an upgrade is being fetched.
    FetchingSignature,
    /// The new program stands beside this one and is asked whether it can work here.
    Checking,
    /// The new program runs, and is not trusted yet ([`super::Trial`]).
    OnTrial,
}

impl Stage {
    /// In the order of their numbers in the store.
    pub(super) const ALL: [Self; 9] = [
        Self::Fetching,
        Self::Verified,
        Self::HandedOver,
        Self::Running,
        Self::Waiting,
        Self::Answering,
        Self::FetchingSignature,
        Self::Checking,
        Self::OnTrial,
    ];

    /// As text, for `punchd status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetching => "downloading",
            Self::Verified => "verified",
            Self::HandedOver => "handed over",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Answering => "answering",
            Self::FetchingSignature => "downloading the signature",
            Self::Checking => "checking the new program",
            Self::OnTrial => "on trial",
        }
    }
}

/// Where a job is looked for. The numbers stand in stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Files and programs.
    Work,
    /// Enrolments, one after the other.
    Enrolment,
    /// Doors, which wait for nothing.
    Door,
    /// Queries, one after the other.
    Query,
    /// Commands that wait for others.
    Waiting,
}

impl Lane {
    /// Whether somebody stands there: such a job needs no room.
    pub fn is_urgent(self, touches: &Touches) -> bool {
        matches!(self, Self::Door | Self::Enrolment) || touches.also == Also::Briefly
    }

    /// What a job of the lane begins with.
    pub(super) fn first_stage(self) -> Stage {
        match self {
            Self::Work | Self::Enrolment => Stage::Fetching,
            Self::Door => Stage::HandedOver,
            Self::Query => Stage::Answering,
            Self::Waiting => Stage::Waiting,
        }
    }
}
