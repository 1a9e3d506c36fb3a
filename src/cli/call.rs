//! What several commands need: the configuration, the running daemon, standard output.

use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::driver_socket;

/// Reads the configuration.
pub fn load(config: &Path) -> Result<Config, Failure> {
    Config::load(config).map_err(|error| Failure::new(Exit::Config, error.to_string()))
}

/// Calls a method of the punchd that runs with this configuration.
pub fn call(config: &Path, method: &str, params: &Value) -> Result<Value, Failure> {
    let socket = driver_socket::socket_path(&load(config)?.run_dir);
    driver_socket::call(&socket, method, params)
        .map_err(|message| Failure::new(Exit::Unavailable, message))
}

/// Prints to standard output, also if its reader has gone (`punchd export | head`).
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
