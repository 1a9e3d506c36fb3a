//! Rows for the server: their content, the rules for it, their bytes (§11).

mod attlog;
mod attphoto;
mod data;
mod entry;
mod errorlog;
mod idcard;
mod idpunch;
mod invalid;
mod oplog;
mod photo;
mod picture_kind;
mod pin;
mod screening;
mod template;
mod user;
mod validity;

pub use attlog::{HIGHEST_VERIFY, Punch, Status, WorkCode};
pub use attphoto::{AttPhoto, CardPhotoKind};
pub use entry::{Entry, EntryTable};
pub use errorlog::{ErrorCode, ErrorLog};
pub use idcard::{CardData, CardText, Day, IdCard, IdNumber, LONGEST_CARD_DATA};
pub use idpunch::IdPunch;
pub use invalid::Invalid;
pub use oplog::{Operand, Operation};
pub use photo::{BioPhoto, BioPhotoUpdate, Jpeg, LONGEST_PHOTO, UserPic};
pub use picture_kind::PictureKind;
pub use pin::Pin;
pub use screening::{Screening, Temperature};
pub use template::{
    Algorithm, LONGEST_TEMPLATE, Template, TemplateData, TemplateForm, TemplateKind, TemplateSlot,
};
pub use user::{User, UserChange, card_number};
pub use validity::Validity;

use super::codes::Language;
use super::version::Version;

/// A row of any stream but photos: an [`AttPhoto`] is not a row, but a whole request.
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
    /// Writes the row with its final LF.
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

    /// The first version of the protocol that has such a row (App. 6). A server with an older
    /// version does not get it.
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
