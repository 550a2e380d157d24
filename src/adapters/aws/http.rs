//! The HTTPS client for AWS. It uses the same proxy and certificate authorities as the AWS tools.

use std::path::PathBuf;
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// An idle connection is not reused after this time. If the other side has just closed it, a CreateAccessKey has no
/// known result, and settling that takes minutes.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(15);

/// A file of certificate authorities that are trusted in addition to the machine's, as by the AWS tools.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The HTTPS client. It honours the standard proxy variables, as the requests to vendors do.
pub(super) fn client(trusted: TlsContext) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector =
            Connector::builder().pool_idle_timeout(CONNECTION_IDLE_MAX).proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(trusted.clone()).build()
    })
}

/// The certificate authorities of the machine, and those of `AWS_CA_BUNDLE`.
///
/// # Errors
///
/// `AWS_CA_BUNDLE` names a file that cannot be read or holds no certificate.
pub(super) fn trusted() -> Result<TlsContext, String> {
    let mut store = TrustStore::default();
    if let Some(path) = std::env::var_os(CA_BUNDLE).filter(|path| !path.is_empty()).map(PathBuf::from) {
        let pem = std::fs::read(&path);
        let pem = pem.map_err(|error| format!("{CA_BUNDLE}: {} cannot be read: {error}", path.display()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        if !certificates.is_ok_and(|certificates| !certificates.is_empty()) {
            return Err(format!("{CA_BUNDLE}: {} is not a file of PEM certificates", path.display()));
        }
        store = store.with_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    context.map_err(|error| format!("the certificate authorities cannot be used: {error}"))
}
