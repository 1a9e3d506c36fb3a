//! What the terminal says of itself: options, pushed (§9), and `INFO` on polls (§10).

use std::time::Duration;

use super::{Client, Trouble};
use crate::protocol::ack::Ack;
use crate::protocol::device::{DeviceInfo, options_push, select};
use crate::protocol::stream::Table;
use crate::protocol::tables::BioType;
use crate::protocol::text;
use crate::store::{Result, StoreError};
use crate::uplink::Uplink;

/// How long options that the server knows are not looked at again.
const LOOKED_AT_AFTER: Duration = Duration::from_secs(10);

impl<U: Uplink> Client<U> {
    /// Whether the server is to be told the options now: at the start of a session, and when
    /// one has changed, if it wants to know them. Then what they are, without the counts:
    /// those change with every punch, go when they are asked for, and are no news.
    pub(super) fn options_to_push(&mut self) -> Result<Option<String>> {
        let now = self.clock.monotonic();
        if self.pushed.is_some() && now < self.look_at_options {
            return Ok(None);
        }
        let wants = self.options.others.get("pushoptionsflag").is_some_and(|flag| flag == "1");
        if !wants && self.options.push_options.is_empty() {
            return Ok(None);
        }
        let body = self.known_options(Vec::new())?;
        if self.pushed.as_ref() == Some(&body) {
            // The address may change by itself; what is set is looked at once it was.
            self.look_at_options = now + LOOKED_AT_AFTER;
            return Ok(None);
        }
        Ok(Some(body))
    }

    /// The options that the server asked for, or all of them, as the body of a push; with
    /// `counts` among them.
    fn known_options(&self, counts: Vec<(String, String)>) -> Result<String> {
        let mut known = self.settings.profile.known(self.settings.language, &*self.device);
        known.extend(self.store.options().all()?);
        known.extend(counts);
        let asked = &self.options.push_options;
        Ok(if asked.is_empty() {
            options_push(&known)
        } else {
            options_push(&select(asked, &known))
        })
    }

    pub(super) fn push_options(&mut self) -> std::result::Result<(), Trouble> {
        let Some(news) = self.options_to_push()? else { return Ok(()) };
        let body = self.known_options(self.settings.profile.counted(&self.store)?)?;
        let body = text::encode(&body, self.settings.language).into_owned();
        let stamp = self.store.outbox().acknowledged(Table::Operlog)?;
        let (name, stamp) = self.settings.dialect.stamp(Table::Operlog, stamp);
        let target = self.target("/iclock/cdata").with("table", "options").with(name, stamp);
        match self.post(&target, &body)?.1 {
            Ack::Taken(_) => {
                self.pushed = Some(news);
                Ok(())
            }
            Ack::Refused(message) => Err(Trouble::Refused(message)),
        }
    }

    /// `INFO` for the next poll: on the first of a session, and when a value has changed.
    pub(super) fn news(&self) -> std::result::Result<Option<String>, StoreError> {
        let device = &self.settings.profile;
        let info = DeviceInfo {
            firmware: device.firmware.clone(),
            users: self.store.people().count()?,
            fingerprints: self.store.biometrics().count(BioType::FINGERPRINT)?,
            punches: self.store.journal().count_punches()?,
            address: self.device.address(),
            fp_version: device.fp_version,
            face_version: device.face_version,
            faces_needed: device.faces_needed,
            faces: self.store.biometrics().count(BioType::FACE)?,
            functions: device.functions,
            ..DeviceInfo::default()
        };
        let info = self.settings.dialect.info(&info);
        Ok(info.filter(|info| self.informed.as_ref() != Some(info)))
    }
}
