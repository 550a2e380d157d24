//! The credentials of a request. Secrets are read when the request is made, and not kept.
//!
//! **Invariant:** a token is fetched for one request and dropped with it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minijinja::value::Value as Word;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::byte_serialize;
use zeroize::{Zeroize, Zeroizing};

use crate::adapters::delivery::said::Sent;
use crate::adapters::delivery::template::TemplateContext;
use crate::adapters::delivery::{Prepared, Tools, address, answer, jwt, misconfigured};
use crate::adapters::net::target;
use crate::config::settings::{Auth, HttpStep};
use crate::core::rotation::{Refusal, RefusalCode};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Purpose, RecipePart, Request};

/// The name of a header in lower case, and its value.
pub(super) type Header = (String, Secret);

/// The credentials of a request.
pub(super) enum Credentials {
    Nothing,
    Header(Header),
    /// OAuth 2.0 client credentials (RFC 6749, section 4.4): the request that fetches the token.
    Token(Box<(Prepared, Sent)>),
}

/// Prepares the credentials for the request of `step`. Reads secrets and sends nothing.
pub(super) async fn credentials(
    tools: &Tools,
    step: &HttpStep,
    words: &TemplateContext,
    now: Timestamp,
) -> Answer<Credentials> {
    let render = |place: &str, source: &str| tools.render(place, source, words);
    Ok(match &step.auth {
        None => Credentials::Nothing,
        Some(Auth::Bearer(token)) => Credentials::Header(bearer(tools.resolve(token).await?.expose())),
        Some(Auth::Basic { user, password }) => {
            let user = render("auth.basic.user", user)?;
            Credentials::Header(basic(user.expose(), tools.resolve(password).await?.expose()))
        }
        Some(Auth::Header { name, value }) => {
            Credentials::Header((name.to_ascii_lowercase(), tools.resolve(value).await?))
        }
        Some(Auth::OAuth2 { token_url, client_id, client_secret, scope, audience, in_body }) => {
            let target = address::render(tools, "token_url", token_url, step, words)?;
            let audience = audience.as_deref().map(|source| render("audience", source)).transpose()?;
            let grant = Grant {
                client_id: render("client_id", client_id)?,
                client_secret: tools.resolve(client_secret).await?,
                scope: scope.as_deref(),
                audience,
            };
            let ready = grant.request(&target, *in_body, step.timeout);
            let sent = Sent::new("POST", target.path(), words, std::slice::from_ref(&grant.client_secret));
            Credentials::Token(Box::new((Prepared { target, ready }, sent)))
        }
        Some(Auth::Jwt { private_key, issuer, subject }) => {
            let pem = tools.resolve(private_key).await?;
            let unusable = |bad: jwt::BadKey| misconfigured(format!("the private key {private_key} {bad}"));
            let key = jwt::SigningKey::parse(&pem).map_err(unusable)?;
            let words = words.with("public_key_sha256", Word::from(key.fingerprint()));
            let issuer = tools.render("auth.jwt.issuer", issuer, &words)?;
            let subject = tools.render("auth.jwt.subject", subject, &words)?;
            Credentials::Header(bearer(key.sign(issuer.expose(), subject.expose(), now).expose()))
        }
    })
}

/// The client credentials grant of OAuth 2.0: the parameters of a token request.
struct Grant<'a> {
    client_id: Secret,
    client_secret: Secret,
    scope: Option<&'a str>,
    audience: Option<Secret>,
}

impl Grant<'_> {
    fn request(&self, target: &Url, in_body: bool, timeout: Duration) -> Request {
        let mut headers = vec![
            ("content-type".to_owned(), Secret::from("application/x-www-form-urlencoded")),
            ("accept".to_owned(), Secret::from("application/json")),
        ];
        let (id, secret) = (form_encoded(self.client_id.expose()), form_encoded(self.client_secret.expose()));
        let mut form = Zeroizing::new(grant(self.scope, self.audience.as_ref().map(Secret::expose)));
        match in_body {
            true => form.push_str(&Zeroizing::new(format!("&client_id={}&client_secret={}", *id, *secret))),
            // RFC 6749, 2.3.1: the id and the secret are form-encoded before they are joined.
            false => headers.push(basic(&id, &secret)),
        }
        Request {
            method: "POST".to_owned(),
            url: Secret::from(target.as_str()),
            headers,
            body: Some(Secret::from(form.as_str())),
            timeout,
        }
    }
}

impl Credentials {
    /// The header that authenticates the request, if there is one. A token is fetched now.
    pub(super) async fn header(
        self,
        tools: &Tools,
        purpose: &Purpose,
        now: Timestamp,
    ) -> Answer<Option<Header>> {
        match self {
            Credentials::Nothing => Ok(None),
            Credentials::Header(header) => Ok(Some(header)),
            Credentials::Token(asked) => {
                let (request, sent) = *asked;
                let token = fetch_token(tools, purpose, request, &sent, now).await;
                let token = token.map_err(nothing_was_delivered)?;
                Ok(Some(bearer(&token.access_token)))
            }
        }
    }
}

fn bearer(token: &str) -> Header {
    ("authorization".to_owned(), Secret::new(format!("Bearer {token}")))
}

fn basic(user: &str, password: &str) -> Header {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    ("authorization".to_owned(), Secret::new(format!("Basic {}", BASE64.encode(pair.as_bytes()))))
}

fn grant(scope: Option<&str>, audience: Option<&str>) -> String {
    let field = |name: &str, value: Option<&str>| {
        value.map(|value| format!("&{name}={}", form_encoded(value).as_str())).unwrap_or_default()
    };
    format!("grant_type=client_credentials{}{}", field("scope", scope), field("audience", audience))
}

fn form_encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(byte_serialize(text.as_bytes()).collect())
}

/// The response of a token endpoint (RFC 6749, 5.1). It has no `Debug`, because it contains a secret.
#[derive(Deserialize)]
struct Token {
    access_token: String,
    token_type: String,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

async fn fetch_token(
    tools: &Tools,
    purpose: &Purpose,
    request: Prepared,
    sent: &Sent,
    now: Timestamp,
) -> Answer<Token> {
    let host = target::host_of(&request.target);
    let purpose = Purpose { part: RecipePart::Token, ..purpose.clone() };
    let response = tools.egress.send(&purpose, request.ready).await?;
    tracing::debug!(delivery.host = %host, delivery.status = response.status, "a token was asked for");
    answer::accepted(&host, &response, &[200], now).map_err(|fault| sent.with_answer(fault, &response))?;
    match serde_json::from_str::<Token>(response.body.expose()) {
        Ok(token) if token.token_type.eq_ignore_ascii_case("bearer") => Ok(token),
        Ok(_) | Err(_) => Err(Fault::unknown(format!("{host} answered without a bearer token"))),
    }
}

/// Turns an unknown outcome of a token request into a refusal: the new key was not sent, so there is no doubt about
/// it.
fn nothing_was_delivered(fault: Fault) -> Fault {
    let (code, sentence, retry_after, said) = match fault {
        Fault::Refused(refusal) => (refusal.code, refusal.sentence, refusal.retry_after, refusal.said),
        Fault::Unknown(doubt) => (RefusalCode::NotSent, doubt.sentence, doubt.retry_after, doubt.said),
    };
    // A token endpoint that is gone is a mistake in the recipe, and does not mean that the vendor's own endpoint is
    // gone.
    let code = if code == RefusalCode::VendorGone { RefusalCode::VendorRefused } else { code };
    let sentence = format!("no token was received, so nothing was sent: {sentence}");
    Fault::Refused(Refusal { code, sentence, retry_after, nothing_sent: false, pairs: Vec::new(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorization_headers_and_token_requests_have_their_standard_form() {
        // RFC 7617, section 2; RFC 6750, section 2.1.
        assert_eq!(basic("Aladdin", "open sesame").1.expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(bearer("mF_9.B5f-4.1JqM").1.expose(), "Bearer mF_9.B5f-4.1JqM");
        assert_eq!(grant(None, None), "grant_type=client_credentials");
        assert_eq!(grant(Some("keys:write a"), None), "grant_type=client_credentials&scope=keys%3Awrite+a");
        assert_eq!(grant(None, Some("https://a")), "grant_type=client_credentials&audience=https%3A%2F%2Fa");
    }

    #[test]
    fn a_token_request_with_an_unknown_result_refuses_the_delivery() {
        let fault = nothing_was_delivered(Fault::unknown("auth.acme.example answered 500"));
        assert!(matches!(&fault, Fault::Refused(refusal) if refusal.code == RefusalCode::NotSent));
        assert!(
            fault.sentence().starts_with("no token was received, so nothing was sent: auth.acme.example")
        );
    }
}
