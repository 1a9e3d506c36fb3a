//! Any bytes from a driver: no crash, no hang, no answer that is no JSON, and another driver
//! is served all the same.
//!
//! The first byte says in how large chunks the rest arrives.
#![no_main]
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use punchd::clock::{Authority, Clock, ClockOffset, ServerZone, SystemClock, Zone};
use punchd::driver_socket::{Access, DriverSocket, MethodContext, socket_path};
use punchd::protocol::codes::Language;
use punchd::reactor::Served;
use punchd::status::Status;
use punchd::store::{Limits, Store};
use rustix::event::{PollFd, Timespec, poll};

/// After so many inputs a new store is made: this one is full of what they recorded.
const INPUTS_A_STORE: u32 = 2000;

struct Terminal {
    directory: PathBuf,
    drivers: DriverSocket,
    inputs: u32,
}

impl Terminal {
    fn new() -> Self {
        let directory = PathBuf::from(format!("/dev/shm/punchd-fuzz-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let limits = Limits { punches: 5000, users: 1000, bytes: 64 << 20, free: 0 };
        let offset = ClockOffset::default();
        let clock: Rc<dyn Clock> =
            Rc::new(SystemClock::new(Authority::Own, Zone::System, ServerZone::Unnamed, offset));
        let context = MethodContext {
            serial: "FUZZ0001".into(),
            language: Language::ENGLISH,
            store: Rc::new(Store::open(&directory.join("punchd.db"), limits).unwrap()),
            status: Rc::new(Status::new("FUZZ0001", Rc::clone(&clock))),
            clock,
            server_queries: Rc::default(),
            driver_requests: Rc::default(),
            registrations: Default::default(),
            shared_dir: Some(directory.clone()),
        };
        let access = Access { mode: 0o600, group: None, roles: Default::default() };
        let drivers = DriverSocket::open(&directory, &access, context).unwrap();
        Self { directory, drivers, inputs: 0 }
    }

    fn connect(&mut self) -> UnixStream {
        let stream = UnixStream::connect(socket_path(&self.directory)).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.round();
        stream
    }

    /// One round of the reactor.
    fn round(&mut self) {
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        self.drivers.watch(&mut fds);
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        let ready: Vec<_> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        self.drivers.serve(&ready);
    }

    /// Reads what there is to read; each line of it must be JSON.
    fn read(&mut self, stream: &mut UnixStream, rest: &mut Vec<u8>) {
        let mut chunk = [0; 64 << 10];
        while let Ok(amount @ 1..) = stream.read(&mut chunk) {
            rest.extend_from_slice(&chunk[..amount]);
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let answer: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert!(answer.is_object() || answer.is_array());
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let Some((size, mut bytes)) = bytes.split_first() else { return };
        let size = usize::from(*size).max(1) * 17;
        let (mut stream, mut rest) = (self.connect(), Vec::new());
        while !bytes.is_empty() {
            match stream.write(&bytes[..bytes.len().min(size)]) {
                Ok(amount) => bytes = &bytes[amount..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break, // It was disconnected.
            }
            self.round();
            self.read(&mut stream, &mut rest);
        }
        let _ = stream.write(b"\n");
        for _ in 0..4 {
            self.round();
            self.read(&mut stream, &mut rest);
        }
    }

    /// Another driver calls, and is answered within a few rounds.
    fn is_served(&mut self) {
        let mut stream = self.connect();
        let call =
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"user.get\",\"params\":{\"pin\":\"1\"}}\n";
        stream.write_all(call.as_bytes()).unwrap();
        let mut answer = Vec::new();
        for _ in 0..8 {
            self.round();
            let mut chunk = [0; 4096];
            if let Ok(amount) = stream.read(&mut chunk) {
                answer.extend_from_slice(&chunk[..amount]);
            }
            if answer.ends_with(b"\n") {
                return;
            }
        }
        panic!("no other driver was served: {:?}", String::from_utf8_lossy(&answer));
    }
}

thread_local! {
    static TERMINAL: RefCell<Option<Terminal>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    TERMINAL.with_borrow_mut(|slot| {
        if slot.as_ref().is_some_and(|terminal| terminal.inputs >= INPUTS_A_STORE) {
            *slot = None;
        }
        let terminal = slot.get_or_insert_with(Terminal::new);
        terminal.inputs += 1;
        terminal.feed(bytes);
        terminal.is_served();
    });
});
