//! Files the server offers (§12.8.2, §12.11.2), whole or in ranges.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::answer::Answer;
use crate::http::Request;

/// A file that the server offers.
pub(crate) struct Offered {
    bytes: Vec<u8>,
    /// Its `ETag`, made once: a large file is asked for in many parts.
    tag: String,
}

impl Offered {
    pub(crate) fn new(bytes: Vec<u8>) -> Offered {
        Offered { tag: tag_of(&bytes), bytes }
    }
}

/// Answers a request for a file, with `Range`, `If-Range` and `If-None-Match`.
pub(crate) fn serve(Offered { bytes: file, tag }: &Offered, request: &Request) -> Answer {
    let answer = |status: u16, body: &[u8]| {
        Answer::of(status, body)
            .with("ETag", tag)
            .with("Accept-Ranges", "bytes")
            .with("Content-Type", "application/octet-stream")
    };
    if request.head.field("if-none-match") == Some(tag.as_str()) {
        return answer(304, &[]);
    }
    let unchanged = request.head.field("if-range").is_none_or(|theirs| theirs == tag);
    match request
        .head
        .field("range")
        .filter(|_| unchanged)
        .map(|range| parse_range(range, file.len()))
    {
        None | Some(Range::Nonsense) => answer(200, file),
        Some(Range::Beyond) => {
            answer(416, &[]).with("Content-Range", format!("bytes */{}", file.len()))
        }
        Some(Range::Part(start, end)) => answer(206, &file[start..end])
            .with("Content-Range", format!("bytes {start}-{}/{}", end - 1, file.len())),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// From the first up to before the second.
    Part(usize, usize),
    Beyond,
    Nonsense,
}

fn parse_range(text: &str, length: usize) -> Range {
    let Some((start, end)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Range::Nonsense;
    };
    let bounds = match (start.parse::<usize>(), end.parse::<usize>()) {
        (Ok(start), Ok(end)) if start <= end => (start, (end + 1).min(length)),
        (Ok(start), Err(_)) if end.is_empty() => (start, length),
        (Err(_), Ok(last)) if start.is_empty() => (length.saturating_sub(last), length),
        _ => return Range::Nonsense,
    };
    if bounds.0 < bounds.1 { Range::Part(bounds.0, bounds.1) } else { Range::Beyond }
}

fn tag_of(file: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-3", Range::Part(0, 4)),
            ("bytes=4-", Range::Part(4, 10)),
            ("bytes=-3", Range::Part(7, 10)),
            ("bytes=8-99", Range::Part(8, 10)),
            ("bytes=10-", Range::Beyond),
            ("bytes=3-1", Range::Nonsense),
            ("lines=1-2", Range::Nonsense),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
    }
}
