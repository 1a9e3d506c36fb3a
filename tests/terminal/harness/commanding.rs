//! A raw server that gives out commands, byte by byte as a test has them, and knows what was answered.

use std::sync::{Arc, Mutex};

use super::{RawAnswer, RawRequest, RawServer, Terminal, options, says, until};

/// The server, and the terminal that asks it for commands.
pub struct Commanding {
    /// The server.
    pub server: RawServer,
    /// The terminal.
    pub terminal: Terminal,
    list: Arc<Mutex<Vec<u8>>>,
    count: u32,
}

impl Commanding {
    /// Starts both, with further lines of configuration.
    pub fn start(configuration: &str) -> Self {
        Self::start_with("", configuration)
    }

    /// The same, with further options in the handshake.
    pub fn start_with(more_options: &'static str, configuration: &str) -> Self {
        let list = Arc::new(Mutex::new(Vec::new()));
        let given = Arc::clone(&list);
        let server = RawServer::start(move |request| match request {
            request if request.is_handshake() => options(more_options),
            request if request.is_poll() => match std::mem::take(&mut *given.lock().unwrap()) {
                nothing if nothing.is_empty() => says(200, "OK"),
                commands => RawAnswer::Bytes(commands),
            },
            request => says(200, format!("OK:{}", request.lines().len())),
        });
        let mut terminal = Terminal::prepare(&server.url(), configuration);
        terminal.run();
        terminal.wait_until_online();
        Self { server, terminal, list, count: 0 }
    }

    /// Gives out commands in one list, and waits for what each returns.
    #[track_caller]
    pub fn returns_all<C: AsRef<[u8]>>(&mut self, commands: &[C]) -> Vec<i64> {
        let ids: Vec<u32> = (1..=commands.len() as u32).map(|nth| self.count + nth).collect();
        self.count += commands.len() as u32;
        let mut text = Vec::new();
        for (id, command) in ids.iter().zip(commands) {
            text.extend_from_slice(format!("C:{id}:").as_bytes());
            text.extend_from_slice(command.as_ref());
            text.push(b'\n');
        }
        self.gives(&text);
        ids.iter().map(|id| self.answer(&id.to_string()).0).collect()
    }

    /// Gives out a command, and waits for what it returns.
    #[track_caller]
    pub fn returns(&mut self, command: impl AsRef<[u8]>) -> i64 {
        self.returns_all(&[command])[0]
    }

    /// Gives out a list of commands as it stands.
    pub fn gives(&self, list: &[u8]) {
        self.list.lock().unwrap().extend_from_slice(list);
    }

    /// Waits for the answer to a command: its code, and the whole body in which it came.
    #[track_caller]
    pub fn answer(&self, id: &str) -> (i64, String) {
        let find = || self.replies().iter().find_map(|reply| code(&reply.text(), id));
        until(&format!("answered {id}"), || find().is_some(), || format!("{:?}", self.replies()));
        find().unwrap()
    }

    fn replies(&self) -> Vec<RawRequest> {
        let all = self.server.requests();
        all.into_iter().filter(|request| request.target.contains("/devicecmd")).collect()
    }
}

/// The code with which a body answers a command: in one line, or in lines of their own.
fn code(body: &str, id: &str) -> Option<(i64, String)> {
    let mut of_it = false;
    for part in body.split(['\n', '&']) {
        if let Some(answered) = part.strip_prefix("ID=") {
            of_it = answered == id;
        }
        if let (true, Some(code)) = (of_it, part.strip_prefix("Return=")) {
            return Some((code.parse().ok()?, body.to_owned()));
        }
    }
    None
}
