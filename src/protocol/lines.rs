//! Splits a body into lines, whatever the chunks in which it arrives.

/// Splits chunks into lines that end with LF, CRLF or LF CR LF (the demo server of a vendor).
/// Blank lines are dropped. Memory is bounded by the longest allowed line.
#[derive(Debug)]
pub struct Lines {
    pending: Vec<u8>,
    longest: usize,
    overlong: bool,
}

/// One line of a body, without its line end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The whole line.
    Whole(Vec<u8>),
    /// The beginning of a line that is longer than allowed.
    Overlong(Vec<u8>),
}

/// Bytes of an overlong line that are kept: enough for the id of its command.
const KEPT_OF_OVERLONG: usize = 256;

impl Lines {
    /// Allows lines of up to `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self { pending: Vec::new(), longest, overlong: false }
    }

    /// Adds a chunk, and calls `each` for each line that ends in it.
    pub fn push(&mut self, mut chunk: &[u8], mut each: impl FnMut(Line)) {
        while let Some(end) = chunk.iter().position(|&byte| byte == b'\n') {
            self.keep(&chunk[..end]);
            chunk = &chunk[end + 1..];
            if let Some(line) = self.take() {
                each(line);
            }
        }
        self.keep(chunk);
    }

    /// The text after the last LF: the last line if the body is known to be complete, else a
    /// fragment.
    pub fn rest(&mut self) -> Option<Line> {
        self.take()
    }

    fn keep(&mut self, part: &[u8]) {
        if self.overlong {
            return;
        }
        self.pending
            .extend_from_slice(&part[..part.len().min(self.longest + 1 - self.pending.len())]);
        if self.pending.len() > self.longest {
            self.overlong = true;
            self.pending.truncate(KEPT_OF_OVERLONG);
            self.pending.shrink_to_fit();
        }
    }

    fn take(&mut self) -> Option<Line> {
        let mut line = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.overlong) {
            return Some(Line::Overlong(line));
        }
        while line.last() == Some(&b'\r') {
            line.pop();
        }
        let blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        (!blank).then_some(Line::Whole(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &[u8], chunk: usize, longest: usize) -> (Vec<String>, Option<Line>) {
        let mut lines = Lines::new(longest);
        let mut seen = Vec::new();
        for part in body.chunks(chunk) {
            lines.push(part, |line| {
                seen.push(match line {
                    Line::Whole(text) => String::from_utf8(text).unwrap(),
                    Line::Overlong(text) => format!("overlong {}", text.len()),
                });
            });
        }
        let rest = lines.rest();
        (seen, rest)
    }

    #[test]
    fn every_line_end_of_the_field_is_recognised_in_all_chunks() {
        let body = b"C:1:LOG\nC:2:CHECK\r\n\n\r\n \nC:3:INFO\n\r\nC:4:REBOOT";
        for chunk in 1..body.len() {
            let (lines, rest) = split(body, chunk, 100);
            assert_eq!(lines, ["C:1:LOG", "C:2:CHECK", "C:3:INFO"], "chunks of {chunk}");
            assert_eq!(rest, Some(Line::Whole(b"C:4:REBOOT".to_vec())));
        }
    }

    #[test]
    fn an_overlong_line_uses_little_memory_and_spares_the_next_line() {
        let mut body = vec![b'x'; 10_000];
        body.extend_from_slice(b"\nC:1:LOG\n");
        let (lines, rest) = split(&body, 777, 1000);
        assert_eq!(lines, ["overlong 256", "C:1:LOG"]);
        assert_eq!(rest, None);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        assert_eq!(split(b"12345\n123456\n", 3, 5).0, ["12345", "overlong 6"]);
    }
}
