//! Sealing secrets at rest: XChaCha20-Poly1305 with a named key, so that keys can be rotated.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use ring::digest;

use crate::clock::Entropy;

const NONCE_BYTES: usize = 24;
/// What is sealed to know the key again.
const CHECK: &[u8] = b"hookyard";

/// The keys of an installation: the first seals, all of them open.
#[derive(Clone)]
pub struct SealingKeys(Vec<(String, XChaCha20Poly1305)>);

/// Why keys cannot be read or a value cannot be opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// The keys' text.
    #[error("a sealing key is 32 bytes in base64; several are separated by commas, the first one seals")]
    BadKey,
    /// The value is not in our form.
    #[error("not a sealed value")]
    BadForm,
    /// None of the keys has this name.
    #[error("sealed with key {0}, which is not among the configured ones")]
    UnknownKey(String),
    /// The key is right and the value was changed.
    #[error("a sealed value was changed")]
    Changed,
}

impl SealingKeys {
    /// Reads keys in base64, separated by commas.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let keys = text.split(',').map(|key| {
            let bytes = BASE64.decode(key.trim()).map_err(|_| SealError::BadKey)?;
            let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SealError::BadKey)?;
            let name = STANDARD_NO_PAD.encode(&digest::digest(&digest::SHA256, &bytes).as_ref()[..6]);
            Ok((name, cipher))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// A new key, as text for the configuration.
    pub fn generate(entropy: &dyn Entropy) -> String {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        BASE64.encode(bytes)
    }

    /// What a store keeps at the place named `context`, so that a lost key is noticed at the start and not in a signature.
    pub fn seal_check(&self, context: &[u8], entropy: &dyn Entropy) -> Result<String, SealError> {
        self.seal(CHECK, context, entropy)
    }

    /// Whether these keys open what [`SealingKeys::seal_check`] sealed.
    pub fn check(&self, sealed: &str, context: &[u8]) -> Result<(), SealError> {
        self.open(sealed, context).map(drop)
    }

    /// Seals `plain` for the place named `context`; it opens nowhere else. `<key name>:<base64 of nonce and ciphertext>`.
    pub fn seal(&self, plain: &[u8], context: &[u8], entropy: &dyn Entropy) -> Result<String, SealError> {
        let (name, cipher) = self.0.first().ok_or(SealError::BadKey)?;
        let mut sealed = vec![0; NONCE_BYTES];
        entropy.fill(&mut sealed);
        let payload = Payload { msg: plain, aad: context };
        let ciphertext = cipher.encrypt(XNonce::from_slice(&sealed), payload).map_err(|_| SealError::BadForm)?;
        sealed.extend(ciphertext);
        Ok(format!("{name}:{}", BASE64.encode(sealed)))
    }

    /// Opens what [`SealingKeys::seal`] sealed for the same place.
    pub fn open(&self, sealed: &str, context: &[u8]) -> Result<Vec<u8>, SealError> {
        let (name, text) = sealed.split_once(':').ok_or(SealError::BadForm)?;
        let (_, cipher) = self.0.iter().find(|(known, _)| known == name).ok_or_else(|| SealError::UnknownKey(name.into()))?;
        let bytes = BASE64.decode(text).map_err(|_| SealError::BadForm)?;
        let (nonce, msg) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::BadForm)?;
        cipher.decrypt(XNonce::from_slice(nonce), Payload { msg, aad: context }).map_err(|_| SealError::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            for (byte, value) in buffer.iter_mut().zip(0_u8..) {
                *byte = value;
            }
        }
    }

    fn key(byte: u8) -> String {
        BASE64.encode([byte; 32])
    }

    #[test]
    fn opens_only_in_its_place_and_unchanged() {
        let keys = SealingKeys::parse(&key(1)).expect("keys");
        let sealed = keys.seal(b"secret", b"here", &Counting).expect("sealed");
        assert_eq!(keys.open(&sealed, b"here"), Ok(b"secret".to_vec()));
        assert_eq!(keys.open(&sealed, b"there"), Err(SealError::Changed));
        assert_eq!(keys.open("nonsense", b"here"), Err(SealError::BadForm));
        assert!(!sealed.contains("secret"));
    }

    #[test]
    fn rotation_keeps_the_old_key_for_opening() {
        let old = SealingKeys::parse(&key(1)).expect("keys").seal(b"x", b"", &Counting).expect("sealed");
        let both = SealingKeys::parse(&format!("{},{}", key(2), key(1))).expect("keys");
        assert_eq!(both.open(&old, b""), Ok(b"x".to_vec()));
        let new = SealingKeys::parse(&key(2)).expect("keys");
        assert!(matches!(new.open(&old, b""), Err(SealError::UnknownKey(_))));
        assert!(matches!(SealingKeys::parse("short"), Err(SealError::BadKey)));
    }
}
