//! The handshake reply: the options a server sets (§6).

use std::collections::BTreeMap;

use super::ack;
use super::transflag::TransFlag;
use super::version::Version;

/// What a server asked for. What it did not name has the value that field servers mean
/// when they say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Seconds until the next try after a failure.
    pub error_delay: u32,
    /// Seconds between polls for commands.
    pub delay: u32,
    /// Minutes of the day at which new data goes up, unless in real time.
    pub trans_times: Vec<u16>,
    /// Minutes between looks for new data, unless in real time; 0 is never.
    pub trans_interval: u32,
    /// Which kinds of data go up by themselves.
    pub trans_flag: TransFlag,
    /// Offset of the terminal's zone from UTC in seconds, if the server gave one.
    pub time_zone: Given<i32>,
    /// Whether new data goes up at once.
    pub realtime: bool,
    /// Whether the server asks for encryption.
    pub encrypt: bool,
    /// The digits of `EncryptFlag`.
    pub encrypt_flag: String,
    /// The protocol version that the server was made for (App. 6).
    pub push_version: Version,
    /// Configuration values that the server wants to be told.
    pub push_options: Vec<String>,
    /// Whether attendance photos travel as base64.
    pub photos_base64: bool,
    /// Most bytes in the body of a POST.
    pub max_post_size: Option<u32>,
    /// Everything else, stamps included; keys in lower case.
    pub others: BTreeMap<String, String>,
    /// What could not be understood, for the log.
    pub warnings: Vec<String>,
}

/// A value that a server may leave out, or give in a form that nobody understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<T> {
    /// Not named.
    Absent,
    /// Named, but not understood.
    Nonsense,
    /// Named and understood.
    Value(T),
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            error_delay: 60,
            delay: 30,
            trans_times: Vec::new(),
            trans_interval: 1,
            trans_flag: TransFlag::ALL,
            time_zone: Given::Absent,
            realtime: true,
            encrypt: false,
            encrypt_flag: String::new(),
            push_version: Version::OLDEST,
            push_options: Vec::new(),
            photos_base64: false,
            max_post_size: None,
            others: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

/// What a handshake reply turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The options.
    Options(Box<ServerOptions>),
    /// A bare `OK`, or commands in place of options: the defaults hold for now.
    Bare,
    /// No handshake; the reason in plain language.
    Refused(String),
}

/// Seconds a server may ask for between two contacts.
const DELAYS: std::ops::RangeInclusive<u32> = 1..=86_400;
/// Most unknown options kept of one reply.
const MOST_OTHERS: usize = 200;

/// Reads the lines of a reply with status 200; lines that are commands are left out. What
/// the reply does not name stays as it is in `base`.
pub fn read_handshake(lines: &[String], base: &ServerOptions) -> Handshake {
    let Some(first) = lines.first().map(|line| line.trim()) else {
        return Handshake::Refused(ack::refusal(200, b""));
    };
    let refused = || Handshake::Refused(ack::refusal(200, first.as_bytes()));
    if lines.iter().any(|line| line.trim().eq_ignore_ascii_case("RETRY")) {
        return Handshake::Refused("the server asks to try again later (RETRY)".into());
    }
    if first.eq_ignore_ascii_case("OK") {
        return Handshake::Bare;
    }
    if !first.to_ascii_uppercase().starts_with("GET OPTION") {
        return refused();
    }
    let mut options = base.clone();
    // The document's own example wraps the value of TransFlag after its first word.
    let mut is_wrapped = false;
    for line in &lines[1..] {
        match line.split_once('=') {
            Some((name, value)) => {
                let (key, value) = (name.trim().to_ascii_lowercase(), value.trim());
                options.set(&key, value);
                is_wrapped = key == "transflag" && value.eq_ignore_ascii_case("TransData");
            }
            None if is_wrapped => {
                options.set("transflag", &format!("TransData {}", line.trim()));
                is_wrapped = false;
            }
            None => {}
        }
    }
    Handshake::Options(Box::new(options))
}

impl ServerOptions {
    /// Whether an option that the server sets by command (`SET OPTION`) holds for the session
    /// too; its name in lower case.
    pub fn is_settable(key: &str) -> bool {
        [
            "errordelay",
            "delay",
            "transtimes",
            "transinterval",
            "transflag",
            "realtime",
            "attphotobase64",
            "maxpostsize",
            "postselfdefinedatatype",
        ]
        .contains(&key)
    }

    /// Sets one option by its name in lower case. A value that makes no sense changes
    /// nothing and leaves a warning.
    pub fn set(&mut self, key: &str, value: &str) {
        let understood = match key {
            "errordelay" => clamp(value).map(|seconds| self.error_delay = seconds),
            "delay" => clamp(value).map(|seconds| self.delay = seconds),
            "transtimes" => times(value).map(|times| self.trans_times = times),
            "transinterval" => {
                value.parse().ok().map(|minutes: u32| self.trans_interval = minutes.min(1440))
            }
            "transflag" => TransFlag::parse(value).map(|flag| self.trans_flag = flag),
            "timezone" => {
                self.time_zone = parse_zone(value).map_or(Given::Nonsense, Given::Value);
                (self.time_zone != Given::Nonsense).then_some(())
            }
            "realtime" => switch(value).map(|on| self.realtime = on),
            "encrypt" => switch(value).map(|on| self.encrypt = on),
            "encryptflag" => {
                self.encrypt_flag = value.chars().take(32).collect();
                Some(())
            }
            "pushprotver" => Version::parse(value).map(|version| self.push_version = version),
            "pushoptions" => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                self.push_options = names.take(MOST_OTHERS).map(str::to_owned).collect();
                Some(())
            }
            "attphotobase64" => switch(value).map(|on| self.photos_base64 = on),
            "maxpostsize" => value
                .parse()
                .ok()
                .map(|bytes: u32| self.max_post_size = (bytes > 0).then_some(bytes)),
            _ => {
                if self.others.len() < MOST_OTHERS || self.others.contains_key(key) {
                    self.others.insert(key.to_owned(), value.to_owned());
                }
                Some(())
            }
        };
        if understood.is_none() && !value.is_empty() {
            self.warnings.push(format!("{key}={value:?} makes no sense and was passed over"));
        }
    }

    /// The stamp that the server sent under one of these names, if any.
    pub fn stamp(&self, names: [&str; 2]) -> Option<&str> {
        names.iter().find_map(|name| self.others.get(*name)).map(String::as_str)
    }
}

fn clamp(value: &str) -> Option<u32> {
    let seconds: f64 = value.parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
    Some((seconds as u32).clamp(*DELAYS.start(), *DELAYS.end()))
}

/// `None` is what servers written in Python say for "no".
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" | "none" => Some(false),
        _ => None,
    }
}

/// `hh:mm` up to ten times, apart by semicolons.
fn times(value: &str) -> Option<Vec<u16>> {
    let minutes = |time: &str| {
        let (hours, minutes) = time.trim().split_once(':')?;
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    value.split(';').filter(|time| !time.trim().is_empty()).take(10).map(minutes).collect()
}

/// An offset from UTC in seconds: hours from −12 to 14 (also fractions), minutes beyond ±60,
/// or `+08:00`. `None` for anything else.
pub fn parse_zone(value: &str) -> Option<i32> {
    if let Some((hours, minutes)) = value.split_once(':') {
        let sign = if hours.starts_with('-') { -1 } else { 1 };
        let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok()?;
        let minutes: i32 = minutes.parse().ok()?;
        let fits = (0..=14).contains(&hours) && (0..60).contains(&minutes);
        return fits.then_some(sign * (hours * 3600 + minutes * 60));
    }
    let number: f64 = value.parse().ok().filter(|number: &f64| number.is_finite())?;
    let minutes = if (-12.0..=14.0).contains(&number) {
        number * 60.0
    } else if number.abs() > 60.0 && (-720.0..=840.0).contains(&number) {
        number
    } else {
        return None;
    };
    // Zones are whole, half or quarter hours; anything else is not a zone.
    (minutes % 15.0 == 0.0).then_some(minutes as i32 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Handshake {
        let lines: Vec<String> = body.lines().map(str::to_owned).collect();
        read_handshake(&lines, &ServerOptions::default())
    }

    fn options(body: &str) -> ServerOptions {
        match read(body) {
            Handshake::Options(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documents_own_example_is_read_with_its_wrapped_line() {
        let options = options(
            "GET OPTION FROM: MADE01\nATTLOGStamp=None\nOPERLOGStamp=9999\nATTPHOTOStamp=None\n\
             ErrorDelay=30\nDelay=10\nTransTimes=00:00;14:05\nTransInterval=1\nTransFlag=TransData\n\
             AttLog OpLog AttPhoto EnrollUser ChgUser EnrollFP ChgFP UserPic\nTimeZone=8\nRealtime=1\nEncrypt=None",
        );
        use crate::protocol::transflag::Kind;
        assert_eq!((options.error_delay, options.delay, options.trans_interval), (30, 10, 1));
        assert_eq!(options.trans_times, [0, 14 * 60 + 5]);
        assert!(
            options.trans_flag.allows(Kind::UserPic) && !options.trans_flag.allows(Kind::BioPhoto)
        );
        assert_eq!(options.time_zone, Given::Value(8 * 3600));
        assert_eq!(options.push_version, Version::OLDEST);
        assert!(options.realtime && !options.encrypt);
        assert_eq!(options.stamp(["operlogstamp", "opstamp"]), Some("9999"));
        assert_eq!(options.warnings, Vec::<String>::new());
    }

    #[test]
    fn every_option_of_the_document_is_read() {
        let options = options(
            "get options from MADE01\r\nStamp=5\nOpStamp=6\nPhotoStamp=7\nENCRYPT=1\nEncryptFlag=1000000000\n\
             PushProtVer=2.4.1\nServerVer=2.4.1 2020\nPushOptionsFlag=1\nPushOptions=FingerFunOn, FaceFunOn\n\
             ATTPHOTOBase64=1\nMaxPostSize=1048576\nSupportPing=1\nEmpty=\nRealtime=0\nOK",
        );
        assert_eq!(options.stamp(["attlogstamp", "stamp"]), Some("5"));
        assert!(options.encrypt && options.photos_base64 && !options.realtime);
        assert_eq!(options.encrypt_flag, "1000000000");
        assert_eq!(options.push_version, Version(2, 4, 1));
        assert_eq!(options.push_options, ["FingerFunOn", "FaceFunOn"]);
        assert_eq!(options.max_post_size, Some(1_048_576));
        assert_eq!(options.others["supportping"], "1");
    }

    #[test]
    fn a_final_ok_is_no_part_of_the_options() {
        for flag in ["1111111111", "TransData AttLog\tOpLog"] {
            let options = options(&format!("GET OPTION FROM: MADE01\nTransFlag={flag}\nOK"));
            assert!(options.trans_flag.allows(crate::protocol::transflag::Kind::AttLog), "{flag}");
        }
    }

    #[test]
    fn zones_are_read_in_every_form_of_the_field() {
        for (value, seconds) in [
            ("8", 28_800),
            ("-11", -39_600),
            ("14", 50_400),
            ("5.5", 19_800),
            ("330", 19_800),
            ("-570", -34_200),
            ("345", 20_700),
            ("+08:00", 28_800),
            ("-03:30", -12_600),
            ("0", 0),
        ] {
            assert_eq!(parse_zone(value), Some(seconds), "{value}");
        }
        for value in ["", "15", "-13", "60", "900", "abc", "NaN", "+15:00", "8:99", "inf"] {
            assert_eq!(parse_zone(value), None, "{value}");
        }
    }

    #[test]
    fn nonsense_is_passed_over_with_a_warning_and_delays_are_clamped() {
        let options = options(
            "GET OPTION FROM: MADE01\nDelay=0\nErrorDelay=99999999\nTransTimes=25:00\nTransFlag=maybe\nTimeZone=99\nRealtime=x",
        );
        assert_eq!((options.delay, options.error_delay), (1, 86_400));
        assert_eq!(options.trans_flag, TransFlag::ALL);
        assert_eq!(options.time_zone, Given::Nonsense);
        assert_eq!(options.warnings.len(), 4);
    }

    #[test]
    fn replies_that_are_no_handshake_are_refused() {
        assert_eq!(read("OK\r\n"), Handshake::Bare);
        for body in [
            "",
            "UNKNOWN DEVICE",
            "GET OPTION FROM: MADE01\nRETRY\n",
            "<html>",
            "UNAUTHORIZED\nDelay=1",
            "ok then",
        ] {
            assert!(matches!(read(body), Handshake::Refused(_)), "{body:?}");
        }
    }
}
