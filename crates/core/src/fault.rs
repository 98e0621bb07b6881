//! What our own infrastructure did to us. What a receiver did is an [`crate::AttemptResult`]; the two never mix.

use std::any::Any;
use std::error::Error;
use std::fmt;

/// What a service does about a fault; nothing else about it matters to the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The backend cannot be reached or is overloaded: pause and try again; nothing is lost.
    Unavailable,
    /// Somebody else changed the same thing first: try again at once, or tell the caller.
    Contended,
    /// What was read makes no sense: quarantine it with its reason.
    Corrupt,
    /// The store is not the one this installation was using (emptied or exchanged): stop claiming and accepting, alarm.
    WrongDataset,
    /// The backend refuses something it should accept: a bug or a misconfiguration.
    Refused,
}

/// A fault of ours. It never consumes an attempt.
#[derive(Debug)]
pub struct Fault {
    /// What to do about it.
    pub kind: FaultKind,
    /// Which step failed, a fixed lowercase phrase.
    pub operation: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault without an underlying error.
    pub fn new(kind: FaultKind, operation: &'static str) -> Self {
        Self { kind, operation, source: None }
    }

    /// A fault caused by `source`.
    pub fn caused(kind: FaultKind, operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, operation, source: Some(source.into()) }
    }

    /// The backend is away.
    pub fn unavailable(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused(FaultKind::Unavailable, operation, source)
    }

    /// What was read makes no sense.
    pub fn corrupt(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused(FaultKind::Corrupt, operation, source)
    }

    /// The whole chain on one line, for the place that handles it.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::Unavailable => "unavailable",
            FaultKind::Contended => "contended",
            FaultKind::Corrupt => "corrupt",
            FaultKind::WrongDataset => "wrong dataset",
            FaultKind::Refused => "refused",
        };
        write!(f, "{}: {what}", self.operation)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What a panic said, as [`std::panic::catch_unwind`] hands it over.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
