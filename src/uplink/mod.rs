//! The server, by HTTP: one request at a time, on connections that are kept where the server keeps them.
//! Other exchanges may go on while the server holds a request, or while the body of a response is not
//! read to its end; they have a connection of their own.
//!
//! [`Uplink`] is what the loop knows; [`Server`] is the real one: HTTP/1.1 by ureq-proto, on connections
//! that wait in the reactor, so that drivers are served in every phase of an exchange. Every phase has
//! a time limit. A failure names the address, and what to change.

mod answering;
mod body;
mod connection;
mod connector;
mod exchange;
mod explain;
mod failure;
mod head;
mod keep_alive;
mod link_error;
mod pending;
#[cfg(feature = "tls")]
mod pin;
mod resolver;
mod server;
mod settings;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod trace;
mod waits;

pub use exchange::{
    Body, Content, DateHeader, Exchange, HeldExchange, Part, ReadLimit, Request, Response, Uplink,
};
#[cfg(feature = "exchange")]
pub use exchange::{FileHead, Seal};
pub use failure::{Cause, Failure};
#[cfg(feature = "tls")]
pub use pin::Pin;
pub use resolver::MOST_ADDRESSES;
pub use server::Server;
#[cfg(fuzzing)]
pub use server::fuzzing::answers;
pub use settings::{ClientCertificate, Proxy, Settings, TlsSettings};
