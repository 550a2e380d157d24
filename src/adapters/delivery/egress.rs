//! The egress to vendors and sinks: HTTP/1.1 over rustls, which sends each request once and unchanged.
//!
//! It follows no redirect, keeps no cookies, does not retry and does not decompress. It honours the standard proxy
//! variables (`HTTPS_PROXY`, `NO_PROXY` and the like), but never for a loopback address: plain text for this machine
//! must not leave it.
//!
//! The HTTP library and the TLS library copy a request while they send it, and do not wipe their copies. The copies
//! live as long as the exchange.
//!
//! **Invariant:** errors of the HTTP library are never shown, because they contain the URL. Sentences name only the
//! host.
//!
//! **Invariant:** at most [`ANSWER_BYTES_MAX`] of the body of a response are read, however much is sent.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, redirect, retry};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use url::Url;

use crate::adapters::delivery::misconfigured;
use crate::adapters::delivery::reach::Reach;
use crate::adapters::delivery::secret_buffer::SecretBuffer;
use crate::adapters::net::target;
use crate::core::rotation::RefusalCode;
use crate::core::time::in_words;
use crate::ports::{Answer, Egress, Fault, Purpose, Request, Response, SinkTransport};

#[cfg(doc)]
use crate::adapters::delivery::secret_buffer::ANSWER_BYTES_MAX;

const USER_AGENT: &str = concat!("keyround/", env!("CARGO_PKG_VERSION"));

/// The time limit for name resolution, connection and TLS handshake together. A host that is up needs well under a
/// second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept. Servers and load balancers keep connections longer than this, so a
/// connection that the other side is about to close is not reused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The maximum number of headers in a response. No vendor sends as many; the bound keeps a server from filling our
/// memory.
const HEADERS_MAX: usize = 100;

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The HTTP library could not build the client.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// Sends HTTPS requests to vendors and sinks, and plain HTTP ones where an earlier check allowed it.
pub struct HttpsEgress {
    outward: Client,
    /// The client for loopback addresses, which ignores proxies.
    inward: Client,
    reach: Reach,
}

impl HttpsEgress {
    /// Trusts the certificate authorities of this machine, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR` if these
    /// are set.
    ///
    /// # Errors
    ///
    /// TLS or the HTTP client cannot be set up.
    pub fn new() -> Result<HttpsEgress, EgressError> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            tracing::warn!(
                "no certificate authorities were found on this machine: no https host will be trusted"
            );
        }
        HttpsEgress::trusting(roots)
    }

    /// Trusts these certificate authorities and no others.
    ///
    /// # Errors
    ///
    /// TLS or the HTTP client cannot be set up.
    pub fn trusting(roots: RootCertStore) -> Result<HttpsEgress, EgressError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .http1_only()
                .http1_max_headers(HEADERS_MAX)
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .user_agent(USER_AGENT)
        };
        let inward = client().no_proxy().build()?;
        Ok(HttpsEgress { outward: client().build()?, inward, reach: Reach::new(Arc::new(tls)) })
    }
}

#[async_trait]
impl Egress for HttpsEgress {
    async fn send(&self, _purpose: &Purpose, request: Request) -> Answer<Response> {
        self.exchange(request).await
    }

    async fn reach(&self, url: &str, timeout: Duration) -> Answer<()> {
        self.find(url, timeout).await
    }
}

#[async_trait]
impl SinkTransport for HttpsEgress {
    async fn carry(&self, request: Request) -> Answer<Response> {
        self.exchange(request).await
    }

    async fn find(&self, url: &str, timeout: Duration) -> Answer<()> {
        let url = parsed(url)?;
        self.reach.connect(&url, timeout.min(CONNECT_TIMEOUT)).await
    }
}

impl HttpsEgress {
    async fn exchange(&self, request: Request) -> Answer<Response> {
        let (host, timeout) = (host(request.url.expose())?, request.timeout);
        let answer = self.ready(request)?.send().await;
        match answer {
            Ok(answer) => Ok(read(answer).await),
            Err(error) => Err(fault(&host, &error, timeout)),
        }
    }

    fn ready(&self, request: Request) -> Answer<reqwest::RequestBuilder> {
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| misconfigured("the method is not one of HTTP"))?;
        let url = parsed(request.url.expose())?;
        let client = if target::is_loopback(&url) { &self.inward } else { &self.outward };
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let bad = || misconfigured(format!("the header {name} cannot be sent"));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
            // Keeps the value out of the debug output of the HTTP library.
            value.set_sensitive(true);
            headers.append(header, value);
        }
        let ready = client.request(method, url).headers(headers).timeout(request.timeout);
        Ok(match request.body {
            Some(body) => ready.body(body.expose().to_owned()),
            None => ready,
        })
    }
}

fn parsed(url: &str) -> Answer<Url> {
    Url::parse(url).map_err(|_| misconfigured("the address is not a URL"))
}

fn host(url: &str) -> Answer<String> {
    parsed(url).map(|url| target::host_of(&url))
}

/// Reads the response. A body that is too long or breaks off is truncated and not an error: the status is already
/// known, and a caller that needs the body finds that it is incomplete.
async fn read(mut answer: reqwest::Response) -> Response {
    let status = answer.status().as_u16();
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let headers = answer.headers().iter();
    let headers: BTreeMap<_, _> =
        headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect();
    let mut body = SecretBuffer::of_answer();
    while let Ok(Some(piece)) = answer.chunk().await {
        if !body.push(&piece) {
            break;
        }
    }
    Response { status, headers, body: body.into_secret() }
}

/// Turns an error of the HTTP library into a fault. Before a connection exists, nothing was sent, so the fault is a
/// refusal. After that the server may have read the request, so the outcome is unknown.
fn fault(host: &str, error: &reqwest::Error, timeout: Duration) -> Fault {
    if error.is_builder() {
        return misconfigured("the request cannot be made");
    }
    if error.is_dns() {
        return not_sent(unresolved(host));
    }
    if error.is_connect() {
        return not_sent(match tls_error(error) {
            Some(tls) => untrusted(host, tls),
            None if error.is_timeout() => silent(host, CONNECT_TIMEOUT),
            None if broke_off(error) => broken_off(host),
            None => unconnected(host),
        });
    }
    Fault::unknown(match error.is_timeout() {
        true => format!("{host} did not answer within {}", in_words(timeout)),
        false => format!("{host} broke the connection off or did not answer in HTTP"),
    })
}

pub(super) fn not_sent(sentence: impl Into<String>) -> Fault {
    Fault::refused(RefusalCode::NotSent, sentence)
}

/// The chain of causes of an error. `io::Error::source` skips the error that the `io::Error` contains, so that one is
/// visited explicitly.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as _).or_else(|| error.source())
    })
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Whether the connection was closed or reset after it was established, that is, during the TLS handshake.
fn broke_off(error: &reqwest::Error) -> bool {
    let mut kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.any(|kind| {
        matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
    })
}

pub(super) fn broken_off(host: &str) -> String {
    format!("{host} broke the connection off during TLS; check the url: its scheme, and its port")
}

pub(super) fn unresolved(host: &str) -> String {
    format!("the name {host} does not resolve; check the url, and this machine's name servers")
}

pub(super) fn unconnected(host: &str) -> String {
    format!("{host} cannot be connected to; check the url, and whether a firewall lets this machine out")
}

/// The sentence for a host that did not answer in time while connecting or during the TLS handshake.
pub(super) fn silent(host: &str, waited: Duration) -> String {
    let waited = in_words(waited);
    format!(
        "{host} did not answer within {waited}, before anything was sent; check the url, and ask the vendor"
    )
}

/// The sentence for a failed TLS handshake: why it failed, and what to do about it.
pub(super) fn untrusted(host: &str, error: &rustls::Error) -> String {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return format!("{host} does not speak TLS as it should; check the url: its scheme, and its port");
    };
    let why = match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => "has expired; ask the vendor to renew it",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "is not valid yet; check this machine's clock, or ask the vendor"
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            "is for another host; check the url, or ask the vendor"
        }
        Bad::Revoked => "is revoked; ask the vendor for a good one",
        Bad::UnknownIssuer => {
            "is not from a certificate authority that this machine trusts; check the url, or let SSL_CERT_FILE name \
             the vendor's own authority"
        }
        _ => "is not valid; ask the vendor for a good one",
    };
    format!("{host} is not trusted: its certificate {why}")
}
