//! The exchange of keys after a handshake, where the server says `Encrypt=1` and both sides speak 2.4.0 (§7,
//! §8); and what follows where there is none.

use std::time::Duration;

use super::context::Context;
use super::trouble::Trouble;
use crate::exchange::{Mode, NotAgreed};
use crate::protocol::options::ServerOptions;
use crate::uplink::Failure;

/// A server that fails so often in a row when keys are to be exchanged is taken for one that has no exchange.
const MOST_FAILURES: u32 = 3;
/// After so long it is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(900);

/// Exchanges keys if these options of a handshake ask for it. What the owner requires and cannot be had fails:
/// there is no session. Returns after what time another handshake may bring keys.
pub(super) fn agree(
    context: &mut Context,
    options: &ServerOptions,
) -> Result<Option<Duration>, Trouble> {
    let mode = context.uplink.mode();
    let is_wanted = options.asks_for_keys();
    let had_keys = context.uplink.is_sealed();
    context.status.update(|connection| connection.is_encrypted = false);
    if mode == Mode::Off || (mode == Mode::Auto && !is_wanted) {
        context.uplink.forget_keys();
        if had_keys {
            log::warn!(
                "the server does not ask for encryption any more: from now on nothing is encrypted"
            );
        }
        publish(context, None);
        return Ok(None);
    }
    if !is_wanted {
        context.uplink.forget_keys();
        let why =
            "its reply to the handshake does not say Encrypt=1 with PushProtVer=2.4.0 or later";
        return Err(Trouble::Refused(required(context, why)));
    }
    let target = context.target("/iclock/exchange");
    let (why, asked_again) = match context.uplink.agree(&|kind| target.clone().with("type", kind)) {
        Ok(()) => {
            if !had_keys {
                log::info!("keys were exchanged with the server: what follows is encrypted");
            }
            context.status.update(|connection| connection.is_encrypted = true);
            publish(context, None);
            return Ok(None);
        }
        Err(NotAgreed::Failed(Failure::Stopping)) => return Err(Failure::Stopping.into()),
        Err(NotAgreed::Failed(failure)) if mode == Mode::Required => {
            let message = required(context, &failure.to_string());
            return Err(failure.with_message(message).into());
        }
        Err(NotAgreed::Failed(failure)) if context.uplink.failures() < MOST_FAILURES => {
            publish(context, None);
            let message = format!("no keys were exchanged with the server: {failure}");
            return Err(failure.with_message(message).into());
        }
        Err(NotAgreed::Failed(failure)) => {
            let minutes = ASKED_AGAIN.as_secs() / 60;
            let why = format!(
                "no keys could be exchanged, {MOST_FAILURES} times in a row, and it is tried again in {minutes} \
                 minutes: {failure}"
            );
            (why, Some(ASKED_AGAIN))
        }
        Err(NotAgreed::NoExchange(why)) if mode == Mode::Required => {
            return Err(Trouble::Refused(required(context, &why)));
        }
        Err(NotAgreed::NoExchange(why)) => {
            (format!("there is no exchange of keys that punchd knows: {why}"), None)
        }
    };
    let message = format!("the server says Encrypt=1, but {why}; nothing is encrypted");
    let is_news = context.status.connection().unencrypted.as_ref() != Some(&message);
    if is_news {
        log::warn!("{message}; use https://, or set exchange = \"off\" in [encryption]");
    }
    publish(context, Some(message));
    Ok(asked_again)
}

/// What the owner requires cannot be had. Returns the message.
fn required(context: &Context, why: &str) -> String {
    let message = format!(
        "nothing is sent, since [encryption] exchange is \"required\" and no keys were exchanged with the server: \
         {why}"
    );
    publish(context, Some(message.clone()));
    message
}

fn publish(context: &Context, unencrypted: Option<String>) {
    context.status.update(|connection| connection.unencrypted = unencrypted);
}
