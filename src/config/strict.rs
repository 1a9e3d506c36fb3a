//! Settings that are weaker than they can be, for `punchd check --strict`. Each is somebody's wish at some site; the list is
//! for those who want to know.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Config;
use super::tables::{Drivers, Permission};
use crate::clock::Authority;

/// Permissions of others than the owner of a file.
const OF_OTHERS: u32 = 0o077;
/// The same of those who are not of its group either.
const OF_EVERYBODY: u32 = 0o007;

impl Config {
    /// Each setting that is weaker than it can be: its key, what it lets happen, and what to set. `path` is the file
    /// of the configuration.
    pub fn weaknesses(&self, path: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut add =
            |is_so: bool, weakness: &str| found.extend(is_so.then(|| weakness.to_owned()));
        let plain = self.server.url.starts_with("http:");
        let allows = |permission: Permission| permission == Permission::Allow;
        add(
            plain,
            "server: with http:// everybody on the way reads templates and can answer for the server: set it to https://",
        );
        add(
            plain && self.clock == Authority::Server,
            "clock: with http:// everybody on the way can set the clock: set clock = \"system\", and NTP or a battery",
        );
        #[cfg(feature = "tls")]
        add(
            !plain && self.tls.pin.is_empty() && self.tls.ca.is_none(),
            "[tls]: every public authority can make a certificate for the server's name: set ca or pin",
        );
        let urls = self.commands.urls.iter().any(|url| url.starts_with("http:"));
        add(urls, "[commands] urls: what comes by http:// can be changed on the way: set https://");
        let commands = &self.commands;
        for (key, is_allowed, lets) in [
            ("shell", allows(commands.shell), "the server has full control of the device"),
            ("get_file", allows(commands.get_file), "the server reads files beneath get_dirs"),
            ("clear_data", allows(commands.clear_data), "one command deletes all people"),
            (
                "put_file",
                allows(commands.put_file) && !commands.put_dirs.is_empty(),
                "the server writes files beneath put_dirs",
            ),
        ] {
            add(is_allowed, &format!("[commands] {key}: {lets}: set {key} = \"deny\""));
        }
        let upgrade = &self.upgrade;
        let upgrades = allows(commands.upgrade)
            && (!upgrade.command.is_empty() || upgrade.public_key.is_some());
        add(
            upgrades && upgrade.public_key.is_none(),
            "[upgrade]: punchd does not check who made an upgrade: set public_key",
        );
        add(
            allows(upgrade.downgrade),
            "[upgrade] downgrade: an old program with known faults can be installed: set downgrade = \"deny\"",
        );
        let Drivers { mode, record, people, maintain, .. } = &self.drivers;
        add(
            mode & OF_EVERYBODY != 0,
            "[drivers] mode: every user of the device may be a driver: set mode = \"0660\", and group",
        );
        for (key, role) in [("record", record), ("people", people), ("maintain", maintain)] {
            add(
                role.is_none(),
                &format!(
                    "[drivers] {key}: every driver has this role: name users, and groups with @"
                ),
            );
        }
        add(
            allows(self.verification.fallback),
            "[verification] fallback: people pass while the server does not answer: set fallback = \"deny\"",
        );
        let has_secret = self.server.authorization.is_some() || self.server.query.is_some();
        let is_shown = |path: &Path, of: u32| {
            fs::metadata(path).is_ok_and(|file| file.permissions().mode() & of != 0)
        };
        let (file, store) = (path.display(), self.store.display());
        add(
            has_secret && is_shown(path, OF_EVERYBODY),
            &format!("{file}: every user can read the secret in server: chmod 640 {file}"),
        );
        add(
            is_shown(&self.store, OF_OTHERS),
            &format!(
                "store: others than its owner can read people and templates: chmod 600 {store}"
            ),
        );
        found
    }
}
