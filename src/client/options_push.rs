//! The device's options, pushed to a server that wants to know them (§9): at the start of a
//! session, and when one has changed.

use std::time::Duration;

use super::context::Context;
use super::session::Session;
use super::trouble::Trouble;
use crate::protocol::ack::Ack;
use crate::protocol::device::{options_push, select};
use crate::protocol::stream::Table;
use crate::protocol::text;
use crate::store::StoreError;

/// How long options that the server knows are not compared again.
const COMPARED_EVERY: Duration = Duration::from_secs(10);

/// The options, as the server knows them.
#[derive(Debug, Default)]
pub(super) struct OptionsPush {
    /// What the server took in this session.
    known: Option<String>,
    /// When to compare again, on the monotonic clock.
    compare_at: Duration,
}

impl OptionsPush {
    /// A session began: the server is to be told.
    pub(super) fn begin_session(&mut self) {
        self.known = None;
    }

    /// An option was set: compare now.
    pub(super) fn hurry(&mut self) {
        self.compare_at = Duration::ZERO;
    }

    /// The options, if the server wants them and does not know them. Without the counts: those
    /// change with every punch, go with the options, and are no reason to push.
    pub(super) fn changed(
        &mut self,
        context: &Context,
        session: &Session,
    ) -> Result<Option<String>, StoreError> {
        let now = context.clock.monotonic();
        if self.known.is_some() && now < self.compare_at {
            return Ok(None);
        }
        if !session.options.wants_options() {
            return Ok(None);
        }
        let without_counts = body(context, session, Vec::new())?;
        let body = if without_counts.is_empty() {
            // Nothing is pushed if the terminal knows none of the options that the server wants.
            let counts = context.settings.profile.counted(&context.store)?;
            match body(context, session, counts)? {
                all if all.is_empty() => return Ok(None),
                _ => without_counts,
            }
        } else {
            without_counts
        };
        if self.known.as_ref() == Some(&body) {
            // The address may change by itself; for what is set `hurry` is called.
            self.compare_at = now + COMPARED_EVERY;
            return Ok(None);
        }
        Ok(Some(body))
    }

    pub(super) fn push(&mut self, context: &mut Context, session: &Session) -> Result<(), Trouble> {
        let Some(changed) = self.changed(context, session)? else { return Ok(()) };
        let counts = context.settings.profile.counted(&context.store)?;
        let body = body(context, session, counts)?;
        let body = text::encode(&body, context.settings.language).into_owned();
        let stamp = context.store.outbox().acknowledged(Table::Operlog)?;
        let (name, stamp) = context.settings.dialect.stamp(Table::Operlog, stamp);
        let target = context.target("/iclock/cdata").with("table", "options").with(name, stamp);
        match context.post(&target, &body)? {
            Ack::Taken(_) => {
                self.known = Some(changed);
                Ok(())
            }
            not_taken => Err(Trouble::Refused(not_taken.message())),
        }
    }
}

/// The options that the server asked for, or all of them, as the body of a push; with `counts`
/// among them.
fn body(
    context: &Context,
    session: &Session,
    counts: Vec<(String, String)>,
) -> Result<String, StoreError> {
    let settings = &context.settings;
    let (store, device) = (&context.store, &*context.device);
    let known = settings.profile.options(store, settings.language, device, counts)?;
    let wanted = &session.options.push_options;
    Ok(match wanted.is_empty() {
        true => options_push(&known),
        false => options_push(&select(wanted, &known)),
    })
}
