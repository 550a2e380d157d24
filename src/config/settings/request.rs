//! One request to a vendor as its recipe describes it, and how the response is judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::SecretRef;

/// One request from templates: `kind = "http"`, `[vendor.NAME.verify]`, or a step of a preset.
#[derive(Clone, Debug)]
pub struct HttpStep {
    /// The method: `GET`, `PUT`, `POST`, `PATCH` or `DELETE`.
    pub method: String,
    /// The URL, as a template.
    pub url: String,
    /// The headers; each value is a template.
    pub headers: BTreeMap<String, String>,
    /// How the request authenticates, if it does.
    pub auth: Option<Auth>,
    /// The body of the request.
    pub body: Body,
    /// What a response must be like to count as success.
    pub expect: Expect,
    /// Values that are captured from the response for later steps of the same delivery, by name.
    pub capture: BTreeMap<String, Capture>,
    /// How the further pages of a response are read, if it has some.
    pub pages: Option<Pages>,
    /// A template. If it renders to an empty text or `false`, the step is skipped.
    pub when: Option<String>,
    /// Whether the request may change what the vendor stores. `changes = false` marks a `POST` that only reads.
    pub changes: bool,
    /// Which value of the pair the request writes, if the vendor stores the pair as two values.
    pub writes: Option<Writes>,
    /// A response as the vendor documents it, which the rehearsal's substitute for the vendor sends. Strings in it
    /// are templates.
    pub sample: Option<serde_json::Value>,
    /// The values that templates read as `params.NAME`.
    pub params: Arc<BTreeMap<String, Param>>,
    /// The secrets that templates read as `secrets.NAME`: references, which are resolved when the request is sent.
    pub secrets: Arc<BTreeMap<String, SecretRef>>,
    /// The time limit of one attempt.
    pub timeout: Duration,
    /// Whether `http://` is allowed to a host that is not loopback.
    pub allow_plaintext: bool,
}

impl HttpStep {
    /// A request with this method, URL and time limit, and defaults for everything else.
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

/// The value of a pair that a request writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writes {
    /// `writes = "id"`: the `AccessKeyId` and nothing else. The same request with the old id undoes the change.
    Id,
    /// `writes = "secret"`, or `completes_pair = true`: the secret access key.
    Secret,
}

/// The value of a preset's parameter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Param {
    /// A text.
    Text(String),
    /// A whole number.
    Number(u32),
    /// A boolean.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<String>),
    /// A reference to a secret, which is resolved when it is needed.
    Secret(SecretRef),
}

/// A value that is captured from a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Capture {
    /// The place of the value in the response.
    pub place: AnswerPlace,
    /// The value that is captured if there is none at the place; `None`: its absence fails the step.
    pub default: Option<String>,
}

/// The place of a value in a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AnswerPlace {
    /// A text, number or boolean at an RFC 6901 pointer; `""` is the whole document.
    Pointer(String),
    /// A whole part of the document, at an RFC 6901 pointer.
    Document(String),
    /// A header, by its name in lower case.
    Header(String),
    /// A value in the one item of a list that matches.
    Search {
        /// The pointer to the list.
        list: String,
        /// The values that the item must have: pointer within the item -> template.
        matching: BTreeMap<String, String>,
        /// The pointer to the value, within the item.
        take: String,
    },
}

/// How the further pages of a long response are read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pages {
    /// How a response names its next page.
    pub next: NextPage,
    /// The most pages that are read.
    pub max: u32,
}

/// How a response names its next page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NextPage {
    /// The URL of the next page, at this pointer.
    Address(String),
    /// The URL in the header `Link` (RFC 8288) with `rel="next"`.
    LinkHeader,
    /// A token in the response, which the next request sends as a query parameter.
    Token {
        /// The pointer to the token.
        pointer: String,
        /// The name of the query parameter.
        parameter: String,
    },
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// No body.
    Empty,
    /// `body = "…"`: a template, whose result is sent unchanged.
    Text(String),
    /// `json = { … }`: each string in it is a template, and `{ "$json" = "…" }` is replaced by the JSON that its
    /// template renders to.
    Json(serde_json::Value),
    /// `form = { … }`: each value is a template.
    Form(BTreeMap<String, String>),
    /// `edit = { … }`: a document that an earlier step captured, with some parts replaced.
    Edit {
        /// The name under which the document was captured.
        document: String,
        /// The replaced parts: pointer -> value, as in `json`.
        set: BTreeMap<String, serde_json::Value>,
        /// The pointers to the parts that are removed.
        remove: Vec<String>,
    },
}

/// How a request authenticates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Auth {
    /// `{ bearer = REF }`: a bearer token.
    Bearer(SecretRef),
    /// `{ basic = { user = "…", password = REF } }`: basic authentication.
    Basic {
        /// The user name, which is not a secret; a template over `params`.
        user: String,
        /// The password.
        password: SecretRef,
    },
    /// `{ header = { name = "…", value = REF } }`: a header with this name.
    Header {
        /// The header's name.
        name: String,
        /// Its whole value.
        value: SecretRef,
    },
    /// `{ oauth2 = { token_url, client_id, client_secret, scope, audience, credentials_in } }`: the client
    /// credentials grant of RFC 6749, section 4.4.
    OAuth2 {
        /// The URL of the token endpoint; a template over `params`.
        token_url: String,
        /// The client id, which is not a secret; a template over `params`.
        client_id: String,
        /// The client secret.
        client_secret: SecretRef,
        /// The scope that is requested.
        scope: Option<String>,
        /// The audience of the token; a template over `params`. Auth0 demands it.
        audience: Option<String>,
        /// Whether the client credentials are sent in the form body, and not in a header.
        in_body: bool,
    },
    /// `{ jwt = { private_key = REF, issuer, subject } }`: a token that keyround signs (RS256) and sends as a
    /// bearer token.
    Jwt {
        /// An RSA key in PEM, PKCS #8, not encrypted.
        private_key: SecretRef,
        /// The issuer; a template over `params` and `public_key_sha256`.
        issuer: String,
        /// The subject; a template over `params`.
        subject: String,
    },
}

/// What a response must be like to count as success. All conditions must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expect {
    /// The accepted status codes; empty: any 2xx.
    pub status: Vec<u16>,
    /// The place of a value that must be in the response; `None`: no value is demanded.
    pub place: Option<AnswerPlace>,
    /// The text that the value at `place` must be equal to; a template. `None`: any value will do.
    pub equals: Option<String>,
    /// JSON pointers at which the response must have nothing, null or an empty list.
    pub absent: Vec<String>,
    /// A template that may use `answer`, the response, and must render to `true`.
    pub that: Option<String>,
    /// What it means if the response is different: a sentence of the recipe, for people.
    pub refusal: Option<String>,
}
