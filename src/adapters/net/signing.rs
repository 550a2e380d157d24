//! Signatures of Standard Webhooks 1.0: HMAC-SHA256 with a shared secret, or ed25519.

use std::ops::RangeInclusive;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::core::secret::Secret;
use crate::core::time::Timestamp;

/// Vendors write the base64 of their secrets with and without padding, so both are accepted.
const BASE64_LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that signs messages.
pub(crate) enum SigningKey {
    /// `whsec_…`: a secret that the receiver shares.
    Hmac(Box<hmac::Key>),
    /// `whsk_…`: a private key. The receiver has only the public half, and cannot sign in our name.
    Ed25519(Ed25519KeyPair),
}

/// Why a text is not a signing secret. The message follows the reference to the secret in a sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BadSigningKey {
    #[error("is no signing secret: those begin with whsec_ or whsk_")]
    Prefix,
    #[error("is no signing secret: after its prefix it is not base64")]
    Encoding,
    #[error("has {0} bytes; a whsec_ secret has {min} to {max}", min = HMAC_BYTES.start(), max = HMAC_BYTES.end())]
    HmacLength(usize),
    #[error("has {0} bytes; a whsk_ secret is an ed25519 seed of 32, or seed and public key of 64")]
    Ed25519Length(usize),
    #[error("is a seed and a public key that do not belong together")]
    Ed25519Mismatch,
}

/// The length that Standard Webhooks 1.0 allows for a shared secret, in bytes.
const HMAC_BYTES: RangeInclusive<usize> = 24..=64;

impl SigningKey {
    pub(crate) fn parse(text: &Secret) -> Result<SigningKey, BadSigningKey> {
        let text = text.expose();
        if let Some(encoded) = text.strip_prefix("whsec_") {
            return SigningKey::hmac(&decode(encoded)?);
        }
        let encoded = text.strip_prefix("whsk_").ok_or(BadSigningKey::Prefix)?;
        SigningKey::ed25519(&decode(encoded)?)
    }

    fn hmac(bytes: &[u8]) -> Result<SigningKey, BadSigningKey> {
        match HMAC_BYTES.contains(&bytes.len()) {
            true => Ok(SigningKey::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))),
            false => Err(BadSigningKey::HmacLength(bytes.len())),
        }
    }

    fn ed25519(bytes: &[u8]) -> Result<SigningKey, BadSigningKey> {
        let pair = match bytes.len() {
            32 => Ed25519KeyPair::from_seed_unchecked(bytes),
            64 => Ed25519KeyPair::from_seed_and_public_key(&bytes[..32], &bytes[32..]),
            other => return Err(BadSigningKey::Ed25519Length(other)),
        };
        pair.map(SigningKey::Ed25519).map_err(|_| BadSigningKey::Ed25519Mismatch)
    }

    /// Signs a message. Returns one entry of the `webhook-signature` list.
    pub(crate) fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let signed = Zeroizing::new(format!("{id}.{}.{body}", at.unix_seconds()));
        match self {
            SigningKey::Hmac(key) => {
                format!("v1,{}", BASE64.encode(hmac::sign(key, signed.as_bytes())))
            }
            SigningKey::Ed25519(pair) => format!("v1a,{}", BASE64.encode(pair.sign(signed.as_bytes()))),
        }
    }
}

fn decode(encoded: &str) -> Result<Zeroizing<Vec<u8>>, BadSigningKey> {
    BASE64_LENIENT.decode(encoded).map(Zeroizing::new).map_err(|_| BadSigningKey::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_vector(secret: &str, id: &str, at: i64, body: &str, expected: &str) {
        let key = SigningKey::parse(&Secret::from(secret)).expect("a signing secret");
        assert_eq!(key.sign(id, Timestamp::from_unix(at), body), expected);
    }

    #[test]
    fn signatures_match_the_published_test_vectors() {
        check_vector(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        );
        check_vector(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        );
    }

    #[test]
    fn an_ed25519_secret_is_a_seed_with_or_without_its_public_key() {
        // RFC 8032, 7.1, test 1.
        let seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
        let both = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==";
        let sign = |text: &str| {
            let key = SigningKey::parse(&Secret::new(format!("whsk_{text}"))).expect("a signing secret");
            key.sign("msg_1", Timestamp::from_unix(1), "{}")
        };
        assert!(sign(seed).starts_with("v1a,"));
        assert_eq!(sign(seed), sign(both));
        assert_eq!(sign(seed), sign(seed.trim_end_matches('=')));
    }

    #[test]
    fn an_invalid_signing_secret_is_refused() {
        let parse = |text: &str| SigningKey::parse(&Secret::from(text)).err();
        let of = |prefix: &str, bytes: usize| format!("{prefix}{}", BASE64.encode(vec![7; bytes]));
        assert_eq!(parse("canary"), Some(BadSigningKey::Prefix));
        assert_eq!(parse("whpk_AAAA"), Some(BadSigningKey::Prefix));
        assert_eq!(parse("whsec_can ary"), Some(BadSigningKey::Encoding));
        assert_eq!(parse(&of("whsec_", 23)), Some(BadSigningKey::HmacLength(23)));
        assert_eq!(parse(&of("whsec_", 65)), Some(BadSigningKey::HmacLength(65)));
        assert_eq!(parse(&of("whsec_", 24)), None);
        assert_eq!(parse(&of("whsec_", 64)), None);
        assert_eq!(parse(&of("whsk_", 31)), Some(BadSigningKey::Ed25519Length(31)));
        assert_eq!(parse(&of("whsk_", 64)), Some(BadSigningKey::Ed25519Mismatch));
        assert_eq!(BadSigningKey::HmacLength(23).to_string(), "has 23 bytes; a whsec_ secret has 24 to 64");
    }
}
