//! The suite of [`hookyard_core::port::Revocations`].

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::Clock;
use hookyard_core::port::Revocations;

use super::suite;

suite! { $ each_promise_of_revocations: revocations on RevocationsBackend,
    a_revoked_token_is_told_until_it_expires,
}

/// A backend of revocations.
pub trait RevocationsBackend: Send + Sync {
    /// The revocations.
    fn revocations(&self) -> Arc<dyn Revocations>;

    /// Its time.
    fn clock(&self) -> Arc<dyn Clock>;
}

async fn a_revoked_token_is_told_until_it_expires(backend: &dyn RevocationsBackend) {
    let (revocations, now) = (backend.revocations(), backend.clock().now());
    let hour = Duration::from_secs(3600);
    let told = async |moment| {
        let mut told = revocations.revoked(moment).await.expect("answered");
        told.sort_unstable();
        told
    };
    assert!(told(now).await.is_empty());
    revocations.revoke("short", now.plus(hour)).await.expect("revoked");
    for _ in 0..2 {
        revocations.revoke("long", now.plus(hour * 3)).await.expect("revoked");
    }
    assert_eq!(told(now).await, ["long", "short"]);
    assert_eq!(told(now.plus(hour * 2)).await, ["long"]);
    assert!(told(now.plus(hour * 4)).await.is_empty());
}
