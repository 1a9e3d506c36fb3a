//! What the terminal says of itself: options, pushed (§9), and `INFO` on polls (§10).

use super::{Client, Trouble};
use crate::protocol::ack::{self, Ack};
use crate::protocol::device::{DeviceInfo, options_push, select};
use crate::protocol::stream::Table;
use crate::protocol::tables::BioType;
use crate::protocol::text;
use crate::store::{Result, StoreError};
use crate::uplink::Uplink;

impl<U: Uplink> Client<U> {
    /// The options that the server is to be told now: at the start of a session, and when one
    /// has changed. `None` if there is nothing to tell, or the server does not want to know.
    pub(super) fn options_to_push(&self) -> Result<Option<String>> {
        let asked = &self.options.push_options;
        let wants = self.options.others.get("pushoptionsflag").is_some_and(|flag| flag == "1");
        if !wants && asked.is_empty() {
            return Ok(None);
        }
        let mut known = self.settings.device.known(self.settings.language, &*self.terminal);
        known.extend(self.store.options()?);
        // Counts change with every punch: they go when they are asked for, and are no news.
        let body = if asked.is_empty() {
            options_push(&known)
        } else {
            options_push(&select(asked, &known))
        };
        Ok((self.pushed.as_ref() != Some(&body)).then_some(body))
    }

    pub(super) fn push_options(&mut self) -> std::result::Result<(), Trouble> {
        let Some(news) = self.options_to_push()? else { return Ok(()) };
        let mut known = self.settings.device.known(self.settings.language, &*self.terminal);
        known.extend(self.store.options()?);
        known.extend(self.settings.device.counted(&self.store)?);
        let asked = &self.options.push_options;
        let body = if asked.is_empty() {
            options_push(&known)
        } else {
            options_push(&select(asked, &known))
        };
        let body = text::encode(&body, self.settings.language).into_owned();
        let stamp = self.store.acknowledged(Table::Operlog)?;
        let (name, stamp) = self.settings.dialect.stamp(Table::Operlog, stamp);
        let target = self.target("/iclock/cdata").with("table", "options").with(name, stamp);
        let mut response = self.post(&target, &body)?;
        let answer = response.read_up_to(ack::ANSWER_BYTES)?;
        match ack::read(response.status, &answer) {
            Ack::Taken(_) => {
                self.pushed = Some(news);
                Ok(())
            }
            Ack::Refused(words) => Err(Trouble::Refused(words)),
        }
    }

    /// `INFO` for the next poll: on the first of a session, and when a value has changed.
    pub(super) fn news(&self) -> std::result::Result<Option<String>, StoreError> {
        let device = &self.settings.device;
        let info = DeviceInfo {
            firmware: device.firmware.clone(),
            users: self.store.users()?,
            fingerprints: self.store.templates(BioType::FINGERPRINT)?,
            punches: self.store.punches()?,
            address: self.terminal.address(),
            fp_version: device.fp_version,
            face_version: device.face_version,
            faces_needed: device.faces_needed,
            faces: self.store.templates(BioType::FACE)?,
            functions: device.functions,
            ..DeviceInfo::default()
        };
        let info = self.settings.dialect.info(&info);
        Ok(info.filter(|info| self.informed.as_ref() != Some(info)))
    }
}
