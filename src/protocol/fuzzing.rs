//! What `scripts/fuzz` calls with any bytes (built only with `--cfg fuzzing`).
//!
//! Each function panics where something is not as it must be: a result that depends on how the
//! bytes were cut, a value outside its limits, a row that would be two rows.

use super::ack;
use super::codes::Language;
use super::command::{Command, CommandLine, reply_name};
use super::data_table::DataTable;
use super::handshake::{Handshake, read_handshake};
use super::lines::{Line, Lines};
use super::options::ServerOptions;
use super::record::{BioPhotoUpdate, IdCard, PictureKind, Template, User, UserChange, UserPic};
use super::refusal::Answer;

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
            update(table, record, Language::ENGLISH);
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

/// A handshake reply (§8), read twice; and the same bytes as the answer to an upload.
pub fn handshake(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut base = ServerOptions::default();
    for _ in 0..2 {
        if let Handshake::Options(options) = read_handshake(&lines, &base, Answer::new(200, b"")) {
            assert!((1..=86_400).contains(&options.delay), "{}", options.delay);
            assert!((1..=86_400).contains(&options.error_delay), "{}", options.error_delay);
            assert!(options.trans_times.iter().all(|minute| *minute < 1440));
            base = *options;
        }
    }
    for status in [200, 302, 500] {
        let _ = ack::read(&Answer::new(status, bytes));
        assert!(Answer::new(status, bytes).refusal().chars().all(|c| !c.is_control()));
    }
}

/// A record of `DATA UPDATE` (§12.2): `TABLE fields`, in a language by the first byte.
pub fn records(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else { return };
    let language = match first % 2 {
        0 => Language::ENGLISH,
        _ => Language::SIMPLIFIED_CHINESE,
    };
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let Ok(name) = std::str::from_utf8(&text[..end]) else { return };
    update(DataTable::named(name), text[end..].trim_ascii_start(), language);
}

/// Reads a record; what was taken is one row when it goes up again.
fn update(table: DataTable<'_>, record: &[u8], language: Language) {
    let mut row = Vec::new();
    match table {
        DataTable::Users => {
            if let Ok(change) = UserChange::parse(record, language) {
                let mut user = User::new(change.pin.clone());
                change.apply(&mut user);
                user.write(&mut row, language);
            }
        }
        DataTable::IdCards => {
            if let Ok(card) = IdCard::parse(record) {
                card.write(&mut row);
            }
        }
        DataTable::Templates(form) => {
            if let Ok(template) = Template::parse(form, record, language) {
                template.write(&mut row);
            }
        }
        DataTable::Pictures(PictureKind::User) => {
            if let Ok(picture) = UserPic::parse(record, language) {
                picture.write(&mut row);
            }
        }
        DataTable::Pictures(PictureKind::Comparison) => {
            if let Ok(BioPhotoUpdate::Here(picture)) = BioPhotoUpdate::parse(record, language) {
                picture.write(&mut row);
            }
        }
        DataTable::Entries(table) => {
            if let Ok(entry) = table.parse(record, language) {
                let id = table.id_of(&entry);
                assert_eq!(table.id_of(&table.identity(&id)), id);
            }
        }
        DataTable::Punches | DataTable::Photos | DataTable::Unknown(_) => {}
    }
    assert!(!row.contains(&b'\n') && !row.contains(&b'\r'), "it would be two rows: {row:?}");
}
