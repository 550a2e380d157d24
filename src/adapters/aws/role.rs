//! The credentials of a role in an account, assumed when a call needs credentials and no valid ones are cached.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::config::retry::RetryConfig;

use crate::adapters::aws::AwsSession;
use crate::adapters::aws::credentials::NoCredentials;
use crate::adapters::aws::refusal::{self, Call};
use crate::adapters::aws::throttling::ThrottlingCounter;
use crate::config::settings::AccountSettings;

/// The session name that CloudTrail shows after the role's name.
const SESSION_NAME: &str = "keyround";

/// A provider of the credentials of the role in these settings; `None` if the settings name no role, so that the
/// ambient credentials are used.
pub(crate) fn role(
    session: &AwsSession,
    sdk: &SdkConfig,
    settings: &AccountSettings,
) -> Option<SharedCredentialsProvider> {
    let role_arn = settings.role_arn.clone()?;
    let mut sts = aws_sdk_sts::config::Builder::from(sdk)
        .retry_config(RetryConfig::disabled())
        .timeout_config(session.inner_timeouts())
        .interceptor(ThrottlingCounter);
    if let Some(url) = session.endpoint_url() {
        sts = sts.endpoint_url(url);
    }
    let sts = aws_sdk_sts::Client::from_conf(sts.build());
    let external_id = settings.external_id.clone();
    Some(SharedCredentialsProvider::new(AssumedRole { sts, role_arn, external_id }))
}

/// A credentials provider that calls AssumeRole. The SDK caches the result until shortly before it expires.
#[derive(Debug)]
struct AssumedRole {
    sts: aws_sdk_sts::Client,
    role_arn: String,
    external_id: Option<String>,
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

impl AssumedRole {
    async fn assume(&self) -> Result<Credentials, CredentialsError> {
        let call = Call::by_rotator("sts", "AssumeRole", self.role_arn.clone());
        let request = self
            .sts
            .assume_role()
            .role_arn(&self.role_arn)
            .role_session_name(SESSION_NAME)
            .set_external_id(self.external_id.clone());
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let fault = refusal::fault(&call, &error);
                let is_throttled = refusal::is_throttled(&fault);
                let sentence = fault.sentence();
                let why = match is_throttled {
                    true => sentence.to_owned(),
                    false => {
                        format!("{sentence}; check the role's trust policy and the account's external_id")
                    }
                };
                return Err(NoCredentials { why, is_throttled }.into_error());
            }
        };
        let Some(keys) = answer.credentials else {
            return Err(NoCredentials::because(format!("{call} gave no credentials")).into_error());
        };
        let expires_at = SystemTime::try_from(keys.expiration).ok();
        Ok(Credentials::new(
            keys.access_key_id,
            keys.secret_access_key,
            Some(keys.session_token),
            expires_at,
            SESSION_NAME,
        ))
    }
}
