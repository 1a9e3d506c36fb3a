//! The command line of `punchd`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, Value};
use punchd::clock::ClockOffset;
use punchd::config::{Config, DEFAULT_PATH};
use punchd::daemon::{self, Stop};
use punchd::drivers::{self, Spec, card_reader, options, relay};
use punchd::{csv, driver_socket, logging, status};
use serde_json::{Map, Value as Json};

const HELP: &str = "\
punchd keeps what an attendance terminal's sensors saw until the server has it,
and does what the server asks.

Usage: punchd [-c FILE] [-v] COMMAND

Commands:
  run                 be the terminal, until TERM or INT; HUP reads the configuration again
      --set-aside-damaged-store   rename a damaged store and begin an empty one
  check               say whether the configuration can work
  status [--json]     ask the running punchd how it stands
  quarantine [list]   show the rows that the server refuses, with its message
  quarantine retry|drop [SEQ]   send them once more, or give them up; all, or one by its number
  export              print all punches as CSV
  import FILE         record the punches of such a file; - for standard input
  punch --pin PIN     record a punch through the running punchd
      [--time 'YYYY-MM-DD hh:mm:ss'] [--status N] [--verify N] [--workcode CODE]
  card-reader DEVICE  be the driver of a card reader that types: /dev/input/event…, a tty, a FIFO
      [--again SECONDS]   how long the same card is one punch (default 3)
      [--status N]        0 for a reader at the way in (default), 1 at the way out
      [--hex | --hex-reversed]   numbers are hexadecimal, highest or lowest byte first
      [--baud RATE]       speed of a serial line
  relay LINE          be the driver of a door's relay on gpiochip0:17, or file:/path
      [--pulse MS]        how long the door is unlocked (default 3000)
      [--alarm LINE]      the line of the alarm
      [--active-low]      the lines are active when they are low

Options:
  -c, --config FILE   the configuration (default /etc/punchd.toml)
  -v, --verbose       log what only developers read
  -h, --help          this text
  -V, --version       the version

Exit codes: 0 done, 64 wrong command line, 65 damaged store, 66 DEVICE is no card reader, 69 no
punchd is running or it refused, 71 the system refused something (LINE, too), 73 the store
cannot be opened, 78 wrong configuration.
";

// Exit codes as in sysexits.h.
const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const UNAVAILABLE: u8 = 69;
const SYSTEM: u8 = 71;
const CANT_CREATE: u8 = 73;
const CONFIG: u8 = 78;

/// What went wrong, and the exit code that says so.
struct Failure {
    message: String,
    code: u8,
}

enum Command {
    Run { set_aside: bool },
    Check,
    Status { json: bool },
    Punch(Map<String, Json>),
    Quarantine(Map<String, Json>),
    Export,
    Import(Option<PathBuf>),
    CardReader(options::CardReader),
    Relay(options::Relay),
    Say(String),
}

struct Arguments {
    config: PathBuf,
    verbose: bool,
    command: Command,
}

fn main() -> ExitCode {
    let done = arguments()
        .map_err(|error| Failure { message: format!("{error}; see punchd --help"), code: USAGE })
        .and_then(|arguments| {
            logging::start(arguments.verbose);
            execute(&arguments.config, arguments.command)
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("punchd: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn execute(config: &Path, command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { set_aside } => daemon::run(config, set_aside).map_err(stopped),
        Command::Check => check(config),
        Command::Status { json } => {
            let report = ask(config, "status", Map::new())?;
            say(&if json {
                format!(
                    "{report:#}
"
                )
            } else {
                status::describe(&report)
            });
            Ok(())
        }
        Command::Punch(punch) => {
            let recorded = ask(config, "punch", punch)?;
            say(&format!("recorded as number {}\n", recorded["seq"]));
            Ok(())
        }
        Command::Quarantine(what) => {
            let done = ask(config, "quarantine", what)?;
            say(&match done["rows"].as_u64() {
                Some(rows) => format!("{rows} rows\n"),
                None => format!("{done:#}\n"),
            });
            Ok(())
        }
        Command::Export => export(config),
        Command::Import(file) => import(config, &file.unwrap_or_else(|| "-".into())),
        Command::CardReader(options) => {
            card_reader::run(&load(config)?.run_dir, &options).map_err(ended)
        }
        Command::Relay(options) => relay::run(&load(config)?.run_dir, &options).map_err(ended),
        Command::Say(text) => {
            say(&text);
            Ok(())
        }
    }
}

fn stopped(stop: Stop) -> Failure {
    let (message, code) = match stop {
        Stop::Config(message) => (message, CONFIG),
        Stop::Damaged(error) => (error.to_string(), DATA),
        Stop::Store(error) => (error.to_string(), CANT_CREATE),
        Stop::System(message) => (message, SYSTEM),
    };
    Failure { message, code }
}

fn ended(stop: drivers::Stop) -> Failure {
    let (message, code) = match stop {
        drivers::Stop::Usage(message) => (format!("{message}; see punchd --help"), USAGE),
        drivers::Stop::NoReader(message) => (message, NO_INPUT),
        drivers::Stop::System(message) => (message, SYSTEM),
    };
    Failure { message, code }
}

/// Prints, also into a pipe whose reader has gone.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| Failure { message: error.to_string(), code: CONFIG })
}

fn check(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    punchd::uplink::Server::check(&daemon::settings(&config, ClockOffset::default())).map_err(
        |message| Failure { message: format!("{}: {message}", path.display()), code: CONFIG },
    )?;
    say(&format!("{}: terminal {} of {}\n", path.display(), config.serial, config.server));
    Ok(())
}

/// Prints all punches, page by page.
fn export(config: &Path) -> Result<(), Failure> {
    say(&format!("{}\n", csv::HEADER));
    let mut after = Json::from(0);
    while !after.is_null() {
        let mut page = ask(config, "export", Map::from_iter([("after".to_owned(), after)]))?;
        for row in page["rows"].as_array().into_iter().flatten() {
            say(&format!("{}\n", row.as_str().unwrap_or_default()));
        }
        after = page["next"].take();
    }
    Ok(())
}

/// Records every punch of a file; the first bad line ends it, with its number.
fn import(config: &Path, file: &Path) -> Result<(), Failure> {
    let failed =
        |message: String| Failure { message: format!("{}: {message}", file.display()), code: DATA };
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    }
    .map_err(|error| failed(error.to_string()))?;
    // The whole file is read before anything is recorded.
    let punches = csv::read(&text).map_err(failed)?;
    let count = punches.len();
    for (nth, (line, punch)) in punches.into_iter().enumerate() {
        let punch = Map::from_iter([
            ("pin".to_owned(), punch.pin.as_str().into()),
            ("time".to_owned(), punch.time.to_string().into()),
            ("status".to_owned(), punch.status.into()),
            ("verify".to_owned(), punch.verify.into()),
            ("workcode".to_owned(), punch.workcode.as_str().into()),
        ]);
        ask(config, "punch", punch).map_err(|failure| Failure {
            message: format!(
                "{}: line {line}: {}; {nth} punches before it were recorded",
                file.display(),
                failure.message
            ),
            ..failure
        })?;
    }
    say(&format!("{count} punches recorded\n"));
    Ok(())
}

fn ask(path: &Path, method: &str, params: Map<String, Json>) -> Result<Json, Failure> {
    let socket = driver_socket::socket_path(&load(path)?.run_dir);
    driver_socket::call(&socket, method, &Json::Object(params))
        .map_err(|message| Failure { message, code: UNAVAILABLE })
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut config = PathBuf::from(DEFAULT_PATH);
    let mut verbose = false;
    let mut command = None;
    while let Some(argument) = parser.next()? {
        match (argument, &mut command) {
            (Short('c') | Long("config"), _) => config = parser.value()?.into(),
            (Short('v') | Long("verbose"), _) => verbose = true,
            (Short('h') | Long("help"), _) => command = Some(Command::Say(HELP.into())),
            (Short('V') | Long("version"), _) => {
                command = Some(Command::Say(format!("punchd {}\n", env!("CARGO_PKG_VERSION"))));
            }
            (Value(name), None) => command = Some(named(&name.to_string_lossy())?),
            (Value(file), Some(Command::Import(place @ None))) => *place = Some(file.into()),
            (Value(word), Some(Command::Quarantine(what))) => {
                let word = word.to_string_lossy().into_owned();
                match word.parse::<u64>() {
                    Ok(seq) => what.insert("seq".into(), seq.into()),
                    Err(_) => what.insert("action".into(), word.into()),
                };
            }
            (Value(device), Some(Command::CardReader(options))) if options.device.is_none() => {
                options.device = Some(device.into());
            }
            (Value(line), Some(Command::Relay(options))) if options.door.is_none() => {
                options.door = Some(Spec::parse(&line.to_string_lossy())?);
            }
            (Long("set-aside-damaged-store"), Some(Command::Run { set_aside })) => {
                *set_aside = true
            }
            (Long("json"), Some(Command::Status { json })) => *json = true,
            (Long(field @ ("pin" | "time" | "workcode")), Some(Command::Punch(punch))) => {
                let field = field.to_owned();
                punch.insert(field, parser.value()?.to_string_lossy().into());
            }
            (Long(field @ ("status" | "verify")), Some(Command::Punch(punch))) => {
                let field = field.to_owned();
                let number: u64 = lexopt::ValueExt::parse(&parser.value()?)?;
                punch.insert(field, number.into());
            }
            (Long(name), Some(Command::CardReader(options))) => {
                let name = name.to_owned();
                options.set(&name, &mut parser)?;
            }
            (Long(name), Some(Command::Relay(options))) => {
                let name = name.to_owned();
                options.set(&name, &mut parser)?;
            }
            (other, _) => return Err(other.unexpected()),
        }
    }
    let command = command.ok_or("a command is missing")?;
    Ok(Arguments { config, verbose, command })
}

fn named(name: &str) -> Result<Command, lexopt::Error> {
    match name {
        "run" => Ok(Command::Run { set_aside: false }),
        "check" => Ok(Command::Check),
        "status" => Ok(Command::Status { json: false }),
        "punch" => Ok(Command::Punch(Map::new())),
        "export" => Ok(Command::Export),
        "import" => Ok(Command::Import(None)),
        "card-reader" => Ok(Command::CardReader(Default::default())),
        "relay" => Ok(Command::Relay(Default::default())),
        "quarantine" => Ok(Command::Quarantine(Map::new())),
        other => Err(format!("there is no command {other:?}").into()),
    }
}
