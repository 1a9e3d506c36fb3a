//! `punchd check`: whether the configuration can work.

use std::path::Path;

use super::arguments::{Arguments, Halt};
use super::call::{load, print};
use super::exit::{Exit, Failure};
use super::page::Page;
use crate::clock::ClockOffset;
use crate::config::Config;
use crate::machine::KNOWN_SCHEMA;
use crate::signature;
use crate::store::{READABLE_FROM, SCHEMA_VERSION};
use crate::uplink::Server;

pub const PAGE: Page = Page {
    name: "check",
    arguments: "[--strict]",
    summary: "check the configuration",
    details: "\
Checks the configuration, and that the certificates, directories, programs
and groups that it names are there, without a connection to the server. If
something is wrong, the message names the line or the key, and what to change,
and the exit code is 78. A start is less strict: what can be mended while
punchd runs is written into the log.

Options:
  --strict            also name each setting that is weaker than it can be, one
                      a line; if there is one, the exit code is 1

Example:
  punchd check -c /tmp/punchd.toml
",
};

#[derive(Debug, PartialEq)]
pub struct Check {
    pub(super) is_strict: bool,
}

impl Check {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let mut check = Self { is_strict: false };
        while let Some(argument) = arguments.next()? {
            match argument.option() {
                Some("--strict") => check.is_strict = true,
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(check)
    }

    pub fn run(&self, path: &Path) -> Result<(), Failure> {
        let config = run(path)?;
        if self.is_strict { name_weaknesses(&config, path) } else { Ok(()) }
    }
}

#[cfg(feature = "hardened")]
fn name_weaknesses(config: &Config, path: &Path) -> Result<(), Failure> {
    fail_if_any(Exit::Attention, path, &config.weaknesses(path))
}

#[cfg(not(feature = "hardened"))]
fn name_weaknesses(_: &Config, _: &Path) -> Result<(), Failure> {
    Err(Failure::new(Exit::Usage, "this punchd was built without the feature `hardened`"))
}

fn run(path: &Path) -> Result<Config, Failure> {
    let config = load(path)?;
    check_way_back()?;
    let tls = Server::check(&config.uplink_settings(ClockOffset::default())).err();
    let mut unseen = Vec::new();
    let faults: Vec<_> = config.faults(&mut unseen).into_iter().chain(tls).collect();
    fail_if_any(Exit::Config, path, &faults)?;
    for unseen in unseen {
        log::warn!("{}: {unseen}", path.display());
    }
    print(&format!("{}: terminal {} of {}\n", path.display(), config.serial, config.server.url));
    Ok(config)
}

/// Fails with what was found in the file, one a line, if anything was.
fn fail_if_any(exit: Exit, path: &Path, found: &[String]) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = found.iter().map(|it| format!("{}: {it}", path.display())).collect();
    Err(Failure::new(exit, lines.join("\npunchd: ")))
}

/// For an upgrade: whether the program that runs here could go on with the store that this one makes of its
/// own, if it has to.
fn check_way_back() -> Result<(), Failure> {
    if !signature::IS_BUILT_IN {
        return Ok(());
    }
    let known = std::env::var(KNOWN_SCHEMA).ok().and_then(|known| known.parse::<i64>().ok());
    if known.is_some_and(|known| known < READABLE_FROM) {
        let message = format!(
            "there is no way back from this version: it makes a store of version {SCHEMA_VERSION}, which the program \
             that runs now cannot read. Install the releases between the two first, one after the other"
        );
        return Err(Failure::new(Exit::CannotCreate, message));
    }
    Ok(())
}
