//! The stand-in for IAM and STS: it answers the same calls, with IAM's key quota, propagation delay and last-used
//! granularity.

use std::sync::Arc;

use async_trait::async_trait;

use crate::adapters::rehearsal::{Key, PROPAGATION, RehearsalWorld, SECRET_ACCESS_KEY, State};
use crate::core::ids::{AccessKeyId, AccountId, AccountName, IamUserName, Who};
use crate::core::rotation::{KeyMetadata, KeyStatus, KeyUsage, RefusalCode};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Accounts, Answer, Fault, Iam, Identity, NewKey};

/// The maximum number of access keys per user, Inactive ones included (IAM quotas).
const QUOTA: usize = 2;
/// If a key is used several times within this many seconds, AWS records the first use (IAM User Guide).
const USE_GRAIN_SECS: i64 = 15 * 60;

/// Gives access to the stand-in for IAM in each account of the rehearsal.
#[derive(Clone, Debug)]
pub struct StandInAccounts(pub RehearsalWorld);

impl Accounts for StandInAccounts {
    fn iam(&self, account: Option<&AccountName>) -> Arc<dyn Iam> {
        Arc::new(StandInIam { stage: self.0.clone(), account: account.cloned() })
    }
}

struct StandInIam {
    stage: RehearsalWorld,
    account: Option<AccountName>,
}

impl StandInIam {
    fn who(&self, user: &IamUserName) -> Who {
        (self.account.clone(), user.clone())
    }

    fn id_of_account(&self, state: &State) -> AccountId {
        state.id_of_account(self.account.as_ref())
    }
}

fn no_user(user: &IamUserName) -> Fault {
    Fault::refused(RefusalCode::NoSuchUser, format!("the user {user} does not exist"))
}

fn no_key(key: &AccessKeyId) -> Fault {
    Fault::refused(RefusalCode::NoSuchKey, format!("the access key {key} does not exist"))
}

fn find<'a>(state: &'a mut State, who: &Who, key: &AccessKeyId) -> Answer<&'a mut Key> {
    let user = state.users.get_mut(who).ok_or_else(|| no_user(&who.1))?;
    user.keys.iter_mut().find(|known| known.metadata.id == *key).ok_or_else(|| no_key(key))
}

#[async_trait]
impl Iam for StandInIam {
    async fn caller(&self) -> Answer<Identity> {
        let account_id = self.id_of_account(&self.stage.lock());
        let arn = format!("arn:aws:sts::{account_id}:assumed-role/keyround/keyround");
        Ok(Identity { account_id, arn })
    }

    fn aws_time(&self) -> Option<Timestamp> {
        Some(self.stage.now())
    }

    async fn ask_aws_time(&self) -> Option<Timestamp> {
        self.aws_time()
    }

    async fn list_keys(&self, user: &IamUserName) -> Answer<Vec<KeyMetadata>> {
        let mut state = self.stage.lock();
        state.count("ListAccessKeys");
        let user_state = state.users.get(&self.who(user)).ok_or_else(|| no_user(user))?;
        Ok(user_state.keys.iter().map(|key| key.metadata.clone()).collect())
    }

    async fn create_key(&self, user: &IamUserName) -> Answer<NewKey> {
        let mut state = self.stage.lock();
        state.count("CreateAccessKey");
        let who = self.who(user);
        let held = state.users.get(&who).ok_or_else(|| no_user(user))?.keys.len();
        if held >= QUOTA {
            let sentence = format!("the user {user} has two access keys already");
            return Err(Fault::refused(RefusalCode::LimitExceeded, sentence));
        }
        let now = state.now;
        let id = state.make_key(&who, now);
        Ok(NewKey { id, secret: Secret::from(SECRET_ACCESS_KEY), request_id: None })
    }

    async fn set_status(
        &self,
        user: &IamUserName,
        key: &AccessKeyId,
        status: KeyStatus,
    ) -> Answer<Option<String>> {
        let mut state = self.stage.lock();
        state.count("UpdateAccessKey");
        let who = self.who(user);
        find(&mut state, &who, key)?.metadata.status = status;
        state.watch_over(&who);
        Ok(None)
    }

    async fn delete_key(&self, user: &IamUserName, key: &AccessKeyId) -> Answer<Option<String>> {
        let mut state = self.stage.lock();
        state.count("DeleteAccessKey");
        let who = self.who(user);
        find(&mut state, &who, key)?;
        if let Some(user_state) = state.users.get_mut(&who) {
            user_state.keys.retain(|known| known.metadata.id != *key);
        }
        state.watch_over(&who);
        Ok(None)
    }

    async fn usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        let mut state = self.stage.lock();
        state.count("GetAccessKeyLastUsed");
        let now = state.now;
        let known = state.users.values().flat_map(|user| &user.keys).find(|known| known.metadata.id == *key);
        Ok(known.map_or(KeyUsage::Gone, |known| usage_of(known, now)))
    }

    async fn identify(&self, key: &AccessKeyId, _secret: &Secret) -> Answer<Identity> {
        let mut state = self.stage.lock();
        state.count("GetCallerIdentity");
        let (now, account_id) = (state.now, self.id_of_account(&state));
        for ((_, user), known) in
            state.users.iter_mut().flat_map(|(who, user)| user.keys.iter_mut().map(move |known| (who, known)))
        {
            let usable =
                known.metadata.status == KeyStatus::Active && known.metadata.created_at + PROPAGATION <= now;
            if known.metadata.id == *key && usable {
                known.probed_at = Some(now);
                let arn = format!("arn:aws:iam::{account_id}:user/{user}");
                return Ok(Identity { account_id, arn });
            }
        }
        Err(Fault::refused(RefusalCode::NotUsable, format!("AWS does not know the key {key} yet")))
    }

    async fn users_under(&self, path: &str) -> Answer<Vec<IamUserName>> {
        let mut state = self.stage.lock();
        state.count("ListUsers");
        let _ = path;
        let here = state.users.keys().filter(|(account, _)| *account == self.account);
        Ok(here.map(|(_, user)| user.clone()).collect())
    }

    async fn missing_rights(&self, _user: &IamUserName) -> Answer<Option<Vec<String>>> {
        Ok(Some(Vec::new()))
    }
}

/// The last use of a key. The vendor uses the key that it holds all the time, and IAM records the first use of each
/// quarter of an hour.
fn usage_of(key: &Key, now: Timestamp) -> KeyUsage {
    let by_vendor = key.used.map(|(from, until)| {
        let span = until.unwrap_or(now).since(from).as_secs().cast_signed();
        Timestamp::from_unix(from.unix_seconds() + span / USE_GRAIN_SECS * USE_GRAIN_SECS)
    });
    let used = |last_used_at, service: &str| KeyUsage::Used {
        last_used_at,
        service: service.to_owned(),
        region: None,
        witness: None,
    };
    match (by_vendor, key.probed_at) {
        (None, None) => KeyUsage::Never,
        (Some(at), Some(probed)) if at.since(probed).as_secs().cast_signed() > USE_GRAIN_SECS => {
            used(at, "s3")
        }
        (_, Some(probed)) => used(probed, "sts"),
        (Some(at), None) => used(at, "s3"),
    }
}
