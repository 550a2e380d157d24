//! The credentials that the rotator signs with, and messages that say why there are none.

use std::error::Error;
use std::iter::successors;

use aws_config::SdkConfig;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The environment variable from which the AWS tools take the name of a profile.
const PROFILE_VARIABLE: &str = "AWS_PROFILE";

/// The text after which the SDK repeats what a `credential_process` wrote to standard error, which may hold a secret.
const STANDARD_ERROR: &str = "Stderr:";

/// What the SDK says of a profile without credentials. For other profiles, the last error in the chain names the cause.
const NOT_ENABLED: &str = "provider was not enabled";

/// The number of characters of a cause that a message shows.
const CAUSE_LETTERS_MAX: usize = 300;

/// Why there are no credentials, in words.
///
/// It travels as the source of the SDK's credentials error, whose own message does not include its source.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NoCredentials {
    pub(crate) why: String,
    /// AWS throttled the call for them, so the next one may succeed.
    pub(crate) is_throttled: bool,
}

impl NoCredentials {
    pub(crate) fn because(why: String) -> NoCredentials {
        NoCredentials { why, is_throttled: false }
    }

    /// Wraps the reason in the error that a credentials provider returns.
    pub(crate) fn into_error(self) -> CredentialsError {
        CredentialsError::provider_error(self)
    }
}

/// The credentials of the configured profile. They take precedence over the environment.
pub(super) fn of_profile(name: &str, sdk: &SdkConfig, http: SharedHttpClient) -> SharedCredentialsProvider {
    let told = format!("the profile {name:?} of [aws] profile");
    SharedCredentialsProvider::new(ExplainedProvider {
        provider: profile(Some(name), sdk, http),
        name: Some(told),
        named: None,
    })
}

/// The credentials of the standard chain: environment, files, machine.
pub(super) fn of_chain(
    chain: SharedCredentialsProvider,
    sdk: &SdkConfig,
    http: SharedHttpClient,
) -> SharedCredentialsProvider {
    let name = std::env::var(PROFILE_VARIABLE).ok().filter(|name| !name.is_empty());
    let named =
        name.map(|name| (profile(None, sdk, http), format!("the profile {name:?} of {PROFILE_VARIABLE}")));
    SharedCredentialsProvider::new(ExplainedProvider { provider: chain, name: None, named })
}

/// A provider that returns no credentials, because they must not be sent to the AWS endpoint in use.
pub(super) fn withheld(why: String) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Withheld(why))
}

fn profile(name: Option<&str>, sdk: &SdkConfig, http: SharedHttpClient) -> SharedCredentialsProvider {
    let config = ProviderConfig::without_region().with_region(sdk.region().cloned()).with_http_client(http);
    let mut builder = ProfileFileCredentialsProvider::builder().configure(&config);
    if let Some(name) = name {
        builder = builder.profile_name(name);
    }
    SharedCredentialsProvider::new(builder.build())
}

/// A credentials provider that explains its errors: each message names the source and the cause.
#[derive(Debug)]
struct ExplainedProvider {
    provider: SharedCredentialsProvider,
    /// The source of the credentials in words; `None` for the standard chain.
    name: Option<String>,
    /// The profile that the environment names, if any. If the chain gives no credentials, this profile is asked
    /// directly, for the reason.
    named: Option<(SharedCredentialsProvider, String)>,
}

impl ExplainedProvider {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        match self.provider.provide_credentials().await {
            Ok(credentials) => Ok(credentials),
            Err(error) => Err(NoCredentials::because(self.sentence(&error).await).into_error()),
        }
    }

    async fn sentence(&self, error: &CredentialsError) -> String {
        if let Some(told) = &self.name {
            return format!("{told} gives no credentials: {}", reason(error));
        }
        if let Some((profile, told)) = &self.named
            && let Err(error) = profile.provide_credentials().await
        {
            return format!("{told} gives no credentials: {}", reason(&error));
        }
        match error {
            CredentialsError::CredentialsNotLoaded(_) => {
                "the rotator has no AWS credentials: give it some by environment, profile or role".to_owned()
            }
            error => format!("the rotator's AWS credentials cannot be loaded: {}", reason(error)),
        }
    }
}

impl ProvideCredentials for ExplainedProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[derive(Debug)]
struct Withheld(String);

impl ProvideCredentials for Withheld {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(NoCredentials::because(self.0.clone()).into_error()))
    }
}

/// The cause of an SDK error, in words that help an operator.
fn reason(error: &CredentialsError) -> String {
    let first: &(dyn Error + 'static) = error;
    let causes: Vec<String> =
        successors(Some(first), |&error| error.source()).map(ToString::to_string).collect();
    let cause = causes.last().cloned().unwrap_or_default();
    if causes.iter().any(|cause| cause.contains("feature(s) enabled: sso")) {
        return "it is one of IAM Identity Center (sso), which keyround does not sign in to; use a role, or a profile \
                with `credential_process = aws configure export-credentials --profile NAME --format process`"
            .to_owned();
    }
    if causes.iter().any(|cause| cause.contains("external process")) {
        let (shown, _) = cause.split_once(STANDARD_ERROR).unwrap_or((&cause, ""));
        return format!("its credential_process failed, run it by hand to see why: {}", plain(shown));
    }
    if cause.contains(NOT_ENABLED) {
        return "it holds no access key, role or process".to_owned();
    }
    plain(&cause)
}

/// The text as one line without control characters, cut to [`CAUSE_LETTERS_MAX`].
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    text.trim().trim_end_matches('.').chars().take(CAUSE_LETTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: &CredentialsError) -> String {
        reason(error)
    }

    #[test]
    fn the_stderr_of_a_credential_process_is_not_repeated() {
        let error = "Error retrieving credentials: external process exited with code exit status: 3. Stderr: s3cr3t\u{1b}[0m";
        let said = said(&CredentialsError::provider_error(error));
        assert!(said.contains("credential_process failed") && said.contains("exit status: 3"), "{said}");
        assert!(!said.contains("s3cr3t"), "{said}");
    }

    #[test]
    fn a_missing_profile_is_distinguished_from_an_empty_one() {
        let told = said(&CredentialsError::not_loaded("profile `p` was not defined"));
        assert_eq!(told, "profile `p` was not defined");
        assert_eq!(
            said(&CredentialsError::not_loaded_no_source()),
            "it holds no access key, role or process"
        );
    }

    #[test]
    fn a_cause_is_one_line_of_bounded_length() {
        let said =
            said(&CredentialsError::invalid_configuration("a\nb\u{1b}".to_owned() + &"c".repeat(1_000)));
        assert!(said.starts_with("a b c") && said.chars().count() == CAUSE_LETTERS_MAX, "{said}");
    }
}
