//! To whom a card number belongs: the person who got it last. Who had it before loses it. That is
//! told in the log and in the error log, drivers see it, and it does not go up as a change.

use rusqlite::params;
use serde_json::Value;

use super::db::Db;
use super::error::Result;
use super::error_log::ErrorRows;
use super::novelty;
use crate::protocol::record::{ErrorCode, ErrorLog, User};
use crate::protocol::stream::Stream;

/// The code of the error: the terminal's own data, of a number that App. 9 leaves free.
const CARD_LOST: &str = "D01E1005";

/// Takes the cards of a user from everybody else. What there is to tell: a sentence for each loss.
pub(super) fn take(db: &Db, user: &User) -> Result<Vec<String>> {
    let mut losses = Vec::new();
    for card in [&user.card, &user.vice_card].into_iter().filter(|card| !card.is_empty()) {
        // `<> ''` lets SQLite see that the partial indexes hold all there is to find.
        let sql = "SELECT pin FROM user WHERE card = ?1 AND card <> '' AND pin <> ?2
                   UNION ALL SELECT pin FROM user
                   WHERE vice_card = ?1 AND vice_card <> '' AND card <> ?1 AND pin <> ?2";
        let mut statement = db.prepare_cached(sql)?;
        let pins = statement.query_map([card.as_str(), user.pin.as_str()], |row| row.get(0))?;
        for pin in pins.collect::<rusqlite::Result<Vec<String>>>()? {
            db.prepare_cached(&format!(
                "UPDATE user SET card = iif(card = ?1, '', card), written = coalesce(written, changed),
                    vice_card = iif(vice_card = ?1, '', vice_card), changed = ?3, local = {}
                 WHERE pin = ?2",
                novelty::of_renumbered("user", Stream::Users, "?3")
            ))?
            .execute(params![card, pin, db.next_change("user")])?;
            losses.push(format!("card {card} of user {pin} belongs to user {} now", user.pin));
        }
    }
    Ok(losses)
}

/// Tells of a loss in the log and in the error log.
pub(super) fn report(db: &Db, loss: &str) -> Result<()> {
    log::warn!("{loss}");
    // The code is of the right form, and the text is short: no error to be expected.
    let error =
        ErrorCode::new(CARD_LOST).and_then(|code| ErrorLog::new(code, loss, None, Value::Null));
    if let Ok(error) = error {
        ErrorRows::new(db).add(&error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::file::SyncTable;
    use crate::protocol::record::Pin;
    use crate::protocol::stream::Table;
    use crate::store::{Limits, Origin, Replacement, Store};

    fn user(pin: &str, card: &str) -> User {
        User { card: card.into(), ..User::new(Pin::new(pin).unwrap()) }
    }

    /// The PINs of the users that go up, in their order; they are taken as sent.
    fn uploaded(store: &Store) -> Vec<String> {
        let streams: Vec<_> = Table::Operlog.streams().map(Into::into).collect();
        let mut pins = Vec::new();
        while let Some(batch) = store.outbox().next_batch(&streams, 10).unwrap() {
            for row in &batch.rows {
                if let Some(crate::store::Content::Record(crate::protocol::record::Record::User(
                    user,
                ))) = &row.content
                {
                    pins.push(user.pin.to_string());
                }
            }
            store.outbox().acknowledge(Table::Operlog, batch.pass, &batch.rows).unwrap();
        }
        pins
    }

    #[test]
    fn a_loss_does_not_go_up_but_what_the_server_asked_for_does() {
        let store = Store::in_memory(Limits::default());
        let put = |pin, card, origin| store.people().put(&user(pin, card), origin).unwrap();
        put("1", "5", Origin::Server);
        put("2", "5", Origin::Terminal);
        assert_eq!(uploaded(&store), ["2"]);
        // The server asks for all again; user 2 loses the card before it went.
        store.outbox().resend(Stream::Users, 0).unwrap();
        put("3", "5", Origin::Terminal);
        let mut pins = uploaded(&store);
        pins.sort();
        assert_eq!(pins, ["1", "2", "3"]);
    }

    #[test]
    fn who_lost_a_card_is_as_old_as_before() {
        let store = Store::in_memory(Limits::default());
        store.people().put(&user("1", "5"), Origin::Server).unwrap();
        let high_water_mark = store.high_water_mark();
        store.people().put(&user("2", "5"), Origin::Server).unwrap();
        assert_eq!(store.people().by_card("5").unwrap().unwrap().pin.as_str(), "2");
        // A table that was ordered before, without either: user 1 goes, user 2 is newer.
        let mut replacement = Replacement::begin(store.people(), 1, high_water_mark);
        while !replacement.delete_old(store.people(), SyncTable::Users).unwrap() {}
        assert_eq!(store.people().get(&Pin::new("1").unwrap()).unwrap(), None);
        assert_eq!(store.people().count().unwrap(), 1);
    }
}
