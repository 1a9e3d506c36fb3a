//! Rows as drivers see them: by the names of the parameters of the methods that write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::protocol::record::{
    BioPhoto, Entry, IdCard, PictureKind, Template, TemplateKind, User, UserPic, Validity,
};

/// A user, as `user.put` takes it.
pub(super) fn user(user: &User) -> Value {
    let mut value = json!({
        "pin": user.pin.as_str(),
        "name": user.name,
        "pri": user.privilege,
        "passwd": user.password,
        "card": user.card,
        "grp": user.group,
        "tz": user.time_zones,
        "verify": user.verify,
        "vicecard": user.vice_card,
    });
    // Most servers never give a validity.
    let Validity { start, end, expires } = &user.validity;
    let expires = expires.map(Value::from);
    for (key, given) in [
        ("startdatetime", start.as_deref().map(Value::from)),
        ("enddatetime", end.as_deref().map(Value::from)),
        ("expires", expires),
    ] {
        if let Some(given) = given {
            value[key] = given;
        }
    }
    value
}

/// A template, as `template.put` takes it.
pub(super) fn template(template: &Template) -> Value {
    let (slot, algorithm) = (template.slot, template.algorithm);
    let mut value = json!({
        "pin": template.pin.as_str(),
        "kind": slot.kind().form().name(),
        "number": slot.number(),
        "index": slot.index(),
        "valid": template.valid,
        "duress": template.duress,
        "data": STANDARD.encode(template.data.as_bytes()),
    });
    if let TemplateKind::Unified(bio_type) = slot.kind() {
        value["type"] = bio_type.code().into();
        value["majorver"] = algorithm.major().into();
        value["minorver"] = algorithm.minor().into();
        value["format"] = algorithm.format().into();
    }
    value
}

/// The photo of a user, as `picture.put` takes it.
pub(super) fn user_pic(picture: &UserPic) -> Value {
    json!({
        "pin": picture.pin.as_str(),
        "kind": PictureKind::User.name(),
        "data": STANDARD.encode(picture.photo.as_bytes()),
    })
}

/// A photo for comparison, as `picture.put` takes it.
pub(super) fn bio_photo(picture: &BioPhoto) -> Value {
    json!({
        "pin": picture.pin.as_str(),
        "kind": PictureKind::Comparison.name(),
        "type": picture.bio_type.code(),
        "data": STANDARD.encode(picture.photo.as_bytes()),
    })
}

/// An identity card, as `idcard.put` takes it, without what is empty.
pub(super) fn id_card(card: &IdCard) -> Value {
    Value::Object(card.fields().into_iter().map(|(key, value)| (key, value.into())).collect())
}

/// A short message, by the server's names in lower case; what it says is its `text`.
pub(super) fn message(entry: &Entry) -> Value {
    let named = |(key, value): (&String, &String)| {
        let key = if key == "msg" { "text" } else { key };
        (key.to_owned(), Value::from(value.as_str()))
    };
    Value::Object(entry.iter().map(named).collect())
}
