//! Commands about files (§12.8), the online upgrade (§12.11.2) and `SHELL` (§12.11.1): the
//! parameters in their text.

mod line;
mod put;
mod upgrade;

pub use line::{get_file, shell};
pub use put::{Action, PutFile, SyncTable};
pub use upgrade::Upgrade;
