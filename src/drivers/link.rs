//! The way to the daemon: one connection to its socket, made again whenever it breaks.
//!
//! One call at a time, and its answer; in between, what the daemon asks for. All is bounded:
//! lines, what is not written yet, the time that an answer may take.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::backoff::DoublingPause;
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};

/// The pause between two attempts to connect.
const PAUSE: DoublingPause = DoublingPause::new(Duration::from_millis(250), Duration::from_secs(5));
/// How long an answer may take: the daemon may be writing to a slow disk.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest line of the daemon. A status with all its rows is the longest.
const LONGEST_LINE: usize = 1 << 20;
/// Most bytes of answers that the daemon has not taken.
const MOST_OUTPUT: usize = 64 << 10;
/// Bytes read in one turn.
const TIME_SLICE: usize = 4 << 10;

/// The connection, or the wait for one.
pub struct Link {
    socket: PathBuf,
    name: &'static str,
    provides: &'static [&'static str],
    line: Option<Line>,
    registered: bool,
    again: Instant,
    pause: DoublingPause,
    told: bool,
}

/// A connection.
struct Line {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    calls: u64,
    /// The call that is to be answered, and by when.
    awaited: Option<(u64, Instant)>,
}

/// What comes of the daemon.
#[derive(Debug)]
pub enum Heard {
    /// It is there, and knows us.
    Here,
    /// It is gone. What was asked is not answered.
    Gone,
    /// The answer to the call.
    Answer(Result<Value, Refused>),
    /// It asks for something; to be answered if there is an id.
    Asked {
        /// By which the answer is known.
        id: Option<Value>,
        /// What it asks for.
        method: String,
        /// And what more it says.
        params: Value,
    },
}

/// The daemon refused a call.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The number in docs/drivers.md.
    pub code: i64,
    /// The daemon's message.
    pub message: String,
}

impl Link {
    /// To the daemon at `socket`, as a driver of this name.
    pub fn new(socket: PathBuf, name: &'static str, provides: &'static [&'static str]) -> Self {
        let (again, pause) = (Instant::now(), PAUSE);
        Self { socket, name, provides, line: None, registered: false, again, pause, told: false }
    }

    /// What to wait for, and for what.
    pub fn watched(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let line = self.line.as_ref()?;
        let more = if line.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        Some((line.stream.as_fd(), PollFlags::IN | more))
    }

    /// When it is to be served although nothing is ready.
    pub fn due(&self) -> Option<Instant> {
        match &self.line {
            None => Some(self.again),
            Some(line) => line.awaited.map(|(_, until)| until),
        }
    }

    /// Whether the daemon knows us.
    pub fn is_here(&self) -> bool {
        self.registered
    }

    /// Whether a call can be made now.
    pub fn is_free(&self) -> bool {
        self.registered && self.line.as_ref().is_some_and(|line| line.awaited.is_none())
    }

    /// Calls a method. Only if [`Link::is_free`].
    pub fn call(&mut self, method: &str, params: &Value, now: Instant) {
        if let Some(line) = &mut self.line {
            line.call(method, params, now);
        }
    }

    /// Answers what the daemon asked.
    pub fn answer(&mut self, id: &Value, result: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    /// Refuses it.
    pub fn refuse(&mut self, id: &Value, code: i64, message: &str) {
        let error = json!({"code": code, "message": message});
        self.send(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
    }

    fn send(&mut self, message: &Value) {
        if let Some(line) = &mut self.line {
            line.send(message);
        }
    }

    /// Connects if it is time, reads if there is something, gives up what takes too long.
    pub fn serve(&mut self, ready: bool, now: Instant) -> Vec<Heard> {
        let mut heard = Vec::new();
        if self.line.is_none() && self.again <= now {
            match Line::open(&self.socket) {
                Ok(mut line) => {
                    let us = json!({"name": self.name, "provides": self.provides});
                    line.call("register", &us, now);
                    self.line = Some(line);
                }
                Err(error) => self.close(&error.to_string(), now),
            }
        }
        let done = match &mut self.line {
            Some(line) if ready => line.read(&mut heard),
            _ => Ok(()),
        };
        let late = |line: &Line| line.awaited.is_some_and(|(_, until)| until <= now);
        let done = match &self.line {
            Some(line) if done.is_ok() && late(line) => Err("it does not answer".to_owned()),
            _ => done,
        };
        if let Err(why) = self.register(&mut heard).and(done) {
            self.close(&why, now);
            heard.push(Heard::Gone);
        }
        heard
    }

    /// Writes what can be written. To be called last in a turn.
    pub fn flush(&mut self, now: Instant) -> Option<Heard> {
        let why = self.line.as_mut()?.flush().err()?;
        self.close(&why, now);
        Some(Heard::Gone)
    }

    /// The first answer is that to our registration.
    fn register(&mut self, heard: &mut [Heard]) -> Result<(), String> {
        let first = heard.iter_mut().find(|heard| matches!(heard, Heard::Answer(_)));
        let Some(first) = first.filter(|_| !self.registered) else { return Ok(()) };
        if let Heard::Answer(Err(refused)) = first {
            return Err(format!("it refuses us: {}", refused.message));
        }
        *first = Heard::Here;
        self.registered = true;
        log::info!("{}: registered as {}", self.socket.display(), self.name);
        self.pause.reset();
        self.told = false;
        Ok(())
    }

    fn close(&mut self, why: &str, now: Instant) {
        (self.line, self.registered) = (None, false);
        if !std::mem::replace(&mut self.told, true) {
            log::warn!(
                "{}: punchd is not there ({why}); trying again until it is. Is `punchd run` \
                 running, with the same configuration?",
                self.socket.display()
            );
        }
        self.again = now + self.pause.advance();
    }
}

impl Line {
    fn open(socket: &Path) -> io::Result<Self> {
        // Not by way of std, which would wait for a daemon that has stopped accepting.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&stream, &SocketAddrUnix::new(socket)?)?;
        let (input, output) = (Vec::new(), Vec::new());
        Ok(Self { stream: stream.into(), input, output, calls: 0, awaited: None })
    }

    fn call(&mut self, method: &str, params: &Value, now: Instant) {
        self.calls += 1;
        let id = self.calls;
        self.awaited = Some((id, now + TIMEOUT));
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    fn send(&mut self, message: &Value) {
        self.output.extend_from_slice(message.to_string().as_bytes());
        self.output.push(b'\n');
    }

    /// Reads one turn's worth, and what its lines mean.
    fn read(&mut self, heard: &mut Vec<Heard>) -> Result<(), String> {
        let mut chunk = [0; TIME_SLICE];
        let amount = match self.stream.read(&mut chunk) {
            Ok(0) => return Err("it closed the connection".into()),
            Ok(amount) => amount,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
                    _ => Err(error.to_string()),
                };
            }
        };
        for part in chunk[..amount].split_inclusive(|&byte| byte == b'\n') {
            self.input.extend_from_slice(part);
            if self.input.len() > LONGEST_LINE {
                return Err("its line is too long".into());
            }
            if self.input.ends_with(b"\n") {
                let line = std::mem::take(&mut self.input);
                if !line.trim_ascii().is_empty() {
                    heard.extend(self.understand(&line)?);
                }
            }
        }
        Ok(())
    }

    fn understand(&mut self, line: &[u8]) -> Result<Option<Heard>, String> {
        let mut message: Value =
            serde_json::from_slice(line).map_err(|error| format!("it sent no JSON: {error}"))?;
        if let Some(method) = message["method"].as_str() {
            let method = method.to_owned();
            let id = message.get("id").filter(|id| !id.is_null()).cloned();
            return Ok(Some(Heard::Asked { id, method, params: message["params"].take() }));
        }
        let is_ours = self.awaited.is_some_and(|(id, _)| message["id"] == id);
        if !is_ours {
            log::debug!("an answer that nobody waits for: {}", message["id"]);
            return Ok(None);
        }
        self.awaited = None;
        Ok(Some(Heard::Answer(match message.get("error") {
            None => Ok(message["result"].take()),
            Some(error) => Err(Refused {
                code: error["code"].as_i64().unwrap_or(0),
                message: error["message"].as_str().unwrap_or("without a reason").to_owned(),
            }),
        })))
    }

    fn flush(&mut self) -> Result<(), String> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err("it takes nothing".into()),
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        if self.output.len() > MOST_OUTPUT {
            return Err("it does not take our answers".into());
        }
        Ok(())
    }
}
