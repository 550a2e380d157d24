//! `kind = "webhook"`: one message in the form of Standard Webhooks 1.0.
//!
//! **Invariant:** repeats of one delivery are the same message: the same id and the same bytes, or, where they are
//! encrypted, bytes that come out the same. Only the timestamp, which is the attempt's, and with it the signatures, differ.

use std::ops::RangeInclusive;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::config::settings::{Carries, WebhookStep};
use crate::delivery::message::{Message, Payload, message_id};
use crate::delivery::target::{self, Plaintext};
use crate::delivery::{Prepared, Tools, answer, misconfigured};
use crate::ports::{Answer, Errand, Offer, Purpose, Reference, Request};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Secrets come from vendors, who write base64 with and without its padding.
const BASE64_LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What there is to be carried.
#[derive(Clone, Copy)]
pub(super) struct Carried<'a> {
    pub(super) secret: &'a Secret,
    /// Where an earlier step put it, if one did.
    pub(super) reference: Option<&'a Reference>,
}

impl<'a> Carried<'a> {
    fn by(self, carries: Carries) -> Answer<Payload<'a>> {
        match (carries, self.reference) {
            (Carries::Secret, _) => Ok(Payload::Secret(self.secret)),
            (Carries::Reference, Some(reference)) => Ok(Payload::Reference(reference)),
            (Carries::Reference, None) => {
                Err(misconfigured("no earlier step has put the key where a reference could lead"))
            }
        }
    }
}

/// Sends the message of step `number`, from 1.
pub(super) async fn send(
    tools: &Tools,
    step: &WebhookStep,
    number: usize,
    offer: &Offer,
    carried: Carried<'_>,
) -> Answer<()> {
    let request = request(tools, step, number, offer, carried).await?;
    let host = target::host_of(&request.target);
    let purpose = Purpose { subject: offer.subject.clone(), errand: Errand::Deliver { step: number - 1 } };
    let response = tools.egress.send(&purpose, request.ready).await?;
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.step = number, delivery.host = %host,
        delivery.status = response.status, "a webhook was answered"
    );
    answer::accepted(&host, &response, &[], offer.now)
}

/// The request of step `number`, ready to be sent. Reads the signing secrets.
pub(super) async fn request(
    tools: &Tools,
    step: &WebhookStep,
    number: usize,
    offer: &Offer,
    carried: Carried<'_>,
) -> Answer<Prepared> {
    let plaintext = Plaintext::from_setting(step.allow_plaintext);
    let target = target::checked(&step.url, plaintext).map_err(misconfigured)?;
    let keys = signing_keys(tools, step).await?;
    let message = Message {
        offer,
        payload: carried.by(step.carries)?,
        id: None,
        captured: None,
        encrypt_to: step.encrypt_to.as_ref(),
    };
    let body = message.into_json()?;
    let id = message_id(offer, number);
    let signatures: Vec<_> = keys.iter().map(|key| key.sign(&id, offer.now, body.expose())).collect();
    let ready = Request {
        method: "POST".to_owned(),
        url: Secret::from(target.as_str()),
        headers: vec![
            ("content-type".to_owned(), Secret::from("application/json")),
            ("webhook-id".to_owned(), Secret::new(id)),
            ("webhook-timestamp".to_owned(), Secret::new(offer.now.unix_seconds().to_string())),
            ("webhook-signature".to_owned(), Secret::new(signatures.join(" "))),
        ],
        body: Some(body),
        timeout: step.timeout,
    };
    Ok(Prepared { target, ready })
}

/// The keys that sign, newest first.
async fn signing_keys(tools: &Tools, step: &WebhookStep) -> Answer<Vec<SigningKey>> {
    let mut keys = Vec::with_capacity(step.secrets.len());
    for reference in &step.secrets {
        let text = tools.resolve(reference).await?;
        let key = SigningKey::parse(&text);
        keys.push(key.map_err(|bad| misconfigured(format!("the webhook secret {reference} {bad}")))?);
    }
    Ok(keys)
}

/// What signs a message.
enum SigningKey {
    /// `whsec_…`: the vendor has the same secret.
    Hmac(Box<hmac::Key>),
    /// `whsk_…`: the vendor has the public half, and cannot sign in our name.
    Ed25519(Ed25519KeyPair),
}

/// Why a text is no signing secret. Follows the reference in a sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum BadSigningKey {
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

/// The bytes that Standard Webhooks 1.0 allows a shared secret.
const HMAC_BYTES: RangeInclusive<usize> = 24..=64;

impl SigningKey {
    fn parse(text: &Secret) -> Result<SigningKey, BadSigningKey> {
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

    /// One entry of the `webhook-signature` list.
    fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
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
    fn signatures_are_those_of_the_published_vectors() {
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
    fn a_text_that_is_no_signing_secret_is_refused_and_not_repeated() {
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
