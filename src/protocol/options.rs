//! The options of a server (§6).

use std::collections::BTreeMap;

use super::transflag::TransFlag;
use super::version::Version;

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
            others: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

/// Allowed seconds for `Delay` and `ErrorDelay`.
const DELAYS: std::ops::RangeInclusive<u32> = 1..=86_400;
/// Most other options that are kept, and most names of `PushOptions`.
const MOST_OTHERS: usize = 200;

impl ServerOptions {
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
        ]
        .contains(&key)
    }

    /// Sets one option; its key in lower case. An invalid value changes nothing and adds a
    /// warning.
    pub fn set(&mut self, key: &str, value: &str) {
        let is_valid = match key {
            "errordelay" => clamp(value).map(|seconds| self.error_delay = seconds),
            "delay" => clamp(value).map(|seconds| self.delay = seconds),
            "transtimes" => {
                let (times, wrong) = times(value);
                if !times.is_empty() || wrong.is_empty() {
                    self.trans_times = times;
                }
                for time in wrong {
                    self.warnings.push(format!(
                        "transtimes: {time:?} is no time of the day, it is left out"
                    ));
                }
                Some(())
            }
            "transinterval" => {
                value.parse().ok().map(|minutes: u32| self.trans_interval = minutes.min(1440))
            }
            "transflag" => TransFlag::parse(value).map(|(flag, unknown)| {
                self.trans_flag = flag;
                for word in unknown {
                    self.warnings.push(format!("transflag: the word {word:?} is not known"));
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
        };
        if is_valid.is_none() && !value.is_empty() {
            self.warnings.push(format!("{key}={value:?} is not valid and is ignored"));
        }
    }

    /// The stamp of the server with one of these names.
    pub fn stamp(&self, names: [&str; 2]) -> Option<&str> {
        names.iter().find_map(|name| self.others.get(*name)).map(String::as_str)
    }
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
    for entry in value.split(';').map(str::trim).filter(|time| !time.is_empty()).take(10) {
        match minutes(entry) {
            Some(minute) => times.push(minute),
            None => wrong.push(entry.to_owned()),
        }
    }
    (times, wrong)
}

/// An offset from UTC in seconds: hours from −12 to 14 (also fractions), minutes from ±60 on,
/// `+08:00`, `UTC+5`, or `Etc/GMT-1`, whose sign is the other way round. `None` for anything else.
pub fn parse_zone(value: &str) -> Option<i32> {
    let value = value.trim();
    let after = |prefix: &str| {
        let start = value.get(..prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then(|| &value[prefix.len()..])
    };
    if let Some(rest) = after("Etc/GMT") {
        return if rest.is_empty() { Some(0) } else { parse_zone(rest).map(|offset| -offset) };
    }
    if let Some(rest) = after("UTC").or_else(|| after("GMT")) {
        return if rest.is_empty() { Some(0) } else { parse_zone(rest) };
    }
    if let Some((hours, minutes)) = value.split_once(':') {
        let sign = if hours.starts_with('-') { -1 } else { 1 };
        let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok()?;
        let minutes: i32 = minutes.parse().ok()?;
        let fits = (0..=14).contains(&hours) && (0..60).contains(&minutes);
        return fits.then(|| sign * (hours * 3600 + minutes * 60));
    }
    let number: f64 = value.parse().ok().filter(|number: &f64| number.is_finite())?;
    let minutes = if (-12.0..=14.0).contains(&number) {
        number * 60.0
    } else if number.abs() >= 60.0 && (-720.0..=840.0).contains(&number) {
        number
    } else {
        return None;
    };
    // Time zones differ from UTC by whole quarters of an hour.
    (minutes % 15.0 == 0.0).then_some(minutes as i32 * 60)
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
        ] {
            assert_eq!(parse_zone(value), None, "{value}");
        }
        assert_eq!(times("1414:05;07:30;24:00"), (vec![450, 0], vec!["1414:05".to_owned()]));
    }
}
