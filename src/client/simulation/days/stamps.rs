//! The stamp of the attendance log, as the server keeps it and says it, and what the terminal must have
//! understood: for which rows it was asked again.

use super::journal::{Again, Journal};
use crate::store::Seq;

#[derive(Default)]
pub(super) struct Stamps {
    /// The highest that the server took, and that of its copy.
    stamp: Seq,
    copied: Seq,
    /// That in the last handshake reply.
    said: Seq,
    /// Whether one that was not 0 has reached the terminal.
    has_said_other: Known,
    /// `CHECK` has reached the terminal since the last handshake, and before the one before: a stamp of 0
    /// asks for all rows then.
    has_checked: bool,
    had_checked: bool,
    /// The last that was the number of the last row that the terminal knew to be there; and whether two
    /// different ones were: then a lower one asks.
    proof: Seq,
    is_proven: Known,
    /// In the step under way, a reply asked for rows again.
    asks: Option<Again>,
    /// A reply to a handshake has reached the terminal in this step.
    is_new: bool,
}

/// Whether the terminal knows something.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Known {
    #[default]
    No,
    Yes,
    /// It died in that moment.
    Unclear,
}

impl Stamps {
    /// A request with this stamp was taken.
    pub(super) fn take(&mut self, stamp: Seq) {
        self.stamp = self.stamp.max(stamp);
    }

    /// The stamp of a handshake reply.
    pub(super) fn say(&mut self) -> Seq {
        self.said = self.stamp;
        self.said
    }

    pub(super) fn lose(&mut self) {
        self.stamp = 0;
    }

    pub(super) fn back_up(&mut self) {
        self.copied = self.stamp;
    }

    pub(super) fn restore(&mut self) {
        self.stamp = self.copied;
    }

    /// `CHECK` reached the terminal.
    pub(super) fn checked(&mut self) {
        self.has_checked = true;
    }

    /// The reply to a handshake reached it.
    pub(super) fn heard(&mut self, log: &Journal) {
        let ask = |surely| Some(Again { after: self.said, surely });
        if self.said == 0 {
            self.asks = match self.has_said_other {
                Known::Yes => ask(true),
                Known::Unclear => ask(false),
                // The rows that go now may have gone for a `CHECK` that came twice.
                Known::No if self.has_checked => ask(false),
                Known::No => None,
            };
            (self.proof, self.is_proven, self.has_said_other) = (0, Known::No, Known::No);
        } else {
            self.has_said_other = Known::Yes;
            if log.is_unclear() {
                // Which is the last row that the terminal knows to be there is not known.
                self.asks = ask(false);
                (self.proof, self.is_proven) = (0, Known::Unclear);
            } else if self.said == log.acknowledged() {
                if self.proof != 0 && self.proof != self.said {
                    self.is_proven = Known::Yes;
                }
                self.proof = self.said;
            } else if self.said < log.acknowledged() && self.is_proven != Known::No {
                self.asks = ask(self.is_proven == Known::Yes);
                (self.proof, self.is_proven) = (0, Known::Unclear);
            }
        }
        self.had_checked = std::mem::take(&mut self.has_checked);
        self.is_new = true;
    }

    /// The step came to its end. What the server asked for again.
    pub(super) fn step_ended(&mut self) -> Option<Again> {
        self.is_new = false;
        self.asks.take()
    }

    /// The terminal died in the step in which an answer reached it: what it understood is not known.
    pub(super) fn cut_off(&mut self) -> Option<Again> {
        if std::mem::take(&mut self.is_new) {
            self.has_said_other = Known::Unclear;
            (self.proof, self.is_proven) = (0, Known::Unclear);
            self.has_checked |= self.had_checked;
        }
        self.asks.take().map(|asks| Again { surely: false, ..asks })
    }
}
