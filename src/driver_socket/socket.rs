//! The socket and who is connected to it, served by the reactor.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::call::{Call, Reply};
use super::context::MethodContext;
use super::drivers::Drivers;
use super::listener::{Access, listen, socket_path};
use super::round::{execute_after_commit, execute_together};
use super::server_queries::PendingCalls;
use super::{driver_requests, notifications};
use crate::reactor::Served;
use crate::rpc::{self, Execution, Message};

/// Most bytes of all lines that have not ended yet, whoever sends them.
const MOST_UNFINISHED: usize = 6 << 20;
/// How long no driver can connect after the system refused to accept one.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The driver socket and who is connected to it.
pub struct DriverSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Set after the system refused to accept a connection.
    accept_after: Option<Instant>,
    drivers: Drivers,
    pending: PendingCalls,
    context: MethodContext,
}

impl DriverSocket {
    /// Opens the socket in `run_dir`, which is made if it is not there.
    ///
    /// # Errors
    /// A message that names the path.
    pub fn open(run_dir: &Path, access: &Access, context: MethodContext) -> Result<Self, String> {
        let path = socket_path(run_dir);
        let listener = listen(&path, access).map_err(|error| {
            format!("cannot open the driver socket {}: {error}", path.display())
        })?;
        let (drivers, pending) = (Drivers::default(), PendingCalls::default());
        Ok(Self { path, listener, accept_after: None, drivers, pending, context })
    }

    /// Serves the drivers once: what has come is carried out and answered, and what is due is
    /// sent.
    fn serve_round(&mut self) {
        let calls = self.receive();
        self.execute(calls);
        self.pending.answer(&self.context, &mut self.drivers);
        driver_requests::send(&self.context, &mut self.drivers);
        notifications::send(&self.context, &mut self.drivers);
        for driver in self.drivers.iter_mut() {
            driver.connection.flush();
            driver.connection.check_timeouts();
        }
        for closed in self.drivers.remove_closed() {
            driver_requests::remove_driver(&self.context, closed);
            self.pending.drop_calls_of(closed, &self.context);
        }
    }

    /// Reads a time slice of each driver. Responses are taken at once; the calls are returned,
    /// each with the place of its driver.
    fn receive(&mut self) -> Vec<(usize, Call)> {
        let mut calls = Vec::new();
        let unfinished = self.drivers.iter().map(|driver| driver.connection.unfinished());
        let mut in_use: usize = unfinished.sum();
        for (place, driver) in self.drivers.iter_mut().enumerate() {
            let connection = &mut driver.connection;
            let before = connection.unfinished();
            let room = MOST_UNFINISHED.saturating_sub(in_use);
            let mut responses = Vec::new();
            connection.receive(room, |line| match rpc::parse(line) {
                Ok(Message::Response(response)) => responses.push(response),
                Ok(Message::Request(request)) => calls.push((place, request.into())),
                Err(malformed) => calls.push((place, malformed.into())),
            });
            in_use = in_use + connection.unfinished() - before;
            for response in responses {
                driver_requests::on_response(&self.context, connection, response);
            }
        }
        calls
    }

    /// Carries out the calls of a round and answers them: what only needs the store in one
    /// commit, the rest after it.
    fn execute(&mut self, calls: Vec<(usize, Call)>) {
        let comes_after_commit = |(_, call): &(usize, Call)| match call.execution() {
            Execution::Read | Execution::Write => false,
            Execution::ReadPage | Execution::AskServer => true,
        };
        let (later, together): (Vec<_>, Vec<_>) = calls.into_iter().partition(comes_after_commit);
        let replies = execute_together(&self.context, &mut self.drivers, &together);
        for ((place, call), reply) in together.into_iter().zip(replies) {
            self.answer(place, call, reply);
        }
        for (place, call) in later {
            let reply = execute_after_commit(&self.context, self.drivers.at_mut(place), &call);
            self.answer(place, call, reply);
        }
    }

    fn answer(&mut self, place: usize, call: Call, reply: Reply) {
        let connection = &mut self.drivers.at_mut(place).connection;
        let line = match reply {
            Reply::Done(result) => call.answer(Ok(result)),
            Reply::Refused(error) => call.answer(Err(error)),
            Reply::AskServer(question) => {
                self.pending.ask(&self.context, connection.id(), call, question)
            }
        };
        if let Some(line) = line {
            connection.send(&line);
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.drivers.add(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Without free descriptors, say, the socket would stay ready all the time.
                    log::warn!("no driver can connect for a second: {error}");
                    self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }
}

impl Served for DriverSocket {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let pauses = self.accept_after.is_some_and(|at| Instant::now() < at);
        let interest = if pauses { PollFlags::empty() } else { PollFlags::IN };
        fds.push(PollFd::new(&self.listener, interest));
        for driver in self.drivers.iter() {
            fds.push(PollFd::new(driver.connection.stream(), driver.connection.interest()));
        }
    }

    fn serve(&mut self, ready: &[PollFlags]) {
        for (driver, flags) in self.drivers.iter_mut().zip(&ready[1..]) {
            driver.connection.set_ready(*flags);
        }
        self.serve_round();
        if !ready[0].is_empty() {
            self.accept();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if notifications::are_due(&self.context, &self.drivers) {
            return Some(Instant::now());
        }
        let queries = self.context.server_queries.due().filter(|_| !self.pending.is_empty());
        let due = queries.into_iter().chain(self.context.driver_requests.due()).min();
        let now = self.context.clock.monotonic();
        let due = due.map(|due| Instant::now() + due.saturating_sub(now));
        let timeouts = self.drivers.iter().filter_map(|driver| driver.connection.deadline());
        timeouts.chain(due).min()
    }
}

impl Drop for DriverSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
