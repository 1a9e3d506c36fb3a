//! What follows from the end of an activity: pauses, the session, and what `punchd status` says.

use super::Client;
use super::activity::Activity;
use super::pauses::Pause;
use super::publication::publish_failing;
use super::suspects;
use super::trouble::Trouble;
use crate::protocol::stream::Table;
use crate::uplink::{Cause, Failure};

impl Client {
    /// Draws the consequences of an activity: success ends its back-off, a failure holds it back,
    /// and a failed connection sends everything back to the handshake.
    pub(super) fn record(&mut self, activity: Activity, done: Result<(), Trouble>) {
        match done {
            Ok(()) => {
                // That the server answers the others says that a failure may be a row's.
                if activity.is_exchange() {
                    self.uploader.other_request_answered(activity.table());
                }
                self.record_success(activity);
            }
            Err(Trouble::Link(Failure::Stopping)) => {}
            Err(Trouble::Unsettled) => {
                let online = self.session.is_online();
                self.context.status.update(|connection| connection.online = online);
            }
            Err(trouble) => self.record_failure(activity, &trouble),
        }
    }

    pub(super) fn record_success(&mut self, activity: Activity) {
        let mut had_failed = self.backoffs.clear(activity);
        if activity == Activity::RefusedReplies && !self.has_replies() {
            // It was this result that failed among the others.
            had_failed |= self.backoffs.clear(Activity::Replies);
        }
        if had_failed && activity != Activity::Handshake {
            log::info!("{} works again", activity.name());
        }
        if activity.is_exchange() && activity != Activity::Query {
            self.succeeded_at = self.context.clock.monotonic();
        }
        let in_trouble = self.backoffs.any_failed();
        let (at, online) = (self.context.clock.utc(), self.session.is_online());
        self.context.status.update(|connection| {
            connection.online = online;
            if activity.is_exchange() {
                connection.last_contact = Some(at);
            }
            if !in_trouble {
                connection.trouble = None;
            }
        });
        if had_failed {
            publish_failing(&self.context, &self.backoffs);
        }
    }

    /// Whether results wait that were never refused alone; true if the store does not say.
    fn has_replies(&self) -> bool {
        self.context.store.command_log().has_replies().unwrap_or(true)
    }

    fn record_failure(&mut self, activity: Activity, trouble: &Trouble) {
        let (now, base) = (self.context.clock.monotonic(), self.session.error_delay());
        if activity.is_exchange() {
            let (utc, store) = (self.context.clock.utc(), &self.context.store);
            self.session.note_failure(activity.table(), utc);
            let uploaded = activity.table();
            if let Err(error) = suspects::exchange_failed(store, uploaded, utc, base.into()) {
                self.record_failure(Activity::Store, &error.into());
            }
        }
        self.poll_goes_first |=
            matches!(activity, Activity::Replies | Activity::Upload(Table::Attlog));
        match trouble {
            Trouble::Link(_) => self.session.disconnect(),
            Trouble::NotKnown(_) => drop(self.session.disconnect_if_forgotten(now)),
            _ => {}
        }
        // Where there is no connection to be had, the handshake gets a pause. A connection that broke
        // may be one request's fault: the handshake shows at once whether the server is there, and
        // only the activity gets a pause, so that it delays no other.
        if let Trouble::Link(Failure::Unsent(cause, _)) = trouble
            && activity != Activity::Handshake
        {
            self.backoffs.fail(Activity::Handshake, now, base, Pause::Link(*cause));
        }
        let message = format!("{}: {trouble}", activity.name());
        let pause = match trouble {
            Trouble::Later { pause: Some(pause), .. } => Pause::AsAsked(*pause),
            // A job and a result that was refused before may fail so often and no more: with growing
            // pauses they outlast a server that is in trouble for an hour.
            _ if matches!(activity, Activity::Job(_) | Activity::RefusedReplies) => Pause::Growing,
            Trouble::Link(failure) => failure.cause().map_or(Pause::ErrorDelay, Pause::Link),
            _ => Pause::ErrorDelay,
        };
        let pause = self.backoffs.fail(activity, now, base, pause);
        if self.backoffs.is_news(activity, &message) {
            log::warn!("{message}; next attempt in {} s", pause.as_secs());
        }
        let (at, online) = (self.context.clock.utc(), self.session.is_online());
        self.context.status.update(|connection| {
            connection.online = online;
            connection.trouble = Some((message, at));
        });
        publish_failing(&self.context, &self.backoffs);
        if matches!(trouble, Trouble::Link(Failure::Unsent(Cause::LinkCame, _))) {
            self.link_came();
        }
    }
}
