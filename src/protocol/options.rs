//! The options of a server (§6).

use std::collections::{BTreeMap, BTreeSet};

use super::transflag::TransFlag;
use super::version::Version;

/// The first version with the exchange of keys.
#[cfg(feature = "exchange")]
const EXCHANGE_SINCE: Version = Version(2, 4, 0);

/// The options of a server. An option that the server does not name has the value that servers
/// in the field expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Seconds between a failure and the next try.
    pub error_delay: u32,
    /// Seconds between polls for commands.
    pub delay: u32,
    /// Minutes of the day at which new data is uploaded, if not in real time.
    pub trans_times: Vec<u16>,
    /// Minutes between two uploads of new data, if not in real time; 0: never.
    pub trans_interval: u32,
    /// The kinds of data that are uploaded without being asked for.
    pub trans_flag: TransFlag,
    /// Offset of the terminal's time zone from UTC in seconds.
    pub time_zone: Given<i32>,
    /// Whether new data is uploaded at once.
    pub realtime: bool,
    /// Whether the server asks for encryption.
    pub encrypt: bool,
    /// The digits of `EncryptFlag`.
    pub encrypt_flag: String,
    /// The protocol version of the server (App. 6).
    pub push_version: Version,
    /// Names of options of the terminal that the server wants to know.
    pub push_options: Vec<String>,
    /// Whether attendance photos are sent as base64.
    pub photos_base64: bool,
    /// Most bytes in the body of a POST.
    pub max_post_size: Option<u32>,
    /// The keys that a server can set by command, too, and that were set since the last clearing.
    pub named: BTreeSet<String>,
    /// All other options, including stamps; keys in lower case.
    pub others: BTreeMap<String, String>,
    /// Messages for the log about invalid values.
    pub warnings: Vec<String>,
}

/// A value that a server may leave out, and that may be invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<T> {
    /// The server did not name it.
    Absent,
    /// It is not valid.
    Invalid,
    /// It is valid.
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
            named: BTreeSet::new(),
            others: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

/// Allowed seconds for `Delay` and `ErrorDelay`.
const DELAYS: std::ops::RangeInclusive<u32> = 1..=86_400;
/// Most other options that are kept, and most names of `PushOptions`.
const MOST_OTHERS: usize = 200;

/// Most minutes of `TransInterval`.
const MOST_INTERVAL: u32 = 1440;
/// Most times of `TransTimes`.
const MOST_TIMES: usize = 10;
/// Most messages for the log that one reply leads to.
const MOST_WARNINGS: usize = 30;

impl ServerOptions {
    /// Whether an exchange of keys follows the handshake (§7): the server asks for it, and both sides have it.
    #[cfg(feature = "exchange")]
    pub fn asks_for_keys(&self) -> bool {
        self.encrypt && self.push_version.min(super::PUSH_VERSION) >= EXCHANGE_SINCE
    }

    /// Whether `SET OPTION` of this key (in lower case) changes an option of the session, too.
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
            "timezone",
            "pushoptions",
            "pushoptionsflag",
        ]
        .contains(&key)
    }

    /// Whether an option (its key in lower case) has an effect in a handshake only.
    pub fn is_of_handshake(key: &str) -> bool {
        ["encrypt", "encryptflag", "pushprotver"].contains(&key)
    }

    /// Why an option (its key in lower case) cannot have a value, for `SET OPTION`: what a handshake
    /// bounds or leaves out is refused here, since the answer 0 says that it holds.
    pub fn check(key: &str, value: &str) -> Result<(), String> {
        let seconds = || {
            value.parse().is_ok_and(|seconds: f64| {
                (f64::from(*DELAYS.start())..=f64::from(*DELAYS.end())).contains(&seconds)
            })
        };
        let allowed = match key {
            "errordelay" | "delay" if !seconds() => "a number of seconds from 1 to 86400",
            "transinterval"
                if !value.parse().is_ok_and(|minutes: u32| minutes <= MOST_INTERVAL) =>
            {
                "a number of minutes from 0 to 1440"
            }
            "transtimes"
                if times(value).1.iter().any(|_| true) || value.split(';').count() > MOST_TIMES =>
            {
                "up to ten times hh:mm separated by ;"
            }
            "transflag" if !TransFlag::names_any(value) => {
                "digits 0 and 1, or TransData with names of kinds of data"
            }
            "timezone" if parse_zone(value).is_none() => {
                "a time zone such as 8, -3.5, 330 or +08:00"
            }
            "realtime" | "attphotobase64" | "pushoptionsflag" if switch(value).is_none() => {
                "0 or 1"
            }
            "maxpostsize" if value.parse::<u32>().is_err() => "a number of bytes",
            _ => return Ok(()),
        };
        Err(format!("is not {allowed}"))
    }

    /// Whether the server wants to be told the options of the terminal.
    pub fn wants_options(&self) -> bool {
        let flag = self.others.get("pushoptionsflag").and_then(|flag| switch(flag));
        flag.unwrap_or(!self.push_options.is_empty())
    }

    /// Sets one option; its key in lower case. An invalid value changes nothing and adds a
    /// warning.
    pub fn set(&mut self, key: &str, value: &str) {
        let is_valid = self.set_known(key, value);
        if is_valid.is_some() && Self::is_settable(key) {
            self.named.insert(key.to_owned());
        }
        if is_valid.is_none() && !value.is_empty() {
            self.warn(format!("{key}={:?} is not valid and is ignored", clip(value)));
        }
    }

    /// Sets one option; `None` if the value is not valid.
    fn set_known(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "errordelay" => clamp(value).map(|seconds| self.error_delay = seconds),
            "delay" => clamp(value).map(|seconds| self.delay = seconds),
            "transtimes" => {
                let (times, wrong) = times(value);
                if !times.is_empty() || wrong.is_empty() {
                    self.trans_times = times;
                }
                for time in wrong {
                    let time = clip(&time);
                    self.warn(format!(
                        "transtimes: {time:?} is no time of the day, it is left out"
                    ));
                }
                Some(())
            }
            "transinterval" => value
                .parse()
                .ok()
                .map(|minutes: u32| self.trans_interval = minutes.min(MOST_INTERVAL)),
            "transflag" => TransFlag::parse(value).map(|(flag, unknown)| {
                self.trans_flag = flag;
                for word in unknown {
                    let word = clip(&word);
                    self.warn(format!("transflag: the word {word:?} is not known"));
                }
            }),
            "timezone" => {
                self.time_zone = parse_zone(value).map_or(Given::Invalid, Given::Value);
                (self.time_zone != Given::Invalid).then_some(())
            }
            "realtime" => switch(value).map(|on| self.realtime = on),
            "encrypt" => switch(value).map(|on| self.encrypt = on),
            "encryptflag" => {
                self.encrypt_flag = value.chars().take(32).collect();
                Some(())
            }
            // App. 6 begins with 2.2.14: what is older, or unreadable, is spoken to like that.
            "pushprotver" => Version::parse(value)
                .map(|version| self.push_version = version.max(Version::OLDEST)),
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
        }
    }

    /// Adds a message for the log, if there are not too many already.
    fn warn(&mut self, message: String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(message);
        }
    }

    /// The stamp of the server with one of these names.
    pub fn stamp(&self, names: [&str; 2]) -> Option<&str> {
        names.iter().find_map(|name| self.others.get(*name)).map(String::as_str)
    }
}

/// The first characters of a value, for the log.
fn clip(value: &str) -> String {
    value.chars().take(60).collect()
}

fn clamp(value: &str) -> Option<u32> {
    let seconds: f64 = value.parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
    Some((seconds as u32).clamp(*DELAYS.start(), *DELAYS.end()))
}

/// Servers written in Python send `None` for "no".
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" | "none" => Some(false),
        _ => None,
    }
}

/// Up to ten times `hh:mm`, separated by semicolons, as minutes of the day, and the entries that are
/// no times. `24:00` is midnight.
fn times(value: &str) -> (Vec<u16>, Vec<String>) {
    let minutes = |time: &str| {
        let (hours, minutes) = time.split_once(':')?;
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let fits = hours < 24 && minutes < 60 || (hours, minutes) == (24, 0);
        fits.then_some(hours % 24 * 60 + minutes)
    };
    let (mut times, mut wrong) = (Vec::new(), Vec::new());
    for entry in value.split(';').map(str::trim).filter(|time| !time.is_empty()).take(MOST_TIMES) {
        match minutes(entry) {
            Some(minute) => times.push(minute),
            None => wrong.push(entry.to_owned()),
        }
    }
    (times, wrong)
}

/// Prefixes of names of zones, and whether the sign after them is turned round.
const ZONE_PREFIXES: [(&str, bool); 3] = [("Etc/GMT", true), ("UTC", false), ("GMT", false)];

/// An offset from UTC in seconds: hours from −12 to 14 (also fractions), minutes from ±60 on,
/// `+08:00`, `UTC+5`, or `Etc/GMT-1`, whose sign is the other way round. `None` for anything else.
pub fn parse_zone(value: &str) -> Option<i32> {
    let value = value.trim();
    let prefix = ZONE_PREFIXES.into_iter().find(|(prefix, _)| {
        value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    match prefix {
        None => offset(value, 1),
        Some((prefix, _)) if value.len() == prefix.len() => Some(0),
        Some((prefix, is_turned)) => {
            offset(value[prefix.len()..].trim_start(), if is_turned { -1 } else { 1 })
        }
    }
}

/// A number, or hours and minutes, `sign` times as far east of UTC.
fn offset(value: &str, sign: i32) -> Option<i32> {
    let (minutes, is_clock_time) = match value.split_once(':') {
        Some((hours, minutes)) => {
            let is_west = hours.starts_with('-');
            let hours = digits(hours.strip_prefix(['+', '-']).unwrap_or(hours))?;
            let minutes = digits(minutes).filter(|minutes| *minutes < 60)?;
            let all = f64::from(hours * 60 + minutes);
            (if is_west { -all } else { all }, true)
        }
        None => (value.parse().ok().filter(|number: &f64| number.is_finite())?, false),
    };
    let minutes = minutes * f64::from(sign);
    let minutes = match minutes {
        hours if !is_clock_time && (-12.0..=14.0).contains(&hours) => hours * 60.0,
        minutes if !is_clock_time && minutes.abs() < 60.0 => return None,
        minutes => minutes,
    };
    // Time zones differ from UTC by whole quarters of an hour.
    let fits = (-720.0..=840.0).contains(&minutes) && minutes % 15.0 == 0.0;
    fits.then(|| minutes as i32 * 60)
}

/// One or two digits.
fn digits(text: &str) -> Option<u32> {
    let fits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_read_in_every_form_of_the_field() {
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
            ("60", 3600),
            ("-60", -3600),
            ("UTC+5", 18_000),
            ("utc", 0),
            ("GMT-3:30", -12_600),
            ("Etc/GMT-1", 3600),
            ("Etc/GMT+5", -18_000),
            ("Etc/GMT-14", 50_400),
            ("Etc/GMT", 0),
            ("UTC +05:45", 20_700),
            ("-12:00", -43_200),
        ] {
            assert_eq!(parse_zone(value), Some(seconds), "{value}");
        }
        for value in [
            "",
            "15",
            "-13",
            "59",
            "900",
            "3803808:7",
            "Etc/Mars",
            "UTCx",
            "abc",
            "NaN",
            "+15:00",
            "8:99",
            "inf",
            "999999999:00",
            "4294967304",
            "-4294967304:30",
            "99999999999999999999999999999999999999",
            "1e400",
            "--8:00",
            "+-8:00",
            "8:",
            ":30",
            "-13:00",
            "14:15",
            "Etc/GMT+13",
            "UTCUTC8",
            "Etc/GMTEtc/GMT8",
        ] {
            assert_eq!(parse_zone(value), None, "{value}");
        }
        assert_eq!(times("1414:05;07:30;24:00"), (vec![450, 0], vec!["1414:05".to_owned()]));
        // A prefix that stands there a million times ends nothing but the reading.
        assert_eq!(parse_zone(&"UTC".repeat(1_000_000)), None);
    }

    #[test]
    fn numbers_that_are_too_large_are_ignored_with_a_warning_or_bounded() {
        let usual = ServerOptions::default();
        let huge = "9".repeat(400);
        for (key, value, is_ignored) in [
            ("transtimes", "13004:05", true),
            ("transtimes", "65536:00", true),
            ("transtimes", "4294967296:4294967296", true),
            ("timezone", "3803808:7", true),
            ("timezone", "4294967304", true),
            ("transinterval", "4294967296", true),
            ("transinterval", "-1", true),
            ("maxpostsize", "18446744073709551616", true),
            ("maxpostsize", "-5", true),
            ("delay", "NaN", true),
            ("delay", "inf", true),
            ("errordelay", huge.as_str(), true),
            ("realtime", "256", true),
            ("encrypt", "4294967297", true),
            ("delay", "4294967297", false),
            ("errordelay", "1e300", false),
            ("transinterval", "4294967295", false),
        ] {
            let mut options = ServerOptions::default();
            options.set(key, value);
            assert_eq!(options.warnings.len(), usize::from(is_ignored), "{key}={value}");
            assert!(options.warnings.iter().all(|it| it.chars().count() < 200), "{key}={value}");
            if is_ignored {
                let expected = if key == "timezone" { Given::Invalid } else { Given::Absent };
                assert_eq!(options.time_zone, expected, "{key}={value}");
                let known = ServerOptions {
                    time_zone: Given::Absent,
                    warnings: Vec::new(),
                    named: BTreeSet::new(),
                    ..options.clone()
                };
                assert_eq!(known, usual, "{key}={value}");
            }
            assert_is_bounded(&options);
        }
    }

    /// What follows from options has an end, whatever a server writes.
    fn assert_is_bounded(options: &ServerOptions) {
        assert!(DELAYS.contains(&options.delay) && DELAYS.contains(&options.error_delay));
        assert!(options.trans_interval <= 1440);
        assert!(options.trans_times.len() <= 10);
        assert!(options.trans_times.iter().all(|minute| *minute < 1440));
        assert!(options.warnings.len() <= 30);
        assert!(options.push_options.len() <= 200 && options.others.len() <= 200);
        if let Given::Value(offset) = options.time_zone {
            assert!((-12 * 3600..=14 * 3600).contains(&offset) && offset % 900 == 0, "{offset}");
        }
    }

    #[test]
    fn an_option_that_the_server_does_not_name_has_its_default() {
        let expected = ServerOptions {
            error_delay: 60,
            delay: 30,
            trans_times: vec![],
            trans_interval: 1,
            trans_flag: TransFlag::ALL,
            time_zone: Given::Absent,
            realtime: true,
            encrypt: false,
            encrypt_flag: String::new(),
            push_version: Version(2, 2, 14),
            push_options: vec![],
            photos_base64: false,
            max_post_size: None,
            named: BTreeSet::new(),
            others: BTreeMap::new(),
            warnings: vec![],
        };
        assert_eq!(ServerOptions::default(), expected);
        assert!(!expected.wants_options());
    }

    #[test]
    fn each_limit_of_a_value_is_the_last_that_is_taken() {
        let read = |key: &str, value: &str| {
            let mut options = ServerOptions::default();
            options.set(key, value);
            options
        };
        // What a handshake bounds, `SET OPTION` refuses.
        for (key, least, most) in [("delay", 1, 86_400), ("errordelay", 1, 86_400)] {
            let seconds = |value: i64| {
                let options = read(key, &value.to_string());
                if key == "delay" { options.delay } else { options.error_delay }
            };
            assert_eq!([least - 1, least, most, most + 1].map(seconds), [1, 1, 86_400, 86_400]);
            let is_taken = |value: i64| ServerOptions::check(key, &value.to_string()).is_ok();
            let taken = [least - 1, least, most, most + 1].map(is_taken);
            assert_eq!(taken, [false, true, true, false], "{key}");
        }
        let interval = |minutes: &str| read("transinterval", minutes).trans_interval;
        assert_eq!(["0", "1440", "1441"].map(interval), [0, 1440, 1440]);
        let is_taken = |minutes: &str| ServerOptions::check("transinterval", minutes).is_ok();
        assert_eq!(["0", "1440", "1441"].map(is_taken), [true, true, false]);
        let times = |count: usize| vec!["00:01"; count].join(";");
        assert_eq!(
            [10, 11].map(|count| read("transtimes", &times(count)).trans_times.len()),
            [10; 2]
        );
        let is_taken = |count| ServerOptions::check("transtimes", &times(count)).is_ok();
        assert_eq!([10, 11].map(is_taken), [true, false]);
        let flag = |count: usize| read("encryptflag", &"1".repeat(count)).encrypt_flag.len();
        assert_eq!([32, 33].map(flag), [32; 2]);
        let post_size = |value| read("maxpostsize", value).max_post_size;
        assert_eq!(["0", "1", "4294967295"].map(post_size), [None, Some(1), Some(u32::MAX)]);
        let names =
            |count: usize| read("pushoptions", &vec!["a"; count].join(",")).push_options.len();
        assert_eq!([200, 201].map(names), [200; 2]);
    }

    #[test]
    fn so_many_other_options_and_warnings_are_kept_and_no_more() {
        let mut options = ServerOptions::default();
        (0..201).for_each(|nth| options.set(&format!("other{nth}"), "1"));
        assert_eq!(options.others.len(), 200);
        assert!(
            options.others.contains_key("other199") && !options.others.contains_key("other200")
        );
        // One that is there already can change all the same.
        options.set("other7", "2");
        assert_eq!(options.others["other7"], "2");
        (0..30).for_each(|_| options.set("realtime", "x"));
        assert_eq!(options.warnings.len(), 30);
        options.set("delay", "x");
        assert!(options.warnings.iter().all(|it| it.starts_with("realtime")), "{options:?}");
        assert_is_bounded(&options);
    }

    const KEYS: [&str; 8] = [
        "delay",
        "errordelay",
        "transtimes",
        "transinterval",
        "timezone",
        "maxpostsize",
        "pushprotver",
        "realtime",
    ];

    proptest::proptest! {
        #[test]
        fn no_value_leads_out_of_bounds(
            nth in 0..KEYS.len(), value in "[-+ ]{0,2}[0-9eE.:;UTCGM/]{0,40}", any in ".{0,40}"
        ) {
            let mut options = ServerOptions::default();
            options.set(KEYS[nth], &value);
            options.set(KEYS[nth], &any);
            assert_is_bounded(&options);
        }

        #[test]
        fn many_wrong_values_leave_few_warnings(count in 1..300_usize) {
            let mut options = ServerOptions::default();
            for _ in 0..count {
                options.set("delay", &"x".repeat(500));
            }
            assert_is_bounded(&options);
        }
    }
}
