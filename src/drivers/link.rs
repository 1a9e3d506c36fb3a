//! The connection to punchd, made again whenever it breaks.
//!
//! One call at a time, and its answer; in between, what punchd asks for. All is bounded: lines,
//! what is not written yet, the time that an answer may take.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};

use crate::backoff::DoublingPause;
use crate::rpc::{
    self, ErrorCode, LineBuffer, Malformed, Message, Method, Request, Response, RpcError,
};

/// The pause between two attempts to connect.
const PAUSE: DoublingPause = DoublingPause::new(Duration::from_millis(250), Duration::from_secs(5));
/// How long an answer may take: punchd may be writing to a slow disk.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest line taken from punchd, in bytes. A status with all its rows is the longest.
const LONGEST_LINE: usize = 1 << 20;
/// Most bytes of answers that punchd has not read.
const MOST_UNREAD: usize = 64 << 10;
/// Bytes read in one turn.
const TIME_SLICE: usize = 4 << 10;

/// The connection, or the wait for one.
pub(super) struct Link {
    socket: PathBuf,
    name: &'static str,
    provides: &'static [&'static str],
    connection: Option<Connection>,
    is_registered: bool,
    /// When to connect again, and the pause after that.
    retry: (Instant, DoublingPause),
    is_loss_logged: bool,
}

/// What comes from punchd.
#[derive(Debug)]
pub(super) enum Event {
    /// It is connected, and has registered this driver.
    Registered,
    /// The connection broke. A call under way is not answered.
    Disconnected,
    /// The answer to the call.
    Answered(Result<Value, RpcError>),
    /// It asks for something; to be answered if there is an id.
    Requested(Request),
}

impl Link {
    /// To the punchd that listens at `socket`, as a driver of this name.
    pub(super) fn new(
        socket: &Path,
        name: &'static str,
        provides: &'static [&'static str],
    ) -> Self {
        Self {
            socket: socket.to_owned(),
            name,
            provides,
            connection: None,
            is_registered: false,
            retry: (Instant::now(), PAUSE),
            is_loss_logged: false,
        }
    }

    /// The descriptor to wait for, and for what.
    pub(super) fn watched(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let connection = self.connection.as_ref()?;
        let output = if connection.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        Some((connection.stream.as_fd(), PollFlags::IN | output))
    }

    /// When it is to be served although nothing is ready.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.connection {
            None => Some(self.retry.0),
            Some(connection) => connection.awaited.map(|(_, until)| until),
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.is_registered
    }

    /// Whether a call can be made now.
    pub(super) fn is_free(&self) -> bool {
        let is_idle = |connection: &Connection| connection.awaited.is_none();
        self.is_registered && self.connection.as_ref().is_some_and(is_idle)
    }

    /// Calls a method. Only if [`Link::is_free`].
    pub(super) fn call(&mut self, method: Method, params: &Value, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.call(method, params, now);
        }
    }

    /// Answers a request of punchd's.
    pub(super) fn answer(&mut self, id: &Value, result: Result<Value, RpcError>) {
        if let Some(connection) = &mut self.connection {
            connection.send(&rpc::response(id, result));
        }
    }

    /// Connects if it is time, reads if there is something, gives up what takes too long.
    pub(super) fn serve(&mut self, is_ready: bool, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        if self.connection.is_none() && self.retry.0 <= now {
            self.connect(now);
        }
        let served = match &mut self.connection {
            Some(connection) if is_ready => connection.read(&mut events),
            _ => Ok(()),
        };
        let is_late =
            |connection: &Connection| connection.awaited.is_some_and(|(_, until)| until <= now);
        let served = match &self.connection {
            Some(connection) if served.is_ok() && is_late(connection) => {
                Err("it does not answer".to_owned())
            }
            _ => served,
        };
        if let Err(why) = self.take_registration(&mut events).and(served) {
            self.close(&why, now);
            events.push(Event::Disconnected);
        }
        events
    }

    fn connect(&mut self, now: Instant) {
        match Connection::open(&self.socket) {
            Ok(mut connection) => {
                let params = json!({"name": self.name, "provides": self.provides});
                connection.call(Method::Register, &params, now);
                self.connection = Some(connection);
            }
            Err(error) => self.close(&error.to_string(), now),
        }
    }

    /// The first answer is that to `register`.
    fn take_registration(&mut self, events: &mut [Event]) -> Result<(), String> {
        let first = events.iter_mut().find(|event| matches!(event, Event::Answered(_)));
        let Some(first) = first.filter(|_| !self.is_registered) else { return Ok(()) };
        if let Event::Answered(Err(error)) = first {
            return Err(format!("it refuses this driver: {error}"));
        }
        *first = Event::Registered;
        self.is_registered = true;
        log::info!("{}: registered as {}", self.socket.display(), self.name);
        self.retry.1.reset();
        self.is_loss_logged = false;
        Ok(())
    }

    /// Writes what can be written. To be called last when served.
    pub(super) fn flush(&mut self, now: Instant) -> Option<Event> {
        let why = self.connection.as_mut()?.flush().err()?;
        self.close(&why, now);
        Some(Event::Disconnected)
    }

    fn close(&mut self, why: &str, now: Instant) {
        (self.connection, self.is_registered) = (None, false);
        if !std::mem::replace(&mut self.is_loss_logged, true) {
            log::warn!(
                "{}: punchd cannot be reached ({why}); trying again until it can. Is `punchd run` \
                 running, with the same configuration?",
                self.socket.display()
            );
        }
        self.retry.0 = now + self.retry.1.advance();
    }
}

struct Connection {
    stream: UnixStream,
    input: LineBuffer,
    output: Vec<u8>,
    /// How many calls were made; the last has this id.
    calls: u64,
    /// The call that is to be answered, and by when.
    awaited: Option<(u64, Instant)>,
}

impl Connection {
    fn open(socket: &Path) -> io::Result<Self> {
        // Std would wait for a punchd that has stopped accepting.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&stream, &SocketAddrUnix::new(socket)?)?;
        let (input, output) = (LineBuffer::default(), Vec::new());
        Ok(Self { stream: stream.into(), input, output, calls: 0, awaited: None })
    }

    fn call(&mut self, method: Method, params: &Value, now: Instant) {
        self.calls += 1;
        self.awaited = Some((self.calls, now + TIMEOUT));
        self.send(&method.request(self.calls, params));
    }

    fn send(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.push(b'\n');
    }

    /// Reads a time slice, and adds what its lines mean.
    fn read(&mut self, events: &mut Vec<Event>) -> Result<(), String> {
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
        let mut messages = Vec::new();
        self.input.add(&chunk[..amount], |line| messages.push(rpc::parse(line)));
        for message in messages {
            match message {
                Ok(Message::Request(request)) => events.push(Event::Requested(request)),
                Ok(Message::Response(response)) => events.extend(self.take_response(response)),
                Err(Malformed { error, .. }) if error.code == ErrorCode::ParseError => {
                    return Err(format!("it sent no JSON: {error}"));
                }
                Err(Malformed { error, .. }) => log::debug!("a line is ignored: {error}"),
            }
        }
        if self.input.unfinished() > LONGEST_LINE {
            return Err("its line is too long".into());
        }
        Ok(())
    }

    fn take_response(&mut self, Response { id, result }: Response) -> Option<Event> {
        if self.awaited.is_none_or(|(awaited, _)| id != awaited) {
            log::debug!("punchd answered a call that was not made: {id}");
            return None;
        }
        self.awaited = None;
        Some(Event::Answered(result))
    }

    fn flush(&mut self) -> Result<(), String> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err("nothing can be written".into()),
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        if self.output.len() > MOST_UNREAD {
            return Err("it does not read the answers".into());
        }
        Ok(())
    }
}
