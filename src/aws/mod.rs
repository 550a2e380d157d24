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
pub(crate) mod refusal;
mod role;

use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_iam::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::sync::OnceCell;

use crate::aws::clock::AwsClock;
use crate::config::settings::AwsSettings;

pub(crate) use role::role;

/// The client name that CloudTrail shows, so that our own calls can be told from the vendors'.
const APP_NAME: &str = concat!("keyround-", env!("CARGO_PKG_VERSION"));
/// How it begins in each version, as it stands in a user agent.
const APP_IN_AGENT: &str = "app/keyround-";

/// IAM is one service for the whole partition; STS has to be somewhere.
const REGION_OF_LAST_RESORT: &str = "us-east-1";

/// Reads are asked at most this often within their deadline. What changes something is sent once.
const READ_ATTEMPTS_MAX: u32 = 3;

/// A connection that was idle for longer is not used again: one that the other side has just closed
/// turns a CreateAccessKey into a doubt that takes minutes to clear up.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(15);

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
    http: SharedHttpClient,
    loaded: OnceCell<SdkConfig>,
}

impl AwsSession {
    /// A session with these settings and the standard chain of credentials. Nothing is read yet.
    #[must_use]
    pub fn new(settings: &AwsSettings) -> AwsSession {
        AwsSession {
            settings: settings.clone(),
            deadlines: Deadlines::default(),
            credentials: None,
            http: http_client(),
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
        self.loaded.get_or_init(|| Box::pin(self.load())).await
    }

    /// The same configuration, with the dates of AWS's answers noted on this clock.
    pub(crate) async fn sdk_watched_by(&self, clock: &AwsClock) -> SdkConfig {
        let sdk = self.sdk().await.clone();
        sdk.into_builder().http_client(clock.watching(self.http.clone())).build()
    }

    /// The endpoint of the configuration. Whoever builds a client sets it there.
    #[must_use]
    pub fn endpoint_url(&self) -> Option<&str> {
        self.settings.endpoint_url.as_deref()
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

    async fn load(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(AwsClock::default().watching(self.http.clone()))
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
        if sdk.region().is_some() {
            return sdk;
        }
        sdk.into_builder().region(Region::from_static(REGION_OF_LAST_RESORT)).build()
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.deadlines.connect)
            .operation_attempt_timeout(self.deadlines.attempt)
            .operation_timeout(self.deadlines.call)
            .build()
    }
}

fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(CONNECTION_IDLE_MAX)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_https()
}

/// Whether a call was ours, by the agent that CloudTrail shows.
pub(crate) fn is_ours(agent: &str) -> bool {
    agent.split([' ', '[', ']']).any(|word| word.starts_with(APP_IN_AGENT))
}

/// AWS's codes and request ids are words. What is not one came from somebody else, and is not repeated.
pub(crate) fn is_plain(word: &str) -> bool {
    word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}
