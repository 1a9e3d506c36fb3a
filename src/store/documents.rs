//! Identity cards, and the photos taken at punches.

use rusqlite::{Row, params};

use super::cursor::Content;
use super::{Moment, Origin, Result, Seq, Store};
use crate::protocol::record::{AttPhoto, CardPhotoKind, IdCard, IdNumber, Jpeg, Pin, Record};
use crate::protocol::time::LocalTime;

/// The columns that [`card`] reads, after the number and `held`.
pub(super) const CARD: &str = "record";
/// The columns that [`photo`] reads, after the number and `held`.
pub(super) const PHOTO: &str = "pin, time, kind, id_num, data";

/// A photo taken at a punch, on its way into the store.
#[derive(Debug)]
pub struct NewPhoto {
    /// Whose punch.
    pub pin: Pin,
    /// When.
    pub moment: Moment,
    /// With an identity card: what the photo shows, and the card's number.
    pub card: Option<(CardPhotoKind, IdNumber)>,
    /// The picture.
    pub photo: Jpeg,
}

impl Store {
    /// Writes an identity card; one of the same number is replaced. It is kept in the form in
    /// which it travels.
    pub fn put_card(&self, card: &IdCard, origin: Origin) -> Result<Seq> {
        if origin == Origin::Terminal {
            self.not_full()?;
        }
        let seq = self.next_seq();
        let local = if origin == Origin::Terminal { seq } else { 0 };
        let mut record = Vec::new();
        card.write(&mut record);
        self.db
            .prepare_cached(
                "INSERT INTO card (id_num, pin, record, changed, local) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id_num) DO UPDATE SET pin = ?2, record = ?3, changed = ?4,
                    local = max(local, ?5)",
            )?
            .execute(params![
                card.id_num.as_str(),
                card.pin.as_ref().map(Pin::as_str),
                record,
                seq,
                local
            ])?;
        Ok(seq)
    }

    /// Writes a photo taken at a punch.
    ///
    /// # Errors
    /// If there is no room, and nothing that may be dropped for it.
    pub fn add_photo(&self, photo: &NewPhoto) -> Result<Seq> {
        self.has_room()?;
        let seq = self.next_seq();
        let (time, held) = photo.moment.columns();
        let (kind, number) =
            photo.card.as_ref().map(|(kind, number)| (kind.code(), number.as_str())).unzip();
        self.db.prepare_cached("INSERT INTO photo VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
            params![seq, photo.pin.as_str(), time, kind, number, photo.photo.as_bytes(), held],
        )?;
        Ok(seq)
    }
}

/// A card from its columns; `None` if it breaks a rule of this version.
pub(super) fn card(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let record: Vec<u8> = row.get(2)?;
    let fields = record.strip_prefix(b"IDCARD ").unwrap_or(&record);
    Ok(IdCard::parse(fields).ok().map(|card| Content::Record(Record::IdCard(Box::new(card)))))
}

/// A photo from its columns; `None` if it breaks a rule of this version.
pub(super) fn photo(row: &Row<'_>) -> rusqlite::Result<Option<Content>> {
    let pin: String = row.get(2)?;
    let time = LocalTime::from_seconds(row.get(3)?);
    let (kind, number): (Option<u8>, Option<String>) = (row.get(4)?, row.get(5)?);
    let data: Vec<u8> = row.get(6)?;
    let read = || {
        let photo =
            AttPhoto::new(time?, Pin::new(&pin).ok()?, Jpeg::new("photo", data).ok()?).ok()?;
        Some(match kind.zip(number) {
            Some((kind, number)) => {
                photo.with_card(CardPhotoKind::new(kind)?, IdNumber::new("idnum", &number).ok()?)
            }
            None => photo,
        })
    };
    Ok(read().map(Content::Photo))
}
