//! `INFO` on polls (§10): what the terminal says of itself, on the first poll and when it changes.

use super::context::Context;
use crate::protocol::device::DeviceInfo;
use crate::protocol::tables::BioType;
use crate::store::{Seq, StoreError};

/// `INFO`, as the server knows it.
#[derive(Debug, Default)]
pub(super) struct PollInfo {
    known: Option<String>,
    /// Templates, which take long to count: fingerprints and faces, and the change after which they were.
    templates: Option<(Seq, u64, u64)>,
}

impl PollInfo {
    /// `INFO` for the next poll, if the server does not know it.
    pub(super) fn changed(&mut self, context: &Context) -> Result<Option<String>, StoreError> {
        let (device, store) = (&context.settings.profile, &context.store);
        let last = store.changes().last();
        let (fingerprints, faces) = match self.templates {
            Some((counted, fingerprints, faces)) if counted == last => (fingerprints, faces),
            _ => {
                (store.biometrics().count(BioType::FINGERPRINT)?, store.biometrics().count_faces()?)
            }
        };
        self.templates = Some((last, fingerprints, faces));
        let info = DeviceInfo {
            firmware: device.firmware.clone(),
            users: store.people().count()?,
            fingerprints,
            punches: store.journal().count_punches()?,
            address: context.device.address(),
            fp_version: device.fp_version,
            face_version: device.face_version,
            faces_needed: device.faces_needed,
            faces,
            functions: device.functions_now(store)?,
            ..DeviceInfo::default()
        };
        let info = context.settings.dialect.info(&info);
        Ok(info.filter(|info| self.known.as_ref() != Some(info)))
    }

    /// The server has been sent this.
    pub(super) fn sent(&mut self, info: String) {
        self.known = Some(info);
    }
}
