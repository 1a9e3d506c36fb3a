//! The log of registrations. A driver that registers without end must not fill it: a name that comes
//! again and again is logged a few times, and then counted.

use std::cell::RefCell;
use std::time::Instant;

use super::connection::Connection;
use crate::log_limit::{LogLimit, PERIOD, Verdict};

/// Registrations by one name that are logged in a period.
const MOST: u64 = 5;
/// Names that are counted at the same time.
const MOST_NAMES: usize = 64;

/// The registrations of each name.
pub struct RegistrationLog(RefCell<LogLimit<String>>);

impl Default for RegistrationLog {
    fn default() -> Self {
        Self(RefCell::new(LogLimit::new(MOST, MOST_NAMES)))
    }
}

impl RegistrationLog {
    /// Logs that a driver registered by a name that it did not have before. If it is left out, so is
    /// that the driver disconnects.
    pub(super) fn add(&self, driver: &mut Connection, name: &str) {
        let verdict = self.0.borrow_mut().count(name.to_owned(), Instant::now());
        driver.set_logged(verdict != Verdict::Skip);
        let peer = driver.peer();
        match verdict {
            Verdict::Log { missing: 0 } => log::info!("driver {name} registered{peer}"),
            Verdict::Log { missing } => log::info!(
                "driver {name} registered{peer}, and {missing} times before that were not logged"
            ),
            Verdict::Last => log::warn!(
                "driver {name} registered{peer}; it connects again and again: that is not logged \
                 further until {} minutes after the first time",
                PERIOD.as_secs() / 60
            ),
            Verdict::Skip => log::debug!("driver {name} registered{peer}"),
        }
    }
}
