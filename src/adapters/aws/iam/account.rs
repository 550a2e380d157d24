//! The identity of the rotator in an account: the ambient identity, or a role that it assumes there.

use crate::adapters::aws::clock::AwsClock;
use crate::adapters::aws::throttling::{ThrottledCallsWait, ThrottlingCounter};
use crate::adapters::aws::{self, AwsSession};
use crate::config::settings::AccountSettings;
use crate::core::ids::AccountName;
use crate::core::rotation::RefusalCode;
use crate::ports::{Answer, Fault};

/// An account that keyround calls.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// The account of the ambient credentials.
    Ambient,
    /// A configured account: `[account.NAME]`.
    Configured(AccountSettings),
    /// An account name that is no longer in the configuration.
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
    /// Makes the clients. Credentials are loaded by the clients' first call, not here.
    pub(super) async fn clients(&self, session: &AwsSession, clock: &AwsClock) -> Answer<Clients> {
        let settings = match self {
            Account::Ambient => None,
            Account::Configured(settings) => Some(settings),
            Account::Missing(name) => return Err(missing(name)),
        };
        let sdk = &session.sdk_watched_by(clock).await;
        let mut iam = aws_sdk_iam::config::Builder::from(sdk)
            .interceptor(ThrottlingCounter)
            .retry_classifier(ThrottledCallsWait);
        let mut sts = aws_sdk_sts::config::Builder::from(sdk)
            .interceptor(ThrottlingCounter)
            .retry_classifier(ThrottledCallsWait);
        let mut cloudtrail = aws_sdk_cloudtrail::config::Builder::from(sdk)
            .interceptor(ThrottlingCounter)
            .retry_classifier(ThrottledCallsWait);
        if let Some(url) = session.endpoint_url() {
            iam = iam.endpoint_url(url);
            sts = sts.endpoint_url(url);
            cloudtrail = cloudtrail.endpoint_url(url);
        }
        if let Some(role) = settings.and_then(|settings| aws::role(session, sdk, settings)) {
            // The setters with `set_` keep this provider object, and so its entry in the cache of credentials: the role
            // is assumed once for all clients.
            let role = Some(role);
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
