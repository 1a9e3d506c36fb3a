//! What server and terminal agreed upon in the initial exchange (chapter 6, appendix 6), and the
//! stamps.

use std::collections::{HashMap, HashSet};

use crate::answer::Answer;
use crate::deviation::{Flaws, Kind};
use crate::exchange::Exchange;
use crate::http::Request;
use crate::sealing::Keys;
use crate::settings::Stamps;
use crate::stamp::Stamp;
use crate::state::State;
use crate::text::Charset;

/// The tables that have stamps, with the old names of three of them.
const STAMPED: [(&str, Option<&str>); 6] = [
    ("ATTLOG", Some("Stamp")),
    ("OPERLOG", Some("OpStamp")),
    ("ATTPHOTO", Some("PhotoStamp")),
    ("BIODATA", None),
    ("IDCARD", None),
    ("ERRORLOG", None),
];

/// The options of the handshake by default.
const OPTIONS: [(&str, &str); 11] = [
    ("ErrorDelay", "30"),
    ("Delay", "10"),
    ("TransTimes", "00:00;14:05"),
    ("TransInterval", "1"),
    (
        "TransFlag",
        "TransData AttLog\tOpLog\tAttPhoto\tEnrollUser\tChgUser\tEnrollFP\tChgFP\tFPImag\tFACE\tUserPic\tWORKCODE\tBioPhoto",
    ),
    ("TimeZone", "8"),
    ("Realtime", "1"),
    ("Encrypt", "None"),
    ("ServerVer", "2.4.1"),
    ("PushProtVer", "2.4.1"),
    ("PushOptionsFlag", "1"),
];

/// A protocol version: `2.4.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Vec<u32>);

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Version> {
        text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>().map(Version)
    }

    /// The version of a terminal that sends none.
    fn assumed() -> Version {
        Version(vec![2, 2, 14])
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}

/// What was agreed upon.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub charset: Charset,
    /// The lower version of both sides.
    pub version: Version,
    pub photo_in_base64: bool,
    pub max_post_size: Option<usize>,
    pub encrypted: bool,
    /// Attendance rows come in RC4.
    pub attlog_sealed: bool,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            charset: Charset::default(),
            version: Version::assumed(),
            photo_in_base64: false,
            max_post_size: None,
            encrypted: false,
            attlog_sealed: false,
        }
    }
}

/// One terminal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// The initial exchange succeeded.
    pub established: bool,
    pub terms: Terms,
    /// The stamps of each table.
    pub stamps: HashMap<String, Stamp>,
    /// The tables whose stamp went out as 0, or lower than it came: old rows may follow.
    pub again: HashSet<String>,
    pub presence: Presence,
    /// What requests are encrypted with.
    pub keys: Keys,
}

/// What a terminal was last seen to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    /// How many requests it made.
    pub requests: u64,
    /// When the last one came, in milliseconds since 1970.
    pub at_ms: u64,
    /// What that was for, as `On` names it.
    pub exchange: String,
    /// `INFO` of its last poll that had one.
    pub info: Option<String>,
}

impl Presence {
    pub(crate) fn take(&mut self, request: &Request, exchange: &Exchange, at_ms: u64) {
        self.requests += 1;
        self.at_ms = at_ms;
        self.exchange = exchange.to_string();
        if let Some(info) = request.parameter("INFO") {
            self.info = Some(info.to_owned());
        }
    }
}

impl Session {
    /// As if no row had come.
    pub(crate) fn forget_stamps(&mut self) {
        self.stamps.clear();
        self.again.clear();
    }

    /// Takes what the terminal said and what it was answered.
    fn agree(&mut self, request: &Request, reply: &str) {
        let options = options_in(reply);
        let theirs =
            request.parameter("pushver").and_then(Version::parse).unwrap_or_else(Version::assumed);
        let option = |name: &str| options.get(name).copied();
        let ours = option("pushprotver").and_then(Version::parse).unwrap_or_else(Version::assumed);
        let version = theirs.min(ours);
        let flag = option("encryptflag").unwrap_or("");
        let attlog_sealed =
            flag.starts_with('1') && Version::parse("2.3.0").is_some_and(|since| version >= since);
        self.established = true;
        // A handshake ends what keys were exchanged.
        self.keys = Keys::default();
        self.terms = Terms {
            charset: Charset::of_language(request.parameter("language")),
            version,
            photo_in_base64: option("attphotobase64") == Some("1"),
            max_post_size: option("maxpostsize").and_then(|text| text.parse().ok()),
            encrypted: option("encrypt") == Some("1"),
            attlog_sealed,
        };
        self.again = STAMPED
            .iter()
            .filter(|(table, old)| self.is_set_back(&options, table, *old))
            .map(|(table, _)| (*table).to_owned())
            .collect();
    }

    /// Whether a stamp goes out as 0, or lower than it came.
    fn is_set_back(&self, options: &HashMap<String, &str>, table: &str, old: Option<&str>) -> bool {
        let greatest = self.stamps.get(table).map_or(1, |stamp| stamp.greatest.max(1));
        let names = [Some(format!("{table}Stamp")), old.map(str::to_owned)];
        names
            .iter()
            .flatten()
            .filter_map(|name| options.get(&name.to_ascii_lowercase()))
            .any(|value| value.parse::<u64>().is_ok_and(|n| n < greatest))
    }
}

impl State {
    /// What is known of a terminal.
    pub(crate) fn session(&mut self, sn: &str) -> &mut Session {
        self.sessions.entry(sn.to_owned()).or_default()
    }

    /// Answers the initial exchange. `arrives`: the answer will reach the terminal whole.
    pub(crate) fn handshake(
        &mut self,
        request: &Request,
        sn: &str,
        arrives: bool,
        flaws: &mut Flaws,
    ) -> Answer {
        check(request, flaws);
        let body = match self.next_handshakes.pop_front() {
            Some(body) => body,
            None if self.settings.manners.ok_only => b"OK".to_vec(),
            None => self.options_for(sn).into_bytes(),
        };
        self.commands.know(&String::from_utf8_lossy(&body));
        let reply = String::from_utf8_lossy(&body).into_owned();
        if arrives && succeeds(&reply) {
            self.session(sn).agree(request, &reply);
            self.note(&format!("{sn} made the initial exchange"));
        }
        Answer::ok(body)
    }

    fn options_for(&mut self, sn: &str) -> String {
        let mut pairs = self.stamps_for(sn);
        pairs.extend(OPTIONS.map(|(key, value)| (key.to_owned(), value.to_owned())));
        for (key, value) in &self.options {
            match pairs.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
                Some(pair) => pair.1.clone_from(value),
                None => pairs.push((key.clone(), value.clone())),
            }
        }
        pairs.retain(|(key, _)| {
            !self.removed_options.iter().any(|removed| removed.eq_ignore_ascii_case(key))
        });
        let end = self.settings.manners.option_end.text();
        let mut lines = vec![format!("GET OPTION FROM: {sn}")];
        lines.extend(pairs.into_iter().map(|(key, value)| format!("{key}={value}")));
        if self.settings.manners.commands_in_handshake {
            lines.extend(self.commands.due(self.settings.commands_per_poll));
        }
        lines.join(end) + end
    }

    fn stamps_for(&self, sn: &str) -> Vec<(String, String)> {
        let manners = &self.settings.manners;
        let mut pairs = Vec::new();
        for (table, old) in STAMPED {
            let value = match manners.stamps {
                Stamps::None => "None".to_owned(),
                Stamps::Zero => "0".to_owned(),
                Stamps::Nines => "9999".to_owned(),
                Stamps::Unix => self.clock().to_string(),
                Stamps::Keep => self
                    .sessions
                    .get(sn)
                    .and_then(|session| session.stamps.get(table))
                    .map_or("0".to_owned(), |stamp| stamp.last.to_string()),
            };
            pairs.push((format!("{table}Stamp"), value.clone()));
            if let (true, Some(old)) = (manners.old_stamp_names, old) {
                pairs.push((old.to_owned(), value));
            }
        }
        pairs
    }
}

/// The options of a reply, their names in lower case.
fn options_in(reply: &str) -> HashMap<String, &str> {
    let pairs = reply.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim())).collect()
}

/// Whether a terminal may take this for a success: options, commands, or a bare `OK`.
fn succeeds(reply: &str) -> bool {
    let first = reply.trim_start().lines().next().unwrap_or("").to_ascii_uppercase();
    ["GET OPTION", "OK", "C:"].iter().any(|start| first.starts_with(start))
}

fn check(request: &Request, flaws: &mut Flaws) {
    let mut mind = |text: String| flaws.add(Kind::HandshakeParameter, text);
    if request.parameter("options") != Some("all") {
        mind(format!("options is {:?}, not all", request.parameter("options").unwrap_or("")));
    }
    if let Some(version) = request.parameter("pushver")
        && Version::parse(version).is_none_or(|version| version < Version::assumed())
    {
        mind(format!("pushver is {version:?}, not a version from 2.2.14 on"));
    }
    if let Some(language) = request.parameter("language")
        && (language.is_empty() || !language.bytes().all(|b| b.is_ascii_digit()))
    {
        mind(format!("language is {language:?}, not a number of appendix 2"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let v = |text: &str| Version::parse(text).unwrap();
        assert!(v("2.2.14") > v("2.2.9") && v("2.4.1") > v("2.4.0") && v("2.32") > v("2.4.1"));
        assert!(Version::parse("2.x").is_none() && Version::parse("").is_none());
    }

    #[test]
    fn what_a_terminal_takes_for_a_success() {
        for reply in ["GET OPTION FROM: X\nDelay=1", "get options from:X", " OK\r\n", "C:1:LOG"] {
            assert!(succeeds(reply), "{reply}");
        }
        for reply in ["", "UNKNOWN DEVICE", "<html>", "RETRY", "ERROR"] {
            assert!(!succeeds(reply), "{reply}");
        }
    }
}
