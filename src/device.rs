//! What the device itself can do, as the commands and the loop know it. The real one is
//! [`crate::machine::Machine`].

use std::net::IpAddr;

use crate::driver_requests::{Answer, DriverRequest, Unasked};
use crate::processes::{Order, Outcome};

/// The device, as commands and the loop know it.
pub trait Device {
    /// Reads the configuration again. The message says why it cannot.
    fn reload(&mut self) -> Result<(), String>;
    /// Whether the device can be started anew.
    fn can_reboot(&self) -> bool;
    /// Starts the device anew. The message says why it cannot be.
    fn reboot(&mut self) -> Result<(), String>;
    /// Starts a program in the background, known by `key` from now on. The message says why it
    /// does not start.
    fn start(&mut self, key: i64, order: &Order) -> Result<(), String>;
    /// Whether a program runs, or a driver has not answered.
    fn is_running(&self, key: i64) -> bool;
    /// What became of a program that ended; told until it is forgotten.
    fn ran(&self, key: i64) -> Option<Outcome>;
    /// Asks the driver that provides it, known by `key` from now on. It goes out with the next
    /// wait: until then it can be forgotten without a trace.
    fn ask(&mut self, key: i64, request: DriverRequest) -> Result<(), Unasked>;
    /// What a driver answered; told until it is forgotten.
    fn answered(&self, key: i64) -> Option<Answer>;
    /// Forgets a program that ended, or a request.
    fn forget(&mut self, key: i64);
    /// Begins punchd anew, with the program that now stands in its place.
    fn restart(&mut self);
    /// The address by which the terminal reaches the world.
    fn address(&self) -> IpAddr;
}
