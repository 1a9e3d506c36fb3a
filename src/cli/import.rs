//! `punchd import`: records the punches of a CSV file.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::arguments::{Argument, Arguments, Halt};
use super::call::print;
use super::exit::{Exit, Failure};
use super::page::Page;
use super::punch::Punch;
use crate::csv;

pub const PAGE: Page = Page {
    name: "import",
    arguments: "[FILE]",
    summary: "record the punches of a CSV file",
    details: "\
Records every punch of FILE through the running punchd; without FILE, or with
-, of standard input. On the terminal that exported the file, this records
every punch a second time.

The file is UTF-8 text as `punchd export` or a spreadsheet writes it: commas
between the fields (RFC 4180), and this first line:

  pin,time,status,verify,workcode,mask,temperature

The whole file is checked first. If a line is wrong, a message names it,
nothing is recorded, and the exit code is 65.

Example:
  punchd import punches.csv
",
};

#[derive(Debug, PartialEq)]
pub struct Import {
    /// None for standard input.
    file: Option<PathBuf>,
}

impl Import {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let mut file: Option<OsString> = None;
        while let Some(argument) = arguments.next()? {
            match argument {
                Argument::Argument(name) if file.is_none() => file = Some(name),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Self { file: file.filter(|name| name != "-").map(PathBuf::from) })
    }

    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let name = match &self.file {
            Some(file) => file.display().to_string(),
            None => "standard input".to_owned(),
        };
        let failed = |message| Failure::new(Exit::Data, format!("{name}: {message}"));
        // The whole file is read before anything is recorded.
        let text = self.read().map_err(|error| match error.kind() {
            ErrorKind::InvalidData => failed("this is not UTF-8 text; save it as such".into()),
            _ => failed(error.to_string()),
        })?;
        let punches = csv::read(&text).map_err(failed)?;
        for (nth, (line, punch)) in punches.iter().enumerate() {
            Punch::from(punch).record(config).map_err(|failure| Failure {
                message: format!(
                    "{name}: line {line}: {}; {nth} punches before it were recorded",
                    failure.message
                ),
                ..failure
            })?;
        }
        print(&format!("{} punches recorded\n", punches.len()));
        Ok(())
    }

    fn read(&self) -> io::Result<String> {
        match &self.file {
            Some(file) => std::fs::read_to_string(file),
            None => io::read_to_string(io::stdin()),
        }
    }
}
