//! Why a method has no result.

use crate::protocol::fields::Refusal;
use crate::protocol::record::Invalid;
use crate::rpc::{ErrorCode, RpcError};
use crate::store::StoreError;

/// Why a method has no result.
#[derive(Debug)]
pub(super) enum MethodError {
    /// The call is wrong, or cannot be carried out now. Nothing was written.
    Refused(RpcError),
    /// The store failed: the transaction of the call is void.
    Store(StoreError),
}

impl MethodError {
    /// What the driver is told.
    pub(super) fn into_rpc(self) -> RpcError {
        match self {
            Self::Refused(error) => error,
            Self::Store(error) => {
                RpcError::new(ErrorCode::Capacity, format!("not recorded: {error}"))
            }
        }
    }
}

impl From<RpcError> for MethodError {
    fn from(error: RpcError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for MethodError {
    fn from(error: StoreError) -> Self {
        match error {
            // Nothing was written, and the store works.
            StoreError::TooManyUsers { .. } | StoreError::PartFull(_) => {
                Self::Refused(RpcError::new(ErrorCode::Capacity, error.to_string()))
            }
            _ => Self::Store(error),
        }
    }
}

impl From<Invalid> for MethodError {
    fn from(Invalid { field, why }: Invalid) -> Self {
        Self::Refused(RpcError::param(field, why))
    }
}

impl From<Refusal> for MethodError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(RpcError::about(refusal.field, refusal.why))
    }
}
