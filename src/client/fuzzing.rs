//! What `scripts/fuzz` calls of rooms that nobody else sees from outside (built only with `--cfg fuzzing`).

pub use crate::files::fuzzing::archive;
pub use crate::uplink::answers;
