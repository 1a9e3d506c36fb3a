//! One call of a running daemon, as the command line makes it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::error::{ErrorCode, RpcError};
use super::message::{Message, parse};
use super::method::Method;

/// How long the answer may take: the daemon may be writing to a slow disk.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Nobody answers at the socket.
    NoAnswer {
        /// The driver socket.
        socket: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What came is no response.
    Malformed(String),
    /// The daemon refused the call.
    Refused(RpcError),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer { socket, error } => no_answer(f, socket, error),
            Self::Malformed(why) => write!(f, "punchd sent no valid answer: {why}"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

impl CallError {
    /// Whether this user may not use the socket, or not for this; punchd may be running.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            Self::NoAnswer { error, .. } => error.kind() == ErrorKind::PermissionDenied,
            Self::Refused(error) => error.code == ErrorCode::NotAllowed,
            Self::Malformed(_) => false,
        }
    }
}

fn no_answer(f: &mut fmt::Formatter<'_>, socket: &Path, error: &io::Error) -> fmt::Result {
    let is_on_trial = is_on_trial(socket);
    let socket = socket.display();
    match error.kind() {
        _ if is_on_trial => write!(
            f,
            "a new program is on trial and does not answer at {socket} yet: the old one looks after it, and \
             takes it back if it has to ([upgrade] connect_seconds). Do not start punchd beside it"
        ),
        ErrorKind::PermissionDenied => write!(
            f,
            "no permission to use {socket} ({error}), so whether punchd runs is not known: run this as \
             root, or as a member of the group of the socket ([drivers] group in punchd.toml)"
        ),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => write!(
            f,
            "punchd listens at {socket} and gave no answer within {} s: see its log; its disk may be \
             slow, or the process stopped",
            TIMEOUT.as_secs()
        ),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => write!(
            f,
            "punchd closed the connection at {socket} without an answer: it stops, or too many \
             drivers are connected; try again"
        ),
        _ => write!(
            f,
            "no answer at {socket}: {error}. Is `punchd run` running, with the same configuration?"
        ),
    }
}

/// The lock that punchd holds in the directory of the socket while a new program is on trial.
pub(crate) fn trial_lock(socket: &Path) -> PathBuf {
    socket.with_file_name("trial.lock")
}

/// Whether a new program is on trial, at this socket.
pub(crate) fn is_on_trial(socket: &Path) -> bool {
    let is_held = |file| flock(&file, FlockOperation::NonBlockingLockShared).is_err();
    cfg!(feature = "hardened") && File::open(trial_lock(socket)).is_ok_and(is_held)
}

/// Calls a method of the daemon that listens at `socket`, and waits for its answer.
///
/// # Errors
/// See [`CallError`].
pub(crate) fn call(socket: &Path, method: Method, params: &Value) -> Result<Value, CallError> {
    let line = exchange(socket, &method.request(1, params))
        .map_err(|error| CallError::NoAnswer { socket: socket.to_owned(), error })?;
    match parse(line.as_bytes()) {
        Ok(Message::Response(response)) => response.result.map_err(CallError::Refused),
        Ok(Message::Request(request)) => {
            Err(CallError::Malformed(format!("a call of {:?}", request.method)))
        }
        Err(malformed) => Err(CallError::Malformed(malformed.error.message)),
    }
}

fn exchange(socket: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    writeln!(stream, "{request}")?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_an_answer_says_why() {
        for (kind, denied, message) in [
            (ErrorKind::NotFound, false, "Is `punchd run` running"),
            (ErrorKind::ConnectionRefused, false, "Is `punchd run` running"),
            (
                ErrorKind::PermissionDenied,
                true,
                "whether punchd runs is not known: run this as root",
            ),
            (ErrorKind::WouldBlock, false, "gave no answer within 30 s"),
            (ErrorKind::UnexpectedEof, false, "closed the connection"),
        ] {
            let error = CallError::NoAnswer { socket: "/run/x".into(), error: kind.into() };
            assert_eq!(error.is_denied(), denied, "{kind:?}");
            let text = error.to_string();
            assert!(text.contains(message) && text.contains("/run/x"), "{text}");
            assert_eq!(text.contains("`punchd run`"), message.contains("`punchd run`"), "{text}");
        }
    }
}
