//! A stream of bytes, taken apart into lines.

/// The line of a stream that has not ended yet.
#[derive(Default)]
pub(crate) struct LineBuffer(Vec<u8>);

impl LineBuffer {
    /// Adds what was read. `each` gets every line that is whole now, without blanks around it;
    /// blank lines are left out.
    pub(crate) fn add(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let (mut begin, mut searched) = (0, self.0.len());
        self.0.extend_from_slice(bytes);
        while let Some(length) = self.0[searched..].iter().position(|&byte| byte == b'\n') {
            let end = searched + length;
            let line = self.0[begin..end].trim_ascii();
            if !line.is_empty() {
                each(line);
            }
            (begin, searched) = (end + 1, end + 1);
        }
        self.0.drain(..begin);
        if self.0.is_empty() {
            // A photo was in it: its memory is for others.
            self.0 = Vec::new();
        }
    }

    /// Bytes of the line that has not ended yet.
    pub(crate) fn unfinished(&self) -> usize {
        self.0.len()
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
