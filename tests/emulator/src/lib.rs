//! A strict server for the PUSH protocol: what a terminal is tested and shown against.
//!
//! It implements the protocol document independently of the daemon: it serves the
//! handshake, uploads, polls and replies, keeps what it receives, and records with a message
//! each deviation of a terminal from the document. It can behave like the servers in the field
//! ([`Persona`]) and inject faults ([`Fault`]).
//!
//! ```
//! use iclock_emulator::{Act, Emulator, Fault, On, Settings};
//!
//! let server = Emulator::start(Settings::default())?;
//! server.set_option("Delay", "1");
//! server.fault(Fault::new(On::table("ATTLOG"), Act::LoseAck { reset: true }));
//! let id = server.queue("INFO");
//! // … point a terminal at server.url(), then wait for what is to come:
//! // server.wait_until(timeout, |received| received.reply(&id).is_some())
//! server.assert_strict();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Without the feature `tls`, which is on by default, there is no HTTPS, and neither rustls nor rcgen; without `exchange` no
//! exchange of keys.
//!
//! The parts: [`record`] reads the records; `http` and `wire` the requests; `state` serves them
//! with `session`, `upload`, `command`, `reply` and `file`; `answer` and [`Fault`] send or damage
//! the answers; `connection`, `listener` and [`Emulator`] hold threads and sockets; `admin` is the
//! interface for programs, and `page` shows the same to people in a browser.

mod act;
mod admin;
mod answer;
#[cfg(feature = "tls")]
mod ca;
mod command;
mod connection;
mod deviation;
mod documented;
mod emulator;
mod exchange;
mod fault;
mod file;
mod http;
mod listener;
mod page;
mod query;
mod received;
pub mod record;
pub mod reply;
mod sealing;
mod service;
mod session;
mod settings;
mod stamp;
mod state;
#[cfg(feature = "exchange")]
pub mod suite;
mod target;
mod text;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod upload;
mod wire;

pub use act::{Act, SealFault};
#[cfg(feature = "tls")]
pub use ca::{PrivateCa, private_ca, private_ca_valid};
pub use command::Repeat;
pub use deviation::{Deviation, Flaw, Kind};
pub use emulator::Emulator;
pub use fault::{Fault, On, Weather};
pub use received::{AttRow, Received, Reply, Row, Seen, Summary};
pub use settings::{DateField, LineEnd, Log, Manners, Persona, Settings, Stamps, Tls};
pub use text::Charset;
