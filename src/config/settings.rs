//! The checked configuration. The program relies on these values without further checks.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{DatabaseUrl, Recipient, SecretRef};
pub use crate::core::alert::Policy;
use crate::core::ids::{AccountId, AccountName, IamUserName, SinkName, VendorName};
use crate::core::rotation::{IncidentMode, Plan, Windows};
pub use crate::core::schedule::{Ages, Cron, Deadline};
pub use crate::review::audit::Waiver;
use crate::review::policy::Pattern;

mod request;

pub use request::{AnswerPlace, Auth, Body, Capture, Expect, HttpStep, NextPage, Pages, Param, Writes};

/// How many routine rotations may begin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StartLimits {
    /// How many rotations may be under way until the first one of the journal is verified; `None`: any number.
    pub first: Option<usize>,
    /// How many rotations may begin within 24 hours; `None`: any number.
    pub per_day: Option<usize>,
}

/// All settings of `rotation.toml`, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The settings of `[journal]`.
    pub journal: JournalSettings,
    /// The settings of `[schedule]`.
    pub schedule: ScheduleSettings,
    /// `concurrency` in `[defaults]`: how many rotations may run at the same time; at least 1.
    pub concurrency: usize,
    /// `first` and `per_day` in `[defaults]`.
    pub starts: StartLimits,
    /// The settings of `[aws]`.
    pub aws: AwsSettings,
    /// The sections `[account.NAME]`, by name.
    pub accounts: BTreeMap<AccountName, AccountSettings>,
    /// The sections `[vendor.NAME]`, by name.
    pub vendors: BTreeMap<VendorName, VendorSettings>,
    /// The sections `[alert.NAME]`, by the sink's name.
    pub alerts: BTreeMap<SinkName, AlertSettings>,
    /// The settings of `[heartbeat]`, if there is such a section.
    pub heartbeat: Option<HeartbeatSettings>,
    /// The settings of `[serve]`, if there is such a section.
    pub serve: Option<ServeSettings>,
    /// `[exposure]`: whether AWS is asked which users it has quarantined; `None`: it is not.
    pub exposure: Option<ExposureSettings>,
    /// The entries of `[[waiver]]`, which accept findings of a review.
    pub waivers: Vec<Waiver>,
    /// `include`: the patterns, as they were written.
    pub include: Vec<String>,
    /// The fragments that were read, in that order, as mistakes name them.
    pub included: Vec<String>,
    /// Warnings about settings that are allowed but may not be intended, as sentences for the operator.
    pub warnings: Vec<String>,
}

/// `[journal]`: where the journal is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalSettings {
    /// The path of the SQLite file. With a database there is no such file, but keyround keeps the files there that it
    /// otherwise keeps beside the journal.
    pub path: PathBuf,
    /// The PostgreSQL database that holds the journal; `None`: the SQLite file.
    pub database: Option<DatabaseUrl>,
    /// The reference to the seal key; `None`: the file `seal.key` beside the SQLite file, which is created on first
    /// use. A journal in a database always has a reference.
    pub seal_key: Option<SecretRef>,
}

/// `[schedule]`: when passes run.
#[derive(Clone, Debug)]
pub struct ScheduleSettings {
    /// The times at which a pass is due, in the time zone of `timezone`. Windows use the same zone.
    pub cron: Cron,
    /// The longest random delay of a pass after its time.
    pub jitter: Duration,
}

/// `[aws]`: how keyround reaches AWS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AwsSettings {
    /// The region for STS and for services without a region of their own in the configuration.
    pub region: Option<String>,
    /// The account that the ambient credentials must belong to; `None`: any account.
    pub account_id: Option<AccountId>,
    /// The profile in the standard AWS configuration files.
    pub profile: Option<String>,
    /// The URL of an emulator or a private endpoint; `None`: AWS's own endpoints.
    pub endpoint_url: Option<String>,
    /// Whether CloudTrail is asked which callers use a key; `false` by default.
    pub cloudtrail: bool,
}

/// `[account.NAME]`: an account whose users' keys are rotated.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccountSettings {
    /// The account's id of twelve digits, if it is given.
    pub id: Option<AccountId>,
    /// The role that keyround assumes in the account; `None`: the ambient credentials belong to the account.
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// Whether CloudTrail is asked in this account; `None`: as `[aws]` says.
    pub cloudtrail: Option<bool>,
}

/// `[vendor.NAME]`: a vendor and its access to AWS.
#[derive(Clone, Debug)]
pub struct VendorSettings {
    /// The vendor's name.
    pub name: VendorName,
    /// Whether the vendor's keys are rotated.
    pub enabled: bool,
    /// The person or team to ask about the vendor, for people.
    pub owner: Option<String>,
    /// The access that the vendor was given.
    pub access: Access,
    /// The actions and resources that the vendor needs.
    pub needs: VendorNeeds,
    /// The place of its section in the configuration.
    pub written: Written,
}

/// A place in the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// The file, as it was named: the configuration, or a fragment that it includes.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The number of characters on that line.
    pub columns: usize,
}

/// `actions` and `resources` of `[vendor.NAME]`: what the vendor is declared to need.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VendorNeeds {
    /// IAM actions, such as `s3:PutObject`; empty: none are declared.
    pub actions: Vec<Pattern>,
    /// ARNs, such as `arn:aws:s3:::logs/*`, for the actions that take resources.
    pub resources: Vec<String>,
}

/// The access that a vendor was given.
#[derive(Clone, Debug)]
pub enum Access {
    /// Access keys, which are rotated.
    Key(Box<KeyAccess>),
    /// A role, which needs no rotation.
    Role {
        /// The role that the vendor assumes.
        role_arn: String,
        /// The vendor's own account, if it is given.
        vendor_account_id: Option<AccountId>,
    },
}

/// The settings of a vendor that was given access keys.
#[derive(Clone, Debug)]
pub struct KeyAccess {
    /// The account of the users, as in `[account.NAME]`; `None`: the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// The users whose keys are rotated.
    pub users: Users,
    /// The ages at which a key is due and overdue.
    pub ages: Ages,
    /// The windows in which a rotation may start and may retire a key.
    pub windows: Windows,
    /// The settings that the vendor's next rotation starts with. A rotation keeps the plan that it started with.
    pub plan: Plan,
    /// The steps of a delivery, in order; at least one.
    pub deliver: Vec<DeliverStep>,
    /// The names of the presets among the steps.
    pub presets: Vec<String>,
    /// The requests that ask the vendor which key is in force; each must confirm the new key. Empty: the vendor
    /// cannot be asked.
    pub verify: Vec<VerifyStep>,
    /// Requests without side effects that show whether the vendor accepts our credentials, in order.
    pub probe: Vec<HttpStep>,
}

/// The users whose keys are rotated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Users {
    /// The users with these names; at least one.
    Named(Vec<IamUserName>),
    /// Every user under this IAM path, such as `/vendors/acme/`.
    Path(String),
}

/// One step of a delivery.
#[derive(Clone, Debug)]
pub enum DeliverStep {
    /// `kind = "webhook"`: a signed message to the vendor.
    Webhook(WebhookStep),
    /// `kind = "http"`: a request to the vendor's API.
    Http(Box<HttpStep>),
    /// `kind = "secrets-manager"` and `kind = "ssm"`: the pair is stored at AWS.
    SecretStore(SecretStoreStep),
    /// `kind = "command"`: a program.
    Command(CommandStep),
    /// `kind = "manual"`: a person; this is then the only step.
    Manual(ManualStep),
}

/// One way to ask a vendor which key is in force.
#[derive(Clone, Debug)]
pub enum VerifyStep {
    /// An HTTP request.
    Http(Box<HttpStep>),
    /// A program that asks the vendor.
    Command(CommandStep),
}

/// `kind = "webhook"`: a message by Standard Webhooks 1.0.
#[derive(Clone, Debug)]
pub struct WebhookStep {
    /// The URL that the message is posted to. Not a template.
    pub url: String,
    /// The signing secrets, newest first; at least one. Each of them signs the message, so that the vendor can
    /// change from one to the next.
    pub secrets: Vec<SecretRef>,
    /// Which part of the new key the message holds.
    pub carries: Carries,
    /// The age recipient that the message's data is encrypted to, if there is one.
    pub encrypt_to: Option<Recipient>,
    /// The time limit of one attempt.
    pub timeout: Duration,
    /// Whether `http://` is allowed to a host that is not loopback.
    pub allow_plaintext: bool,
}

/// The part of a new key that a message carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carries {
    /// The secret access key.
    Secret,
    /// A reference to the place where an earlier step stored the pair.
    Reference,
}

/// `kind = "secrets-manager"` and `kind = "ssm"`: the pair is stored at AWS, where the vendor fetches it.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretStoreStep {
    /// The place where the pair is stored.
    pub place: Place,
    /// The document that is stored.
    pub content: Content,
}

/// A secret or parameter at AWS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The service, and the name of the secret or parameter.
    pub vault: Vault,
    /// The account, as in `[account.NAME]`; `None`: the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// The region; `None`: the one of `[aws]`.
    pub region: Option<String>,
}

/// Writes the place as a noun for sentences: "the secret NAME" or "the parameter NAME".
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vault {
            Vault::SecretsManager { id } => write!(f, "the secret {id}"),
            Vault::ParameterStore { name } => write!(f, "the parameter {name}"),
        }
    }
}

/// The service that holds a secret text, and the text's name there.
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

/// The content that is written to a secret or parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `fields = { … }`: these members of a JSON document, each value a template; the document's other members stay
    /// unchanged.
    Fields(BTreeMap<String, String>),
    /// `body = "…"`: one template for the whole text.
    Text(String),
    /// `json = { … }`: the whole document; each string in it is a template.
    Json(serde_json::Value),
}

/// `kind = "command"`: a program that gets the pair as JSON on its standard input.
#[derive(Clone, Debug)]
pub struct CommandStep {
    /// The absolute path of the program, and its arguments. Not templates.
    pub argv: Vec<String>,
    /// The output that is expected besides an exit code of 0.
    pub expect: ExpectOutput,
    /// Values that are captured for later steps of the same delivery: name -> JSON pointer into the output.
    pub capture: BTreeMap<String, String>,
    /// The time limit of one run.
    pub timeout: Duration,
    /// The age recipient that the data is encrypted to, if there is one.
    pub encrypt_to: Option<Recipient>,
}

/// The output that is expected from a program.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExpectOutput {
    /// The JSON pointer of a value that must be in the output; `None`: any output will do.
    pub pointer: Option<String>,
    /// The text that the value must be equal to; a template. `None`: any value will do.
    pub equals: Option<String>,
}

/// `kind = "manual"`: a person delivers the new key to the vendor.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ManualStep {
    /// The instructions for that person.
    pub instructions: Option<String>,
}

/// `[alert.NAME]`: one sink for alerts.
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// The route: which conditions are sent, how often they are repeated, and in which form.
    pub policy: Policy,
    /// The sink that receives the notifications.
    pub sink: SinkSettings,
    /// The time limit of one notification.
    pub timeout: Duration,
}

/// The kind of a sink, and its address.
#[derive(Clone, Debug)]
pub enum SinkSettings {
    /// `kind = "webhook"`: a message by Standard Webhooks 1.0, as for vendors.
    Webhook(WebhookStep),
    /// `kind = "slack"`: an incoming webhook. Its URL is a secret: whoever knows it can write to the channel.
    Slack {
        /// The URL of the webhook.
        url: SecretRef,
    },
    /// `kind = "pagerduty"`: Events API v2.
    PagerDuty {
        /// The integration key.
        routing_key: SecretRef,
        /// The URL of the API, such as `https://events.pagerduty.com`.
        url: String,
    },
    /// `kind = "alertmanager"`: its API v2 for alerts.
    Alertmanager {
        /// The URLs of its instances, each without `/api/v2/alerts`. Each instance receives every alert.
        urls: Vec<String>,
        /// How requests authenticate, if they do.
        auth: Option<Auth>,
        /// Labels that are added to every alert.
        labels: BTreeMap<String, String>,
        /// Whether `http://` is allowed to a host that is not loopback.
        allow_plaintext: bool,
    },
    /// `kind = "email"`: mail by SMTP.
    Email(Box<EmailSettings>),
    /// `kind = "sns"`: a topic of Amazon SNS.
    Sns {
        /// The ARN of the topic.
        topic_arn: String,
        /// The topic's region.
        region: String,
    },
    /// `kind = "command"`: a program that gets the alert as JSON on its standard input.
    Command {
        /// The absolute path of the program, and its arguments.
        command: Vec<String>,
    },
}

/// `kind = "email"`: a sink that sends mail by SMTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmailSettings {
    /// The host name of the mail server.
    pub host: String,
    /// The port of the mail server.
    pub port: u16,
    /// How the connection to the server is encrypted.
    pub tls: MailTls,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses; at least one.
    pub to: Vec<String>,
    /// The user name and the password, if the server demands a login.
    pub login: Option<(String, SecretRef)>,
}

/// How the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailTls {
    /// TLS from the first byte, usually on port 465.
    Tls,
    /// STARTTLS, usually on port 587: the connection changes to TLS before the login. A server without it is
    /// refused.
    StartTls,
    /// No encryption: allowed to this machine, or where `allow_plaintext` is set.
    None,
}

/// `[heartbeat]`: a monitor outside keyround that raises an alarm when passes stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeartbeatSettings {
    /// The URL to which each full pass is reported.
    pub url: HeartbeatUrl,
    /// The time limit of one report.
    pub timeout: Duration,
}

/// The URL of a heartbeat. It may be written in the file, because whoever knows it can only report passes that did
/// not happen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HeartbeatUrl {
    /// The URL as it is written in the file.
    Plain(String),
    /// A reference to the URL.
    Secret(SecretRef),
}

/// `[exposure]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExposureSettings {
    /// How often `keyround run` asks AWS, at least a second apart.
    pub poll: Duration,
    /// What is done about a user that AWS has quarantined, besides the alert.
    pub action: ExposureAction,
}

/// What is done about a user that AWS has quarantined.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExposureAction {
    /// Nothing more than the alert.
    Alert,
    /// An incident is declared in this mode.
    Declare(IncidentMode),
}

impl ExposureAction {
    /// The word, as in `action = "…"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.mode().map_or("alert", IncidentMode::as_str)
    }

    /// The mode of the incident that is declared, if one is.
    #[must_use]
    pub fn mode(self) -> Option<IncidentMode> {
        match self {
            ExposureAction::Alert => None,
            ExposureAction::Declare(mode) => Some(mode),
        }
    }
}

/// `[serve]`: the server of the status page and the metrics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServeSettings {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// The token that a client must send. It is present whenever `listen` can be reached from another machine.
    pub token: Option<SecretRef>,
}
