//! The drivers that are connected.

use std::os::unix::net::UnixStream;

use super::connection::Connection;
use super::subscription::Subscription;
use crate::driver_requests::DriverId;

/// Most drivers at once.
const MOST_DRIVERS: usize = 32;

/// A driver that is connected.
pub(super) struct Driver {
    pub(super) connection: Connection,
    pub(super) subscription: Subscription,
}

/// All of them, in the order in which they came.
#[derive(Default)]
pub(super) struct Drivers {
    connected: Vec<Driver>,
    /// How many ever connected.
    count: u64,
}

impl Drivers {
    /// Adds a driver that has connected, if there is room.
    pub(super) fn add(&mut self, stream: UnixStream) {
        if self.connected.len() >= MOST_DRIVERS {
            // One that never sent anything makes room; a driver at work stays.
            let is_silent = |driver: &Driver| driver.connection.is_silent();
            let Some(silent) = self.connected.iter().position(is_silent) else {
                log::warn!("a driver was refused: {MOST_DRIVERS} are connected already");
                return;
            };
            self.connected.remove(silent);
        }
        self.count += 1;
        match Connection::new(stream, DriverId(self.count)) {
            Ok(connection) => {
                self.connected.push(Driver { connection, subscription: Subscription::default() });
            }
            Err(error) => log::warn!("a driver could not connect: {error}"),
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
    pub(super) fn send(&mut self, id: DriverId, line: &str) {
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
