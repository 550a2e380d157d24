//! Tokens that are signed here: JSON Web Tokens (RFC 7519), signed by RSA with SHA-256 (RS256, RFC 7518 3.3).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;

use crate::core::secret::Secret;
use crate::core::time::Timestamp;

/// How long a token is valid. One request needs it only briefly; the rest allows for clocks that differ. Snowflake
/// accepts tokens that are valid for up to an hour.
const LIFETIME: Duration = Duration::from_mins(5);

/// Why a private key cannot be used. The message follows the reference to the key in a sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BadKey {
    #[error(
        "is not a private key in PEM that begins with -----BEGIN PRIVATE KEY----- (PKCS #8, not encrypted)"
    )]
    Form,
    #[error("is not an RSA key of 2048 bits or more")]
    Kind,
}

/// An RSA key that signs tokens, with its public half.
pub(super) struct SigningKey {
    pair: KeyPair,
    public: PublicKeyX509Der<'static>,
}

#[derive(Serialize)]
struct Header {
    alg: &'static str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
}

impl SigningKey {
    pub(super) fn parse(pem: &Secret) -> Result<SigningKey, BadKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| BadKey::Form)?;
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| BadKey::Kind)?;
        let public = pair.public_key().as_der().map_err(|_| BadKey::Kind)?;
        Ok(SigningKey { pair, public })
    }

    /// The SHA-256 of the public key (DER of its `SubjectPublicKeyInfo`) in base64. Snowflake identifies the key by
    /// it.
    pub(super) fn fingerprint(&self) -> String {
        STANDARD.encode(digest(&SHA256, self.public.as_ref()))
    }

    /// A signed token that names the issuer and the subject, issued at `now` and valid for [`LIFETIME`].
    pub(super) fn sign(&self, issuer: &str, subject: &str, now: Timestamp) -> Secret {
        let from = now.unix_seconds();
        let until = (now + LIFETIME).unix_seconds();
        let part = |json: Result<Vec<u8>, serde_json::Error>| {
            URL_SAFE_NO_PAD.encode(json.expect("texts and numbers are JSON"))
        };
        let header = part(serde_json::to_vec(&Header { alg: "RS256", typ: "JWT" }));
        let claims = part(serde_json::to_vec(&Claims { iss: issuer, sub: subject, iat: from, exp: until }));
        let signed = format!("{header}.{claims}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("the signature is as long as the modulus");
        Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature)))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::Pkcs8V1Der;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;

    fn pem(size: KeySize) -> Secret {
        let pair = KeyPair::generate(size).expect("a key");
        let der: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS #8");
        let text = STANDARD.encode(der.as_ref());
        Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
    }

    #[test]
    fn a_jwt_has_the_expected_claims_and_a_valid_signature() {
        let key = SigningKey::parse(&pem(KeySize::Rsa2048)).expect("a key");
        let now: Timestamp = "2026-11-23T03:00:00Z".parse().expect("a time");
        let token = key.sign("ACME.KEYROUND.SHA256:x", "ACME.KEYROUND", now);
        let (signed, signature) = token.expose().rsplit_once('.').expect("three parts");
        let (header, claims) = signed.split_once('.').expect("three parts");
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url without padding");
        let json_of = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).expect("JSON");
        assert_eq!(json_of(header), json!({"alg": "RS256", "typ": "JWT"}));
        let claims = json_of(claims);
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!("ACME.KEYROUND.SHA256:x"), &json!("ACME.KEYROUND"))
        );
        assert_eq!(claims["iat"], json!(now.unix_seconds()));
        assert_eq!(claims["exp"], json!(now.unix_seconds() + 300));
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public_key().as_ref());
        public.verify(signed.as_bytes(), &decoded(signature)).expect("the signature is that of the key");
        assert_eq!(key.fingerprint().len(), 44);
    }

    #[test]
    fn an_invalid_jwt_signing_key_is_refused() {
        let parse = |text: &str| SigningKey::parse(&Secret::from(text)).err();
        assert_eq!(parse("canary"), Some(BadKey::Form));
        assert_eq!(
            parse("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
            Some(BadKey::Form)
        );
        assert_eq!(
            parse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            Some(BadKey::Kind)
        );
    }
}
