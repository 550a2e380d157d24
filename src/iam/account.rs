//! Who the rotator is in an account: the ambient identity, or a role that it assumes there.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::config::retry::RetryConfig;

use crate::aws::AwsSession;
use crate::config::settings::AccountSettings;
use crate::iam::refusal::{self, Call, NoRole, Signer};
use crate::ids::AccountName;
use crate::ports::{Answer, Fault};
use crate::rotation::RefusalCode;

/// What CloudTrail shows behind the role's name.
const SESSION_NAME: &str = "keyround";

/// An account that is spoken to.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// That of the ambient credentials.
    Ambient,
    /// `[account.NAME]`
    Configured(AccountSettings),
    /// A name that the configuration does not have.
    Missing(AccountName),
}

/// The clients of one account. They share the session's connections.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) cloudtrail: aws_sdk_cloudtrail::Client,
}

impl Account {
    /// Makes the clients. Credentials are looked for by their first call, not here.
    pub(super) async fn clients(&self, session: &AwsSession) -> Answer<Clients> {
        let settings = match self {
            Account::Ambient => None,
            Account::Configured(settings) => Some(settings),
            Account::Missing(name) => return Err(missing(name)),
        };
        let sdk = session.sdk().await;
        let mut iam = aws_sdk_iam::config::Builder::from(sdk);
        let mut sts = aws_sdk_sts::config::Builder::from(sdk);
        let mut cloudtrail = aws_sdk_cloudtrail::config::Builder::from(sdk);
        if let Some(url) = session.endpoint_url() {
            iam = iam.endpoint_url(url);
            sts = sts.endpoint_url(url);
            cloudtrail = cloudtrail.endpoint_url(url);
        }
        if let Some((role_arn, settings)) = settings.and_then(|all| Some((all.role_arn.clone()?, all))) {
            let ambient = sts
                .clone()
                .retry_config(RetryConfig::disabled())
                .timeout_config(session.inner_timeouts())
                .build();
            let role = AssumedRole {
                sts: aws_sdk_sts::Client::from_conf(ambient),
                role_arn,
                external_id: settings.external_id.clone(),
            };
            // The setters with `set_` keep the provider as it is, and with it its place in the cache of
            // credentials: the role is assumed once for all clients.
            let role = Some(SharedCredentialsProvider::new(role));
            iam.set_credentials_provider(role.clone());
            sts.set_credentials_provider(role.clone());
            cloudtrail.set_credentials_provider(role);
        }
        Ok(Clients {
            iam: aws_sdk_iam::Client::from_conf(iam.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            cloudtrail: aws_sdk_cloudtrail::Client::from_conf(cloudtrail.build()),
        })
    }
}

fn missing(name: &AccountName) -> Fault {
    Fault::refused(
        RefusalCode::Misconfigured,
        format!("the account {name} is not in the configuration any more; nothing was sent to AWS"),
    )
}

/// A role, assumed when credentials are needed and none are at hand. The SDK keeps them until shortly before they expire.
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
        let call = Call {
            service: "sts",
            operation: "AssumeRole",
            on: self.role_arn.clone(),
            signer: Signer::Rotator,
        };
        let request = self
            .sts
            .assume_role()
            .role_arn(&self.role_arn)
            .role_session_name(SESSION_NAME)
            .set_external_id(self.external_id.clone());
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let sentence = refusal::fault(&call, &error).sentence().to_owned();
                return Err(CredentialsError::provider_error(NoRole(format!(
                    "{sentence}; check the role's trust policy and the account's external_id"
                ))));
            }
        };
        let Some(keys) = answer.credentials else {
            return Err(CredentialsError::provider_error(NoRole(format!("{call} gave no credentials"))));
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
