//! The body of a response: read as it arrives. At its end the connection is kept, if the answer
//! allows that.

use std::cell::RefCell;
use std::io::{self, Read};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvBodyResult, RecvResponseResult};

use super::connection::Connection;
use super::exchange::ReadLimit;
use super::keep_alive::KeptConnections;
use super::link_error::{LinkError, Phase};
use super::waits::in_time;

/// A body that is being received.
pub(super) struct ReceivedBody {
    state: State,
    /// Its end can be told from a connection that broke.
    framed: bool,
    kept: Rc<RefCell<KeptConnections>>,
    reads: ReadLimit,
    limits: BodyLimits,
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// The next bytes.
    pub(super) answer: Duration,
    /// When it is to be at its end.
    pub(super) end: Option<Instant>,
    /// What is left of the time for all reads together, where the time between them does not count.
    pub(super) left: Option<Duration>,
}

enum State {
    Open(Box<(Connection, Call<RecvBody>)>),
    /// It came to its end; whether more bytes followed.
    Ended {
        excess: bool,
    },
    /// It broke off.
    Failed,
}

impl ReceivedBody {
    /// The body of a response whose head has come.
    pub(super) fn new(
        connection: Connection,
        call: Call<RecvResponse>,
        kept: Rc<RefCell<KeptConnections>>,
        reads: ReadLimit,
        limits: BodyLimits,
    ) -> Self {
        let mut body = Self { state: State::Failed, framed: true, kept, reads, limits };
        match call.proceed() {
            Some(RecvResponseResult::RecvBody(call)) => {
                body.framed = call.body_mode() != BodyMode::CloseDelimited;
                body.state = State::Open(Box::new((connection, call)));
            }
            Some(RecvResponseResult::Redirect(call)) => {
                body.end(connection, !call.must_close_connection());
            }
            Some(RecvResponseResult::Cleanup(call)) => {
                body.end(connection, !call.must_close_connection());
            }
            None => {}
        }
        body
    }

    /// Whether its end can be told from a connection that broke: it has a length, or is chunked.
    pub(super) fn is_framed(&self) -> bool {
        self.framed
    }

    fn read_some(&mut self, into: &mut [u8]) -> Result<usize, LinkError> {
        loop {
            let (connection, call) = match &mut self.state {
                State::Open(open) => &mut **open,
                State::Ended { excess } => {
                    return if mem::take(excess) { Err(LinkError::Excess) } else { Ok(0) };
                }
                State::Failed => return Err(LinkError::CutOff),
            };
            let (used, made) = call.read(connection.input(), into)?;
            connection.consume(used);
            if self.framed && call.can_proceed() {
                self.end_of_open();
            }
            if made > 0 {
                return Ok(made);
            }
            if used == 0 && matches!(self.state, State::Open(_)) {
                self.receive()?;
            }
        }
    }

    /// Waits for more bytes.
    fn receive(&mut self) -> Result<(), LinkError> {
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let (connection, call) = &mut **open;
        if let Some(end) = self.limits.end {
            in_time(end, Phase::Answer)?;
        }
        let deadline = connection.heard_at + self.limits.answer;
        let deadline = self.limits.end.map_or(deadline, |end| end.min(deadline));
        if connection.receive(deadline, &self.reads)? > 0 {
            return Ok(());
        }
        // The connection was closed: the end of a body that ends so, and of chunks whose last one is here.
        if self.framed && !call.is_ended_chunked() {
            return Err(LinkError::CutOff);
        }
        self.state = State::Ended { excess: false };
        Ok(())
    }

    fn end_of_open(&mut self) {
        let State::Open(open) = mem::replace(&mut self.state, State::Failed) else { return };
        let (connection, call) = *open;
        let must_close = match call.proceed() {
            Some(RecvBodyResult::Cleanup(call)) => call.must_close_connection(),
            Some(RecvBodyResult::Redirect(call)) => call.must_close_connection(),
            None => true,
        };
        self.end(connection, !must_close);
    }

    fn end(&mut self, mut connection: Connection, may_be_kept: bool) {
        let look = match may_be_kept {
            true => self.kept.borrow_mut().history(&connection.place).look(),
            false => Duration::ZERO,
        };
        let excess = connection.has_excess(look);
        self.state = State::Ended { excess };
        let (mut kept, now) = (self.kept.borrow_mut(), Instant::now());
        match excess {
            true => kept.history(&connection.place).had_excess(now),
            false if may_be_kept => {
                kept.history(&connection.place).was_calm();
                kept.put(connection, now);
            }
            false => {}
        }
    }
}

impl Read for ReceivedBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let started = Instant::now();
        let mut read = self.read_some(into);
        if let Some(left) = &mut self.limits.left {
            *left = left.saturating_sub(started.elapsed());
            if left.is_zero() && !matches!(read, Ok(0)) {
                read = Err(LinkError::BodyTooSlow);
            }
        }
        if read.as_ref().is_err_and(|error| !matches!(error, LinkError::Paused)) {
            self.state = State::Failed;
        }
        Ok(read?)
    }
}
