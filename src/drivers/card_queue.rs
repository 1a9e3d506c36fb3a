//! What becomes of the cards that were read: a punch, a failed verification, an enrolment. Pure:
//! time and answers are handed in, calls and answers are handed out.
//!
//! Cards wait here while punchd cannot be reached, up to [`MOST_WAITING`] of them, each with the
//! moment at which it was read. One card is dealt with at a time, in their order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backoff::DoublingPause;
use crate::protocol::time::LocalTime;
use crate::rpc::{ErrorCode, Method, Params, RpcError};

/// Most cards that wait for punchd.
pub(super) const MOST_WAITING: usize = 100;
/// A card read longer ago than this is recorded with the moment of its reading. A fresh one
/// is not: punchd's clock is the one that counts.
const LATE: Duration = Duration::from_secs(2);
/// The pause after punchd's store failed.
const PAUSE: DoublingPause = DoublingPause::new(Duration::from_secs(2), Duration::from_secs(60));
/// The end of an enrolment that punchd does not end (its own limit is an hour at most): the card
/// of the next person must not be enrolled for the one before.
const LONGEST_ENROLMENT: Duration = Duration::from_secs(3660);
/// Verification by card (App. 7).
const BY_CARD: u64 = 4;
/// The operation "verification failed" (App. 3).
const VERIFICATION_FAILED: u64 = 2;

/// The cards, and what is done with them.
pub(super) struct CardQueue {
    repeat_time: Duration,
    status: u8,
    waiting: VecDeque<Card>,
    /// The card that was seen last, and when.
    last: Option<(String, Instant)>,
    stage: Stage,
    /// When to try again after the store failed, and the pause after that.
    retry: (Option<Instant>, DoublingPause),
    enrolment: Option<Enrolment>,
}

struct Card {
    number: String,
    at: Instant,
}

/// How far the first card is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Whose is it?
    FindOwner,
    /// What time is it, by punchd's clock?
    AskTime { pin: Option<String> },
    /// Recorded, for the PIN or as a card of nobody.
    Record { pin: Option<String>, time: Option<LocalTime> },
}

struct Enrolment {
    id: Value,
    pin: String,
    tries: u64,
    until: Instant,
}

/// What becomes of a card when it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CardRead {
    /// It waits; so many do.
    Queued(usize),
    /// It was not taken away since it was last read.
    Repeated,
    /// There is no room: it is not recorded.
    QueueFull,
    /// It is a person's new card: the answer to the request.
    Enrolled(Answer),
}

/// The answer to a request of punchd's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: Value,
    pub(super) result: Value,
}

impl CardQueue {
    /// The same card within `repeat_time` is one punch; `status` is the attendance status of punches.
    pub(super) fn new(repeat_time: Duration, status: u8) -> Self {
        Self {
            repeat_time,
            status,
            waiting: VecDeque::new(),
            last: None,
            stage: Stage::FindOwner,
            retry: (None, PAUSE),
            enrolment: None,
        }
    }

    /// How many more cards can wait.
    pub(super) fn room(&self) -> usize {
        MOST_WAITING - self.waiting.len()
    }

    /// When something is due although nothing comes; `is_free` is whether a call can be made.
    pub(super) fn deadline(&self, is_free: bool) -> Option<Instant> {
        let enrolment = self.enrolment.as_ref().map(|enrolment| enrolment.until);
        self.retry.0.filter(|_| is_free).into_iter().chain(enrolment).min()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(|card| card.number.as_str())
    }

    pub(super) fn on_card(&mut self, number: String, now: Instant) -> CardRead {
        let held = |(last, at): &(String, Instant)| {
            *last == number && now.saturating_duration_since(*at) < self.repeat_time
        };
        let held = self.last.as_ref().is_some_and(held);
        if held {
            self.last = Some((number, now));
            return CardRead::Repeated;
        }
        if let Some(Enrolment { id, pin, .. }) = self.enrolment.take() {
            log::info!("card {number} is enrolled for {pin}");
            let result = json!({"outcome": "done", "card": number});
            self.last = Some((number, now));
            return CardRead::Enrolled(Answer { id, result });
        }
        if self.room() == 0 {
            return CardRead::QueueFull;
        }
        self.last = Some((number.clone(), now));
        self.waiting.push_back(Card { number, at: now });
        CardRead::Queued(self.waiting.len())
    }

    /// Something was read that is no card. The answer to an enrolment that has no try left.
    pub(super) fn on_read_error(&mut self) -> Option<Answer> {
        let enrolment = self.enrolment.as_mut()?;
        match enrolment.tries.checked_sub(1) {
            Some(left) => {
                enrolment.tries = left;
                None
            }
            None => self.end_enrolment("failed"),
        }
    }

    /// The next card is to be enrolled for somebody. The answer at once, if that cannot be.
    pub(super) fn enroll(&mut self, id: Value, params: &Params, now: Instant) -> Option<Answer> {
        if self.enrolment.is_some() {
            return Some(Answer { id, result: json!({"outcome": "busy"}) });
        }
        let pin = params.get("pin").as_str().unwrap_or_default().chars().take(24).collect();
        log::info!("the next card is enrolled for {pin}");
        let tries = params.get("retry").as_u64().unwrap_or(0);
        // It may be the card that was read a moment ago, and belonged to nobody.
        self.last = None;
        self.enrolment = Some(Enrolment { id, pin, tries, until: now + LONGEST_ENROLMENT });
        None
    }

    /// An enrolment is given up. Its answer, if it is under way.
    pub(super) fn cancel(&mut self, params: &Params) -> Option<Answer> {
        let is_it = |enrolment: &Enrolment| *params.get("id") == enrolment.id;
        if self.enrolment.as_ref().is_some_and(is_it) {
            return self.end_enrolment("cancelled");
        }
        None
    }

    /// Ends an enrolment whose time is over. Its answer.
    pub(super) fn check_timeout(&mut self, now: Instant) -> Option<Answer> {
        match &self.enrolment {
            Some(enrolment) if enrolment.until <= now => self.end_enrolment("timeout"),
            _ => None,
        }
    }

    fn end_enrolment(&mut self, outcome: &str) -> Option<Answer> {
        let Enrolment { id, pin, .. } = self.enrolment.take()?;
        log::info!("no card is enrolled for {pin}: {outcome}");
        Some(Answer { id, result: json!({"outcome": outcome}) })
    }

    /// The next call, for the first card.
    pub(super) fn next_call(&mut self, now: Instant) -> Option<(Method, Value)> {
        let card = self.waiting.front()?;
        if self.retry.0.is_some_and(|until| now < until) {
            return None;
        }
        self.retry.0 = None;
        Some(match &self.stage {
            Stage::FindOwner => (Method::UserGet, json!({"card": card.number})),
            Stage::AskTime { .. } => (Method::Status, json!({})),
            Stage::Record { pin, time } => {
                let (method, mut params) = match pin {
                    Some(pin) => (
                        Method::Punch,
                        json!({"pin": pin, "verify": BY_CARD, "status": self.status}),
                    ),
                    None => (Method::Operation, json!({"op": VERIFICATION_FAILED})),
                };
                if let Some(time) = time {
                    params["time"] = time.to_string().into();
                }
                (method, params)
            }
        })
    }

    /// The last call was answered.
    pub(super) fn on_answer(&mut self, answer: Result<Value, RpcError>, now: Instant) {
        let Some(card) = self.waiting.front() else { return };
        let number = &card.number;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.code == ErrorCode::Capacity => {
                log::error!(
                    "card {number} is not recorded yet, tried again in {} s: {}",
                    self.retry.1.peek().as_secs(),
                    error.message
                );
                self.retry.0 = Some(now + self.retry.1.advance());
                self.stage = Stage::FindOwner;
                return;
            }
            Err(error) => {
                log::error!("card {number} is NOT recorded: {error}");
                // The person may try again at once.
                self.last = None;
                return self.finish_first();
            }
        };
        let age = now.saturating_duration_since(card.at);
        self.stage = match std::mem::replace(&mut self.stage, Stage::FindOwner) {
            Stage::FindOwner => {
                let pin = answer["pin"].as_str().map(str::to_owned);
                match age > LATE {
                    true => Stage::AskTime { pin },
                    false => Stage::Record { pin, time: None },
                }
            }
            Stage::AskTime { pin } => {
                let time = answer["time"].as_str().and_then(LocalTime::parse).and_then(|time| {
                    LocalTime::from_seconds(time.seconds().checked_sub_unsigned(age.as_secs())?)
                });
                if time.is_none() {
                    log::warn!(
                        "card {number} was read {} s ago and is recorded as of now: the \
                         terminal's clock is not set",
                        age.as_secs()
                    );
                }
                Stage::Record { pin, time }
            }
            Stage::Record { pin: Some(pin), .. } => {
                log::info!("{pin} by card: recorded as number {}", answer["seq"]);
                return self.finish_first();
            }
            Stage::Record { pin: None, .. } => {
                log::warn!("card {number} belongs to nobody; recorded as a failed verification");
                return self.finish_first();
            }
        };
    }

    /// The connection broke: the first card is dealt with from the start when it is back.
    pub(super) fn on_disconnect(&mut self) {
        self.stage = Stage::FindOwner;
        self.retry.0 = None;
        if let Some(Enrolment { pin, .. }) = self.enrolment.take() {
            log::warn!("no card is enrolled for {pin}: the connection to punchd broke");
        }
    }

    fn finish_first(&mut self) {
        self.waiting.pop_front();
        self.stage = Stage::FindOwner;
        self.retry.1.reset();
    }
}

#[cfg(test)]
mod tests;
