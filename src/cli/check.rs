//! `punchd check`: whether the configuration can work.

use std::path::Path;

use super::call::{load, print};
use super::exit::{Exit, Failure};
use super::page::Page;
use crate::clock::ClockOffset;
use crate::machine::KNOWN_SCHEMA;
use crate::signature;
use crate::store::{READABLE_FROM, SCHEMA_VERSION};
use crate::uplink::Server;

pub const PAGE: Page = Page {
    name: "check",
    arguments: "",
    summary: "check the configuration",
    details: "\
Checks the configuration, and that the certificates, directories, programs
and groups that it names are there, without a connection to the server. If
something is wrong, the message names the line or the key, and what to change,
and the exit code is 78. A start is less strict: what can be mended while
punchd runs is written into the log.

Example:
  punchd check -c /tmp/punchd.toml
",
};

pub fn run(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    check_way_back()?;
    let tls = Server::check(&config.uplink_settings(ClockOffset::default())).err();
    let faults: Vec<_> = config.faults().into_iter().chain(tls).collect();
    if !faults.is_empty() {
        let lines = faults.iter().map(|fault| format!("{}: {fault}", path.display()));
        let lines: Vec<_> = lines.collect();
        return Err(Failure::new(Exit::Config, lines.join("\npunchd: ")));
    }
    print(&format!("{}: terminal {} of {}\n", path.display(), config.serial, config.server.url));
    Ok(())
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
