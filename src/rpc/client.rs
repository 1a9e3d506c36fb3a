//! One call of a running daemon, as the command line makes it.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::error::RpcError;
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
            Self::NoAnswer { socket, error } => write!(
                f,
                "no answer at {}: {error}. Is `punchd run` running, with the same configuration?",
                socket.display()
            ),
            Self::Malformed(why) => write!(f, "punchd sent no valid answer: {why}"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

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
