//! SQLite's errors as faults.

use hookyard_core::{Fault, FaultKind};
use rusqlite::{Error, ErrorCode};

/// The fault that `error` is for whoever asked.
pub fn fault(operation: &'static str, error: Error) -> Fault {
    let kind = match &error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => FaultKind::Corrupt,
            // A disk that is full, gone or read-only may be mended, and nothing was taken that is not kept.
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory => FaultKind::Unavailable,
            _ => FaultKind::Refused,
        },
        Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) => {
            FaultKind::Corrupt
        }
        _ => FaultKind::Refused,
    };
    Fault::caused(kind, operation, error)
}

/// The store is closed: whatever was claimed from it is claimable again from the next.
pub fn closed(operation: &'static str) -> Fault {
    Fault::new(FaultKind::Unavailable, operation)
}
