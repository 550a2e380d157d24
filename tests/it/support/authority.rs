//! A certificate authority that exists for the length of a test.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

/// A certificate authority that only programs with its certificate as a root trust.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The time span in which a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Current,
    Expired,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::named("authority of a test")
    }

    /// Two authorities of one name look like a single one with forged certificates, so a test with two names them.
    pub(crate) fn named(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        // A leaf certificate has rcgen's default name. If the authority had it too, the leaf's subject and issuer
        // would be equal.
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// A root store that trusts only this authority.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }

    /// Its certificate as PEM, for a program that is to trust it.
    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    /// A certificate of this authority for `host`, and its key.
    pub(crate) fn pems_for(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(host, Validity::Current).signed_by(&key, &self.0).expect("a certificate");
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }

    /// A server that presents a certificate of this authority for `host`.
    pub(crate) fn server(&self, host: &str, validity: Validity) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(host, validity).signed_by(&key, &self.0).expect("a certificate");
        server(certificate.der().clone(), &key)
    }
}

/// Encodes DER as PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A server that presents a self-signed certificate.
pub(crate) fn self_signed_server(host: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(host, Validity::Current).self_signed(&key).expect("a certificate");
    server(certificate.der().clone(), &key)
}

fn params(host: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).expect("parameters");
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = match validity {
        Validity::Current => date_time_ymd(4000, 1, 1),
        Validity::Expired => date_time_ymd(2001, 1, 1),
    };
    params
}

fn server(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a private key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate that fits its key");
    Arc::new(config)
}
