//! `punchd help`: the commands by name, and what each takes.

use std::ffi::OsStr;

use super::arguments::{Argument, Arguments, Halt};
use super::call::print;
use super::page::{COMMON, Page};
use super::{
    card_reader, check, doctor, export, import, init, punch, quarantine, relay, run, status,
};

const INTRODUCTION: &str = "\
punchd keeps what an attendance terminal's sensors recorded until the server
has it, and does what the server asks.

Usage: punchd [-c FILE] [-v] COMMAND [OPTION...]

Commands:
";

const VERSION: &str = "  -V, --version       show the version\n\n";

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   something needs a person (punchd status --check, punchd doctor)
  64  the command line is wrong
  65  the store is damaged or is the file of another program, or the CSV file
      cannot be imported
  66  DEVICE is no card reader, or no row with this NUMBER is in quarantine
  69  no punchd is running, or it refused
  71  the system refused something, the LINE of the relay included
  73  the store cannot be opened, or a file cannot be written
  77  this user may not use the driver socket
  78  the configuration is wrong

punchd help COMMAND shows the options of a command.
";

pub const PAGE: Page = Page {
    name: "help",
    arguments: "[COMMAND]",
    summary: "show the commands, or the options of a command",
    details: "\
Shows what a command does, its options, and an example. Without COMMAND, shows
the list of the commands, and the exit codes.

Example:
  punchd help quarantine
",
};

/// A command of punchd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Init,
    Run,
    Check,
    Status,
    Doctor,
    Quarantine,
    Export,
    Import,
    Punch,
    CardReader,
    Relay,
    Help,
}

impl Command {
    /// Every command, in the order in which help lists them.
    pub const ALL: [Self; 12] = [
        Self::Init,
        Self::Run,
        Self::Check,
        Self::Status,
        Self::Doctor,
        Self::Quarantine,
        Self::Export,
        Self::Import,
        Self::Punch,
        Self::CardReader,
        Self::Relay,
        Self::Help,
    ];

    /// The command with this name.
    pub fn named(name: &OsStr) -> Result<Self, Halt> {
        let found = Self::ALL.into_iter().find(|command| name == command.page().name);
        found.ok_or_else(|| Halt::Usage(format!("there is no command {name:?}")))
    }

    /// Its name and its help.
    pub fn page(self) -> &'static Page {
        match self {
            Self::Init => &init::PAGE,
            Self::Run => &run::PAGE,
            Self::Check => &check::PAGE,
            Self::Status => &status::PAGE,
            Self::Doctor => &doctor::PAGE,
            Self::Quarantine => &quarantine::PAGE,
            Self::Export => &export::PAGE,
            Self::Import => &import::PAGE,
            Self::Punch => &punch::PAGE,
            Self::CardReader => &card_reader::PAGE,
            Self::Relay => &relay::PAGE,
            Self::Help => &PAGE,
        }
    }
}

/// Reads the options of `punchd help`: about which command, or about all.
pub fn parse(arguments: &mut Arguments) -> Result<Option<Command>, Halt> {
    let mut command = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Argument(name) if command.is_none() => command = Some(Command::named(&name)?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(command)
}

/// Prints the help for a command, or for all.
pub fn run(command: Option<Command>) {
    print(&text(command));
}

fn text(command: Option<Command>) -> String {
    if let Some(command) = command {
        return command.page().to_string();
    }
    let mut text = INTRODUCTION.to_owned();
    for command in Command::ALL {
        let page = command.page();
        text += &format!("  {:<18}  {}\n", page.name, page.summary);
    }
    text + "\n" + COMMON + VERSION + EXIT_CODES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_any_terminal_of_80_columns() {
        for command in Command::ALL.into_iter().map(Some).chain([None]) {
            for line in text(command).lines() {
                assert!(line.is_ascii() && line.len() <= 80, "{command:?}: {line:?}");
                assert!(!line.ends_with(' '), "{command:?}: {line:?}");
            }
        }
    }
}
