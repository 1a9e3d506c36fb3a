//! The command line, one option or argument after the other. The options that every command takes
//! (`-c`, `-v`, `-h`, `-V`) are taken here; the others are given to the command.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

/// The options and arguments that were not read yet.
pub struct Arguments {
    parser: Parser,
    /// `--config`: the configuration.
    pub config: Option<PathBuf>,
    /// `--verbose`.
    pub verbose: bool,
}

/// An option or an argument.
#[derive(Debug)]
pub enum Argument {
    /// An option with its dashes, without its value: `--pin`.
    Option(String),
    /// An argument that belongs to no option.
    Argument(OsString),
}

/// Why the command line was not read to its end.
#[derive(Debug)]
pub enum Halt {
    /// `--help` asks for help with the command.
    Help,
    /// `--version` asks for the version.
    Version,
    /// The command line is wrong; the message names what is wrong.
    Usage(String),
}

impl Arguments {
    /// The arguments that `parser` reads.
    pub fn new(parser: Parser) -> Self {
        Self { parser, config: None, verbose: false }
    }

    /// The next argument that is for the command; none at the end.
    pub fn next(&mut self) -> Result<Option<Argument>, Halt> {
        loop {
            return Ok(Some(match self.parser.next()? {
                None => return Ok(None),
                Some(Short('c') | Long("config")) => {
                    self.config = Some(self.parser.value()?.into());
                    continue;
                }
                Some(Short('v') | Long("verbose")) => {
                    self.verbose = true;
                    continue;
                }
                Some(Short('h') | Long("help")) => return Err(Halt::Help),
                Some(Short('V') | Long("version")) => return Err(Halt::Version),
                Some(Short(letter)) => Argument::Option(format!("-{letter}")),
                Some(Long(name)) => Argument::Option(format!("--{name}")),
                Some(Value(argument)) => Argument::Argument(argument),
            }));
        }
    }

    /// The value of the option that was read last.
    pub fn value(&mut self) -> Result<String, Halt> {
        Ok(self.parser.value()?.string()?)
    }

    /// The same, as a whole number within a range.
    pub fn number<T: TryFrom<u64>>(
        &mut self,
        option: &str,
        range: RangeInclusive<u64>,
    ) -> Result<T, Halt> {
        let text = self.value()?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let (lowest, highest) = range.into_inner();
            Halt::Usage(format!("{option} {text} is not a whole number from {lowest} to {highest}"))
        })
    }

    /// That nothing follows.
    pub fn end(&mut self) -> Result<(), Halt> {
        self.next()?.map_or(Ok(()), |argument| Err(argument.unexpected()))
    }
}

impl Argument {
    /// The option's name, if it is an option.
    pub fn option(&self) -> Option<&str> {
        match self {
            Self::Option(name) => Some(name),
            Self::Argument(_) => None,
        }
    }

    /// That the command does not take this argument.
    pub fn unexpected(self) -> Halt {
        Halt::Usage(match self {
            Self::Option(name) => format!("unknown option {name}"),
            Self::Argument(argument) => format!("unexpected argument {argument:?}"),
        })
    }
}

impl From<lexopt::Error> for Halt {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}
