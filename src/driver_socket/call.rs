//! A call of a driver, from its line to its answer.

use serde_json::Value;

use crate::protocol::foreign::{plain, quoted};
use crate::rpc::{self, ErrorCode, Execution, Malformed, Method, Params, Request, RpcError};
use crate::server_queries::Question;

/// Characters of an error message, and so many of one that the log shows.
const LONGEST_MESSAGE: usize = 500;
pub(super) const SHOWN: usize = 200;

/// A line that is to be answered: a call, or what is no message.
pub(super) struct Call {
    /// `None` for a notification, which gets no answer.
    id: Option<Value>,
    /// The method and its parameters, or why there is none.
    pub(super) request: Result<(Method, Params), RpcError>,
    /// Bytes of its line.
    pub(super) bytes: usize,
}

/// What came of a call.
pub(super) enum Reply {
    /// It is carried out, with this result.
    Done(Value),
    /// It is refused.
    Refused(RpcError),
    /// The server is to be asked first.
    AskServer(Question),
    /// It cannot be answered yet, and has its turn again in the next round.
    NotYet,
}

impl Call {
    /// A request, or what is no message, of so many bytes.
    pub(super) fn new(call: Result<Request, Malformed>, bytes: usize) -> Self {
        match call {
            Ok(Request { id, method: name, params }) => {
                let unknown = || format!("there is no method {}", quoted(&name));
                let request = Method::from_name(&name)
                    .map(|method| (method, params))
                    .ok_or_else(|| RpcError::new(ErrorCode::MethodNotFound, unknown()));
                Self { id, request, bytes }
            }
            Err(Malformed { id, error }) => Self { id: Some(id), request: Err(error), bytes },
        }
    }

    pub(super) fn execution(&self) -> Execution {
        self.request.as_ref().map_or(Execution::Read, |(method, _)| method.execution())
    }

    /// Its method, for people.
    pub(super) fn method(&self) -> &'static str {
        self.request.as_ref().map_or("a call", |(method, _)| method.name())
    }

    /// Whether it gets no answer.
    pub(super) fn is_notification(&self) -> bool {
        self.id.is_none()
    }

    /// The line that answers it; none for a notification.
    pub(super) fn answer(&self, result: Result<Value, RpcError>) -> Option<String> {
        let result = result.map_err(|mut error| {
            error.message = plain(&error.message, LONGEST_MESSAGE);
            error
        });
        self.id.as_ref().map(|id| rpc::response(id, result))
    }
}
