//! What sensors load (`changes`), and how they hear that there is more (`changed`,
//! `message`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::DriverSocket;
use super::connection::MOST_UNREAD;
use super::methods::{BUSY, describe};
use super::rpc::{Call, Fault, request};
use crate::driver_requests::Service;
use crate::protocol::record::{Entry, PictureKind, Record, Template, TemplateKind};
use crate::store::{Change, Seq};

/// Most rows of a page; as many as come, if the driver does not say.
const MOST_ROWS: u64 = 1000;
/// Bytes of a page, unless a single row has more.
const PAGE: usize = 256 << 10;
/// Messages that are told together.
const MESSAGES: usize = 16;

/// What a driver has loaded, and what it is to be told of.
#[derive(Default)]
pub(super) struct Loaded {
    /// While it loads page by page: as of when, and where the next page begins.
    loading: Option<(Seq, Seq)>,
    /// It is to hear that something changed after this.
    changed: Option<Seq>,
    /// It is to hear of messages after this.
    messages: Option<Seq>,
}

impl Loaded {
    /// Whether there is something to tell, if something changed last at this number.
    pub(super) fn has_news(&self, last: Seq) -> bool {
        self.changed.is_some_and(|after| after < last)
    }

    fn has_messages(&self, last: Seq) -> bool {
        self.messages.is_some_and(|after| after < last)
    }
}

/// One page, being filled.
#[derive(Default)]
struct Page {
    bytes: usize,
    users: Vec<Value>,
    templates: Vec<Value>,
    pictures: Vec<Value>,
    entries: Vec<Value>,
    gone: Vec<Value>,
}

impl Page {
    /// Takes a change, if there is room. One finds room always.
    fn take(&mut self, change: Change) -> bool {
        let (list, value) = match change {
            Change::Record(Record::User(user)) => (&mut self.users, describe(&user)),
            Change::Record(Record::Template(template)) => {
                (&mut self.templates, describe_template(&template))
            }
            Change::Record(Record::UserPic(picture)) => {
                let data = STANDARD.encode(picture.photo.as_bytes());
                let value = json!({"pin": picture.pin.as_str(), "kind": PictureKind::User.name(), "data": data});
                (&mut self.pictures, value)
            }
            Change::Record(Record::BioPhoto(picture)) => {
                let value = json!({
                    "pin": picture.pin.as_str(),
                    "kind": PictureKind::Comparison.name(),
                    "type": picture.bio_type.code(),
                    "data": STANDARD.encode(picture.photo.as_bytes()),
                });
                (&mut self.pictures, value)
            }
            // Nothing else has a change.
            Change::Record(_) => return true,
            Change::Entry(table, record) => {
                (&mut self.entries, json!({"table": table, "record": record}))
            }
            Change::Gone(what) => (&mut self.gone, what),
        };
        let bytes = value.to_string().len();
        if self.bytes > 0 && self.bytes + bytes > PAGE {
            return false;
        }
        self.bytes += bytes;
        list.push(value);
        true
    }
}

impl DriverSocket {
    /// Answers a call for what has changed. Read after the turn's commit: what is told is on
    /// disk.
    pub(super) fn changes(&mut self, nth: usize, call: &Call) -> Option<String> {
        self.connections[nth].flush();
        if self.connections[nth].unread() > MOST_UNREAD {
            return call.answer(Err(Fault::new(BUSY, "read the answers first")));
        }
        let page = self.page(nth, call);
        call.answer(page)
    }

    fn page(&mut self, nth: usize, call: &Call) -> Result<Value, Fault> {
        let store = &self.methods.store;
        let loaded = &mut self.connections[nth].loaded;
        let asked = call.params.number("after", i64::MAX as u64)?.unwrap_or(0) as Seq;
        let most = call.params.number("most", MOST_ROWS)?.unwrap_or(MOST_ROWS).max(1);
        let forgotten = store.changes().horizon()?;
        // Who began to load after the last that is forgotten missed nothing of it.
        let begun = match loaded.loading {
            Some((begun, next)) if next == asked => begun,
            _ => asked,
        };
        let anew = asked == 0 || asked > store.high_water_mark() || begun < forgotten;
        let (begun, after) = if anew { (store.changes().last(), 0) } else { (begun, asked) };
        let mut page = Page::default();
        let (last, more) =
            store.changes().after(after, most as usize, |change| page.take(change))?;
        let mut upto = last.unwrap_or(after);
        if !more {
            upto = upto.max(forgotten);
        }
        loaded.loading = more.then_some((begun, upto));
        loaded.changed = Some(store.changes().last());
        let Page { users, templates, pictures, entries, gone, .. } = page;
        Ok(json!({
            "anew": anew,
            "upto": upto,
            "more": more,
            "gone": gone,
            "users": users,
            "templates": templates,
            "pictures": pictures,
            "entries": entries,
        }))
    }

    /// From now on a driver that shows messages hears of new ones.
    pub(super) fn apply_messages(&mut self) {
        let last = self.methods.store.changes().last();
        for driver in &mut self.connections {
            let shows = self.methods.requests.provides(driver.number(), Service::Message);
            match (shows, driver.loaded.messages) {
                (true, None) => driver.loaded.messages = Some(last),
                (false, Some(_)) => driver.loaded.messages = None,
                _ => {}
            }
        }
    }

    /// Tells drivers what is new.
    pub(super) fn tell_news(&mut self) {
        let store = &self.methods.store;
        let last = store.changes().last();
        for driver in &mut self.connections {
            if driver.loaded.has_news(last) {
                driver.loaded.changed = None;
                driver.tell(&request(None, "changed", &json!({"upto": last})));
            }
            // A few at a time, and the next when these have been read.
            if !driver.loaded.has_messages(last) || driver.unread() > 0 {
                continue;
            }
            let after = driver.loaded.messages.unwrap_or(last);
            let messages =
                store.changes().messages_after(after, MESSAGES).unwrap_or_else(|error| {
                    log::error!("drivers were not told of a message: {error}");
                    Vec::new()
                });
            for (_, entry) in &messages {
                driver.tell(&request(None, "message", &message(entry)));
            }
            let is_all = messages.len() < MESSAGES;
            let heard = messages.last().map_or(last, |(seq, _)| *seq);
            driver.loaded.messages = Some(if is_all { last } else { heard });
        }
    }

    /// Whether a driver is to be told something at once.
    pub(super) fn has_news(&self) -> bool {
        let last = self.methods.store.changes().last();
        self.connections.iter().any(|driver| {
            let loaded = &driver.loaded;
            loaded.has_news(last) || (loaded.has_messages(last) && driver.unread() == 0)
        })
    }
}

/// A template, by the parameters of `template.put`.
fn describe_template(template: &Template) -> Value {
    let (slot, made) = (template.slot, template.algorithm);
    let mut value = json!({
        "pin": template.pin.as_str(),
        "number": slot.number(),
        "index": slot.index(),
        "valid": template.valid,
        "duress": template.duress,
        "data": STANDARD.encode(template.data.as_bytes()),
    });
    value["kind"] = slot.kind().form().name().into();
    if let TemplateKind::Unified(bio_type) = slot.kind() {
        value["type"] = bio_type.code().into();
        value["majorver"] = made.major().into();
        value["minorver"] = made.minor().into();
        value["format"] = made.format().into();
    }
    value
}

/// A short message, by the server's names in lower case; what it says is its `text`.
fn message(entry: &Entry) -> Value {
    let named = |(key, value): (&String, &String)| {
        let key = if key == "msg" { "text" } else { key };
        (key.to_owned(), Value::from(value.as_str()))
    };
    Value::Object(entry.iter().map(named).collect())
}
