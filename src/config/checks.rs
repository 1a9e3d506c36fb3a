//! Checks of the configuration beyond the form of a single value: ranges, and keys that cannot
//! go together.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use ureq_proto::http::Uri;

use super::Config;
use super::tables::Drivers;
use crate::client::MOST_ROWS;
use crate::driver_socket::{self, LONGEST_PATH};
use crate::protocol::device::is_same_option;
use crate::protocol::option_rule::{MOST_OPTIONS, check_name, check_value, is_taken};
use crate::signature::PublicKey;

impl Config {
    /// The first reason why the configuration cannot be used, if there is one.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_ranges()?;
        self.check_options()?;
        self.check_tls()?;
        self.check_upgrade()?;
        let Drivers { record, people, maintain, .. } = &self.drivers;
        if cfg!(not(feature = "hardened"))
            && [record, people, maintain].iter().any(|role| role.is_some())
        {
            return Err("[drivers] record, people and maintain are set, but this punchd was built without the \
                        feature `hardened`".into());
        }
        self.check_directories()?;
        let length = driver_socket::socket_path(&self.run_dir).as_os_str().len();
        check("run_dir: the path of driver.sock in it", length, 1..=LONGEST_PATH, "bytes")?;
        self.check_urls()?;
        if self.limits.punches == 0 || self.limits.store_mib == 0 {
            return Err("[limits] punches and store_mib leave no room for a single punch".into());
        }
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), String> {
        const A_DAY: u32 = 86_400;
        const A_YEAR: u32 = 525_600;
        let Self { timeouts, commands, upgrade, device, verification, remote, limits, .. } = self;
        let upload = &self.upload;
        check("[timeouts] connect", timeouts.connect, 1..=A_DAY, "seconds")?;
        check("[timeouts] answer", timeouts.answer, 1..=A_DAY, "seconds")?;
        check("[timeouts] body", timeouts.body, 1..=A_DAY, "seconds")?;
        check("[timeouts] poll", timeouts.poll.unwrap_or(1), 1..=A_DAY, "seconds")?;
        check("[timeouts] retry", timeouts.retry, 1..=A_DAY, "seconds")?;
        check("[commands] shell_seconds", commands.shell_seconds, 1..=3600, "seconds")?;
        check("[commands] shell_bytes", commands.shell_bytes, 0..=1 << 20, "bytes")?;
        check("[upgrade] seconds", upgrade.seconds, 1..=3600, "seconds")?;
        let (probation, connect) = (upgrade.probation_seconds, upgrade.connect_seconds);
        check("[upgrade] probation_seconds", probation, 1..=A_DAY, "seconds")?;
        check("[upgrade] connect_seconds", connect, 1..=A_DAY, "seconds")?;
        check("[device] enroll_seconds", device.enroll_seconds, 1..=3600, "seconds")?;
        check("[verification] seconds", verification.seconds, 1..=60, "seconds")?;
        check("[remote] seconds", remote.seconds, 1..=60, "seconds")?;
        check("[remote] keep_minutes", remote.keep_minutes, 1..=A_YEAR, "minutes")?;
        check("[upload] rows", upload.rows, 1..=MOST_ROWS, "rows")?;
        check("[limits] command_bytes", limits.command_bytes, 1 << 10..=64 << 20, "bytes")?;
        if limits.post_bytes < 1 << 10 {
            return Err("[limits] post_bytes is less than 1024, too small for a row".into());
        }
        Ok(())
    }

    fn check_options(&self) -> Result<(), String> {
        let options = &self.device.options;
        if options.len() > MOST_OPTIONS {
            return Err(format!("[device] options has more than {MOST_OPTIONS} names"));
        }
        for (name, value) in options {
            let wrong = |why: String| format!("[device] options: {name:?} {why}");
            check_name(name).map_err(wrong)?;
            check_value(name, value).map_err(|why| wrong(format!("has a value that {why}")))?;
            if is_taken(name) {
                let why = "is counted by the terminal, or another key or the server sets it";
                return Err(wrong(why.into()));
            }
            if options.keys().any(|other| other != name && is_same_option(other, name)) {
                return Err(wrong("is there twice".into()));
            }
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), String> {
        let needs_tls = |url: &str| url.starts_with("https:") && cfg!(not(feature = "tls"));
        const MISSING: &str = "https://, but this punchd was built without the feature `tls`";
        if needs_tls(&self.server.url) {
            return Err(format!("server is {MISSING}"));
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => return Err("[tls] cert has no key: set key, too".into()),
            (None, Some(_)) => return Err("[tls] key has no certificate: set cert, too".into()),
            _ => {}
        }
        match self.commands.urls.iter().find(|url| needs_tls(url)) {
            Some(url) => Err(format!("[commands] urls: {url:?} is {MISSING}")),
            None => Ok(()),
        }
    }

    fn check_upgrade(&self) -> Result<(), String> {
        let upgrade = &self.upgrade;
        if upgrade.connect_seconds <= upgrade.probation_seconds {
            return Err("[upgrade] connect_seconds is not longer than probation_seconds".into());
        }
        let Some(key) = &upgrade.public_key else { return Ok(()) };
        PublicKey::parse(key).map(drop).map_err(|why| format!("[upgrade] public_key {why}"))
    }

    fn check_directories(&self) -> Result<(), String> {
        let Self { commands, store, .. } = self;
        for dir in commands.put_dirs.iter().chain(&commands.get_dirs) {
            if !dir.is_absolute() {
                return Err(format!("[commands] {} is not an absolute path", dir.display()));
            }
            if without_links(store).starts_with(without_links(dir)) {
                return Err(format!(
                    "[commands] {} holds the store, {}: the server could overwrite or fetch it; \
                     name a directory beneath it",
                    dir.display(),
                    store.display()
                ));
            }
        }
        Ok(())
    }

    fn check_urls(&self) -> Result<(), String> {
        for url in &self.commands.urls {
            let has_scheme = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
            if !has_scheme || url.parse::<Uri>().is_err() {
                return Err(format!(
                    "[commands] urls: {url:?} is not a URL of http:// or https://"
                ));
            }
        }
        Ok(())
    }
}

fn check<T>(key: &str, value: T, range: RangeInclusive<T>, unit: &str) -> Result<(), String>
where
    T: PartialOrd + std::fmt::Display,
{
    if range.contains(&value) {
        return Ok(());
    }
    let (from, to) = range.into_inner();
    Err(format!("{key} = {value} is not within {from} to {to} {unit}"))
}

/// A path without symbolic links, as far as it exists.
fn without_links(path: &Path) -> PathBuf {
    let exists = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    match exists {
        Some((part, real)) => real.join(path.strip_prefix(part).unwrap_or(Path::new(""))),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<Config>(text).unwrap().check()
    }

    /// The same, of this beside a server and a serial number.
    fn check_more(more: &str) -> Result<(), String> {
        check(&format!("server = \"http://h\"\nserial = \"S\"\n{more}"))
    }

    #[test]
    fn each_number_has_a_lowest_and_a_highest() {
        for (table, key, lowest, highest) in [
            ("timeouts", "connect", 1, 86_400_u64),
            ("timeouts", "answer", 1, 86_400),
            ("timeouts", "body", 1, 86_400),
            ("timeouts", "poll", 1, 86_400),
            ("timeouts", "retry", 1, 86_400),
            ("commands", "shell_seconds", 1, 3_600),
            ("commands", "shell_bytes", 0, 1_048_576),
            ("upgrade", "seconds", 1, 3_600),
            ("device", "enroll_seconds", 1, 3_600),
            ("verification", "seconds", 1, 60),
            ("remote", "seconds", 1, 60),
            ("remote", "keep_minutes", 1, 525_600),
            ("upload", "rows", 1, 4_096),
            ("limits", "command_bytes", 1_024, 67_108_864),
        ] {
            let set = |number: u64| check_more(&format!("[{table}]\n{key} = {number}"));
            assert_eq!((set(lowest), set(highest)), (Ok(()), Ok(())), "{key}");
            for wrong in lowest.checked_sub(1).into_iter().chain([highest + 1]) {
                let message = set(wrong).expect_err(key);
                let begin =
                    format!("[{table}] {key} = {wrong} is not within {lowest} to {highest}");
                assert!(message.starts_with(&begin), "{message}");
            }
        }
        assert_eq!(check_more("[limits]\npost_bytes = 1024"), Ok(()));
        assert!(check_more("[limits]\npost_bytes = 1023").unwrap_err().contains("post_bytes"));
    }

    #[test]
    fn directories_of_the_server_do_not_hold_the_store() {
        let place = std::env::temp_dir().join(format!("punchd-config-{}", std::process::id()));
        std::fs::create_dir_all(place.join("files")).unwrap();
        std::os::unix::fs::symlink(&place, place.join("files/link")).unwrap();
        let check_dir = |key: &str, dir: &str| {
            let place = place.display();
            check_more(&format!(
                "store = \"{place}/punchd.db\"\n[commands]\n{key} = [\"{place}{dir}\"]"
            ))
        };
        for key in ["put_dirs", "get_dirs"] {
            assert_eq!(check_dir(key, "/files"), Ok(()));
            for dir in ["", "/", "/..", "/files/link", "/punchd.db"] {
                assert!(check_dir(key, dir).unwrap_err().contains("holds the store"), "{dir:?}");
            }
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (more, message) in [
            ("[device.options]\n\"a b\" = \"1\"", "[device] options: \"a b\" is not"),
            ("[device.options]\nMAC = \"a\\nb\"", "[device] options: \"MAC\" has a value that"),
            ("[device.options]\nUserCount = \"1\"", "[device] options: \"UserCount\" is counted"),
            ("[device.options]\nMAC = \"1\"\n\"~mac\" = \"2\"", "is there twice"),
            ("[limits]\npunches = 0", "no room"),
            ("[tls]\ncert = \"/c.pem\"", "[tls] cert has no key"),
            ("[tls]\nkey = \"/k.pem\"", "[tls] key has no certificate"),
            ("[commands]\nurls = [\"ftp://h\"]", "is not a URL"),
            ("[commands]\nput_dirs = [\"files\"]", "is not an absolute path"),
        ] {
            let refused = check_more(more).unwrap_err();
            assert!(refused.contains(message), "{more:?}: {refused}");
        }
    }
}
