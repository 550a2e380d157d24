//! IAM and STS: the calls that rotating a key needs, on the AWS SDK.
//!
//! One [`AwsAccounts`] serves all configured accounts, over one connection pool. Each account has its own identity (the
//! ambient one, or a role that is assumed in it) and its own pace.
//!
//! **Invariant:** a call that changes something is sent once. The SDK would repeat a CreateAccessKey whose response was
//! lost, and leave behind a key whose secret nobody has.
//!
//! **Invariant:** the user is always named. IAM applies a call without a user name to the identity that signs it.
//!
//! **Invariant:** an error while listing is an error, never an empty list, and every page is read.

mod account;
mod client;
mod quarantine;
mod report;
mod rights;
mod survey;
mod usage;
mod use_evidence;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapters::aws::AwsSession;
use crate::adapters::aws::iam::account::Account;
use crate::adapters::aws::iam::client::AwsIam;
use crate::config::settings::AccountSettings;
use crate::core::ids::AccountName;
use crate::core::time::Timestamp;
use crate::ports::{Accounts, Iam, Survey, Surveys};

/// The configured accounts, at AWS.
#[derive(Debug)]
pub struct AwsAccounts {
    session: Arc<AwsSession>,
    ambient: Arc<AwsIam>,
    named: BTreeMap<AccountName, Arc<AwsIam>>,
}

impl AwsAccounts {
    /// Prepares the accounts. Nothing is called, and no credentials are loaded, before the first call to AWS.
    #[must_use]
    pub fn connect(
        session: &Arc<AwsSession>,
        accounts: &BTreeMap<AccountName, AccountSettings>,
    ) -> AwsAccounts {
        let iam = |account| Arc::new(AwsIam::new(Arc::clone(session), account));
        let named = accounts
            .iter()
            .map(|(name, settings)| (name.clone(), iam(Account::Configured(settings.clone()))))
            .collect();
        AwsAccounts { session: Arc::clone(session), ambient: iam(Account::Ambient), named }
    }
}

impl AwsAccounts {
    fn of(&self, account: Option<&AccountName>) -> Arc<AwsIam> {
        let Some(name) = account else { return Arc::clone(&self.ambient) };
        if let Some(iam) = self.named.get(name) {
            return Arc::clone(iam);
        }
        // The journal may hold rotations in accounts that have since been removed from the configuration.
        Arc::new(AwsIam::new(Arc::clone(&self.session), Account::Missing(name.clone())))
    }
}

impl Accounts for AwsAccounts {
    fn iam(&self, account: Option<&AccountName>) -> Arc<dyn Iam> {
        self.of(account)
    }

    fn aws_times(&self) -> Vec<(Option<AccountName>, Timestamp)> {
        let named = self.named.iter().map(|(name, iam)| (Some(name.clone()), iam.aws_time()));
        let all = [(None, self.ambient.aws_time())].into_iter().chain(named);
        all.filter_map(|(account, time)| Some((account, time?))).collect()
    }
}

impl Surveys for AwsAccounts {
    fn survey(&self, account: Option<&AccountName>) -> Arc<dyn Survey> {
        self.of(account)
    }
}
