//! `INFO` (§12.7.3): the answer lists what the terminal says about itself, and its options.

use super::context::Context;
use crate::device::Device;
use crate::protocol::text;
use crate::store::StoreError;

/// The lines that follow `CMD=INFO` in the answer, each with a line end before it.
pub(super) fn info(context: &Context<'_>, device: &dyn Device) -> Result<Vec<u8>, StoreError> {
    let profile = context.profile;
    let counted = profile.counted(context.store)?;
    let lines = profile.options(context.store, context.language, device, counted)?;
    let lines: String = lines.iter().map(|(key, value)| format!("\n{key}={value}")).collect();
    Ok(text::encode(&lines, context.language).into_owned())
}
