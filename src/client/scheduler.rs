//! What is due: the order of the loop, and who is held back.

use std::time::Duration;

use super::backoff::Backoff;
use super::{Activity, Client};
use crate::protocol::stream::Table;
use crate::server_queries::OFFLINE;
use crate::store::options::REBOOT;
use crate::store::{Room, StoreError};
use crate::uplink::Uplink;

/// How often the limits of the store are looked at, if anything else wakes.
const HOUSEKEEPING: Duration = Duration::from_secs(20);

/// What is due.
pub(super) enum Decision {
    Exchange(Activity),
    Nothing(Duration),
}

impl<U: Uplink> Client<U> {
    /// The first activity of the order that has something to do and may do it; otherwise how
    /// long all of them rest.
    pub(super) fn due(&mut self) -> Result<Decision, StoreError> {
        use Activity::{
            Handshake, Options, Poll, Query, Reboot, RefusedReplies, Replies, ServerQuery, Upload,
        };
        let now = self.clock.monotonic();
        let mut until = self.keep_house(now)?;
        let mut ready = Vec::with_capacity(12);
        ready.extend(self.requests_ready()?.into_iter().map(|activity| (activity, Duration::ZERO)));
        if !self.online {
            self.server_queries.fail_all(OFFLINE);
            ready.push((Handshake, Duration::ZERO));
            return Ok(self.first_of(&ready, &mut until).unwrap_or(Decision::Nothing(until)));
        }
        let window_at = self.upload_window.opens_at(&self.options, &*self.clock);
        let window_is_open = self.upload_window.is_open(&self.options, &*self.clock);
        let jobs = self.jobs_ready()?;
        let mut add = |has_work: bool, activity, at| {
            if has_work {
                ready.push((activity, at));
            }
        };
        // Somebody stands at the door; but drivers that ask without end do not stop the rest.
        let has_errand = self.server_queries.next(now).is_some();
        add(has_errand && !self.server_query.was_last, ServerQuery, Duration::ZERO);
        let has_replies = self.store.command_log().has_replies()?;
        // Results first; but a long list has thousands, and punches go between them.
        add(has_replies && !self.has_replied, Replies, Duration::ZERO);
        // Its answer has gone: now the act.
        let may_reboot = !has_replies && self.store.options().get(REBOOT)?.is_some();
        add(may_reboot && !self.a_program_runs()?, Reboot, Duration::ZERO);
        let tables = if window_is_open { self.tables_with_rows()? } else { Vec::new() };
        add(tables.contains(&Table::Attlog), Upload(Table::Attlog), Duration::ZERO);
        add(has_replies, Replies, Duration::ZERO);
        if let Some(at) = self.handshake_at {
            add(true, Handshake, at);
        }
        add(self.options_to_push()?.is_some(), Options, Duration::ZERO);
        add(self.store.queries().next()?.is_some(), Query, Duration::ZERO);
        add(true, Poll, self.poll_at);
        // Jobs and the other streams take turns: neither waits for the end of the other.
        let streams = tables.iter().filter(|table| **table != Table::Attlog);
        let (mut first, mut second) = (jobs, streams.map(|table| Upload(*table)).collect());
        if self.others_first {
            std::mem::swap(&mut first, &mut second);
        }
        for activity in first.into_iter().chain(second) {
            add(true, activity, Duration::ZERO);
        }
        add(self.store.command_log().has_refused_replies()?, RefusedReplies, Duration::ZERO);
        add(has_errand, ServerQuery, Duration::ZERO);
        let is_held = |table: &Table| self.held_until(Upload(*table)) > now;
        // A table in trouble does not keep the upload_window open for the others.
        if tables.iter().all(is_held) && window_is_open && !self.options.realtime {
            self.upload_window.close(&*self.clock);
        }
        if !window_is_open {
            until = until.min(window_at.max(now));
        }
        Ok(self.first_of(&ready, &mut until).unwrap_or(Decision::Nothing(until)))
    }

    /// Whether a punch waits that could go at once.
    pub(super) fn punches_can_go(&mut self) -> Result<bool, StoreError> {
        let is_held = self.held_until(Activity::Upload(Table::Attlog)) > self.clock.monotonic();
        let is_open = self.upload_window.is_open(&self.options, &*self.clock);
        Ok(is_open && !is_held && self.has_rows(Table::Attlog)?)
    }

    /// Drops what may be dropped when a limit is reached; when to look again.
    fn keep_house(&mut self, now: Duration) -> Result<Duration, StoreError> {
        if now >= self.house_at || self.store.retention().is_full_and_unreported() {
            self.see_guests_off()?;
            self.house_at = now
                + match self.store.retention().make_room()? {
                    Room::Making => Duration::from_millis(100),
                    Room::Enough | Room::None(_) => HOUSEKEEPING,
                };
        }
        // Not a reason to wake: what wakes for something else looks then.
        Ok(if self.house_at < now + HOUSEKEEPING / 2 { self.house_at } else { Duration::MAX })
    }

    /// When an activity may be tried again.
    fn held_until(&self, activity: Activity) -> Duration {
        self.backoffs.get(&activity).map_or(Duration::ZERO, Backoff::until)
    }

    /// The first that is not held back; `until` becomes the moment at which one is next.
    fn first_of(&self, ready: &[(Activity, Duration)], until: &mut Duration) -> Option<Decision> {
        let now = self.clock.monotonic();
        for (activity, not_before) in ready {
            let at = self.held_until(*activity).max(*not_before);
            if at <= now {
                return Some(Decision::Exchange(*activity));
            }
            *until = at.min(*until);
        }
        None
    }

    /// The tables of which rows wait that may go up, punches first. A table whose only row
    /// was refused is not held back any more once another row can show what that meant.
    fn tables_with_rows(&mut self) -> Result<Vec<Table>, StoreError> {
        let mut found = Vec::new();
        for table in Table::ALL {
            if self.has_comparison_row(table)? {
                self.backoffs.remove(&Activity::Upload(table));
            }
            if self.has_rows(table)? {
                found.push(table);
            }
        }
        Ok(found)
    }
}
