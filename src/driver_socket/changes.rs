//! `changes`: what sensors match against, page by page.

use serde_json::{Value, json};

use super::context::MethodContext;
use super::describe;
use super::error::MethodError;
use super::subscription::Subscription;
use crate::protocol::record::Record;
use crate::rpc::Params;
use crate::store::{Change, Seq};

/// Most rows of a page; as many as come, if the driver does not say.
const MOST_ROWS: u64 = 1000;
/// Bytes of a page, unless a single row has more.
const PAGE_BYTES: usize = 256 << 10;

/// The page after the place that the driver has loaded up to. Read after the commit of its
/// round: what it reports is on disk.
pub(super) fn changes(
    context: &MethodContext,
    subscription: &mut Subscription,
    params: &Params,
) -> Result<Value, MethodError> {
    let changes = context.store.changes();
    let asked = params.number("after", Seq::MAX as u64)?.unwrap_or(0) as Seq;
    let most = params.number("most", MOST_ROWS)?.unwrap_or(MOST_ROWS).max(1);
    let horizon = changes.horizon()?;
    // A driver that began to load after the last unknown deletion has missed none of them.
    let begun = match subscription.loading {
        Some((begun, next)) if next == asked => begun,
        _ => asked,
    };
    let anew = asked == 0 || asked > context.store.high_water_mark() || begun < horizon;
    let (begun, after) = if anew { (changes.last(), 0) } else { (begun, asked) };
    let mut page = Page::default();
    let (last, more) = changes.after(after, most as usize, |change| page.take(change))?;
    let mut upto = last.unwrap_or(after);
    if !more {
        upto = upto.max(horizon);
    }
    subscription.loading = more.then_some((begun, upto));
    subscription.changed_after = Some(changes.last());
    Ok(page.into_result(anew, upto, more))
}

/// One page, being filled.
#[derive(Default)]
struct Page {
    bytes: usize,
    users: Vec<Value>,
    templates: Vec<Value>,
    pictures: Vec<Value>,
    id_cards: Vec<Value>,
    entries: Vec<Value>,
    options: Vec<Value>,
    gone: Vec<Value>,
}

impl Page {
    /// Takes a change, if there is room. There always is for the first.
    fn take(&mut self, change: Change) -> bool {
        let (list, value) = match change {
            Change::Record(Record::User(user)) => (&mut self.users, describe::user(&user)),
            Change::Record(Record::Template(template)) => {
                (&mut self.templates, describe::template(&template))
            }
            Change::Record(Record::UserPic(picture)) => {
                (&mut self.pictures, describe::user_pic(&picture))
            }
            Change::Record(Record::BioPhoto(picture)) => {
                (&mut self.pictures, describe::bio_photo(&picture))
            }
            Change::Record(Record::IdCard(card)) => (&mut self.id_cards, describe::id_card(&card)),
            // Sensors load no other records.
            Change::Record(_) => return true,
            Change::Entry(table, record) => {
                (&mut self.entries, json!({"table": table, "record": record}))
            }
            Change::Option(name, value) => {
                (&mut self.options, json!({"name": name, "value": value}))
            }
            Change::Gone(what) => (&mut self.gone, what),
        };
        let bytes = value.to_string().len();
        if self.bytes > 0 && self.bytes + bytes > PAGE_BYTES {
            return false;
        }
        self.bytes += bytes;
        list.push(value);
        true
    }

    fn into_result(self, anew: bool, upto: Seq, more: bool) -> Value {
        let Self { users, templates, pictures, id_cards, entries, options, gone, .. } = self;
        json!({
            "anew": anew,
            "upto": upto,
            "more": more,
            "gone": gone,
            "users": users,
            "templates": templates,
            "pictures": pictures,
            "idcards": id_cards,
            "entries": entries,
            "options": options,
        })
    }
}
