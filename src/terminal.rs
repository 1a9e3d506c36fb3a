//! What the device itself can do.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::rc::Rc;

use crate::config::Config;

/// The device, as commands and the loop know it.
pub trait Terminal {
    /// Reads the configuration again. The words say why it cannot.
    fn reload(&mut self) -> Result<(), String>;
    /// The address by which the terminal reaches the world.
    fn address(&self) -> IpAddr;
}

/// The machine that punchd runs on.
pub struct Machine {
    config: PathBuf,
    reload: Rc<Cell<bool>>,
}

impl Machine {
    /// The machine, configured by this file. `reload` is raised when the file is to be read
    /// again.
    pub fn new(config: PathBuf, reload: Rc<Cell<bool>>) -> Self {
        Self { config, reload }
    }
}

impl Terminal for Machine {
    fn reload(&mut self) -> Result<(), String> {
        Config::load(&self.config).map_err(|error| error.to_string())?;
        self.reload.set(true);
        Ok(())
    }

    /// Asks the system for its route; nothing is sent.
    fn address(&self) -> IpAddr {
        let route = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
            // An address of the documentation range: every default route leads there.
            socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
            Some(socket.local_addr().ok()?.ip())
        };
        route().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}
