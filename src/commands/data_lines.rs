//! The lines of a file of data commands, a time slice at a time: drivers are served between.

use std::collections::VecDeque;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use super::error::CommandError;
use super::pending::TIME_SLICE;
use crate::files::{ArchiveLimits, FileError, open_list};
use crate::protocol::lines::{Line, Lines};
use crate::protocol::records::RecordJoiner;

/// Bytes that are read together.
const CHUNK: usize = 16 << 10;

/// A file that is read line by line.
pub(super) struct DataLines {
    file: Box<dyn Read>,
    lines: Lines,
    /// Joins records that stand on lines of their own, where they may.
    joiner: Option<RecordJoiner>,
    ready: VecDeque<Line>,
    is_read: bool,
}

impl DataLines {
    /// Opens a file whose lines have up to `longest` bytes.
    pub(super) fn open(
        part: &Path,
        limits: &ArchiveLimits,
        longest: usize,
    ) -> Result<Self, FileError> {
        Ok(Self {
            file: open_list(part, limits)?,
            lines: Lines::new(longest),
            joiner: None,
            ready: VecDeque::new(),
            is_read: false,
        })
    }

    /// The same, with the records of a command joined.
    pub(super) fn joined(mut self, longest: usize) -> Self {
        self.joiner = Some(RecordJoiner::for_file(longest));
        self
    }

    /// Passes on the next lines, up to `most`, as many as take [`TIME_SLICE`]. Whether that was the last of
    /// them.
    pub(super) fn slice(
        &mut self,
        most: u32,
        each: &mut dyn FnMut(Line) -> Result<(), CommandError>,
    ) -> Result<bool, CommandError> {
        let (begun, mut passed) = (Instant::now(), 0);
        while let Some(line) = self.next()? {
            each(line)?;
            passed += 1;
            if passed == most || begun.elapsed() > TIME_SLICE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next(&mut self) -> Result<Option<Line>, FileError> {
        while self.ready.is_empty() && !self.is_read {
            let mut chunk = [0; CHUNK];
            let amount = self.file.read(&mut chunk)?;
            let Self { lines, joiner, ready, .. } = self;
            let mut take = |line| match joiner {
                Some(joiner) => joiner.push(line, |line| ready.push_back(line)),
                None => ready.push_back(line),
            };
            lines.push(&chunk[..amount], &mut take);
            if amount == 0 {
                lines.rest().into_iter().for_each(take);
                self.is_read = true;
                ready.extend(joiner.as_mut().and_then(RecordJoiner::take));
            }
        }
        Ok(self.ready.pop_front())
    }
}
