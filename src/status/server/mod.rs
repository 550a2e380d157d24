//! `[serve]`: /metrics, /healthz, /api/status and the page, over HTTP/1.1.
//!
//! **Invariant:** it is read-only. No request changes anything, and none causes a call to AWS.
//!
//! **Invariant:** it is bounded: the number of connections, the time that a request may take to arrive, and how much of
//! a request is read. A new connection is always accepted. If there are too many, an old one is closed for it, and one
//! without a request first, so that idle connections cannot keep `/healthz` from answering.
//!
//! **Invariant:** a client on another machine must present the token; the configuration allows nothing else. Without a
//! token, the server answers only requests that name this machine as the host, so that no page of another site can read
//! it. `/healthz/live` is exempt from both, because it shows only that the process answers.

mod places;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use self::places::{Place, Places};
use crate::core::secret::Secret;
use crate::ports::Shown;
use crate::status::metrics::{Calls, ExpositionFormat, metrics};
use crate::status::page;

/// The time in which a request line and its headers must arrive. A connection without a request is closed after it.
const ARRIVAL_MAX: Duration = Duration::from_secs(2);
/// The pause after an error of `accept`. The usual cause is that the process has too many open files.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest life of a connection. One that lasts longer belongs to a client that does not read its responses.
const CONNECTION_MAX: Duration = Duration::from_mins(5);
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// What the HTTP server needs to answer requests.
pub struct Server {
    /// The source of the overview.
    pub shown: Arc<dyn Shown>,
    /// The counters of the calls to AWS.
    pub calls: Arc<Calls>,
    /// The token that clients must present; `None`: only requests to names of this machine are answered.
    pub token: Option<Secret>,
}

/// keyround cannot listen on the configured address.
#[derive(Debug, thiserror::Error)]
#[error("nothing can be served at {address}: {source}")]
pub struct CannotListen {
    address: SocketAddr,
    source: std::io::Error,
}

/// Starts to listen. Requests are answered once [`Server::work`] runs.
///
/// # Errors
///
/// The address is in use, or does not belong to this machine.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, CannotListen> {
    TcpListener::bind(address).await.map_err(|source| CannotListen { address, source })
}

impl Server {
    /// Answers requests until `stop` is cancelled.
    pub async fn work(self, listener: TcpListener, stop: CancellationToken) {
        let (server, places) = (Arc::new(self), Places::default());
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (server, stop, place) = (Arc::clone(&server), stop.clone(), places.take(peer.ip()));
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = place.closed() => {}
                            _ = tokio::time::timeout(CONNECTION_MAX, server.attend(stream, &place)) => {}
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!("a connection could not be accepted: {error}");
                    places.make_room();
                    if tokio::time::timeout(PAUSE, stop.cancelled()).await.is_ok() {
                        return;
                    }
                }
            }
        }
    }

    async fn attend(self: Arc<Server>, stream: TcpStream, place: &Place) {
        let answer = service_fn(|request: Request<Incoming>| {
            let server = Arc::clone(&self);
            let answering = place.answering();
            async move {
                let answer = server.answer(&request).await;
                drop(answering);
                Ok::<_, Infallible>(answer)
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ARRIVAL_MAX)
            .serve_connection(TokioIo::new(stream), answer)
            .await;
        // A client may disconnect at any time, so an error here is not reported.
        drop(served);
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let is_head = request.method() == Method::HEAD;
        let mut response = self.answer_in_full(request).await;
        if is_head {
            *response.body_mut() = Full::default();
        }
        response
    }

    async fn answer_in_full(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = said(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path();
        if path == "/healthz/live" {
            return said(StatusCode::OK, TEXT, "live\n".to_owned());
        }
        if let Err(refused) = self.admits(request.headers()) {
            return *refused;
        }
        let overview = self.shown.overview().await;
        match path {
            "/" => said(StatusCode::OK, HTML, page::page(&overview)),
            "/healthz" | "/healthz/ready" => health(&overview.unready),
            "/api/status" => json(StatusCode::OK, &overview.status),
            "/metrics" => {
                let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
                let form = ExpositionFormat::accepted(accept.unwrap_or_default());
                said(StatusCode::OK, form.content_type(), metrics(&overview, &self.calls, form))
            }
            _ => said(
                StatusCode::NOT_FOUND,
                TEXT,
                "there are /, /metrics, /healthz and /api/status\n".to_owned(),
            ),
        }
    }

    /// With a token, a request must present it, as a bearer token or as the password of any user. Without one, the
    /// request must name this machine as its host. Else the response is returned that refuses the request.
    fn admits(&self, headers: &HeaderMap) -> Result<(), Box<Response<Full<Bytes>>>> {
        match &self.token {
            None if is_for_this_machine(headers) => Ok(()),
            None => {
                let sentence =
                    "ask 127.0.0.1 or localhost by that name; for other names, [serve] wants a token\n";
                Err(Box::new(said(StatusCode::FORBIDDEN, TEXT, sentence.to_owned())))
            }
            Some(token) if shown_token(headers).is_some_and(|shown| same(&shown, token)) => Ok(()),
            Some(_) => {
                let mut response =
                    said(StatusCode::UNAUTHORIZED, TEXT, "the token of [serve] is wanted\n".to_owned());
                let asked = HeaderValue::from_static("Basic realm=\"keyround\", charset=\"UTF-8\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, asked);
                Err(Box::new(response))
            }
        }
    }
}

fn same(shown: &Secret, token: &Secret) -> bool {
    verify_slices_are_equal(shown.expose().as_bytes(), token.expose().as_bytes()).is_ok()
}

fn shown_token(headers: &HeaderMap) -> Option<Secret> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = text.strip_prefix("Bearer ") {
        return Some(Secret::from(token));
    }
    let pair = BASE64.decode(text.strip_prefix("Basic ")?).ok()?;
    let pair = Secret::new(String::from_utf8(pair).ok()?);
    pair.expose().split_once(':').map(|(_, password)| Secret::from(password))
}

/// Whether the `Host` header names this machine. A page of another site can make its own name resolve to this machine
/// (DNS rebinding), but its requests then carry that name.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    // Another site cannot make an IP address resolve to this machine, so every address is accepted.
    if host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

#[derive(Serialize)]
struct Health<'a> {
    live: bool,
    ready: bool,
    reasons: &'a [String],
}

fn health(unready: &[String]) -> Response<Full<Bytes>> {
    let ready = unready.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Health { live: true, ready, reasons: unready })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_string(value).expect("what is shown has nothing that JSON cannot say");
    said(status, JSON, text)
}

fn said(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let policy = format!("{}; frame-ancestors 'none'", page::policy());
    let policy = HeaderValue::from_str(&policy).expect("a policy is ASCII");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
    }

    #[test]
    fn a_host_header_of_another_machine_is_refused() {
        for host in ["127.0.0.1:9464", "127.0.0.1", "[::1]:9464", "[::1]", "localhost", "localhost:9464"] {
            assert!(is_for_this_machine(&headers(header::HOST, host)), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example", ""]
        {
            assert!(!is_for_this_machine(&headers(header::HOST, host)), "{host}");
        }
        assert!(!is_for_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn a_token_is_read_from_a_bearer_or_a_basic_header() {
        let basic = format!("Basic {}", BASE64.encode("anybody:t:oken"));
        for (shown, token) in
            [("Bearer t:oken", Some("t:oken")), (&basic, Some("t:oken")), ("Digest x", None)]
        {
            let shown = shown_token(&headers(header::AUTHORIZATION, shown));
            assert_eq!(shown.as_ref().map(Secret::expose), token);
        }
        assert!(
            same(&Secret::from("a"), &Secret::from("a")) && !same(&Secret::from("a"), &Secret::from("ab"))
        );
    }
}
