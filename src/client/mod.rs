//! The loop: which exchange with the server is due, and what follows from it.
//!
//! [`Client::step`] reads what has work, asks the scheduler what is due, and does that one thing,
//! or says until when there is nothing to do. Each activity has a back-off of its own, so that no
//! failure stops the others.

mod activity;
mod backoff;
mod base64_stream;
mod batch_size;
mod clock_setter;
mod command_list;
mod context;
mod dates;
mod delivery;
mod downloads;
mod driver_request;
mod encrypt;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
mod housekeeping;
mod job_end;
mod jobs;
#[cfg(feature = "exchange")]
mod keys;
mod no_commands;
mod offers;
mod options_push;
mod outcome;
mod pauses;
mod person;
mod poll_info;
mod poller;
mod probation;
mod progress;
mod publication;
mod queries;
mod receive;
mod replies;
mod row_search;
#[cfg(test)]
mod row_search_model;
mod scheduler;
mod server_change;
mod server_date;
mod server_query;
mod server_zone;
mod session;
mod settings;
#[cfg(test)]
pub(crate) mod simulation;
mod stamps;
mod suspects;
mod trouble;
mod upload_body;
mod upload_tools;
mod upload_window;
mod uploader;
mod waiting_commands;
mod withheld;

pub use settings::{Settings, Shared};

use std::time::Duration;

use activity::Activity;
use backoff::Backoffs;
use batch_size::BatchSize;
pub(crate) use batch_size::{FIRST_ROWS, MOST_ROWS};
use command_list::CommandReader;
use context::Context;
use handshake::shake_hands;
use housekeeping::Housekeeping;
use job_end::Progress;
use jobs::Jobs;
use offers::STALL;
use options_push::OptionsPush;
use poller::{PollTools, Polled, Poller};
use probation::Probation;
use publication::{
    WaitingLog, publish_failing, publish_times, publish_under_way, publish_withheld,
};
use replies::Replies;
use scheduler::{Decision, Due, Scheduler, Situation};
use server_query::ServerQueryRunner;
use session::Session;
use trouble::Trouble;
use upload_tools::Tools;
use uploader::Uploader;
use waiting_commands::{NO_PROGRESS, WaitingCommands};

use crate::device::Device;
use crate::link_watch::LinkTries;
use crate::protocol::stream::Table;
use crate::server_queries::OFFLINE;
use crate::status::UnderWay;
use crate::store::StoreError;
use crate::store::options::REBOOT;
use crate::uplink::Uplink;

/// The loop's side of the connection to one server.
pub struct Client {
    context: Context,
    session: Session,
    scheduler: Scheduler,
    backoffs: Backoffs,
    link_tries: LinkTries,
    commands: CommandReader,
    poller: Poller,
    uploader: Uploader,
    replies: Replies,
    options_push: OptionsPush,
    jobs: Jobs,
    server_query: ServerQueryRunner,
    housekeeping: Housekeeping,
    waiting_log: WaitingLog,
    waiting_commands: WaitingCommands,
    probation: Probation,
    /// When an exchange that was no query went well last.
    succeeded_at: Duration,
    /// Results or punches failed since the last poll, or an exchange got no answer in time: they go
    /// before polls, but not again and again.
    poll_goes_first: bool,
}

/// Most seconds until the first poll, whatever `Delay` is: a terminal may be on for an hour a day.
const LONGEST_FIRST_WAIT: u32 = 300;
/// How long rows of an earlier version are counted before drivers are served.
const COUNTED_AT_ONCE: Duration = Duration::from_millis(10);

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more to do at once.
    Immediately,
    /// Nothing until this moment of the monotonic clock, unless something comes in.
    RestUntil(Duration),
}

impl Client {
    /// A client that has not spoken to its server yet.
    pub fn new(
        uplink: impl Uplink + 'static,
        device: Box<dyn Device>,
        shared: Shared,
        settings: Settings,
    ) -> Self {
        let mut backoffs = Backoffs::new(&settings.profile.serial);
        backoffs.spread(Activity::Handshake, shared.clock.monotonic(), settings.start_spread);
        Self {
            session: Session::new(settings.error_delay, settings.punches_always),
            scheduler: Scheduler::default(),
            backoffs,
            link_tries: LinkTries::default(),
            commands: CommandReader::default(),
            poller: Poller::default(),
            uploader: Uploader::new(BatchSize::new(settings.first_rows, settings.post_bytes)),
            replies: Replies::new(),
            options_push: OptionsPush::default(),
            jobs: Jobs::default(),
            server_query: ServerQueryRunner::default(),
            housekeeping: Housekeeping::default(),
            waiting_log: WaitingLog::default(),
            waiting_commands: WaitingCommands::default(),
            probation: Probation::None,
            succeeded_at: Duration::ZERO,
            poll_goes_first: false,
            context: Context::new(Box::new(uplink), device, shared, settings),
        }
    }

    /// Looks at the trial of an upgrade; `is_on_trial`: this process is the new program. To be called once,
    /// when the process starts.
    ///
    /// # Errors
    /// If the store fails.
    pub fn begin_probation(&mut self, is_on_trial: bool) -> Result<(), StoreError> {
        self.probation = Probation::begin(&mut self.context, is_on_trial)?;
        Ok(())
    }

    /// Goes on with what the client of the earlier configuration has under way at the same server: the
    /// server may hand a command to a poll that it holds.
    pub fn take_over(&mut self, earlier: &mut Self) {
        self.probation = std::mem::take(&mut earlier.probation);
        if self.context.settings.server == earlier.context.settings.server
            && self.context.takes_polls_of(&earlier.context)
        {
            self.poller.take_over(&mut earlier.poller);
        }
    }

    /// Does the one thing that is due.
    pub fn step(&mut self) -> Next {
        if !self.context.store.outbox().count_backlog(COUNTED_AT_ONCE) {
            return Next::Immediately;
        }
        let situation = match self.situation() {
            Ok(situation) => situation,
            Err(error) => {
                self.record(Activity::Store, Err(error.into()));
                return Next::RestUntil(self.backoffs.until(Activity::Store));
            }
        };
        if self.backoffs.failures(Activity::Store) > 0 {
            self.record_success(Activity::Store);
        }
        publish_times(&self.context, &self.session, &self.backoffs, &self.poller);
        match self.scheduler.decide(self.context.clock.monotonic(), &situation) {
            Decision::Run(activity) => {
                let since = self.context.clock.monotonic();
                let since = match activity {
                    Activity::HeldPoll => self.poller.held_since().unwrap_or(since),
                    _ => since,
                };
                publish_under_way(&self.context, Some(UnderWay { what: activity.name(), since }));
                self.run(activity, situation.next_at());
                publish_under_way(&self.context, None);
                Next::Immediately
            }
            Decision::RestUntil(until) => {
                self.say_what_waits();
                Next::RestUntil(until)
            }
        }
    }

    /// Nothing is to be done now.
    fn say_what_waits(&mut self) {
        if let Err(error) = self.waiting_log.say(&self.context) {
            self.record(Activity::Store, Err(error.into()));
        }
    }

    /// The new program of an upgrade could not be started; the message says why.
    ///
    /// # Errors
    /// If the store fails: then the upgrade waits for its new program.
    pub fn restart_failed(&mut self, message: &str) -> Result<(), StoreError> {
        for row in jobs::fail_upgrades(&mut self.context, message)? {
            self.backoffs.clear(Activity::Job(row));
        }
        Ok(())
    }

    /// The network has a link or an address that it did not have: what failed at the link is tried soon,
    /// at this terminal's place in the spread of the owner.
    pub fn link_came(&mut self) {
        let now = self.context.clock.monotonic();
        let at = self.link_tries.earliest(now);
        let spread = self.context.settings.start_spread;
        if let Some(next) = self.backoffs.release_link(at, spread, at == now) {
            self.link_tries.granted(at);
            publish_failing(&self.context, &self.backoffs);
            let seconds = next.saturating_sub(now).as_secs();
            log::info!("a link or an address has come up: next attempt in {seconds} s");
        }
    }

    /// What has work, and from when on it may run.
    fn situation(&mut self) -> Result<Situation, StoreError> {
        let now = self.context.clock.monotonic();
        let mut wake_at = self.housekeeping.run_if_due(&self.context, now)?;
        self.jobs.close_if_idle(now);
        let online = self.session.is_online();
        wake_at = wake_at.min(self.probation.look(&mut self.context, online)?);
        let mut has_work = driver_request::ready(&self.context)?;
        let (context, succeeded_at) = (&self.context, self.succeeded_at);
        if self.waiting_commands.look(context, succeeded_at, &mut wake_at)? {
            has_work.push(Activity::Waiting);
        }
        if self.poller.held_since().is_some() {
            has_work.push(Activity::HeldPoll);
        }
        if online {
            self.add_work_of_session(now, &mut has_work, &mut wake_at)?;
        } else {
            self.context.server_queries.fail_all(OFFLINE);
            has_work.push(Activity::Handshake);
        }
        let has_others = has_work.iter().any(|activity| activity.waits_for_polls());
        let due = |activity| {
            let not_before = match activity {
                Activity::Poll if has_others => self.poller.due_at().max(self.poller.rests_until()),
                Activity::Poll => self.poller.due_at(),
                Activity::Handshake if online => self.session.handshake_at().unwrap_or_default(),
                _ => Duration::ZERO,
            };
            Due { activity, not_before: not_before.max(self.backoffs.until(activity)) }
        };
        Ok(Situation { online, due: has_work.into_iter().map(due).collect(), wake_at })
    }

    /// Adds what has work in a session.
    fn add_work_of_session(
        &mut self,
        now: Duration,
        has_work: &mut Vec<Activity>,
        wake_at: &mut Duration,
    ) -> Result<(), StoreError> {
        let mut add = |is_due: bool, activity| has_work.extend(is_due.then_some(activity));
        let store = &self.context.store;
        add(self.context.server_queries.next(now).is_some(), Activity::ServerQuery);
        if self.poller.held_since().is_some() {
            // Only what cannot wait goes beside a poll that is held.
            if !self.poller.is_alone(now)
                && self.uploads_ready(now, wake_at)?.contains(&Table::Attlog)
            {
                has_work.push(Activity::Upload(Table::Attlog));
            }
            return Ok(());
        }
        let has_replies = store.command_log().has_replies()?;
        let poll_at = self.poller.due_at().max(self.poller.rests_until());
        let poll_at = poll_at.max(self.backoffs.until(Activity::Poll));
        let poll_first = self.poll_goes_first && poll_at <= now;
        add(has_replies && !poll_first, Activity::Replies);
        add(store.command_log().has_refused_replies()?, Activity::RefusedReplies);
        // The device reboots when the server has the answer to the command.
        let may_reboot = !has_replies && store.options().get(REBOOT)?.is_some();
        add(may_reboot && !jobs::reboot_would_cut(&self.context)?, Activity::Reboot);
        add(self.session.handshake_at().is_some(), Activity::Handshake);
        let options = self.options_push.changed(&self.context, &self.session)?;
        add(options.is_some(), Activity::Options);
        add(store.queries().next()?.is_some(), Activity::Query);
        add(true, Activity::Poll);
        has_work.extend(self.jobs.ready(&self.context)?);
        // The upload that was answered with commands goes again when their results were sent.
        let comes_later = self.session.command_answers > 0
            && has_replies
            && self.backoffs.until(Activity::Replies) <= now;
        if !comes_later {
            let mut tables = self.uploads_ready(now, wake_at)?;
            tables.retain(|table| !(poll_first && *table == Table::Attlog));
            has_work.extend(tables.into_iter().map(Activity::Upload));
        }
        Ok(())
    }

    /// The tables of which rows wait that may go up. Closes the upload window when there is
    /// nothing left; while it is closed, the loop wakes when it opens.
    fn uploads_ready(
        &mut self,
        now: Duration,
        wake_at: &mut Duration,
    ) -> Result<Vec<Table>, StoreError> {
        let Self { context, session, uploader, backoffs, .. } = self;
        let opens_at = session.window.opens_at(&session.options, &*context.clock);
        if !session.window.is_open(&session.options, &*context.clock) {
            *wake_at = opens_at.max(now).min(*wake_at);
            return Ok(Vec::new());
        }
        let mut tables = Vec::new();
        let (utc, quarantine) = (context.clock.utc(), context.store.quarantine());
        for table in Table::ALL {
            let streams = session.allowed(table);
            if uploader.has_comparison_row(context, session, table)? {
                backoffs.release(Activity::Upload(table));
            }
            let took_others = uploader.took_others(table);
            let offer_at = quarantine.next_offer(&streams, utc, took_others)?;
            let offer_in = offer_at.map(|at| (at - utc).max(0));
            if offer_in == Some(0) || context.store.outbox().has_rows(&streams)? {
                tables.push(table);
            } else if let Some(seconds) = offer_in {
                *wake_at = (now + Duration::from_secs(seconds.unsigned_abs())).min(*wake_at);
            } else if backoffs.clear(Activity::Upload(table)) {
                // What failed is gone: a person dropped it, say.
                publish_failing(context, backoffs);
            }
        }
        // A table that is held back does not keep the window open for the others.
        let is_held = |table: &Table| backoffs.until(Activity::Upload(*table)) > now;
        if tables.iter().all(is_held) && !session.options.realtime {
            session.window.close(&*context.clock);
        }
        Ok(tables)
    }

    /// Does one thing, and what follows from its end. There is something else to do at `next_at`.
    fn run(&mut self, activity: Activity, next_at: Duration) {
        let begun = self.context.clock.monotonic();
        let Self { context, session, .. } = self;
        let done = match activity {
            Activity::Handshake => self.handshake(),
            Activity::Replies => self.replies.send(context),
            Activity::RefusedReplies => replies::send_refused(context),
            Activity::Upload(table) => {
                let punches_at = self.backoffs.until(Activity::Upload(Table::Attlog));
                let commands = &mut self.commands;
                let beside_held = self.poller.held_since().is_some();
                let tools = &mut Tools { context, session, commands, punches_at, beside_held };
                let done = self.uploader.upload(tools, table);
                if beside_held && done.as_ref().is_err_and(Trouble::is_no_answer) {
                    self.poller.serves_one_at_a_time(begun);
                }
                done
            }
            Activity::Query => {
                let failures = self.backoffs.failures(activity);
                let since = self.backoffs.failing_since(activity).unwrap_or(Duration::MAX);
                let now = context.clock.monotonic();
                let is_stuck =
                    now.saturating_sub(since) >= NO_PROGRESS && self.succeeded_at > since;
                queries::answer(context, session, failures, is_stuck)
            }
            Activity::Waiting => {
                self.waiting_commands.carry_out(context, session).map_err(Into::into)
            }
            Activity::Poll | Activity::HeldPoll => match self.poll(activity, next_at) {
                Ok(Polled::Held) => return self.apply_asked(),
                done => done.map(drop),
            },
            Activity::Options => self.options_push.push(context, session),
            Activity::Reboot => reboot(context),
            Activity::Job(row) => match self.jobs.step(context, row) {
                Ok(Progress::Paused) => return,
                done => done.map(|progress| {
                    if progress == Progress::Ended {
                        self.backoffs.clear(activity);
                    }
                }),
            },
            // The driver is told of a failure, and nothing is held back.
            Activity::ServerQuery => return self.server_query.run(context),
            // What is known of the connection stays: the server had no part in it.
            Activity::DriverRequest(row) => match driver_request::step(context, row) {
                Ok(_) => {
                    self.backoffs.clear(activity);
                    return;
                }
                Err(error) => Err(error.into()),
            },
            Activity::Store => Ok(()),
        };
        self.apply_asked();
        // From its end on, a poll that was held is as any other.
        let activity = if activity == Activity::HeldPoll { Activity::Poll } else { activity };
        // A search goes on at once, and may cost a time-out at each request.
        let took = self.context.clock.monotonic().saturating_sub(begun);
        self.poll_goes_first |= done.is_err() && took >= STALL;
        self.record(activity, done);
    }

    fn poll(&mut self, activity: Activity, next_at: Duration) -> Result<Polled, Trouble> {
        let wait = next_at.saturating_sub(self.context.clock.monotonic());
        if activity == Activity::HeldPoll && !wait.is_zero() {
            self.say_what_waits();
        }
        let Self { context, session, commands, .. } = self;
        let tools = &mut PollTools { context, session, commands };
        if activity == Activity::HeldPoll {
            return self.poller.go_on(tools, wait);
        }
        self.poll_goes_first = false;
        self.poller.poll(tools)
    }

    fn handshake(&mut self) -> Result<(), Trouble> {
        let was_online = self.session.is_online();
        let date = shake_hands(&mut self.context, &mut self.session, &mut self.commands)?;
        self.options_push.begin_session();
        publish_withheld(&self.context, &self.session);
        if !was_online {
            let offset = self.first_poll_after();
            self.poller.begin_session(self.context.clock.monotonic(), offset);
            self.waiting_log.begin_session();
        }
        Ok(date.apply(&self.context, &self.session.options)?)
    }

    /// How long after the first handshake the first poll comes. A fleet that starts together shook hands
    /// at a place for each in `start_spread`; what is left of `Delay` spreads its polls evenly.
    fn first_poll_after(&self) -> Duration {
        match self.context.settings.start_spread {
            0 => Duration::ZERO,
            spread => {
                let left = self.session.options.delay.saturating_sub(spread);
                self.backoffs.place_in(left.min(LONGEST_FIRST_WAIT))
            }
        }
    }

    /// Does what commands asked for beyond their session.
    fn apply_asked(&mut self) {
        let asked = std::mem::take(&mut self.session.asked);
        if asked.upload {
            self.backoffs.release_uploads();
        }
        if asked.option_set {
            self.options_push.hurry();
            publish_withheld(&self.context, &self.session);
        }
    }
}

/// Reboots the device, as a command asked. The request is removed before that, so that the
/// terminal does not reboot for ever.
fn reboot(context: &mut Context) -> Result<(), Trouble> {
    context.store.options().clear(REBOOT)?;
    log::warn!("rebooting, as the server asked");
    context.device.reboot().map_err(Trouble::Refused)
}
