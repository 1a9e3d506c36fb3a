//! The drivers that are connected.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::call::Call;
use super::connection::{Connection, SHORT_LINE, Shortage};
use super::roles::{RoleTable, Roles};
use super::subscription::Subscription;
use crate::driver_requests::DriverId;
use crate::rpc::Execution;

/// Most drivers that keep their place, whether they do anything or not.
pub(super) const MOST_DRIVERS: usize = 32;
/// Most connections: so there is always room for the command line.
const MOST_CONNECTIONS: usize = MOST_DRIVERS + 4;
/// How long a connection stays at least, so that its first call is answered.
const SHORTEST_STAY: Duration = Duration::from_millis(20);
/// Bytes of answers that were not read, of all drivers, beyond which no page is made.
const MOST_UNREAD: usize = 1 << 20;

/// A driver that is connected.
pub(super) struct Driver {
    pub(super) connection: Connection,
    pub(super) roles: Roles,
    pub(super) subscription: Subscription,
    /// The calls that wait for their turn.
    pub(super) calls: VecDeque<Call>,
    /// It registered, or loads what changes: it keeps its place while it is idle.
    pub(super) keeps_place: bool,
    /// Whether it could keep its place, if it wanted to.
    pub(super) may_keep_place: bool,
}

impl Driver {
    fn new(connection: Connection, roles: Roles) -> Self {
        Self {
            connection,
            roles,
            subscription: Subscription::default(),
            calls: VecDeque::new(),
            keeps_place: false,
            may_keep_place: false,
        }
    }

    /// Keeps its place while it is idle. Whether there was one to keep.
    pub(super) fn keep_place(&mut self) -> bool {
        self.keeps_place |= self.may_keep_place;
        self.keeps_place
    }

    /// Whether a long line of it takes the room for one.
    pub(super) fn has_long_line(&self) -> bool {
        self.connection.has_long_line() || self.calls.iter().any(|call| call.bytes > SHORT_LINE)
    }

    /// The next call, if it is carried out before the commit of its round.
    pub(super) fn next_before_commit(&mut self) -> Option<Call> {
        let is_next = self.calls.front().is_some_and(|call| !comes_after_commit(call));
        if is_next { self.calls.pop_front() } else { None }
    }

    /// The next call, if it writes to the store.
    pub(super) fn next_write(&mut self) -> Option<Call> {
        let is_next = self.calls.front().is_some_and(|call| call.execution() == Execution::Write);
        if is_next { self.calls.pop_front() } else { None }
    }

    /// The next call, if it is carried out after the commit of its round.
    pub(super) fn next_after_commit(&mut self) -> Option<Call> {
        let is_next = self.calls.front().is_some_and(comes_after_commit);
        if is_next { self.calls.pop_front() } else { None }
    }

    /// Whether its next call waits for room for a page.
    pub(super) fn wants_page(&self) -> bool {
        self.calls.front().is_some_and(|call| call.execution() == Execution::ReadPage)
    }

    /// How well it may be closed to make room for another: the least first.
    fn rank(&self) -> (bool, bool, Instant) {
        let last_line = self.connection.last_line();
        let is_busy = !self.calls.is_empty() || self.connection.unread() > 0;
        (last_line.is_some(), is_busy, last_line.unwrap_or(self.connection.connected()))
    }
}

fn comes_after_commit(call: &Call) -> bool {
    match call.execution() {
        Execution::Read | Execution::Write => false,
        Execution::ReadPage | Execution::AskServer => true,
    }
}

/// All of them, in the order in which they came.
#[derive(Default)]
pub(super) struct Drivers {
    connected: Vec<Driver>,
    /// How many ever connected.
    count: u64,
    /// Whose turn it is first.
    first: usize,
    roles: RoleTable,
}

impl Drivers {
    /// Nobody has connected yet.
    pub(super) fn new(roles: RoleTable) -> Self {
        Self { roles, ..Self::default() }
    }

    /// Makes room for one more: closes the stranger that has done nothing for the longest time.
    ///
    /// # Errors
    /// Every stranger has just come. When there is room.
    pub(super) fn make_room(&mut self) -> Result<(), Instant> {
        if self.connected.len() < MOST_CONNECTIONS {
            return Ok(());
        }
        let now = Instant::now();
        let stays_until = |driver: &mut Driver| driver.connection.connected() + SHORTEST_STAY;
        let strangers = self.connected.iter_mut().filter(|driver| !driver.keeps_place);
        let Some(stranger) = strangers.min_by_key(|driver| driver.rank()) else {
            // There are more places than drivers that keep theirs.
            return Err(now + SHORTEST_STAY);
        };
        let until = stays_until(stranger);
        if until > now {
            return Err(until);
        }
        stranger.connection.close("another one connected, and it was idle");
        Ok(())
    }

    /// Adds a driver that has connected.
    pub(super) fn add(&mut self, stream: UnixStream) {
        self.count += 1;
        match Connection::new(stream, DriverId(self.count)) {
            Ok(connection) => {
                let roles = self.roles.of(connection.credentials());
                self.connected.push(Driver::new(connection, roles));
            }
            Err(error) => log::warn!("a driver could not connect: {error}"),
        }
    }

    /// Whether one more may keep its place while it is idle.
    pub(super) fn has_place_to_keep(&self) -> bool {
        self.connected.iter().filter(|driver| driver.keeps_place).count() < MOST_DRIVERS
    }

    /// The places in the order of their turns; the next round begins with another.
    pub(super) fn next_round(&mut self) -> Vec<usize> {
        let count = self.connected.len();
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
        (self.first..count).chain(0..self.first).collect()
    }

    /// The driver whose line has the room for a long one.
    pub(super) fn with_long_line(&self) -> Option<DriverId> {
        let long = self.connected.iter().find(|driver| driver.has_long_line());
        long.map(|driver| driver.connection.id())
    }

    /// Whether there is room for another page of answers.
    pub(super) fn has_room_for_page(&self) -> bool {
        self.connected.iter().map(|driver| driver.connection.unread()).sum::<usize>() <= MOST_UNREAD
    }

    /// Whether something can be done for a driver at once.
    pub(super) fn have_work(&self) -> bool {
        let has_room = self.has_room_for_page();
        self.connected.iter().any(|driver| {
            let connection = &driver.connection;
            let can_go_on = match driver.calls.is_empty() {
                true => connection.may_have_line(),
                false => has_room || connection.has_hung_up() || !driver.wants_page(),
            };
            connection.unread() == 0 && can_go_on
        })
    }

    /// What drivers wait for that others hold.
    pub(super) fn shortage(&self) -> Shortage {
        let is_full = |driver: &Driver| driver.connection.unfinished() == SHORT_LINE;
        Shortage {
            of_lines: self.with_long_line().is_some() && self.connected.iter().any(is_full),
            of_output: !self.has_room_for_page() && self.connected.iter().any(Driver::wants_page),
        }
    }

    pub(super) fn get_mut(&mut self, id: DriverId) -> Option<&mut Driver> {
        self.connected.iter_mut().find(|driver| driver.connection.id() == id)
    }

    /// The driver at a place, which it keeps until [`Drivers::add`] or
    /// [`Drivers::remove_closed`].
    pub(super) fn at_mut(&mut self, place: usize) -> &mut Driver {
        &mut self.connected[place]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Driver> {
        self.connected.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Driver> {
        self.connected.iter_mut()
    }

    /// Answers a call, if the driver is still there.
    pub(super) fn send(&mut self, id: DriverId, line: String) {
        if let Some(driver) = self.get_mut(id) {
            driver.connection.send(line);
        }
    }

    /// Removes those whose connection is closed.
    pub(super) fn remove_closed(&mut self) -> Vec<DriverId> {
        let closed = self.connected.extract_if(.., |driver| driver.connection.is_closed());
        closed.map(|driver| driver.connection.id()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use rustix::event::PollFlags;

    use super::*;

    const STAY: Duration = Duration::from_millis(20);

    /// The drivers, and the other ends of their connections.
    fn connect(count: usize) -> (Drivers, Vec<UnixStream>) {
        let mut drivers = Drivers::default();
        let mut ends = Vec::new();
        for _ in 0..count {
            let (mine, theirs) = UnixStream::pair().unwrap();
            drivers.add(mine);
            ends.push(theirs);
        }
        (drivers, ends)
    }

    /// Who is closed to make room for another.
    fn closed(drivers: &mut Drivers) -> Vec<DriverId> {
        drivers.make_room().unwrap();
        drivers.remove_closed()
    }

    #[test]
    fn a_stranger_is_closed_for_another_and_who_has_just_come_stays() {
        let (mut drivers, _ends) = connect(35);
        assert_eq!(closed(&mut drivers), []);
        let (mut drivers, mut ends) = connect(36);
        let connected = drivers.connected[0].connection.connected();
        match drivers.make_room() {
            Err(until) => assert_eq!(until, connected + STAY),
            // A machine that is as slow as that.
            Ok(()) => assert!(connected.elapsed() >= STAY),
        }
        std::thread::sleep(STAY);
        assert_eq!(closed(&mut drivers), [DriverId(1)]);
        assert_eq!(ends[0].read(&mut [0]).unwrap(), 0);
        // There is room now.
        assert_eq!(closed(&mut drivers), []);
        assert_eq!(drivers.iter().count(), 35);
    }

    #[test]
    fn who_did_something_or_keeps_a_place_is_not_closed_for_another() {
        let (mut drivers, mut ends) = connect(36);
        std::thread::sleep(STAY);
        // The first keeps its place, the second has sent a line, and the third one that waits.
        drivers.connected[0].keeps_place = true;
        for nth in [1, 2] {
            ends[nth].write_all(b"{}\n").unwrap();
            let connection = &mut drivers.connected[nth].connection;
            connection.set_ready(PollFlags::IN);
            assert_eq!(connection.turn(false).next_line(|line| line.to_vec()).unwrap(), b"{}");
        }
        let call = Call::new(Err(crate::rpc::parse(b"{").unwrap_err()), 1);
        drivers.connected[2].calls.push_back(call);
        let mut order = Vec::new();
        while drivers.iter().any(|driver| !driver.keeps_place) {
            let (stream, end) = UnixStream::pair().unwrap();
            order.extend(closed(&mut drivers));
            // Whoever comes keeps a place.
            drivers.add(stream);
            drivers.connected.last_mut().unwrap().keeps_place = true;
            ends.push(end);
        }
        let expected: Vec<_> = (4..=36).chain([2, 3]).map(DriverId).collect();
        assert_eq!(order, expected);
        // Nobody is left to be closed.
        let before = Instant::now();
        let until = drivers.make_room().unwrap_err();
        assert!((before + STAY..=Instant::now() + STAY).contains(&until));
        assert_eq!(drivers.remove_closed(), []);
    }

    #[test]
    fn thirty_two_keep_their_places_while_they_are_idle() {
        let (mut drivers, _ends) = connect(36);
        for nth in 0..32 {
            assert!(drivers.has_place_to_keep(), "{nth}");
            drivers.connected[nth].keeps_place = true;
        }
        assert!(!drivers.has_place_to_keep());
    }

    #[test]
    fn each_round_begins_with_another_driver() {
        let (mut drivers, _ends) = connect(3);
        let rounds: Vec<_> = (0..4).map(|_| drivers.next_round()).collect();
        assert_eq!(rounds, [[1, 2, 0], [2, 0, 1], [0, 1, 2], [1, 2, 0]]);
    }
}
