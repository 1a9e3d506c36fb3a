//! The connection of one driver: lines in, lines out, both bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::sockopt::socket_peercred;
use serde_json::Value;

use crate::driver_requests::DriverId;
use crate::rpc::{self, ErrorCode, LONGEST_LINE, LineBuffer, RpcError};

/// A line of up to this length needs no room that others might have taken.
const SHORT_LINE: usize = 64 << 10;
/// How long a long line may be unfinished.
const LINE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a driver may read nothing of what it is sent.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read from one driver in a round, before the next has its turn.
const TIME_SLICE: usize = 4 << 10;
/// Bytes that may wait for a driver: of what it did not ask for, and of anything before it may
/// ask for another page.
const MOST_UNREAD: usize = 256 << 10;

/// A connection.
pub(super) struct Connection {
    id: DriverId,
    stream: UnixStream,
    /// The name by which the driver registered.
    name: Option<String>,
    input: LineBuffer,
    output: Vec<u8>,
    /// When something was last read.
    last_read: Instant,
    /// Bytes of notifications since the driver last had read everything.
    notified: usize,
    /// Since when the driver reads nothing of what it is sent.
    stalled_since: Option<Instant>,
    /// Whether the log has a response to a request that was not sent.
    is_unexpected_logged: bool,
    is_ready: bool,
    is_closed: bool,
    has_sent_line: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, id: DriverId) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            id,
            stream,
            name: None,
            input: LineBuffer::default(),
            output: Vec::new(),
            last_read: Instant::now(),
            notified: 0,
            stalled_since: None,
            is_unexpected_logged: false,
            is_ready: false,
            is_closed: false,
            has_sent_line: false,
        })
    }

    pub(super) fn id(&self) -> DriverId {
        self.id
    }

    /// The process and the user at the other end, for the log; empty if they are not known.
    pub(super) fn peer(&self) -> String {
        socket_peercred(&self.stream).map_or_else(
            |_| String::new(),
            |peer| format!(" (process {}, user {})", peer.pid.as_raw_pid(), peer.uid.as_raw()),
        )
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether it has never sent a line.
    pub(super) fn is_silent(&self) -> bool {
        !self.has_sent_line
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn set_name(&mut self, name: &str) {
        self.name = Some(name.to_owned());
    }

    /// What to wait for: a driver that does not read its answers is not read from either.
    pub(super) fn interest(&self) -> PollFlags {
        if self.output.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }

    pub(super) fn set_ready(&mut self, flags: PollFlags) {
        self.is_ready = !flags.is_empty();
    }

    /// Bytes that the driver has not read yet.
    pub(super) fn unread(&self) -> usize {
        self.output.len()
    }

    /// Whether the driver has read enough to be sent another page. Writes first what can be written.
    pub(super) fn has_room_for_page(&mut self) -> bool {
        self.flush();
        self.unread() <= MOST_UNREAD
    }

    /// Bytes of the line that has not ended yet.
    pub(super) fn unfinished(&self) -> usize {
        self.input.unfinished()
    }

    /// Reads a time slice, and hands each whole line on. The line that has not ended yet may
    /// grow by `room` bytes.
    pub(super) fn receive(&mut self, room: usize, mut each: impl FnMut(&[u8])) {
        if !std::mem::take(&mut self.is_ready) || !self.output.is_empty() {
            return;
        }
        let mut chunk = [0; TIME_SLICE];
        let amount = match self.stream.read(&mut chunk) {
            Ok(0) => return self.close("it closed the connection"),
            Ok(amount) => amount,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(error) => return self.close(&error.to_string()),
        };
        self.last_read = Instant::now();
        self.input.add(&chunk[..amount], |line| {
            self.has_sent_line = true;
            each(line);
        });
        let is_long = self.unfinished() > SHORT_LINE;
        if self.unfinished() > LONGEST_LINE || (is_long && amount > room) {
            let message = format!("a line may have {LONGEST_LINE} bytes at most");
            let error = RpcError::new(ErrorCode::InvalidRequest, message);
            self.send(&rpc::response(&Value::Null, Err(error)));
            self.flush();
            self.close("it sent a line that is too long");
        }
    }

    /// Closes the connection if a long line stays unfinished, since others need its room, or if
    /// the driver does not read.
    pub(super) fn check_timeouts(&mut self) {
        if self.unfinished() > SHORT_LINE && self.last_read.elapsed() > LINE_TIMEOUT {
            self.close("it did not finish its line");
        }
        if self.stalled_since.is_some_and(|since| since.elapsed() >= READ_TIMEOUT) {
            self.close("it did not read what it was sent");
        }
    }

    /// When to check the timeouts although nothing has come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stalled_since.map(|since| since + READ_TIMEOUT)
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

    /// Sends what the driver did not ask for. One that does not read that is disconnected.
    pub(super) fn notify(&mut self, line: &str) {
        self.notified += line.len();
        if self.notified > MOST_UNREAD {
            self.close("it did not read what it was sent");
            return;
        }
        self.send(line);
    }

    /// Puts a line after those that are to be written.
    pub(super) fn send(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
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
        self.notified = 0;
        self.output.shrink_to(TIME_SLICE);
    }

    fn close(&mut self, why: &str) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        match &self.name {
            Some(name) => log::info!("driver {name} disconnected: {why}"),
            None => log::debug!("a driver disconnected: {why}"),
        }
    }
}
