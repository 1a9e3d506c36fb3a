//! How many jobs touch each thing, and how much room they take.

use crate::protocol::touches::{Things, Touches};

/// What the jobs touch, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) jobs: u64,
    pub(super) bytes: u64,
    /// The jobs of each lane, by its number.
    pub(super) lanes: [u32; 8],
    reads: [u32; 16],
    writes: [u32; 16],
}

impl Touched {
    /// Counts `by` jobs of a lane, with a text of so many bytes.
    pub(super) fn add(&mut self, lane: u8, touches: &Touches, bytes: u64, by: i32) {
        if let Some(count) = self.lanes.get_mut(usize::from(lane)) {
            *count = count.saturating_add_signed(by);
        }
        self.jobs = self.jobs.saturating_add_signed(by.into());
        self.bytes = self.bytes.saturating_add_signed(i64::from(by) * bytes as i64);
        for (counts, things) in
            [(&mut self.reads, touches.reads), (&mut self.writes, touches.writes)]
        {
            for (bit, count) in counts.iter_mut().enumerate() {
                if things.0 & 1 << bit != 0 {
                    *count = count.saturating_add_signed(by);
                }
            }
        }
    }

    /// Whether any job reads or writes one of these.
    pub(super) fn has(&self, read: Things, written: Things) -> bool {
        let any = |counts: &[u32; 16], things: Things| {
            (0..16).any(|bit| things.0 & 1 << bit != 0 && counts[bit] > 0)
        };
        any(&self.reads, read) || any(&self.writes, written)
    }
}
