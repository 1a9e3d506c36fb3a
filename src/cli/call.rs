//! What several commands need: the configuration, the running daemon, standard output.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::driver_socket;
use crate::protocol::foreign;
use crate::rpc::{self, CallError, Method};

/// Reads the configuration.
pub fn load(config: &Path) -> Result<Config, Failure> {
    Config::load(config).map_err(|error| Failure::new(Exit::Config, error.to_string()))
}

/// Where the driver socket of this configuration is.
pub fn driver_socket(config: &Path) -> Result<PathBuf, Failure> {
    Ok(driver_socket::socket_path(&load(config)?.run_dir))
}

/// Calls a method of the punchd that runs with this configuration.
pub fn call(config: &Path, method: Method, params: &Value) -> Result<Value, Failure> {
    let mut result = rpc::call(&driver_socket(config)?, method, params)
        .map_err(|error| Failure::new(exit_of(&error), error.to_string()))?;
    foreign::make_plain(&mut result);
    Ok(result)
}

/// The exit code for a call without a result.
fn exit_of(error: &CallError) -> Exit {
    if error.is_denied() { Exit::NoPermission } else { Exit::Unavailable }
}

/// Prints to standard output, also if its reader has gone (`punchd export | head`).
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(foreign::lines(text).as_bytes());
}
