//! What a bad driver costs: memory, and the punches of an honest one.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{Driver, TIMEOUT, Terminal, second};

/// No server: only drivers have the program do anything.
pub const NOWHERE: &str = "http://127.0.0.1:9";
/// Most KiB that an abuse may cost above the idle program.
const MORE: u64 = 4 << 10;
/// Honest punches beside each abuse.
pub const PUNCHES: u32 = 100;

/// A terminal whose server does not answer: only drivers have it do anything.
pub fn terminal_alone() -> Terminal {
    let mut terminal = Terminal::prepare(NOWHERE, "");
    terminal.run();
    terminal
}

/// The program when it does nothing but take punches, and what they take.
pub struct Idle {
    peak: u64,
    p99: Duration,
}

impl Idle {
    /// Measures it.
    pub fn of(terminal: &Terminal, honest: &mut Driver) -> Self {
        terminal.status();
        let p99 = punches(honest, PUNCHES);
        Self { peak: terminal.proc("status", "VmHWM"), p99 }
    }

    /// What the abuse cost.
    pub fn compare(&self, terminal: &Terminal, what: &str, p99: Duration) {
        let more = terminal.proc("status", "VmHWM").saturating_sub(self.peak);
        println!(
            "{what}: {more} KiB more; p99 of a punch {p99:.1?}, with idle drivers {:.1?}",
            self.p99
        );
        assert!(more <= MORE, "{what}: {more} KiB more");
    }
}

/// Records punches, one after the other. What the slowest of a hundred took.
pub fn punches(driver: &mut Driver, count: u32) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|nth| {
            let begun = Instant::now();
            driver.punch("1001", &second(nth));
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100]
}

/// A connection that a test uses as it likes.
pub fn connect(terminal: &Terminal) -> UnixStream {
    let stream = UnixStream::connect(terminal.path("run/driver.sock")).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}
