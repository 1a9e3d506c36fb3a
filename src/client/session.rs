//! The session with the server: its options, and what follows from them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::pauses::LONGEST_PAUSE;
use super::server_zone::take_zone;
use super::upload_window::UploadWindow;
use super::withheld::{Withheld, withheld};
use crate::commands::Effects;
use crate::protocol::PUSH_VERSION;
use crate::protocol::options::ServerOptions;
use crate::protocol::stream::{Stream, Table};
use crate::protocol::version::Version;
use crate::reactor;
use crate::store::options::VERIFICATION;
use crate::store::{NewRows, Outgoing, Store, StoreError};

/// How many bare `OK`s in a row are answered with another handshake, for want of options.
const BARE_OK_RETRIES: u8 = 3;
/// How often the options are asked for although nothing asks for it: a zone that changes with summer
/// time comes no other way.
const HANDSHAKE_EVERY: Duration = Duration::from_secs(6 * 3600);
/// The first version with `EncryptFlag`.
const ENCRYPT_FLAG_SINCE: Version = Version(2, 3, 0);

/// The session with the server.
pub(super) struct Session {
    /// What the server said in the handshake and by `SET OPTION`.
    pub(super) options: ServerOptions,
    /// When new data may go up.
    pub(super) window: UploadWindow,
    /// What commands asked for that does not concern the session.
    pub(super) asked: Asked,
    /// How often in a row an upload was answered with commands.
    pub(super) command_answers: u32,
    /// When exchanges failed last, in seconds since 1970: uploads by their tables, and all others. A row
    /// that was offered alone and refused is no failure.
    failed_at: BTreeMap<Option<Table>, i64>,
    /// The owner wants punches sent, whatever `TransFlag` says.
    punches_always: bool,
    /// Whether the handshake succeeded and no exchange failed since.
    online: bool,
    /// Bare `OK`s in a row in place of options.
    bare_oks: u8,
    /// When another handshake is due in this session.
    handshake_at: Option<Duration>,
    /// When the server last said that it does not know the terminal, and a handshake followed.
    forgotten_at: Option<Duration>,
}

/// What commands asked for that does not concern the session.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// `LOG`: what waits is to go up now, also what is held back after a failure.
    pub(super) upload: bool,
    /// `SET OPTION`: the options may have to be pushed again.
    pub(super) option_set: bool,
}

impl Session {
    /// No session yet; `error_delay` is the owner's, and so is whether punches go up whatever
    /// `TransFlag` says.
    pub(super) fn new(error_delay: u32, punches_always: bool) -> Self {
        Self {
            options: ServerOptions { error_delay, ..ServerOptions::default() },
            window: UploadWindow::default(),
            asked: Asked::default(),
            command_answers: 0,
            failed_at: BTreeMap::new(),
            forgotten_at: None,
            punches_always,
            online: false,
            bare_oks: 0,
            handshake_at: None,
        }
    }

    pub(super) fn is_online(&self) -> bool {
        self.online
    }

    /// How long to wait after a failure, in seconds: the server's `ErrorDelay`, or the owner's.
    pub(super) fn error_delay(&self) -> u32 {
        self.options.error_delay.min(LONGEST_PAUSE)
    }

    pub(super) fn handshake_at(&self) -> Option<Duration> {
        self.handshake_at
    }

    /// The connection failed: a handshake comes before everything else.
    pub(super) fn disconnect(&mut self) {
        self.online = false;
    }

    /// The server says that it does not know the terminal: a handshake comes before everything else.
    /// Not more than once per `ErrorDelay`: it may say so of a row. Returns whether one comes.
    pub(super) fn disconnect_if_forgotten(&mut self, now: Duration) -> bool {
        let pause = Duration::from_secs(self.error_delay().into());
        let may_come = self.forgotten_at.is_none_or(|at| now.saturating_sub(at) >= pause);
        if may_come {
            self.forgotten_at = Some(now);
            self.online = false;
        }
        may_come
    }

    /// An exchange failed: an upload of a table, or another.
    pub(super) fn note_failure(&mut self, table: Option<Table>, now: i64) {
        self.failed_at.insert(table, now);
    }

    /// When an exchange failed last that was no upload of this table: what fails there may be the
    /// fault of the very rows that are searched.
    pub(super) fn failed_beside(&self, table: Table) -> Option<i64> {
        let others = self.failed_at.iter().filter(|(of, _)| **of != Some(table));
        others.map(|(_, at)| *at).max()
    }

    /// The handshake brought options.
    pub(super) fn take_options(&mut self, options: ServerOptions) {
        self.options = options;
        self.bare_oks = 0;
    }

    /// The handshake brought a bare `OK`: the options are `base`. Returns when another handshake
    /// may bring others, as long as that is tried.
    pub(super) fn take_bare_ok(&mut self, base: ServerOptions, now: Duration) -> Option<Duration> {
        self.options = base;
        let retry_at = now + Duration::from_secs(self.error_delay().into());
        self.bare_oks = self.bare_oks.saturating_add(1);
        (self.bare_oks < BARE_OK_RETRIES).then_some(retry_at)
    }

    /// The handshake succeeded; another is due at `retry_at`, or after [`HANDSHAKE_EVERY`].
    pub(super) fn connect(&mut self, now: Duration, retry_at: Option<Duration>) {
        self.online = true;
        self.handshake_at = Some(retry_at.unwrap_or(now + HANDSHAKE_EVERY));
    }

    /// The protocol version of this session: the lower of both (App. 6).
    pub(super) fn version(&self) -> Version {
        self.options.push_version.min(PUSH_VERSION)
    }

    /// Why new rows of a stream do not go up by themselves in this session; `None` if they do.
    pub(super) fn withheld(&self, stream: Stream) -> Option<Withheld> {
        withheld(stream, &self.options, self.version(), self.punches_always)
    }

    /// The streams of a table that the version of this session has, and which of their new rows the
    /// server wants.
    pub(super) fn allowed(&self, table: Table) -> Vec<Outgoing> {
        let outgoing = |stream| match self.withheld(stream) {
            None => Some(Outgoing { stream, new_rows: NewRows::All }),
            Some(Withheld::ByTransFlag { .. } | Withheld::ZerosOnly) => {
                Some(Outgoing { stream, new_rows: NewRows::Asked })
            }
            Some(Withheld::ByVersion { .. }) => None,
        };
        table.streams().filter_map(outgoing).collect()
    }

    /// Most bytes in the body of a POST, as the server has it.
    pub(super) fn largest_post(&self) -> usize {
        self.options.max_post_size.map_or(usize::MAX, |bytes| bytes as usize)
    }

    /// Whether the server wants punches encrypted (§6). The first digit of `EncryptFlag` stands
    /// for punches; the others have no meaning yet.
    pub(super) fn wants_encrypted_punches(&self) -> bool {
        self.options.encrypt_flag.starts_with('1') && self.version() >= ENCRYPT_FLAG_SINCE
    }

    /// Does what commands asked of the session.
    pub(super) fn apply_effects(
        &mut self,
        context: &Context,
        effects: &Effects,
    ) -> Result<(), StoreError> {
        if effects.driver_asked {
            // Somebody stands at the door: the driver is asked now, not in the next wait. If the
            // program is to stop, the next wait says so.
            let _ = reactor::yield_now();
        }
        if effects.handshake {
            self.window.open();
            self.handshake_at = Some(Duration::ZERO);
        }
        if effects.upload {
            self.window.open();
            self.asked.upload = true;
        }
        if effects.option_set {
            self.asked.option_set = true;
            let zone = self.options.time_zone;
            self.options = with_set_options(&context.store, self.options.clone())?;
            if self.options.time_zone != zone {
                take_zone(context, self.options.time_zone)?;
            }
            self.apply_verification(&context.store)?;
        }
        Ok(())
    }

    /// Keeps whether the server wants to be asked about everybody (§12.11.3).
    pub(super) fn apply_verification(&self, store: &Store) -> Result<(), StoreError> {
        let option = self.options.others.get("postselfdefinedatatype");
        let is_wanted = option.is_some_and(|kind| kind.eq_ignore_ascii_case("PostVerifyData"));
        if store.options().get(VERIFICATION)?.is_some() == is_wanted {
            return Ok(());
        }
        if is_wanted {
            log::info!("from now on the server decides who may pass (PostVerifyData)");
            store.options().set(VERIFICATION, "1")
        } else {
            log::info!("from now on the terminal decides who may pass");
            store.options().clear(VERIFICATION)
        }
    }
}

/// Options that the server set by command hold until a handshake says otherwise.
pub(super) fn with_set_options(
    store: &Store,
    mut options: ServerOptions,
) -> Result<ServerOptions, StoreError> {
    for (key, value) in store.options().all()? {
        let key = key.to_ascii_lowercase();
        if ServerOptions::is_settable(&key) {
            options.set(&key, &value);
        }
    }
    options.named.clear();
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn error_delay_counts_as_15_minutes_at_most() {
        for (delay, counts_as) in [(1, 1), (900, 900), (901, 900), (86_400, 900)] {
            let mut session = Session::new(delay, false);
            assert_eq!(session.error_delay(), counts_as);
            let base = ServerOptions { error_delay: delay, ..ServerOptions::default() };
            let retry_at = session.take_bare_ok(base, NOW);
            assert_eq!(retry_at, Some(NOW + Duration::from_secs(counts_as.into())));
        }
    }

    #[test]
    fn a_handshake_is_made_again_every_six_hours() {
        let mut session = Session::new(60, false);
        session.connect(NOW, None);
        assert_eq!(session.handshake_at(), Some(NOW + Duration::from_secs(6 * 3600)));
    }

    #[test]
    fn a_bare_ok_is_followed_by_three_tries_at_most() {
        let mut session = Session::new(60, false);
        let base = || ServerOptions { error_delay: 60, ..ServerOptions::default() };
        let tries = [(); 4].map(|()| session.take_bare_ok(base(), NOW).is_some());
        assert_eq!(tries, [true, true, false, false]);
    }
}
