//! What `scripts/fuzz` calls with any bytes (built only with `--cfg fuzzing`).
//!
//! Each function panics where something is not as it must be: a result that depends on how the
//! bytes were cut, a value outside its limits, a row that would be two rows.

mod rows;

pub use rows::records;

use super::ack::{self, Ack};
use super::codes::{Language, ReturnCode};
use super::command::{Command, CommandLine, reply_name};
use super::handshake::{Handshake, read_handshake};
use super::lines::{Line, Lines};
use super::option_rule;
use super::options::{Given, ServerOptions};
use super::refusal::Answer;
use super::reply::Reply;

/// The limit of a line here. It is small, so that overlong lines are found.
const LONGEST_LINE: usize = 500;

/// A command list (§12), in chunks of as many bytes as the first byte says.
pub fn commands(bytes: &[u8]) {
    let Some((size, list)) = bytes.split_first() else { return };
    let lines = split(list, usize::from(*size).max(1));
    assert_eq!(lines, split(list, list.len().max(1)), "it depends on how the list is cut");
    for line in &lines {
        let Line::Whole(line) = line else { continue };
        assert!(line.len() <= LONGEST_LINE);
        let Ok(CommandLine { id, text }) = CommandLine::parse(line) else { continue };
        assert!((1..=32).contains(&id.len()));
        assert!(reply_name(text).len() <= 65, "a long name: {}", reply_name(text));
        if let Ok(Command::Update(table, record)) = Command::parse(text) {
            rows::update(table, record, Language::ENGLISH);
        }
    }
}

fn split(list: &[u8], size: usize) -> Vec<Line> {
    let (mut lines, mut found) = (Lines::new(LONGEST_LINE), Vec::new());
    for chunk in list.chunks(size) {
        lines.push(chunk, |line| found.push(line));
    }
    found.extend(lines.rest());
    found
}

/// A handshake reply (§6), read twice.
pub fn handshake(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut base = ServerOptions::default();
    for _ in 0..2 {
        if let Handshake::Options(options) = read_handshake(&lines, &base, Answer::new(200, b"")) {
            assert_bounded(&options);
            base = *options;
        }
    }
}

/// Options as a handshake or `SET OPTION` sets them, one `key=value` a line.
pub fn options(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut options = ServerOptions::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        options.set(&key, value);
        if ServerOptions::is_settable(&key) && ServerOptions::check(&key, value).is_ok() {
            assert!(options.named.contains(&key), "{line:?} is answered 0 and does not hold");
        }
        let once = ServerOptions { warnings: Vec::new(), ..options.clone() };
        options.set(&key, value);
        assert_eq!(ServerOptions { warnings: Vec::new(), ..options.clone() }, once, "{line:?}");
        if option_rule::check_name(&key).is_ok() && option_rule::check_value(&key, value).is_ok() {
            assert!(!value.contains(['\n', '\r', '\0']), "{line:?}");
        }
        let _ = option_rule::is_taken(&key);
    }
    assert_bounded(&options);
}

/// Whatever a server says, an option is within its limits.
fn assert_bounded(options: &ServerOptions) {
    assert!((1..=86_400).contains(&options.delay), "{}", options.delay);
    assert!((1..=86_400).contains(&options.error_delay), "{}", options.error_delay);
    assert!(options.trans_interval <= 1440, "{}", options.trans_interval);
    assert!(options.trans_times.len() <= 10);
    assert!(options.trans_times.iter().all(|minute| *minute < 1440));
    assert!(options.max_post_size != Some(0));
    assert!(options.push_options.len() <= 200 && options.others.len() <= 200);
    assert!(options.warnings.len() <= 30);
    if let Given::Value(zone) = options.time_zone {
        assert!((-12 * 3600..=14 * 3600).contains(&zone) && zone % 900 == 0, "{zone}");
    }
}

/// The reply to a command (§13): the first byte is its code, then a line of a command list, then what
/// follows in the reply. All of it is also an answer to a request.
pub fn replies(bytes: &[u8]) {
    for status in [200, 204, 302, 400, 401, 500] {
        let answer = Answer::new(status, bytes);
        if let Ack::Taken(_) = ack::read(&answer) {
            assert_eq!(status / 100, 2);
            let bare: String = String::from_utf8_lossy(bytes)
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect();
            assert!(bare.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("ok")), "{bare}");
        }
        assert!(answer.refusal().chars().all(|c| !c.is_control()));
        assert!(answer.refusal_of_row().chars().all(|c| !c.is_control()));
    }
    let Some((code, rest)) = bytes.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let Ok(CommandLine { id, text }) = CommandLine::parse(&rest[..end]) else { return };
    let rest = rest.get(end + 1..).unwrap_or_default().to_vec();
    let code = ReturnCode(i32::from(*code as i8).into());
    let reply = Reply { id: id.to_owned(), name: reply_name(text), code, rest, file: None };
    for one_line in [false, true] {
        let mut body = Vec::new();
        reply.write("S", one_line, &mut body);
        let head = format!("ID={id}");
        assert!(body.starts_with(head.as_bytes()), "{reply:?}");
        if reply.goes_alone() {
            continue;
        }
        // One reply is one line, also among others.
        assert!(body.starts_with(format!("{head}&Return={code}&CMD={}", reply.name).as_bytes()));
        reply.write("S", one_line, &mut body);
        let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
        assert!(lines.len() == 2 && lines[0] == lines[1], "{reply:?}");
    }
}
