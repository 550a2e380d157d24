//! The filters for templates, in addition to those of minijinja.

use std::borrow::Cow;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_box::PublicKey;
use crypto_box::aead::OsRng;
use minijinja::{Environment, Error, ErrorKind};
use zeroize::Zeroizing;

/// Adds the filters to the engine.
pub(super) fn add(engine: &mut Environment<'static>) {
    engine.add_filter("urlencode", |text: Cow<'_, str>| urlencode(&text));
    engine.add_filter("b64encode", |text: &str| BASE64.encode(text));
    engine.add_filter("b64decode", b64decode);
    engine.add_filter("sealed_box", sealed_box);
    engine.add_filter("ses_smtp_password", |secret: &str, region: &str| ses_smtp_password(secret, region));
}

/// Adds filters of the same names that return their input unchanged, so that the mark of a masked value can be found
/// in the rendered text.
pub(super) fn add_showing(engine: &mut Environment<'static>) {
    for filter in ["urlencode", "b64encode", "b64decode"] {
        engine.add_filter(filter, |text: String| text);
    }
    for filter in ["sealed_box", "ses_smtp_password"] {
        engine.add_filter(filter, |text: String, _: &str| text);
    }
}

/// Percent-encodes all characters but the unreserved ones of RFC 3986, so that the value fits anywhere in a URL.
fn urlencode(text: &str) -> String {
    let encode = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn b64decode(text: &str) -> Result<String, Error> {
    let bytes = BASE64.decode(text.trim()).map_err(|_| invalid("not base64"))?;
    String::from_utf8(bytes).map_err(|_| invalid("not text"))
}

/// libsodium's `crypto_box_seal`, which GitHub and others require: only the owner of the public key can decrypt it.
fn sealed_box(text: &str, public_key: &str) -> Result<String, Error> {
    let key = BASE64.decode(public_key.trim()).map_err(|_| invalid("not base64"))?;
    let key = PublicKey::from_slice(&key).map_err(|_| invalid("not a public key of 32 bytes"))?;
    let sealed = key.seal(&mut OsRng, text.as_bytes()).map_err(|_| invalid("not sealed"))?;
    Ok(BASE64.encode(sealed))
}

/// The password for Amazon SES's SMTP interface in this region: Signature Version 4 of a fixed message with a fixed
/// date (SES Developer Guide, "Obtaining Amazon SES SMTP credentials").
fn ses_smtp_password(secret: &str, region: &str) -> String {
    const VERSION: u8 = 4;
    let first = Zeroizing::new(format!("AWS4{secret}").into_bytes());
    let parts = ["11111111", region, "ses", "aws4_request", "SendRawEmail"];
    let key = parts.into_iter().fold(first, |key, part| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Zeroizing::new(hmac::sign(&key, part.as_bytes()).as_ref().to_vec())
    });
    let versioned = Zeroizing::new([&[VERSION], key.as_slice()].concat());
    BASE64.encode(versioned.as_slice())
}

fn invalid(detail: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ses_smtp_password_matches_the_known_vectors() {
        // The test vectors of terraform-provider-aws, confirmed with Python's hmac module.
        for (region, password) in [
            ("eu-central-1", "BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2"),
            ("us-west-1", "BH+jbMzper5WwlwUar9E1ySBqHa9whi0GPo+sJ0mVYJj"),
        ] {
            assert_eq!(ses_smtp_password("some+secret+key", region), password);
        }
    }

    #[test]
    fn a_sealed_box_opens_with_the_private_key_and_a_bad_key_is_refused() {
        let owner = crypto_box::SecretKey::generate(&mut OsRng);
        let key = BASE64.encode(owner.public_key().as_bytes());
        let sealed = sealed_box("canary", &key).expect("sealed");
        let opened = owner.unseal(&BASE64.decode(sealed).expect("base64"));
        assert_eq!(opened.expect("opened"), b"canary");
        assert!(sealed_box("canary", "AAAA").is_err());
    }
}
