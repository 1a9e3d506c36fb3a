//! `template.put` and `picture.put`.

use std::io::Read;

use serde_json::Value;

use super::context::MethodContext;
use super::error::MethodError;
use super::people::resident;
use crate::files::{ConfinedPath, FileError};
use crate::protocol::record::{
    Algorithm, BioPhoto, Jpeg, LONGEST_PHOTO, PictureKind, Pin, Template, TemplateData,
    TemplateForm, TemplateKind, TemplateSlot, UserPic,
};
use crate::protocol::tables::BioType;
use crate::rpc::{Params, RpcError};
use crate::store::Origin;

pub(super) fn put_template(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let template = template(params, resident(context, params)?, || data(context, params))?;
    context.recorded(context.store.biometrics().put_template(&template, Origin::Terminal))
}

pub(super) fn put_picture(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let pin = resident(context, params)?;
    let data = data(context, params)?;
    let photo = Jpeg::new(data.field, data.bytes)?;
    let biometrics = context.store.biometrics();
    context.recorded(match PictureKind::from_name(&params.required_text("kind")?) {
        Some(PictureKind::User) => {
            biometrics.put_user_pic(&UserPic { pin, photo }, Origin::Terminal)
        }
        Some(PictureKind::Comparison) => {
            let picture = BioPhoto { pin, bio_type: bio_type(params)?, photo };
            biometrics.put_bio_photo(&picture, Origin::Terminal)
        }
        None => return Err(RpcError::param("kind", "must be user or comparison").into()),
    })
}

/// Bytes that a driver hands over, and the parameter that they came by.
pub(super) struct Data {
    pub(super) field: &'static str,
    pub(super) bytes: Vec<u8>,
}

impl Data {
    /// In base64, in the parameter `data`.
    pub(super) fn inline(params: &Params) -> Result<Self, RpcError> {
        Ok(Self { field: "data", bytes: params.required_bytes("data")? })
    }
}

/// A template or photo: in `data`, or in the shared directory under the name in `file`.
pub(super) fn data(context: &MethodContext, params: &Params) -> Result<Data, RpcError> {
    let wrong = |why: String| RpcError::param("file", why);
    let Some(name) = params.text("file")? else { return Data::inline(params) };
    let Some(dir) = &context.shared_dir else {
        return Err(wrong("no directory is shared: set [drivers] shared, or send data".into()));
    };
    let failed = |error: FileError| wrong(error.to_string());
    let path = format!("{}/{name}", dir.display());
    let path = ConfinedPath::find(std::slice::from_ref(dir), &path).map_err(failed)?;
    let (file, size) = path.open().map_err(failed)?;
    if size > LONGEST_PHOTO as u64 {
        return Err(wrong(format!("has {size} bytes; a photo has at most {LONGEST_PHOTO}")));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(LONGEST_PHOTO as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Data { field: "file", bytes })
}

/// A template by the parameters of `template.put`, whoever sends it and why. `data` is read last, so
/// that an error names the first parameter that is wrong.
pub(super) fn template(
    params: &Params,
    pin: Pin,
    data: impl FnOnce() -> Result<Data, RpcError>,
) -> Result<Template, MethodError> {
    let (form, of_word) = form(params)?;
    let kind = match form {
        TemplateForm::Fingerprint => TemplateKind::Fingerprint,
        TemplateForm::Face => TemplateKind::Face,
        TemplateForm::FingerVein => TemplateKind::FingerVein,
        TemplateForm::Unified => {
            TemplateKind::Unified(of_word.map_or_else(|| bio_type(params), Ok)?)
        }
    };
    let byte =
        |field| -> Result<u8, RpcError> { Ok(params.number(field, 255)?.unwrap_or(0) as u8) };
    let version =
        |field| -> Result<u16, RpcError> { Ok(params.number(field, 999)?.unwrap_or(0) as u16) };
    let slot = TemplateSlot::new(kind, number(params)?.unwrap_or(0), byte("index")?)?;
    let algorithm = Algorithm::new(version("majorver")?, version("minorver")?, byte("format")?)?;
    let (valid, duress) = (params.switch("valid")?, params.switch("duress")?);
    let data = data()?;
    Ok(Template {
        pin,
        slot,
        valid: valid.unwrap_or(true),
        duress: duress.unwrap_or(false),
        algorithm,
        data: TemplateData::new(data.field, data.bytes)?,
    })
}

/// The form of a template, and its type where the word says it: words of `provides` mean the same here.
pub(super) fn form(params: &Params) -> Result<(TemplateForm, Option<BioType>), RpcError> {
    let kind = params.required_text("kind")?;
    let known = match kind.as_str() {
        "fingervein" => return Ok((TemplateForm::FingerVein, None)),
        "palm" => return Ok((TemplateForm::Unified, Some(BioType::PALM))),
        other => TemplateForm::from_name(other),
    };
    let why = "must be fingerprint, face, fvein, palm or unified";
    known.map(|form| (form, None)).ok_or_else(|| RpcError::param("kind", why))
}

/// Which finger, eye or hand: `number`, or `no`.
pub(super) fn number(params: &Params) -> Result<Option<u8>, RpcError> {
    let number = params.number("number", u8::MAX.into())?;
    Ok(number.or(params.number("no", u8::MAX.into())?).map(|number| number as u8))
}

pub(super) fn bio_type(params: &Params) -> Result<BioType, RpcError> {
    BioType::new(params.required_number("type", 9)? as u8)
        .ok_or_else(|| RpcError::param("type", "must be a whole number from 0 to 9"))
}
