//! What the device itself can do, as the commands and the loop know it. The real one is
//! [`crate::machine::Machine`].
//!
//! Programs and requests to drivers run while the loop goes on. Each is known by the key that it
//! was started with, until it is forgotten.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::driver_requests::{Answer, DriverRequest, Unasked};
use crate::processes::{Order, Outcome};

/// The device. A `String` as error is a message for a person.
pub trait Device {
    /// Checks the configuration file. If it can be used, it is read again after the current
    /// exchange.
    fn reload(&mut self) -> Result<(), String>;
    /// Whether the owner named a program that reboots.
    fn can_reboot(&self) -> bool;
    /// Starts the program that reboots.
    fn reboot(&mut self) -> Result<(), String>;
    /// Starts a program.
    fn start(&mut self, key: i64, order: &Order) -> Result<(), String>;
    /// Whether a program runs, or a driver has not answered.
    fn is_running(&self, key: i64) -> bool;
    /// How a program ended.
    fn ran(&self, key: i64) -> Option<Outcome>;
    /// Asks the driver that provides it. The request goes out with the next wait: until then it
    /// can be forgotten, and no driver has seen it.
    fn ask(&mut self, key: i64, request: DriverRequest) -> Result<(), Unasked>;
    /// What a driver answered.
    fn answered(&self, key: i64) -> Option<Answer>;
    /// Forgets a program that ended, or a request.
    fn forget(&mut self, key: i64);
    /// Starts the program that now stands in the place of punchd, only to tell its version. If it
    /// cannot do that, punchd must not be replaced by it: there would be no way back.
    fn start_version_check(&mut self, key: i64) -> Result<(), String>;
    /// Where a program stands that is to be tried before it replaces this one: beside it, with `.new` behind
    /// its name. It need not be there.
    fn candidate(&self) -> Result<PathBuf, String>;
    /// Starts that program, only to check whether it can use the configuration, and whether this one, which knows
    /// this version of the schema, could go on with its store.
    fn start_candidate_check(&mut self, key: i64, schema: i64) -> Result<(), String>;
    /// Makes way, after the current exchange, for the program that is to run next: the one that now
    /// stands in the place of punchd.
    fn restart(&mut self);
    /// The address of the terminal in its network.
    fn address(&self) -> IpAddr;
}
