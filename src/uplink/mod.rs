//! The server, by HTTP: one request at a time, each on a connection of its own. Other exchanges may
//! go on while the body of a response is not read to its end.
//!
//! [`Uplink`] is what the loop knows; [`Server`] is the real one: ureq with a connector and a
//! resolver that wait in the reactor, so that drivers are served in every phase of an exchange.
//! Every phase has a time limit. A failure names the address, and what to change.

mod connector;
mod exchange;
mod explain;
mod failure;
mod head;
mod resolver;
mod server;
mod settings;
#[cfg(feature = "tls")]
mod tls;

pub use exchange::{Body, DateHeader, Part, ReadLimit, Request, Response, Uplink};
pub use failure::Failure;
pub use server::Server;
pub use settings::Settings;
