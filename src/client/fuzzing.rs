//! What `scripts/fuzz` calls of rooms that nobody else sees from outside (built only with `--cfg fuzzing`).

#[cfg(feature = "exchange")]
pub use crate::exchange::fuzzing::sealed;
pub use crate::files::fuzzing::archive;
pub use crate::uplink::answers;
