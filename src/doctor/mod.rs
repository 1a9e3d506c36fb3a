//! What `punchd doctor` finds: it checks everything between the configuration and the server, in the
//! order in which one thing needs the other, and says what to change.
//!
//! It works beside a running punchd, whose `status` it asks for, and without one: then it looks at the
//! store and changes nothing there. At the server it makes one handshake (§6), as punchd does each
//! time that it starts; a command in the reply is not carried out.

mod finding;
mod handshake;
mod link;
mod machine;
mod running;

pub use finding::{Finding, Level, Report};

use std::path::Path;

use crate::clock::ClockOffset;
use crate::config::Config;
use crate::uplink::Server;

/// Checks everything with the configuration in this file.
pub fn examine(path: &Path, report: Report<'_>) {
    let Some(config) = configuration(path, report) else { return };
    let running = running::ask(&config, report);
    match &running {
        running::Daemon::Runs(status) => running::state(status, &config, report),
        not_running => machine::state(&config, not_running.is_absent(), report),
    }
    let is_link_well = link::check(&config, report);
    report(Finding::ok(
        "versions",
        format!(
            "this is punchd {}, which speaks the protocol up to {}",
            env!("CARGO_PKG_VERSION"),
            crate::protocol::PUSH_VERSION
        ),
    ));
    if let running::Daemon::Runs(status) = &running {
        #[cfg(feature = "exchange")]
        running::encryption(status, &config, report);
        if is_link_well {
            running::requests(status, report);
        }
        running::streams(status, report);
        running::drivers(status, report);
    }
}

/// The configuration, with all that `punchd check` looks at.
fn configuration(path: &Path, report: Report<'_>) -> Option<Config> {
    const CHECK: &str = "configuration";
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            report(Finding::fault(CHECK, error.to_string()));
            return None;
        }
    };
    let tls = Server::check(&config.uplink_settings(ClockOffset::default())).err();
    let mut unseen = Vec::new();
    let faults: Vec<_> = config.faults(&mut unseen).into_iter().chain(tls).collect();
    if faults.is_empty() {
        let message =
            format!("{}: terminal {} of {}", path.display(), config.serial, config.server.url);
        report(Finding::ok(CHECK, message));
    }
    for fault in faults {
        report(Finding::fault(CHECK, format!("{}: {fault}", path.display())));
    }
    unseen.into_iter().for_each(|unseen| report(Finding::warning(CHECK, unseen)));
    Some(config)
}
