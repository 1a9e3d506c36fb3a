//! Fault injection: which fault, for which requests, how often.
//!
//! A fault waits until a request matches it. Some act before the request is read, some replace
//! the answer, some damage the normal answer, and some serve the request but lose the answer.
//! In JSON (`POST /faults`):
//! `{"on":"upload:ATTLOG","times":2,"act":"stall","ms":500}`.

use serde::{Deserialize, Serialize};

use crate::act::Act;

/// Which requests a fault is for: `any`, `handshake`, `poll`, `upload`, `upload:ATTLOG`, `reply`,
/// `remote`, `verify`, `keys`, `file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct On(String);

const KINDS: [&str; 9] =
    ["any", "handshake", "poll", "upload", "reply", "remote", "verify", "keys", "file"];

impl On {
    /// Every request.
    pub fn any() -> On {
        On("any".into())
    }

    /// The initial exchange.
    pub fn handshake() -> On {
        On("handshake".into())
    }

    /// Polls.
    pub fn poll() -> On {
        On("poll".into())
    }

    /// Replies to commands.
    pub fn reply() -> On {
        On("reply".into())
    }

    /// Uploads of any table.
    pub fn upload() -> On {
        On("upload".into())
    }

    /// Uploads of one table.
    pub fn table(table: &str) -> On {
        On(format!("upload:{table}"))
    }

    /// Users fetched at the keypad.
    pub fn remote() -> On {
        On("remote".into())
    }

    /// Background verifications.
    pub fn verify() -> On {
        On("verify".into())
    }

    /// The exchange of keys.
    pub fn keys() -> On {
        On("keys".into())
    }

    /// Files fetched.
    pub fn file() -> On {
        On("file".into())
    }

    fn matches(&self, exchange: &str) -> bool {
        self.0 == "any"
            || self.0 == exchange
            || exchange.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.starts_with(':'))
    }
}

impl TryFrom<String> for On {
    type Error = String;

    fn try_from(name: String) -> Result<On, String> {
        if KINDS.contains(&name.as_str()) || name.starts_with("upload:") {
            return Ok(On(name));
        }
        Err(format!("{name:?} is none of {KINDS:?}"))
    }
}

impl From<On> for String {
    fn from(on: On) -> String {
        on.0
    }
}

/// A fault, armed for the next requests that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which requests.
    pub on: On,
    /// How many of them.
    #[serde(default = "once")]
    pub times: u32,
    /// Only those whose body holds this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containing: Option<String>,
    /// What happens.
    #[serde(flatten)]
    pub act: Act,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// Armed for one request.
    pub fn new(on: On, act: Act) -> Fault {
        Fault { on, times: 1, containing: None, act }
    }

    /// Armed for so many.
    pub fn times(self, times: u32) -> Fault {
        Fault { times, ..self }
    }

    /// Armed until the faults are cleared.
    pub fn always(self) -> Fault {
        self.times(u32::MAX)
    }

    /// Only for requests whose body holds this text: a row the server refuses.
    pub fn containing(self, text: &str) -> Fault {
        Fault { containing: Some(text.to_owned()), ..self }
    }
}

/// A standing mode: a share of the requests meets some trouble, drawn from a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weather {
    /// Of a hundred requests, so many.
    pub percent: u8,
    /// Where the draw begins.
    pub seed: u64,
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Fault>,
    weather: Option<Weather>,
}

impl Faults {
    pub(crate) fn arm(&mut self, fault: Fault) {
        self.armed.push(fault);
    }

    pub(crate) fn weather(&mut self, weather: Option<Weather>) {
        self.weather = weather;
    }

    pub(crate) fn clear(&mut self) {
        *self = Faults::default();
    }

    pub(crate) fn armed(&self) -> &[Fault] {
        &self.armed
    }

    /// The random faults, with the seed of the next draw.
    pub(crate) fn standing(&self) -> Option<Weather> {
        self.weather
    }

    /// The fault for a connection nothing was read from yet.
    pub(crate) fn at_accept(&mut self) -> Option<Act> {
        self.take(|fault| {
            fault.on.0 == "any" && fault.containing.is_none() && fault.act.before_reading()
        })
    }

    /// The fault for a request of which only the header was read.
    pub(crate) fn at_head(&mut self, exchange: &str) -> Option<Act> {
        self.take(|fault| {
            fault.on.matches(exchange) && fault.containing.is_none() && fault.act.before_reading()
        })
    }

    /// The fault for a request that was read.
    pub(crate) fn at_request(&mut self, exchange: &str, body: &[u8]) -> Option<Act> {
        let holds = |text: &Option<String>| {
            text.as_ref().is_none_or(|text| {
                body.windows(text.len().max(1)).any(|part| part == text.as_bytes())
            })
        };
        self.take(|fault| fault.on.matches(exchange) && holds(&fault.containing))
            .or_else(|| self.weather.as_mut().and_then(Weather::draw))
    }

    fn take(&mut self, matches: impl Fn(&Fault) -> bool) -> Option<Act> {
        let at = self.armed.iter().position(|fault| fault.times > 0 && matches(fault))?;
        let fault = &mut self.armed[at];
        let act = fault.act.clone();
        if fault.times != u32::MAX {
            fault.times -= 1;
        }
        if fault.times == 0 {
            self.armed.remove(at);
        }
        Some(act)
    }
}

impl Weather {
    /// The trouble of the next request, if it meets any. The seed moves on.
    fn draw(&mut self) -> Option<Act> {
        if self.roll(100) >= u64::from(self.percent) {
            return None;
        }
        Some(match self.roll(14) {
            0 => Act::Drop,
            1 => Act::ResetRead,
            2 => Act::Stall { ms: Some(300) },
            3 => Act::Delay { ms: 100 },
            4 => Act::status(500, "Internal Server Error"),
            5 => Act::html(),
            6 => Act::empty(),
            7 => Act::HalfBody,
            8 => Act::ResetBody,
            9 => Act::LoseAck { reset: false },
            10 => Act::LoseAck { reset: true },
            11 => Act::Chunked,
            12 => Act::NoLength,
            _ => Act::NoCount,
        })
    }

    /// A number below `limit` (splitmix64).
    fn roll(&mut self, limit: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_used_up() {
        let mut faults = Faults::default();
        faults.arm(Fault::new(On::table("ATTLOG"), Act::HalfBody).times(2));
        assert_eq!(faults.at_request("upload:OPERLOG", b""), None);
        assert_eq!(faults.at_request("upload:ATTLOG", b""), Some(Act::HalfBody));
        assert_eq!(faults.at_request("upload:ATTLOG", b""), Some(Act::HalfBody));
        assert_eq!(faults.at_request("upload:ATTLOG", b""), None);
    }

    #[test]
    fn a_row_the_server_refuses() {
        let mut faults = Faults::default();
        faults.arm(Fault::new(On::upload(), Act::status(400, "no")).containing("4711\t").always());
        assert_eq!(faults.at_request("upload:ATTLOG", b"1\t2\n"), None);
        for _ in 0..3 {
            assert!(faults.at_request("upload:ATTLOG", b"1\t2\n4711\t2\n").is_some());
        }
    }

    #[test]
    fn the_same_seed_is_the_same_weather() {
        let drawn = |seed| {
            let mut weather = Weather { percent: 30, seed };
            (0..100).map(|_| weather.draw()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn json() {
        let fault: Fault =
            serde_json::from_str(r#"{"on":"upload:ATTLOG","times":2,"act":"stall","ms":500}"#)
                .unwrap();
        assert_eq!(fault, Fault::new(On::table("ATTLOG"), Act::Stall { ms: Some(500) }).times(2));
        let fault: Fault = serde_json::from_str(r#"{"on":"poll","act":"half-body"}"#).unwrap();
        assert_eq!(fault, Fault::new(On::poll(), Act::HalfBody));
        assert!(serde_json::from_str::<Fault>(r#"{"on":"pol","act":"half-body"}"#).is_err());
    }
}
