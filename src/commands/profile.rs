//! What the terminal says about itself: in `INFO` (§12.7.3) and in the options that it pushes (§9).

use crate::device::Device;
use crate::protocol::PUSH_VERSION;
use crate::protocol::codes::Language;
use crate::protocol::device::{Functions, VisibleLight, is_same_option};
use crate::protocol::options::ServerOptions;
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
    /// Further options, as the owner wrote them.
    pub options: Vec<(String, String)>,
}

/// The options that switch functions.
const SWITCHES: [&str; 6] =
    ["FingerFunOn", "FaceFunOn", "PhotoFunOn", "BioPhotoFun", "BioDataFun", "VisilightFun"];

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
        .into_iter()
        .chain(self.options.iter().cloned())
        .collect()
    }

    /// Every option once, with the value that holds: what the owner configured, `counted` or nothing,
    /// and what the server and drivers set.
    pub fn options(
        &self,
        store: &Store,
        language: Language,
        device: &dyn Device,
        counted: Vec<(String, String)>,
    ) -> Result<Vec<(String, String)>> {
        let mut all = self.known(language, device);
        all.extend(counted);
        for (name, value) in store.options().all()? {
            match all.iter_mut().find(|(own, _)| is_same_option(own, &name)) {
                Some((own, now)) if self.is_switch(own) && now == "1" => *now = value,
                // An earlier version kept what has no effect.
                Some(_) => {}
                None if ServerOptions::check(&name.to_ascii_lowercase(), &value).is_err() => {}
                None => all.push((name, value)),
            }
        }
        Ok(all)
    }

    /// Whether an option switches a function that the owner configured.
    pub(super) fn is_switch(&self, name: &str) -> bool {
        SWITCHES.contains(&name)
    }

    /// What the terminal can do at this moment: the server may have switched off functions.
    pub fn functions_now(&self, store: &Store) -> Result<Functions> {
        let all = store.options().all()?;
        let is_on =
            |switch| !all.iter().any(|(name, value)| is_same_option(name, switch) && value == "0");
        let Functions { fingerprint, face, user_photo, visible } = self.functions;
        let visible = visible.filter(|_| is_on("VisilightFun")).map(|light| VisibleLight {
            comparison_photo: light.comparison_photo && is_on("BioPhotoFun"),
            face_template: light.face_template && is_on("BioDataFun"),
        });
        Ok(Functions {
            fingerprint: fingerprint && is_on("FingerFunOn"),
            face: face && is_on("FaceFunOn"),
            user_photo: user_photo && is_on("PhotoFunOn"),
            visible,
        })
    }

    /// What is counted at this moment: names and values.
    pub fn counted(&self, store: &Store) -> Result<Vec<(String, String)>> {
        Ok(vec![
            ("UserCount".into(), store.people().count()?.to_string()),
            ("FPCount".into(), store.biometrics().count_fingerprints()?.to_string()),
            ("FaceCount".into(), store.biometrics().count_faces()?.to_string()),
            ("TransactionCount".into(), store.journal().count_punches()?.to_string()),
        ])
    }
}
