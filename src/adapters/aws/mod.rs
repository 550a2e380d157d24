//! The AWS session: one configuration and one HTTPS client, shared by every adapter that calls AWS.
//!
//! Making a session reads nothing and calls nothing. The standard credentials chain (environment, profile, role) is
//! walked when the first call needs it, so a command that does not call AWS costs nothing and needs no credentials.
//!
//! **Invariant:** every call has a deadline.
//!
//! **Invariant:** every call is signed with this machine's own time. The SDK would correct it to AWS's time (see
//! [`clock`]), and then AWS would not refuse requests from a machine whose clock is wrong.
//!
//! **Invariant:** every client gets the configured endpoint directly. In the shared SDK configuration,
//! `AWS_ENDPOINT_URL` would take precedence over it.

pub(crate) mod clock;
mod credentials;
mod http;
pub mod iam;
pub(crate) mod pacing;
pub(crate) mod refusal;
mod role;
pub mod secret_store;
pub(crate) mod sending;
pub(crate) mod throttling;

use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_iam::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::TlsContext;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::sync::OnceCell;

use crate::adapters::aws::clock::AwsClock;
use crate::adapters::net::target::{self, BadTarget, Plaintext};
use crate::config::settings::AwsSettings;
use crate::core::ids::AccountId;

pub(crate) use role::role;

/// The client name that CloudTrail shows. It tells keyround's own calls from the vendors' calls.
const APP_NAME: &str = concat!("keyround-", env!("CARGO_PKG_VERSION"));
/// How keyround's name begins in a user agent, in every version of keyround.
const APP_IN_AGENT: &str = "app/keyround-";

/// The region if none is configured. IAM is one service for the whole partition, but STS needs a region.
const REGION_OF_LAST_RESORT: &str = "us-east-1";

/// The environment variables that name the endpoint of one service.
const ENDPOINT_VARIABLES: [&str; 6] = [
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_CLOUDTRAIL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_SNS",
];

/// How often a read is attempted at most, within its deadline. A call that changes something is sent once.
const READ_ATTEMPTS_MAX: u32 = 3;

/// How long keyround waits for AWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// For a connection.
    pub connect: Duration,
    /// For one attempt: a request and its response.
    pub attempt: Duration,
    /// For the whole call: credentials, attempts, and the waits between them.
    pub call: Duration,
}

impl Default for Deadlines {
    /// IAM normally answers within a second, and [`crate::ports::Iam`] promises that a call ends within a minute, with
    /// its wait for a turn.
    fn default() -> Deadlines {
        let connect = Duration::from_secs(3);
        Deadlines { connect, attempt: Duration::from_secs(6), call: Duration::from_secs(20) }
    }
}

/// The ambient identity and the connection to AWS. Cheap to make; everything is loaded on first use.
#[derive(Debug)]
pub struct AwsSession {
    settings: AwsSettings,
    deadlines: Deadlines,
    credentials: Option<SharedCredentialsProvider>,
    loaded: OnceCell<Loaded>,
}

/// The parts of a session that are made when the first call needs them.
#[derive(Debug)]
struct Loaded {
    sdk: SdkConfig,
    http: SharedHttpClient,
}

impl AwsSession {
    /// A session with these settings and the standard credentials chain. Nothing is read yet.
    #[must_use]
    pub fn new(settings: &AwsSettings) -> AwsSession {
        AwsSession {
            settings: settings.clone(),
            deadlines: Deadlines::default(),
            credentials: None,
            loaded: OnceCell::new(),
        }
    }

    /// The same session with these deadlines.
    #[must_use]
    pub fn with_deadlines(self, deadlines: Deadlines) -> AwsSession {
        AwsSession { deadlines, ..self }
    }

    /// The same session with these credentials in place of the standard chain.
    #[must_use]
    pub fn with_credentials(self, credentials: impl ProvideCredentials + 'static) -> AwsSession {
        AwsSession { credentials: Some(SharedCredentialsProvider::new(credentials)), ..self }
    }

    /// The shared SDK configuration: region, credentials, HTTPS client, deadlines.
    pub async fn sdk(&self) -> &SdkConfig {
        &self.loaded().await.sdk
    }

    async fn loaded(&self) -> &Loaded {
        self.loaded.get_or_init(|| Box::pin(self.load())).await
    }

    /// The same configuration, with the `Date` of AWS's responses recorded on this clock.
    pub(crate) async fn sdk_watched_by(&self, clock: &AwsClock) -> SdkConfig {
        let Loaded { sdk, http } = self.loaded().await;
        sdk.clone().into_builder().http_client(clock.watching(http.clone())).build()
    }

    /// The configured endpoint. The code that builds a client must set it on that client.
    #[must_use]
    pub fn endpoint_url(&self) -> Option<&str> {
        self.settings.endpoint_url.as_deref()
    }

    /// The account that the ambient credentials must belong to, if the configuration names one.
    #[must_use]
    pub fn account_id(&self) -> Option<&AccountId> {
        self.settings.account_id.as_ref()
    }

    /// Whether CloudTrail is asked who uses keys, for accounts that do not configure this themselves.
    #[must_use]
    pub fn asks_cloudtrail(&self) -> bool {
        self.settings.cloudtrail
    }

    /// Timeouts for a call inside another call, such as AssumeRole before CreateAccessKey. The inner call must end
    /// first, or the outer call cannot tell that it was never sent.
    #[must_use]
    pub fn inner_timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.deadlines.connect / 2)
            .operation_timeout(self.deadlines.attempt / 2)
            .build()
    }

    /// The deadline of a whole call, from when it is sent.
    pub(crate) fn call_deadline(&self) -> Duration {
        self.deadlines.call
    }

    async fn load(&self) -> Loaded {
        let (trusted, broken) = match http::trusted() {
            Ok(trusted) => (trusted, None),
            Err(why) => (TlsContext::default(), Some(why)),
        };
        let http = http::client(trusted);
        let watched = AwsClock::default().watching(http.clone());
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(watched.clone())
            .disable_clock_skew_correction(true)
            .app_name(AppName::new(APP_NAME).expect("a crate's name and version are an app name"))
            .retry_config(RetryConfig::standard().with_max_attempts(READ_ATTEMPTS_MAX))
            .timeout_config(self.timeouts())
            // Loading credentials counts against the deadline of the call that needs them.
            .identity_cache(IdentityCache::lazy().load_timeout(self.deadlines.call).build())
            // Responses are a few kilobytes, so the deadline of the attempt is enough against a stalled one.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(profile) = &self.settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(credentials) = &self.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        let sdk = loader.load().await;
        let region = sdk.region().cloned().unwrap_or(Region::from_static(REGION_OF_LAST_RESORT));
        let credentials = self.explained_credentials(&sdk, watched, broken);
        let mut sdk = sdk.into_builder().region(region);
        sdk.set_credentials_provider(credentials);
        Loaded { sdk: sdk.build(), http }
    }

    /// The credentials given to the session, of the configured profile, or of the standard chain, in this order. If the
    /// certificate authorities or the endpoint are refused, a provider that only returns the reason.
    fn explained_credentials(
        &self,
        sdk: &SdkConfig,
        http: SharedHttpClient,
        broken: Option<String>,
    ) -> Option<SharedCredentialsProvider> {
        if let Some(why) = broken.or_else(|| self.refused_endpoint(sdk)) {
            return Some(credentials::withheld(why));
        }
        match (&self.credentials, &self.settings.profile) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(profile)) => Some(credentials::of_profile(profile, sdk, http)),
            (None, None) => sdk.credentials_provider().map(|chain| credentials::of_chain(chain, sdk, http)),
        }
    }

    /// Why no request may be sent to the endpoint that the environment or a profile names; `None` if it may. A
    /// configured endpoint takes precedence, and it was checked when the configuration was read.
    fn refused_endpoint(&self, sdk: &SdkConfig) -> Option<String> {
        let of_services = ENDPOINT_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
        let named = of_services.chain(sdk.endpoint_url().map(str::to_owned));
        let refused = |url: String| {
            let why = match target::checked(&url, Plaintext::LoopbackOnly).err()? {
                BadTarget::Plaintext => {
                    "it is http and leaves this machine, and AWS answers with the secret of a new key; use https"
                        .to_owned()
                }
                bad => bad.to_string(),
            };
            Some(format!("the AWS endpoint that the environment or a profile names is refused: {why}"))
        };
        named.filter(|url| !url.is_empty() && self.settings.endpoint_url.is_none()).find_map(refused)
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.deadlines.connect)
            .operation_attempt_timeout(self.deadlines.attempt)
            .operation_timeout(self.deadlines.call)
            .build()
    }
}

/// Whether keyround made a call, by the user agent that CloudTrail shows.
pub(crate) fn is_ours(agent: &str) -> bool {
    agent.split([' ', '[', ']']).any(|word| word.starts_with(APP_IN_AGENT))
}

/// Whether a word consists of the characters that AWS's error codes and request ids have. Any other text may come from
/// another sender, and is not repeated in messages.
pub(crate) fn is_plain(word: &str) -> bool {
    word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}
