//! `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO` (§12.9): a driver enrols a person's finger, face or card.
//! That the driver is asked is recorded before. An enrolment that was cut off is not begun again,
//! since the person has left. What was enrolled and the answer are stored in one transaction.

use super::context::Context;
use super::error::CommandError;
use super::outcome::Step;
use super::pin::unknown_user;
use crate::device::Device;
use crate::driver_requests::{Answer, DriverRequest};
use crate::protocol::codes::{ReturnCode, operation};
use crate::protocol::enroll::{Enroll, Outcome, Sought};
use crate::protocol::fields::Refusal;
use crate::protocol::record::{Operand, Pin, Template, User};
use crate::store::{Job, NewOperation, Origin, Stage};

/// Bytes of a template, about.
const TEMPLATE: usize = 2 << 10;

/// Carries out enrolments.
pub(crate) struct Enrolments<'a> {
    context: &'a Context<'a>,
    device: &'a mut dyn Device,
}

impl<'a> Enrolments<'a> {
    pub(super) fn new(context: &'a Context<'a>, device: &'a mut dyn Device) -> Self {
        Self { context, device }
    }

    /// Asks the driver, or stores what it answered.
    pub(crate) fn step(&mut self, job: &Job, enroll: &Enroll) -> Result<Step, CommandError> {
        match self.device.answered(job.row) {
            Some(answer) => self.take(job, enroll, answer),
            None if self.device.is_running(job.row) => Ok(Step::Continues),
            None if job.stage == Stage::HandedOver => {
                let why = "punchd was stopped during the enrolment; send the command again";
                Err(Refusal::new(ReturnCode::TIMED_OUT, why).into())
            }
            None => self.ask(job, enroll),
        }
    }

    fn ask(&mut self, job: &Job, enroll: &Enroll) -> Result<Step, CommandError> {
        let store = self.context.store;
        let name = self.resident(&enroll.pin)?.name;
        if let Some(bio_type) = enroll.sought.bio_type()
            && !enroll.overwrite
            && store.biometrics().has_template(&enroll.pin, bio_type, enroll.sought.number())?
        {
            return Err(not_enrolled(enroll, Outcome::Exists).into());
        }
        // Nobody is to put a finger on the sensor for what there is no room for.
        store.retention().require_room_for_rest(Origin::Terminal, TEMPLATE)?;
        store.jobs().set_stage(job, Stage::HandedOver)?;
        self.device.ask(job.row, DriverRequest::Enroll { enroll: enroll.clone(), name })?;
        Ok(Step::Continues)
    }

    fn take(&self, job: &Job, enroll: &Enroll, answer: Answer) -> Result<Step, CommandError> {
        let refusal = match answer {
            Answer::Templates(templates) => {
                return self.finish(job, || self.take_templates(enroll, &templates));
            }
            Answer::Card(card) => return self.finish(job, || self.take_card(enroll, card)),
            Answer::NotEnrolled(outcome) => not_enrolled(enroll, outcome),
            Answer::Late => not_enrolled(enroll, Outcome::TimedOut),
            Answer::Unable => {
                Refusal::new(ReturnCode::UNSUPPORTED, "the driver says that it cannot do that")
            }
            Answer::Failed(message) => Refusal::new(ReturnCode::STORAGE, message),
            Answer::Done => {
                let why = "the driver answered without a template or a card";
                Refusal::new(ReturnCode::STORAGE, why)
            }
        };
        Err(refusal.into())
    }

    fn finish(
        &self,
        job: &Job,
        take: impl FnOnce() -> Result<(), CommandError>,
    ) -> Result<Step, CommandError> {
        let store = self.context.store;
        store.atomically(|| {
            take()?;
            store.jobs().finish(job.row, ReturnCode::DONE, &[]).map_err(CommandError::from)
        })?;
        log::info!("command {} is done: the enrolment is stored", job.id);
        Ok(Step::Stored)
    }

    /// The new templates replace all that the person had of the same finger or face.
    fn take_templates(&self, enroll: &Enroll, templates: &[Template]) -> Result<(), CommandError> {
        self.resident(&enroll.pin)?;
        let biometrics = self.context.store.biometrics();
        for Template { slot, .. } in templates {
            biometrics.delete_individual(&enroll.pin, slot.kind().bio_type(), slot.number())?;
        }
        for template in templates {
            biometrics.put_template(template, Origin::Terminal)?;
        }
        let Sought::Finger(number) = enroll.sought else {
            return self.log_operation(operation::USER_ENROLLED, &enroll.pin, &[]);
        };
        let length: usize = templates.iter().map(|template| template.data.as_bytes().len()).sum();
        let values = [number.to_string(), length.to_string()];
        self.log_operation(operation::FINGERPRINT_ENROLLED, &enroll.pin, &values)
    }

    fn take_card(&self, enroll: &Enroll, card: String) -> Result<(), CommandError> {
        let people = self.context.store.people();
        let user = self.resident(&enroll.pin)?;
        if let Some(other) = people.by_card(&card)?
            && other.pin != enroll.pin
        {
            let why = format!("the card belongs to user {}", other.pin);
            return Err(Refusal::new(Outcome::Duplicate.code(enroll.sought), why).into());
        }
        people.put(&User { card, ..user }, Origin::Terminal)?;
        self.log_operation(operation::CARD_ENROLLED, &enroll.pin, &[])
    }

    /// Writes an entry of the operation log (App. 3, App. 4).
    fn log_operation(&self, code: u16, pin: &Pin, values: &[String]) -> Result<(), CommandError> {
        // PINs and numbers are always valid operands.
        let operand = |text: Option<&str>| {
            Operand::new("operand", text.unwrap_or_default()).unwrap_or_default()
        };
        let value = |nth: usize| operand(values.get(nth).map(String::as_str));
        let operation = NewOperation {
            code,
            moment: self.context.moment.clone(),
            operator: Operand::default(),
            who: operand(Some(pin.as_str())),
            values: [value(0), value(1), value(2)],
        };
        self.context.store.journal().add_operation(&operation)?;
        Ok(())
    }

    /// The user, who must not be a guest: what is enrolled of a guest would never be uploaded.
    fn resident(&self, pin: &Pin) -> Result<User, CommandError> {
        let user = self.context.store.people().get(pin)?.ok_or_else(|| unknown_user(pin))?;
        if self.context.store.guests().get(pin)?.is_none() {
            return Ok(user);
        }
        let why = format!("{pin} is a guest; DATA UPDATE USERINFO makes a user of them");
        Err(Refusal::new(ReturnCode::UNKNOWN_PIN, why).into())
    }
}

fn not_enrolled(enroll: &Enroll, outcome: Outcome) -> Refusal {
    let pin = &enroll.pin;
    let why = match outcome {
        Outcome::Exists => {
            format!("user {pin} has such a template already, and OVERWRITE is 0; 1 replaces it")
        }
        Outcome::Failed => format!("user {pin} was not enrolled: the quality was too low"),
        Outcome::Duplicate => "another user is enrolled with it already".into(),
        Outcome::Cancelled => "the enrolment was cancelled at the terminal".into(),
        Outcome::Busy => "the sensor is busy; send the command again later".into(),
        Outcome::TimedOut => format!("user {pin} was not enrolled in time"),
    };
    Refusal::new(outcome.code(enroll.sought), why)
}
