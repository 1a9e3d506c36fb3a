//! `DATA UPDATE` and `DATA DELETE` (§12.2, §12.3). A record changes only what it carries; a
//! wrong one changes nothing.

use super::Executor;
use crate::policy::Family;
use crate::protocol::codes::ReturnCode;
use crate::protocol::data_table::{DataTable, Verb};
use crate::protocol::fields::{Fields, Refusal};
use crate::protocol::record::{
    BioPhoto, BioPhotoUpdate, EntryTable, IdCard, Jpeg, PictureKind, Pin, Template, TemplateForm,
    User, UserChange, UserPic,
};
use crate::protocol::tables::BioType;
use crate::store::{Origin, StoreError, TemplateKey};

/// Done, refused, or the store failed.
type Done = Result<Result<(), Refusal>, StoreError>;

/// Hands a refusal on as the result of the command, not as a failure of the store.
macro_rules! checked {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl Executor<'_> {
    pub(super) fn update(&self, table: DataTable<'_>, record: &[u8]) -> Done {
        let language = self.language;
        match table {
            DataTable::Users => self.update_user(record),
            DataTable::IdCards => {
                let card = checked!(IdCard::parse(record));
                self.store.id_cards().put(&card, Origin::Server).map(|_| Ok(()))
            }
            DataTable::Templates(form) => {
                self.update_template(Template::parse(form, record, language))
            }
            DataTable::Pictures(PictureKind::User) => {
                let picture = checked!(UserPic::parse(record, language));
                checked!(self.known(&picture.pin)?);
                self.store.biometrics().put_user_pic(&picture, Origin::Server).map(|_| Ok(()))
            }
            DataTable::Pictures(PictureKind::Comparison) => self.update_bio_photo(record),
            DataTable::Entries(table) => self.update_entry(table, record),
            DataTable::Punches | DataTable::Photos | DataTable::Unknown(_) => {
                Ok(Err(table.refuse(Verb::Update)))
            }
        }
    }

    pub(super) fn delete(&self, table: DataTable<'_>, record: &[u8]) -> Done {
        // What is not there any more is deleted already: that is done, too.
        match table {
            DataTable::Users => {
                let pin = checked!(self.pin_of(record));
                self.store.people().delete(&pin).map(|_| Ok(()))
            }
            DataTable::Templates(form) => self.delete_templates(record, form),
            DataTable::Pictures(kind) => self.delete_picture(record, kind),
            DataTable::Entries(table) if table.can_delete => {
                let id = checked!(table.parse_id(record, self.language));
                self.store.tables().delete(table, &id).map(|_| Ok(()))
            }
            DataTable::IdCards
            | DataTable::Entries(_)
            | DataTable::Punches
            | DataTable::Photos
            | DataTable::Unknown(_) => Ok(Err(table.refuse(Verb::Delete))),
        }
    }

    /// Adds a user, or changes what the record carries of one who is there.
    fn update_user(&self, record: &[u8]) -> Done {
        let change = checked!(UserChange::parse(record, self.language));
        let mut user = match self.store.people().get(&change.pin)? {
            Some(user) => user,
            None if self.store.people().count()? >= self.profile.most_users => {
                let why = format!("there are {} users already", self.profile.most_users);
                return Ok(Err(Refusal::new(ReturnCode::CAPACITY, why)));
            }
            None => User::new(change.pin.clone()),
        };
        change.apply(&mut user);
        self.store.people().put(&user, Origin::Server)?;
        Ok(Ok(()))
    }

    fn update_template(&self, template: Result<Template, Refusal>) -> Done {
        let template = checked!(template);
        checked!(self.known(&template.pin)?);
        self.store.biometrics().put_template(&template, Origin::Server).map(|_| Ok(()))
    }

    fn update_bio_photo(&self, record: &[u8]) -> Done {
        match checked!(BioPhotoUpdate::parse(record, self.language)) {
            BioPhotoUpdate::Here(picture) => {
                checked!(self.known(&picture.pin)?);
                self.store.biometrics().put_bio_photo(&picture, Origin::Server).map(|_| Ok(()))
            }
            BioPhotoUpdate::At { .. } => {
                let why = "pictures are fetched for a command of its own, if [commands] put_file allows it";
                Ok(Err(Refusal::new(ReturnCode::UNSUPPORTED, why)))
            }
        }
    }

    /// The URL of a picture that is to be fetched (§12.2.8), if the command means that.
    pub(super) fn picture_at(&self, table: DataTable<'_>, record: &[u8]) -> Option<String> {
        if table != DataTable::Pictures(PictureKind::Comparison)
            || !self.policy.allows(Family::PutFile)
        {
            return None;
        }
        match BioPhotoUpdate::parse(record, self.language) {
            Ok(BioPhotoUpdate::At { url, .. }) => Some(url),
            _ => None,
        }
    }

    /// Stores a picture that was fetched.
    ///
    /// # Errors
    /// If the store fails. A refusal changed nothing.
    pub fn take_picture(&self, pin: &Pin, bio_type: BioType, picture: Vec<u8>) -> Done {
        let photo = match Jpeg::new("url", picture) {
            Ok(photo) => photo,
            Err(invalid) => return Ok(Err(Refusal::field(invalid.field, invalid.why))),
        };
        checked!(self.known(pin)?);
        let picture = BioPhoto { pin: pin.clone(), bio_type, photo };
        self.store.biometrics().put_bio_photo(&picture, Origin::Server).map(|_| Ok(()))
    }

    fn update_entry(&self, table: &EntryTable, record: &[u8]) -> Done {
        let entry = checked!(table.parse(record, self.language));
        let is_new = self.store.tables().get(table, &table.id_of(&entry))?.is_none();
        if is_new && self.store.tables().count(table)? >= table.most {
            let why = format!("there are {} entries in {} already", table.most, table.name);
            return Ok(Err(Refusal::new(ReturnCode::CAPACITY, why)));
        }
        self.store.tables().put(table, &entry).map(|_| Ok(()))
    }

    /// Deletes a person's templates of a form: all of them, or those that the record names.
    fn delete_templates(&self, record: &[u8], form: TemplateForm) -> Done {
        let keys: &[&str] = match form {
            TemplateForm::Fingerprint | TemplateForm::FingerVein => &["PIN", "FID"],
            TemplateForm::Face => &["PIN"],
            TemplateForm::Unified => &["PIN", "Type", "No"],
        };
        let fields = checked!(Fields::parse(record, keys, self.language));
        let pin = checked!(pin(&fields));
        let key = TemplateKey {
            kind: form.code(),
            bio_type: checked!(fields.number("type")),
            number: match checked!(fields.number("fid")) {
                Some(number) => Some(number),
                None => checked!(fields.number("no")),
            },
        };
        self.store.biometrics().delete_templates(&pin, &key).map(|_| Ok(()))
    }

    fn delete_picture(&self, record: &[u8], kind: PictureKind) -> Done {
        let pin = checked!(self.pin_of(record));
        self.store.biometrics().delete_picture(&pin, kind.code()).map(|_| Ok(()))
    }

    /// Refuses what is meant for somebody who is not on the terminal.
    fn known(&self, pin: &Pin) -> Result<Result<(), Refusal>, StoreError> {
        Ok(match self.store.people().get(pin)? {
            Some(_) => Ok(()),
            None => Err(Refusal::new(ReturnCode::UNKNOWN_PIN, format!("there is no user {pin}"))),
        })
    }

    /// The PIN in a record that must hold one.
    pub(super) fn pin_of(&self, record: &[u8]) -> Result<Pin, Refusal> {
        pin(&Fields::parse(record, &["PIN"], self.language)?)
    }
}

fn pin(fields: &Fields) -> Result<Pin, Refusal> {
    Pin::new(fields.required("pin")?).map_err(|invalid| Refusal::field(invalid.field, invalid.why))
}
