//! The command line of `punchd`: the arguments as one of several actions, each with types of its
//! own, and one file for each command.
//!
//! The program ends with an exit code of `exit::Exit`, and says on standard error what is wrong.

mod arguments;
mod call;
mod card_reader;
mod check;
mod doctor;
mod exit;
mod export;
mod help;
mod import;
mod init;
mod page;
mod punch;
mod quarantine;
mod relay;
mod run;
mod status;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use arguments::{Argument, Arguments, Halt};
use exit::{Exit, Failure};
use help::Command;

use crate::config::DEFAULT_PATH;
use crate::drivers::settings;
use crate::logging;
use crate::protocol::foreign;

/// Does what the command line of this process asks for. The exit code is 0 only if it is done.
pub fn main() -> ExitCode {
    let mut arguments = Arguments::new(lexopt::Parser::from_env());
    let done = Action::parse(&mut arguments).and_then(|action| {
        logging::start(arguments.verbose);
        action.run(arguments.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH)))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, exit }) => {
            eprintln!("punchd: {}", foreign::lines(&message));
            exit.into()
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
enum Action {
    Init(init::Init),
    Run(run::Run),
    Check(check::Check),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Quarantine(quarantine::Quarantine),
    Export,
    Import(import::Import),
    Punch(punch::Punch),
    CardReader(settings::CardReader),
    Relay(settings::Relay),
    Help(Option<Command>),
    Version,
}

impl Action {
    /// Reads the whole command line. `--help` and `--version` end it early.
    fn parse(arguments: &mut Arguments) -> Result<Self, Failure> {
        let command = match Self::command(arguments) {
            Ok(command) => command,
            Err(halt) => return Self::halted(halt, None),
        };
        Self::of(command, arguments).or_else(|halt| Self::halted(halt, Some(command)))
    }

    /// The first argument that is not an option of every command.
    fn command(arguments: &mut Arguments) -> Result<Command, Halt> {
        match arguments.next()? {
            Some(Argument::Argument(name)) => Command::named(&name),
            Some(option) => Err(option.unexpected()),
            None => Err(Halt::Usage("a command is missing".into())),
        }
    }

    /// The arguments that follow the command.
    fn of(command: Command, arguments: &mut Arguments) -> Result<Self, Halt> {
        Ok(match command {
            Command::Init => Self::Init(init::Init::parse(arguments)?),
            Command::Run => Self::Run(run::Run::parse(arguments)?),
            Command::Check => Self::Check(check::Check::parse(arguments)?),
            Command::Status => Self::Status(status::Status::parse(arguments)?),
            Command::Doctor => Self::Doctor(doctor::Doctor::parse(arguments)?),
            Command::Quarantine => Self::Quarantine(quarantine::Quarantine::parse(arguments)?),
            Command::Export => arguments.end().map(|()| Self::Export)?,
            Command::Import => Self::Import(import::Import::parse(arguments)?),
            Command::Punch => Self::Punch(punch::Punch::parse(arguments)?),
            Command::CardReader => Self::CardReader(card_reader::parse(arguments)?),
            Command::Relay => Self::Relay(relay::parse(arguments)?),
            Command::Help => Self::Help(help::parse(arguments)?),
        })
    }

    /// The command line was not read to its end.
    fn halted(halt: Halt, command: Option<Command>) -> Result<Self, Failure> {
        match (halt, command) {
            (Halt::Help, command) => Ok(Self::Help(command)),
            (Halt::Version, _) => Ok(Self::Version),
            (Halt::Usage(message), command) => {
                let help =
                    command.map_or("--help".into(), |known| format!("help {}", known.page().name));
                Err(Failure::new(Exit::Usage, format!("{message}; see punchd {help}")))
            }
        }
    }

    fn run(&self, config: &Path) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run(config),
            Self::Run(run) => run.run(config),
            Self::Check(check) => check.run(config),
            Self::Status(status) => status.run(config),
            Self::Doctor(doctor) => doctor.run(config),
            Self::Quarantine(quarantine) => quarantine.run(config),
            Self::Export => export::run(config),
            Self::Import(import) => import.run(config),
            Self::Punch(punch) => punch.run(config),
            Self::CardReader(settings) => card_reader::run(config, settings),
            Self::Relay(settings) => relay::run(config, settings),
            Self::Help(command) => {
                help::run(*command);
                Ok(())
            }
            Self::Version => {
                call::print(concat!(
                    "punchd ",
                    env!("CARGO_PKG_VERSION"),
                    " (",
                    env!("PUNCHD_BUILD"),
                    ")\n"
                ));
                Ok(())
            }
        }
    }
}
