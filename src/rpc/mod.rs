//! JSON-RPC 2.0, one object a line: the one codec for the driver socket, for the command line
//! and for the drivers that ship. `docs/drivers.md` describes the protocol.
//!
//! [`Method`] lists what drivers call, [`DriverMethod`] what punchd calls, [`ErrorCode`] how a
//! call can fail. Apart from `call`, nothing here does input or output.

mod bounded;
mod client;
mod error;
mod lines;
mod message;
mod method;
mod params;

pub(crate) use client::{CallError, call, is_on_trial, trial_lock};
pub use error::ErrorCode;
pub(crate) use error::RpcError;
pub(crate) use lines::LineBuffer;
pub(crate) use message::{Malformed, Message, Request, Response, parse, response};
pub(crate) use method::Execution;
pub use method::{DriverMethod, Method};
pub(crate) use params::Params;

/// Longest line that punchd takes, in bytes: a photo of 2 MiB in base64.
pub(crate) const LONGEST_LINE: usize = 3 << 20;
