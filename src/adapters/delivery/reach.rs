//! Checks whether a host can be connected to, including TLS, without sending it a request.
//!
//! The connection takes the same way as a request would. If the standard variables name a proxy, it goes through that
//! proxy, which is asked for a tunnel (CONNECT).
//!
//! **Invariant:** the host itself receives a TLS handshake and nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::adapters::delivery::egress::{broken_off, not_sent, silent, unconnected, unresolved, untrusted};
use crate::adapters::net::target;
use crate::ports::Answer;

/// The maximum length of a proxy's response to CONNECT, which is a status line and a few headers.
const PROXY_ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Connects to hosts and closes the connection again.
pub(super) struct Reach {
    tls: Arc<ClientConfig>,
    proxies: Matcher,
}

impl Reach {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Reach {
        Reach { tls, proxies: Matcher::from_env() }
    }

    /// Checks that the host and port of `url` accept a connection and, if it is `https`, that the host's certificate
    /// is trusted.
    pub(super) async fn connect(&self, url: &Url, timeout: Duration) -> Answer<()> {
        let host = target::host_of(url);
        let late = || not_sent(silent(&host, timeout));
        tokio::time::timeout(timeout, self.connected(url, &host)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn connected(&self, url: &Url, host: &str) -> Answer<()> {
        let stream = match self.proxy(url) {
            None => tcp(host, url.port_or_known_default()).await?,
            Some(proxy) if proxy.uri().scheme_str() == Some("http") => through(&proxy, url, host).await?,
            // A proxy that requires TLS or SOCKS is only connected to. The hosts behind it are not checked.
            Some(proxy) => return tcp(proxy_host(&proxy), proxy.uri().port_u16()).await.map(drop),
        };
        if url.scheme() != "https" {
            return Ok(());
        }
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| not_sent(format!("{host} is not a valid TLS server name")))?;
        let shaken = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        shaken.map(drop).map_err(|error| not_sent(tls_sentence(host, &error)))
    }

    fn proxy(&self, url: &Url) -> Option<Intercept> {
        if target::is_loopback(url) {
            return None;
        }
        self.proxies.intercept(&url.as_str().parse().ok()?)
    }
}

async fn tcp(host: &str, port: Option<u16>) -> Answer<TcpStream> {
    let address = (host.trim_matches(['[', ']']), port.unwrap_or_default());
    let found = tokio::net::lookup_host(address).await;
    let addresses: Vec<_> = found.into_iter().flatten().collect();
    if addresses.is_empty() {
        return Err(not_sent(unresolved(host)));
    }
    let stream = TcpStream::connect(addresses.as_slice()).await;
    stream.map_err(|_| not_sent(unconnected(host)))
}

/// A connection through the proxy. For `https` it is a tunnel to the host of `url`. For plain text only the
/// connection to the proxy is checked.
async fn through(proxy: &Intercept, url: &Url, host: &str) -> Answer<TcpStream> {
    let by = proxy_host(proxy);
    let mut stream = tcp(by, proxy.uri().port_u16().or(Some(80))).await?;
    if url.scheme() == "https" && !tunnel(&mut stream, proxy, url, host).await.unwrap_or(false) {
        return Err(not_sent(format!("{host} cannot be connected to through the proxy {by}")));
    }
    Ok(stream)
}

fn proxy_host(proxy: &Intercept) -> &str {
    proxy.uri().host().unwrap_or("the proxy")
}

async fn tunnel(stream: &mut TcpStream, proxy: &Intercept, url: &Url, host: &str) -> io::Result<bool> {
    let authority = format!("{host}:{}", url.port_or_known_default().unwrap_or(443));
    let auth = proxy.basic_auth().and_then(|auth| auth.to_str().ok());
    let auth = auth.map(|auth| format!("Proxy-Authorization: {auth}\r\n")).unwrap_or_default();
    let question = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{auth}\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == PROXY_ANSWER_BYTES_MAX {
            return Ok(false);
        }
        // Read byte by byte: the bytes after the blank line belong to TLS.
        answer.push(stream.read_u8().await?);
    }
    Ok(answer.starts_with(b"HTTP/1.1 200 ") || answer.starts_with(b"HTTP/1.0 200 "))
}

fn tls_sentence(host: &str, error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => untrusted(host, tls),
        None => broken_off(host),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::{self, JoinHandle};

    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs;

    use super::*;

    /// A proxy for one connection. Returns the request that it received.
    fn proxy(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a question");
                asked.extend(byte);
            }
            stream.write_all(answer.as_bytes()).expect("it listens");
            String::from_utf8(asked).expect("text")
        });
        (address, serving)
    }

    async fn through_proxy(answer: &'static str, url: &str) -> (String, String) {
        let (address, serving) = proxy(answer);
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let proxies = Matcher::builder().https(format!("http://user:canary@{address}")).build();
        let reach = Reach { tls: Arc::new(tls), proxies };
        let url = Url::parse(url).expect("a URL");
        let reached = reach.connect(&url, Duration::from_secs(20)).await;
        let sentence = reached.expect_err("nobody is there").sentence().to_owned();
        (serving.join().expect("the proxy ends"), sentence)
    }

    #[tokio::test]
    async fn a_proxied_https_connection_uses_connect_and_reports_proxy_errors() {
        let (asked, sentence) =
            through_proxy("HTTP/1.1 200 Connected\r\n\r\n", "https://hooks.acme.invalid/secret").await;
        assert!(asked.starts_with("CONNECT hooks.acme.invalid:443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("Proxy-Authorization: Basic "), "{asked}");
        assert!(!asked.contains("/secret"), "{asked}");
        assert_eq!(sentence, broken_off("hooks.acme.invalid"));

        let (_, sentence) =
            through_proxy("HTTP/1.1 407 No\r\n\r\n", "https://hooks.acme.invalid:8443/").await;
        let expected = "hooks.acme.invalid cannot be connected to through the proxy 127.0.0.1";
        assert_eq!(sentence, expected);
    }
}
