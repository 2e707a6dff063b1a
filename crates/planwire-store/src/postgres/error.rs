//! What PostgreSQL's errors mean to a store. Their texts stay in the source, for logs.

use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

use crate::contract::StoreError;

/// The state that our own function `planwire_refuse` raises.
const REFUSED: &str = "PW001";

/// Whether the connection went with the error: then the server may have done what it was asked, or may yet do it.
pub(crate) fn is_lost(error: &Error) -> bool {
    error.as_db_error().is_none_or(|told| {
        let severity = told.parsed_severity();
        severity.is_none_or(|severity| matches!(severity, Severity::Fatal | Severity::Panic))
    })
}

/// Whether a row was refused by a constraint or by [`REFUSED`].
pub(crate) fn is_conflict(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("23") || code.code() == REFUSED)
}

/// Reads an error after which nothing is half done.
pub(crate) fn store_error(error: Error) -> StoreError {
    match error.code() {
        Some(&SqlState::DISK_FULL) => StoreError::Full,
        Some(
            &SqlState::LOCK_NOT_AVAILABLE
            | &SqlState::QUERY_CANCELED
            | &SqlState::T_R_SERIALIZATION_FAILURE
            | &SqlState::T_R_DEADLOCK_DETECTED,
        ) => StoreError::Busy,
        _ if is_lost(&error) => StoreError::Unreachable(Box::new(error)),
        _ => StoreError::Failed(Box::new(error)),
    }
}

/// A number of ours as PostgreSQL holds it. Positions and sizes stay below 2^63; what a caller made up beyond that
/// matches nothing.
pub(crate) fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
