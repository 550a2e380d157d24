//! The client for IAM and STS of one account, which implements the port [`Iam`].

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_iam::config::retry::RetryConfig;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType};
use aws_sdk_sts::config::IdentityCache;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::request_id::RequestId;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::adapters::aws::AwsSession;
use crate::adapters::aws::clock::AwsClock;
use crate::adapters::aws::iam::account::{Account, Clients};
use crate::adapters::aws::pacing::{Pace, Urgency};
use crate::adapters::aws::refusal::{Call, Signer};
use crate::adapters::aws::sending;
use crate::adapters::aws::throttling::{ThrottledCallsWait, ThrottlingCounter};
use crate::core::ids::{AccessKeyId, AccountId, IamUserName};
use crate::core::rotation::{KeyMetadata, KeyStatus, KeyUsage, RefusalCode};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Iam, Identity, NewKey};

/// The upper limit of pages. An account has at most 5,000 users, and a page holds at least one, so a longer list never
/// ends.
pub(super) const PAGES_MAX: u32 = 5_000;

/// IAM and STS of one account.
#[derive(Debug)]
pub(super) struct AwsIam {
    session: Arc<AwsSession>,
    account: Account,
    clients: OnceCell<Clients>,
    caller: OnceCell<Identity>,
    clock: AwsClock,
    pace: Pace,
    pace_of_cloudtrail: Pace,
    pub(super) look_up_at: Mutex<Instant>,
    pub(super) missed_cloudtrail: AtomicBool,
}

impl AwsIam {
    pub(super) fn new(session: Arc<AwsSession>, account: Account) -> AwsIam {
        let deadline = session.call_deadline();
        AwsIam {
            session,
            account,
            clients: OnceCell::new(),
            caller: OnceCell::new(),
            clock: AwsClock::default(),
            pace: Pace::new(deadline),
            pace_of_cloudtrail: Pace::new(deadline),
            look_up_at: Mutex::new(Instant::now()),
            missed_cloudtrail: AtomicBool::new(false),
        }
    }

    pub(super) async fn clients(&self) -> Answer<&Clients> {
        self.clients.get_or_try_init(|| self.account.clients(&self.session, &self.clock)).await
    }

    /// The account id that the configuration expects here, if it names one.
    fn expected_account(&self) -> Option<&AccountId> {
        match &self.account {
            Account::Ambient => self.session.account_id(),
            Account::Configured(settings) => settings.id.as_ref(),
            Account::Missing(_) => None,
        }
    }

    /// Whether CloudTrail is asked who uses this account's keys.
    pub(super) fn asks_cloudtrail(&self) -> bool {
        let of_account = match &self.account {
            Account::Configured(settings) => settings.cloudtrail,
            Account::Ambient | Account::Missing(_) => None,
        };
        of_account.unwrap_or_else(|| self.session.asks_cloudtrail())
    }

    /// Sends the call when it is its turn. CloudTrail has limits of its own, so its calls do not slow those of IAM down.
    pub(super) async fn perform<T, E, F>(&self, call: &Call, sending: impl Fn() -> F + Send) -> Answer<T>
    where
        T: RequestId + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let pace = if call.service == "cloudtrail" { &self.pace_of_cloudtrail } else { &self.pace };
        sending::send(pace, call, sending).await
    }

    /// The identity that signs calls in this account.
    pub(super) async fn ask_caller(&self) -> Answer<Identity> {
        let sts = &self.clients().await?.sts;
        // Every other call of the account waits for this one.
        let call =
            Call::by_rotator("sts", "GetCallerIdentity", String::new()).with_urgency(Urgency::GiveBack);
        let answer = self.perform(&call, || sts.get_caller_identity().send()).await?;
        identity(&call, answer.account, answer.arn)
    }

    async fn list_keys_page(
        &self,
        call: &Call,
        user: &IamUserName,
        marker: Option<String>,
    ) -> Answer<(Vec<KeyMetadata>, Option<String>)> {
        let iam = &self.clients().await?.iam;
        let request = iam.list_access_keys().user_name(user.as_str()).set_marker(marker.clone());
        let page = self.perform(call, || request.clone().send()).await?;
        let next = next_marker(call, page.is_truncated, marker.as_ref(), page.marker)?;
        let keys = page.access_key_metadata.into_iter().map(|row| key_metadata(call, row));
        Ok((keys.collect::<Answer<_>>()?, next))
    }
}

#[async_trait]
impl Iam for AwsIam {
    async fn caller(&self) -> Answer<Identity> {
        let asked = || async {
            let found = self.ask_caller().await?;
            match self.expected_account() {
                Some(expected) if *expected != found.account_id => {
                    Err(other_account(expected, &found.account_id))
                }
                _ => Ok(found),
            }
        };
        self.caller.get_or_try_init(asked).await.cloned()
    }

    fn aws_time(&self) -> Option<Timestamp> {
        self.clock.now()
    }

    async fn ask_aws_time(&self) -> Option<Timestamp> {
        if let Err(fault) = self.ask_caller().await {
            tracing::debug!("AWS was asked for its time: {}", fault.sentence());
        }
        self.clock.now()
    }

    async fn list_keys(&self, user: &IamUserName) -> Answer<Vec<KeyMetadata>> {
        let mut call = Call::by_rotator("iam", "ListAccessKeys", format!("user {user}"));
        let (mut keys, mut marker) = (Vec::new(), None);
        for page in 0..PAGES_MAX {
            call.is_continued = page > 0;
            let (page, next) = self.list_keys_page(&call, user, marker).await?;
            keys.extend(page);
            if next.is_none() {
                return Ok(keys);
            }
            marker = next;
        }
        Err(endless(&call))
    }

    async fn create_key(&self, user: &IamUserName) -> Answer<NewKey> {
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "CreateAccessKey", format!("user {user}"));
        let request = iam.create_access_key().user_name(user.as_str());
        let sending = || request.clone().customize().config_override(once()).send();
        let answer = self.perform(&call, sending).await?;
        let request_id = answer.request_id().map(str::to_owned);
        let key = answer.access_key.ok_or_else(|| incomplete(&call))?;
        let secret = Secret::new(key.secret_access_key);
        let id = key.access_key_id.parse().map_err(|_| incomplete(&call))?;
        Ok(NewKey { id, secret, request_id })
    }

    async fn set_status(
        &self,
        user: &IamUserName,
        key: &AccessKeyId,
        status: KeyStatus,
    ) -> Answer<Option<String>> {
        let (wanted, urgency) = match status {
            KeyStatus::Active => (StatusType::Active, Urgency::GiveBack),
            KeyStatus::Inactive => (StatusType::Inactive, Urgency::Cut),
            KeyStatus::Expired => return Err(not_a_wish(key)),
        };
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "UpdateAccessKey", format!("key {key} of user {user}"));
        let call = call.with_urgency(urgency);
        let request = iam.update_access_key().user_name(user.as_str()).access_key_id(key.as_str());
        let request = request.status(wanted);
        let sending = || request.clone().customize().config_override(once()).send();
        let answer = self.perform(&call, sending).await?;
        said_by_aws(&call, answer.request_id()).map(Some)
    }

    async fn delete_key(&self, user: &IamUserName, key: &AccessKeyId) -> Answer<Option<String>> {
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "DeleteAccessKey", format!("key {key} of user {user}"));
        let request = iam.delete_access_key().user_name(user.as_str()).access_key_id(key.as_str());
        let sending = || request.clone().customize().config_override(once()).send();
        let answer = self.perform(&call, sending).await?;
        said_by_aws(&call, answer.request_id()).map(Some)
    }

    async fn usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        let recorded = self.recorded_usage(key).await?;
        Ok(self.witnessed(key, recorded).await)
    }

    async fn recorded_usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "GetAccessKeyLastUsed", format!("key {key}"));
        let request = iam.get_access_key_last_used().access_key_id(key.as_str());
        let answer = match self.perform(&call, || request.clone().send()).await {
            Ok(answer) => answer,
            Err(Fault::Refused(refusal)) if is_gone(refusal.code) => return Ok(KeyUsage::Gone),
            Err(fault) => return Err(fault),
        };
        let used = answer.access_key_last_used.ok_or_else(|| incomplete(&call))?;
        Ok(match used.last_used_date {
            None => KeyUsage::Never,
            Some(at) => {
                let last_used_at = Timestamp::from_unix(at.secs());
                // A service without regions has "N/A" here.
                let region = Some(used.region).filter(|region| !matches!(region.as_str(), "" | "N/A"));
                KeyUsage::Used { last_used_at, service: used.service_name, region, witness: None }
            }
        })
    }

    async fn identify(&self, key: &AccessKeyId, secret: &Secret) -> Answer<Identity> {
        let sdk = &self.session.sdk_watched_by(&self.clock).await;
        let pair = Credentials::new(key.as_str(), secret.expose(), None, None, "keyround-probe");
        let mut config = aws_sdk_sts::config::Builder::from(sdk)
            .credentials_provider(pair)
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::disabled())
            .interceptor(ThrottlingCounter)
            .retry_classifier(ThrottledCallsWait);
        if let Some(url) = self.session.endpoint_url() {
            config = config.endpoint_url(url);
        }
        let sts = aws_sdk_sts::Client::from_conf(config.build());
        let call = Call {
            signer: Signer::NewKey,
            ..Call::by_rotator("sts", "GetCallerIdentity", format!("key {key}"))
        };
        let answer = self.perform(&call, || sts.get_caller_identity().send()).await?;
        identity(&call, answer.account, answer.arn)
    }

    async fn users_under(&self, path: &str) -> Answer<Vec<IamUserName>> {
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "ListUsers", format!("path {path}"));
        let (mut users, mut marker) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let request = iam.list_users().path_prefix(path).set_marker(marker.clone());
            let page = self.perform(&call, || request.clone().send()).await?;
            for user in page.users {
                users.push(user.user_name.parse().map_err(|_| incomplete(&call))?);
            }
            marker = next_marker(&call, page.is_truncated, marker.as_ref(), page.marker)?;
            if marker.is_none() {
                return Ok(users);
            }
        }
        Err(endless(&call))
    }

    async fn users_with_policy(&self, policy: &str) -> Answer<Vec<IamUserName>> {
        self.list_users_with_policy(policy).await
    }

    async fn missing_rights(&self, user: &IamUserName) -> Answer<Option<Vec<String>>> {
        self.simulate_rights(user).await
    }
}

/// The configuration of a call that is sent once: the SDK does not repeat it.
pub(super) fn once() -> aws_sdk_iam::config::Builder {
    aws_sdk_iam::Config::builder().retry_config(RetryConfig::disabled())
}

fn is_gone(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::NoSuchKey | RefusalCode::NoSuchUser)
}

/// The marker of the next page; `None` after the last page. A list whose marker does not change is an error.
pub(super) fn next_marker(
    call: &Call,
    truncated: bool,
    before: Option<&String>,
    after: Option<String>,
) -> Answer<Option<String>> {
    match after {
        _ if !truncated => Ok(None),
        Some(marker) if Some(&marker) != before => Ok(Some(marker)),
        _ => Err(endless(call)),
    }
}

fn key_metadata(call: &Call, row: AccessKeyMetadata) -> Answer<KeyMetadata> {
    let id = row.access_key_id.and_then(|id| id.parse().ok()).ok_or_else(|| incomplete(call))?;
    let created_at = row.create_date.ok_or_else(|| incomplete(call))?;
    let status = match row.status.ok_or_else(|| incomplete(call))? {
        StatusType::Active => KeyStatus::Active,
        StatusType::Inactive => KeyStatus::Inactive,
        // A status that IAM may add later is as unreliable as Expired.
        _ => KeyStatus::Expired,
    };
    Ok(KeyMetadata { id, status, created_at: Timestamp::from_unix(created_at.secs()) })
}

fn identity(call: &Call, account: Option<String>, arn: Option<String>) -> Answer<Identity> {
    let account_id = account.and_then(|id| id.parse().ok()).ok_or_else(|| incomplete(call))?;
    Ok(Identity { account_id, arn: arn.ok_or_else(|| incomplete(call))? })
}

pub(super) fn incomplete(call: &Call) -> Fault {
    Fault::unknown(format!("{call} was answered, but a required part of the answer is missing"))
}

/// The request id of a response from which nothing else is read. Without this check any 200 would count, also one that
/// a proxy sent: AWS gives every response a request id.
fn said_by_aws(call: &Call, request_id: Option<&str>) -> Answer<String> {
    let nobodys =
        || format!("{call} was answered without a request id, so not by AWS; it may have been done");
    request_id.map(str::to_owned).ok_or_else(|| Fault::unknown(nobodys()))
}

pub(super) fn endless(call: &Call) -> Fault {
    Fault::unknown(format!("{call} does not come to an end: its pages do not move on"))
}

fn other_account(expected: &AccountId, found: &AccountId) -> Fault {
    Fault::refused(
        RefusalCode::OtherAccount,
        format!(
            "the credentials belong to the AWS account {found}, and the configuration says {expected}; nothing was \
             changed; correct the profile, the role or the id"
        ),
    )
}

fn not_a_wish(key: &AccessKeyId) -> Fault {
    let sentence = format!("the key {key} can be set Active or Inactive, and nothing else");
    Fault::refused(RefusalCode::Misconfigured, sentence)
}
