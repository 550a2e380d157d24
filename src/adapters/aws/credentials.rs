//! The credentials that the rotator signs with, and why there are none.

use std::error::Error;
use std::iter::successors;

use aws_config::SdkConfig;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// What the AWS tools take the name of a profile from.
const PROFILE_VARIABLE: &str = "AWS_PROFILE";

/// Where the SDK begins to repeat what a `credential_process` wrote to standard error, which may hold a secret.
const STANDARD_ERROR: &str = "Stderr:";

/// All that the SDK says of a profile without any credentials; of others it says the cause behind this.
const NOT_ENABLED: &str = "provider was not enabled";

/// Of what a cause says, this many letters are shown.
const CAUSE_LETTERS_MAX: usize = 300;

/// Why there are no credentials, in words.
///
/// It travels inside the SDK's credentials error, which hides its own source from sentences.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoCredentials(pub(crate) String);

impl NoCredentials {
    /// The same, as a provider of credentials reports it.
    pub(crate) fn into_error(self) -> CredentialsError {
        CredentialsError::provider_error(self)
    }
}

/// The credentials of this profile, whatever the environment holds: what the configuration says wins.
pub(super) fn of_profile(name: &str, sdk: &SdkConfig, http: SharedHttpClient) -> SharedCredentialsProvider {
    let told = format!("the profile {name:?} of [aws] profile");
    SharedCredentialsProvider::new(Told {
        provider: profile(Some(name), sdk, http),
        name: Some(told),
        named: None,
    })
}

/// The credentials that the standard chain of environment, files and machine gives.
pub(super) fn of_chain(
    chain: SharedCredentialsProvider,
    sdk: &SdkConfig,
    http: SharedHttpClient,
) -> SharedCredentialsProvider {
    let name = std::env::var(PROFILE_VARIABLE).ok().filter(|name| !name.is_empty());
    let named =
        name.map(|name| (profile(None, sdk, http), format!("the profile {name:?} of {PROFILE_VARIABLE}")));
    SharedCredentialsProvider::new(Told { provider: chain, name: None, named })
}

/// No credentials, because the way to AWS is one that they must not be sent on.
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

/// A provider of credentials that explains its errors: each names the source and the cause.
#[derive(Debug)]
struct Told {
    provider: SharedCredentialsProvider,
    /// What it is, in words; `None`: the standard chain.
    name: Option<String>,
    /// The profile that the environment names. Where the chain has nothing, it is asked by itself for the reason.
    named: Option<(SharedCredentialsProvider, String)>,
}

impl Told {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        match self.provider.provide_credentials().await {
            Ok(credentials) => Ok(credentials),
            Err(error) => Err(NoCredentials(self.sentence(&error).await).into_error()),
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

impl ProvideCredentials for Told {
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
        future::ProvideCredentials::ready(Err(NoCredentials(self.0.clone()).into_error()))
    }
}

/// The cause of an error of the SDK, in words that help.
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

/// One line of printable letters.
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
    fn what_a_process_wrote_to_standard_error_is_not_repeated() {
        let error = "Error retrieving credentials: external process exited with code exit status: 3. Stderr: s3cr3t\u{1b}[0m";
        let said = said(&CredentialsError::provider_error(error));
        assert!(said.contains("credential_process failed") && said.contains("exit status: 3"), "{said}");
        assert!(!said.contains("s3cr3t"), "{said}");
    }

    #[test]
    fn a_profile_that_is_not_there_is_told_from_one_that_holds_nothing() {
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
