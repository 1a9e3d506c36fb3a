//! `INFO` (§12.7.3): what the terminal knows of itself.

use super::Executor;
use crate::protocol::PUSH_VERSION;
use crate::store::Result;

/// What the owner says of the device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Serial number.
    pub serial: String,
    /// Name of the model.
    pub name: String,
    /// Version of the firmware.
    pub firmware: String,
    /// Most users it holds.
    pub most_users: u64,
}

impl Executor<'_> {
    /// The lines that follow `CMD=INFO`, each with a line end before it.
    pub(super) fn info(&self) -> Result<Vec<u8>> {
        let Device { serial, name, firmware, most_users } = self.device;
        let mut lines = vec![
            ("~SerialNumber".to_owned(), serial.clone()),
            ("~DeviceName".into(), name.clone()),
            ("FWVersion".into(), firmware.clone()),
            ("PushVersion".into(), PUSH_VERSION.to_string()),
            ("Language".into(), self.language.0.to_string()),
            ("IPAddress".into(), self.terminal.address().to_string()),
            ("UserCount".into(), self.store.users()?.to_string()),
            ("~MaxUserCount".into(), most_users.to_string()),
            ("TransactionCount".into(), self.store.punches()?.to_string()),
        ];
        lines.extend(self.store.options()?);
        let text: String = lines.iter().map(|(key, value)| format!("\n{key}={value}")).collect();
        Ok(crate::protocol::text::encode(&text, self.language).into_owned())
    }
}
