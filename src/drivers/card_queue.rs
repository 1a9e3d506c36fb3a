//! What becomes of the cards that were read: a punch, a refusal on record, an enrolment. Pure:
//! time and answers are handed in, calls and answers are handed out.
//!
//! Cards wait here while the daemon is away, up to [`MOST_WAITING`] of them, each with the
//! moment at which it was read. One card is dealt with at a time, in their order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::link::Refused;
use crate::backoff::DoublingPause;
use crate::protocol::time::LocalTime;

/// Most cards that wait for the daemon.
pub const MOST_WAITING: usize = 100;
/// A card read longer ago than this is recorded with the moment of its reading. A fresh one
/// is not: the daemon's clock is the one that counts.
const LATE: Duration = Duration::from_secs(2);
/// The pause after the daemon's store failed.
const PAUSE: DoublingPause = DoublingPause::new(Duration::from_secs(2), Duration::from_secs(60));
/// An enrolment that not even the daemon ends (it never takes more than an hour): the next
/// person's card must not go to the one before.
const LONGEST_ENROLMENT: Duration = Duration::from_secs(3660);
/// "Card" in App. 7, "verification failed" in App. 3, "the store failed" in docs/drivers.md.
const BY_CARD: u64 = 4;
const FAILED: u64 = 2;
const STORAGE: i64 = -1001;

/// The cards, and what is done with them.
pub struct CardQueue {
    again: Duration,
    status: u8,
    waiting: VecDeque<Card>,
    /// The card that was seen last, and when.
    last: Option<(String, Instant)>,
    stage: Stage,
    /// Set after the store failed: when to try again, and the pause after that.
    rest: (Option<Instant>, DoublingPause),
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
    Whose,
    /// What time is it, by the daemon's clock?
    Time { pin: Option<String> },
    /// Recorded, for the PIN or as that of nobody.
    Record { pin: Option<String>, time: Option<LocalTime> },
}

struct Enrolment {
    id: Value,
    pin: String,
    tries: u64,
    until: Instant,
}

/// What is said of a card at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// It waits for its turn; so many do.
    Waits(usize),
    /// It is still held there.
    Repeated,
    /// There is no room: it is not recorded.
    NoRoom,
    /// It is a person's new card: the id of the request, and its answer.
    Enrolled(Value, Value),
}

impl CardQueue {
    /// `again` is how long the same card is one punch, `status` what punches say.
    pub fn new(again: Duration, status: u8) -> Self {
        Self {
            again,
            status,
            waiting: VecDeque::new(),
            last: None,
            stage: Stage::Whose,
            rest: (None, PAUSE),
            enrolment: None,
        }
    }

    /// How many more cards can wait.
    pub fn room(&self) -> usize {
        MOST_WAITING - self.waiting.len()
    }

    /// When something is due although nothing comes; `free` is whether a call can be made.
    pub fn due(&self, free: bool) -> Option<Instant> {
        let enrolment = self.enrolment.as_ref().map(|enrolment| enrolment.until);
        self.rest.0.filter(|_| free).into_iter().chain(enrolment).min()
    }

    /// The cards that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(|card| card.number.as_str())
    }

    /// A card was read.
    pub fn on_card(&mut self, number: String, now: Instant) -> Seen {
        let held = |(last, at): &(String, Instant)| {
            *last == number && now.saturating_duration_since(*at) < self.again
        };
        let held = self.last.as_ref().is_some_and(held);
        if held {
            self.last = Some((number, now));
            return Seen::Repeated;
        }
        if let Some(Enrolment { id, pin, .. }) = self.enrolment.take() {
            log::info!("card {number} is enrolled for {pin}");
            let answer = json!({"outcome": "done", "card": number});
            self.last = Some((number, now));
            return Seen::Enrolled(id, answer);
        }
        if self.room() == 0 {
            return Seen::NoRoom;
        }
        self.last = Some((number.clone(), now));
        self.waiting.push_back(Card { number, at: now });
        Seen::Waits(self.waiting.len())
    }

    /// Something was read that is no card. The answer to an enrolment that has no try left.
    pub fn on_read_error(&mut self) -> Option<(Value, Value)> {
        let enrolment = self.enrolment.as_mut()?;
        match enrolment.tries.checked_sub(1) {
            Some(left) => {
                enrolment.tries = left;
                None
            }
            None => self.end_enrolment("failed"),
        }
    }

    /// The daemon wants a card for somebody. What is answered at once, if anything.
    pub fn enroll(&mut self, id: Value, params: &Value, now: Instant) -> Option<(Value, Value)> {
        if self.enrolment.is_some() {
            return Some((id, json!({"outcome": "busy"})));
        }
        let pin = params["pin"].as_str().unwrap_or_default().chars().take(24).collect();
        log::info!("the next card is enrolled for {pin}");
        let tries = params["retry"].as_u64().unwrap_or(0);
        // It may well be the card that was read a moment ago, and belonged to nobody.
        self.last = None;
        self.enrolment = Some(Enrolment { id, pin, tries, until: now + LONGEST_ENROLMENT });
        None
    }

    /// The daemon gives an enrolment up. Its answer, if there is such a one.
    pub fn cancel(&mut self, params: &Value) -> Option<(Value, Value)> {
        let is_it = |enrolment: &Enrolment| params["id"] == enrolment.id;
        if self.enrolment.as_ref().is_some_and(is_it) {
            return self.end_enrolment("cancelled");
        }
        None
    }

    /// Ends an enrolment that nobody else ends. Its answer.
    pub fn look_after(&mut self, now: Instant) -> Option<(Value, Value)> {
        match &self.enrolment {
            Some(enrolment) if enrolment.until <= now => self.end_enrolment("timeout"),
            _ => None,
        }
    }

    fn end_enrolment(&mut self, outcome: &str) -> Option<(Value, Value)> {
        let Enrolment { id, pin, .. } = self.enrolment.take()?;
        log::info!("no card is enrolled for {pin}: {outcome}");
        Some((id, json!({"outcome": outcome})))
    }

    /// What to ask the daemon next, for the first card.
    pub fn call(&mut self, now: Instant) -> Option<(&'static str, Value)> {
        let card = self.waiting.front()?;
        if self.rest.0.is_some_and(|until| now < until) {
            return None;
        }
        self.rest.0 = None;
        Some(match &self.stage {
            Stage::Whose => ("user.get", json!({"card": card.number})),
            Stage::Time { .. } => ("status", json!({})),
            Stage::Record { pin, time } => {
                let (method, mut params) = match pin {
                    Some(pin) => {
                        ("punch", json!({"pin": pin, "verify": BY_CARD, "status": self.status}))
                    }
                    None => ("operation", json!({"op": FAILED})),
                };
                if let Some(time) = time {
                    params["time"] = time.to_string().into();
                }
                (method, params)
            }
        })
    }

    /// The daemon answered the last call.
    pub fn answered(&mut self, answer: Result<Value, Refused>, now: Instant) {
        let Some(card) = self.waiting.front() else { return };
        let number = &card.number;
        let answer = match answer {
            Ok(answer) => answer,
            Err(refused) if refused.code == STORAGE => {
                log::error!(
                    "card {number} is not recorded yet, tried again in {} s: {}",
                    self.rest.1.peek().as_secs(),
                    refused.message
                );
                self.rest.0 = Some(now + self.rest.1.advance());
                self.stage = Stage::Whose;
                return;
            }
            Err(refused) => {
                log::error!("card {number} is NOT recorded: {}", refused.message);
                // Who holds it there once more is not kept waiting.
                self.last = None;
                return self.next();
            }
        };
        let age = now.saturating_duration_since(card.at);
        self.stage = match std::mem::replace(&mut self.stage, Stage::Whose) {
            Stage::Whose => {
                let pin = answer["pin"].as_str().map(str::to_owned);
                match age > LATE {
                    true => Stage::Time { pin },
                    false => Stage::Record { pin, time: None },
                }
            }
            Stage::Time { pin } => {
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
                return self.next();
            }
            Stage::Record { pin: None, .. } => {
                log::warn!("card {number} belongs to nobody; recorded as a failed verification");
                return self.next();
            }
        };
    }

    /// The daemon is gone: the first card begins anew when it is back.
    pub fn lost(&mut self) {
        self.stage = Stage::Whose;
        self.rest.0 = None;
        if let Some(Enrolment { pin, .. }) = self.enrolment.take() {
            log::warn!("no card is enrolled for {pin}: punchd has gone");
        }
    }

    fn next(&mut self) {
        self.waiting.pop_front();
        self.stage = Stage::Whose;
        self.rest.1.reset();
    }
}

#[cfg(test)]
mod tests;
