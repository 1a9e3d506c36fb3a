//! The handshake: options, version, clock, stamps (§6).

use std::time::Duration;

use super::poll::Whence;
use super::{Client, Settings, Trouble, encrypt};
use crate::clock::BUILD_TIME;
use crate::protocol::PUSH_VERSION;
use crate::protocol::options::{Given, Handshake, ServerOptions, read_handshake};
use crate::protocol::stream::Table;
use crate::store::options::{CHECK, SERVER, ZONE};
use crate::store::{Stamp, StoreError};
use crate::uplink::{Response, Uplink};

/// How often a bare `OK` is taken for want of options before it is taken for good.
const BARE_TRIES: u8 = 3;
/// Longest that a reply may have taken for its date to set the clock.
const FRESH: Duration = Duration::from_secs(5);

impl<U: Uplink> Client<U> {
    pub(super) fn handshake(&mut self) -> Result<(), Trouble> {
        let Settings { dialect, profile, language, comm_key, .. } = &self.settings;
        let target = dialect.handshake(&profile.serial, *language, PUSH_VERSION, comm_key);
        let mut response = self.get(&target)?;
        let head_at = self.clock.monotonic();
        let error_delay = self.settings.error_delay;
        let base =
            self.with_set_options(ServerOptions { error_delay, ..ServerOptions::default() })?;
        let list = self.read_list(&mut response, Whence::Handshake)?;
        let mut again_at = None;
        let was_online = self.online;
        let was_told = was_online && self.lacks_key();
        match read_handshake(&list.others, &base) {
            Handshake::Options(options) => {
                self.bare = 0;
                self.adopt(*options)?;
            }
            // Commands in place of options are as good as a bare OK.
            Handshake::Refused(_) if list.others.is_empty() && list.commands > 0 => {
                self.adopt_bare(base, &mut again_at)
            }
            Handshake::Bare => self.adopt_bare(base, &mut again_at),
            Handshake::Refused(message) => return Err(Trouble::Refused(message)),
        }
        self.online = true;
        self.pushed = None;
        self.handshake_at = again_at;
        if !was_online {
            self.poll_at = Duration::ZERO;
            log::info!(
                "connected to {}: protocol {}, polling every {} s",
                self.status.connection().server,
                self.version(),
                self.options.delay
            );
        }
        if self.lacks_key() && !was_told {
            encrypt::warn();
        }
        self.apply_date(&response, head_at)?;
        Ok(())
    }

    fn adopt_bare(&mut self, base: ServerOptions, again_at: &mut Option<Duration>) {
        self.options = base;
        self.bare = self.bare.saturating_add(1);
        if self.bare < BARE_TRIES {
            *again_at =
                Some(self.clock.monotonic() + Duration::from_secs(self.options.error_delay.into()));
        }
    }

    fn adopt(&mut self, options: ServerOptions) -> Result<(), StoreError> {
        for warning in &options.warnings {
            log::warn!("handshake: {warning}");
        }
        if let Given::Value(offset) = options.time_zone {
            self.clock.set_zone(offset);
            self.store.options().set(ZONE, &offset.to_string())?;
        }
        self.options = options;
        self.apply_verification()?;
        self.apply_stamps()?;
        // What the server asks for again does not wait for the next time of the day.
        for table in Table::ALL {
            if self.store.outbox().is_resending(table)? {
                self.upload_window.open();
            }
        }
        Ok(())
    }

    /// The protocol version of this session: the lower of both (App. 6).
    pub(super) fn version(&self) -> crate::protocol::version::Version {
        self.options.push_version.min(PUSH_VERSION)
    }

    /// Options that the server set by command hold until a handshake says otherwise.
    pub(super) fn with_set_options(
        &self,
        mut options: ServerOptions,
    ) -> Result<ServerOptions, StoreError> {
        for (key, value) in self.store.options().all()? {
            let key = key.to_ascii_lowercase();
            if ServerOptions::is_settable(&key) {
                options.set(&key, &value);
            }
        }
        Ok(options)
    }

    /// Sets the clock by the `Date` of a fresh reply, unless the server's idea of the zone
    /// makes no sense. Rows that waited for the clock then get their time.
    /// `head_at`: when the head of the reply was there; its body may have taken minutes since.
    pub(super) fn apply_date(
        &mut self,
        response: &Response,
        head_at: Duration,
    ) -> Result<(), StoreError> {
        if let Some(date) = response.date
            && date >= BUILD_TIME
            && response.took < FRESH
            && self.options.time_zone != Given::Nonsense
        {
            let since = self.clock.monotonic().saturating_sub(head_at);
            self.clock.set(date + since.as_secs() as i64);
        }
        let now = self.clock.local();
        self.status.update(|connection| connection.clock_set = now.is_some());
        let Some(now) = now else { return Ok(()) };
        if self.store.journal().count_awaiting_clock()? == 0 {
            return Ok(());
        }
        let monotonic = self.clock.monotonic().as_secs() as i64;
        let floor = BUILD_TIME + i64::from(self.clock.offset(BUILD_TIME));
        let (exact, estimated) = self.store.journal().release_awaiting_clock(
            self.clock.boot(),
            now,
            monotonic,
            floor,
        )?;
        log::info!("the clock is set: {exact} rows that waited for it were counted back");
        if estimated > 0 {
            log::warn!(
                "{estimated} rows of an earlier boot without a clock got the earliest time they can have"
            );
        }
        Ok(())
    }

    /// What the server's stamps ask for (clarifications, "Stamps"): nothing, an upload from
    /// the start, or one from the place to which the server was set back.
    fn apply_stamps(&mut self) -> Result<(), StoreError> {
        let server = self.status.connection().server;
        self.store.atomically(|| {
            let same_server = self.store.options().get(SERVER)?.is_none_or(|known| known == server);
            let check = self.store.options().get(CHECK)?.is_some();
            for table in Table::ALL {
                let known =
                    if same_server { self.store.stamps().get(table)? } else { Stamp::default() };
                let sent = self.options.stamp(table.stamp_names());
                let known = match sent.and_then(|text| text.parse().ok()) {
                    Some(stamp) => self.apply_stamp(table, stamp, check, known)?,
                    None => known,
                };
                self.store.stamps().set(table, known)?;
            }
            self.store.options().set(SERVER, &server)?;
            self.store.options().clear(CHECK)
        })
    }

    fn apply_stamp(
        &self,
        table: Table,
        stamp: i64,
        check: bool,
        known: Stamp,
    ) -> Result<Stamp, StoreError> {
        let acknowledged = self.store.outbox().acknowledged(table)?;
        let again = |from| -> Result<(), StoreError> {
            log::info!("the server asks for {} again, from {from}", table.name());
            let streams = self.allowed(table);
            streams.into_iter().try_for_each(|stream| self.store.outbox().resend(stream, from))
        };
        if stamp == 0 {
            if check || known.nonzero {
                again(0)?;
            }
            return Ok(Stamp { resent: known.resent, ..Stamp::default() });
        }
        let mut known = Stamp { nonzero: true, ..known };
        if stamp == acknowledged {
            known.proven |= known.proof != 0 && known.proof != stamp;
            known.proof = stamp;
        } else if known.proven
            && (1..acknowledged).contains(&stamp)
            && !self.store.outbox().is_resending(table)?
        {
            again(stamp)?;
            // To be believed once more, it has to prove itself once more.
            (known.proof, known.proven) = (0, false);
        }
        Ok(known)
    }
}
