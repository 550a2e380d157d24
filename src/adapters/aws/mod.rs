//! The way to AWS: one configuration and one HTTPS client, shared by every adapter that calls AWS.
//!
//! Nothing is read and nobody is called when a session is made: the standard chain (environment,
//! profile, role) is walked when the first call needs it. So a command that asks AWS nothing costs
//! nothing, and needs no credentials.
//!
//! **Invariant:** every call has a deadline.
//!
//! **Invariant:** every call is signed with this machine's own time. The SDK would correct it by AWS's (see [`clock`]),
//! and then a wrong clock were not refused.
//!
//! **Invariant:** the endpoint of the configuration goes to every client by itself. In the shared
//! configuration it would lose to `AWS_ENDPOINT_URL`.

pub(crate) mod clock;
mod credentials;
mod http;
pub mod iam;
pub(crate) mod refusal;
mod role;
pub mod secret_store;

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

/// The client name that CloudTrail shows, so that our own calls can be told from the vendors'.
const APP_NAME: &str = concat!("keyround-", env!("CARGO_PKG_VERSION"));
/// How it begins in each version, as it stands in a user agent.
const APP_IN_AGENT: &str = "app/keyround-";

/// IAM is one service for the whole partition; STS has to be somewhere.
const REGION_OF_LAST_RESORT: &str = "us-east-1";

/// Where the environment names an endpoint of one service.
const ENDPOINT_VARIABLES: [&str; 6] = [
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_CLOUDTRAIL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_SNS",
];

/// Reads are asked at most this often within their deadline. What changes something is sent once.
const READ_ATTEMPTS_MAX: u32 = 3;

/// How long AWS is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// For a connection.
    pub connect: Duration,
    /// For one answer.
    pub attempt: Duration,
    /// For the whole call: credentials, attempts, and the waits between them.
    pub call: Duration,
}

impl Default for Deadlines {
    /// IAM answers within a second when it is well, and the driver allows a call a minute.
    fn default() -> Deadlines {
        let connect = Duration::from_secs(3);
        Deadlines { connect, attempt: Duration::from_secs(6), call: Duration::from_secs(20) }
    }
}

/// The ambient identity and the way to AWS. Cheap to make, loaded on first use.
#[derive(Debug)]
pub struct AwsSession {
    settings: AwsSettings,
    deadlines: Deadlines,
    credentials: Option<SharedCredentialsProvider>,
    loaded: OnceCell<Loaded>,
}

/// What is made when the first call needs it.
#[derive(Debug)]
struct Loaded {
    sdk: SdkConfig,
    http: SharedHttpClient,
}

impl AwsSession {
    /// A session with these settings and the standard chain of credentials. Nothing is read yet.
    #[must_use]
    pub fn new(settings: &AwsSettings) -> AwsSession {
        AwsSession {
            settings: settings.clone(),
            deadlines: Deadlines::default(),
            credentials: None,
            loaded: OnceCell::new(),
        }
    }

    /// The same, waiting as long as it is told.
    #[must_use]
    pub fn with_deadlines(self, deadlines: Deadlines) -> AwsSession {
        AwsSession { deadlines, ..self }
    }

    /// The same, with these credentials in place of the standard chain.
    #[must_use]
    pub fn with_credentials(self, credentials: impl ProvideCredentials + 'static) -> AwsSession {
        AwsSession { credentials: Some(SharedCredentialsProvider::new(credentials)), ..self }
    }

    /// The shared configuration: region, credentials chain, HTTPS client, deadlines.
    pub async fn sdk(&self) -> &SdkConfig {
        &self.loaded().await.sdk
    }

    async fn loaded(&self) -> &Loaded {
        self.loaded.get_or_init(|| Box::pin(self.load())).await
    }

    /// The same configuration, with the dates of AWS's answers noted on this clock.
    pub(crate) async fn sdk_watched_by(&self, clock: &AwsClock) -> SdkConfig {
        let Loaded { sdk, http } = self.loaded().await;
        sdk.clone().into_builder().http_client(clock.watching(http.clone())).build()
    }

    /// The endpoint of the configuration. Whoever builds a client sets it there.
    #[must_use]
    pub fn endpoint_url(&self) -> Option<&str> {
        self.settings.endpoint_url.as_deref()
    }

    /// The account that the ambient credentials must belong to, if the configuration says.
    #[must_use]
    pub fn account_id(&self) -> Option<&AccountId> {
        self.settings.account_id.as_ref()
    }

    /// Whether CloudTrail is asked who uses keys, where an account does not say otherwise.
    #[must_use]
    pub fn asks_cloudtrail(&self) -> bool {
        self.settings.cloudtrail
    }

    /// Deadlines for a call inside another call, such as AssumeRole before CreateAccessKey: it must end first,
    /// or the outer call cannot tell that it was never sent.
    #[must_use]
    pub fn inner_timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.deadlines.connect / 2)
            .operation_timeout(self.deadlines.attempt / 2)
            .build()
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
            // Credentials are looked for within the deadline of the call that needs them.
            .identity_cache(IdentityCache::lazy().load_timeout(self.deadlines.call).build())
            // Answers are a few kilobytes: a stalled one meets the deadline of its attempt.
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
        let credentials = self.told_credentials(&sdk, watched, broken);
        let mut sdk = sdk.into_builder().region(region);
        sdk.set_credentials_provider(credentials);
        Loaded { sdk: sdk.build(), http }
    }

    /// The credentials of the configuration's profile, or of the standard chain; none where the way out is refused.
    fn told_credentials(
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

    /// Why the endpoint that the environment or a profile names is not sent to. That of the configuration was judged
    /// when the configuration was read, and goes before it.
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

/// Whether a call was ours, by the agent that CloudTrail shows.
pub(crate) fn is_ours(agent: &str) -> bool {
    agent.split([' ', '[', ']']).any(|word| word.starts_with(APP_IN_AGENT))
}

/// AWS's codes and request ids are words. What is not one came from somebody else, and is not repeated.
pub(crate) fn is_plain(word: &str) -> bool {
    word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}
