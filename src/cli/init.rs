//! `punchd init`: writes a configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::arguments::{Arguments, Halt};
use super::call::print;
use super::exit::{Exit, Failure};
use super::page::Page;
use crate::config::Config;
use crate::store::replace;

pub const PAGE: Page = Page {
    name: "init",
    arguments: "[--here] [--server URL] [--serial SERIAL]",
    summary: "write a configuration",
    details: "\
Writes a configuration, as FILE of --config if that is given. A file that is
there stays as it is, and the exit code is 73.

Options:
  --here              a terminal on this computer, without root: punchd.toml in
                      this directory (without it: /etc/punchd.toml), and the
                      store, the driver socket and a directory for files in
                      this directory, too; this computer's clock is not set
  --server URL        the server (with --here: default http://127.0.0.1:8081)
  --serial SERIAL     the serial number by which the server knows the terminal
                      (with --here: default TEST0001)

Example:
  punchd init --here --server http://192.168.1.10:8081
",
};

/// Where `--here` writes, without `--config`.
const FILE_HERE: &str = "punchd.toml";

/// What is to be written, and whether for this directory.
#[derive(Debug, Default, PartialEq)]
pub struct Init {
    here: bool,
    server: String,
    serial: String,
}

impl Init {
    pub fn parse(arguments: &mut Arguments) -> Result<Self, Halt> {
        let (mut here, mut server, mut serial) = (false, None, None);
        while let Some(argument) = arguments.next()? {
            match argument.option() {
                Some("--here") => here = true,
                Some("--server") => server = Some(arguments.value()?),
                Some("--serial") => serial = Some(arguments.value()?),
                _ => return Err(argument.unexpected()),
            }
        }
        if here {
            arguments.config.get_or_insert_with(|| FILE_HERE.into());
        }
        let or = |given: Option<String>, option: &str, default: &str| match given {
            Some(given) => Ok(given),
            None if here => Ok(default.to_owned()),
            None => Err(Halt::Usage(format!("{option} is missing"))),
        };
        let server = or(server, "--server URL", "http://127.0.0.1:8081")?;
        Ok(Self { here, server, serial: or(serial, "--serial SERIAL", "TEST0001")? })
    }

    pub fn run(&self, file: &Path) -> Result<(), Failure> {
        let failed = |path: &Path, exit, error: io::Error| {
            Failure::new(exit, format!("{}: {error}", path.display()))
        };
        let here = std::env::current_dir();
        let here = here.map_err(|error| failed(Path::new("."), Exit::System, error))?;
        let text = self.text(&here)?;
        let config = Config::parse(file, &text).map_err(|error| error.to_string());
        let fault = config.and_then(|config| config.faults_of_values().pop().map_or(Ok(()), Err));
        fault.map_err(|why| Failure::new(Exit::Usage, format!("nothing is written: {why}")))?;
        if file.symlink_metadata().is_ok() {
            let why = "is there already, and stays as it is; --config FILE names another";
            return Err(Failure::new(Exit::CannotCreate, format!("{} {why}", file.display())));
        }
        if self.here {
            let files = here.join("files");
            let made = fs::create_dir_all(&files);
            made.map_err(|error| failed(&files, Exit::CannotCreate, error))?;
        }
        replace(file, &text).map_err(|error| failed(file, Exit::CannotCreate, error))?;
        let file = file.display();
        print(&format!("{file}: terminal {}; start it with: punchd -c {file} run\n", self.serial));
        Ok(())
    }

    /// The file, for a terminal that lives in this directory if it is one.
    fn text(&self, here: &Path) -> Result<String, Failure> {
        let mut text =
            String::from("# docs/configuration.md has all keys; punchd check checks them.\n");
        let mut add = |key: &str, value: &str| text += &format!("{key} = {}\n", quoted(value));
        add("server", &self.server);
        add("serial", &self.serial);
        if !self.here {
            return Ok(text);
        }
        let path = |name: PathBuf| {
            name.to_str().map(str::to_owned).ok_or_else(|| {
                Failure::new(Exit::System, format!("{} is no text in UTF-8", name.display()))
            })
        };
        add("store", &path(here.join("punchd.db"))?);
        add("run_dir", &path(here.to_owned())?);
        add("clock", "own");
        let files = quoted(&path(here.join("files"))?);
        Ok(text + &format!("\n[commands]\nput_dirs = [{files}]\nget_dirs = [{files}]\n"))
    }
}

/// A string as TOML writes it: the escapes of JSON are among those of TOML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
