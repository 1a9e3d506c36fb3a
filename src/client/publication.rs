//! What the loop tells `punchd status` and the log about rows that wait.

use std::collections::BTreeSet;

use super::activity::Activity;
use super::backoff::Backoffs;
use super::context::Context;
use super::poller::Poller;
use super::session::Session;
use super::withheld::Withheld;
use crate::protocol::stream::Stream;
use crate::status::{Failing, Reason, UnderWay, Waiting, WithheldStream};
use crate::store::{Seq, StoreError};

/// Publishes when the loop does what next.
pub(super) fn publish_times(
    context: &Context,
    session: &Session,
    backoffs: &Backoffs,
    poller: &Poller,
) {
    let handshake = backoffs.until(Activity::Handshake);
    let online = session.is_online();
    let uploads = session.window.opens_at(&session.options, &*context.clock);
    context.status.update(|connection| {
        let schedule = &mut connection.schedule;
        schedule.uploads = uploads;
        if online {
            schedule.handshake = session.handshake_at().map(|at| at.max(handshake));
            schedule.poll = Some(poller.due_at().max(backoffs.until(Activity::Poll)));
            schedule.offline_since = None;
        } else {
            schedule.handshake = Some(handshake);
            schedule.poll = None;
            schedule.offline_since.get_or_insert(context.clock.monotonic());
        }
    });
}

/// Publishes what the loop does now; drivers may ask for it in the waits of that.
pub(super) fn publish_under_way(context: &Context, under_way: Option<UnderWay>) {
    context.status.update(|connection| connection.schedule.under_way = under_way);
}

/// Publishes what failed since its last success.
pub(super) fn publish_failing(context: &Context, backoffs: &Backoffs) {
    let failing = backoffs.failing().filter(|(activity, ..)| *activity != Activity::Handshake);
    let failing = failing.map(|(activity, until, since, message)| Failing {
        table: activity.table(),
        since,
        until,
        message: message.to_owned(),
    });
    let failing = failing.collect();
    context.status.update(|connection| connection.schedule.failing = failing);
}

/// Publishes what does not go up by itself in this session.
pub(super) fn publish_withheld(context: &Context, session: &Session) {
    let withheld = Stream::ALL.into_iter().filter_map(|stream| {
        let withheld = session.withheld(stream)?;
        let reason = match withheld {
            Withheld::ByVersion { .. } => Reason::Version,
            Withheld::ByTransFlag { .. } | Withheld::ZerosOnly => Reason::TransFlag,
        };
        Some(WithheldStream { stream, reason, message: withheld.to_string() })
    });
    let withheld: Vec<WithheldStream> = withheld.collect();
    let streams: Vec<Stream> = withheld.iter().map(|withheld| withheld.stream).collect();
    context.store.retention().set_withheld(&streams);
    context.status.update(|connection| connection.schedule.withheld = withheld);
}

/// Which reasons for waiting the log has. Failures and refused rows have log lines of their own.
#[derive(Default)]
pub(super) struct WaitingLog {
    logged: BTreeSet<(Stream, Reason)>,
    /// The last number that was given when this was looked at.
    looked_at: Option<Seq>,
}

impl WaitingLog {
    /// The options changed: what waits is said once more.
    pub(super) fn begin_session(&mut self) {
        *self = Self::default();
    }

    /// Says of which streams rows wait and why, once for each reason in a session.
    pub(super) fn say(&mut self, context: &Context) -> Result<(), StoreError> {
        let last = context.store.high_water_mark();
        if self.looked_at.replace(last) == Some(last) {
            return Ok(());
        }
        let streams = context.status.held_back();
        if streams.is_empty() {
            return Ok(());
        }
        for (stream, waiting) in context.status.waiting(&context.store, &streams)? {
            for Waiting { reason, rows, is_at_least, message, .. } in waiting {
                let is_said_here =
                    matches!(reason, Reason::TransFlag | Reason::Version | Reason::Schedule);
                if is_said_here && self.logged.insert((stream, reason)) {
                    let least = if is_at_least { "at least " } else { "" };
                    log::info!("{least}{rows} {} wait: {message}", stream.name());
                }
            }
        }
        Ok(())
    }
}
