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
Checks the configuration and the certificates that it names, without a
connection to the server. If something is wrong, the message names the line
and the key, and the exit code is 78.

Example:
  punchd check -c /tmp/punchd.toml
",
};

pub fn run(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    Server::check(&config.uplink_settings(ClockOffset::default()))
        .map_err(|message| Failure::new(Exit::Config, format!("{}: {message}", path.display())))?;
    print(&format!("{}: terminal {} of {}\n", path.display(), config.serial, config.server.url));
    Ok(())
}
