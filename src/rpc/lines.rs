//! A stream of bytes, taken apart into lines.

/// What came of a stream and was not taken yet: whole lines, and one that has not ended.
#[derive(Default)]
pub(crate) struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the first line begins.
    begin: usize,
    /// Up to where no line end was found.
    searched: usize,
}

impl LineBuffer {
    /// Adds what was read. `each` gets every line that is whole now, without blanks around it;
    /// blank lines are left out.
    pub(crate) fn add(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        self.push(bytes);
        while let Some(line) = self.next_line() {
            each(line);
        }
    }

    /// Adds what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        if self.bytes.is_empty() {
            // A photo was in it: its memory is for others.
            self.bytes = Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without blanks around it; blank lines are left out.
    pub(crate) fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.bytes[self.searched..];
            let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.bytes.len();
                if self.begin == self.bytes.len() {
                    (self.bytes, self.begin, self.searched) = (Vec::new(), 0, 0);
                }
                return None;
            };
            let (begin, end) = (self.begin, self.searched + length);
            (self.begin, self.searched) = (end + 1, end + 1);
            if !self.bytes[begin..end].trim_ascii().is_empty() {
                return Some(self.bytes[begin..end].trim_ascii());
            }
        }
    }

    /// Bytes that were not taken yet.
    pub(crate) fn unfinished(&self) -> usize {
        self.bytes.len() - self.begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_stream_is_cut(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..50, 0..20),
        ) {
            let (mut buffer, mut found, mut rest) = (LineBuffer::default(), Vec::new(), &bytes[..]);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                buffer.add(chunk, |line| found.push(line.to_vec()));
                rest = after;
            }
            let (whole, unfinished) = match bytes.iter().rposition(|&byte| byte == b'\n') {
                Some(end) => bytes.split_at(end + 1),
                None => (&[][..], &bytes[..]),
            };
            let lines = whole.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
            let expected: Vec<_> = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
            prop_assert_eq!((found, buffer.unfinished()), (expected, unfinished.len()));
        }
    }
}
