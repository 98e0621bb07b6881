//! Signing by Standard Webhooks 1.0: HMAC-SHA256 (`v1`) and ed25519 (`v1a`) over `id.timestamp.body`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::clock::{Entropy, Timestamp};

/// Shortest HMAC secret, in bytes (Standard Webhooks).
pub const SECRET_BYTES_LEAST: usize = 24;
/// Longest HMAC secret, in bytes (Standard Webhooks).
pub const SECRET_BYTES_MOST: usize = 64;

/// A signing secret. Its `Debug` output shows only its kind.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A shared secret, `whsec_…`.
    Hmac(Vec<u8>),
    /// The seed of an ed25519 key pair, `whsk_…`; the receiver gets `whpk_…`.
    Ed25519([u8; 32]),
}

/// A secret that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadSecret {
    /// Not base64.
    #[error("a secret is base64, optionally prefixed with whsec_ or whsk_")]
    NotBase64,
    /// Too short or too long.
    #[error("an HMAC secret has {SECRET_BYTES_LEAST} to {SECRET_BYTES_MOST} bytes")]
    Length,
    /// Not an ed25519 key.
    #[error("an ed25519 secret has 32 bytes, or 64 with its public half")]
    NotEd25519,
}

impl Secret {
    /// An HMAC secret of these bytes.
    pub fn hmac(bytes: Vec<u8>) -> Result<Self, BadSecret> {
        if (SECRET_BYTES_LEAST..=SECRET_BYTES_MOST).contains(&bytes.len()) {
            Ok(Self::Hmac(bytes))
        } else {
            Err(BadSecret::Length)
        }
    }

    /// A new HMAC secret of 24 random bytes.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = vec![0; SECRET_BYTES_LEAST];
        entropy.fill(&mut bytes);
        Self::Hmac(bytes)
    }

    /// A new ed25519 key pair.
    pub fn generate_ed25519(entropy: &dyn Entropy) -> Self {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        Self::Ed25519(seed)
    }

    /// Reads `whsec_…`, `whsk_…`, or bare base64 (an HMAC secret).
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let decode = |base64: &str| BASE64.decode(base64).map_err(|_| BadSecret::NotBase64);
        if let Some(key) = text.strip_prefix("whsk_") {
            let bytes = decode(key)?;
            let seed: [u8; 32] = bytes.get(..32).and_then(|seed| seed.try_into().ok()).ok_or(BadSecret::NotEd25519)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| BadSecret::NotEd25519)?;
            return if bytes.len() == 32 || bytes[32..] == *pair.public_key().as_ref() {
                Ok(Self::Ed25519(seed))
            } else {
                Err(BadSecret::NotEd25519)
            };
        }
        Self::hmac(decode(text.strip_prefix("whsec_").unwrap_or(text))?)
    }

    /// The text its owner keeps: `whsec_…` or `whsk_…`.
    pub fn reveal(&self) -> String {
        match self {
            Self::Hmac(bytes) => format!("whsec_{}", BASE64.encode(bytes)),
            Self::Ed25519(seed) => {
                let public = public_half(seed).unwrap_or_default();
                format!("whsk_{}", BASE64.encode([&seed[..], &public].concat()))
            }
        }
    }

    /// What the receiver verifies with: the same `whsec_…`, or the public `whpk_…`.
    pub fn for_receiver(&self) -> String {
        match self {
            Self::Hmac(_) => self.reveal(),
            Self::Ed25519(seed) => format!("whpk_{}", BASE64.encode(public_half(seed).unwrap_or_default())),
        }
    }

    fn sign(&self, parts: [&[u8]; 5]) -> String {
        match self {
            Self::Hmac(bytes) => {
                let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, bytes));
                for part in parts {
                    context.update(part);
                }
                format!("v1,{}", BASE64.encode(context.sign()))
            }
            Self::Ed25519(seed) => {
                let signature = Ed25519KeyPair::from_seed_unchecked(seed).map(|pair| pair.sign(&parts.concat()));
                signature.map(|signature| format!("v1a,{}", BASE64.encode(signature))).unwrap_or_default()
            }
        }
    }
}

fn public_half(seed: &[u8; 32]) -> Option<Vec<u8>> {
    Ed25519KeyPair::from_seed_unchecked(seed).ok().map(|pair| pair.public_key().as_ref().to_vec())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "Secret::Hmac(…)",
            Self::Ed25519(_) => "Secret::Ed25519(…)",
        })
    }
}

/// The value of `webhook-signature`: one signature per secret, space-separated.
pub fn sign<'a>(id: &str, at: Timestamp, body: &[u8], secrets: impl Iterator<Item = &'a Secret>) -> String {
    let seconds = at.as_seconds().to_string();
    let parts = [id.as_bytes(), b".", seconds.as_bytes(), b".", body];
    secrets.map(|secret| secret.sign(parts)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: Timestamp = Timestamp::from_millis(1_614_265_330_000);
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn the_published_vector_passes() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("valid");
        assert_eq!(sign(ID, AT, BODY, [&secret].into_iter()), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(secret.reveal(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    #[test]
    fn the_reference_library_agrees() {
        let secret = Secret::hmac(vec![9; 40]).expect("valid");
        let reference = standardwebhooks::Webhook::new(&secret.reveal()).expect("a key");
        assert_eq!(sign(ID, AT, BODY, [&secret].into_iter()), reference.sign(ID, AT.as_seconds(), BODY).expect("signed"));
    }

    #[test]
    fn ed25519_verifies_with_the_public_half() {
        let secret = Secret::Ed25519([7; 32]);
        let header = sign(ID, AT, BODY, [&secret].into_iter());
        let signature = BASE64.decode(header.strip_prefix("v1a,").expect("v1a")).expect("base64");
        let public = secret.for_receiver();
        let public = BASE64.decode(public.strip_prefix("whpk_").expect("whpk_")).expect("base64");
        let signed = [ID.as_bytes(), b".1614265330.", BODY].concat();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
        assert!(key.verify(&signed, &signature).is_ok());
        assert_eq!(Secret::parse(&secret.reveal()), Ok(secret));
    }

    #[test]
    fn bad_secrets_are_refused() {
        assert_eq!(Secret::parse("whsec_AAAA"), Err(BadSecret::Length));
        assert_eq!(Secret::parse("whsec_!!!"), Err(BadSecret::NotBase64));
        assert_eq!(Secret::parse("whsk_AAAA"), Err(BadSecret::NotEd25519));
        assert_eq!(Secret::hmac(vec![0; 65]), Err(BadSecret::Length));
    }

    #[test]
    fn two_live_secrets_make_two_signatures() {
        let (a, b) = (Secret::Hmac(vec![1; 24]), Secret::Hmac(vec![2; 24]));
        assert_eq!(sign(ID, AT, BODY, [&a, &b].into_iter()).split(' ').count(), 2);
    }
}
