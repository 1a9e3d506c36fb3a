//! A daemon for drivers that is nothing but a socket: the test sees every line, and answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde_json::{Value, json};

use super::TIMEOUT;

/// The socket, and the driver on it.
pub struct FakeDaemon {
    listener: UnixListener,
    driver: Option<BufReader<UnixStream>>,
}

impl FakeDaemon {
    /// Listens where drivers look for the daemon.
    pub fn open(socket: &Path) -> Self {
        Self { listener: UnixListener::bind(socket).unwrap(), driver: None }
    }

    /// Waits for the driver, which registers as `name`, with what it provides.
    #[track_caller]
    pub fn welcome(&mut self, name: &str, provides: &Value) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        self.driver = Some(BufReader::new(stream));
        let here = json!({"protocol": 1, "serial": "MADE0001", "version": "0"});
        self.answer("register", &json!({"name": name, "provides": provides}), here);
    }

    /// Ends the connection.
    pub fn hang_up(&mut self) {
        self.driver = None;
    }

    /// Asks the driver for something.
    pub fn ask(&mut self, id: u64, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    /// The next line of the driver.
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.driver.as_mut().unwrap().read_line(&mut line).unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        message
    }

    /// The driver calls this method with these parameters, and hears this.
    #[track_caller]
    pub fn answer(&mut self, method: &str, params: &Value, result: Value) {
        let call = self.receive();
        assert_eq!((&call["method"], &call["params"]), (&json!(method), params), "{call}");
        self.result(&call, result);
    }

    /// The answer to a call.
    pub fn result(&mut self, call: &Value, result: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": call["id"], "result": result}));
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Value) {
        self.send_line(message.to_string().as_bytes());
    }

    /// Sends a line, whatever it is; the driver may hang up over it.
    pub fn send_line(&mut self, line: &[u8]) {
        let _ = self.driver.as_mut().unwrap().get_mut().write_all(&[line, b"\n"].concat());
    }
}
