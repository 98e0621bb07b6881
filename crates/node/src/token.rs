//! Tokens: JWT (RFC 7519) with HS256.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use hookyard_admin::Tokens;
use hookyard_core::grant::{Grant, Scope};
use hookyard_core::port::Revocations;
use hookyard_core::{Clock, Entropy, Fault, FaultKind, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    scope: String,
    iat: i64,
    exp: i64,
    jti: String,
}

const ISSUER: &str = "hookyard";
/// Clocks of two machines may differ by this much.
const LEEWAY_S: i64 = 60;
/// How soon every process knows of a logout at another.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// Verifies tokens.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    /// Tokens that are good no longer, as last read.
    revoked: RwLock<HashSet<String>>,
}

/// Makes a token of this scope, good for `lifetime`.
pub fn create(
    secret: &str,
    scope: &Scope,
    lifetime: Duration,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> anyhow::Result<String> {
    let now = clock.now().as_seconds();
    let mut id = [0; 16];
    entropy.fill(&mut id);
    let claims = Claims {
        iss: ISSUER.to_owned(),
        scope: scope.to_string(),
        iat: now,
        exp: now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)),
        jti: id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).context("cannot sign a token")
}

/// Signs tokens.
pub struct Issuer {
    /// What they are signed with.
    pub secret: String,
    /// Where people reach this installation.
    pub public_url: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for their ids.
    pub entropy: Arc<dyn Entropy>,
}

impl Tokens for Issuer {
    fn issue(&self, scope: &Scope, lifetime: Duration) -> Result<String, Fault> {
        create(&self.secret, scope, lifetime, &*self.clock, &*self.entropy)
            .map_err(|error| Fault::caused(FaultKind::Refused, "sign a token", error.to_string()))
    }

    fn public_url(&self) -> &str {
        &self.public_url
    }
}

impl Verifier {
    /// For tokens signed with `secret`.
    pub fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        // Judged below, by the clock of the seams.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self { key: DecodingKey::from_secret(secret.as_bytes()), validation, revoked: RwLock::default() }
    }

    /// What the holder may do; `None` if the token is not ours, or no longer good.
    pub fn verify(&self, token: &str, clock: &dyn Clock) -> Option<Grant> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).ok()?.claims;
        let now = clock.now().as_seconds();
        let good = claims.exp.saturating_add(LEEWAY_S) > now && claims.iat.saturating_sub(LEEWAY_S) <= now;
        if !good || self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains(&claims.jti) {
            return None;
        }
        let expires_at = Timestamp::from_millis(claims.exp.saturating_add(LEEWAY_S).saturating_mul(1000));
        Some(Grant { scope: claims.scope.parse().ok()?, token: claims.jti, expires_at })
    }

    /// From now on these tokens are good no longer, and no others.
    pub fn revoke(&self, tokens: Vec<String>) {
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = tokens.into_iter().collect();
    }

    /// Keeps the revoked tokens as the store has them, until `stop`. While it does not answer, those last read count.
    pub async fn follow(self: Arc<Self>, revocations: Arc<dyn Revocations>, clock: Arc<dyn Clock>, stop: CancellationToken) {
        loop {
            match revocations.revoked(clock.now()).await {
                Ok(tokens) => self.revoke(tokens),
                Err(fault) => tracing::debug!(error = fault.chain(), "revoked tokens cannot be read"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::SystemEntropy;

    struct At(i64);
    #[async_trait::async_trait]
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0 * 1000)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        async fn sleep(&self, _: Duration) {}
    }

    #[test]
    fn a_token_is_good_for_its_secret_and_its_time() {
        let secret = "x".repeat(32);
        let make = |scope: &Scope| create(&secret, scope, Duration::from_secs(100), &At(1000), &SystemEntropy::default());
        let token = make(&Scope::Admin).expect("a token");
        let verifier = Verifier::new(&secret);
        let grant = verifier.verify(&token, &At(1000)).expect("good");
        assert_eq!((&grant.scope, grant.expires_at), (&Scope::Admin, Timestamp::from_millis(1_160_000)));
        assert_eq!(verifier.verify(&token, &At(1150)), Some(grant.clone()));
        assert_eq!(verifier.verify(&token, &At(1161)), None);
        assert_eq!(verifier.verify(&token, &At(900)), None);
        assert_eq!(Verifier::new(&"y".repeat(32)).verify(&token, &At(1000)), None);
        assert_eq!(verifier.verify(&token[..token.len() - 2], &At(1000)), None);
        verifier.revoke(vec!["another".to_owned(), grant.token]);
        assert_eq!(verifier.verify(&token, &At(1000)), None, "revoked");
        verifier.revoke(Vec::new());
        assert!(verifier.verify(&token, &At(1000)).is_some());
        // alg none: header {"alg":"none","typ":"JWT"}.
        let body = token.split('.').nth(1).expect("three parts");
        assert_eq!(verifier.verify(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."), &At(1000)), None);
    }
}
