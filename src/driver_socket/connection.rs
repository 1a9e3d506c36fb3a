//! One driver's connection: lines in, lines out, both bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::sockopt::socket_peercred;

use super::changes::Loaded;
use super::rpc::Fault;

/// Longest line a driver may send, in bytes: a photo of 2 MiB in base64.
pub(super) const LONGEST_LINE: usize = 3 << 20;
/// A line of up to this length needs no room that others might have taken.
const SHORT_LINE: usize = 64 << 10;
/// How long a long line may stand half-finished.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a driver may take nothing of what it is told.
const READING: Duration = Duration::from_secs(10);
/// Bytes read of one driver before the next has its turn.
const TIME_SLICE: usize = 4 << 10;
/// Bytes that may wait for a driver: of what it did not ask for, and of anything, before it
/// may ask for more.
pub(super) const MOST_UNREAD: usize = 256 << 10;

/// A connected driver.
pub(super) struct Connection {
    /// By which it is known, whoever comes and goes.
    number: u64,
    stream: UnixStream,
    name: Option<String>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// When something was last read.
    heard: Instant,
    /// Bytes of what it is told without asking, since it last had read all.
    told: usize,
    /// Since when it takes nothing of what it is told.
    stalled: Option<Instant>,
    /// It answered what it was not asked.
    confused: bool,
    /// What it has loaded of people and tables.
    pub(super) loaded: Loaded,
    ready: bool,
    over: bool,
    spoke: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, number: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            number,
            stream,
            name: None,
            input: Vec::new(),
            output: Vec::new(),
            heard: Instant::now(),
            told: 0,
            stalled: None,
            confused: false,
            loaded: Loaded::default(),
            ready: false,
            over: false,
            spoke: false,
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Who it is, as far as the system knows.
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
        !self.spoke
    }

    /// Whether it is closed.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The name by which it registered.
    pub(super) fn set_name(&mut self, name: &str) {
        self.name = Some(name.to_owned());
    }

    /// A driver that does not read its answers is not read from either.
    pub(super) fn interest(&self) -> PollFlags {
        if self.output.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }

    pub(super) fn set_ready(&mut self, flags: PollFlags) {
        self.ready = !flags.is_empty();
    }

    /// Bytes that the driver has not read yet.
    pub(super) fn unread(&self) -> usize {
        self.output.len()
    }

    /// Bytes of a line that has not ended yet.
    pub(super) fn unfinished(&self) -> usize {
        self.input.len()
    }

    /// Reads one turn's worth and hands each whole line on. The line that is under way may
    /// grow by `room`.
    pub(super) fn receive(&mut self, room: usize, mut each: impl FnMut(&[u8])) {
        if !std::mem::take(&mut self.ready) || !self.output.is_empty() {
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
        self.heard = Instant::now();
        self.input.extend_from_slice(&chunk[..amount]);
        let (mut begin, mut looked) = (0, self.input.len() - amount);
        while let Some(length) = self.input[looked..].iter().position(|&byte| byte == b'\n') {
            let length = looked + length - begin;
            let line = self.input[begin..begin + length].trim_ascii();
            if !line.is_empty() {
                self.spoke = true;
                each(line);
            }
            begin += length + 1;
            looked = begin;
        }
        self.input.drain(..begin);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        let is_long = self.input.len() > SHORT_LINE;
        if self.input.len() > LONGEST_LINE || (is_long && amount > room) {
            self.send(&Fault::too_long(LONGEST_LINE).answer());
            self.flush();
            self.close("it sent a line that is too long");
        }
    }

    /// Closes the connection if a long line stands half-finished, since its room is for
    /// others, or if the driver does not read.
    pub(super) fn give_up_waiting(&mut self) {
        if self.input.len() > SHORT_LINE && self.heard.elapsed() > TIMEOUT {
            self.close("it did not finish its line");
        }
        if self.stalled.is_some_and(|since| since.elapsed() >= READING) {
            self.close("it did not read what it was told");
        }
    }

    /// When it is to be looked after although nothing came.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stalled.map(|since| since + READING)
    }

    /// It answered something that it was not asked, or too late. Said once: it may be many.
    pub(super) fn answered_unasked(&mut self) {
        if let Some(name) = &self.name
            && !std::mem::replace(&mut self.confused, true)
        {
            log::warn!("driver {name} answered what it is not asked; no more is said of it");
        }
    }

    /// Tells the driver something that it did not ask for. One that does not read is not
    /// waited for.
    pub(super) fn tell(&mut self, line: &str) {
        self.told += line.len();
        if self.told > MOST_UNREAD {
            self.close("it did not read what it was told");
            return;
        }
        self.send(line);
    }

    /// Puts an answer on its way.
    pub(super) fn send(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.push(b'\n');
    }

    /// Writes what can be written without waiting.
    pub(super) fn flush(&mut self) {
        let mut moved = false;
        while !self.output.is_empty() && !self.over {
            match self.stream.write(&self.output) {
                Ok(written) => {
                    self.output.drain(..written);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if moved || self.stalled.is_none() {
                        self.stalled = Some(Instant::now());
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.close(&error.to_string()),
            }
        }
        self.stalled = None;
        self.told = 0;
        self.output.shrink_to(TIME_SLICE);
    }

    fn close(&mut self, why: &str) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        match &self.name {
            Some(name) => log::info!("driver {name} left: {why}"),
            None => log::debug!("a driver left: {why}"),
        }
    }
}
