//! `punchd.toml`: the only room that knows TOML. It makes the settings of every other room.
//!
//! `Config` is the file as it is written; an unknown key or a value that cannot be used is an
//! error with file, line and column. What concerns more than one key is checked in `checks`,
//! and `rooms` turns the whole into the settings of each room.

mod address;
mod checks;
mod dialect;
mod error;
mod faults;
mod masked;
#[cfg(feature = "tls")]
mod pins;
mod rooms;
#[cfg(feature = "hardened")]
mod strict;
mod tables;
mod values;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::clock::{Authority, Zone};
use crate::protocol::codes::Language;
use crate::protocol::dialect::Dialect;
use address::{ProxyAddress, ServerAddress};
use error::ConfigError;
use tables::{
    Commands, Device, Drivers, Encryption, Limits, Remote, Timeouts, Tls, Upgrade, Verification,
};

/// Where the configuration is, unless `-c` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/punchd.toml";

/// The whole configuration. Everything has a default but `server` and one of `serial` and `serial_file`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server; the scheme of its URL decides TLS.
    #[serde(deserialize_with = "values::server")]
    pub(crate) server: ServerAddress,
    /// Serial number by which the server knows the terminal; empty until it is read from its file.
    #[serde(default, deserialize_with = "values::serial")]
    pub(crate) serial: String,
    /// The file that it is read from, where the configuration is the same on many terminals.
    #[serde(default)]
    serial_file: Option<PathBuf>,
    /// Number of the terminal's language (App. 2).
    #[serde(default = "values::english", deserialize_with = "values::language")]
    pub(crate) language: Language,
    /// The SQLite file.
    #[serde(default = "values::default_store")]
    pub(crate) store: PathBuf,
    /// The directory of `driver.sock`.
    #[serde(default = "values::default_run_dir")]
    pub(crate) run_dir: PathBuf,
    /// Who sets the clock.
    #[serde(default = "values::server_sets", deserialize_with = "values::authority")]
    pub(crate) clock: Authority,
    /// Who decides about the time zone.
    #[serde(default = "values::zone_of_server", deserialize_with = "values::zone")]
    pub(crate) timezone: Zone,
    #[serde(default)]
    device: Device,
    #[serde(default)]
    upload: tables::Upload,
    #[serde(default, deserialize_with = "dialect::dialect")]
    dialect: Dialect,
    #[serde(default)]
    commands: Commands,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    pub(crate) drivers: Drivers,
    #[serde(default)]
    upgrade: Upgrade,
    #[serde(default, deserialize_with = "values::proxy")]
    proxy: Option<ProxyAddress>,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    encryption: Encryption,
    #[serde(default)]
    verification: Verification,
    #[serde(default)]
    remote: Remote,
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => format!(
            "cannot be read: {error}: run this as root, or let your group read it (chgrp, chmod 640)"
        ),
        _ => format!("cannot be read: {error}"),
    }
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// The file cannot be read, or what it says cannot be used.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path);
        Self::parse(path, &text.map_err(|error| ConfigError::new(path, unreadable(&error)))?)
    }

    /// The configuration that is written so in the file `path`.
    ///
    /// # Errors
    /// What it says cannot be used.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let failed = |why: String| ConfigError::new(path, why);
        let mut config: Self = toml::from_str(text).map_err(|mut error| {
            // It quotes the line.
            error.set_input(Some(&masked::masked(text)));
            failed(error.to_string())
        })?;
        match (&config.serial_file, config.serial.is_empty()) {
            (Some(file), true) => config.serial = values::read_serial(file).map_err(failed)?,
            (None, false) => {}
            _ => return Err(failed("one of `serial` and `serial_file` is needed".into())),
        }
        config.check().map_err(failed)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("punchd.toml"), text)
    }

    #[test]
    fn two_lines_are_enough() {
        let config = load("server = \"http://127.0.0.1:8081/\"\nserial = \"MADE01\"").unwrap();
        assert_eq!(config.server.url, "http://127.0.0.1:8081");
        assert_eq!(config.store, Path::new("/var/lib/punchd/punchd.db"));
    }

    #[test]
    fn each_default_in_the_document_is_the_one_that_applies() {
        const DOCUMENT: &str = include_str!("../../docs/configuration.md");
        let two_lines = "server = \"http://h\"\nserial = \"S\"\n";
        let expected = format!("{:?}", load(two_lines).unwrap());
        let (mut table, mut without) = (String::new(), Vec::new());
        for line in DOCUMENT.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                table = heading.trim_matches('`').replace("Top level", "");
                continue;
            }
            let Some((key, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once('`'))
            else {
                continue;
            };
            let cell = rest.split('|').nth(1).unwrap().trim();
            let Some(value) = cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
                without.push(key);
                continue;
            };
            let quote = if value.starts_with('/') { "\"" } else { "" };
            let text = format!("{two_lines}{table}\n{key} = {quote}{value}{quote}");
            assert_eq!(format!("{:?}", load(&text).unwrap()), expected, "{table} {key}");
        }
        // Those that have no value of their own.
        assert_eq!(
            without.join(" "),
            "server serial serial_file firmware comm_key reboot options suffix device_type pushver group record people maintain \
             shared public_key poll attlog_key url ca pin cert key"
        );
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
            (format!("{good}language = 1"), "not one of the protocol's"),
            (format!("{good}timezone = \"Mars\""), "timezone"),
            (format!("{good}clock = \"mine\""), "clock"),
            ("server = \"h:80\"\nserial = \"S\"".into(), "http://"),
            ("server = \"ftp://h\"\nserial = \"S\"".into(), "http://"),
            ("server = \"http://\"\nserial = \"S\"".into(), "server"),
            ("server = \"http://h:99999\"\nserial = \"S\"".into(), "server"),
            ("server = \"http://h:0\"\nserial = \"S\"".into(), "port"),
            ("server = \"http://h:\"\nserial = \"S\"".into(), "port"),
            ("server = \"http://a:%@h\"\nserial = \"S\"".into(), "password"),
            ("server = \"http://h/?a b\"\nserial = \"S\"".into(), "blank"),
            (format!("{good}proxy = \"http://p:1\""), "write [proxy] and below it url = "),
            (
                format!("{good}[proxy]\nurl = \"http://p\""),
                "[proxy] url \"http://p\" names no port",
            ),
            (format!("{good}[proxy]\nuri = \"http://p:1\""), "unknown field `uri`"),
            ("server = \"http://h\"\nserial = \"a b\"".into(), "serial"),
            ("server = \"http://h\"\nserial = \"\"".into(), "serial"),
            (format!("{good}[verification]\nalways = false"), "line 4, column 1"),
            (format!("{good}[verification]\nfallback = \"maybe\""), "line 4"),
            (format!("{good}[tls]\npin = \"sha256/AAAA\""), "line 4, column 7"),
            (format!("{good}[tls]\npin = \"sha256/AAAA\""), "32 bytes of a SHA-256"),
            (format!("{good}[tls]\npin = [\"x\"]"), "pin \"x\" is not"),
            (format!("{good}[tls]\npin = []"), "empty list"),
            (format!("{good}[tls]\npin = 1"), "a pin such as"),
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
