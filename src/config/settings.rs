//! The configuration as the program may rely on it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Recipient, SecretRef};
pub use crate::core::alert::Policy;
use crate::core::ids::{AccountId, AccountName, IamUserName, SinkName, VendorName};
use crate::core::rotation::{Plan, Windows};
pub use crate::core::schedule::{Ages, Cron, Deadline};
pub use crate::review::audit::Waiver;
use crate::review::policy::Pattern;

mod request;

pub use request::{AnswerPlace, Auth, Body, Capture, Expect, HttpStep, NextPage, Pages, Param, Writes};

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
    /// `[alert.NAME]`
    pub alerts: BTreeMap<SinkName, AlertSettings>,
    /// `[heartbeat]`
    pub heartbeat: Option<HeartbeatSettings>,
    /// `[serve]`
    pub serve: Option<ServeSettings>,
    /// `[[waiver]]`: findings of a review that are accepted.
    pub waivers: Vec<Waiver>,
    /// `include`: the patterns, as they were written.
    pub include: Vec<String>,
    /// The fragments that were read, in that order, as mistakes name them.
    pub included: Vec<String>,
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
    /// The account that the ambient credentials must belong to; `None`: whichever it is.
    pub account_id: Option<AccountId>,
    /// The profile of the standard AWS files.
    pub profile: Option<String>,
    /// An emulator or a private endpoint.
    pub endpoint_url: Option<String>,
    /// Whether CloudTrail is asked who uses a key; `false` if it is not said.
    pub cloudtrail: bool,
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
    /// Whether CloudTrail is asked in it; `None`: as `[aws]` says.
    pub cloudtrail: Option<bool>,
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
    /// What it says it needs.
    pub needs: VendorNeeds,
    /// Where its section stands.
    pub written: Written,
}

/// Where something stands in the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// The file, as it was named: the configuration, or a fragment that it includes.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The number of characters on that line.
    pub columns: usize,
}

/// `actions` and `resources` of `[vendor.NAME]`: what a vendor says it needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VendorNeeds {
    /// IAM actions, such as `s3:PutObject`; empty: it does not say.
    pub actions: Vec<Pattern>,
    /// ARNs, such as `arn:aws:s3:::logs/*`, for the actions that take some.
    pub resources: Vec<String>,
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
    /// The presets among the steps.
    pub presets: Vec<String>,
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
    /// `http://` to a host that is not loopback is allowed.
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

/// `[alert.NAME]`
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// What is told, how often, in which form.
    pub policy: Policy,
    /// To whom.
    pub sink: SinkSettings,
    /// How long one telling may take.
    pub timeout: Duration,
}

/// To whom alerts go.
#[derive(Clone, Debug)]
pub enum SinkSettings {
    /// `kind = "webhook"`: Standard Webhooks 1.0, as for vendors.
    Webhook(WebhookStep),
    /// `kind = "slack"`: an incoming webhook. Its address is all that one needs to write there.
    Slack {
        /// The address.
        url: SecretRef,
    },
    /// `kind = "pagerduty"`: Events API v2.
    PagerDuty {
        /// The integration key.
        routing_key: SecretRef,
        /// Such as `https://events.pagerduty.com`.
        url: String,
    },
    /// `kind = "alertmanager"`: the alerts of its API v2.
    Alertmanager {
        /// Its instances, each without `/api/v2/alerts`; each is told.
        urls: Vec<String>,
        /// How the request shows who sends it.
        auth: Option<Auth>,
        /// Labels that every alert gets.
        labels: BTreeMap<String, String>,
        /// `http://` to a host that is not loopback is allowed.
        allow_plaintext: bool,
    },
    /// `kind = "email"`
    Email(Box<EmailSettings>),
    /// `kind = "sns"`
    Sns {
        /// The topic.
        topic_arn: String,
        /// The topic's region.
        region: String,
    },
    /// `kind = "command"`: the alert as JSON on its standard input.
    Command {
        /// The program, absolute, and its arguments.
        command: Vec<String>,
    },
}

/// `kind = "email"`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmailSettings {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub tls: MailTls,
    /// Who it is from.
    pub from: String,
    /// To whom; at least one.
    pub to: Vec<String>,
    /// The login, if the server wants one: the user in clear, and its password.
    pub login: Option<(String, SecretRef)>,
}

/// How mail is kept from others on its way to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailTls {
    /// TLS from the first byte, usually on port 465.
    Tls,
    /// TLS before anything that matters, usually on port 587; a server without it is refused.
    StartTls,
    /// None: to this machine, or where `allow_plaintext` allows it.
    None,
}

/// `[heartbeat]`: who raises the alarm when passes stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeartbeatSettings {
    /// Where a full pass is reported.
    pub url: HeartbeatUrl,
    /// How long that may take.
    pub timeout: Duration,
}

/// The address of a heartbeat. Who knows it can only pretend that all is well, so it may stand in the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HeartbeatUrl {
    /// In the file.
    Plain(String),
    /// Elsewhere.
    Secret(SecretRef),
}

/// `[serve]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServeSettings {
    /// Where.
    pub listen: SocketAddr,
    /// What a reader must show; there is one wherever `listen` can be reached from another machine.
    pub token: Option<SecretRef>,
}
