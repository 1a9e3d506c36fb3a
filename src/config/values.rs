//! Values of the configuration that are checked when they are read, and defaults.

use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use ureq_proto::http::Uri;

use crate::clock::{Authority, Zone};
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

pub(super) fn server<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    let url: Uri = text.parse().map_err(|error| {
        D::Error::custom(format!(
            "server {text:?} is not a URL ({error}), such as http://192.168.1.10:8081"
        ))
    })?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(D::Error::custom(format!(
            "server {text:?} does not start with http:// or https://"
        )));
    }
    if url.host().is_none_or(str::is_empty) {
        return Err(D::Error::custom(format!("server {text:?} names no host")));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(D::Error::custom("server has a user name in it; the protocol has none"));
    }
    // The URL parser ignores a port that is not a number of a port.
    let after_host = url.authority().and_then(|all| all.as_str().strip_prefix(url.host()?));
    let port = after_host.and_then(|rest| rest.strip_prefix(':'));
    if port.is_some_and(|port| !matches!(port.parse(), Ok(1..=u16::MAX))) {
        return Err(D::Error::custom(format!(
            "server {text:?} has a port that is not within 1 to 65535"
        )));
    }
    if url.query().is_some() {
        return Err(D::Error::custom(format!(
            "server {text:?} has a query; /iclock/… is added to the URL"
        )));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn serial<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    let fits = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits {
        Ok(text)
    } else {
        Err(D::Error::custom(format!(
            "serial {text:?} does not have 1 to 32 letters, digits, - and _"
        )))
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
