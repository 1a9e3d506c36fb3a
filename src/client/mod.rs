//! The loop: which exchange with the server is due, and what follows from it.
//!
//! [`Client::step`] does one exchange, or says until when there is nothing to do. The order
//! is that of chapter 5: nothing before the handshake; then server_queries for drivers, results of
//! commands, punches, a handshake that was asked for, answers to queries, the poll, and all
//! other streams. Each activity backs off by itself, so that none is stopped by another's
//! trouble.

mod backoff;
mod base64_stream;
mod batch_size;
mod device_info;
mod download;
mod driver_request;
mod encrypt;
mod handshake;
mod job;
mod poll;
mod query;
mod replies;
mod scheduler;
mod server_query;
mod upload;
mod upload_window;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backoff::Backoff;
use scheduler::Decision;

use crate::clock::Clock;
use crate::commands::{DeviceProfile, Effects, Executor};
use crate::device::Device;
use crate::files::Spool;
use crate::policy::Policy;
use crate::protocol::ack::{self, Ack};
use crate::protocol::codes::Language;
use crate::protocol::dialect::Dialect;
use crate::protocol::options::ServerOptions;
use crate::protocol::query::Target;
use crate::protocol::stream::Table;
use crate::reactor::{self, Stopping};
use crate::server_queries::ServerQueries;
use crate::status::Status;
use crate::store::options::REBOOT;
use crate::store::{Moment, Store, StoreError};
use crate::uplink::{Failure, Request, Response, Uplink};

/// What the owner decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is told about the device, its serial included.
    pub profile: DeviceProfile,
    /// The terminal's language.
    pub language: Language,
    /// `pushcommkey`, empty for none.
    pub comm_key: String,
    /// How requests are written.
    pub dialect: Dialect,
    /// Key of the attendance rows, for a server that wants them encrypted.
    pub attlog_key: Option<String>,
    /// What the owner allows the server.
    pub policy: Policy,
    /// The server's URL.
    pub server: String,
    /// Most bytes in the body of an upload.
    pub post_bytes: usize,
    /// Longest command in bytes.
    pub command_bytes: usize,
    /// Seconds until the next try after a failure, until the server names its own.
    pub error_delay: u32,
    /// Seconds over which terminals that start together spread their first contact.
    pub start_spread: u32,
}

/// What the loop shares with the other parts of the daemon.
#[derive(Clone)]
pub struct Shared {
    /// What time it is.
    pub clock: Rc<dyn Clock>,
    /// Where everything is kept.
    pub store: Rc<Store>,
    /// What the outside may see.
    pub status: Rc<Status>,
    /// Where downloads are while they are under way.
    pub spool: Rc<Spool>,
    /// What drivers want to know from the server.
    pub server_queries: Rc<ServerQueries>,
}

/// The loop's side of the connection to one server.
pub struct Client<U> {
    uplink: U,
    clock: Rc<dyn Clock>,
    store: Rc<Store>,
    device: Box<dyn Device>,
    status: Rc<Status>,
    server_queries: Rc<ServerQueries>,
    /// How server_queries went last.
    server_query: server_query::Last,
    settings: Settings,
    /// Where downloads are while they are under way.
    spool: Rc<Spool>,
    /// Bytes of the next chunk of a download.
    chunk: u64,
    /// A job had its turn: the other streams have theirs first.
    others_first: bool,
    /// Results had their turn: a punch has its own first.
    has_replied: bool,
    options: ServerOptions,
    /// Whether the handshake succeeded and no exchange broke since.
    online: bool,
    /// Bare `OK`s in a row in place of options.
    bare: u8,
    handshake_at: Option<Duration>,
    poll_at: Duration,
    backoffs: BTreeMap<Activity, Backoff>,
    uploads: upload::Uploads,
    upload_window: upload_window::UploadWindow,
    house_at: Duration,
    replies_at_once: usize,
    /// The options that the server was last told in this session.
    pushed: Option<String>,
    look_at_options: Duration,
    /// The `INFO` that it was last told.
    informed: Option<String>,
    /// What stood after the last line end of a body without a known end.
    fragment: Option<Vec<u8>>,
}

/// What the loop does, each with its own trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    Handshake,
    ServerQuery,
    Replies,
    RefusedReplies,
    Upload(Table),
    Query,
    Poll,
    Options,
    Reboot,
    /// By the row of its command.
    Job(i64),
    /// What a driver does, likewise; no exchange.
    Request(i64),
    Store,
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more to do at once.
    Immediately,
    /// Nothing until this moment of the monotonic clock, unless something comes in.
    RestUntil(Duration),
}

/// How an exchange ended that did not end well.
enum Trouble {
    /// The way to the server is broken.
    Link(Failure),
    /// The server answered, but not as it should; its message.
    Refused(String),
    /// The store failed.
    Store(StoreError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Link(failure)
    }
}

impl From<Stopping> for Trouble {
    fn from(stopping: Stopping) -> Self {
        Self::Link(stopping.into())
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Longest pause after a failure in seconds, unless the server asks for longer.
const LONGEST_PAUSE: u32 = 900;
/// How often the rows of a query are offered that the server refuses.
const MOST_REFUSALS: u32 = 5;

impl<U: Uplink> Client<U> {
    /// A client that has not spoken to its server yet.
    pub fn new(uplink: U, device: Box<dyn Device>, shared: Shared, settings: Settings) -> Self {
        let Shared { clock, store, status, spool, server_queries } = shared;
        let mut start = Backoff::new(&settings.profile.serial);
        start.hold_until(clock.monotonic() + start.spread(settings.start_spread));
        Self {
            uplink,
            clock,
            store,
            device,
            status,
            spool,
            chunk: download::FIRST_CHUNK,
            others_first: false,
            has_replied: false,
            server_queries,
            server_query: server_query::Last::default(),
            options: ServerOptions {
                error_delay: settings.error_delay,
                ..ServerOptions::default()
            },
            online: false,
            bare: 0,
            handshake_at: None,
            poll_at: Duration::ZERO,
            backoffs: BTreeMap::from([(Activity::Handshake, start)]),
            uploads: upload::Uploads::new(settings.post_bytes),
            upload_window: upload_window::UploadWindow::default(),
            house_at: Duration::ZERO,
            replies_at_once: crate::protocol::reply::MOST_IN_ONE_POST,
            pushed: None,
            look_at_options: Duration::ZERO,
            informed: None,
            fragment: None,
            settings,
        }
    }

    /// Does the next exchange that is due.
    pub fn step(&mut self) -> Next {
        let due = self.due();
        if due.is_ok() && self.backoffs.contains_key(&Activity::Store) {
            self.went_well(Activity::Store);
        }
        match due {
            Ok(Decision::Exchange(activity)) => {
                self.server_query.was_last = activity == Activity::ServerQuery;
                let done = match activity {
                    Activity::Handshake => self.handshake(),
                    Activity::Replies => self.send_replies(),
                    Activity::RefusedReplies => self.send_refused_reply(),
                    Activity::Upload(table) => self.upload(table),
                    Activity::Query => self.answer_query(),
                    Activity::Poll => self.poll(),
                    Activity::Options => self.push_options(),
                    Activity::Reboot => self.reboot(),
                    Activity::Job(row) => self.work(row),
                    Activity::Store => Ok(()),
                    Activity::ServerQuery => {
                        self.run_server_query();
                        return Next::Immediately;
                    }
                    Activity::Request(row) => {
                        match self.go_on(row) {
                            // No word of the server's: what is known of it stays.
                            Ok(()) => drop(self.backoffs.remove(&activity)),
                            Err(error) => self.settle(activity, Err(error.into())),
                        }
                        return Next::Immediately;
                    }
                };
                self.others_first = matches!(activity, Activity::Job(_));
                self.has_replied = activity == Activity::Replies;
                self.settle(activity, done);
                Next::Immediately
            }
            Ok(Decision::Nothing(until)) => Next::RestUntil(until),
            Err(error) => {
                self.settle(Activity::Store, Err(error.into()));
                Next::RestUntil(self.backoffs[&Activity::Store].until())
            }
        }
    }

    /// Draws the consequences of an exchange: success clears the activity's trouble, a
    /// refusal holds it back, a broken link sends everything back to the handshake.
    fn settle(&mut self, activity: Activity, done: Result<(), Trouble>) {
        let trouble = match done {
            Ok(()) => return self.went_well(activity),
            Err(Trouble::Link(Failure::Stopping)) => return,
            Err(trouble) => trouble,
        };
        let message = match trouble {
            Trouble::Link(failure) => {
                self.online = false;
                // The way itself gets a pause; the activity gets one of its own, that grows
                // until it succeeds, so that the others have their turn after the handshake.
                if activity != Activity::Handshake {
                    self.hold_back(Activity::Handshake);
                }
                failure.to_string()
            }
            Trouble::Refused(message) => message,
            Trouble::Store(error) => error.to_string(),
        };
        let message = format!("{}: {message}", activity.name());
        let pause = self.hold_back(activity);
        if self.backoffs.get_mut(&activity).is_some_and(|backoff| backoff.is_news(&message)) {
            log::warn!("{message}; next try in {} s", pause.as_secs());
        }
        let at = self.clock.utc();
        let online = self.online;
        self.status.update(|connection| {
            connection.online = online;
            connection.trouble = Some((message, at));
        });
    }

    /// Counts a failure of an activity; how long it pauses.
    fn hold_back(&mut self, activity: Activity) -> Duration {
        let (now, base) = (self.clock.monotonic(), self.options.error_delay);
        let serial = &self.settings.profile.serial;
        let backoff = self.backoffs.entry(activity).or_insert_with(|| Backoff::new(serial));
        backoff.fail(now, base, LONGEST_PAUSE.max(base))
    }

    fn has_failed_too_often(&self, activity: Activity) -> bool {
        self.backoffs.get(&activity).is_some_and(|backoff| backoff.failures() >= MOST_REFUSALS)
    }

    fn went_well(&mut self, activity: Activity) {
        if let Some(backoff) = self.backoffs.remove(&activity)
            && backoff.has_failed()
            && activity != Activity::Handshake
        {
            log::info!("{} works again", activity.name());
        }
        let in_trouble = self.backoffs.values().any(Backoff::has_failed);
        let (at, online) = (self.clock.utc(), self.online);
        self.status.update(|connection| {
            connection.online = online;
            connection.last_contact = Some(at);
            if !in_trouble {
                connection.trouble = None;
            }
        });
    }

    /// Starts the device anew, as a command asked. Forgotten before it is done, so that no
    /// terminal reboots for ever.
    fn reboot(&mut self) -> Result<(), Trouble> {
        self.store.options().clear(REBOOT)?;
        log::warn!("rebooting, as the server asked");
        self.device.reboot().map_err(Trouble::Refused)
    }

    fn target(&self, path: &str) -> Target {
        Target::new(&self.settings.dialect.path(path), &self.settings.profile.serial)
    }

    /// Asks the server; anything but status 200 is a refusal.
    fn get(&mut self, target: &Target) -> Result<Response, Trouble> {
        let mut response = self.uplink.exchange(&Request::get(target.as_str()))?;
        if response.status == 200 {
            return Ok(response);
        }
        let body = response.read_up_to(ack::ANSWER_BYTES)?;
        Err(Trouble::Refused(ack::refusal(response.status, &body)))
    }

    /// Sends something to the server; the status, and its word about it.
    fn post(&mut self, target: &Target, body: &[u8]) -> Result<(u16, Ack), Failure> {
        let request = Request::post(target.as_str(), body);
        self.post_request(&request)
    }

    fn post_request(&mut self, request: &Request<'_>) -> Result<(u16, Ack), Failure> {
        let mut response = self.uplink.exchange(request)?;
        let answer = response.read_up_to(ack::ANSWER_BYTES)?;
        Ok((response.status, ack::read(response.status, &answer)))
    }

    /// Draws the consequences of commands for the session.
    fn apply_effects(&mut self, effects: &Effects) -> Result<(), StoreError> {
        if effects.asked {
            // Somebody stands at the door: now, and not with the next wait.
            let _ = reactor::yield_now();
        }
        if effects.handshake {
            self.upload_window.open();
            self.handshake_at = Some(Duration::ZERO);
        }
        if effects.upload {
            self.upload_window.open();
            self.backoffs.retain(|activity, _| !matches!(activity, Activity::Upload(_)));
        }
        if effects.option_set {
            self.look_at_options = Duration::ZERO;
            self.options = self.with_set_options(self.options.clone())?;
            self.apply_verification()?;
        }
        Ok(())
    }

    /// What carries out commands.
    fn executor(&mut self) -> Executor<'_> {
        Executor {
            store: &self.store,
            device: self.device.as_mut(),
            profile: &self.settings.profile,
            language: self.settings.language,
            attlog_count: self.settings.dialect.attlog_count,
            policy: &self.settings.policy,
            server: &self.settings.server,
            now: self.clock.utc_if_set(),
            moment: Moment::of(self.clock.local(), self.clock.boot(), self.clock.monotonic()),
            command_bytes: self.settings.command_bytes,
        }
    }
}

impl Activity {
    fn name(self) -> &'static str {
        match self {
            Self::Handshake => "connecting",
            Self::ServerQuery => "asking for a driver",
            Self::Replies => "sending results of commands",
            Self::RefusedReplies => "sending a result that was refused",
            Self::Upload(Table::Attlog) => "uploading punches",
            Self::Upload(Table::Operlog) => "uploading operations, users and templates",
            Self::Upload(Table::Biodata) => "uploading unified templates",
            Self::Upload(Table::Idcard) => "uploading identity cards",
            Self::Upload(Table::Errorlog) => "uploading errors",
            Self::Upload(Table::Attphoto) => "uploading photos",
            Self::Query => "answering a query",
            Self::Poll => "asking for commands",
            Self::Options => "telling the options",
            Self::Reboot => "rebooting",
            Self::Job(_) => "doing what a command asked",
            Self::Request(_) => "asking a driver",
            Self::Store => "looking into the store",
        }
    }
}
