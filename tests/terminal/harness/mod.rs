//! What all these tests have in common: a server, a terminal, a driver, and how to wait for them.
//!
//! Nothing here waits for milliseconds to pass: each wait is for something that the server, the
//! terminal or a driver has seen, and fails after [`TIMEOUT`].

use std::time::Duration;

use iclock_emulator::{Emulator, Settings};

mod answers;
mod data;
mod driver;
mod enrolment;
mod fake_daemon;
mod files;
mod shipped;
mod terminal;

pub use answers::{answer, answer_text, polls, returns, returns_all, until, until_unanswered};
pub use data::{JPEG, base64, jpeg, noise, second, tgz};
pub use driver::Driver;
pub use enrolment::{FP, asked_to_enroll, enroll_all, enrolling, finger, sensor};
pub use fake_daemon::FakeDaemon;
pub use files::{script, store, terminal_with_files};
pub use shipped::{Shipped, nowhere};
pub use terminal::Terminal;

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The serial number of every terminal in these tests.
pub const SERIAL: &str = "MADE0001";

/// A server that asks for quick polls, and a quick return after a failure.
pub fn server() -> Emulator {
    server_with(Settings::default())
}

/// The same, otherwise as these settings have it.
pub fn server_with(settings: Settings) -> Emulator {
    let server = Emulator::start(settings).unwrap();
    server.set_option("Delay", "1");
    server.set_option("ErrorDelay", "1");
    server
}

/// The targets of all requests for an exchange, as the emulator names it.
pub fn targets(server: &Emulator, exchange: &str) -> Vec<String> {
    let seen = server.requests();
    seen.into_iter().filter(|seen| seen.exchange == exchange).map(|seen| seen.target).collect()
}

/// A server and a terminal, and a driver that has something to say.
pub fn given(more: &str) -> (Emulator, Terminal, Driver) {
    let server = server();
    let terminal = Terminal::start(&server, more);
    terminal.wait_until_online();
    let driver = terminal.driver();
    (server, terminal, driver)
}
