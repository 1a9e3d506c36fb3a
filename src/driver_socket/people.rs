//! `user.get`, `user.put` and `idcard.put`.

use serde_json::Value;

use super::context::MethodContext;
use super::describe;
use super::error::MethodError;
use crate::protocol::fields::Fields;
use crate::protocol::record::{IdCard, Pin, User, UserChange, card_number};
use crate::rpc::{Params, RpcError};
use crate::store::Origin;

/// The parameters of `user.put`, by the protocol's names in lower case.
const USER_FIELDS: [&str; 12] = [
    "pin",
    "name",
    "pri",
    "passwd",
    "card",
    "grp",
    "tz",
    "verify",
    "vicecard",
    "startdatetime",
    "enddatetime",
    "expires",
];

/// The parameters of `idcard.put`, by the protocol's names in lower case.
const ID_CARD_FIELDS: [&str; 17] = [
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

/// A user by PIN or card; null if there is none.
pub(super) fn get(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let people = context.store.people();
    let user = match (params.text("pin")?, params.text("card")?) {
        (Some(pin), _) => people.get(&Pin::new(&pin)?)?,
        (None, Some(card)) => match card_number("card", &card) {
            Ok(card) => people.by_card(&card)?,
            // A reader may read what is no number: nobody has that.
            Err(_) => None,
        },
        (None, None) => return Err(RpcError::param("pin", "is missing, and so is card").into()),
    };
    Ok(user.as_ref().map_or(Value::Null, describe::user))
}

/// Adds a user, or changes what is named of one.
pub(super) fn put(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let change = UserChange::from_fields(&fields(params, &USER_FIELDS)?, context.language)?;
    let user = context.store.people().get(&change.pin)?;
    let mut user = user.unwrap_or_else(|| User::new(change.pin.clone()));
    change.apply(&mut user);
    context.recorded(context.store.people().put(&user, Origin::Terminal))
}

pub(super) fn put_id_card(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let card = IdCard::from_fields(&fields(params, &ID_CARD_FIELDS)?)?;
    context.recorded(context.store.id_cards().put(&card, Origin::Terminal))
}

/// Those of the known parameters that are there.
fn fields(params: &Params, known: &[&'static str]) -> Result<Fields, RpcError> {
    let mut pairs = Vec::new();
    for &key in known {
        pairs.extend(params.text(key)?.map(|value| (key.to_owned(), value)));
    }
    Ok(Fields::from_pairs(pairs))
}

/// The PIN of a call that enrols something. That is sent up to the server, and nothing of a
/// guest is: it would be lost.
pub(super) fn resident(context: &MethodContext, params: &Params) -> Result<Pin, MethodError> {
    let pin = Pin::new(&params.required_text("pin")?)?;
    match context.store.guests().get(&pin)? {
        None => Ok(pin),
        Some(_) => {
            Err(RpcError::param("pin", "is a guest's; call user.put first to make them a user")
                .into())
        }
    }
}
