//! The drivers that ship: a card reader that types, a relay on a GPIO line.
//!
//! Each is a process of its own, started as a subcommand, and uses punchd by the driver socket
//! only, as any other driver does. They end with TERM or INT. When punchd or the device goes
//! away, they go on, and try to connect to both again.

mod card_queue;
pub(crate) mod card_reader;
mod evdev;
mod gpio;
mod line;
mod link;
pub(crate) mod relay;
pub(crate) mod settings;
mod source;
mod typed;

pub(crate) use line::Spec;
pub(crate) use typed::Format;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::reactor::{self, Served, Stopping};

/// Why one of these drivers ended by itself.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Cards cannot be read from what is at the path.
    NoReader(String),
    /// The system refused something.
    System(String),
}

/// Serves `driver` until TERM or INT, or until it says that it is done.
fn run(driver: Rc<RefCell<dyn Served>>, done: &Cell<bool>) -> Result<(), Stop> {
    let failed = |error: std::io::Error| Stop::System(format!("cannot wait: {error}"));
    reactor::serve(driver);
    while !done.get() {
        match reactor::rest(None) {
            Ok(_) => {}
            Err(error) if Stopping::is_in(&error) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Takes TERM and INT. To be called before anything is opened.
fn take_signals() -> Result<(), Stop> {
    reactor::take_signals().map_err(|error| Stop::System(format!("cannot take signals: {error}")))
}
