//! The head of a response.

use ureq_proto::http::Uri;
use ureq_proto::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName,
    LAST_MODIFIED, LOCATION, RETRY_AFTER,
};

use super::exchange::{DateHeader, FileHead};
use crate::protocol::query::path_of;
use crate::protocol::refusal::{Redirect, Target};

/// Most characters of a `Date` that are kept.
const LONGEST_DATE: usize = 60;

/// What it says about the file in the body.
pub(super) fn file(headers: &HeaderMap) -> FileHead {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let version = text(ETAG).or_else(|| text(LAST_MODIFIED));
    FileHead {
        version: version.filter(|version| version.len() <= 200).map(str::to_owned),
        range: text(CONTENT_RANGE).and_then(content_range),
        is_empty: text(CONTENT_RANGE) == Some("bytes */0"),
        length: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
    }
}

/// `bytes 0-99/1000`
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, all) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let number = |text: &str| text.trim().parse().ok();
    Some((number(from)?, number(to)?, number(all)?))
}

/// `Retry-After` in seconds; as a date it is compared with the server's own `Date`. 0: the server
/// wants a pause, and how long cannot be told.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(RETRY_AFTER)?.to_str().unwrap_or_default().trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u32::MAX));
    }
    let seconds = || {
        let now = crate::protocol::date::parse(headers.get(DATE)?.to_str().ok()?)?;
        let until = crate::protocol::date::parse(text)?;
        Some((until - now).clamp(0, u32::MAX.into()) as u32)
    };
    Some(seconds().unwrap_or(0))
}

/// Where it redirects to, if it does; `path` is what was asked for at the URL `server`.
pub(super) fn redirect(headers: &HeaderMap, server: &str, path: &str) -> Option<Redirect> {
    let location = String::from_utf8_lossy(headers.get(LOCATION)?.as_bytes()).into_owned();
    let host = |url: &str| url.parse::<Uri>().ok()?.host().map(str::to_ascii_lowercase);
    let place = path_of(&location);
    let to = match host(&location) {
        Some(found) if Some(&found) != host(server).as_ref() => Target::OtherHost,
        _ if [path, &format!("{server}{path}")].contains(&place) => Target::Itself,
        _ => Target::SameHost,
    };
    Some(Redirect { location, to })
}

/// How the body is encoded.
pub(super) fn coding(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(CONTENT_ENCODING)?.to_str().ok()?.trim().to_owned())
}

/// The first `Date`.
pub(super) fn date(headers: &HeaderMap) -> Option<DateHeader> {
    let bytes = headers.get(DATE)?.as_bytes();
    let text = String::from_utf8_lossy(bytes);
    let shown = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(LONGEST_DATE);
    let at = crate::protocol::date::parse(&text).ok_or("it cannot be read");
    Some(DateHeader { text: shown.collect(), at })
}
