//! `DATA UPDATE` and `DATA DELETE` (§12.2, §12.3): users, their templates and pictures, the small
//! tables. A record changes only the fields that it carries; a refused one changes nothing.

use super::context::Context;
use super::error::CommandError;
use super::pin::{pin_of, unknown_user};
use super::unknown_keys::{is_among, keys_of};
use crate::protocol::codes::{Language, ReturnCode};
use crate::protocol::command::Command;
use crate::protocol::data_table::{DataTable, Verb};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::foreign::quoted;
use crate::protocol::record::{
    BioPhoto, BioPhotoUpdate, EntryTable, IdCard, IdNumber, Jpeg, PictureKind, Pin, Template,
    TemplateForm, User, UserChange, UserPic,
};
use crate::protocol::tables::BioType;
use crate::store::{Origin, Seq, TemplateKey};

/// What a `DATA UPDATE` led to.
pub(crate) enum Updated {
    /// The record is stored.
    Stored,
    /// Nothing is stored yet: the record names the URL of its picture (§12.2.8).
    PictureAt(String),
}

/// Changes what the terminal knows about people, and its tables.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(super) context: &'a Context<'a>,
}

impl<'a> Data<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context }
    }

    /// Stores a record. The caller holds the transaction.
    pub(crate) fn update(
        self,
        table: DataTable<'_>,
        record: &[u8],
    ) -> Result<Updated, CommandError> {
        let Context { store, language, .. } = *self.context;
        self.context.unknown_keys.look_at(table, record);
        match table {
            DataTable::Users => self.update_user(record)?,
            DataTable::IdCards => {
                store.id_cards().put(&IdCard::parse(record)?, Origin::Server)?;
            }
            DataTable::Templates(form) => {
                let template = Template::parse(form, record, language)?;
                self.require_user(&template.pin)?;
                store.biometrics().put_template(&template, Origin::Server)?;
            }
            DataTable::Pictures(PictureKind::User) => {
                let picture = UserPic::parse(record, language)?;
                self.require_user(&picture.pin)?;
                store.biometrics().put_user_pic(&picture, Origin::Server)?;
            }
            DataTable::Pictures(PictureKind::Comparison) => {
                match BioPhotoUpdate::parse(record, language)? {
                    BioPhotoUpdate::Here(photo) => self.put_bio_photo(&photo)?,
                    BioPhotoUpdate::At { url, .. } => return Ok(Updated::PictureAt(url)),
                }
            }
            DataTable::Entries(table) => self.update_entry(table, record)?,
            DataTable::Punches | DataTable::Photos | DataTable::Unknown(_) => {
                return Err(table.refuse(Verb::Update).into());
            }
        }
        Ok(Updated::Stored)
    }

    /// Deletes what a record names. What is not there is deleted already: that is no error. The
    /// caller holds the transaction.
    pub(crate) fn delete(self, table: DataTable<'_>, record: &[u8]) -> Result<(), CommandError> {
        let Context { store, language, .. } = *self.context;
        match table {
            DataTable::Users => drop(store.people().delete(&self.pin_of(record)?)?),
            DataTable::Templates(form) => self.delete_templates(record, form)?,
            DataTable::Pictures(kind) => {
                let fields = narrowed(table, record, &["PIN", "Type"], language)?;
                let pin = Pin::from_fields(&fields)?;
                let bio_type = match kind {
                    PictureKind::User => None,
                    PictureKind::Comparison => comparison_type(&fields)?,
                };
                store.biometrics().delete_picture(&pin, kind, bio_type)?;
            }
            DataTable::IdCards => self.delete_id_cards(record)?,
            DataTable::Entries(table) => self.delete_entries(table, record)?,
            DataTable::Punches | DataTable::Photos | DataTable::Unknown(_) => {
                return Err(table.refuse(Verb::Delete).into());
            }
        }
        Ok(())
    }

    /// Carries out a `DATA UPDATE` or `DATA DELETE` that is a line of a file (§12.8.2). The caller
    /// holds the transaction.
    pub(super) fn apply(self, text: &[u8]) -> Result<(), CommandError> {
        let command = Command::parse(text)?;
        if !matches!(command, Command::Update(..) | Command::Delete(..)) {
            let why = "a line of the file is neither DATA UPDATE nor DATA DELETE";
            return Err(Refusal::parameter(why).into());
        }
        Ok(self.take_all(&command)?.0?)
    }

    /// Stores a comparison photo that was fetched from a URL, unless the person was deleted at the
    /// terminal since the command came, at this number of the store.
    pub(crate) fn put_fetched_photo(
        self,
        pin: &Pin,
        bio_type: BioType,
        picture: Vec<u8>,
        since: Seq,
    ) -> Result<(), CommandError> {
        if self.context.store.people().may_be_another_since(pin, since)? {
            let why = format!(
                "person {pin} was deleted while the photo was fetched: it may be another's"
            );
            return Err(Refusal::new(ReturnCode::UNKNOWN_PIN, why).into());
        }
        let photo = Jpeg::new("url", picture).map_err(Refusal::from)?;
        self.put_bio_photo(&BioPhoto { pin: pin.clone(), bio_type, photo })
    }

    /// Stores a record of somebody who is about to become a guest: guests are not counted as users.
    /// The caller holds the transaction.
    pub(crate) fn update_guest(
        self,
        table: DataTable<'_>,
        record: &[u8],
    ) -> Result<(), CommandError> {
        if table != DataTable::Users {
            return self.update(table, record).map(drop);
        }
        self.context.unknown_keys.look_at(table, record);
        self.context.store.people().put_guest(&self.changed_user(record)?, Origin::Server)?;
        Ok(())
    }

    /// Adds a user, or changes the fields that the record carries.
    fn update_user(self, record: &[u8]) -> Result<(), CommandError> {
        self.context.store.people().put(&self.changed_user(record)?, Origin::Server)?;
        Ok(())
    }

    /// A user as a record makes them.
    fn changed_user(self, record: &[u8]) -> Result<User, CommandError> {
        let people = self.context.store.people();
        let change = UserChange::parse(record, self.context.language)?;
        let user = people.get(&change.pin)?;
        let mut user = user.unwrap_or_else(|| User::new(change.pin.clone()));
        change.apply(&mut user);
        Ok(user)
    }

    fn put_bio_photo(self, photo: &BioPhoto) -> Result<(), CommandError> {
        self.require_user(&photo.pin)?;
        self.context.store.biometrics().put_bio_photo(photo, Origin::Server)?;
        Ok(())
    }

    fn update_entry(self, table: &EntryTable, record: &[u8]) -> Result<(), CommandError> {
        let tables = self.context.store.tables();
        let entry = table.parse(record, self.context.language)?;
        if let Some(pin) = table.whose(&entry) {
            self.require_user(&pin).map_err(|error| match error {
                CommandError::Refused(refusal) => Refusal::field("pin", refusal.why).into(),
                error => error,
            })?;
        }
        self.respell_entry(table, record)?;
        let before = tables.get(table, &table.id_of(&entry))?;
        table.require_content(&entry, before.as_ref())?;
        if before.is_none() && tables.count(table)? >= table.most {
            let why = format!("{} has {} entries, which is the most", table.name, table.most);
            return Err(Refusal::new(ReturnCode::CAPACITY, why).into());
        }
        tables.put(table, &entry)?;
        Ok(())
    }

    /// An earlier version kept a number in an identity as the server wrote it, `03` beside `3`. Such
    /// an entry becomes the one that it means.
    fn respell_entry(self, table: &EntryTable, record: &[u8]) -> Result<(), CommandError> {
        let Context { store, language, .. } = *self.context;
        let (id, spelled) =
            (table.parse_id(record, language)?, table.spelled_id(record, language)?);
        if id != spelled
            && let Some(mut entry) = store.tables().get(table, &spelled)?
        {
            store.tables().delete(table, &spelled)?;
            entry.extend(table.identity(&id));
            store.tables().put(table, &entry)?;
        }
        Ok(())
    }

    /// Deletes an entry. Of the messages to a person all, if the record names none.
    fn delete_entries(self, table: &EntryTable, record: &[u8]) -> Result<(), CommandError> {
        let Context { store, language, .. } = *self.context;
        if table.name == "USER_SMS" {
            let fields = Fields::parse(record, &["PIN", "UID"], language)?;
            if fields.get("uid").is_none() {
                store.tables().delete_messages_to(&Pin::from_fields(&fields)?)?;
                return Ok(());
            }
        }
        self.respell_entry(table, record)?;
        store.tables().delete(table, &table.parse_id(record, language)?)?;
        Ok(())
    }

    /// Deletes identity cards: those of a person, the one with a number, or both must fit.
    fn delete_id_cards(self, record: &[u8]) -> Result<(), CommandError> {
        let fields =
            narrowed(DataTable::IdCards, record, &["PIN", "IDNum"], self.context.language)?;
        let number = match fields.get("idnum").filter(|number| !number.is_empty()) {
            Some(number) => Some(IdNumber::new("idnum", number).map_err(Refusal::from)?),
            None => None,
        };
        let pin = match fields.get("pin") {
            // A card of nobody has the PIN 0.
            None | Some("0") => None,
            Some(_) => Some(Pin::from_fields(&fields)?),
        };
        if pin.is_none() && number.is_none() {
            return Err(Refusal::field("idnum", "is missing, and so is the PIN of a person").into());
        }
        self.context.store.id_cards().delete(pin.as_ref(), number.as_ref())?;
        Ok(())
    }

    /// Deletes a person's templates of a form: all of them, or those that the record names.
    fn delete_templates(self, record: &[u8], form: TemplateForm) -> Result<(), CommandError> {
        let keys: &[&str] = match form {
            TemplateForm::Fingerprint | TemplateForm::Face => &["PIN", "FID"],
            TemplateForm::FingerVein => &["PIN", "FID", "Index"],
            TemplateForm::Unified => &["PIN", "Type", "No", "Index"],
        };
        let fields = narrowed(DataTable::Templates(form), record, keys, self.context.language)?;
        let pin = Pin::from_fields(&fields)?;
        let number = match fields.number("fid")? {
            Some(number) => Some(number),
            None => fields.number("no")?,
        };
        let (bio_type, index) = (fields.number("type")?, fields.number("index")?);
        let key = TemplateKey { form, bio_type, number, index };
        self.context.store.biometrics().delete_templates(&pin, &key)?;
        Ok(())
    }

    fn require_user(self, pin: &Pin) -> Result<(), CommandError> {
        match self.context.store.people().get(pin)? {
            Some(_) => Ok(()),
            None => Err(unknown_user(pin).into()),
        }
    }

    fn pin_of(self, record: &[u8]) -> Result<Pin, Refusal> {
        pin_of(record, self.context.language)
    }
}

/// The fields of a deletion. A key that means nothing here, or that has no value, would make it wider
/// than it is meant: nothing is deleted.
fn narrowed(
    table: DataTable<'_>,
    record: &[u8],
    keys: &[&'static str],
    language: Language,
) -> Result<Fields, Refusal> {
    if let Some(key) = keys_of(record).find(|key| !is_among(key, keys) && !table.has_key(key)) {
        let (key, keys) = (quoted(key), keys.join(", "));
        let why = format!("the key {key} means nothing in a deletion of {table}; known are {keys}");
        return Err(Refusal::parameter(why));
    }
    let fields = Fields::parse(record, keys, language)?;
    for key in ["fid", "no", "type", "index"] {
        if fields.get(key).is_some_and(|value| value.trim().is_empty()) {
            return Err(Refusal::field(key, "is empty; without it the deletion is of all"));
        }
    }
    Ok(fields)
}

/// The type of a comparison photo, if the record names one.
fn comparison_type(fields: &Fields) -> Result<Option<BioType>, Refusal> {
    match fields.number("type")? {
        None => Ok(None),
        Some(code) => BioType::new(code)
            .map(Some)
            .ok_or_else(|| Refusal::field("type", format_args!("is {code}; allowed are 0 to 9"))),
    }
}
