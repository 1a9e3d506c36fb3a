//! Made-up data: times, punches, pictures, files.

use punchd::protocol::record::{Pin, Screening, WorkCode};
use punchd::store::{Moment, NewPunch};

/// The nth second of a made-up day.
pub fn second(nth: u32) -> String {
    format!("2026-11-02 {:02}:{:02}:{:02}", nth / 3600, nth / 60 % 60, nth % 60)
}

/// Seconds since 1970 as the `Date` of HTTP has them.
pub fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut left) = (1970, days);
    let is_leap = |year: i64| year % 4 == 0; // Good until 2099.
    while left >= 365 + i64::from(is_leap(year)) {
        left -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!(
        "{}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        left + 1,
        MONTHS[month],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// A punch for a store that no daemon has open: with a fingerprint, and nothing else.
pub fn new_punch(pin: &str, moment: Moment) -> NewPunch {
    NewPunch {
        pin: Pin::new(pin).unwrap(),
        moment,
        status: 0,
        verify: 1,
        workcode: WorkCode::new("").unwrap(),
        screening: Screening::default(),
        card: None,
    }
}

/// A picture: the least that begins and ends as a JPEG does.
pub const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0made-up picture\xFF\xD9";

/// A made-up picture of so many bytes, as far as the first and last bytes tell.
pub fn jpeg(bytes: usize) -> Vec<u8> {
    [&b"\xFF\xD8\xFF"[..], &vec![7; bytes.saturating_sub(5)], &b"\xFF\xD9"[..]].concat()
}

/// Base64, as the protocol has it.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Bytes that differ everywhere.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..6]);
    }
    bytes.truncate(length);
    bytes
}

/// A tgz of these files.
pub fn tgz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(packed);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}
