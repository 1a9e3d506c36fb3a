//! Values of the configuration that are checked when they are read, and defaults.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::address::{ProxyAddress, ServerAddress};
use crate::clock::{Authority, Zone};
#[cfg(feature = "exchange")]
use crate::exchange::Mode;
use crate::protocol::codes::Language;

pub(super) fn english() -> Language {
    Language::ENGLISH
}

pub(super) fn default_store() -> PathBuf {
    "/var/lib/punchd/punchd.db".into()
}

pub(super) fn default_run_dir() -> PathBuf {
    "/run/punchd".into()
}

pub(super) fn server_sets() -> Authority {
    Authority::Server
}

pub(super) fn zone_of_server() -> Zone {
    Zone::Server
}

pub(super) fn server<'de, D: Deserializer<'de>>(input: D) -> Result<ServerAddress, D::Error> {
    ServerAddress::parse(&String::deserialize(input)?).map_err(D::Error::custom)
}

/// `[proxy]`: a table, so that other keys can follow. A URL in place of it is not repeated by the
/// message, as it can hold a password.
pub(super) fn proxy<'de, D: Deserializer<'de>>(input: D) -> Result<Option<ProxyAddress>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        #[serde(deserialize_with = "url")]
        url: ProxyAddress,
    }
    fn url<'de, D: Deserializer<'de>>(input: D) -> Result<ProxyAddress, D::Error> {
        ProxyAddress::parse(&String::deserialize(input)?).map_err(D::Error::custom)
    }
    struct TableOnly;
    impl<'de> Visitor<'de> for TableOnly {
        type Value = Table;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table, A::Error> {
            Table::deserialize(MapAccessDeserializer::new(map))
        }

        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Table, E> {
            Err(E::custom(
                "proxy is a table: write [proxy] and below it url = \"http://proxy:3128\"",
            ))
        }
    }
    input.deserialize_any(TableOnly).map(|table| Some(table.url))
}

pub(super) fn serial<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    checked_serial(String::deserialize(input)?).map_err(D::Error::custom)
}

/// The serial number that stands in a file: its first line. A device tree ends it with a zero.
pub(super) fn read_serial(file: &Path) -> Result<String, String> {
    let failed = |why: String| format!("serial_file {}: {why}", file.display());
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(1024).read_to_end(&mut bytes));
    read.map_err(|error| {
        format!("serial_file {}: {error}: write the serial number into it", file.display())
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let first = text.lines().next().unwrap_or_default();
    checked_serial(first.trim_end_matches('\0').trim().to_owned()).map_err(failed)
}

fn checked_serial(text: String) -> Result<String, String> {
    let fits = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits {
        Ok(text)
    } else {
        Err(format!("serial {text:?} does not have 1 to 32 letters, digits, - and _"))
    }
}

pub(super) fn language<'de, D: Deserializer<'de>>(input: D) -> Result<Language, D::Error> {
    let language = Language(u8::deserialize(input)?);
    if language.is_known() {
        Ok(language)
    } else {
        Err(D::Error::custom(format!(
            "language {} is not one of the protocol's (69 English, 83 Chinese, 97 Spanish, 70 French, …)",
            language.0
        )))
    }
}

pub(super) fn octal<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    let text = String::deserialize(input)?;
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(D::Error::custom(format!("mode {text:?} is not a mode such as \"0660\""))),
    }
}

pub(super) fn attlog_key<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let key = String::deserialize(input)?;
    if (1..=256).contains(&key.len()) {
        Ok(Some(key))
    } else {
        Err(D::Error::custom(format!("attlog_key has {} bytes, RC4 takes 1 to 256", key.len())))
    }
}

pub(super) fn authority<'de, D: Deserializer<'de>>(input: D) -> Result<Authority, D::Error> {
    let text = String::deserialize(input)?;
    match text.as_str() {
        "server" => Ok(Authority::Server),
        "system" => Ok(Authority::System),
        "own" => Ok(Authority::Own),
        _ => Err(D::Error::custom(format!("clock {text:?} is none of server, system and own"))),
    }
}

#[cfg(feature = "exchange")]
pub(super) fn exchange<'de, D: Deserializer<'de>>(input: D) -> Result<Mode, D::Error> {
    let text = String::deserialize(input)?;
    match text.as_str() {
        "auto" => Ok(Mode::Auto),
        "required" => Ok(Mode::Required),
        "off" => Ok(Mode::Off),
        _ => Err(D::Error::custom(format!("exchange {text:?} is none of auto, required and off"))),
    }
}

pub(super) fn zone<'de, D: Deserializer<'de>>(input: D) -> Result<Zone, D::Error> {
    let text = String::deserialize(input)?;
    match text.as_str() {
        "server" => Ok(Zone::Server),
        "system" => Ok(Zone::System),
        other => crate::protocol::options::parse_zone(other).map(Zone::Fixed).ok_or_else(|| {
            D::Error::custom(format!("timezone {text:?} is neither server, system nor like +08:00"))
        }),
    }
}
