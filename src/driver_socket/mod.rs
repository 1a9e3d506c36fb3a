//! The door for drivers: JSON-RPC 2.0, one object a line, on `run_dir/driver.sock`.
//!
//! Served inside every wait of the reactor. What arrives together shares one commit, and
//! each is answered after it. A driver that floods, stalls, sends nonsense or dies costs
//! its own connection at most.

mod asked;
mod changes;
mod connection;
mod enrolled;
mod methods;
mod requests;
mod rpc;

pub use methods::{Methods, moment};
pub use rpc::call;

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::reactor::Served;
use asked::Waiting;
use connection::Connection;
use rpc::{Call, Fault, Said};

/// Most drivers at once.
const MOST_CONNECTIONS: usize = 32;
/// Most bytes of all lines that have not ended yet, whoever sends them.
const LONGEST_LINES: usize = 6 << 20;
/// Who may connect, and what they share with punchd besides the socket.
#[derive(Clone, Debug)]
pub struct Access {
    /// Permissions of the socket.
    pub mode: u32,
    /// Name or number of the group that it belongs to, if not punchd's own.
    pub group: Option<String>,
}

/// The driver socket and who is on it.
pub struct DriverSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Set when nobody can be let in for want of something.
    accept_after: Option<Instant>,
    connections: Vec<Connection>,
    /// How many ever came.
    welcomed: u64,
    /// Calls that wait for the server.
    waiting: Vec<Waiting>,
    methods: Methods,
}

/// Where the socket is.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("driver.sock")
}

impl DriverSocket {
    /// Opens the socket in `run_dir`, which is made if it is not there.
    ///
    /// # Errors
    /// A message that names the path.
    pub fn open(run_dir: &Path, access: &Access, methods: Methods) -> Result<Self, String> {
        let path = socket_path(run_dir);
        let listener = listen(run_dir, &path, access).map_err(|error| {
            format!("cannot open the driver socket {}: {error}", path.display())
        })?;
        Ok(Self {
            path,
            listener,
            accept_after: None,
            connections: Vec::new(),
            welcomed: 0,
            waiting: Vec::new(),
            methods,
        })
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors, say: the socket would stay ready, and we awake.
                    log::warn!("no driver can connect for a second: {error}");
                    self.accept_after = Some(Instant::now() + Duration::from_secs(1));
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        if self.connections.len() >= MOST_CONNECTIONS {
            // Who never sent anything goes first; a driver at work stays.
            match self.connections.iter().position(Connection::is_silent) {
                Some(silent) => drop(self.connections.remove(silent)),
                None => {
                    log::warn!(
                        "a driver was turned away: {MOST_CONNECTIONS} are connected already"
                    );
                    return;
                }
            }
        }
        self.welcomed += 1;
        match Connection::new(stream, self.welcomed) {
            Ok(connection) => self.connections.push(connection),
            Err(error) => log::warn!("a driver could not connect: {error}"),
        }
    }

    /// Reads what has come, does it, and answers: everything of one turn in one commit.
    fn serve_connections(&mut self) {
        let mut said: Vec<(usize, Result<Said, Fault>)> = Vec::new();
        let mut unfinished: usize = self.connections.iter().map(Connection::unfinished).sum();
        for (nth, connection) in self.connections.iter_mut().enumerate() {
            let room = LONGEST_LINES.saturating_sub(unfinished);
            let before = connection.unfinished();
            connection.receive(room, |line| said.push((nth, rpc::parse(line))));
            unfinished = unfinished + connection.unfinished() - before;
        }
        let mut turn = Vec::with_capacity(said.len());
        for (nth, said) in said {
            match said {
                Ok(Said::Reply(reply)) => self.hear(nth, reply),
                Ok(Said::Call(call)) => turn.push((nth, Ok(call))),
                Err(fault) => turn.push((nth, Err(fault))),
            }
        }
        let is_last = |call: &Result<Call, Fault>| call.as_ref().is_ok_and(Call::comes_last);
        let (asked, turn): (Vec<_>, Vec<_>) = turn.into_iter().partition(|(_, call)| is_last(call));
        if !turn.is_empty() {
            for (nth, answer) in self.answers(turn) {
                if let Some(answer) = answer {
                    self.connections[nth].send(&answer);
                }
            }
        }
        // Last, and once: a turn that fails is done again, and what is asked is not undone.
        for (nth, call) in asked {
            let Ok(call) = call else { continue };
            let answer = match call.asks_the_server() {
                true => self.ask(self.connections[nth].number(), call),
                false => self.changes(nth, &call),
            };
            if let Some(answer) = answer {
                self.connections[nth].send(&answer);
            }
        }
        self.deliver();
        self.ask_drivers();
        self.apply_messages();
        self.tell_news();
        for connection in &mut self.connections {
            connection.flush();
            connection.give_up_waiting();
        }
        self.unregister_who_left();
        self.connections.retain(|connection| !connection.is_over());
        self.forget_who_left();
    }

    /// The answers to one turn. If the store fails, nothing of the turn was recorded, and
    /// every call that wanted to record something hears so.
    fn answers(&mut self, turn: Vec<(usize, Result<Call, Fault>)>) -> Vec<(usize, Option<String>)> {
        let writes = turn.iter().any(|(_, call)| call.as_ref().is_ok_and(Call::writes));
        let store = Rc::clone(&self.methods.store);
        let (methods, connections) = (&mut self.methods, &mut self.connections);
        let mut run = |(nth, call): &(usize, Result<Call, Fault>)| match call {
            Ok(call) => match methods.run(call, &mut connections[*nth]) {
                Err(fault) if fault.is_of_the_store() => Err(fault),
                result => Ok(call.answer(result)),
            },
            Err(fault) => Ok(Some(fault.answer())),
        };
        let done: Result<Vec<_>, Fault> = if writes {
            store.atomically(|| turn.iter().map(&mut run).collect())
        } else {
            turn.iter().map(&mut run).collect()
        };
        let answers = done.unwrap_or_else(|failure| {
            // One call may have had no room where the others have: each by itself, then.
            if turn.len() > 1 {
                return Vec::new();
            }
            if store.retention().shortage().is_none() {
                log::error!("nothing could be recorded: {}", failure.message());
            }
            let failed = |(_, call): &(usize, Result<Call, Fault>)| match call {
                Ok(call) => call.answer(Err(failure.clone())),
                Err(fault) => Some(fault.answer()),
            };
            turn.iter().map(failed).collect()
        });
        if answers.is_empty() {
            return turn.into_iter().flat_map(|call| self.answers(vec![call])).collect();
        }
        turn.iter().map(|(nth, _)| *nth).zip(answers).collect()
    }
}

fn listen(run_dir: &Path, path: &Path, access: &Access) -> io::Result<UnixListener> {
    std::fs::create_dir_all(run_dir)?;
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::other("another punchd listens there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody but the owner, until it belongs to whom it should.
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    if let Some(group) = &access.group {
        chown(path, None, Some(group_id(group)?))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The number of a group, by its number or its name in `/etc/group`: a static binary has no
/// other way to ask for it.
fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    });
    number.ok_or_else(|| io::Error::other(format!("there is no group {group:?} in /etc/group")))
}

impl Served for DriverSocket {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let rests = self.accept_after.is_some_and(|at| Instant::now() < at);
        let interest = if rests { PollFlags::empty() } else { PollFlags::IN };
        fds.push(PollFd::new(&self.listener, interest));
        for connection in &self.connections {
            fds.push(PollFd::new(connection.stream(), connection.interest()));
        }
    }

    fn serve(&mut self, ready: &[PollFlags]) {
        for (connection, flags) in self.connections.iter_mut().zip(&ready[1..]) {
            connection.set_ready(*flags);
        }
        self.serve_connections();
        if !ready[0].is_empty() {
            self.accept();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.has_news() {
            return Some(Instant::now());
        }
        let server_queries = self.methods.server_queries.due().filter(|_| !self.waiting.is_empty());
        let due = server_queries.into_iter().chain(self.methods.requests.due()).min();
        let now = self.methods.clock.monotonic();
        let due = due.map(|due| Instant::now() + due.saturating_sub(now));
        self.connections.iter().filter_map(Connection::deadline).chain(due).min()
    }
}

impl Drop for DriverSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
