//! One request on a connection, until the head of its response is there.

use std::time::{Duration, Instant};

use ureq_proto::client::state::{RecvResponse, SendRequest};
use ureq_proto::client::{Call, SendRequestResult};
use ureq_proto::http;

use super::connection::{BUFFER, Connection};
use super::exchange::{Body, Content, ReadLimit};
use super::link_error::{LinkError, Phase};

/// What begins the answer of TLS to bytes that are none of it: an alert, of any version.
const TLS_ALERT: &[u8] = b"\x15\x03";

/// A request as it goes on the wire.
pub(super) struct Message<'a> {
    pub(super) head: http::Request<()>,
    pub(super) body: Option<Body<'a>>,
    /// What stands before the path in the first line, if a proxy is asked: scheme and host.
    pub(super) absolute: Option<String>,
}

/// How long a request and its answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The server to take or give the next bytes.
    pub(super) answer: Duration,
    /// All of a body.
    pub(super) body: Duration,
    /// The head of the response, where it may take longer.
    pub(super) head: Duration,
    /// All of it.
    pub(super) end: Option<Instant>,
}

impl Times {
    /// A moment after now, but not after the end of all.
    fn within(&self, time: Duration) -> Instant {
        let at = Instant::now() + time;
        self.end.map_or(at, |end| end.min(at))
    }
}

/// A request that was sent.
pub(super) struct Pending {
    pub(super) connection: Connection,
    pub(super) call: Call<RecvResponse>,
    pub(super) sent_at: Instant,
    /// Bytes of the answer have come.
    pub(super) is_heard: bool,
    deadline: Instant,
}

impl Pending {
    /// Sends a request: all of it is on its way, or the server answered before that.
    pub(super) fn send(
        mut connection: Connection,
        message: &Message<'_>,
        times: &Times,
    ) -> Result<Self, LinkError> {
        let call = Call::new(message.head.clone())?.proceed();
        let (bytes, call) = write_head(call, message)?;
        let sent = transmit(&mut connection, bytes, message.body, times);
        let (sent_at, deadline) = (Instant::now(), times.within(times.head));
        let mut pending = Self { connection, call, sent_at, is_heard: false, deadline };
        match sent {
            Ok(()) => Ok(pending),
            // A server that does not read to the end may have said why before it closed.
            Err(error) if error.is_closed() => match pending.is_answered()? {
                true => Ok(pending),
                false => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Waits for the head of the response. `None`: the limit of the reads was reached first.
    pub(super) fn head(
        &mut self,
        reads: &ReadLimit,
    ) -> Result<Option<http::Response<()>>, LinkError> {
        let mut is_late = false;
        loop {
            let input = self.connection.input();
            let (used, response) = match self.call.try_response(input, false) {
                Err(_) if input.starts_with(TLS_ALERT) => return Err(LinkError::InTls),
                read => read?,
            };
            self.connection.consume(used);
            if response.is_some() {
                return Ok(response);
            }
            // It was informational (1xx): the next may be here, too.
            if used > 0 {
                continue;
            }
            // What came in time counts, also if nobody looked for it until now.
            if is_late {
                return Err(LinkError::TimedOut(Phase::Answer));
            }
            is_late = Instant::now() >= self.deadline;
            if self.connection.input().len() >= BUFFER {
                return Err(LinkError::HeadTooLong);
            }
            match self.connection.receive(self.deadline, reads) {
                Ok(0) if self.is_heard => return Err(LinkError::CutOff),
                Ok(0) => return Err(LinkError::Closed),
                Ok(_) => self.is_heard = true,
                Err(LinkError::Paused) => return Ok(None),
                // Without a close_notify, too, it was closed.
                #[cfg(feature = "tls")]
                Err(LinkError::NoCloseNotify) if !self.is_heard => return Err(LinkError::Closed),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether bytes of an answer are there already. An alert of TLS says why there is none: by TLS 1.3
    /// a certificate of ours is refused when the handshake is over.
    fn is_answered(&mut self) -> Result<bool, LinkError> {
        let at_once = ReadLimit::default();
        at_once.set(Duration::ZERO);
        match self.connection.receive(self.deadline, &at_once) {
            #[cfg(feature = "tls")]
            Err(error @ LinkError::Tls(_)) => Err(error),
            received => {
                self.is_heard = received.is_ok_and(|came| came > 0);
                Ok(self.is_heard)
            }
        }
    }
}

/// The bytes of the head, and the call that waits for the answer. The body is sent beside it.
fn write_head(
    mut call: Call<SendRequest>,
    message: &Message<'_>,
) -> Result<(Vec<u8>, Call<RecvResponse>), LinkError> {
    let headers =
        message.head.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = message.head.uri().to_string().len();
    let mut bytes = vec![0; 2 * target + headers.sum::<usize>() + 200];
    let mut length = 0;
    while !call.can_proceed() {
        length += call.write(&mut bytes[length..])?;
    }
    bytes.truncate(length);
    if let Some(absolute) = &message.absolute {
        let path = bytes.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
        bytes.splice(path..path, absolute.bytes());
    }
    let call = match call.proceed()? {
        Some(SendRequestResult::RecvResponse(call)) => Some(call),
        Some(SendRequestResult::SendBody(mut call)) => {
            let length = message.body.map_or(0, |body| body.length());
            call.consume_direct_write(usize::try_from(length).unwrap_or(usize::MAX))?;
            call.proceed()
        }
        Some(SendRequestResult::Await100(_)) | None => None,
    };
    let call = call.ok_or_else(|| LinkError::Request("the request cannot be written".into()))?;
    Ok((bytes, call))
}

fn transmit(
    connection: &mut Connection,
    mut head: Vec<u8>,
    body: Option<Body<'_>>,
    times: &Times,
) -> Result<(), LinkError> {
    // All of it, and each part of it.
    let end = times.within(times.answer.max(times.body));
    let next = || times.within(times.answer).min(end);
    let Body { bytes, file } = body.unwrap_or_default();
    if file.is_none() && bytes.len() <= BUFFER {
        head.extend_from_slice(bytes);
        return connection.send(&head, &next);
    }
    connection.cork(true)?;
    connection.send(&head, &next)?;
    connection.send(bytes, &next)?;
    if let Some((file, size)) = file {
        send_content(connection, file, size, &next)?;
    }
    connection.cork(false)
}

/// Sends so many bytes of a file. If it is shorter than it was, that is an error: the head of the
/// request has its length already.
fn send_content(
    connection: &mut Connection,
    content: &dyn Content,
    size: u64,
    next: &dyn Fn() -> Instant,
) -> Result<(), LinkError> {
    let (mut left, mut chunk) = (size, vec![0; BUFFER]);
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let amount = content.read_at(size - left, &mut chunk[..most])?;
        if amount == 0 {
            let why = "the file became shorter while it was sent";
            return Err(LinkError::Io(std::io::Error::other(why)));
        }
        connection.send(&chunk[..amount], next)?;
        left -= amount as u64;
    }
    Ok(())
}
