//! `punchd check`: whether the configuration can work.

use std::path::Path;

use super::call::{load, print};
use super::exit::{Exit, Failure};
use super::page::Page;
use crate::clock::ClockOffset;
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
    let tls = Server::check(&config.uplink_settings(ClockOffset::default())).err();
    let mut unseen = Vec::new();
    let faults: Vec<_> = config.faults(&mut unseen).into_iter().chain(tls).collect();
    if !faults.is_empty() {
        let lines = faults.iter().map(|fault| format!("{}: {fault}", path.display()));
        let lines: Vec<_> = lines.collect();
        return Err(Failure::new(Exit::Config, lines.join("\npunchd: ")));
    }
    for unseen in unseen {
        log::warn!("{}: {unseen}", path.display());
    }
    print(&format!("{}: terminal {} of {}\n", path.display(), config.serial, config.server.url));
    Ok(())
}
