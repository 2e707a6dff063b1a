//! What SQLite's errors mean to a store.

use rusqlite::ErrorCode;

use crate::contract::StoreError;

/// Reads an error that left nothing half done.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        _ => StoreError::Failed(Box::new(error)),
    }
}

/// A number of ours as SQLite holds it. Positions and sizes stay below 2^63; what a caller made up beyond that
/// matches nothing.
pub(crate) fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
