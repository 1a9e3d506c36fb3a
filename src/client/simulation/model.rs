//! A terminal that does one command after the other, in a few lines.

use std::collections::{BTreeMap, BTreeSet};

use super::terminal::Terminal;
use crate::protocol::record::EntryTable;

/// What a driver answers to an enrolment.
pub(super) const ENROLLED: &str = "RU5S";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Person {
    name: String,
    card: String,
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
    /// The messages to persons, by PIN and number.
    addressed: BTreeSet<(String, String)>,
    /// The attendance log: times.
    pub(super) log: BTreeSet<String>,
    /// How often a door was opened, and how often the device was started again.
    pub(super) doors: usize,
    pub(super) reboots: usize,
    files: BTreeMap<String, Vec<u8>>,
    expected: Vec<(String, Expected)>,
}

/// A code, and nothing more.
fn done(code: i64) -> Expected {
    Expected { code: code.to_string(), rows: None, content: None }
}

/// The value of a field of a record.
fn field<'a>(record: &'a str, key: &str) -> Option<&'a str> {
    record.split(['\t', ' ']).find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
}

impl Model {
    /// Carries out a command at once.
    pub(super) fn carry_out(&mut self, command: &str, terminal: &Terminal) -> Expected {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "DATA" => self.data(rest, terminal),
            "SHELL" => {
                let (text, path) = rest.strip_prefix("echo ").unwrap().split_once(" > ").unwrap();
                self.files.insert(path.into(), text.into());
                done(0)
            }
            "GetFile" => match self.files.get(rest) {
                Some(content) => {
                    Expected { content: Some(content.clone()), ..done(content.len() as i64) }
                }
                None => done(-2),
            },
            "PutFile" => self.put_file(rest, terminal),
            "ENROLL_FP" => {
                let finger = field(rest, "FID").unwrap().parse().unwrap();
                match self.people.get_mut(field(rest, "PIN").unwrap()) {
                    Some(person) => {
                        person.fingers.insert(finger, ENROLLED.into());
                        done(0)
                    }
                    None => done(-10),
                }
            }
            "AC_UNLOCK" => {
                self.doors += 1;
                done(0)
            }
            "REBOOT" => {
                self.reboots += 1;
                done(0)
            }
            _ => {
                self.log.clear();
                if rest == "DATA" {
                    self.people.clear();
                    self.messages.clear();
                    self.addressed.clear();
                }
                done(0)
            }
        }
    }

    fn put_file(&mut self, arguments: &str, terminal: &Terminal) -> Expected {
        let (name, rest) = arguments.split_once('\t').unwrap();
        let content = terminal.server.borrow().files[name].clone();
        let code = content.len() as i64;
        let text = || String::from_utf8(content.clone()).unwrap();
        if rest.contains("Action=AppendData") {
            let text = text();
            let codes = text.lines().map(|line| self.carry_out(line, terminal).code);
            let refused = codes.filter(|code| code != "0").collect::<Vec<_>>();
            if let Some(first) = refused.into_iter().next() {
                return Expected { code: first, ..done(0) };
            }
        } else if rest.contains("Action=SyncData") {
            return self.sync(field(rest, "TableName").unwrap(), &text());
        } else {
            self.files.insert(rest.into(), content);
        }
        done(code)
    }

    /// Replaces a table by the records of a file.
    fn sync(&mut self, table: &str, text: &str) -> Expected {
        let command = format!("DATA UPDATE {table} ");
        let records: Vec<&str> =
            text.lines().map(|line| line.strip_prefix(&command).unwrap()).collect();
        if table == "FINGERTMP" {
            if records.iter().any(|record| !self.people.contains_key(field(record, "PIN").unwrap()))
            {
                return done(-10);
            }
            self.people.values_mut().for_each(|person| person.fingers.clear());
            for record in &records {
                self.put_finger(record);
            }
        } else {
            let named: BTreeSet<&str> =
                records.iter().map(|record| field(record, "PIN").unwrap()).collect();
            self.people.retain(|pin, _| named.contains(pin.as_str()));
            self.addressed.retain(|(pin, _)| named.contains(pin.as_str()));
            self.people.values_mut().for_each(|person| person.card.clear());
            // A record is the whole user.
            for record in &records {
                if let Some(person) = self.people.get_mut(field(record, "PIN").unwrap()) {
                    person.card.clear();
                }
                self.put_person(record);
            }
        }
        done(records.len() as i64)
    }

    fn data(&mut self, command: &str, terminal: &Terminal) -> Expected {
        let (verb, rest) = command.split_once(' ').unwrap();
        let (table, records) = rest.split_once(' ').unwrap_or((rest, ""));
        if verb == "QUERY" {
            return self.query(table, field(records, "PIN"));
        }
        // The code is that of the first record that is refused.
        let codes: Vec<i64> = match verb {
            "UPDATE" => {
                records.lines().map(|record| self.update(table, record, terminal)).collect()
            }
            _ => {
                records.lines().for_each(|record| self.delete(table, record));
                Vec::new()
            }
        };
        done(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
    }

    fn update(&mut self, table: &str, record: &str, terminal: &Terminal) -> i64 {
        let pin = || field(record, "PIN").unwrap();
        match table {
            "SMS" => {
                let text = field(record, "MSG").unwrap().into();
                self.messages.insert(field(record, "UID").unwrap().into(), text);
            }
            "USERINFO" => self.put_person(record),
            "USER_SMS" if !self.people.contains_key(pin()) => return -1,
            "USER_SMS" => {
                self.addressed.insert((pin().into(), field(record, "UID").unwrap().into()));
            }
            _ if !self.people.contains_key(pin()) => return -10,
            "FINGERTMP" => self.put_finger(record),
            "BIOPHOTO" => {
                let face = terminal.server.borrow().files[field(record, "Url").unwrap()].clone();
                self.people.get_mut(pin()).unwrap().face = Some(face);
            }
            other => panic!("{other:?}"),
        }
        0
    }

    fn delete(&mut self, table: &str, record: &str) {
        let pin = field(record, "PIN").unwrap_or_default();
        match (table, self.people.get_mut(pin)) {
            ("SMS", _) => drop(self.messages.remove(field(record, "UID").unwrap())),
            ("USERINFO", Some(_)) => {
                self.people.remove(pin);
                self.addressed.retain(|(of, _)| of != pin);
            }
            ("FINGERTMP", Some(person)) => person.fingers.clear(),
            ("BIOPHOTO", Some(person)) => person.face = None,
            (_, None) => {}
            other => panic!("{other:?}"),
        }
    }

    fn put_finger(&mut self, record: &str) {
        let person = self.people.get_mut(field(record, "PIN").unwrap()).unwrap();
        let finger = field(record, "FID").unwrap().parse().unwrap();
        person.fingers.insert(finger, field(record, "TMP").unwrap().into());
    }

    /// A card belongs to whom it was given last.
    fn put_person(&mut self, record: &str) {
        let pin = field(record, "PIN").unwrap();
        if let Some(card) = field(record, "Card") {
            let others = self.people.values_mut().filter(|person| person.card == card);
            others.for_each(|person| person.card.clear());
        }
        let person = self.people.entry(pin.into()).or_default();
        if let Some(card) = field(record, "Card") {
            person.card = card.into();
        }
        person.name = field(record, "Name").unwrap().into();
    }

    fn query(&self, table: &str, pin: Option<&str>) -> Expected {
        if table == "ATTLOG" {
            return Expected { rows: Some(self.log.clone()), ..done(0) };
        }
        let known = pin.is_none_or(|pin| self.people.contains_key(pin));
        if !known {
            return done(-10);
        }
        let people = self.people.iter().filter(|(of, _)| pin.is_none_or(|pin| pin == *of));
        let rows = people.flat_map(|(pin, person)| match table {
            "USERINFO" => vec![format!("{pin} {} {}", person.name, person.card)],
            "FINGERTMP" => {
                let fingers = person.fingers.iter();
                fingers.map(|(finger, data)| format!("{pin} {finger} {data}")).collect()
            }
            _ => {
                let face = person.face.iter();
                face.map(|face| format!("{pin} {}", base64(face))).collect()
            }
        });
        Expected { rows: Some(rows.collect()), ..done(0) }
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
        let addressed = store.tables().all(EntryTable::named("USER_SMS").unwrap()).unwrap();
        assert_eq!(addressed.len(), self.addressed.len(), "seed {seed}: {addressed:?}\n{said}");
        let acts = terminal.acts.borrow();
        let count = |what: &str| acts.iter().filter(|act| act.what == what).count();
        assert_eq!(count("door"), self.doors, "seed {seed}\n{said}");
        // Of two commands in a row one reboot is the effect.
        let reboots = usize::from(self.reboots > 0)..=self.reboots;
        assert!(reboots.contains(&count("reboot")), "seed {seed}\n{said}");
    }
}

/// What of a row is compared.
fn row(line: &str) -> String {
    let field = |key| field(line, key).unwrap_or_default();
    match line.split(' ').next().unwrap() {
        "USER" => format!("{} {} {}", field("PIN"), field("Name"), field("Card")),
        "FP" => format!("{} {} {}", field("PIN"), field("FID"), field("TMP")),
        word if word.contains('\t') => line.split('\t').nth(1).unwrap().to_owned(),
        _ => format!("{} {}", field("PIN"), field("Content")),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
