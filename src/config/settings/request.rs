//! One request to a vendor, as its recipe describes it, and what is made of the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::SecretRef;

/// `kind = "http"`, `[vendor.NAME.verify]`, and the steps of a preset: one request, from templates.
#[derive(Clone, Debug)]
pub struct HttpStep {
    /// `GET`, `PUT`, `POST`, `PATCH`, `DELETE`.
    pub method: String,
    /// A template.
    pub url: String,
    /// Values are templates.
    pub headers: BTreeMap<String, String>,
    /// How the request shows who sends it.
    pub auth: Option<Auth>,
    /// What is sent.
    pub body: Body,
    /// What counts as a yes.
    pub expect: Expect,
    /// Values kept for later steps of the same delivery, by name.
    pub capture: BTreeMap<String, Capture>,
    /// Where the rest of a long answer is.
    pub pages: Option<Pages>,
    /// A template: the step is left out when it comes out empty or as `false`.
    pub when: Option<String>,
    /// Whether it may change what the vendor holds. `changes = false` says so of a `POST` that only reads.
    pub changes: bool,
    /// The vendor stores the pair as two values, and this request writes one of them.
    pub writes: Option<Writes>,
    /// An answer as the vendor documents it, for those who stand in for the vendor. Strings are templates.
    pub sample: Option<serde_json::Value>,
    /// What the templates call `params`.
    pub params: Arc<BTreeMap<String, Param>>,
    /// What the templates call `secrets`: references, which are read when the request is made.
    pub secrets: Arc<BTreeMap<String, SecretRef>>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// `http://` to a host that is not loopback is allowed.
    pub allow_plaintext: bool,
}

impl HttpStep {
    /// A request without anything.
    #[must_use]
    pub fn new(method: &str, url: &str, timeout: Duration) -> HttpStep {
        HttpStep {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: BTreeMap::new(),
            auth: None,
            body: Body::Empty,
            expect: Expect::default(),
            capture: BTreeMap::new(),
            pages: None,
            when: None,
            changes: method != "GET",
            writes: None,
            sample: None,
            params: Arc::default(),
            secrets: Arc::default(),
            timeout,
            allow_plaintext: false,
        }
    }
}

/// Which value of a pair a request writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writes {
    /// `writes = "id"`: the access key id, and nothing else. The same request with the old id takes that back.
    Id,
    /// `writes = "secret"`, or `completes_pair = true`: the secret access key.
    Secret,
}

/// A value that a preset was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Param {
    /// A text.
    Text(String),
    /// A whole number.
    Number(u32),
    /// Yes or no.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<String>),
    /// A secret, which is read when it is needed.
    Secret(SecretRef),
}

/// A value of an answer that is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Capture {
    /// Where it stands.
    pub place: AnswerPlace,
    /// What is kept when nothing stands there; without it, that is a refusal.
    pub default: Option<String>,
}

/// Where in an answer a value stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AnswerPlace {
    /// A text, a number or a flag, at an RFC 6901 pointer; `""` is the whole document.
    Pointer(String),
    /// A whole part of the document.
    Document(String),
    /// A header, in lower case.
    Header(String),
    /// In one item of a list: the only one that matches.
    Search {
        /// The pointer to the list.
        list: String,
        /// What the item says: pointer in the item -> template.
        matching: BTreeMap<String, String>,
        /// The pointer, in the item, to the value.
        take: String,
    },
}

/// Where the rest of a long answer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pages {
    /// How the next page is named.
    pub next: NextPage,
    /// At most so many pages are read.
    pub max: u32,
}

/// How an answer names its next page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NextPage {
    /// An address at this pointer.
    Address(String),
    /// An address in the `Link` header, RFC 8288, with `rel="next"`.
    LinkHeader,
    /// A token at this pointer, which is sent as this parameter of the query.
    Token {
        /// Where it stands.
        pointer: String,
        /// What it is called in the query.
        parameter: String,
    },
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// `body = "…"`: a template, sent as it comes out.
    Text(String),
    /// `json = { … }`: each string in it is a template, and `{ "$json" = "…" }` is what its template comes out as.
    Json(serde_json::Value),
    /// `form = { … }`: each value is a template.
    Form(BTreeMap<String, String>),
    /// `edit = { … }`: a document that an earlier step has captured, with some of it replaced.
    Edit {
        /// The name that it was captured under.
        document: String,
        /// Pointer -> value, as in `json`.
        set: BTreeMap<String, serde_json::Value>,
        /// Pointers to what is left out.
        remove: Vec<String>,
    },
}

/// How a request shows who sends it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Auth {
    /// `{ bearer = REF }`
    Bearer(SecretRef),
    /// `{ basic = { user = "…", password = REF } }`
    Basic {
        /// The user, in clear; a template over `params`.
        user: String,
        /// The password.
        password: SecretRef,
    },
    /// `{ header = { name = "…", value = REF } }`
    Header {
        /// The header's name.
        name: String,
        /// Its whole value.
        value: SecretRef,
    },
    /// `{ oauth2 = { token_url, client_id, client_secret, scope, audience, credentials_in } }`: client credentials,
    /// RFC 6749 4.4.
    OAuth2 {
        /// Where tokens are had; a template over `params`.
        token_url: String,
        /// The client, in clear; a template over `params`.
        client_id: String,
        /// Its secret.
        client_secret: SecretRef,
        /// The scope asked for.
        scope: Option<String>,
        /// Whom the token is for; a template over `params`. Auth0 asks for it.
        audience: Option<String>,
        /// Whether the client shows itself in the form, and not in a header.
        in_body: bool,
    },
    /// `{ jwt = { private_key = REF, issuer, subject } }`: a token that is signed here (RS256) and sent as a bearer.
    Jwt {
        /// An RSA key in PEM, PKCS #8, not encrypted.
        private_key: SecretRef,
        /// A template over `params` and `public_key_sha256`.
        issuer: String,
        /// A template over `params`.
        subject: String,
    },
}

/// What counts as a yes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expect {
    /// These statuses; empty: any 2xx.
    pub status: Vec<u16>,
    /// And here in the answer…
    pub place: Option<AnswerPlace>,
    /// …this text stands; a template. Without it, something must stand there.
    pub equals: Option<String>,
    /// And nothing stands at these JSON pointers, or null, or an empty list.
    pub absent: Vec<String>,
    /// And this template, which may speak of `answer`, comes out as `true`.
    pub that: Option<String>,
    /// What it means when it is not so. A sentence of the recipe, for people.
    pub refusal: Option<String>,
}
