//! `INFO` on polls (§10): what the terminal says of itself, on the first poll and when it changes.

use super::context::Context;
use crate::protocol::device::DeviceInfo;
use crate::store::StoreError;

/// `INFO`, as the server knows it.
#[derive(Debug, Default)]
pub(super) struct PollInfo {
    known: Option<String>,
}

impl PollInfo {
    /// `INFO` for the next poll, if the server does not know it.
    pub(super) fn changed(&self, context: &Context) -> Result<Option<String>, StoreError> {
        let (device, store) = (&context.settings.profile, &context.store);
        let info = DeviceInfo {
            firmware: device.firmware.clone(),
            users: store.people().count()?,
            fingerprints: store.biometrics().count_fingerprints()?,
            punches: store.journal().count_punches()?,
            address: context.device.address(),
            fp_version: device.fp_version,
            face_version: device.face_version,
            faces_needed: device.faces_needed,
            faces: store.biometrics().count_faces()?,
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
