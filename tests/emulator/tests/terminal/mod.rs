//! A terminal of a few lines, on a bare socket: it sends what the test writes and shows what comes
//! back.
#![allow(dead_code)] // each test file uses a part of it
#![allow(clippy::unwrap_used)] // this is a test

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use iclock_emulator::{Emulator, Kind, Settings};

/// The serial number of the terminal.
pub const SN: &str = "TEST0001";

/// A punch of the document's form.
pub fn punch(pin: u32, minute: u32) -> String {
    format!("{pin}\t2026-03-02 {:02}:{:02}:00\t0\t1\t0\t0\t0\n", 8 + minute / 60, minute % 60)
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Takes apart what came back.
    pub fn of(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

/// The terminal.
#[derive(Clone, Copy)]
pub struct Terminal {
    address: SocketAddr,
}

impl Terminal {
    pub fn at(server: &Emulator) -> Terminal {
        Terminal::to(server.address())
    }

    pub fn to(address: SocketAddr) -> Terminal {
        Terminal { address }
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Sends bytes on a connection of their own; gives what came until its end, and how it ended.
    pub fn send(&self, bytes: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let mut socket = self.connect();
        let mut came = Vec::new();
        let end = socket.write_all(bytes).and_then(|()| socket.read_to_end(&mut came));
        (came, end.map(|_| ()))
    }

    /// Sends a request in full; gives the answer.
    pub fn raw(&self, request: &str) -> Answer {
        let (came, end) = self.send(request.as_bytes());
        end.unwrap();
        Answer::of(&came)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.raw(&get(path))
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let (came, end) = self.send(&post(path, body.as_ref()));
        end.unwrap();
        Answer::of(&came)
    }

    pub fn handshake(&self) -> Answer {
        self.get(&format!("/iclock/cdata?SN={SN}&options=all&pushver=2.4.1&language=69"))
    }

    pub fn poll(&self) -> Answer {
        self.get(&format!("/iclock/getrequest?SN={SN}"))
    }

    /// Polls, however it ends.
    pub fn poll_bytes(&self) -> Vec<u8> {
        self.send(get(&format!("/iclock/getrequest?SN={SN}")).as_bytes()).0
    }

    pub fn upload(&self, table: &str, stamp: u64, rows: &str) -> Answer {
        self.post(&format!("/iclock/cdata?SN={SN}&table={table}&Stamp={stamp}"), rows)
    }

    pub fn reply(&self, body: &str) -> Answer {
        self.post(&format!("/iclock/devicecmd?SN={SN}"), body)
    }
}

/// A GET as field firmware sends it.
pub fn get(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: iClock Proxy/1.09\r\nConnection: close\r\nAccept: */*\r\n\r\n"
    )
}

/// A POST as field firmware sends it.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: iClock Proxy/1.09\r\nConnection: close\r\nAccept: */*\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A server as the document has it, and a terminal that made the initial exchange.
pub fn start() -> (Emulator, Terminal) {
    start_with(Settings::default())
}

pub fn start_with(settings: Settings) -> (Emulator, Terminal) {
    let server = Emulator::start(settings).unwrap();
    let terminal = Terminal::at(&server);
    terminal.handshake();
    (server, terminal)
}

/// The kinds of deviation, each once.
pub fn kinds(server: &Emulator) -> Vec<Kind> {
    let mut kinds: Vec<Kind> =
        server.received(|received| received.deviations().iter().map(|it| it.kind).collect());
    kinds.dedup();
    kinds
}
