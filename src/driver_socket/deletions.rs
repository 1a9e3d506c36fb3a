//! `user.delete`, `template.delete`, `picture.delete` and `card.delete`: what is deleted at the
//! terminal. The server has no other way to learn of it than the operation log: the operation is
//! written in the transaction of the deletion, where App. 3 has a number for it.

use serde_json::{Value, json};

use super::biometrics::{self, bio_type};
use super::context::MethodContext;
use super::error::MethodError;
use super::operations;
use super::people::resident;
use crate::protocol::codes::operation;
use crate::protocol::record::{Operand, PictureKind, Pin, TemplateForm, card_number};
use crate::protocol::tables::BioType;
use crate::reactor;
use crate::rpc::{Params, RpcError};
use crate::store::{NewOperation, Seq, TemplateKey};

/// Deletes a user and all that hangs on the PIN.
pub(super) fn user(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let pin = pin(params)?;
    let mut log = Log::new(context, params, &pin)?;
    if context.store.people().get(&pin)?.is_some() {
        log.add(operation::USER_DELETED, Operand::default())?;
    }
    log.deleted(context.store.people().delete(&pin)?)
}

/// Deletes templates of a person of one kind: all, or those of a number or type.
pub(super) fn template(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let pin = pin(params)?;
    let (form, of_word) = biometrics::form(params)?;
    let number = biometrics::number(params)?;
    let asked = narrowed(params, form == TemplateForm::Unified, "is for unified templates only")?;
    let bio_type = of_word.map(BioType::code).or(asked);
    let mut log = Log::new(context, params, &pin)?;
    let key = TemplateKey { form, bio_type, number, index: None };
    let biometrics = context.store.biometrics();
    if form == TemplateForm::Fingerprint && biometrics.count_templates(&pin, &key)? > 0 {
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        log.add(operation::FINGERPRINT_DELETED, Operand::new("number", &number)?)?;
    }
    log.deleted(biometrics.delete_templates(&pin, &key)? > 0)
}

/// Deletes the picture of a user, or comparison photos: all, or those of a type.
pub(super) fn picture(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let pin = pin(params)?;
    let kind = PictureKind::from_name(&params.required_text("kind")?)
        .ok_or_else(|| RpcError::param("kind", "must be user or comparison"))?;
    let is_comparison = kind == PictureKind::Comparison;
    let of = narrowed(params, is_comparison, "is for comparison photos only")?;
    let of = of.is_some().then(|| bio_type(params)).transpose()?;
    let log = Log::new(context, params, &pin)?;
    log.deleted(context.store.biometrics().delete_picture(&pin, kind, of)? > 0)
}

/// Takes a card from a user: the one with a number, or all.
pub(super) fn card(context: &MethodContext, params: &Params) -> Result<Value, MethodError> {
    let pin = resident(context, params)?;
    let number = params.text("card")?.map(|card| card_number("card", &card)).transpose()?;
    let mut log = Log::new(context, params, &pin)?;
    let people = context.store.people();
    let Some(user) = people.get(&pin)? else { return log.deleted(false) };
    let is_meant = |card: &String| !card.is_empty() && number.as_ref().is_none_or(|it| it == card);
    let (main, second) = (is_meant(&user.card), is_meant(&user.vice_card));
    if main || second {
        log.add(operation::CARD_DELETED, Operand::default())?;
        people.remove_cards(&user, main, second)?;
    }
    log.deleted(main || second)
}

fn pin(params: &Params) -> Result<Pin, MethodError> {
    Ok(Pin::new(&params.required_text("pin")?)?)
}

/// The parameter `type`, where the rest of the call can have one.
fn narrowed(params: &Params, can: bool, why: &str) -> Result<Option<u8>, RpcError> {
    let given = !params.get("type").is_null();
    match (given, can) {
        (true, false) => Err(RpcError::param("type", why)),
        (true, true) => Ok(Some(bio_type(params)?.code())),
        (false, _) => Ok(None),
    }
}

/// The entry of the operation log for a deletion, and the answer.
struct Log<'a> {
    context: &'a MethodContext,
    /// Not of a guest: the server would delete the person of whom the terminal only had a copy.
    of_resident: bool,
    operation: NewOperation,
    seq: Option<Seq>,
}

impl<'a> Log<'a> {
    fn new(context: &'a MethodContext, params: &Params, pin: &Pin) -> Result<Self, MethodError> {
        let operation = NewOperation {
            code: 0,
            moment: context.moment(params)?,
            operator: operations::operator(params)?,
            who: Operand::new("pin", pin.as_str())?,
            values: Default::default(),
        };
        let of_resident = context.store.guests().get(pin)?.is_none();
        Ok(Self { context, of_resident, operation, seq: None })
    }

    /// Writes the entry. It comes before the deletion: where there is no room for it, nothing is
    /// deleted.
    fn add(&mut self, code: u16, value: Operand) -> Result<(), MethodError> {
        if self.of_resident {
            self.operation.code = code;
            self.operation.values[0] = value;
            self.seq = Some(self.context.store.journal().add_operation(&self.operation)?);
        }
        Ok(())
    }

    /// The answer: whether there was anything to delete, and the number of the entry.
    fn deleted(&self, deleted: bool) -> Result<Value, MethodError> {
        reactor::wake_loop();
        Ok(json!({"deleted": deleted, "seq": self.seq}))
    }
}
