//! Several records in one command: a line that begins no command and follows a `DATA UPDATE` or
//! `DATA DELETE` is one more record of it (§12.2 joins records with LF). Such lines become one, joined
//! with LF.

use super::command::CommandLine;
use super::lines::Line;

/// Joins lines. Memory is bounded by the longest allowed command.
#[derive(Debug)]
pub struct RecordJoiner {
    /// A command that may have more records.
    pending: Option<Line>,
    longest: usize,
    /// Commands stand without `C:id:` too.
    is_file: bool,
}

impl RecordJoiner {
    /// For a command list; commands of up to `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self { pending: None, longest, is_file: false }
    }

    /// For a file of data commands, which need no `C:id:`.
    pub fn for_file(longest: usize) -> Self {
        Self { is_file: true, ..Self::new(longest) }
    }

    /// Takes the next line, and calls `each` for what is complete by that.
    pub fn push(&mut self, line: Line, mut each: impl FnMut(Line)) {
        let (Line::Whole(bytes) | Line::Overlong(bytes)) = &line;
        if self.begins(bytes) || self.pending.is_none() || bytes.eq_ignore_ascii_case(b"OK") {
            self.take().into_iter().for_each(&mut each);
            match self.takes_records(bytes) {
                true => self.pending = Some(line),
                false => each(line),
            }
            return;
        }
        self.pending = match (self.pending.take(), line) {
            (Some(Line::Whole(command)), Line::Whole(record)) => {
                Some(self.joined(command, &record))
            }
            (Some(Line::Whole(command) | Line::Overlong(command)), _) => {
                Some(Line::Overlong(command))
            }
            (None, line) => Some(line),
        };
    }

    /// The command that might have had more records.
    pub fn take(&mut self) -> Option<Line> {
        self.pending.take()
    }

    /// Whether a line belongs to the command before it.
    pub fn continues(&self, line: &[u8]) -> bool {
        self.pending.is_some() && !self.begins(line)
    }

    fn joined(&self, mut command: Vec<u8>, record: &[u8]) -> Line {
        if command.len() + 1 + record.len() > self.longest {
            return Line::Overlong(command);
        }
        // The table's name may stand on a line of its own.
        let has_record = command.contains(&b'=');
        command.push(if has_record { b'\n' } else { b' ' });
        command.extend_from_slice(record);
        Line::Whole(command)
    }

    fn begins(&self, line: &[u8]) -> bool {
        let is_data = || words(line)[0].eq_ignore_ascii_case(b"DATA");
        CommandLine::begins(line) || self.is_file && is_data()
    }

    fn takes_records(&self, line: &[u8]) -> bool {
        let text = match CommandLine::parse(line) {
            Ok(command) => command.text,
            Err(_) if self.is_file => line,
            Err(_) => return false,
        };
        let [first, second] = words(text);
        first.eq_ignore_ascii_case(b"DATA") && !second.eq_ignore_ascii_case(b"QUERY")
    }
}

/// The records of a command.
pub fn records(joined: &[u8]) -> impl Iterator<Item = &[u8]> {
    joined.split(|&byte| byte == b'\n')
}

fn words(text: &[u8]) -> [&[u8]; 2] {
    let mut words = text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    [words.next().unwrap_or_default(), words.next().unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(lines: &[&str], mut joiner: RecordJoiner) -> Vec<String> {
        let mut found = Vec::new();
        let mut each = |line| {
            found.push(match line {
                Line::Whole(bytes) => String::from_utf8(bytes).unwrap(),
                Line::Overlong(_) => "overlong".into(),
            });
        };
        for line in lines {
            joiner.push(Line::Whole(line.as_bytes().to_vec()), &mut each);
        }
        joiner.take().into_iter().for_each(each);
        found
    }

    #[test]
    fn lines_that_begin_no_command_are_records_of_the_data_command_before() {
        for (lines, expected) in [
            (
                &["C:1:DATA UPDATE USERINFO PIN=1", "PIN=2"][..],
                &["C:1:DATA UPDATE USERINFO PIN=1\nPIN=2"][..],
            ),
            (
                &["PIN=2", "C:1:DATA DELETE USERINFO PIN=1", "PIN=2", "C:2:LOG", "PIN=3"],
                &["PIN=2", "C:1:DATA DELETE USERINFO PIN=1\nPIN=2", "C:2:LOG", "PIN=3"],
            ),
            (&["C:1:DATA QUERY USERINFO", "PIN=2"], &["C:1:DATA QUERY USERINFO", "PIN=2"]),
            (
                &["C:1:DATA UPDATE USERINFO", "PIN=1", "PIN=2"],
                &["C:1:DATA UPDATE USERINFO PIN=1\nPIN=2"],
            ),
            (
                &["C:1:DATA UPDATE USERINFO PIN=1", "C::LOG", "PIN=2"],
                &["C:1:DATA UPDATE USERINFO PIN=1", "C::LOG", "PIN=2"],
            ),
            (&["C:1:DATA UPDATE USERINFO PIN=1", "OK"], &["C:1:DATA UPDATE USERINFO PIN=1", "OK"]),
            (
                &["C:1:DATA UPDATE USERINFO PIN=1", &"x".repeat(100), "C:2:LOG"],
                &["overlong", "C:2:LOG"],
            ),
        ] {
            assert_eq!(joined(lines, RecordJoiner::new(80)), expected);
        }
        let file =
            ["C:1:DATA UPDATE USERINFO PIN=1", "DATA UPDATE FINGERTMP", "PIN=1", "PIN=2", "hello"];
        assert_eq!(
            joined(&file, RecordJoiner::for_file(80)),
            ["C:1:DATA UPDATE USERINFO PIN=1", "DATA UPDATE FINGERTMP PIN=1\nPIN=2\nhello"]
        );
    }
}
