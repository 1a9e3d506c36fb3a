//! How the daemon ends by itself.

use crate::store::StoreError;

/// Why the daemon could not start or go on, by what is to be done about it.
#[derive(Debug)]
pub enum Stop {
    /// The configuration cannot work.
    Config(String),
    /// The store is damaged or foreign.
    Damaged(StoreError),
    /// The store cannot be opened or written.
    Store(StoreError),
    /// The system refuses something.
    System(String),
}
