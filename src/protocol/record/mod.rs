//! Rows that go up: what they hold, what is allowed in them, their bytes (§11).

mod attlog;
mod attphoto;
mod data;
mod entry;
mod errorlog;
mod idcard;
mod idpunch;
mod oplog;
mod photo;
mod pin;
mod template;
mod user;

pub use attlog::{HIGHEST_VERIFY, Punch, Status, WorkCode};
pub use attphoto::{AttPhoto, CardPhotoKind};
pub use entry::{Entry, EntryTable};
pub use errorlog::{ErrorCode, ErrorLog};
pub use idcard::{CardData, CardText, Day, IdCard, IdNumber, LONGEST_CARD_DATA};
pub use idpunch::IdPunch;
pub use oplog::{Operand, Operation};
pub use photo::{BioPhoto, BioPhotoUpdate, Jpeg, LONGEST_PHOTO, PictureKind, UserPic};
pub use pin::Pin;
pub use template::{
    Algorithm, LONGEST_TEMPLATE, Template, TemplateData, TemplateForm, TemplateKind, TemplateSlot,
};
pub use user::{User, UserChange};

use super::codes::Language;
use super::version::Version;

/// A row of any stream. An [`AttPhoto`] is none: it is a request of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// §11.2.
    Punch(Punch),
    /// §11.4.
    Operation(Operation),
    /// §11.5.
    User(User),
    /// §11.6.
    IdCard(Box<IdCard>),
    /// §11.7.
    IdPunch(IdPunch),
    /// §11.9 to §11.12.
    Template(Template),
    /// §11.13.
    UserPic(UserPic),
    /// §11.15.
    BioPhoto(BioPhoto),
    /// §11.16.
    ErrorLog(ErrorLog),
}

impl Record {
    /// Writes the row with its final LF, as it goes on the wire.
    pub fn write(&self, out: &mut Vec<u8>, language: Language) {
        match self {
            Self::Punch(punch) => punch.write(out),
            Self::Operation(operation) => operation.write(out, language),
            Self::User(user) => user.write(out, language),
            Self::IdCard(card) => card.write(out),
            Self::IdPunch(punch) => punch.write(out),
            Self::Template(template) => template.write(out),
            Self::UserPic(photo) => photo.write(out),
            Self::BioPhoto(photo) => photo.write(out),
            Self::ErrorLog(error) => error.write(out, language),
        }
        out.push(b'\n');
    }

    /// The first version of the protocol that has it; a server that speaks an older one is
    /// not sent it (App. 6).
    pub fn since(&self) -> Version {
        match self {
            Self::IdCard(_) => Version(2, 3, 0),
            Self::IdPunch(_) => Version(2, 4, 0),
            Self::ErrorLog(_) => Version(2, 4, 1),
            Self::Punch(_)
            | Self::Operation(_)
            | Self::User(_)
            | Self::Template(_)
            | Self::UserPic(_)
            | Self::BioPhoto(_) => Version::OLDEST,
        }
    }
}

/// A value that breaks a rule: which field, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as drivers and servers name it.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Invalid {
    /// A complaint about a field.
    pub fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Checks a text of up to `longest` characters that will stand between TABs.
fn clean(field: &'static str, value: &str, longest: usize) -> Result<String, Invalid> {
    if !super::text::is_clean(value) {
        return Err(Invalid::new(field, "holds a control character such as TAB or LF"));
    }
    if value.chars().count() > longest {
        return Err(Invalid::new(field, format!("is longer than {longest} characters")));
    }
    Ok(value.to_owned())
}
