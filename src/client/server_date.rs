//! The clock, set by the `Date` of the server's answers.

use std::time::Duration;

use super::context::Context;
use crate::clock::BUILD_TIME;
use crate::protocol::options::{Given, ServerOptions};
use crate::store::StoreError;
use crate::uplink::Response;

/// Longest that a reply may have taken for its date to set the clock.
const FRESH: Duration = Duration::from_secs(5);

/// The `Date` of an answer, if the clock can be set by it.
pub(super) struct ServerDate {
    /// Seconds since 1970.
    date: Option<i64>,
    /// When the head of the answer came, on the monotonic clock: its body may take minutes.
    head_at: Duration,
}

impl ServerDate {
    /// The date of a response whose head has just come.
    pub(super) fn of(response: &Response, now: Duration) -> Self {
        let date = response.date.filter(|date| *date >= BUILD_TIME && response.took < FRESH);
        Self { date, head_at: now }
    }

    /// Sets the clock, unless the zone that the server named makes no sense. Rows that waited
    /// for the clock then get their time.
    pub(super) fn apply(
        &self,
        context: &Context,
        options: &ServerOptions,
    ) -> Result<(), StoreError> {
        let clock = &context.clock;
        if let Some(date) = self.date
            && options.time_zone != Given::Invalid
        {
            let since = clock.monotonic().saturating_sub(self.head_at);
            clock.set(date + since.as_secs() as i64);
        }
        let now = clock.local();
        context.status.update(|connection| connection.clock_set = now.is_some());
        let Some(now) = now else { return Ok(()) };
        let journal = context.store.journal();
        if journal.count_awaiting_clock()? == 0 {
            return Ok(());
        }
        let monotonic = clock.monotonic().as_secs() as i64;
        let floor = BUILD_TIME + i64::from(clock.offset(BUILD_TIME));
        let (exact, estimated) =
            journal.release_awaiting_clock(clock.boot(), now, monotonic, floor)?;
        log::info!("the clock is set: {exact} rows that waited for it got their time");
        if estimated > 0 {
            log::warn!(
                "{estimated} rows of an earlier boot without a clock got the earliest time they can have"
            );
        }
        Ok(())
    }
}
