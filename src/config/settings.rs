//! The configuration as the program may rely on it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Recipient, SecretRef};
use crate::ids::{AccountId, AccountName, IamUserName, VendorName};
use crate::rotation::{Plan, Windows};
pub use crate::schedule::{Ages, Cron};

/// Everything that `rotation.toml` says, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[journal]`
    pub journal: JournalSettings,
    /// `[schedule]`
    pub schedule: ScheduleSettings,
    /// `[defaults] concurrency`: rotations in flight at once, at least 1.
    pub concurrency: usize,
    /// `[aws]`
    pub aws: AwsSettings,
    /// `[account.NAME]`
    pub accounts: BTreeMap<AccountName, AccountSettings>,
    /// `[vendor.NAME]`
    pub vendors: BTreeMap<VendorName, VendorSettings>,
    /// What is allowed, and an operator should know all the same. Sentences.
    pub warnings: Vec<String>,
}

/// `[journal]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalSettings {
    /// The SQLite file.
    pub path: PathBuf,
    /// Where the seal key is; `None`: `seal.key` beside the journal, made on first use.
    pub seal_key: Option<SecretRef>,
}

/// `[schedule]`
#[derive(Clone, Debug)]
pub struct ScheduleSettings {
    /// When a pass is due, in the zone of `timezone`; the windows are read in the same zone.
    pub cron: Cron,
    /// A pass starts up to this much after its time.
    pub jitter: Duration,
}

/// `[aws]`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AwsSettings {
    /// The region, for STS.
    pub region: Option<String>,
    /// The profile of the standard AWS files.
    pub profile: Option<String>,
    /// An emulator or a private endpoint.
    pub endpoint_url: Option<String>,
}

/// `[account.NAME]`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccountSettings {
    /// The account's twelve digits, if they are given.
    pub id: Option<AccountId>,
    /// The role to assume in it; `None`: the ambient credentials belong to it.
    pub role_arn: Option<String>,
    /// The external id that the role's trust asks for.
    pub external_id: Option<String>,
}

/// `[vendor.NAME]`
#[derive(Clone, Debug)]
pub struct VendorSettings {
    /// The vendor's name.
    pub name: VendorName,
    /// Whether anything is done for it.
    pub enabled: bool,
    /// Whom to ask about it.
    pub owner: Option<String>,
    /// What it was given.
    pub access: Access,
}

/// What a vendor was given.
#[derive(Clone, Debug)]
pub enum Access {
    /// An access key, which is rotated.
    Key(Box<KeyAccess>),
    /// A role, which has nothing to rotate.
    Role {
        /// The role that the vendor assumes.
        role_arn: String,
        /// The vendor's own account.
        vendor_account_id: Option<AccountId>,
    },
}

/// A vendor that was given an access key.
#[derive(Clone, Debug)]
pub struct KeyAccess {
    /// `[account.NAME]`, or `None` for the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// Whose keys.
    pub users: Users,
    /// When a key is due.
    pub ages: Ages,
    /// When a rotation may start, and may retire a key.
    pub windows: Windows,
    /// The settings that its next rotation will be frozen with.
    pub plan: Plan,
    /// The steps of a delivery, in order; at least one.
    pub deliver: Vec<DeliverStep>,
    /// How the vendor is asked which key is in force: each of these must say so. None: it cannot be asked.
    pub verify: Vec<VerifyStep>,
    /// Requests that change nothing and show whether the vendor knows us, in order.
    pub probe: Vec<HttpStep>,
}

/// Whose keys are rotated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Users {
    /// These; at least one.
    Named(Vec<IamUserName>),
    /// Every user under this IAM path, such as `/vendors/acme/`.
    Path(String),
}

/// One step of a delivery.
#[derive(Clone, Debug)]
pub enum DeliverStep {
    /// `kind = "webhook"`
    Webhook(WebhookStep),
    /// `kind = "http"`
    Http(Box<HttpStep>),
    /// `kind = "secrets-manager"` and `kind = "ssm"`
    DropOff(DropOffStep),
    /// `kind = "command"`
    Command(CommandStep),
    /// `kind = "manual"`; then it is the only step.
    Manual(ManualStep),
}

/// One question to a vendor.
#[derive(Clone, Debug)]
pub enum VerifyStep {
    /// By a request.
    Http(Box<HttpStep>),
    /// By a program that knows how.
    Command(CommandStep),
}

/// `kind = "webhook"`: Standard Webhooks 1.0.
#[derive(Clone, Debug)]
pub struct WebhookStep {
    /// Where to. Not a template.
    pub url: String,
    /// The signing secrets, newest first; at least one. Each signs, so that the vendor can change over.
    pub secrets: Vec<SecretRef>,
    /// What of the new key is in the message.
    pub carries: Carries,
    /// The message's data is encrypted to this recipient.
    pub encrypt_to: Option<Recipient>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// `http://` to a host that is not loopback was allowed out loud.
    pub allow_plaintext: bool,
}

/// What of a new key a message carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carries {
    /// Its secret half.
    Secret,
    /// Where an earlier step put it.
    Reference,
}

/// `kind = "secrets-manager"` and `kind = "ssm"`: the pair is put where the vendor fetches it.
#[derive(Clone, Debug, PartialEq)]
pub struct DropOffStep {
    /// Where.
    pub place: Place,
    /// What.
    pub content: Content,
}

/// A place at AWS that holds a secret text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Which.
    pub vault: Vault,
    /// `[account.NAME]`, or `None` for the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// The region; `None`: that of `[aws]`.
    pub region: Option<String>,
}

/// As sentences name it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vault {
            Vault::SecretsManager { id } => write!(f, "the secret {id}"),
            Vault::ParameterStore { name } => write!(f, "the parameter {name}"),
        }
    }
}

/// What a place is called, and by which service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Vault {
    /// AWS Secrets Manager.
    SecretsManager {
        /// The secret's name or ARN.
        id: String,
    },
    /// SSM Parameter Store, a `SecureString`.
    ParameterStore {
        /// The parameter's name or ARN.
        name: String,
    },
}

/// What is put there.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `fields = { … }`: these members of a JSON document, each value a template; its other members are kept.
    Fields(BTreeMap<String, String>),
    /// `body = "…"`: a template of all of it.
    Text(String),
    /// `json = { … }`: all of it; each string in it is a template.
    Json(serde_json::Value),
}

/// `kind = "command"`: a program, given the pair as JSON on its standard input.
#[derive(Clone, Debug)]
pub struct CommandStep {
    /// The program, by its absolute path, and its arguments. Not templates.
    pub argv: Vec<String>,
    /// What must stand in its output, beside an exit code of 0.
    pub expect: ExpectOutput,
    /// Values kept for later steps of the same delivery: name -> JSON pointer into its output.
    pub capture: BTreeMap<String, String>,
    /// How long it may run.
    pub timeout: Duration,
    /// The data is encrypted to this recipient.
    pub encrypt_to: Option<Recipient>,
}

/// What must stand in the output of a program.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExpectOutput {
    /// At this JSON pointer…
    pub pointer: Option<String>,
    /// …this text stands; a template. Without it, something must stand there.
    pub equals: Option<String>,
}

/// `kind = "manual"`: a person takes the new key to the vendor.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ManualStep {
    /// What that person is to do.
    pub instructions: Option<String>,
}

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
    /// It is the second of two writes that only make sense together.
    pub completes_pair: bool,
    /// An answer as the vendor documents it, for those who stand in for the vendor. Strings are templates.
    pub sample: Option<serde_json::Value>,
    /// What the templates call `params`.
    pub params: Arc<BTreeMap<String, Param>>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// `http://` to a host that is not loopback was allowed out loud.
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
            completes_pair: false,
            sample: None,
            params: Arc::default(),
            timeout,
            allow_plaintext: false,
        }
    }
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
