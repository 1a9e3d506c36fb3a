//! `punchd.toml`. What is wrong in it is said with file, line and column.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use ureq::http::Uri;

use crate::clock::{Authority, Zone};
use crate::commands::Family;
use crate::protocol::codes::Language;
use crate::protocol::device::{Functions, VisibleLight};
use crate::protocol::dialect::Dialect;

/// Where the configuration is, unless `-c` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/punchd.toml";

/// The whole configuration. Everything has a default but `server` and `serial`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the server; its scheme decides TLS.
    #[serde(deserialize_with = "server")]
    pub server: String,
    /// Serial number by which the server knows the terminal.
    #[serde(deserialize_with = "serial")]
    pub serial: String,
    /// Number of the terminal's language (App. 2).
    #[serde(default = "english", deserialize_with = "language")]
    pub language: Language,
    /// The SQLite file.
    #[serde(default = "default_store")]
    pub store: PathBuf,
    /// The directory of `driver.sock`.
    #[serde(default = "default_run_dir")]
    pub run_dir: PathBuf,
    /// Who sets the clock.
    #[serde(default = "server_sets")]
    pub clock: Authority,
    /// Whose time zone holds.
    #[serde(default = "zone_of_server", deserialize_with = "zone")]
    pub timezone: Zone,
    /// What the terminal says of itself.
    #[serde(default)]
    pub device: Device,
    /// How requests are written.
    #[serde(default)]
    pub dialect: Dialect,
    /// What the server may do.
    #[serde(default)]
    pub commands: Commands,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// How long things may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Who may be a driver.
    #[serde(default)]
    pub drivers: Drivers,
    /// How upgrades are installed.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// HTTPS.
    #[serde(default)]
    pub tls: Tls,
    /// What the protocol itself encrypts.
    #[serde(default)]
    pub encryption: Encryption,
    /// Asking the server whether a person may pass.
    #[serde(default)]
    pub verification: Verification,
    /// Fetching people whom the terminal does not know.
    #[serde(default)]
    pub remote: Remote,
}

/// `[device]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// Name of the model.
    pub name: String,
    /// Version of the firmware that punchd is part of.
    pub firmware: String,
    /// Key by which a server tells whether the terminal is authorised (`pushcommkey`).
    pub comm_key: String,
    /// The program that starts the device anew, and its arguments; none: it cannot be.
    pub reboot: Vec<String>,
    /// Version of the fingerprint algorithm; 0 for a terminal without one.
    pub fp_version: u16,
    /// Version of the face algorithm; 0 for a terminal without one.
    pub face_version: u16,
    /// How many faces an enrolment takes.
    pub faces_needed: u64,
    /// Whether it shows photos of users.
    pub user_photos: bool,
    /// Whether it has a camera for visible light: comparison photos and unified faces.
    pub visible_light: bool,
    /// Seconds that an enrolment may take.
    pub enroll_seconds: u32,
}

impl Device {
    /// What the terminal can do, as `INFO` says it.
    pub fn functions(&self) -> Functions {
        let light = VisibleLight { comparison_photo: true, face_template: true };
        Functions {
            fingerprint: self.fp_version > 0,
            face: self.face_version > 0,
            user_photo: self.user_photos,
            visible: self.visible_light.then_some(light),
        }
    }
}

/// `[commands]`: what the owner lets the server do.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commands {
    /// `DATA UPDATE`, `DATA DELETE`.
    pub data: Permission,
    /// `DATA QUERY`.
    pub query: Permission,
    /// `CHECK`, `LOG`, `VERIFY SUM`, `INFO`.
    pub check: Permission,
    /// `SET OPTION`, `RELOAD OPTIONS`.
    pub options: Permission,
    /// `CLEAR LOG`, `CLEAR PHOTO`.
    pub clear: Permission,
    /// `CLEAR DATA`: takes all people off the terminal.
    pub clear_data: Permission,
    /// `PutFile`, and pictures by URL.
    pub put_file: Permission,
    /// `GetFile`.
    pub get_file: Permission,
    /// `ENROLL_FP`, `ENROLL_MF`, `ENROLL_BIO`.
    pub enroll: Permission,
    /// `AC_UNLOCK`, `AC_UNALARM`.
    pub door: Permission,
    /// `REBOOT`.
    pub reboot: Permission,
    /// `SHELL`.
    pub shell: Permission,
    /// `UPGRADE`.
    pub upgrade: Permission,
    /// Directories beneath which `PutFile` may write; a path that is not absolute begins in
    /// the first.
    pub put_dirs: Vec<PathBuf>,
    /// Directories beneath which `GetFile` may read.
    pub get_dirs: Vec<PathBuf>,
    /// Beginnings of URLs from which files may come, beside the server.
    pub urls: Vec<String>,
    /// Seconds that a `SHELL` may run.
    pub shell_seconds: u32,
    /// Bytes of its output that are kept; more ends it.
    pub shell_bytes: usize,
}

/// `[drivers]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Drivers {
    /// Permissions of the socket, in octal.
    #[serde(deserialize_with = "octal")]
    pub mode: u32,
    /// Name or number of the group that the socket belongs to.
    pub group: Option<String>,
    /// The directory in which drivers may leave large templates and photos.
    pub shared: Option<PathBuf>,
}

/// `[upgrade]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    /// The program that installs an upgrade, and its arguments; the file is added to them.
    pub command: Vec<String>,
    /// Seconds that it may run.
    pub seconds: u32,
}

/// Whether something is let be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// It is: a command is carried out, a person may pass.
    Allow,
    /// It is not: a command is answered with −1002, and the audit log says so.
    Deny,
}

impl Commands {
    /// What is not obeyed.
    pub fn denied(&self) -> Vec<Family> {
        let permission = |family| match family {
            Family::Data => self.data,
            Family::Query => self.query,
            Family::Check => self.check,
            Family::Options => self.options,
            Family::Clear => self.clear,
            Family::ClearData => self.clear_data,
            Family::PutFile => self.put_file,
            Family::GetFile => self.get_file,
            Family::Enroll => self.enroll,
            Family::Door => self.door,
            Family::Reboot => self.reboot,
            Family::Shell => self.shell,
            Family::Upgrade => self.upgrade,
        };
        Family::ALL.into_iter().filter(|family| permission(*family) == Permission::Deny).collect()
    }
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most users on the terminal.
    pub users: u64,
    /// Most bytes in the body of an upload.
    pub post_bytes: usize,
    /// Punches that are kept; the oldest that were uploaded go first.
    pub punches: u64,
    /// MiB of the store.
    pub store_mib: u64,
    /// MiB that stay free on the store's disk.
    pub free_mib: u64,
    /// MiB of the largest file that goes either way.
    pub file_mib: u64,
    /// Longest command of a server in bytes.
    pub command_bytes: usize,
    /// Seconds over which terminals that start together spread their first contact.
    pub start_spread: u32,
}

/// `[timeouts]`, in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: u32,
    /// Until the server takes or gives the next bytes.
    pub answer: u32,
    /// For the body of one response.
    pub body: u32,
    /// Until the next try after a failure, as long as the server has not named another time
    /// (`ErrorDelay`). It doubles with each further failure.
    pub retry: u32,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates to trust, in PEM; the system's if not set.
    pub ca: Option<PathBuf>,
}

/// `[encryption]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Encryption {
    /// Key of the attendance rows, for a server that says `EncryptFlag=1`.
    #[serde(deserialize_with = "attlog_key")]
    pub attlog_key: Option<String>,
}

/// `[verification]`: asking the server whether a person may pass, where it wants that.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verification {
    /// Seconds until the server must have answered.
    pub seconds: u32,
    /// What holds if it has not.
    pub fallback: Permission,
}

/// `[remote]`: remote attendance.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remote {
    /// Seconds until the server must have answered.
    pub seconds: u32,
    /// Minutes for which a person stays.
    pub keep_minutes: u32,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            name: "punchd".into(),
            firmware: env!("CARGO_PKG_VERSION").into(),
            comm_key: String::new(),
            reboot: Vec::new(),
            fp_version: 0,
            face_version: 0,
            faces_needed: 0,
            user_photos: false,
            visible_light: false,
            enroll_seconds: 120,
        }
    }
}

impl Default for Commands {
    fn default() -> Self {
        use Permission::{Allow, Deny};
        Self {
            data: Allow,
            query: Allow,
            check: Allow,
            options: Allow,
            clear: Allow,
            clear_data: Deny,
            put_file: Allow,
            get_file: Deny,
            enroll: Allow,
            door: Allow,
            reboot: Allow,
            shell: Deny,
            upgrade: Allow,
            put_dirs: vec!["/mnt/mtdblock".into()],
            get_dirs: Vec::new(),
            urls: Vec::new(),
            shell_seconds: 60,
            shell_bytes: 64 << 10,
        }
    }
}

impl Default for Drivers {
    fn default() -> Self {
        Self { mode: 0o660, group: None, shared: None }
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { command: Vec::new(), seconds: 600 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users: 100_000,
            punches: 500_000,
            store_mib: 512,
            free_mib: 8,
            file_mib: 256,
            post_bytes: 64 << 10,
            command_bytes: 2 << 20,
            start_spread: 3,
        }
    }
}

impl Default for Verification {
    fn default() -> Self {
        Self { seconds: 3, fallback: Permission::Deny }
    }
}

impl Default for Remote {
    fn default() -> Self {
        Self { seconds: 10, keep_minutes: 480 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: 15, answer: 30, body: 600, retry: 60 }
    }
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    why: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why.trim_end())
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks the configuration.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |why: String| ConfigError { path: path.into(), why };
        let text = std::fs::read_to_string(path)
            .map_err(|error| failed(format!("cannot be read: {error}")))?;
        let config: Self = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        config.check().map_err(failed)?;
        Ok(config)
    }

    /// What goes beyond a single value.
    fn check(&self) -> Result<(), String> {
        if self.server.starts_with("https:") && cfg!(not(feature = "tls")) {
            return Err(
                "server is https://, but this punchd was built without the feature `tls`".into()
            );
        }
        for (name, seconds) in [
            ("connect", self.timeouts.connect),
            ("answer", self.timeouts.answer),
            ("body", self.timeouts.body),
            ("retry", self.timeouts.retry),
        ] {
            if !(1..=86_400).contains(&seconds) {
                return Err(format!(
                    "[timeouts] {name} = {seconds} is not within 1 to 86400 seconds"
                ));
            }
        }
        for (name, seconds) in [
            ("[commands] shell_seconds", self.commands.shell_seconds),
            ("[upgrade] seconds", self.upgrade.seconds),
            ("[device] enroll_seconds", self.device.enroll_seconds),
        ] {
            if !(1..=3600).contains(&seconds) {
                return Err(format!("{name} = {seconds} is not within 1 to 3600"));
            }
        }
        if self.commands.shell_bytes > 1 << 20 {
            return Err("[commands] shell_bytes is more than 1048576".into());
        }
        for dir in self.commands.put_dirs.iter().chain(&self.commands.get_dirs) {
            if !dir.is_absolute() {
                return Err(format!("[commands] {} is no absolute path", dir.display()));
            }
        }
        for url in &self.commands.urls {
            if url.starts_with("https:") && cfg!(not(feature = "tls")) {
                return Err(format!(
                    "[commands] urls: {url:?} is https://, but this punchd was built without the feature `tls`"
                ));
            }
            let whole = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
            if !whole || url.parse::<Uri>().is_err() {
                return Err(format!("[commands] urls: {url:?} is no URL of http:// or https://"));
            }
        }
        for (table, seconds) in
            [("verification", self.verification.seconds), ("remote", self.remote.seconds)]
        {
            if !(1..=60).contains(&seconds) {
                return Err(format!("[{table}] seconds = {seconds} is not within 1 to 60"));
            }
        }
        if !(1..=525_600).contains(&self.remote.keep_minutes) {
            return Err(format!(
                "[remote] keep_minutes = {} is not within 1 to 525600",
                self.remote.keep_minutes
            ));
        }
        if self.limits.punches == 0 || self.limits.store_mib == 0 {
            return Err("[limits] punches and store_mib leave no room for a single punch".into());
        }
        if self.limits.post_bytes < 1024 {
            return Err("[limits] post_bytes is less than 1024, too small for a row".into());
        }
        if !(1024..=64 << 20).contains(&self.limits.command_bytes) {
            return Err("[limits] command_bytes is not within 1024 to 67108864".into());
        }
        Ok(())
    }
}

fn english() -> Language {
    Language::ENGLISH
}

fn default_store() -> PathBuf {
    "/var/lib/punchd/punchd.db".into()
}

fn default_run_dir() -> PathBuf {
    "/run/punchd".into()
}

fn server_sets() -> Authority {
    Authority::Server
}

fn zone_of_server() -> Zone {
    Zone::Server
}

fn server<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    let url: Uri = text.parse().map_err(|error| {
        D::Error::custom(format!(
            "server {text:?} is no URL ({error}); it looks like http://192.168.1.10:8081"
        ))
    })?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(D::Error::custom(format!(
            "server {text:?} does not begin with http:// or https://"
        )));
    }
    if url.host().is_none_or(str::is_empty) {
        return Err(D::Error::custom(format!("server {text:?} names no host")));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(D::Error::custom("server holds a user name; the protocol knows none"));
    }
    // The URL parser passes over a port that is no port.
    let after_host = url.authority().and_then(|all| all.as_str().strip_prefix(url.host()?));
    let port = after_host.and_then(|rest| rest.strip_prefix(':'));
    if port.is_some_and(|port| !matches!(port.parse(), Ok(1..=u16::MAX))) {
        return Err(D::Error::custom(format!(
            "server {text:?} has a port that is not within 1 to 65535"
        )));
    }
    if url.query().is_some() {
        return Err(D::Error::custom(format!(
            "server {text:?} holds a query; /iclock/… is added to it"
        )));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn serial<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    let fits = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits {
        Ok(text)
    } else {
        Err(D::Error::custom(format!("serial {text:?} is not of 1 to 32 letters, digits, - and _")))
    }
}

fn language<'de, D: Deserializer<'de>>(input: D) -> Result<Language, D::Error> {
    let language = Language(u8::deserialize(input)?);
    if language.is_known() {
        Ok(language)
    } else {
        Err(D::Error::custom(format!(
            "language {} is none of the protocol's (69 English, 83 Chinese, 97 Spanish, 70 French, …)",
            language.0
        )))
    }
}

fn octal<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    let text = String::deserialize(input)?;
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(D::Error::custom(format!("mode {text:?} is not like \"0660\""))),
    }
}

fn attlog_key<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let key = String::deserialize(input)?;
    if (1..=256).contains(&key.len()) {
        Ok(Some(key))
    } else {
        Err(D::Error::custom(format!("attlog_key has {} bytes, RC4 takes 1 to 256", key.len())))
    }
}

fn zone<'de, D: Deserializer<'de>>(input: D) -> Result<Zone, D::Error> {
    let text = String::deserialize(input)?;
    match text.as_str() {
        "server" => Ok(Zone::Server),
        "system" => Ok(Zone::System),
        other => crate::protocol::options::parse_zone(other).map(Zone::Fixed).ok_or_else(|| {
            D::Error::custom(format!("timezone {text:?} is neither server, system nor like +08:00"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn two_lines_are_enough() {
        let config = load("server = \"http://127.0.0.1:8081/\"\nserial = \"MADE01\"").unwrap();
        assert_eq!(config.server, "http://127.0.0.1:8081");
        assert_eq!(config.store, Path::new("/var/lib/punchd/punchd.db"));
    }

    #[test]
    fn times_have_their_bounds() {
        for (more, words) in [
            ("[verification]\nseconds = 0", "[verification] seconds = 0"),
            ("[remote]\nseconds = 61", "[remote] seconds = 61"),
            ("[remote]\nkeep_minutes = 0", "keep_minutes = 0"),
            ("[remote]\nkeep_minutes = 525601", "keep_minutes = 525601"),
            ("[timeouts]\nretry = 0", "retry = 0"),
            ("[device]\nenroll_seconds = 0", "[device] enroll_seconds = 0"),
        ] {
            let config = load(&format!("server = \"http://h\"\nserial = \"S\"\n{more}")).unwrap();
            let refused = config.check().unwrap_err();
            assert!(refused.contains(words), "{more:?}: {refused}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_place() {
        let good = "server = \"http://h\"\nserial = \"S\"\n";
        for (text, words) in [
            ("serial = \"S\"".to_owned(), "server"),
            ("server = \"http://h\"".into(), "serial"),
            (format!("{good}colour = 1"), "line 3, column 1"),
            (format!("{good}[limits]\nuser = 1"), "line 4, column 1"),
            (format!("{good}language = 300"), "line 3"),
            (format!("{good}language = 1"), "none of the protocol's"),
            (format!("{good}timezone = \"Mars\""), "timezone"),
            (format!("{good}clock = \"mine\""), "clock"),
            ("server = \"h:80\"\nserial = \"S\"".into(), "http://"),
            ("server = \"ftp://h\"\nserial = \"S\"".into(), "http://"),
            ("server = \"http://\"\nserial = \"S\"".into(), "server"),
            ("server = \"http://h:99999\"\nserial = \"S\"".into(), "server"),
            ("server = \"http://h:0\"\nserial = \"S\"".into(), "port"),
            ("server = \"http://h:\"\nserial = \"S\"".into(), "port"),
            ("server = \"http://a:b@h\"\nserial = \"S\"".into(), "user name"),
            ("server = \"http://h/?x\"\nserial = \"S\"".into(), "query"),
            ("server = \"http://h\"\nserial = \"a b\"".into(), "serial"),
            ("server = \"http://h\"\nserial = \"\"".into(), "serial"),
            (format!("{good}[verification]\nalways = false"), "line 4, column 1"),
            (format!("{good}[verification]\nfallback = \"maybe\""), "line 4"),
            (format!("{good}[drivers]\nmode = \"rw\""), "0660"),
            (format!("{good}[encryption]\nkey = \"k\""), "line 4, column 1"),
            (format!("{good}[encryption]\nattlog_key = \"\""), "attlog_key has 0 bytes"),
            (format!("{good}[encryption]\nattlog_key = \"{}\"", "k".repeat(257)), "257 bytes"),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
