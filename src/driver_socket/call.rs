//! A call of a driver, from its line to its answer.

use serde_json::Value;

use crate::rpc::{self, ErrorCode, Execution, Malformed, Method, Params, Request, RpcError};
use crate::server_queries::Question;

/// A line that is to be answered: a call, or what is no message.
pub(super) struct Call {
    /// `None` for a notification, which gets no answer.
    id: Option<Value>,
    /// The method and its parameters, or why there is none.
    pub(super) request: Result<(Method, Params), RpcError>,
}

/// What came of a call.
pub(super) enum Reply {
    /// It is carried out, with this result.
    Done(Value),
    /// It is refused.
    Refused(RpcError),
    /// The server is to be asked first.
    AskServer(Question),
}

impl Call {
    pub(super) fn execution(&self) -> Execution {
        self.request.as_ref().map_or(Execution::Read, |(method, _)| method.execution())
    }

    /// The line that answers it; none for a notification.
    pub(super) fn answer(&self, result: Result<Value, RpcError>) -> Option<String> {
        self.id.as_ref().map(|id| rpc::response(id, result))
    }
}

impl From<Request> for Call {
    fn from(Request { id, method: name, params }: Request) -> Self {
        let request = Method::from_name(&name).map(|method| (method, params)).ok_or_else(|| {
            RpcError::new(ErrorCode::MethodNotFound, format!("there is no method {name:?}"))
        });
        Self { id, request }
    }
}

impl From<Malformed> for Call {
    fn from(Malformed { id, error }: Malformed) -> Self {
        Self { id: Some(id), request: Err(error) }
    }
}
