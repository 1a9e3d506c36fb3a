//! What the terminal says about itself: in `INFO` (§12.7.3) and in the options that it pushes (§9).

use crate::device::Device;
use crate::protocol::PUSH_VERSION;
use crate::protocol::codes::Language;
use crate::protocol::device::Functions;
use crate::protocol::tables::BioType;
use crate::store::{Result, Store};

/// What the owner configured about the device.
#[derive(Clone, Debug)]
pub struct DeviceProfile {
    /// Serial number.
    pub serial: String,
    /// Name of the model.
    pub name: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Most users it holds.
    pub most_users: u64,
    /// Version of the fingerprint algorithm, 0 for none.
    pub fp_version: u16,
    /// Version of the face algorithm, 0 for none.
    pub face_version: u16,
    /// How many faces an enrolment takes.
    pub faces_needed: u64,
    /// What it can do.
    pub functions: Functions,
}

impl DeviceProfile {
    /// What does not change by itself (§9): names and values.
    pub fn known(&self, language: Language, device: &dyn Device) -> Vec<(String, String)> {
        let Functions { fingerprint, face, user_photo, visible } = self.functions;
        let on = |is_on: bool| u8::from(is_on).to_string();
        let visible = visible.unwrap_or_default();
        [
            ("~SerialNumber", self.serial.clone()),
            ("~DeviceName", self.name.clone()),
            ("FWVersion", self.firmware.clone()),
            ("PushVersion", PUSH_VERSION.to_string()),
            ("Language", language.0.to_string()),
            ("IPAddress", device.address().to_string()),
            ("~MaxUserCount", self.most_users.to_string()),
            ("FingerFunOn", on(fingerprint)),
            ("FPVersion", self.fp_version.to_string()),
            ("FaceFunOn", on(face)),
            ("FaceVersion", self.face_version.to_string()),
            ("PhotoFunOn", on(user_photo)),
            ("BioPhotoFun", on(visible.comparison_photo)),
            ("BioDataFun", on(visible.face_template)),
            ("VisilightFun", on(self.functions.visible.is_some())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// What is counted at this moment: names and values.
    pub fn counted(&self, store: &Store) -> Result<Vec<(String, String)>> {
        Ok(vec![
            ("UserCount".into(), store.people().count()?.to_string()),
            ("FPCount".into(), store.biometrics().count(BioType::FINGERPRINT)?.to_string()),
            ("FaceCount".into(), store.biometrics().count(BioType::FACE)?.to_string()),
            ("TransactionCount".into(), store.journal().count_punches()?.to_string()),
        ])
    }
}
