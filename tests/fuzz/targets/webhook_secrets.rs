//! The secrets that sign webhooks, as vendors hand them out and operators paste them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use keyround::core::rotation::RefusalCode;
use keyround::ports::Fault;

use super::recipe::{Errand, NEW_SECRET, Recipe, Said, Sent, check_fault, now};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const RECIPE: &str = "[[vendor.acme.deliver]]\nkind = \"webhook\"\nurl = \"https://api.acme.example/aws\"\nsecret = \"env:SIGNING\"\n";
/// A text that is at least this long and appears in a sentence was repeated there.
const REPEATED_CHARS_MIN: usize = 12;

/// A secret signs, so that a receiver with the secret can verify the signature; or it is refused, and not repeated.
pub fn webhook_secrets(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let recipe = Recipe::new(RECIPE).expect("a recipe");
    let said = Said { status: 204, ..Said::default() };
    let (answer, sent) = recipe.perform(Errand::Deliver, NEW_SECRET, &text, &[said]);
    match (answer, sent.as_slice()) {
        (Ok(None), [sent]) => check_signature(sent, &text),
        (Err(fault), []) => {
            let canary = if text.len() >= REPEATED_CHARS_MIN { &*text } else { "\0" };
            check_fault(&fault, canary);
            let is_told =
                matches!(&fault, Fault::Refused(refusal) if refusal.code == RefusalCode::Misconfigured);
            assert!(is_told, "{fault:?}");
        }
        (answer, sent) => panic!("{answer:?} after {} requests", sent.len()),
    }
}

fn check_signature(sent: &Sent, secret: &str) {
    let header = |name: &str| sent.headers[name].as_str();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    assert_eq!(timestamp, now().unix_seconds().to_string());
    let signed = format!("{id}.{timestamp}.{}", sent.body.as_deref().unwrap_or_default());
    let (version, signature) =
        header("webhook-signature").split_once(',').expect("a version and a signature");
    let signature = LENIENT.decode(signature).expect("base64");
    let Some(encoded) = secret.strip_prefix("whsec_") else {
        assert!(secret.starts_with("whsk_") && version == "v1a" && signature.len() == 64);
        return;
    };
    let bytes = LENIENT.decode(encoded).expect("what signs is base64");
    assert!((24..=64).contains(&bytes.len()), "{} bytes", bytes.len());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    assert_eq!(version, "v1");
    hmac::verify(&key, signed.as_bytes(), &signature).expect("the vendor can check it");
}
