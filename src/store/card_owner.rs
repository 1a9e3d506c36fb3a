//! To whom a card number belongs: the person who got it last. Who had it before loses it. That is
//! told in the log and in the error log, drivers see it, and it does not go up as a change.

use rusqlite::params;
use serde_json::Value;

use super::db::Db;
use super::error::Result;
use super::error_log::ErrorRows;
use super::rows::Seq;
use crate::protocol::record::{ErrorCode, ErrorLog, User};

/// The code of the error: the terminal's own data, of a number that App. 9 leaves free.
const CARD_LOST: &str = "D01E1005";

/// Takes the cards of a user from everybody else. What there is to tell: a sentence for each loss.
pub(super) fn take(db: &Db, user: &User) -> Result<Vec<String>> {
    let mut losses = Vec::new();
    for card in [&user.card, &user.vice_card].into_iter().filter(|card| !card.is_empty()) {
        // `<> ''` lets SQLite see that the partial indexes hold all there is to find.
        let sql = "SELECT pin FROM user WHERE card = ?1 AND card <> '' AND pin <> ?2
                   UNION SELECT pin FROM user WHERE vice_card = ?1 AND vice_card <> '' AND pin <> ?2";
        let mut statement = db.prepare_cached(sql)?;
        let pins = statement.query_map([card.as_str(), user.pin.as_str()], |row| row.get(0))?;
        for pin in pins.collect::<rusqlite::Result<Vec<String>>>()? {
            db.prepare_cached(
                "UPDATE user SET card = iif(card = ?1, '', card), written = coalesce(written, changed),
                    vice_card = iif(vice_card = ?1, '', vice_card), changed = ?3 WHERE pin = ?2",
            )?
            .execute(params![card, pin, db.next_change()])?;
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

/// Tells of the users who lost a card after a number, and are still there.
pub(super) fn report_losses_after(db: &Db, after: Seq) -> Result<()> {
    let sql = "SELECT pin FROM user WHERE written IS NOT NULL AND changed > ?1 ORDER BY pin";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([after])?;
    while let Some(row) = rows.next()? {
        let pin: String = row.get(0)?;
        report(db, &format!("user {pin} lost a card: the new table gives it to another user"))?;
    }
    Ok(())
}
