//! Templates and pictures of people.

use std::cell::Cell;

use rusqlite::{OptionalExtension, Row, ToSql, params};
use serde_json::{Value, json};

use super::db::Db;
use super::error::Result;
use super::novelty;
use super::retention::Retention;
use super::rows::{LastChange, Origin, Seq};
use super::tombstones::Tombstones;
use crate::protocol::record::{BioPhoto, PictureKind, Pin, Template, TemplateForm, UserPic};
use crate::protocol::stream::Stream;
use crate::protocol::tables::BioType;

/// Which templates of a person are meant; what is `None` does not matter.
#[derive(Clone, Copy, Debug)]
pub struct TemplateKey {
    /// Their form.
    pub form: TemplateForm,
    /// What it is of.
    pub bio_type: Option<u8>,
    /// Which finger, eye or hand.
    pub number: Option<u8>,
    /// Which of its templates.
    pub index: Option<u8>,
}

/// Templates and pictures of people.
#[derive(Clone, Copy)]
pub struct Biometrics<'a> {
    db: &'a Db,
}

impl<'a> Biometrics<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db }
    }

    /// Writes a template in its place; one that is there already is replaced.
    pub fn put_template(&self, template: &Template, origin: Origin) -> Result<Seq> {
        let bytes = template.data.as_bytes().len();
        Retention::new(self.db).require_room_for_rest(origin, bytes)?;
        self.put_template_unlimited(template, origin)
    }

    /// The same while a table is replaced: there is room for it.
    pub fn put_template_unlimited(&self, template: &Template, origin: Origin) -> Result<Seq> {
        let seq = self.db.next_change("template");
        let (slot, made) = (template.slot, template.algorithm);
        let bio_type = slot.kind().bio_type();
        let new = match slot.kind().form() {
            TemplateForm::Fingerprint => Some(Stream::NewFingerprints),
            TemplateForm::Unified if bio_type == BioType::FINGERPRINT => {
                Some(Stream::NewUnifiedFingerprints)
            }
            _ => None,
        };
        let inserted = novelty::of_inserted(origin, new, "?12");
        let updated = novelty::of_updated(origin, "template", new, "?12");
        self.db
            .prepare_cached(&format!(
                "INSERT INTO template (pin, kind, type, number, idx, valid, duress, major, minor, format,
                    data, changed, local, is_new)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, {inserted})
                 ON CONFLICT (pin, kind, type, number, idx) DO UPDATE SET valid = ?6, duress = ?7,
                    major = ?8, minor = ?9, format = ?10, data = ?11, changed = ?12, fetched = 0, {updated}",
            ))?
            .execute(params![
                template.pin.as_str(),
                slot.kind().form().code(),
                slot.kind().bio_type().code(),
                slot.number(),
                slot.index(),
                template.valid,
                template.duress,
                made.major(),
                made.minor(),
                made.format(),
                template.data.as_bytes(),
                seq
            ])?;
        Ok(seq)
    }

    /// Writes a user's picture; one that is there already is replaced.
    pub fn put_user_pic(&self, picture: &UserPic, origin: Origin) -> Result<Seq> {
        self.put_picture(&picture.pin, PictureKind::User, 0, picture.photo.as_bytes(), origin)
    }

    /// Writes a comparison photo; one of the same type is replaced.
    pub fn put_bio_photo(&self, picture: &BioPhoto, origin: Origin) -> Result<Seq> {
        self.put_picture(
            &picture.pin,
            PictureKind::Comparison,
            picture.bio_type.code(),
            picture.photo.as_bytes(),
            origin,
        )
    }

    fn put_picture(
        &self,
        pin: &Pin,
        kind: PictureKind,
        bio_type: u8,
        data: &[u8],
        origin: Origin,
    ) -> Result<Seq> {
        Retention::new(self.db).require_room_for_rest(origin, data.len())?;
        let seq = self.db.next_change("picture");
        let local = if origin == Origin::Terminal { seq } else { 0 };
        self.db
            .prepare_cached(
                "INSERT INTO picture (pin, kind, type, data, changed, local) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (pin, kind, type) DO UPDATE SET data = ?4, changed = ?5, local = max(local, ?6)",
            )?
            .execute(params![pin.as_str(), kind.code(), bio_type, data, seq, local])?;
        Ok(seq)
    }

    /// Deletes all templates and pictures of a user. Whether there were any.
    pub(super) fn delete_all_of(&self, pin: &Pin) -> Result<bool> {
        let mut deleted = 0;
        for sql in ["DELETE FROM template WHERE pin = ?1", "DELETE FROM picture WHERE pin = ?1"] {
            deleted += self.db.prepare_cached(sql)?.execute([pin.as_str()])?;
        }
        Ok(deleted > 0)
    }

    /// Deletes the templates of a person that a key names. How many.
    pub fn delete_templates(&self, pin: &Pin, key: &TemplateKey) -> Result<usize> {
        let which = "kind = ?2 AND (?3 IS NULL OR type = ?3) AND (?4 IS NULL OR number = ?4)
                     AND (?5 IS NULL OR idx = ?5)";
        let values = params![pin.as_str(), key.form.code(), key.bio_type, key.number, key.index];
        self.delete_which(pin, which, values)
    }

    /// Whether a person has a template of this, of this number if one is named, in any form.
    pub fn has_template(&self, pin: &Pin, of: BioType, number: Option<u8>) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM template
                   WHERE pin = ?1 AND type = ?2 AND (?3 IS NULL OR number = ?3))";
        let mut statement = self.db.prepare_cached(sql)?;
        Ok(statement.query_row(params![pin.as_str(), of.code(), number], |row| row.get(0))?)
    }

    /// The last change of what stands in the place of a template.
    pub fn last_change(&self, template: &Template) -> Result<Option<LastChange>> {
        let slot = template.slot;
        let sql = "SELECT changed, local, length(data) FROM template
                   WHERE pin = ?1 AND kind = ?2 AND type = ?3 AND number = ?4 AND idx = ?5";
        let values = params![
            template.pin.as_str(),
            slot.kind().form().code(),
            slot.kind().bio_type().code(),
            slot.number(),
            slot.index()
        ];
        let read = |row: &Row<'_>| {
            Ok(LastChange { at: row.get(0)?, local: row.get(1)?, bytes: row.get(2)? })
        };
        Ok(self.db.prepare_cached(sql)?.query_row(values, read).optional()?)
    }

    /// Whether it is known that the template of this place was deleted after a number.
    pub(super) fn was_deleted_since(&self, template: &Template, since: Seq) -> Result<bool> {
        let (slot, kind) = (template.slot, template.slot.kind());
        let bio_type = kind.bio_type().code();
        let what =
            tombstone(&template.pin, Some(kind.form()), bio_type, slot.number(), slot.index());
        Tombstones::new(self.db).has_since(&what.to_string(), since)
    }

    /// Deletes what a person has of one finger, eye or hand, in any form.
    pub fn delete_individual(&self, pin: &Pin, of: BioType, number: u8) -> Result<()> {
        let values = params![pin.as_str(), of.code(), number];
        self.delete_which(pin, "type = ?2 AND number = ?3", values).map(drop)
    }

    /// Templates of a guest that were written after a number came with the guest.
    pub(super) fn mark_fetched(&self, pin: &Pin, after: Seq) -> Result<()> {
        let sql = "UPDATE template SET fetched = 1 WHERE pin = ?1 AND changed > ?2";
        self.db.prepare_cached(sql)?.execute(params![pin.as_str(), after])?;
        Ok(())
    }

    /// Deletes the templates that came with a guest.
    pub(super) fn delete_fetched(&self, pin: &Pin) -> Result<()> {
        self.delete_which(pin, "fetched = 1", params![pin.as_str()]).map(drop)
    }

    fn delete_which(&self, pin: &Pin, which: &str, values: &[&dyn ToSql]) -> Result<usize> {
        let sql = format!(
            "DELETE FROM template WHERE pin = ?1 AND {which} RETURNING kind, type, number, idx"
        );
        let deleted: Vec<(u8, u8, u8, u8)> = self
            .db
            .prepare_cached(&sql)?
            .query_map(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (kind, bio_type, number, index) in &deleted {
            let form = TemplateForm::from_code(*kind);
            Tombstones::new(self.db).add(&tombstone(pin, form, *bio_type, *number, *index))?;
        }
        Ok(deleted.len())
    }

    /// How many templates of a person a key names.
    pub fn count_templates(&self, pin: &Pin, key: &TemplateKey) -> Result<u64> {
        let sql = "SELECT count(*) FROM template WHERE pin = ?1 AND kind = ?2
                   AND (?3 IS NULL OR type = ?3) AND (?4 IS NULL OR number = ?4)
                   AND (?5 IS NULL OR idx = ?5)";
        let values = params![pin.as_str(), key.form.code(), key.bio_type, key.number, key.index];
        Ok(self.db.prepare_cached(sql)?.query_row(values, |row| row.get(0))?)
    }

    /// Deletes the pictures of a user of this kind, or those of one type of it. Returns how many.
    pub fn delete_picture(
        &self,
        pin: &Pin,
        kind: PictureKind,
        bio_type: Option<BioType>,
    ) -> Result<usize> {
        let (pin, code, bio_type) = (pin.as_str(), kind.code(), bio_type.map(BioType::code));
        let sql = "DELETE FROM picture WHERE pin = ?1 AND kind = ?2 AND (?3 IS NULL OR type = ?3)";
        let deleted = self.db.prepare_cached(sql)?.execute(params![pin, code, bio_type])?;
        if deleted > 0 {
            Tombstones::new(self.db).add(&json!({"pin": pin, "picture": kind.name()}))?;
            self.renumber_pictures(pin, kind)?;
        }
        Ok(deleted)
    }

    /// Gives the pictures of a user of a kind new numbers: drivers were told that all are gone, and
    /// load again what is left.
    fn renumber_pictures(&self, pin: &str, kind: PictureKind) -> Result<()> {
        let stream = match kind {
            PictureKind::User => Stream::UserPics,
            PictureKind::Comparison => Stream::BioPhotos,
        };
        let (kind, local) = (kind.code(), novelty::of_renumbered("picture", stream, "?4"));
        let sql = "SELECT type FROM picture WHERE pin = ?1 AND kind = ?2";
        let mut statement = self.db.prepare_cached(sql)?;
        let types = statement.query_map(params![pin, kind], |row| row.get(0))?;
        for bio_type in types.collect::<rusqlite::Result<Vec<u8>>>()? {
            let sql = format!(
                "UPDATE picture SET changed = ?4, local = {local}
                 WHERE pin = ?1 AND kind = ?2 AND type = ?3"
            );
            let seq = self.db.next_change("picture");
            self.db.prepare_cached(&sql)?.execute(params![pin, kind, bio_type, seq])?;
        }
        Ok(())
    }

    /// How many people have a face, in near infrared or visible light. Guests are not counted.
    pub fn count_faces(&self) -> Result<u64> {
        let types = [BioType::FACE, BioType::VISIBLE_FACE].map(BioType::code);
        let sql = "SELECT count(DISTINCT pin) FROM template INDEXED BY template_type WHERE type IN (?1, ?2)
                   AND pin NOT IN (SELECT pin FROM guest)";
        self.count_templates_of(&self.db.counts.faces, sql, types)
    }

    /// How many fingerprints there are, also unified ones. Those of guests are not counted.
    pub fn count_fingerprints(&self) -> Result<u64> {
        let types = [BioType::FINGERPRINT.code(); 2];
        // Of all only the index is read.
        let sql = "SELECT (SELECT count(*) FROM template WHERE type = ?1)
                   - (SELECT count(*) FROM guest CROSS JOIN template USING (pin) WHERE +type = ?2)";
        self.count_templates_of(&self.db.counts.fingerprints, sql, types)
    }

    /// A count that is known until something changes that drivers load.
    fn count_templates_of(
        &self,
        known: &Cell<Option<(Seq, u64)>>,
        sql: &str,
        types: [u8; 2],
    ) -> Result<u64> {
        let at = self.db.last_change();
        if let Some((_, count)) = known.get().filter(|(counted_at, _)| *counted_at == at) {
            return Ok(count);
        }
        let count = self.db.prepare_cached(sql)?.query_row(types, |row| row.get(0))?;
        known.set(Some((at, count)));
        Ok(count)
    }
}

/// What drivers are told of a template that was deleted.
fn tombstone(pin: &Pin, form: Option<TemplateForm>, bio_type: u8, number: u8, index: u8) -> Value {
    let name = form.map_or("", TemplateForm::name);
    let mut what = json!({"pin": pin.as_str(), "kind": name, "number": number, "index": index});
    if form == Some(TemplateForm::Unified) {
        what["type"] = bio_type.into();
    }
    what
}
