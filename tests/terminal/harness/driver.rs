//! A driver on the driver socket, that does one call after the other.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::TIMEOUT;

/// A driver that does one call after the other.
pub struct Driver {
    reader: BufReader<UnixStream>,
    calls: u64,
    /// What punchd said of itself while an answer was waited for.
    told: VecDeque<Value>,
}

impl Driver {
    /// Connects to a driver socket.
    pub fn connect(socket: &Path) -> Self {
        Self::try_connect(socket).unwrap()
    }

    /// The same, `None` if nobody listens there.
    pub fn try_connect(socket: &Path) -> Option<Self> {
        let stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Some(Self { reader: BufReader::new(stream), calls: 0, told: VecDeque::new() })
    }

    /// Calls a method and waits for the result; `Err` holds the error object.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.try_call(method, &params).expect("an answer")
    }

    /// The same, `None` if the connection breaks before the answer.
    pub fn try_call(&mut self, method: &str, params: &Value) -> Option<Result<Value, Value>> {
        self.calls += 1;
        let call = json!({"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params});
        self.send(call.to_string().as_bytes()).ok()?;
        let mut answer = self.read()?;
        while answer["method"].is_string() {
            self.told.push_back(answer);
            answer = self.read()?;
        }
        assert_eq!(answer["id"], self.calls);
        Some(if answer["error"].is_null() {
            Ok(answer["result"].take())
        } else {
            Err(answer["error"].take())
        })
    }

    /// Records a punch, and gives back its number.
    pub fn punch(&mut self, pin: &str, time: &str) -> i64 {
        let done = self.call("punch", json!({"pin": pin, "time": time, "verify": 1}));
        done.unwrap()["seq"].as_i64().unwrap()
    }

    /// Answers a request of punchd.
    pub fn reply(&mut self, id: u64, result: Value) {
        let reply = json!({"jsonrpc": "2.0", "id": id, "result": result});
        self.send(reply.to_string().as_bytes()).unwrap();
    }

    /// Sends a line, whatever it is.
    pub fn send(&mut self, line: &[u8]) -> std::io::Result<()> {
        let mut bytes = line.to_vec();
        bytes.push(b'\n');
        self.reader.get_mut().write_all(&bytes)
    }

    /// The next line, `None` when the connection is closed.
    pub fn receive(&mut self) -> Option<Value> {
        self.told.pop_front().or_else(|| self.read())
    }

    fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(amount) if amount > 0 && line.ends_with('\n') => {
                Some(serde_json::from_str(&line).unwrap())
            }
            _ => None,
        }
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut UnixStream {
        self.reader.get_mut()
    }
}
