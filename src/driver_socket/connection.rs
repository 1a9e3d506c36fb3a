//! The connection of one driver: lines in, lines out, both bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::UCred;
use rustix::net::sockopt::socket_peercred;
use serde_json::Value;

use super::call::{Call, SHOWN};
use crate::driver_requests::DriverId;
use crate::protocol::foreign::{plain, quoted};
use crate::rpc::{self, ErrorCode, LONGEST_LINE, LineBuffer, RpcError};

/// A line of up to this length needs no room that others might have taken. Only one driver at a
/// time may have a longer one.
pub(super) const SHORT_LINE: usize = 16 << 10;
/// How long a long line may be unfinished: while nobody else needs its room, and while somebody does.
const LINE_TIMEOUT: Duration = Duration::from_secs(30);
const LINE_TIMEOUT_IF_WANTED: Duration = Duration::from_secs(5);
/// How long a driver may read nothing of what it is sent: while there is room for the answers to
/// others, and while there is none.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT_IF_SHORT: Duration = Duration::from_secs(2);
/// How long a driver may take to read everything, however little at a time.
const LONGEST_READ: Duration = Duration::from_secs(60);
/// Bytes read from a driver at once, and in one round before the next has its turn.
const CHUNK: usize = 16 << 10;
const TURN_BYTES: usize = 64 << 10;
/// Faults of one driver that the log has, each once.
const MOST_FAULTS: usize = 16;
/// Bytes of what it did not ask for that may wait for a driver.
const MOST_UNREAD: usize = 256 << 10;

/// What others lack, which shortens the patience with those that hold it.
#[derive(Clone, Copy)]
pub(super) struct Shortage {
    /// Another driver waits with a long line.
    pub(super) of_lines: bool,
    /// The answers to others wait for room.
    pub(super) of_output: bool,
}

/// A connection.
pub(super) struct Connection {
    id: DriverId,
    stream: UnixStream,
    /// The name by which the driver registered.
    name: Option<String>,
    /// Whether the log has that it registered by this name.
    is_logged: bool,
    input: LineBuffer,
    /// Whether `input` may have a whole line.
    may_have_line: bool,
    output: Vec<u8>,
    connected: Instant,
    /// When a whole line came last.
    last_line: Option<Instant>,
    /// Since when its line is a long one.
    long_since: Option<Instant>,
    /// Bytes of notifications since the driver last had read everything.
    notified: usize,
    /// Since when there has been something that the driver did not read.
    unread_since: Option<Instant>,
    /// Since when the driver reads nothing of what it is sent.
    stalled_since: Option<Instant>,
    /// Whether the log has a response to a request that was not sent.
    is_unexpected_logged: bool,
    /// What the log has of calls that were refused, and of parameters that were ignored.
    faults: Vec<String>,
    is_ready: bool,
    /// It sends nothing more, and may still read.
    has_ended: bool,
    /// It does not read either: poll(2) says so all the time.
    has_hung_up: bool,
    is_closed: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, id: DriverId) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            id,
            stream,
            name: None,
            is_logged: false,
            input: LineBuffer::default(),
            may_have_line: false,
            output: Vec::new(),
            connected: Instant::now(),
            last_line: None,
            long_since: None,
            notified: 0,
            unread_since: None,
            stalled_since: None,
            is_unexpected_logged: false,
            faults: Vec::new(),
            is_ready: false,
            has_ended: false,
            has_hung_up: false,
            is_closed: false,
        })
    }

    pub(super) fn id(&self) -> DriverId {
        self.id
    }

    /// Who is at the other end, if the kernel knows.
    pub(super) fn credentials(&self) -> Option<UCred> {
        socket_peercred(&self.stream).ok()
    }

    /// The process and the user at the other end, for the log; empty if they are not known.
    pub(super) fn peer(&self) -> String {
        self.credentials().map_or_else(String::new, |peer| {
            format!(" (process {}, user {})", peer.pid.as_raw_pid(), peer.uid.as_raw())
        })
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// When it connected.
    pub(super) fn connected(&self) -> Instant {
        self.connected
    }

    /// When a whole line came last, if any did.
    pub(super) fn last_line(&self) -> Option<Instant> {
        self.last_line
    }

    /// Whether it may have sent a line that was not taken yet.
    pub(super) fn may_have_line(&self) -> bool {
        self.may_have_line
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Names it. Whether it had another name before, or none.
    pub(super) fn set_name(&mut self, name: &str) -> bool {
        let is_new = self.name.as_deref() != Some(name);
        self.name = Some(name.to_owned());
        is_new
    }

    /// Whether the log has that it registered, and is to have that it disconnects.
    pub(super) fn set_logged(&mut self, is_logged: bool) {
        self.is_logged = is_logged;
    }

    /// What to wait for: a driver that does not read its answers is not read from either.
    /// `may_read` is false for one whose calls wait for their turn.
    pub(super) fn interest(&self, may_read: bool, may_grow: bool) -> PollFlags {
        let reads = may_read && !self.has_ended && (may_grow || self.unfinished() < SHORT_LINE);
        match self.output.is_empty() {
            false => PollFlags::OUT,
            true if reads => PollFlags::IN,
            true => PollFlags::empty(),
        }
    }

    pub(super) fn set_ready(&mut self, flags: PollFlags) {
        self.is_ready = !flags.is_empty();
        self.has_hung_up |= flags.contains(PollFlags::HUP);
    }

    /// Bytes that the driver has not read yet.
    pub(super) fn unread(&self) -> usize {
        self.output.len()
    }

    /// Bytes of the line that has not ended yet.
    pub(super) fn unfinished(&self) -> usize {
        self.input.unfinished()
    }

    /// Whether its line is a long one.
    pub(super) fn has_long_line(&self) -> bool {
        self.long_since.is_some()
    }

    /// Begins a turn, in which the next lines are taken.
    pub(super) fn turn(&mut self, may_grow: bool) -> Turn<'_> {
        Turn { connection: self, may_grow, room: TURN_BYTES }
    }

    /// Reads up to `most` bytes. Whether any came.
    fn read(&mut self, most: usize) -> bool {
        let mut chunk = [0; CHUNK];
        let most = most.min(CHUNK);
        let amount = match self.stream.read(&mut chunk[..most]) {
            Ok(0) => {
                self.has_ended = true;
                return false;
            }
            Ok(amount) => amount,
            Err(error) => {
                self.is_ready = false;
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                    self.close(&error.to_string());
                }
                return false;
            }
        };
        // What comes from now on is for the next round: a second look would find nothing nearly always.
        self.is_ready = amount == most;
        self.input.push(&chunk[..amount]);
        self.may_have_line = true;
        true
    }

    /// Whether nobody reads answers any longer.
    pub(super) fn has_hung_up(&self) -> bool {
        self.has_hung_up
    }

    /// Closes the connection if it has ended and everything that came was answered.
    pub(super) fn close_if_ended(&mut self) {
        if self.has_ended && !self.may_have_line && self.output.is_empty() {
            let rest = self.input.unfinished();
            if rest > 0 {
                self.log_fault(format!("its last {rest} bytes have no line end, and mean nothing"));
            }
            self.close("it closed the connection");
        }
    }

    fn refuse_overlong_line(&mut self) {
        let message = format!("a line may have {LONGEST_LINE} bytes at most");
        let error = RpcError::new(ErrorCode::InvalidRequest, message);
        self.send(rpc::response(&Value::Null, Err(error)));
        self.flush();
        self.close("it sent a line that is too long");
    }

    /// Closes the connection if a long line stays unfinished, since others need its room, or if
    /// the driver does not read.
    pub(super) fn check_timeouts(&mut self, shortage: Shortage) {
        let (line, read) = self.deadlines(shortage);
        let now = Instant::now();
        if line.is_some_and(|line| line <= now) {
            self.close("it did not finish its line");
        }
        if read.is_some_and(|read| read <= now) {
            self.close("it did not read what it was sent");
        }
    }

    /// When to check the timeouts although nothing has come.
    pub(super) fn deadline(&self, shortage: Shortage) -> Option<Instant> {
        let (line, read) = self.deadlines(shortage);
        line.into_iter().chain(read).min()
    }

    fn deadlines(&self, shortage: Shortage) -> (Option<Instant>, Option<Instant>) {
        let line = if shortage.of_lines { LINE_TIMEOUT_IF_WANTED } else { LINE_TIMEOUT };
        let read = if shortage.of_output { READ_TIMEOUT_IF_SHORT } else { READ_TIMEOUT };
        let stalled = self.stalled_since.map(|since| since + read);
        let read = stalled.into_iter().chain(self.unread_since.map(|since| since + LONGEST_READ));
        (self.long_since.map(|since| since + line), read.min())
    }

    /// It answered a request that it was not sent, or too late. Logged once: it may be many.
    pub(super) fn on_unexpected_response(&mut self) {
        if let Some(name) = &self.name
            && !std::mem::replace(&mut self.is_unexpected_logged, true)
        {
            log::warn!(
                "driver {name} answered a request that it was not sent, or too late; \
                 ignored, and further ones are not logged"
            );
        }
    }

    /// Adds to the result of a call which of its parameters meant nothing.
    pub(super) fn name_ignored(&mut self, call: &Call, result: &mut Value) {
        let Ok((_, params)) = &call.request else { return };
        let ignored = params.ignored();
        if ignored.is_empty() {
            return;
        }
        let names =
            ignored.iter().map(|name| quoted(name).to_string()).collect::<Vec<_>>().join(", ");
        if let Value::Object(members) = result {
            members.insert("ignored".into(), ignored.into());
        }
        self.log_fault(format!("{} has no parameter {names} here: ignored", call.method()));
    }

    /// A call was refused. What the store is at fault for is in the log already.
    pub(super) fn log_refusal(&mut self, call: &Call, error: &RpcError) {
        if matches!(error.code, ErrorCode::Capacity | ErrorCode::Busy) {
            return;
        }
        let silent = if call.is_notification() { ", and it asked for no answer" } else { "" };
        let message = plain(&error.message, SHOWN);
        self.log_fault(format!("{} is refused{silent}: {message}", call.method()));
    }

    /// Writes a fault of the driver into the log, once.
    fn log_fault(&mut self, fault: String) {
        if self.faults.len() == MOST_FAULTS || self.faults.contains(&fault) {
            return;
        }
        let name = self.name.as_deref().unwrap_or("without a name");
        log::warn!("driver {name}: {fault}");
        self.faults.push(fault);
        if self.faults.len() == MOST_FAULTS {
            log::warn!("driver {name}: further faults are not logged");
        }
    }

    /// Sends what the driver did not ask for. One that does not read that is disconnected.
    pub(super) fn notify(&mut self, line: &str) {
        self.notified += line.len();
        if self.notified > MOST_UNREAD {
            self.close("it did not read what it was sent");
            return;
        }
        self.send(line.to_owned());
    }

    /// Puts a line after those that are to be written.
    pub(super) fn send(&mut self, line: String) {
        let line = line.into_bytes();
        if self.output.is_empty() {
            // A page with a photo in it is not copied.
            self.output = line;
            self.unread_since = Some(Instant::now());
        } else {
            self.output.extend_from_slice(&line);
        }
        self.output.push(b'\n');
    }

    /// Writes what can be written without waiting.
    pub(super) fn flush(&mut self) {
        let mut has_moved = false;
        while !self.output.is_empty() && !self.is_closed {
            match self.stream.write(&self.output) {
                Ok(written) => {
                    self.output.drain(..written);
                    has_moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if has_moved || self.stalled_since.is_none() {
                        self.stalled_since = Some(Instant::now());
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.close(&error.to_string()),
            }
        }
        self.stalled_since = None;
        self.unread_since = None;
        self.notified = 0;
        self.output = Vec::new();
    }

    pub(super) fn close(&mut self, why: &str) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let name = self.name.as_deref();
        match name.filter(|_| self.is_logged) {
            Some(name) => log::info!("driver {name} disconnected: {why}"),
            None => log::debug!("driver {} disconnected: {why}", name.unwrap_or("without a name")),
        }
    }
}

/// The turn of a driver in a round: some lines, and some bytes.
pub(super) struct Turn<'a> {
    connection: &'a mut Connection,
    /// Whether its line may become a long one.
    may_grow: bool,
    /// Bytes that may still be read.
    room: usize,
}

impl Turn<'_> {
    /// The next line, as `read` reads it. `None` if no further one is to be taken in this turn.
    pub(super) fn next_line<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let connection = &mut *self.connection;
        loop {
            if let Some(line) = connection.input.next_line() {
                connection.last_line = Some(Instant::now());
                connection.long_since = None;
                return Some(read(line));
            }
            connection.may_have_line = false;
            let unfinished = connection.unfinished();
            if unfinished > LONGEST_LINE {
                connection.refuse_overlong_line();
            } else if unfinished > SHORT_LINE {
                connection.long_since.get_or_insert_with(Instant::now);
            }
            let may_grow = if self.may_grow { usize::MAX } else { SHORT_LINE };
            let most = self.room.min(may_grow.saturating_sub(unfinished));
            if most == 0 && self.room > 0 && connection.has_hung_up {
                // Nobody waits for what the line would ask, and its room is not free.
                connection.close("it closed the connection");
            }
            if most == 0 || !connection.is_ready || connection.has_ended || connection.is_closed {
                return None;
            }
            let before = connection.input.unfinished();
            if !connection.read(most) {
                return None;
            }
            self.room -= connection.input.unfinished() - before;
        }
    }
}
