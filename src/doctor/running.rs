//! What a running punchd says of itself: its `status`.

use serde_json::{Value, json};

use super::finding::{Finding, Level, Report};
use super::machine::free_room;
use crate::config::Config;
use crate::driver_socket::socket_path;
#[cfg(feature = "exchange")]
use crate::exchange::Mode;
use crate::protocol::foreign;
use crate::rpc::{self, CallError, Method};

/// Why rows wait that wait for a person.
const NEED_PERSON: [&str; 3] = ["set-aside", "passed-over", "retry"];

/// The punchd of this configuration.
pub(super) enum Daemon {
    /// It runs: its status.
    Runs(Value),
    /// None runs.
    Absent,
    /// It cannot be asked, and may run.
    Unknown,
}

impl Daemon {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Asks the running punchd for its status.
pub(super) fn ask(config: &Config, report: Report<'_>) -> Daemon {
    let socket = socket_path(&config.run_dir);
    match rpc::call(&socket, Method::Status, &json!({})) {
        Ok(mut status) => {
            foreign::make_plain(&mut status);
            report(version(&status));
            Daemon::Runs(status)
        }
        Err(CallError::NoAnswer { error, .. })
            if is_absent(&error) && !rpc::is_on_trial(&socket) =>
        {
            let message = format!("none runs ({}: {error})", socket.display());
            report(
                Finding::warning("punchd", message)
                    .remedy("what follows is checked without it; start it with `punchd run`"),
            );
            Daemon::Absent
        }
        Err(error) => {
            let level = if error.is_denied() { Level::Warning } else { Level::Fault };
            report(Finding { level, ..Finding::ok("punchd", error.to_string()) });
            Daemon::Unknown
        }
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

fn version(status: &Value) -> Finding {
    let (running, this) = (text(status, "version"), env!("CARGO_PKG_VERSION"));
    let message = format!("version {running} runs");
    if running == this {
        return Finding::ok("punchd", message);
    }
    Finding::warning("punchd", format!("{message}, and this program is version {this}"))
        .remedy("restart it")
}

/// Clock, zone, store and room, as it says.
pub(super) fn state(status: &Value, config: &Config, report: Report<'_>) {
    configuration(status, config, report);
    report(clock(status));
    report(zone(status));
    store(status, report);
    report(free_room(config));
}

/// Whether it goes by the configuration that is checked here.
fn configuration(status: &Value, config: &Config, report: Report<'_>) {
    let ours = [
        ("server", config.server.url.as_str(), "tell it to read the file: kill -HUP"),
        ("serial", config.serial.as_str(), "restart it"),
    ];
    for (key, this, remedy) in ours {
        let its = text(status, key);
        if its != this {
            let message = format!("it goes by {key} = {its:?}, and the file says {this:?}");
            report(Finding::fault("punchd", message).remedy(remedy));
        }
    }
}

fn clock(status: &Value) -> Finding {
    if status["clock_set"] != true {
        let rows = &status["held"];
        return Finding::warning("clock", format!("not set; {rows} rows wait for it"))
            .remedy("the server sets it: see what follows; or set it by hand");
    }
    // Before the zone is known there is no local time.
    let time = status["time"].as_str().unwrap_or("set");
    match status["last_date"]["reason"].as_str() {
        Some(reason) => {
            let message = format!("{time}; the server's Date does not set it: {reason}");
            let remedy = "correct the clock of the server, or what makes its answers slow";
            Finding::warning("clock", message).remedy(remedy)
        }
        None => Finding::ok("clock", time),
    }
}

fn zone(status: &Value) -> Finding {
    let name = status["zone"].as_str().unwrap_or("none");
    match text(status, "zone_source") {
        "unknown" => Finding::warning("zone", format!("not known; {name} is used"))
            .remedy("set TimeZone at the server, or timezone in punchd.toml"),
        "awaited" => Finding::warning("zone", "not known until the server names it")
            .remedy("punches wait for it: connect the server, or set timezone in punchd.toml"),
        source => Finding::ok("zone", format!("{name}, from {source}")),
    }
}

fn store(status: &Value, report: Report<'_>) {
    let before = [
        status["full"].as_str().map(|why| format!("new punches are refused: {why}")),
        status["failing"].as_str().map(|why| format!("nothing is recorded: {why}")),
    ];
    let mut is_well = true;
    for message in before.into_iter().flatten() {
        is_well = false;
        report(Finding::fault("store", message));
    }
    if status["store_damaged"] == true {
        is_well = false;
        report(
            Finding::fault("store", "it is damaged; punchd goes on with what can be read")
                .remedy("copy it, with its -wal, then see [limits] on_damage"),
        );
    }
    if let Some(notice) = status["store_notice"].as_str() {
        is_well = false;
        report(Finding::warning("store", notice));
    }
    let kib = |key: &str| status["room"][key].as_u64().unwrap_or(0) >> 10;
    if is_well {
        let (punches, rest) = (kib("punches"), kib("rest"));
        let message = format!("room for {punches} KiB of punches, {rest} KiB of everything else");
        report(Finding::ok("store", message));
    }
}

/// Whether keys were exchanged. The check of the handshake exchanges none.
#[cfg(feature = "exchange")]
pub(super) fn encryption(status: &Value, config: &Config, report: Report<'_>) {
    const CHECK: &str = "encryption";
    const REMEDY: &str = "let the server exchange keys as docs/encryption.md says";
    let is_required = config.client_settings().exchange == Mode::Required;
    match status["unencrypted"].as_str() {
        Some(why) if is_required => {
            let next = status["next_handshake_in"].as_u64().unwrap_or(0);
            let remedy = format!("{REMEDY}; the next attempt comes in {next} s");
            report(Finding::fault(CHECK, why).remedy(remedy));
        }
        Some(why) => {
            let remedy = format!("{REMEDY}, or use https:// and exchange = \"off\"");
            report(Finding::warning(CHECK, why).remedy(remedy));
        }
        None if status["encrypted"] == true => {
            report(Finding::ok(CHECK, "keys were exchanged with the server"));
        }
        None => {}
    }
}

/// What fails of the running punchd, where the link is found well.
pub(super) fn requests(status: &Value, report: Report<'_>) {
    const CHECK: &str = "requests";
    let Some(trouble) = status["trouble"].as_str() else { return };
    if status["unencrypted"].is_string() && status["online"] == false {
        // That is all that is wrong, and was said.
        return;
    }
    report(match status["next_handshake_in"].as_u64().filter(|_| status["online"] == false) {
        // It failed before, and the handshake of this check did not.
        Some(next) => Finding::warning(CHECK, trouble)
            .remedy(format!("by now the server answers: the next attempt comes in {next} s")),
        None => Finding::fault(CHECK, trouble),
    });
}

/// The streams of which rows wait, and why.
pub(super) fn streams(status: &Value, report: Report<'_>) {
    const CHECK: &str = "streams";
    let streams = status["streams"].as_object().into_iter().flatten();
    let mut waits = 0;
    for (name, stream) in streams {
        for wait in stream["waits"].as_array().into_iter().flatten() {
            waits += 1;
            let message = format!("{} {name} wait: {}", wait["rows"], text(wait, "message"));
            let needs_person = NEED_PERSON.contains(&text(wait, "reason"));
            let level = if needs_person { Level::Fault } else { Level::Warning };
            report(Finding { level, ..Finding::ok(CHECK, message) });
        }
    }
    if waits == 0 {
        report(Finding::ok(CHECK, "no row waits"));
    }
}

/// The drivers that are connected, and those that carry out what the server asks for.
pub(super) fn drivers(status: &Value, report: Report<'_>) {
    const CHECK: &str = "drivers";
    let names = status["drivers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<_> = names.collect();
    report(match names.is_empty() {
        true => Finding::ok(CHECK, "none has registered; who only records punches need not"),
        false => Finding::ok(CHECK, format!("connected: {}", names.join(", "))),
    });
    let provided = status["provided"].as_object().into_iter().flatten();
    let provided: Vec<_> = provided
        .map(|(what, driver)| format!("{what} by {}", driver.as_str().unwrap_or("?")))
        .collect();
    report(match provided.is_empty() {
        true => Finding::ok(CHECK, "none enrols people or opens the door for the server"),
        false => Finding::ok(CHECK, provided.join(", ")),
    });
}

/// A member that is a text.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}
