//! `punch` and `photo`: somebody was here.

use serde_json::Value;

use super::biometrics;
use super::context::MethodContext;
use super::error::MethodError;
use crate::protocol::record::{
    AttPhoto, CardPhotoKind, HIGHEST_VERIFY, IdNumber, Jpeg, Pin, Screening, Temperature, WorkCode,
};
use crate::rpc::{Params, RpcError};
use crate::store::{NewPhoto, NewPunch, WithCard};

pub(super) fn punch(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let punch = NewPunch { card: card(params)?, ..attempt(context, params)? };
    context.recorded(context.store.journal().add_punch(&punch))
}

/// Who wants to pass, when and how: a punch once they may.
pub(super) fn attempt(context: &MethodContext, params: &Params) -> Result<NewPunch, MethodError> {
    Ok(NewPunch {
        pin: Pin::new(&params.required_text("pin")?)?,
        moment: context.moment(params)?,
        status: params.number("status", 255)?.unwrap_or(0) as u8,
        verify: params.number("verify", HIGHEST_VERIFY.into())?.unwrap_or(0) as u8,
        workcode: WorkCode::new(&params.text("workcode")?.unwrap_or_default())?,
        screening: screening(params)?,
        card: None,
    })
}

/// What a terminal with a camera for it saw of mask and temperature.
fn screening(params: &Params) -> Result<Screening, MethodError> {
    let temperature = match params.get("temperature") {
        Value::Null => None,
        value => Some(Temperature::new("temperature", value.as_f64().unwrap_or(f64::NAN))?),
    };
    Ok(Screening { mask: params.switch("mask")?, temperature })
}

/// The identity card that a punch was made with.
fn card(params: &Params) -> Result<Option<WithCard>, MethodError> {
    let Some(number) = params.text("idnum")? else { return Ok(None) };
    let number = IdNumber::new("idnum", &number)?;
    let verification = params.number("type", 1)?.unwrap_or(0) == 1;
    // A verification has outcomes and ways of its own (§11.7).
    if verification {
        params.required_number("status", 2)?;
        if !matches!(params.number("verify", 3)?, Some(1..)) {
            return Err(RpcError::param("verify", "must be 1, 2 or 3 for type 1").into());
        }
    }
    Ok(Some(WithCard { number, verification }))
}

/// A photo taken at a punch.
pub(super) fn photo(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let card = match params.text("idnum")? {
        None => None,
        Some(number) => {
            let kind = CardPhotoKind::new(params.required_number("kind", 4)? as u8)
                .ok_or_else(|| RpcError::param("kind", "must be a whole number from 0 to 4"))?;
            Some((kind, IdNumber::new("idnum", &number)?))
        }
    };
    let pin = Pin::new(&params.required_text("pin")?)?;
    if card.is_none() {
        AttPhoto::check_pin(&pin)?;
    }
    let moment = context.moment(params)?;
    let data = biometrics::data(context, params)?;
    let photo = NewPhoto { pin, moment, card, photo: Jpeg::new(data.field, data.bytes)? };
    context.recorded(context.store.journal().add_photo(&photo))
}
