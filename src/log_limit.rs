//! How often one subject is logged. A driver or a server can cause the same line without end, and the
//! log must not fill the disk: after so many lines in a period, the further ones are counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a subject that was logged often is not logged. It begins with its first line.
pub const PERIOD: Duration = Duration::from_secs(600);

/// Whether a line is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is. So many lines about the subject were left out before it.
    Log {
        /// Lines that were left out.
        missing: u64,
    },
    /// It is, and further ones are not until the period ends: the reader has to be told.
    Last,
    /// It is not.
    Skip,
}

/// The lines about each subject in its period.
pub struct LogLimit<Subject> {
    most_lines: u64,
    most_subjects: usize,
    counts: BTreeMap<Subject, Count>,
}

struct Count {
    begun: Instant,
    lines: u64,
}

impl<Subject: Ord> LogLimit<Subject> {
    /// At most so many lines about a subject in a period. So many subjects are counted at the same
    /// time; lines about further ones are not limited here.
    pub const fn new(most_lines: u64, most_subjects: usize) -> Self {
        Self { most_lines, most_subjects, counts: BTreeMap::new() }
    }

    /// Counts a line about a subject.
    pub fn count(&mut self, subject: Subject, now: Instant) -> Verdict {
        if let Some(count) = self.counts.get_mut(&subject) {
            return count.add(self.most_lines, now);
        }
        if self.counts.len() >= self.most_subjects {
            self.counts.retain(|_, count| !count.is_over(now));
        }
        if self.counts.len() < self.most_subjects {
            self.counts.insert(subject, Count { begun: now, lines: 1 });
        }
        Verdict::Log { missing: 0 }
    }
}

impl Count {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) >= PERIOD
    }

    fn add(&mut self, most: u64, now: Instant) -> Verdict {
        if self.is_over(now) {
            let missing = self.lines.saturating_sub(most);
            *self = Self { begun: now, lines: 1 };
            return Verdict::Log { missing };
        }
        self.lines += 1;
        match self.lines {
            lines if lines < most => Verdict::Log { missing: 0 },
            lines if lines == most => Verdict::Last,
            _ => Verdict::Skip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_its_lines_in_each_period_and_then_the_number_of_those_left_out() {
        let (mut limit, begun) = (LogLimit::new(3, 2), Instant::now());
        let logged = Verdict::Log { missing: 0 };
        let verdicts = [(); 5].map(|()| limit.count("a", begun));
        assert_eq!(verdicts, [logged, logged, Verdict::Last, Verdict::Skip, Verdict::Skip]);
        assert_eq!(limit.count("b", begun + PERIOD / 2), logged);
        // There is no room for a third subject until the first one's period is over.
        assert_eq!([(); 4].map(|()| limit.count("c", begun)), [logged; 4]);
        assert_eq!(limit.count("a", begun + PERIOD), Verdict::Log { missing: 2 });
        assert_eq!(limit.count("a", begun + PERIOD), logged);
        assert_eq!(limit.count("b", begun + PERIOD), logged);
        let late = begun + PERIOD * 3;
        let verdicts = [(); 4].map(|()| limit.count("c", late));
        assert_eq!(verdicts, [logged, logged, Verdict::Last, Verdict::Skip]);
    }
}
