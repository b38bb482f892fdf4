//! Why shapes cannot be made, and what their clients are told.

use crate::replication::DatabaseError;
use crate::replication::publication::PublicationError;
use crate::replication::snapshot::SnapshotError;

/// Why a shape could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The question has no answer: Postgres refuses the filter at run time.
    #[error("{0}")]
    Refused(String),
    /// It may work later: said with the reason, and after how many seconds to come again.
    #[error("{reason}")]
    Unavailable {
        /// What is in the way.
        reason: String,
        /// Seconds.
        retry_after: u32,
    },
    /// The table changed meanwhile: ask again from the start.
    #[error("the shape ended before its snapshot was complete")]
    Ended,
    /// A bug or a broken disk.
    #[error("Unexpected error while creating snapshot: {0}")]
    Internal(String),
}

impl CreateError {
    pub(in crate::shapes) fn ended() -> CreateError {
        CreateError::Ended
    }

    pub(crate) fn busy() -> CreateError {
        let reason = "Failed to create shape, please retry".to_owned();
        CreateError::Unavailable { reason, retry_after: 1 }
    }

    pub(in crate::shapes) fn internal(error: impl std::fmt::Display) -> CreateError {
        CreateError::Internal(error.to_string())
    }
}

impl From<&DatabaseError> for CreateError {
    fn from(error: &DatabaseError) -> CreateError {
        let text = error.to_string();
        let later = |reason: String| CreateError::Unavailable { reason, retry_after: 10 };
        match error.code() {
            // The table, a column, or the name of a type is gone: what we know of them is out of date.
            Some("42P01" | "42703" | "42704" | "3F000") => CreateError::Ended,
            Some("42501") => later(format!("Unable to create initial snapshot: {text}")),
            // Division by zero, overflow and the like, in the filter.
            Some(code) if code.starts_with("22") => CreateError::Refused(text),
            Some(code) if code.starts_with("42") => CreateError::Internal(text),
            _ => later(text),
        }
    }
}

impl From<PublicationError> for CreateError {
    fn from(error: PublicationError) -> CreateError {
        match &error {
            PublicationError::Database(error) => error.into(),
            PublicationError::Gone(_) => CreateError::Ended,
            _ => CreateError::Unavailable { reason: error.to_string(), retry_after: 10 },
        }
    }
}

impl From<SnapshotError> for CreateError {
    fn from(error: SnapshotError) -> CreateError {
        match &error {
            SnapshotError::Database(error) => error.into(),
            _ => CreateError::internal(error),
        }
    }
}
