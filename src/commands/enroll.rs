//! `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO` (§12.9): a driver takes a person's finger, face or
//! card. That it was asked is written down first: an enrolment that was cut off says so and
//! is not begun again, since the person has left.

use super::door::unasked;
use super::{Executor, Step};
use crate::driver_requests::{Answer, DriverRequest};
use crate::protocol::codes::{ReturnCode, operation};
use crate::protocol::enroll::{Enroll, Outcome, Sought};
use crate::protocol::fields::Refusal;
use crate::protocol::record::{Operand, Pin, Template, User};
use crate::store::{Job, NewOperation, Origin, Stage, StoreError};

/// Why an enrolment did not come to its end.
enum Stop {
    Refused(Refusal),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Executor<'_> {
    /// Takes an enrolment one step on.
    ///
    /// # Errors
    /// If the store fails; the step is taken again.
    pub fn enroll(&mut self, job: &Job, enroll: &Enroll) -> Result<Step, StoreError> {
        let done = match self.device.answered(job.row) {
            Some(answer) => self.take(job, enroll, answer),
            None if self.device.is_running(job.row) => Ok(Step::GoesOn),
            None if job.stage == Stage::HandedOver => {
                let why = "it was cut off and is not begun again";
                Err(Refusal::new(ReturnCode::TIMED_OUT, why).into())
            }
            None => self.ask_for(job, enroll),
        };
        match done {
            Ok(step) => Ok(step),
            Err(Stop::Store(StoreError::NoRoom(message))) => {
                log::error!("command {} failed: {message}", job.id);
                Ok(Step::Ended(ReturnCode::CAPACITY, Vec::new()))
            }
            Err(Stop::Store(error)) => Err(error),
            Err(Stop::Refused(refusal)) => {
                log::warn!("command {} failed with {}: {}", job.id, refusal.code, refusal.why);
                Ok(Step::Ended(refusal.code, Vec::new()))
            }
        }
    }

    /// Asks the driver, if there is something to ask.
    fn ask_for(&mut self, job: &Job, enroll: &Enroll) -> Result<Step, Stop> {
        let name = self.resident(&enroll.pin)?.name;
        if let Some(bio_type) = enroll.sought.bio_type()
            && !enroll.overwrite
            && self.store.biometrics().has_template(
                &enroll.pin,
                bio_type,
                enroll.sought.number(),
            )?
        {
            return Err(not_enrolled(enroll, Outcome::Exists).into());
        }
        self.store.jobs().set_stage(job, Stage::HandedOver)?;
        let request = DriverRequest::Enroll { enroll: enroll.clone(), name };
        self.device.ask(job.row, request).map_err(unasked)?;
        Ok(Step::GoesOn)
    }

    /// Stores what was enrolled, and the answer, in one transaction.
    fn take(&self, job: &Job, enroll: &Enroll, answer: Answer) -> Result<Step, Stop> {
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
            Answer::Done => Refusal::new(ReturnCode::STORAGE, "the driver enrolled nothing"),
        };
        Err(refusal.into())
    }

    fn finish(&self, job: &Job, store: impl FnOnce() -> Result<(), Stop>) -> Result<Step, Stop> {
        self.store.atomically(|| {
            store()?;
            self.store.jobs().finish(job.row, ReturnCode::DONE, &[]).map_err(Stop::Store)
        })?;
        log::info!("command {} enrolled somebody", job.id);
        Ok(Step::Stored)
    }

    /// The new templates take the place of all that was there of the same finger or face.
    fn take_templates(&self, enroll: &Enroll, templates: &[Template]) -> Result<(), Stop> {
        self.resident(&enroll.pin)?;
        let place = |template: &Template| (template.slot.kind().bio_type(), template.slot.number());
        for template in templates {
            let (bio_type, number) = place(template);
            self.store.biometrics().delete_individual(&enroll.pin, bio_type, number)?;
        }
        for template in templates {
            self.store.biometrics().put_template(template, Origin::Terminal)?;
        }
        let Sought::Finger(number) = enroll.sought else {
            return self.note(operation::USER_ENROLLED, &enroll.pin, &[]);
        };
        let length: usize = templates.iter().map(|template| template.data.as_bytes().len()).sum();
        let values = [number.to_string(), length.to_string()];
        self.note(operation::FINGERPRINT_ENROLLED, &enroll.pin, &values)
    }

    fn take_card(&self, enroll: &Enroll, card: String) -> Result<(), Stop> {
        let user = self.resident(&enroll.pin)?;
        if let Some(other) = self.store.people().by_card(&card)?
            && other.pin != enroll.pin
        {
            let why = format!("the card is {}'s", other.pin);
            let code = Outcome::Duplicate.code(enroll.sought);
            return Err(Refusal::new(code, why).into());
        }
        self.store.people().put(&User { card, ..user }, Origin::Terminal)?;
        self.note(operation::CARD_ENROLLED, &enroll.pin, &[])
    }

    /// Writes the operation log (App. 3, App. 4).
    fn note(&self, code: u16, pin: &Pin, values: &[String]) -> Result<(), Stop> {
        // What is clean by its type stays so.
        let operand = |text: Option<&str>| {
            Operand::new("operand", text.unwrap_or_default()).unwrap_or_default()
        };
        let value = |nth: usize| operand(values.get(nth).map(String::as_str));
        let operation = NewOperation {
            code,
            moment: self.moment.clone(),
            operator: Operand::default(),
            who: operand(Some(pin.as_str())),
            values: [value(0), value(1), value(2)],
        };
        self.store.journal().add_operation(&operation)?;
        Ok(())
    }

    /// The person, who is to be on the terminal for good: what is enrolled of a guest would
    /// never go up.
    fn resident(&self, pin: &Pin) -> Result<User, Stop> {
        let user = self.store.people().get(pin)?;
        match (user, self.store.guests().get(pin)?) {
            (Some(user), None) => Ok(user),
            (Some(_), Some(_)) => {
                Err(Refusal::new(ReturnCode::UNKNOWN_PIN, format!("{pin} is a guest")).into())
            }
            (None, _) => {
                let why = format!("there is no user {pin}");
                Err(Refusal::new(ReturnCode::UNKNOWN_PIN, why).into())
            }
        }
    }
}

fn not_enrolled(enroll: &Enroll, outcome: Outcome) -> Refusal {
    let pin = &enroll.pin;
    let why = match outcome {
        Outcome::Exists => format!("{pin} has it already, and OVERWRITE is 0"),
        Outcome::Failed => format!("{pin} could not be enrolled, the quality was bad"),
        Outcome::Duplicate => "somebody else has it already".into(),
        Outcome::Cancelled => "it was cancelled at the terminal".into(),
        Outcome::Busy => "the sensor is occupied".into(),
        Outcome::TimedOut => format!("{pin} was not enrolled in time"),
    };
    Refusal::new(outcome.code(enroll.sought), why)
}
