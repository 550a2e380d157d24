//! Sealing: how the secret of a new access key is stored until the vendor has it.
//!
//! Each secret is encrypted with AES-256-GCM under a key of its own, which is derived with HKDF-SHA256 from the seal
//! key, a fresh random salt and the rotation id. The resulting box is bound to its rotation and its access key, so a
//! box that is moved to another rotation does not open there.
//!
//! **Invariant:** only ciphertext reaches the database, and every copy of a key or plaintext that is made here is
//! zeroized.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::{constant_time, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use crate::core::ids::{AccessKeyId, RotationId};
use crate::core::secret::Secret;

const KEY_LEN: usize = 32;
pub(super) const SALT_LEN: usize = 32;
/// The first byte of a box. Another sealing format can be introduced later under another number.
const BOX_FORMAT: u8 = 1;
const HEADER_LEN: usize = 1 + SALT_LEN + NONCE_LEN;
/// The HKDF labels of the check values. They differ, so that a journal with a sealed head cannot be passed off as one
/// from before: without the key, nobody can compute the other value.
const OPEN_CHECK: &[u8] = b"keyround seal key check 1";
const SEALED_CHECK: &[u8] = b"keyround seal key check 2";

/// Whether the head of a journal's history is sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeadIs {
    /// The journal is from a version that sealed secrets only.
    Open,
    /// The journal is from a version that also seals the head of the history.
    Sealed,
}

/// The key that seals a journal's secrets and the head of its history: 32 random bytes.
pub struct SealKey(Zeroizing<[u8; KEY_LEN]>);

/// Why a text is not a seal key. The message repeats nothing of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadSealKey {
    /// The text is not base64.
    #[error(
        "the seal key is not base64 text; 32 random bytes are expected, such as `openssl rand -base64 32` gives"
    )]
    NotBase64,
    /// The text decodes to this many bytes instead of 32.
    #[error("the seal key has {0} bytes instead of 32; `openssl rand -base64 32` gives a good one")]
    WrongLength(usize),
}

/// The box cannot be opened: it was made with another key or for another rotation, or it is damaged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct DoesNotOpen;

impl SealKey {
    /// Reads a key from its base64 text; surrounding whitespace is ignored.
    ///
    /// # Errors
    ///
    /// The text is not the base64 encoding of 32 bytes.
    pub fn from_base64(text: &Secret) -> Result<SealKey, BadSealKey> {
        let bytes = STANDARD.decode(text.expose().trim()).map_err(|_| BadSealKey::NotBase64)?;
        let bytes = Zeroizing::new(bytes);
        let mut key = Zeroizing::new([0; KEY_LEN]);
        if bytes.len() != KEY_LEN {
            return Err(BadSealKey::WrongLength(bytes.len()));
        }
        key.copy_from_slice(&bytes);
        Ok(SealKey(key))
    }

    /// A new key from the operating system's random number generator.
    #[must_use]
    pub fn random() -> SealKey {
        SealKey(Zeroizing::new(random_bytes()))
    }

    /// The key as base64 text, for the file that stores it.
    pub(super) fn to_base64(&self) -> Secret {
        Secret::new(STANDARD.encode(self.0.as_slice()))
    }

    /// The check value of this key in a journal with a sealed head. It identifies the key and reveals nothing of it.
    pub(super) fn check_value(&self, salt: &[u8]) -> [u8; KEY_LEN] {
        *self.derive(salt, &[SEALED_CHECK])
    }

    /// The check value that journals had before their head was sealed.
    #[cfg(test)]
    pub(super) fn open_check_value(&self, salt: &[u8]) -> [u8; KEY_LEN] {
        *self.derive(salt, &[OPEN_CHECK])
    }

    /// Whether `check_value` was made with this key, in a journal of that kind.
    pub(super) fn matches(&self, kind: HeadIs, salt: &[u8], check_value: &[u8]) -> bool {
        let label = match kind {
            HeadIs::Sealed => SEALED_CHECK,
            HeadIs::Open => OPEN_CHECK,
        };
        constant_time::verify_slices_are_equal(self.derive(salt, &[label]).as_slice(), check_value).is_ok()
    }

    /// The code over the end of a history that has `events` events and whose last hash is `hash`.
    pub(super) fn head_code(&self, salt: &[u8], events: u64, hash: &[u8]) -> [u8; KEY_LEN] {
        let tag = hmac::sign(&self.head_key(salt), &head_message(events, hash));
        let mut code = [0; KEY_LEN];
        code.copy_from_slice(tag.as_ref());
        code
    }

    /// Whether `code` was made with this key for that end of a history.
    pub(super) fn is_head_code(&self, salt: &[u8], events: u64, hash: &[u8], code: &[u8]) -> bool {
        hmac::verify(&self.head_key(salt), &head_message(events, hash), code).is_ok()
    }

    fn head_key(&self, salt: &[u8]) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, self.derive(salt, &[b"keyround history head 1"]).as_slice())
    }

    /// Seals the secret of the access key `key`, which was created in `rotation`.
    pub(super) fn seal(&self, rotation: RotationId, key: &AccessKeyId, secret: &Secret) -> Vec<u8> {
        let (salt, nonce): ([u8; SALT_LEN], [u8; NONCE_LEN]) = (random_bytes(), random_bytes());
        // Capacity for the tag too: a reallocation would leave a copy of the plaintext in memory.
        let mut body = Vec::with_capacity(secret.expose().len() + AES_256_GCM.tag_len());
        body.extend_from_slice(secret.expose().as_bytes());
        self.box_key(&salt, rotation)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(binding(rotation, key)),
                &mut body,
            )
            .expect("a secret of some bytes is within what AES-GCM can seal");
        [&[BOX_FORMAT], salt.as_slice(), nonce.as_slice(), body.as_slice()].concat()
    }

    /// Opens a box that [`SealKey::seal`] made for the same rotation and access key.
    pub(super) fn open(
        &self,
        rotation: RotationId,
        key: &AccessKeyId,
        sealed: &[u8],
    ) -> Result<Secret, DoesNotOpen> {
        let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or(DoesNotOpen)?;
        let (salt, nonce) = header[1..].split_at(SALT_LEN);
        if header[0] != BOX_FORMAT {
            return Err(DoesNotOpen);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self
            .box_key(salt, rotation)
            .open_in_place(nonce, Aad::from(binding(rotation, key)), &mut body)
            .map_err(|_| DoesNotOpen)?;
        String::from_utf8(plain.to_vec()).map(Secret::new).map_err(|wrong| {
            wrong.into_bytes().zeroize();
            DoesNotOpen
        })
    }

    fn box_key(&self, salt: &[u8], rotation: RotationId) -> LessSafeKey {
        let rotation = rotation.to_string();
        let key = self.derive(salt, &[b"keyround sealed secret 1", rotation.as_bytes()]);
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes are an AES-256 key"))
    }

    fn derive(&self, salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; KEY_LEN]> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        Salt::new(HKDF_SHA256, salt)
            .extract(self.0.as_slice())
            .expand(info, HKDF_SHA256)
            .and_then(|derived| derived.fill(key.as_mut_slice()))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        key
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

pub(super) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes, or nothing here is safe");
    bytes
}

fn head_message(events: u64, hash: &[u8]) -> Vec<u8> {
    [b"keyround history head 1 ".as_slice(), &events.to_be_bytes(), hash].concat()
}

/// The additional data that binds a box to its rotation and access key. A rotation id has a fixed length, so the
/// boundary between the two is unambiguous.
fn binding(rotation: RotationId, key: &AccessKeyId) -> String {
    format!("keyround sealed secret 1 {rotation} {key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Subject;
    use crate::core::time::Timestamp;

    #[test]
    fn a_sealed_secret_opens_only_for_its_seal_key_rotation_and_access_key() {
        let (seal_key, secret) = (SealKey::random(), Secret::from("canary"));
        let (ours, theirs) = (rotation(1000), rotation(2000));
        let sealed = seal_key.seal(ours, &key("AKIAOURS000000000001"), &secret);
        let opened = |seal_key: &SealKey, rotation, id| seal_key.open(rotation, &key(id), &sealed);
        assert_eq!(opened(&seal_key, ours, "AKIAOURS000000000001"), Ok(secret.clone()));
        assert_eq!(opened(&seal_key, theirs, "AKIAOURS000000000001"), Err(DoesNotOpen));
        assert_eq!(opened(&seal_key, ours, "AKIATHEIRS0000000001"), Err(DoesNotOpen));
        assert_eq!(opened(&SealKey::random(), ours, "AKIAOURS000000000001"), Err(DoesNotOpen));
    }

    #[test]
    fn a_damaged_or_truncated_sealed_secret_does_not_open() {
        let (seal_key, id) = (SealKey::random(), key("AKIAOURS000000000001"));
        let sealed = seal_key.seal(rotation(1), &id, &Secret::from("canary"));
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert_eq!(seal_key.open(rotation(1), &id, &damaged), Err(DoesNotOpen), "byte {place}");
            assert_eq!(seal_key.open(rotation(1), &id, &sealed[..place]), Err(DoesNotOpen), "cut at {place}");
        }
    }

    #[test]
    fn sealing_twice_gives_two_ciphertexts_without_the_plaintext() {
        let (seal_key, id) = (SealKey::random(), key("AKIAOURS000000000001"));
        let seal = || seal_key.seal(rotation(1), &id, &Secret::from("canary"));
        assert_ne!(seal(), seal());
        assert!(!seal().windows(6).any(|bytes| bytes == b"canary"));
    }

    #[test]
    fn a_seal_key_round_trips_through_base64_and_differs_from_others() {
        let seal_key = SealKey::random();
        let again = SealKey::from_base64(&seal_key.to_base64()).expect("a key");
        let check_value = seal_key.check_value(b"salt");
        assert!(again.matches(HeadIs::Sealed, b"salt", &check_value));
        assert!(!again.matches(HeadIs::Open, b"salt", &check_value));
        assert!(!again.matches(HeadIs::Sealed, b"other salt", &check_value));
        assert!(!SealKey::random().matches(HeadIs::Sealed, b"salt", &check_value));
    }

    #[test]
    fn a_head_code_matches_only_its_key_salt_count_and_hash() {
        let (seal_key, hash) = (SealKey::random(), [7; 32]);
        let code = seal_key.head_code(b"salt", 3, &hash);
        assert!(seal_key.is_head_code(b"salt", 3, &hash, &code));
        assert!(!SealKey::random().is_head_code(b"salt", 3, &hash, &code));
        assert!(!seal_key.is_head_code(b"other salt", 3, &hash, &code));
        assert!(!seal_key.is_head_code(b"salt", 2, &hash, &code));
        assert!(!seal_key.is_head_code(b"salt", 3, &[8; 32], &code));
        assert!(!seal_key.is_head_code(b"salt", 3, &hash, &code[..31]));
        assert!(!seal_key.is_head_code(b"salt", 3, &hash, b""));
    }

    #[test]
    fn a_bad_seal_key_is_refused_without_showing_it() {
        let refusal = |text: &str| SealKey::from_base64(&Secret::from(text)).expect_err(text);
        assert_eq!(refusal("canary!"), BadSealKey::NotBase64);
        assert_eq!(refusal("Y2FuYXJ5"), BadSealKey::WrongLength(6));
        assert!(!refusal("canary!").to_string().contains("canary"));
        assert_eq!(format!("{:?}", SealKey::random()), "SealKey(…)");
    }

    fn key(id: &str) -> AccessKeyId {
        id.parse().expect("a key id")
    }

    fn rotation(seconds: i64) -> RotationId {
        let subject = Subject {
            vendor: "acme".parse().expect("a vendor"),
            account: None,
            iam_user: "vendor-acme".parse().expect("a user"),
        };
        RotationId::new(&subject, &key("AKIAIOSFODNN7EXAMPLE"), Timestamp::from_unix(seconds))
    }
}
