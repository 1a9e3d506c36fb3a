//! What all these tests have in common: a server, a terminal, a driver, and how to wait for them.
//!
//! Nothing here waits for milliseconds to pass: each wait is for something that the server, the
//! terminal or a driver has seen, and fails after [`TIMEOUT`].

use std::time::Duration;

use iclock_emulator::{Emulator, Settings};

mod abuse;
mod answers;
mod commanding;
mod data;
mod driver;
#[cfg(feature = "exchange")]
mod encrypting;
mod enrolment;
mod every_command;
mod fake_daemon;
mod files;
mod openssl;
mod raw_server;
mod shipped;
mod terminal;
mod tracer;

pub use abuse::{Idle, NOWHERE, PUNCHES, connect, punches, terminal_alone};
pub use answers::{answer, answer_text, polls, returns, returns_all, until, until_unanswered};
pub use commanding::Commanding;
pub use data::{JPEG, base64, http_date, jpeg, new_punch, noise, second, tgz};
pub use driver::Driver;
#[cfg(feature = "exchange")]
pub use encrypting::{encrypting, encrypting_server, message_of};
pub use enrolment::{FP, asked_to_enroll, enroll_all, enrolling, finger, sensor};
pub use every_command::EveryCommand;
pub use fake_daemon::FakeDaemon;
pub use files::{copy_punchd, limit_files, program, script, store, terminal_with_files};
pub use openssl::{NEW_EC, Openssl};
pub use raw_server::{
    RawAnswer, RawRequest, RawServer, dated, kept, options, polls_of, replies_in, replies_to, says,
};
pub use shipped::{Shipped, nowhere};
pub use terminal::Terminal;
pub use tracer::{CALLS, Injection, Tracer};

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

/// Waits until so many rows of a stream are set aside. A row has to be refused on three occasions
/// over ten minutes, while the server takes others: time goes by in steps, by the server's clock,
/// and `another_row` brings a row for each.
pub fn set_aside(
    server: &Emulator,
    terminal: &Terminal,
    stream: &str,
    rows: u64,
    mut another_row: impl FnMut(),
) -> serde_json::Value {
    for _ in 0..60 {
        let status = terminal.status();
        if status["streams"][stream]["quarantined"] == rows {
            return status;
        }
        server.advance_clock(601);
        // By its next poll the terminal has the time.
        let polls = server.received(|received| received.count("poll"));
        server.wait_until(TIMEOUT, |received| received.count("poll") > polls + 1);
        another_row();
    }
    panic!("not set aside: {:#}", terminal.status());
}
