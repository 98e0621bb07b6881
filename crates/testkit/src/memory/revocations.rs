//! Revoked tokens in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hookyard_core::port::Revocations;
use hookyard_core::{Fault, Timestamp};

/// Revoked tokens, each with its end.
#[derive(Default)]
pub struct MemoryRevocations(Mutex<BTreeMap<String, Timestamp>>);

#[async_trait]
impl Revocations for MemoryRevocations {
    async fn revoke(&self, token: &str, until: Timestamp) -> Result<(), Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), until);
        Ok(())
    }

    async fn revoked(&self, now: Timestamp) -> Result<Vec<String>, Fault> {
        let revoked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(revoked.iter().filter(|(_, until)| **until > now).map(|(token, _)| token.clone()).collect())
    }
}
