//! `punchd.toml`. What is wrong in it is said with file, line and column.

mod dialect;
mod rooms;
mod tables;
mod values;

pub use tables::{
    Commands, Device, Drivers, Encryption, Limits, Permission, Remote, Timeouts, Tls, Upgrade,
    Verification,
};

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use ureq::http::Uri;

use crate::clock::{Authority, Zone};
use crate::protocol::codes::Language;
use crate::protocol::dialect::Dialect;

/// Where the configuration is, unless `-c` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/punchd.toml";

/// The whole configuration. Everything has a default but `server` and `serial`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the server; its scheme decides TLS.
    #[serde(deserialize_with = "values::server")]
    pub server: String,
    /// Serial number by which the server knows the terminal.
    #[serde(deserialize_with = "values::serial")]
    pub serial: String,
    /// Number of the terminal's language (App. 2).
    #[serde(default = "values::english", deserialize_with = "values::language")]
    pub language: Language,
    /// The SQLite file.
    #[serde(default = "values::default_store")]
    pub store: PathBuf,
    /// The directory of `driver.sock`.
    #[serde(default = "values::default_run_dir")]
    pub run_dir: PathBuf,
    /// Who sets the clock.
    #[serde(default = "values::server_sets", deserialize_with = "values::authority")]
    pub clock: Authority,
    /// Whose time zone holds.
    #[serde(default = "values::zone_of_server", deserialize_with = "values::zone")]
    pub timezone: Zone,
    /// What the terminal says of itself.
    #[serde(default)]
    pub device: Device,
    /// How requests are written.
    #[serde(default, deserialize_with = "dialect::dialect")]
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
            if real(&self.store).starts_with(real(dir)) {
                return Err(format!(
                    "[commands] {} holds the store, {}: the server could overwrite or fetch it; list a directory beneath it",
                    dir.display(),
                    self.store.display()
                ));
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

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let exists = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    match exists {
        Some((part, real)) => real.join(path.strip_prefix(part).unwrap_or(Path::new(""))),
        None => path.to_owned(),
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
    fn the_server_gets_no_hand_on_the_store() {
        let place = std::env::temp_dir().join(format!("punchd-config-{}", std::process::id()));
        std::fs::create_dir_all(place.join("files")).unwrap();
        std::os::unix::fs::symlink(&place, place.join("files/link")).unwrap();
        let check = |key: &str, dir: &str| {
            let place = place.display();
            let lines = [
                "server = \"http://h\"".to_owned(),
                "serial = \"S\"".to_owned(),
                format!("store = \"{place}/punchd.db\""),
                format!("[commands]\n{key} = [\"{place}{dir}\"]"),
            ];
            load(&lines.join("\n")).unwrap().check()
        };
        for key in ["put_dirs", "get_dirs"] {
            assert_eq!(check(key, "/files"), Ok(()));
            for dir in ["", "/", "/..", "/files/link", "/punchd.db"] {
                assert!(check(key, dir).unwrap_err().contains("holds the store"), "{dir:?}");
            }
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn times_have_their_bounds() {
        for (more, message) in [
            ("[verification]\nseconds = 0", "[verification] seconds = 0"),
            ("[remote]\nseconds = 61", "[remote] seconds = 61"),
            ("[remote]\nkeep_minutes = 0", "keep_minutes = 0"),
            ("[remote]\nkeep_minutes = 525601", "keep_minutes = 525601"),
            ("[timeouts]\nretry = 0", "retry = 0"),
            ("[device]\nenroll_seconds = 0", "[device] enroll_seconds = 0"),
        ] {
            let config = load(&format!("server = \"http://h\"\nserial = \"S\"\n{more}")).unwrap();
            let refused = config.check().unwrap_err();
            assert!(refused.contains(message), "{more:?}: {refused}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_place() {
        let good = "server = \"http://h\"\nserial = \"S\"\n";
        for (text, message) in [
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
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
