//! The handshake: options, version, clock, stamps (§6).

use std::time::Duration;

use super::command_list::{CommandReader, List};
use super::context::Context;
use super::server_date::ServerDate;
use super::server_zone::take_zone;
use super::session::{Session, with_set_options};
use super::settings::Settings;
use super::stamps;
use super::trouble::Trouble;
use crate::protocol::handshake::{Handshake, NO_OPTIONS, read_handshake};
use crate::protocol::options::ServerOptions;
use crate::protocol::query::Target;
use crate::protocol::stream::Table;
use crate::protocol::{PUSH_VERSION, ack};
use crate::store::{AnswerKind, StoreError};
use crate::uplink::Response;

/// Shakes hands with the server. Returns the date of its answer.
pub(super) fn shake_hands(
    context: &mut Context,
    session: &mut Session,
    commands: &mut CommandReader,
) -> Result<ServerDate, Trouble> {
    let Settings { dialect, profile, language, comm_key, error_delay, .. } = &context.settings;
    let target = dialect.handshake(&profile.serial, *language, PUSH_VERSION, comm_key);
    let base = ServerOptions { error_delay: *error_delay, ..ServerOptions::default() };
    let base = with_set_options(&context.store, base)?;
    let set_zone = base.time_zone;
    let Reply { response, date, list } = ask(context, session, commands, &target)?;
    let was_online = session.is_online();
    let knew_of_key = was_online && lacks_key(context, session);
    let now = context.clock.monotonic();
    let reply = read_handshake(&list.others, &base, response.answer(b""));
    let is_bare = matches!(reply, Handshake::Bare);
    let (keys_in, retry_at, zone) = match reply {
        Handshake::Options(options) => {
            let zone = options.time_zone;
            let keys_in = exchange_keys(context, session, &options)?;
            take_options(context, session, *options)?;
            (keys_in, None, Some(zone))
        }
        Handshake::Refused(message) if !list.others.is_empty() || list.commands == 0 => {
            return Err(Trouble::Refused(message));
        }
        // Commands in place of options are as good as a bare OK.
        Handshake::Bare | Handshake::Refused(_) => {
            let keys_in = exchange_keys(context, session, &base)?;
            (keys_in, session.take_bare_ok(base, now), None)
        }
    };
    list.is_answer(context)?;
    // As long as options may still come, so may the zone.
    if retry_at.is_none() {
        take_zone(context, zone.unwrap_or(set_zone))?;
    }
    if !was_online && let Some(other) = other_serial(&list.others, &context.settings.profile.serial)
    {
        log::warn!(
            "the server's reply is for the serial number {other:?}: it is taken all the same; if the \
             server knows this terminal by another number than {:?}, correct `serial` in punchd.toml",
            context.settings.profile.serial
        );
    }
    session.connect(now, retry_at.or(keys_in.map(|time| now + time)));
    let mut was_bare = false;
    context.status.update(|connection| {
        was_bare = connection.no_options;
        connection.no_options = is_bare;
    });
    if is_bare && !was_bare {
        log::warn!("{NO_OPTIONS}");
    }
    if !was_online {
        log::info!(
            "connected to {}: protocol {}, polling every {} s",
            context.status.connection().server,
            session.version(),
            session.options.delay
        );
    }
    if lacks_key(context, session) && !knew_of_key {
        log::warn!(
            "the server wants punches encrypted (EncryptFlag), but there is no key: they go up as \
             plain text; set attlog_key in [encryption] of punchd.toml to the server's key"
        );
    }
    Ok(date)
}

/// Exchanges keys, if the options ask for it. Without the keys that the owner requires there is no session.
/// Returns after what time another handshake may bring keys.
#[cfg(feature = "exchange")]
fn exchange_keys(
    context: &mut Context,
    session: &mut Session,
    options: &ServerOptions,
) -> Result<Option<Duration>, Trouble> {
    super::keys::agree(context, options).inspect_err(|_| session.disconnect())
}

/// This build has none to exchange.
#[cfg(not(feature = "exchange"))]
fn exchange_keys(
    _: &mut Context,
    _: &mut Session,
    _: &ServerOptions,
) -> Result<Option<Duration>, Trouble> {
    Ok(None)
}

/// The server's reply to a handshake.
struct Reply {
    response: Response,
    date: ServerDate,
    list: List,
}

/// Asks for the options. A reply that may have been cut off, so that its last number may have lost digits,
/// counts only if the next is whole or the same.
fn ask(
    context: &mut Context,
    session: &mut Session,
    commands: &mut CommandReader,
    target: &Target,
) -> Result<Reply, Trouble> {
    let mut once = || -> Result<Reply, Trouble> {
        let mut response = context.shake_hands(target)?;
        let date = ServerDate::of(&response, context.clock.monotonic());
        let list = commands.read(context, session, &mut response, AnswerKind::Handshake)?;
        Ok(Reply { response, date, list })
    };
    let first = once()?;
    if !first.list.may_be_cut || first.list.others.len() < 2 {
        return Ok(first);
    }
    log::debug!("the reply to the handshake may be cut off: asking again");
    let second = once()?;
    if second.list.may_be_cut && second.list.others != first.list.others {
        let message = "the reply to the handshake is cut off; it names no Content-Length";
        return Err(Trouble::Refused(message.into()));
    }
    Ok(second)
}

/// The serial number that a reply names, if it is not this one.
fn other_serial(lines: &[String], serial: &str) -> Option<String> {
    // What a bare `OK: 0` has behind its colon is a count.
    let first = lines.first().filter(|first| !ack::is_bare_ok(first))?;
    let (_, named) = first.split_once(':')?;
    let named = named.trim();
    (!named.is_empty() && named != serial).then(|| named.chars().take(40).collect())
}

fn take_options(
    context: &Context,
    session: &mut Session,
    options: ServerOptions,
) -> Result<(), StoreError> {
    for warning in &options.warnings {
        log::warn!("handshake: {warning}");
    }
    forget_set_options(context, &options)?;
    session.take_options(options);
    session.apply_verification(&context.store)?;
    stamps::apply(context, session)?;
    // What the server asks for again does not wait for the next time of the day.
    for table in Table::ALL {
        if context.store.outbox().is_resending(table)? {
            session.window.open();
        }
    }
    Ok(())
}

/// What was set by command holds until a handshake says otherwise: what it names is not set any more.
fn forget_set_options(context: &Context, options: &ServerOptions) -> Result<(), StoreError> {
    let store = &context.store;
    let mut set = store.options().all()?;
    set.retain(|(name, _)| options.named.contains(&name.to_ascii_lowercase()));
    if set.is_empty() {
        return Ok(());
    }
    store.atomically(|| set.iter().try_for_each(|(name, _)| store.options().clear(name)))
}

/// Whether the server wants what cannot be done without a key.
fn lacks_key(context: &Context, session: &Session) -> bool {
    context.settings.attlog_key.is_none() && session.wants_encrypted_punches()
}
