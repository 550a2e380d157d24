//! Encryption to a recipient in the age format, version 1 (age-encryption.org/v1). `age`, `rage`, `pyrage` and
//! `age-encryption` can decrypt the files.
//!
//! The format is implemented here with the cryptographic library that is linked anyway. The crate of the format's
//! Rust implementation would bring seventy other crates, among them a translation engine, into a program that holds
//! AWS keys. Only what is needed is implemented: one X25519 recipient, and a text of one chunk.
//!
//! **Invariant:** the file key, the ephemeral key and the nonce are generated for one text and dropped afterwards.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use zeroize::Zeroizing;

use crate::config::Recipient;
use crate::core::secret::Secret;

const VERSION: &str = "age-encryption.org/v1";
const KEY_BYTES: usize = 32;
const FILE_KEY_BYTES: usize = 16;
const PAYLOAD_NONCE_BYTES: usize = 16;
/// The size of a chunk, in bytes. A longer text would have to be split into chunks, which is not implemented, because
/// the texts that are encrypted here are far shorter.
const CHUNK_BYTES: usize = 64 * 1024;
const ARMOR_COLUMNS: usize = 64;
/// The nonce of the only chunk: its counter is 0, and its last byte marks the last chunk.
const ONLY_CHUNK: [u8; NONCE_LEN] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// The text could not be encrypted: it is too long, or the recipient's key is one with which anybody could decrypt
/// it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it cannot be encrypted to its recipient")]
pub struct NotEncrypted;

impl From<Unspecified> for NotEncrypted {
    fn from(_: Unspecified) -> NotEncrypted {
        NotEncrypted
    }
}

/// Encrypts the text into a binary age file that only the recipient's identity can decrypt.
///
/// # Errors
///
/// The text is longer than a chunk, or the recipient's key is of low order.
pub fn encrypt(recipient: &Recipient, text: &Secret) -> Result<Vec<u8>, NotEncrypted> {
    if text.expose().len() > CHUNK_BYTES {
        return Err(NotEncrypted);
    }
    let random = SystemRandom::new();
    let mut file_key = Zeroizing::new([0; FILE_KEY_BYTES]);
    rand::fill(file_key.as_mut_slice())?;
    let (share, wrapped) = wrap(recipient, &file_key, &random)?;
    let stanza = format!("-> X25519 {}\n{}\n", BASE64.encode(share), BASE64.encode(wrapped));
    let header = format!("{VERSION}\n{stanza}---");
    let mac_key = derive(b"", file_key.as_slice(), b"header")?;
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, mac_key.as_slice()), header.as_bytes());
    let mut nonce = [0; PAYLOAD_NONCE_BYTES];
    rand::fill(&mut nonce)?;
    let payload_key = derive(&nonce, file_key.as_slice(), b"payload")?;
    let payload = seal(&payload_key, ONLY_CHUNK, text.expose().as_bytes())?;
    let mut file = format!("{header} {}\n", BASE64.encode(mac)).into_bytes();
    file.extend(nonce);
    file.extend(payload);
    Ok(file)
}

/// The age file in ASCII armor, which survives mail and terminals.
#[must_use]
pub fn armored(file: &[u8]) -> String {
    let mut text = "-----BEGIN AGE ENCRYPTED FILE-----\n".to_owned();
    let encoded = base64::engine::general_purpose::STANDARD.encode(file);
    for (at, letter) in encoded.chars().enumerate() {
        if at > 0 && at % ARMOR_COLUMNS == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END AGE ENCRYPTED FILE-----\n");
    text
}

/// Encrypts the file key to the recipient. Returns our ephemeral public key and the encrypted file key. The wrapping
/// key is derived from the shared secret of the ephemeral key and the recipient's key.
fn wrap(
    recipient: &Recipient,
    file_key: &[u8; FILE_KEY_BYTES],
    random: &SystemRandom,
) -> Result<([u8; KEY_BYTES], Vec<u8>), NotEncrypted> {
    let ephemeral = EphemeralPrivateKey::generate(&X25519, random)?;
    let share: [u8; KEY_BYTES] =
        ephemeral.compute_public_key()?.as_ref().try_into().map_err(|_| NotEncrypted)?;
    let salt = [share, *recipient.key()].concat();
    let theirs = UnparsedPublicKey::new(&X25519, recipient.key());
    // With a key of low order, the shared secret would be the same for everybody. The library refuses such a key.
    let wrapping_key = agree_ephemeral(ephemeral, theirs, NotEncrypted, |shared| {
        derive(&salt, shared, b"age-encryption.org/v1/X25519")
    })?;
    Ok((share, seal(&wrapping_key, [0; NONCE_LEN], file_key)?))
}

fn derive(salt: &[u8], from: &[u8], purpose: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, NotEncrypted> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let secret = Salt::new(HKDF_SHA256, salt).extract(from);
    secret.expand(&[purpose], OfOneKey)?.fill(key.as_mut_slice())?;
    Ok(key)
}

struct OfOneKey;

impl KeyType for OfOneKey {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn seal(key: &[u8; KEY_BYTES], nonce: [u8; NONCE_LEN], text: &[u8]) -> Result<Vec<u8>, NotEncrypted> {
    // Reserve room for the tag, so that growing leaves no copy of the text behind.
    let mut sealed = Zeroizing::new(Vec::with_capacity(text.len() + CHACHA20_POLY1305.tag_len()));
    sealed.extend_from_slice(text);
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut *sealed)?;
    Ok(std::mem::take(&mut *sealed))
}

#[cfg(test)]
mod tests {
    use super::*;

    // `tests/it/age_files.rs` shows that other implementations decrypt these files.

    fn recipient() -> Recipient {
        let text = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
        text.parse().expect("a recipient")
    }

    #[test]
    fn an_encrypted_file_has_the_age_format() {
        let file = encrypt(&recipient(), &Secret::from("canary")).expect("it is short");
        let end = file.windows(5).position(|window| window == b"\n--- ").expect("a header");
        let header = std::str::from_utf8(&file[..end]).expect("text");
        let lines: Vec<&str> = header.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, VERSION));
        assert!(lines[1].starts_with("-> X25519 ") && lines[1].len() == "-> X25519 ".len() + 43);
        assert_eq!(lines[2].len(), 43);
        let rest = &file[end + 5..];
        assert_eq!((rest[43], rest.len()), (b'\n', 44 + PAYLOAD_NONCE_BYTES + "canary".len() + 16));
        assert!(!file.windows(6).any(|window| window == b"canary"));
    }

    #[test]
    fn encrypting_twice_gives_different_files() {
        let [first, second] =
            [(), ()].map(|()| encrypt(&recipient(), &Secret::from("canary")).expect("it is short"));
        let different = first.iter().zip(&second).filter(|(first, second)| first != second).count();
        assert!(different > 100, "{different}");
    }

    #[test]
    fn a_too_long_secret_and_a_zero_recipient_key_are_refused() {
        let longest = Secret::new("x".repeat(CHUNK_BYTES));
        assert!(encrypt(&recipient(), &longest).is_ok());
        assert_eq!(encrypt(&recipient(), &Secret::new("x".repeat(CHUNK_BYTES + 1))), Err(NotEncrypted));
        // The neutral element: anybody with the file could compute the shared secret.
        let zero = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse_unchecked("age"), &[0; 32]);
        let zero: Recipient = zero.expect("32 bytes").parse().expect("it has the form of one");
        assert_eq!(encrypt(&zero, &Secret::from("canary")), Err(NotEncrypted));
    }
}
