//! The program `iclock-emulator`: a strict server in the foreground, one line for each event.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::{fs, thread};

use iclock_emulator::{Emulator, Kind, Manners, Persona, Settings, Tls};
use lexopt::prelude::*;

const HELP: &str = "\
A strict server for the PUSH protocol.

Usage: iclock-emulator [OPTIONS]

  --listen ADDRESS       where terminals connect (127.0.0.1:8081)
  --admin ADDRESS        where the admin interface is, JSON over HTTP (none);
                         GET / lists its paths
  --page ADDRESS         where the page for browsers is (none)
  --option KEY=VALUE     an option of the handshake; may be repeated
  --serial SN            a serial number it knows; may be repeated (any)
  --attlog-key KEY       the key of attendance rows, for --option EncryptFlag=1
  --exchange-keys        exchange keys, with --option Encrypt=1, and encrypt what
                         follows
  --persona NAME         which server of the field to play:
                         PERSONAS
  --allow KIND           a kind of deviation to permit; may be repeated
  --tls-cert FILE        the certificate chain, PEM: then it speaks HTTPS
  --tls-key FILE         its key, PEM
  --tls-private-ca FILE  make a throw-away certificate for localhost, write the
                         authority's certificate to FILE, and speak HTTPS
  --once-strict          end with exit code 1 at the first deviation
  --help, --version
";

struct Arguments {
    settings: Settings,
    allowed: Vec<Kind>,
    once_strict: bool,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| arguments.map_or(Ok(()), run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iclock-emulator: {error}");
            ExitCode::from(64)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), lexopt::Error> {
    let mut settings = arguments.settings;
    let once_strict = arguments.once_strict;
    settings.log = Some(Arc::new(move |line| {
        println!("{line}");
        if once_strict && line.starts_with("deviation: ") {
            std::process::exit(1);
        }
    }));
    let emulator = Emulator::start(settings).map_err(|error| error.to_string())?;
    arguments.allowed.into_iter().for_each(|kind| emulator.allow(kind));
    println!("terminals connect to {}", emulator.url());
    if let Some(admin) = emulator.admin_address() {
        println!("the admin interface is at http://{admin}");
    }
    if let Some(page) = emulator.page_address() {
        println!("the page is at http://{page}");
    }
    loop {
        thread::park();
    }
}

/// `None` when there is nothing to run.
fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let mut settings =
        Settings { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)), ..Settings::default() };
    let (mut allowed, mut once_strict) = (Vec::new(), false);
    let (mut certificates, mut key) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => settings.listen = parser.value()?.parse()?,
            Long("admin") => settings.admin = Some(parser.value()?.parse()?),
            Long("page") => settings.page = Some(parser.value()?.parse()?),
            Long("option") => settings.options.push(parser.value()?.parse_with(pair)?),
            Long("serial") => settings.serials.push(parser.value()?.string()?),
            Long("attlog-key") => settings.attlog_key = Some(parser.value()?.string()?),
            Long("exchange-keys") => settings.exchanges_keys = true,
            Long("persona") => {
                let persona = parser
                    .value()?
                    .parse_with(|name| Persona::named(name).ok_or("no such persona; see --help"))?;
                settings.manners = Manners::of(persona);
            }
            Long("allow") => allowed.push(
                parser.value()?.parse_with(|name| Kind::named(name).ok_or("no such deviation"))?,
            ),
            Long("tls-cert") => certificates = Some(read(&parser.value()?.string()?)?),
            Long("tls-key") => key = Some(read(&parser.value()?.string()?)?),
            Long("tls-private-ca") => settings.tls = Some(make_ca(&parser.value()?.string()?)?),
            Long("once-strict") => once_strict = true,
            Long("help") | Short('h') => {
                print!("{}", help());
                return Ok(None);
            }
            Long("version") | Short('V') => {
                println!("iclock-emulator {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            other => return Err(other.unexpected()),
        }
    }
    match (certificates, key) {
        (None, None) => {}
        (Some(certificates), Some(key)) => {
            settings.tls = Some(Tls { certificates, key, clients: None })
        }
        _ => return Err("--tls-cert and --tls-key go together".into()),
    }
    Ok(Some(Arguments { settings, allowed, once_strict }))
}

fn help() -> String {
    let names: Vec<String> = Persona::ALL.iter().map(ToString::to_string).collect();
    HELP.replace(
        "PERSONAS",
        &names
            .chunks(4)
            .map(|line| line.join(", "))
            .collect::<Vec<_>>()
            .join(",\n                         "),
    )
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("not of the form KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn read(path: &str) -> Result<String, lexopt::Error> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}").into())
}

#[cfg(not(feature = "tls"))]
fn make_ca(_: &str) -> Result<Tls, lexopt::Error> {
    Err("--tls-private-ca is not in this build: it needs the feature tls".into())
}

#[cfg(feature = "tls")]
fn make_ca(path: &str) -> Result<Tls, lexopt::Error> {
    let made = iclock_emulator::private_ca().map_err(|error| error.to_string())?;
    fs::write(path, &made.ca).map_err(|error| format!("{path}: {error}"))?;
    Ok(Tls { certificates: made.certificate, key: made.key, clients: None })
}
