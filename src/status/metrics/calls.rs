//! Counts the calls to AWS, in a wrapper around the ports that make them.
//!
//! One call of the port counts once, however many pages a listing has and however often a read or a throttled call is
//! repeated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::core::ids::{AccessKeyId, AccountName, IamUserName};
use crate::core::rotation::{KeyMetadata, KeyStatus, KeyUsage};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Accounts, Answer, Fault, Iam, Identity, NewKey};

/// The AWS service, its operation, and the outcome: `ok`, `refused` or `unknown`.
pub(super) type Call = (&'static str, &'static str, &'static str);

/// How many calls had which outcome, since the process began.
#[derive(Debug, Default)]
pub struct Calls(Mutex<BTreeMap<Call, u64>>);

impl Calls {
    fn count<T>(&self, service: &'static str, operation: &'static str, answer: &Answer<T>) {
        let outcome = match answer {
            Ok(_) => "ok",
            Err(Fault::Refused(_)) => "refused",
            Err(Fault::Unknown(_)) => "unknown",
        };
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((service, operation, outcome)).or_default() += 1;
    }

    pub(super) fn counted(&self) -> BTreeMap<Call, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Wraps the accounts and counts their calls.
pub struct CountedAccounts {
    /// The accounts that make the calls.
    pub accounts: Arc<dyn Accounts>,
    /// Where their calls are counted.
    pub calls: Arc<Calls>,
}

impl Accounts for CountedAccounts {
    fn iam(&self, account: Option<&AccountName>) -> Arc<dyn Iam> {
        Arc::new(CountedIam { iam: self.accounts.iam(account), calls: Arc::clone(&self.calls) })
    }

    fn aws_times(&self) -> Vec<(Option<AccountName>, Timestamp)> {
        self.accounts.aws_times()
    }
}

struct CountedIam {
    iam: Arc<dyn Iam>,
    calls: Arc<Calls>,
}

impl CountedIam {
    fn counted<T>(&self, operation: &'static str, answer: Answer<T>) -> Answer<T> {
        self.calls.count("iam", operation, &answer);
        answer
    }
}

#[async_trait]
impl Iam for CountedIam {
    /// The answer is nearly always cached, so it is not counted.
    async fn caller(&self) -> Answer<Identity> {
        self.iam.caller().await
    }

    fn aws_time(&self) -> Option<Timestamp> {
        self.iam.aws_time()
    }

    /// This request is rare, and mostly made because the clock is wrong, so it is not counted.
    async fn ask_aws_time(&self) -> Option<Timestamp> {
        self.iam.ask_aws_time().await
    }

    async fn list_keys(&self, user: &IamUserName) -> Answer<Vec<KeyMetadata>> {
        self.counted("ListAccessKeys", self.iam.list_keys(user).await)
    }

    async fn create_key(&self, user: &IamUserName) -> Answer<NewKey> {
        self.counted("CreateAccessKey", self.iam.create_key(user).await)
    }

    async fn set_status(
        &self,
        user: &IamUserName,
        key: &AccessKeyId,
        status: KeyStatus,
    ) -> Answer<Option<String>> {
        self.counted("UpdateAccessKey", self.iam.set_status(user, key, status).await)
    }

    async fn delete_key(&self, user: &IamUserName, key: &AccessKeyId) -> Answer<Option<String>> {
        self.counted("DeleteAccessKey", self.iam.delete_key(user, key).await)
    }

    async fn usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        self.counted("GetAccessKeyLastUsed", self.iam.usage(key).await)
    }

    async fn recorded_usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        self.counted("GetAccessKeyLastUsed", self.iam.recorded_usage(key).await)
    }

    async fn identify(&self, key: &AccessKeyId, secret: &Secret) -> Answer<Identity> {
        let answer = self.iam.identify(key, secret).await;
        self.calls.count("sts", "GetCallerIdentity", &answer);
        answer
    }

    async fn users_under(&self, path: &str) -> Answer<Vec<IamUserName>> {
        self.counted("ListUsers", self.iam.users_under(path).await)
    }

    async fn users_with_policy(&self, policy: &str) -> Answer<Vec<IamUserName>> {
        self.counted("ListEntitiesForPolicy", self.iam.users_with_policy(policy).await)
    }

    async fn missing_rights(&self, user: &IamUserName) -> Answer<Option<Vec<String>>> {
        self.counted("SimulatePrincipalPolicy", self.iam.missing_rights(user).await)
    }
}
