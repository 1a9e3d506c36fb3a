//! What drivers enrol and take: templates, pictures, photos, identity cards, errors.

use std::borrow::Cow;
use std::io::Read;

use serde_json::Value;

use super::methods::Methods;
use super::rpc::{Fault, Params};
use crate::files::{ConfinedPath, FileError};
use crate::protocol::fields::Fields;
use crate::protocol::record::{
    Algorithm, BioPhoto, CardPhotoKind, ErrorCode, ErrorLog, IdCard, IdNumber, Jpeg, LONGEST_PHOTO,
    PictureKind, Pin, Template, TemplateData, TemplateForm, TemplateKind, TemplateSlot, UserPic,
};
use crate::protocol::tables::BioType;
use crate::store::{NewPhoto, Origin};

/// The fields of an identity card, by the protocol's names in lower case.
const CARD_FIELDS: [&str; 17] = [
    "pin",
    "snnum",
    "idnum",
    "dnnum",
    "name",
    "gender",
    "nation",
    "birthday",
    "validinfo",
    "address",
    "additionalinfo",
    "issuer",
    "photo",
    "fptemplate1",
    "fptemplate2",
    "reserve",
    "notice",
];

impl Methods {
    pub(super) fn template_put(&self, params: &Params) -> Result<Value, Fault> {
        let template = template(params, self.resident(params)?)?;
        self.recorded(self.store.biometrics().put_template(&template, Origin::Terminal))
    }

    pub(super) fn picture_put(&self, params: &Params) -> Result<Value, Fault> {
        let pin = self.resident(params)?;
        let photo = Jpeg::new("data", params.bytes("data")?)?;
        match PictureKind::from_name(&params.required("kind")?) {
            Some(PictureKind::User) => self.recorded(
                self.store.biometrics().put_user_pic(&UserPic { pin, photo }, Origin::Terminal),
            ),
            Some(PictureKind::Comparison) => {
                let picture = BioPhoto { pin, bio_type: bio_type(params)?, photo };
                self.recorded(self.store.biometrics().put_bio_photo(&picture, Origin::Terminal))
            }
            None => Err(Params::complain("kind", "is none of user, comparison")),
        }
    }

    /// A photo taken at a punch.
    pub(super) fn photo(&self, params: &Params) -> Result<Value, Fault> {
        let card = match params.text("idnum")? {
            None => None,
            Some(number) => {
                let kind =
                    params.number("kind", 4)?.and_then(|kind| CardPhotoKind::new(kind as u8));
                let kind = kind.ok_or_else(|| Params::complain("kind", "is missing"))?;
                Some((kind, IdNumber::new("idnum", &number)?))
            }
        };
        let photo = NewPhoto {
            pin: Pin::new(&params.required("pin")?)?,
            moment: self.moment(params)?,
            card,
            photo: Jpeg::new("data", params.bytes("data")?)?,
        };
        self.recorded(self.store.journal().add_photo(&photo))
    }

    /// The same parameters, with the content of the file that they name in place of `data`.
    pub(super) fn with_file<'p>(&self, params: &'p Params) -> Result<Cow<'p, Params>, Fault> {
        let Some(name) = params.text("file")? else { return Ok(Cow::Borrowed(params)) };
        let Some(shared) = &self.shared else {
            return Err(Params::complain("file", "no directory is shared ([drivers] shared)"));
        };
        let wrong = |error: FileError| Params::complain("file", &error.to_string());
        let path = format!("{}/{name}", shared.display());
        let place = ConfinedPath::find(std::slice::from_ref(shared), &path).map_err(wrong)?;
        let (file, size) = place.open().map_err(wrong)?;
        if size > LONGEST_PHOTO as u64 {
            return Err(Params::complain("file", "is larger than any template or photo"));
        }
        let mut content = Vec::new();
        file.take(LONGEST_PHOTO as u64)
            .read_to_end(&mut content)
            .map_err(|error| Params::complain("file", &error.to_string()))?;
        Ok(Cow::Owned(params.clone().with_bytes("data", &content)))
    }

    pub(super) fn idcard_put(&self, params: &Params) -> Result<Value, Fault> {
        let mut pairs = Vec::new();
        for key in CARD_FIELDS {
            pairs.extend(params.text(key)?.map(|value| (key.to_owned(), value)));
        }
        let card = IdCard::from_fields(&Fields::from_pairs(pairs))?;
        self.recorded(self.store.id_cards().put(&card, Origin::Terminal))
    }

    pub(super) fn error(&self, params: &Params) -> Result<Value, Fault> {
        let code = ErrorCode::new(&params.required("code")?)?;
        let message = params.text("message")?.unwrap_or_default();
        let command = params.text("command")?;
        let error = ErrorLog::new(code, &message, command.as_deref(), params.value("additional"))?;
        self.recorded(self.store.error_log().add(&error))
    }
}

/// A template of somebody, whoever sends it and why.
pub(super) fn template(params: &Params, pin: Pin) -> Result<Template, Fault> {
    let kind = match TemplateForm::from_name(&params.required("kind")?) {
        Some(TemplateForm::Fingerprint) => TemplateKind::Fingerprint,
        Some(TemplateForm::Face) => TemplateKind::Face,
        Some(TemplateForm::FingerVein) => TemplateKind::FingerVein,
        Some(TemplateForm::Unified) => TemplateKind::Unified(bio_type(params)?),
        None => {
            return Err(Params::complain("kind", "is none of fingerprint, face, fvein, unified"));
        }
    };
    let small = |field| -> Result<u8, Fault> { Ok(params.number(field, 255)?.unwrap_or(0) as u8) };
    let part = |field| -> Result<u16, Fault> { Ok(params.number(field, 999)?.unwrap_or(0) as u16) };
    Ok(Template {
        pin,
        slot: TemplateSlot::new(kind, small("number")?, small("index")?)?,
        valid: params.switch("valid")?.unwrap_or(true),
        duress: params.switch("duress")?.unwrap_or(false),
        algorithm: Algorithm::new(part("majorver")?, part("minorver")?, small("format")?)?,
        data: TemplateData::new("data", params.bytes("data")?)?,
    })
}

fn bio_type(params: &Params) -> Result<BioType, Fault> {
    let code = params.number("type", 9)?.ok_or_else(|| Params::complain("type", "is missing"))?;
    BioType::new(code as u8).ok_or_else(|| Params::complain("type", "is not within 0 to 9"))
}
