//! The socket and who is connected to it, served by the reactor.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::call::{Call, Reply};
use super::context::MethodContext;
use super::drivers::{Driver, Drivers};
use super::listener::{Access, listen, socket_path};
use super::roles::RoleTable;
use super::round::{LONGEST_ROUND, execute_after_commit, execute_together, turn_among};
use super::server_queries::PendingCalls;
use super::{driver_requests, notifications};
use crate::reactor::Served;
use crate::rpc::{self, Message};

/// Calls of a driver that wait for their turn, before it is read from again.
const MOST_CALLS: usize = 32;
/// Connections that are accepted between two rounds.
const MOST_ACCEPTED: usize = 4;
/// How long no driver can connect after the system refused to accept one.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The driver socket and who is connected to it.
pub struct DriverSocket {
    path: PathBuf,
    listener: UnixListener,
    /// When connections are accepted again: every place is taken, or the system refused one.
    accept_after: Option<Instant>,
    /// Who connected and waits for a place.
    newcomer: Option<UnixStream>,
    /// Whether the log has that the system refuses connections.
    is_failure_logged: bool,
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
        let drivers = Drivers::new(RoleTable::new(&access.roles));
        let pending = PendingCalls::default();
        Ok(Self {
            path,
            listener,
            accept_after: None,
            newcomer: None,
            is_failure_logged: false,
            drivers,
            pending,
            context,
        })
    }

    /// Serves the drivers once: what has come is carried out and answered, and what is due is
    /// sent.
    fn serve_round(&mut self) {
        let order = self.drivers.next_round();
        self.receive(&order);
        self.execute(&order);
        self.pending.answer(&self.context, &mut self.drivers);
        driver_requests::send(&self.context, &mut self.drivers);
        notifications::send(&self.context, &mut self.drivers);
        let shortage = self.drivers.shortage();
        for driver in self.drivers.iter_mut() {
            driver.connection.flush();
            driver.connection.check_timeouts(shortage);
            if driver.calls.is_empty() {
                driver.connection.close_if_ended();
            }
        }
        self.remove_closed();
    }

    /// Reads what drivers sent, a turn of each. Responses are taken at once, calls wait for their
    /// turn. A driver that has not read its answers is not read from.
    fn receive(&mut self, order: &[usize]) {
        for &place in order {
            let holder = self.drivers.with_long_line();
            let Driver { connection, calls, .. } = self.drivers.at_mut(place);
            if connection.unread() > 0 || calls.len() >= MOST_CALLS {
                continue;
            }
            let may_grow = holder.is_none_or(|holder| holder == connection.id());
            let mut responses = Vec::new();
            let mut turn = connection.turn(may_grow);
            while calls.len() + responses.len() < MOST_CALLS {
                match turn.next_line(|line| (rpc::parse(line), line.len())) {
                    Some((Ok(Message::Response(response)), _)) => responses.push(response),
                    Some((Ok(Message::Request(request)), bytes)) => {
                        calls.push_back(Call::new(Ok(request), bytes));
                    }
                    Some((Err(malformed), bytes)) => {
                        calls.push_back(Call::new(Err(malformed), bytes));
                    }
                    None => break,
                }
            }
            for response in responses {
                driver_requests::on_response(&self.context, connection, response);
            }
        }
    }

    /// Carries out the calls of a round and answers them: what only needs the store in one
    /// commit, and then one call more of each driver.
    fn execute(&mut self, order: &[usize]) {
        let waiting = self.drivers.iter().filter(|driver| !driver.calls.is_empty()).count();
        let turn = turn_among(waiting);
        for (place, call, reply) in execute_together(&self.context, &mut self.drivers, order, turn)
        {
            self.answer(place, call, reply);
        }
        let begun = Instant::now();
        for &place in order {
            if begun.elapsed() >= LONGEST_ROUND {
                break; // The next round begins with another driver.
            }
            let driver = self.drivers.at_mut(place);
            driver.connection.flush();
            if driver.connection.has_hung_up() && driver.wants_page() {
                driver.calls.pop_front();
                continue;
            }
            let has_read = driver.connection.unread() == 0;
            if driver.wants_page() && !(has_read && self.drivers.has_room_for_page()) {
                continue;
            }
            if let Some(call) = self.drivers.at_mut(place).next_after_commit() {
                let reply = execute_after_commit(&self.context, &mut self.drivers, place, &call);
                self.answer(place, call, reply);
                self.drivers.at_mut(place).connection.flush();
            }
        }
    }

    fn answer(&mut self, place: usize, call: Call, reply: Reply) {
        let driver = self.drivers.at_mut(place);
        let line = match reply {
            Reply::Done(mut result) => {
                driver.connection.name_ignored(&call, &mut result);
                call.answer(Ok(result))
            }
            Reply::Refused(error) => {
                driver.connection.log_refusal(&call, &error);
                call.answer(Err(error))
            }
            Reply::NotYet => {
                driver.calls.push_front(call);
                None
            }
            Reply::AskServer(question) => {
                self.pending.ask(&self.context, driver.connection.id(), call, question)
            }
        };
        if let Some(line) = line {
            driver.connection.send(line);
        }
    }

    /// Accepts some of those who connect. The others have their turn after the next round.
    fn accept(&mut self) {
        for _ in 0..MOST_ACCEPTED {
            if self.newcomer.is_none() {
                match self.listener.accept() {
                    Ok((stream, _)) => self.newcomer = Some(stream),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return self.on_accept_works();
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return self.on_accept_failed(&error),
                }
                self.on_accept_works();
            }
            if let Err(at) = self.drivers.make_room() {
                self.accept_after = Some(at);
                return;
            }
            self.remove_closed();
            if let Some(stream) = self.newcomer.take() {
                self.drivers.add(stream);
            }
        }
    }

    fn on_accept_works(&mut self) {
        if std::mem::take(&mut self.is_failure_logged) {
            log::info!("drivers can connect again");
        }
    }

    /// Without free descriptors, say, the socket would stay ready all the time.
    fn on_accept_failed(&mut self, error: &io::Error) {
        self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
        if !std::mem::replace(&mut self.is_failure_logged, true) {
            log::warn!("no driver can connect: {error}; it is tried again every second");
        }
    }

    fn remove_closed(&mut self) {
        for closed in self.drivers.remove_closed() {
            driver_requests::remove_driver(&self.context, closed);
            self.pending.drop_calls_of(closed, &self.context);
        }
    }
}

impl Served for DriverSocket {
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let interest = if self.accept_after.is_some() { PollFlags::empty() } else { PollFlags::IN };
        fds.push(PollFd::new(&self.listener, interest));
        let holder = self.drivers.with_long_line();
        for driver in self.drivers.iter() {
            let (connection, may_read) = (&driver.connection, driver.calls.len() < MOST_CALLS);
            let may_grow = holder.is_none_or(|holder| holder == connection.id());
            let interest = connection.interest(may_read, may_grow);
            fds.push(PollFd::new(connection.stream(), interest));
        }
    }

    fn serve(&mut self, ready: &[PollFlags]) {
        for (driver, flags) in self.drivers.iter_mut().zip(&ready[1..]) {
            driver.connection.set_ready(*flags);
        }
        self.serve_round();
        let pause_is_over = self.accept_after.is_some_and(|at| at <= Instant::now());
        if pause_is_over {
            self.accept_after = None;
        }
        if pause_is_over || !ready[0].is_empty() {
            self.accept();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if notifications::are_due(&self.context, &self.drivers) || self.drivers.have_work() {
            return Some(Instant::now());
        }
        let queries = self.context.server_queries.due().filter(|_| !self.pending.is_empty());
        let due = queries.into_iter().chain(self.context.driver_requests.due()).min();
        let now = self.context.clock.monotonic();
        let due = due.map(|due| Instant::now() + due.saturating_sub(now));
        let shortage = self.drivers.shortage();
        let timeouts =
            self.drivers.iter().filter_map(|driver| driver.connection.deadline(shortage));
        timeouts.chain(due).chain(self.accept_after).min()
    }
}

impl Drop for DriverSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
