//! A terminal that does one command after the other, in a few lines.

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;
use super::terminal::Terminal;
use crate::protocol::record::EntryTable;

/// The persons that commands name.
const PINS: [&str; 3] = ["1", "2", "3"];
/// A picture begins and ends like this.
const JPEG: (&[u8], &[u8]) = (b"\xFF\xD8\xFF", b"\xFF\xD9");

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Person {
    name: String,
    fingers: BTreeMap<u64, String>,
    face: Option<Vec<u8>>,
}

/// What a command is to be answered: its code, and the rows or the content that come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    code: String,
    rows: Option<BTreeSet<String>>,
    content: Option<Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Model {
    people: BTreeMap<String, Person>,
    messages: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    expected: Vec<(String, Expected)>,
}

/// A command over a few people and files.
pub(super) fn random_command(random: &mut Random, terminal: &Terminal) -> String {
    let pin = PINS[random.below(3) as usize];
    let word = random.below(1_000_000);
    let file = |random: &mut Random| {
        terminal.file(["a", "b"][random.below(2) as usize]).display().to_string()
    };
    // What the server gives out fails some times before it comes.
    let offer = |random: &mut Random, name: String, content: Vec<u8>| {
        let mut server = terminal.server.borrow_mut();
        server.failures.insert(name.clone(), random.below(3));
        server.files.insert(name.clone(), content);
        name
    };
    match random.below(18) {
        0..4 => format!("DATA UPDATE USERINFO PIN={pin}\tName=N{word}"),
        4 => format!("DATA DELETE USERINFO PIN={pin}"),
        5 | 6 => {
            let finger = random.below(2);
            let data = ["QUJD", "REVG", "R0hJ"][random.below(3) as usize];
            format!("DATA UPDATE FINGERTMP PIN={pin}\tFID={finger}\tSize=4\tValid=1\tTMP={data}")
        }
        7 => format!("DATA DELETE FINGERTMP PIN={pin}"),
        8 | 9 => {
            let face = [JPEG.0, word.to_string().as_bytes(), JPEG.1].concat();
            let url = offer(random, format!("face{word}.jpg"), face);
            format!("DATA UPDATE BIOPHOTO PIN={pin}\tType=9\tFormat=1\tUrl={url}")
        }
        10 => format!("DATA DELETE BIOPHOTO PIN={pin}"),
        11 => format!(
            "DATA UPDATE SMS MSG=M{word}\tTAG=253\tUID={pin}\tMIN=0\tStartTime=2026-01-01 00:00:00"
        ),
        12 => format!("DATA DELETE SMS UID={pin}"),
        13 => match random.below(4) {
            0 => "DATA QUERY USERINFO".into(),
            1 => format!("DATA QUERY FINGERTMP PIN={pin}"),
            2 => format!("DATA QUERY BIOPHOTO PIN={pin}"),
            _ => format!("DATA QUERY USERINFO PIN={pin}"),
        },
        14 => {
            let lines = format!(
                "DATA UPDATE USERINFO PIN={pin}\tName=F{word}\nDATA UPDATE FINGERTMP PIN={pin}\tFID=0\tSize=4\tValid=1\tTMP=QUJD\n"
            );
            let name = offer(random, format!("people{word}.txt"), lines.into_bytes());
            format!("PutFile {name}\tx\tAction=AppendData")
        }
        15 => {
            let name = offer(random, format!("file{word}.bin"), format!("W{word}").into_bytes());
            format!("PutFile {name}\t{}", file(random))
        }
        16 => format!("GetFile {}", file(random)),
        _ => format!("SHELL echo S{word} > {}", file(random)),
    }
}

/// The value of a field of a record.
fn field<'a>(record: &'a str, key: &str) -> Option<&'a str> {
    record.split(['\t', ' ']).find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
}

impl Model {
    /// Carries out a command at once.
    pub(super) fn carry_out(&mut self, command: &str, terminal: &Terminal) -> Expected {
        let done = |code: i64| Expected { code: code.to_string(), rows: None, content: None };
        let words: Vec<&str> = command.splitn(3, ' ').collect();
        match words[..] {
            ["DATA", verb, record] => self.data(verb, record, terminal),
            ["SHELL", "echo", rest] => {
                let (text, path) = rest.split_once(" > ").unwrap();
                self.files.insert(path.into(), text.into());
                done(0)
            }
            _ if command.starts_with("GetFile ") => match self.files.get(&command[8..]) {
                Some(content) => {
                    Expected { content: Some(content.clone()), ..done(content.len() as i64) }
                }
                None => done(-2),
            },
            _ => {
                let (name, rest) = command["PutFile ".len()..].split_once('\t').unwrap();
                let content = terminal.server.borrow().files[name].clone();
                let code = content.len() as i64;
                if rest.contains("Action=AppendData") {
                    for line in String::from_utf8(content).unwrap().lines() {
                        self.carry_out(line, terminal);
                    }
                } else {
                    self.files.insert(rest.into(), content);
                }
                done(code)
            }
        }
    }

    fn data(&mut self, verb: &str, record: &str, terminal: &Terminal) -> Expected {
        let done = |code: i64| Expected { code: code.to_string(), rows: None, content: None };
        let (table, record) = record.split_once(' ').unwrap_or((record, ""));
        if table == "SMS" {
            let uid = field(record, "UID").unwrap().to_owned();
            match verb {
                "UPDATE" => drop(self.messages.insert(uid, field(record, "MSG").unwrap().into())),
                _ => drop(self.messages.remove(&uid)),
            }
            return done(0);
        }
        let pin = field(record, "PIN");
        match (verb, table) {
            ("UPDATE", "USERINFO") => {
                let person = self.people.entry(pin.unwrap().into()).or_default();
                person.name = field(record, "Name").unwrap().into();
                return done(0);
            }
            ("DELETE", "USERINFO") => {
                self.people.remove(pin.unwrap());
                return done(0);
            }
            ("QUERY", _) => return self.query(table, pin),
            _ => {}
        }
        let Some(person) = self.people.get_mut(pin.unwrap()) else {
            return done(if verb == "DELETE" { 0 } else { -10 });
        };
        match (verb, table) {
            ("UPDATE", "FINGERTMP") => {
                let finger = field(record, "FID").unwrap().parse().unwrap();
                person.fingers.insert(finger, field(record, "TMP").unwrap().into());
            }
            ("DELETE", "FINGERTMP") => person.fingers.clear(),
            ("UPDATE", "BIOPHOTO") => {
                let url = field(record, "Url").unwrap();
                person.face = Some(terminal.server.borrow().files[url].clone());
            }
            ("DELETE", "BIOPHOTO") => person.face = None,
            other => panic!("{other:?}"),
        }
        done(0)
    }

    fn query(&self, table: &str, pin: Option<&str>) -> Expected {
        let known = pin.is_none_or(|pin| self.people.contains_key(pin));
        if !known {
            return Expected { code: "-10".into(), rows: None, content: None };
        }
        let people = self.people.iter().filter(|(of, _)| pin.is_none_or(|pin| pin == *of));
        let rows = people.flat_map(|(pin, person)| match table {
            "USERINFO" => vec![format!("{pin} {}", person.name)],
            "FINGERTMP" => {
                let fingers = person.fingers.iter();
                fingers.map(|(finger, data)| format!("{pin} {finger} {data}")).collect()
            }
            _ => {
                let face = person.face.iter();
                face.map(|face| format!("{pin} {}", base64(face))).collect()
            }
        });
        Expected { code: "0".into(), rows: Some(rows.collect()), content: None }
    }

    /// Commands, and what they are to be answered.
    pub(super) fn expect(&mut self, expected: Vec<(String, Expected)>) {
        self.expected.extend(expected);
    }

    /// Whether all was answered as expected, and the terminal has what the model has.
    pub(super) fn compare(&self, terminal: &Terminal, seed: u64, said: &str) {
        let server = terminal.server.borrow();
        for (id, expected) in &self.expected {
            let (code, content) = &server.answers[id];
            assert_eq!(code, &expected.code, "seed {seed}: {id}\n{said}");
            if let Some(wanted) = &expected.content {
                assert_eq!(content, wanted, "seed {seed}: {id}\n{said}");
            }
            if let Some(wanted) = &expected.rows {
                let packs = server.rows.get(id).into_iter().flatten();
                let found: BTreeSet<String> =
                    packs.flat_map(|(_, text)| text.lines()).map(row).collect();
                assert_eq!(&found, wanted, "seed {seed}: {id}\n{said}");
            }
        }
        let store = terminal.store();
        assert_eq!(store.jobs().count().unwrap(), 0, "seed {seed}\n{said}");
        for (path, content) in &self.files {
            assert_eq!(&std::fs::read(path).unwrap(), content, "seed {seed}: {path}\n{said}");
        }
        let messages = store.tables().all(EntryTable::named("SMS").unwrap()).unwrap();
        assert_eq!(messages.len(), self.messages.len(), "seed {seed}\n{said}");
        for (uid, text) in &self.messages {
            let found = messages.iter().any(|entry| {
                let shown = format!("{entry:?}");
                shown.contains(&format!("\"{text}\"")) && shown.contains(&format!("\"{uid}\""))
            });
            assert!(found, "seed {seed}: {uid} {text} is not in {messages:?}\n{said}");
        }
    }
}

/// What of a row is compared.
fn row(line: &str) -> String {
    let field = |key| field(line, key).unwrap_or_default();
    match line.split(' ').next().unwrap() {
        "USER" => format!("{} {}", field("PIN"), field("Name")),
        "FP" => format!("{} {} {}", field("PIN"), field("FID"), field("TMP")),
        _ => format!("{} {}", field("PIN"), field("Content")),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
