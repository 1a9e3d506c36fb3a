//! What the server asked for, what became of it, and what it heard of it: rule 4 of docs/promises.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::super::world::replies;
use super::acts::Acts;
use super::asking::Asking;
use super::plan::{Ask, Character, Ids, Kind};
use super::server::{Answer, Request};
use super::uploads::Uploads;
use crate::protocol::record::Pin;
use crate::store::Store;

/// How many commands with rising ids it takes until an id counts as known for hours.
const RISING: usize = 6;

pub(super) struct Commands {
    ids: Ids,
    most: usize,
    askings: Vec<Asking>,
    /// Askings before this have no part in anything any more.
    first_open: usize,
    next_id: u64,
    begins: bool,
    /// Ids given since they began.
    risen: usize,
    /// The names of people, by PIN, as they have to be.
    people: BTreeMap<u32, String>,
    pub(super) acts: Acts,
    pub(super) uploads: Uploads,
    /// Which askings the last answer holds.
    in_answer: Vec<usize>,
    /// What followed the last line end of the last answer that was cut.
    pub(super) fragment: Vec<u8>,
    /// Which were answered by the request that is on its way.
    in_request: Vec<usize>,
    /// Those that became settled in the step under way.
    just_settled: Vec<usize>,
    pub(super) cleared: bool,
    /// `LOG` reached the terminal in the step under way.
    pub(super) asked_for_upload: bool,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// The disk was full: what has to be stored may be refused.
    pub(super) may_be_refused: bool,
    /// The punches that came for queries.
    rows: BTreeMap<String, BTreeSet<usize>>,
    /// The terminal keeps few punches.
    drops_rows: bool,
    /// The log may have been cleared.
    was_cleared: bool,
}

impl Commands {
    pub(super) fn new(server: &Character, drops_rows: bool) -> Self {
        Self {
            ids: server.ids,
            most: server.most_commands,
            askings: Vec::new(),
            first_open: 0,
            next_id: 1,
            begins: false,
            risen: 0,
            people: BTreeMap::new(),
            acts: Acts::default(),
            uploads: Uploads::default(),
            in_answer: Vec::new(),
            fragment: Vec::new(),
            in_request: Vec::new(),
            just_settled: Vec::new(),
            cleared: false,
            asked_for_upload: false,
            files: BTreeMap::new(),
            may_be_refused: false,
            rows: BTreeMap::new(),
            drops_rows,
            was_cleared: false,
        }
    }

    pub(super) fn asked(&self) -> usize {
        self.askings.len()
    }

    /// The server asks for something.
    pub(super) fn ask(&mut self, ask: Ask, directory: &Path, _: Duration) -> String {
        // A few low ids beside higher ones would look like the buttons of a server.
        if self.begins && self.next_id > 20 && self.askings.iter().all(|asking| asking.is_settled) {
            (self.begins, self.next_id, self.risen) = (false, 1, 0);
        }
        let nth = self.askings.len() + 1;
        let mut id = match self.ids {
            Ids::Rising => self.next_id.to_string(),
            Ids::Words => format!("w{nth}"),
        };
        self.next_id += 1 + nth as u64 % 3;
        self.risen += 1;
        let file = directory.join("files").join(format!("f{}", nth % 3));
        if ask == Ask::Button && self.ids == Ids::Words {
            // The same id and text for ever, and one asking after the other.
            if self.askings.iter().any(|asking| asking.id == "button" && !asking.came_without) {
                return "nothing: the button is still pressed".into();
            }
            id = "button".into();
        }
        let text = ask.text(nth, &file.display().to_string());
        // Numbers that begin anew: the first with a text that it had before would be a repeat.
        while self.ids == Ids::Rising
            && self.askings.iter().any(|asking| asking.id == id && asking.text == text)
        {
            id = self.next_id.to_string();
            self.next_id += 1;
        }
        if ask == Ask::PutFile {
            self.files.insert(format!("put{nth}.bin"), content(nth));
        }
        let shown = format!("C:{id}:{text}");
        self.askings.push(Asking {
            id,
            text,
            ask,
            nth,
            was_given: false,
            was_heard: false,
            is_done: false,
            is_unseen: false,
            code: None,
            is_settled: false,
            may_come_again: false,
            came_without: false,
            is_repeated: false,
            log_before: 0,
        });
        shown
    }

    /// The last command that was answered and done is sent once more.
    pub(super) fn ask_again(&mut self, _: Duration) -> Option<String> {
        // What was never given out has not shown that the ids rise.
        let since = self.askings.len().saturating_sub(self.risen);
        let given = self.askings[since..].iter().filter(|asking| asking.was_heard).count();
        if self.ids != Ids::Rising || given < RISING || self.begins {
            return None;
        }
        let from = self.askings.len().saturating_sub(4);
        let found = self.askings[from..].iter_mut().rev().find(|asking| {
            asking.is_settled && asking.code.as_deref() == Some("0") && !asking.is_repeated
        })?;
        (found.is_repeated, found.is_settled) = (true, false);
        self.first_open = self.first_open.min(found.nth - 1);
        Some(format!("C:{}:{}", found.id, found.text))
    }

    /// The ids begin anew when all that was asked is answered.
    pub(super) fn begin_ids(&mut self) {
        self.begins = true;
    }

    /// The commands of an answer: those that are not answered, in their order.
    pub(super) fn give(&mut self, log: usize) -> String {
        self.in_answer.clear();
        let mut text = String::new();
        while self.askings.get(self.first_open).is_some_and(|asking| {
            asking.is_settled && (asking.came_without || self.ids == Ids::Rising)
        }) {
            self.first_open += 1;
        }
        for nth in self.first_open..self.askings.len() {
            let asking = &mut self.askings[nth];
            let is_due = asking.code.is_none() || asking.is_repeated && !asking.is_settled;
            if is_due && self.in_answer.len() < self.most {
                if !asking.was_given && !self.was_cleared {
                    asking.log_before = log;
                }
                self.was_cleared |= asking.ask == Ask::ClearLog;
                text += &format!("C:{}:{}\n", asking.id, asking.text);
                self.in_answer.push(nth);
            }
        }
        if text.is_empty() { "OK\n".into() } else { text }
    }

    /// An answer reached the terminal, as far as it did.
    pub(super) fn reached(
        &mut self,
        got: &Request,
        answer: &Answer,
        body: Option<&[u8]>,
        is_whole: bool,
    ) {
        let is_success = (200..300).contains(&answer.status);
        if got.kind == Kind::Reply {
            let is_taken = is_success && body.is_some_and(|body| body.starts_with(b"OK"));
            for nth in std::mem::take(&mut self.in_request) {
                let asking = &mut self.askings[nth];
                if is_taken && asking.code.is_some() && !asking.is_settled {
                    asking.is_settled = true;
                    self.just_settled.push(nth);
                }
            }
        }
        if got.kind != Kind::Poll || !is_success || answer.body.starts_with(b"UNKNOWN") {
            return;
        }
        let is_list = answer.body.starts_with(b"C:");
        if is_list {
            // Of a list that was cut, what came with a line end was given.
            let came = body.unwrap_or(&answer.body);
            let lines = came.iter().filter(|byte| **byte == b'\n').count();
            for nth in self.in_answer.iter().copied().take(lines) {
                let asking = &mut self.askings[nth];
                asking.was_given = true;
                asking.was_heard |= is_whole;
                self.cleared |= asking.ask == Ask::ClearLog;
                self.asked_for_upload |= asking.ask == Ask::Log;
            }
        } else if is_whole && answer.body.starts_with(b"OK") {
            for asking in self.askings.iter_mut().filter(|asking| asking.is_settled) {
                asking.came_without = true;
            }
        }
    }

    /// The step came to its end.
    pub(super) fn step_ended(&mut self) {
        self.just_settled.clear();
    }

    /// The terminal died in the step: what was taken in it may come again.
    pub(super) fn cut_off(&mut self) {
        for nth in std::mem::take(&mut self.just_settled) {
            self.askings[nth].may_come_again = true;
        }
    }

    /// Whether a poll would bring any.
    pub(super) fn are_due(&self) -> bool {
        self.askings[self.first_open..].iter().any(|asking| asking.code.is_none())
    }

    /// Results that came, whether the terminal will know it or not.
    pub(super) fn take_replies(&mut self, body: &[u8]) -> Result<(), String> {
        // The terminal may have heard nothing of the request before.
        self.in_request.clear();
        for (id, code, _) in replies(body) {
            let found = self.askings.iter().rposition(|asking| asking.id == id);
            let Some(nth) = found else {
                return Err(format!("a result for {id:?}, which nobody asked for"));
            };
            let acts = &self.acts;
            let answered = |ask: &Asking| ask.code.as_deref() == Some("0");
            let opened = self.askings.iter().filter(|it| it.text == "AC_UNLOCK" && answered(it));
            let opened = opened.count();
            // Of a name that came and went between two looks nothing can be seen.
            let known_people = &self.people;
            let deletes = self.askings[nth..].iter().filter(|it| it.was_given);
            let deletes: Vec<u32> = deletes
                .filter_map(|it| if let Ask::Delete(pin) = it.ask { Some(pin) } else { None })
                .collect();
            let is_deleted = |pin| deletes.contains(&pin) && !known_people.contains_key(&pin);
            let asking = &mut self.askings[nth];
            if let Some(known) = &asking.code {
                if *known != code {
                    return Err(format!("{id} was answered with {known} and with {code}"));
                }
                if asking.is_settled && !asking.may_come_again && !self.may_be_refused {
                    return Err(format!("{id} was answered again after the server took it"));
                }
            } else {
                if !asking.was_given {
                    return Err(format!("{id} was answered before it was given"));
                }
                let is_refused = self.may_be_refused && ["-1001", "-3"].contains(&code.as_str());
                if is_refused && asking.is_done {
                    return Err(format!("{id}, {:?}, is done and answered {code}", asking.text));
                }
                if asking.ask == Ask::QueryLog && code == "0" && !self.drops_rows {
                    let came = self.rows.get(&id);
                    let lacks = |row: &usize| !came.is_some_and(|came| came.contains(row));
                    if let Some(row) = (0..asking.log_before).find(lacks) {
                        return Err(format!("{id}, {:?}, came without {}", asking.text, row + 1));
                    }
                }
                if !is_refused && !asking.may_be(&code) {
                    return Err(format!("{id}, {:?}, was answered with {code}", asking.text));
                }
                if asking.ask == Ask::PutFile && !code.starts_with('-') {
                    let file = asking.text.split('\t').nth(1).unwrap_or_default();
                    let found = std::fs::read(file).unwrap_or_default();
                    // A later command may have put another file there by now.
                    if !self.files.values().any(|content| *content == found) {
                        let length = found.len();
                        return Err(format!(
                            "{id}: {length} bytes are in {file}, not those of a file"
                        ));
                    }
                }
                let is_shown = match asking.ask {
                    Ask::Name(pin) => asking.is_done || is_deleted(pin),
                    Ask::Delete(pin) => {
                        asking.is_done || asking.is_unseen || !known_people.contains_key(&pin)
                    }
                    Ask::Shell => acts.has_started(&asking.text),
                    Ask::Unlock | Ask::Button => opened < acts.doors,
                    _ => true,
                };
                if code == "0" && !is_shown {
                    return Err(format!("{id}, {:?}, is not done and answered 0", asking.text));
                }
                let is_zero = code == "0";
                asking.code = Some(code);
                asking.is_done |= is_zero && matches!(asking.ask, Ask::Delete(_) | Ask::Name(_));
            }
            self.in_request.push(nth);
        }
        Ok(())
    }

    /// Rows that came for a query.
    pub(super) fn take_rows(&mut self, id: &str, rows: &[usize]) {
        self.rows.entry(id.into()).or_default().extend(rows);
    }

    /// A file that the server gives out.
    pub(super) fn file(&self, target: &str) -> Answer {
        let found = self.files.iter().find(|(name, _)| target.contains(name.as_str()));
        let (status, body) = found.map_or((404, Vec::new()), |(_, content)| (200, content.clone()));
        Answer { status, body, retry_after: None }
    }

    /// A driver gave a person a name.
    pub(super) fn edited(&mut self, pin: u32, name: String) {
        let before = self.people.insert(pin, name.clone());
        if before.is_none() {
            let of_pin = |asking: &&mut Asking| asking.ask == Ask::Delete(pin) && asking.was_given;
            self.askings.iter_mut().filter(of_pin).for_each(|asking| asking.is_unseen = true);
        }
        self.uploads.edited(pin, before, name);
    }

    /// Sees what commands did since it looked last.
    pub(super) fn observe(&mut self, store: &Store) -> Result<(), String> {
        for pin in 0..4 {
            let of_pin = |asking: &Asking| {
                !asking.is_done
                    && asking.was_given
                    && matches!(&asking.ask, Ask::Name(of) | Ask::Delete(of) if *of == pin)
            };
            if self.askings[self.first_open..].iter().any(of_pin) {
                self.observe_person(pin, store)?;
            }
        }
        Ok(())
    }

    /// The same of one person.
    pub(super) fn observe_person(&mut self, pin: u32, store: &Store) -> Result<(), String> {
        let known = self.people.get(&pin).cloned();
        let user = store.people().get(&Pin::new(&pin.to_string()).unwrap()).unwrap();
        let found = user.map(|user| user.name);
        if found == known {
            return Ok(());
        }
        // The first few commands that are not done explain it.
        let mut passed = Vec::new();
        for nth in self.first_open..self.askings.len() {
            let asking = &self.askings[nth];
            let name = match &asking.ask {
                Ask::Name(of) if *of == pin => Some(format!("C{}", asking.nth)),
                Ask::Delete(of) if *of == pin => None,
                _ => continue,
            };
            if asking.is_done
                || !asking.was_given
                || asking.code.as_ref().is_some_and(|it| it != "0")
            {
                continue;
            }
            passed.push(nth);
            if name == found {
                for nth in passed {
                    self.askings[nth].is_done = true;
                    if matches!(self.askings[nth].ask, Ask::Delete(_)) {
                        self.uploads.deleted(pin);
                    }
                }
                match found {
                    Some(name) => self.people.insert(pin, name),
                    None => self.people.remove(&pin),
                };
                return Ok(());
            }
        }
        Err(format!("person {pin} was {known:?} and is {found:?}: no command asked for that now"))
    }

    /// What must be so at every moment.
    pub(super) fn check(&self) -> Result<(), String> {
        let doors = self.askings.iter().filter(|it| it.text == "AC_UNLOCK" && it.was_given).count();
        let Acts { doors: opened, reboots, .. } = self.acts;
        if opened > doors {
            return Err(format!("{opened} doors were opened for {doors} askings"));
        }
        let asked = self.askings.iter().filter(|it| it.ask == Ask::Reboot && it.was_given).count();
        if reboots > asked {
            return Err(format!("{reboots} reboots for {asked} askings"));
        }
        Ok(())
    }

    /// Whether all is answered, and the terminal knows it.
    pub(super) fn is_settled(&self) -> bool {
        self.askings[self.first_open..].iter().all(|asking| asking.is_settled)
    }

    /// The first that waits, for people.
    pub(super) fn waiting(&self) -> Option<String> {
        let waiting = self.askings.iter().find(|asking| !asking.is_settled)?;
        Some(format!("C:{}:{} ({:?})", waiting.id, waiting.text, waiting.code))
    }

    /// The day is over.
    pub(super) fn settle(&mut self, store: &Store) -> Result<(), String> {
        for pin in 0..4 {
            self.observe_person(pin, store)?;
        }
        let undone = self.askings.iter().find(|asking| {
            let is_refused = asking.code.as_ref().is_some_and(|code| code != "0");
            matches!(asking.ask, Ask::Name(_)) && !asking.is_done && !is_refused
        });
        if let Some(asking) = undone {
            return Err(format!("{}, {:?}, has no effect", asking.id, asking.text));
        }
        self.check_options(store)
    }

    /// Whether each option has the value that was set last.
    fn check_options(&self, store: &Store) -> Result<(), String> {
        for name in 0..3 {
            let sets = |asking: &&Asking| {
                asking.ask == Ask::Option
                    && asking.nth % 3 == name
                    && asking.code.as_deref() == Some("0")
            };
            let Some(last) = self.askings.iter().rfind(sets) else { continue };
            let found = store.options().get(&format!("Own{name}")).unwrap();
            if found != Some(last.nth.to_string()) {
                let (id, text) = (&last.id, &last.text);
                return Err(format!("{id}, {text:?}, was answered 0, and it is {found:?}"));
            }
        }
        Ok(())
    }
}

/// The file of the nth asking.
fn content(nth: usize) -> Vec<u8> {
    format!("P{nth}.").bytes().cycle().take(1000).collect()
}
