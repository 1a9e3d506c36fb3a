//! What the terminal does while a system call fails.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::bench::{Bench, LARGE, SMALL};
use crate::harness::{Driver, Injection, TIMEOUT, noise, second};

/// A part of the life of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// A start without a store, to the first poll.
    FirstStart,
    /// A start after a stop.
    Start,
    /// A start after a kill: the latest punches are in the log of the store.
    Recovery,
    /// A start with a store of version 0.1.0, in which punches wait.
    Migration,
    /// From the connection of a driver to the answer to its punch.
    Punch,
    /// From the server's answer to an upload to the next poll.
    Acknowledgement,
    /// `DATA UPDATE`, from the answer to the poll to the poll after the reply; so are the next ones.
    Data,
    /// `SET OPTION`.
    Option,
    /// `SHELL`.
    Shell,
    /// `PutFile`, of a file that comes in one piece and is renamed.
    Put,
    /// `PutFile`, of a file that comes in parts.
    Download,
}

impl Phase {
    pub const ALL: [Self; 11] = [
        Self::FirstStart,
        Self::Start,
        Self::Recovery,
        Self::Migration,
        Self::Punch,
        Self::Acknowledgement,
        Self::Data,
        Self::Option,
        Self::Shell,
        Self::Put,
        Self::Download,
    ];

    /// Whether it is a start of the program.
    pub fn is_start(self) -> bool {
        matches!(self, Self::FirstStart | Self::Start | Self::Recovery | Self::Migration)
    }

    /// The command of this phase. What it makes is named after it, in a directory.
    fn command(self, id: &str, files: &Path) -> Option<String> {
        let file = files.join(id);
        let file = file.display();
        match self {
            Self::Data => Some(format!("DATA UPDATE USERINFO PIN={id}\tName=a")),
            Self::Option => Some(format!("SET OPTION Volume={id}")),
            Self::Shell => Some(format!("SHELL echo x >> {file}")),
            Self::Put => Some(format!("PutFile small.bin\t{file}")),
            Self::Download => Some(format!("PutFile large.bin\t{file}")),
            _ => None,
        }
    }
}

/// What became of a phase.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All was done.
    Done,
    /// The driver or the server was told that it was not done.
    Refused(String),
    /// The driver got no answer.
    NoAnswer,
    /// The program ended.
    Ended(String),
}

/// Lets the terminal do it once; how often each system call was made meanwhile.
pub fn drive(
    bench: &mut Bench,
    phase: Phase,
    injection: Option<Injection>,
) -> Result<(Outcome, Vec<u64>), String> {
    bench.prepare_for(phase)?;
    let outcome = match phase {
        _ if phase.is_start() => start(bench, phase, injection),
        Phase::Punch => {
            bench.begin(injection);
            punch(bench)
        }
        Phase::Acknowledgement => acknowledgement(bench, injection),
        _ => command(bench, phase, injection),
    }?;
    let counts = bench.end();
    let outcome = match outcome {
        Outcome::Ended(_) => outcome,
        // The call that failed may have been the last one: the program ends a moment later.
        _ if bench.until("serving drivers", |bench| bench.status().is_some())? => outcome,
        _ => ended(bench)?,
    };
    if matches!(outcome, Outcome::Ended(_)) {
        bench.restart()?;
    }
    if let Some(id) = bench.seen(|seen| seen.asked.as_ref().map(|(id, _)| id.clone())) {
        // It was cut off: the server asks again.
        let answered = |bench: &Bench| bench.seen(|seen| seen.replies.contains_key(&id));
        if !bench.until("answered", answered)? {
            return Err("the program ended after a restart".into());
        }
    }
    effect(bench, phase)?;
    Ok((outcome, counts))
}

fn ended(bench: &mut Bench) -> Result<Outcome, String> {
    let status = bench.terminal.end().ok_or("the program has not ended")?;
    Ok(Outcome::Ended(format!("{status}: {}", bench.last_message())))
}

fn start(bench: &mut Bench, phase: Phase, injection: Option<Injection>) -> Result<Outcome, String> {
    if phase == Phase::Migration {
        let packed: &[u8] = include_bytes!("../stores/0.1.0.db.gz");
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        fs::write(bench.terminal.path("punchd.db"), bytes).unwrap();
    }
    bench.tracer.restart();
    bench.begin(injection);
    let polls = bench.seen(|seen| seen.polls);
    if let Err(status) = bench.run() {
        return Ok(Outcome::Ended(format!("{status}: {}", bench.last_message())));
    }
    match bench.until("polled", |bench| bench.seen(|seen| seen.polls > polls))? {
        true => Ok(Outcome::Done),
        false => ended(bench),
    }
}

/// A punch of a new PIN, with a connection of its own.
pub fn punch(bench: &mut Bench) -> Result<Outcome, String> {
    let pin = bench.number();
    let socket = bench.terminal.path("run/driver.sock");
    let params = json!({"pin": pin, "time": second(1), "verify": 1});
    let begun = Instant::now();
    let answer =
        Driver::try_connect(&socket).and_then(|mut driver| driver.try_call("punch", &params));
    if begun.elapsed() >= TIMEOUT {
        return Err("hung: a punch was not answered".into());
    }
    match answer {
        Some(Ok(_)) => {
            bench.acknowledged.insert(pin);
            Ok(Outcome::Done)
        }
        Some(Err(refusal)) => {
            bench.refused.insert(pin);
            Ok(Outcome::Refused(refusal["message"].as_str().unwrap_or_default().to_owned()))
        }
        // A program that ends closes its sockets a moment before it has ended.
        None => match bench.until("serving drivers", |bench| bench.status().is_some())? {
            true => Ok(Outcome::NoAnswer),
            false => ended(bench),
        },
    }
}

fn acknowledgement(bench: &mut Bench, injection: Option<Injection>) -> Result<Outcome, String> {
    bench.begin_with_answer(injection);
    if punch(bench)? != Outcome::Done {
        return Err("a punch was refused before the failure".into());
    }
    let begun = |bench: &Bench| bench.seen(|seen| !seen.is_awaited());
    match bench.until("uploaded", begun)? && bench.until_polled()? {
        true => Ok(Outcome::Done),
        false => ended(bench),
    }
}

fn command(
    bench: &mut Bench,
    phase: Phase,
    injection: Option<Injection>,
) -> Result<Outcome, String> {
    let id = bench.number();
    let text = phase.command(&id, &bench.terminal.path("files")).ok_or("no command")?;
    bench.begin_with_answer(injection);
    bench.seen(|seen| seen.asked = Some((id.clone(), text)));
    let answered = |bench: &Bench| bench.seen(|seen| seen.replies.contains_key(&id));
    if !(bench.until("answered", answered)? && bench.until_polled()?) {
        return ended(bench);
    }
    match bench.seen(|seen| seen.replies[&id][0]) {
        0.. => Ok(Outcome::Done),
        code => Ok(Outcome::Refused(code.to_string())),
    }
}

/// What a command returned is what it did.
fn effect(bench: &mut Bench, phase: Phase) -> Result<(), String> {
    let id = bench.last_number();
    let files = bench.terminal.path("files");
    if phase.command(&id, &files).is_none() {
        return Ok(());
    }
    let codes = bench.seen(|seen| seen.replies.get(&id).cloned()).unwrap_or_default();
    if codes.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("answered in more than one way: {codes:?}"));
    }
    let is_done = codes.first().is_some_and(|code| *code >= 0);
    let path = files.join(&id);
    let mut driver = bench.terminal.driver();
    let mut call = |method: &str, params| driver.call(method, params).ok();
    let (there, expected) = match phase {
        Phase::Data => {
            let user = call("user.get", json!({"pin": id}));
            (user.is_some_and(|user| user["name"] == "a"), is_done)
        }
        Phase::Option => {
            let option = call("option.get", json!({"name": "Volume"})).unwrap_or_default();
            (option["value"] == json!(id), is_done)
        }
        Phase::Shell => match fs::read_to_string(&path).unwrap_or_default().as_str() {
            "x\n" if is_done => (true, true),
            // It may have run before it was cut off; never twice.
            "" | "x\n" if !is_done => (false, false),
            other => return Err(format!("SHELL returned {codes:?} and wrote {other:?}")),
        },
        _ => {
            let length = if phase == Phase::Put { SMALL } else { LARGE };
            let file = fs::read(&path).ok();
            if file.as_ref().is_some_and(|file| *file != noise(length)) {
                return Err(format!("PutFile returned {codes:?}, and the file is not whole"));
            }
            let _ = fs::remove_file(&path);
            // It is in its place, and whole, also where the last sync of its directory failed.
            (file.is_some(), is_done || file.is_some())
        }
    };
    match there == expected {
        true => Ok(()),
        false => Err(format!("returned {codes:?}, and done is {there}")),
    }
}
