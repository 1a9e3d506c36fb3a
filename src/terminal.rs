//! What the device itself can do.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;

use crate::config::Config;

/// The device, as commands and the loop know it.
pub trait Terminal {
    /// Reads the configuration again. The words say why it cannot.
    fn reload(&mut self) -> Result<(), String>;
    /// Whether the device can be started anew.
    fn can_reboot(&self) -> bool;
    /// Starts the device anew. The words say why it cannot be.
    fn reboot(&mut self) -> Result<(), String>;
    /// The address by which the terminal reaches the world.
    fn address(&self) -> IpAddr;
}

/// The machine that punchd runs on.
pub struct Machine {
    config: PathBuf,
    reload: Rc<Cell<bool>>,
    /// The program that reboots, and its arguments; empty if the owner names none.
    reboot: Vec<String>,
}

impl Machine {
    /// The machine, configured by this file. `reload` is raised when the file is to be read
    /// again; `reboot` is the program that reboots, and its arguments.
    pub fn new(config: PathBuf, reload: Rc<Cell<bool>>, reboot: Vec<String>) -> Self {
        Self { config, reload, reboot }
    }
}

impl Terminal for Machine {
    fn reload(&mut self) -> Result<(), String> {
        Config::load(&self.config).map_err(|error| error.to_string())?;
        self.reload.set(true);
        Ok(())
    }

    fn can_reboot(&self) -> bool {
        !self.reboot.is_empty()
    }

    /// Runs the owner's program and does not wait for it: it will stop punchd.
    fn reboot(&mut self) -> Result<(), String> {
        let Some((program, arguments)) = self.reboot.split_first() else {
            return Err("no program is set for it ([device] reboot)".into());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().map(drop).map_err(|error| format!("{program}: {error}"))
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
