//! The rehearsal: a stand-in for AWS and for the vendors, in this process, under a clock that jumps.
//!
//! `keyround rehearse` plays the whole life of a rotation with the operator's own configuration:
//! the same driver, the same journal, the same templates. Only the far ends are stand-ins, so it
//! needs no credentials and touches nothing.
//!
//! **Invariant:** no real secret is read here. Where one would be, a text that names it stands, so
//! a request can be shown as it would be sent and there is nothing in it to be masked.

mod answer;
mod clock;
mod iam;
mod stub_store;
mod vendor;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::ids::{AccessKeyId, AccountId, AccountName, Subject, Who};
use crate::core::rotation::{KeyMetadata, KeyStatus};
use crate::core::time::Timestamp;

pub use clock::JumpingClock;
pub use iam::StandInAccounts;
pub use vendor::{Exchange, PlaceholderSecrets, Reply, StandInVendors};

/// What stands where the secret half of an access key would be.
pub const SECRET_ACCESS_KEY: &str = "<secret_access_key>";

/// AWS needs about this long until a new key signs everywhere (hashicorp/vault documents 5 to 10 s).
const PROPAGATION: Duration = Duration::from_secs(8);

/// A key at the stand-in for IAM.
#[derive(Clone, Debug)]
struct Key {
    metadata: KeyMetadata,
    probed_at: Option<Timestamp>,
    /// The vendor's use of it: from, and until; `None` until: it uses it now.
    used: Option<(Timestamp, Option<Timestamp>)>,
}

/// An IAM user at the stand-in.
#[derive(Debug, Default)]
struct User {
    keys: Vec<Key>,
    held: Option<AccessKeyId>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    users: BTreeMap<Who, User>,
    account_ids: BTreeMap<AccountName, AccountId>,
    keys_made: u32,
    calls: BTreeMap<&'static str, u64>,
    /// The first time that a vendor was without a working key, in words.
    outage: Option<String>,
}

/// The world of a rehearsal. Clones are the same world.
#[derive(Clone, Debug)]
pub struct RehearsalWorld {
    state: Arc<Mutex<State>>,
}

impl RehearsalWorld {
    /// An empty world at this time. Accounts that the configuration gives no id get a made-up one.
    #[must_use]
    pub fn new(now: Timestamp, account_ids: BTreeMap<AccountName, AccountId>) -> RehearsalWorld {
        let state = State {
            now,
            users: BTreeMap::new(),
            account_ids,
            keys_made: 0,
            calls: BTreeMap::new(),
            outage: None,
        };
        RehearsalWorld { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one visit must not take the stage from the others: the state is whole between calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the vendor an IAM user whose one key was made at `created_at`, and which it uses.
    #[must_use]
    pub fn hand_out_key(&self, subject: &Subject, created_at: Timestamp) -> AccessKeyId {
        let mut state = self.lock();
        let who = subject.who();
        let id = state.make_key(&who, created_at);
        state.take_up(&who, &id, created_at);
        id
    }

    /// The vendor takes a key up: from now on it uses this one.
    pub fn vendor_takes_up(&self, subject: &Subject, key: &AccessKeyId) {
        let mut state = self.lock();
        let now = state.now;
        state.take_up(&subject.who(), key, now);
    }

    /// The key that the vendor holds, as text; empty when it holds none.
    #[must_use]
    pub fn held(&self, subject: &Subject) -> String {
        let state = self.lock();
        let held = state.users.get(&subject.who()).and_then(|user| user.held.clone());
        held.map(String::from).unwrap_or_default()
    }

    /// The key that was made last for the vendor, as text: the one that is being given to it.
    #[must_use]
    pub fn newest(&self, subject: &Subject) -> String {
        let state = self.lock();
        let newest = state.users.get(&subject.who()).and_then(|user| user.keys.last());
        newest.map(|key| key.metadata.id.to_string()).unwrap_or_default()
    }

    /// The account of this user: the one of the configuration, or a made-up one.
    #[must_use]
    pub fn account_id(&self, subject: &Subject) -> AccountId {
        self.lock().id_of_account(subject.account.as_ref())
    }

    /// What time it is in the rehearsal.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn jump_to(&self, at: Timestamp) {
        let mut state = self.lock();
        state.now = state.now.max(at);
    }

    /// How often each AWS call was made.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.lock().calls.clone()
    }

    /// The first time that a vendor was without a working key, in words; `None` if it never was.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        self.lock().outage.clone()
    }

    /// The age of the oldest Active key of all users; zero when there is none.
    #[must_use]
    pub fn oldest_active_age(&self) -> Duration {
        let state = self.lock();
        let keys = state.users.values().flat_map(|user| &user.keys);
        let active = keys.filter(|key| key.metadata.status == KeyStatus::Active);
        active.map(|key| state.now.since(key.metadata.created_at)).max().unwrap_or_default()
    }

    /// How many keys each user has.
    #[must_use]
    pub fn keys_per_user(&self) -> Vec<usize> {
        self.lock().users.values().map(|user| user.keys.len()).collect()
    }
}

impl State {
    fn id_of_account(&self, account: Option<&AccountName>) -> AccountId {
        let named = account.and_then(|name| self.account_ids.get(name));
        named.cloned().unwrap_or_else(|| "000000000000".parse().expect("twelve digits"))
    }

    fn make_key(&mut self, who: &Who, created_at: Timestamp) -> AccessKeyId {
        self.keys_made += 1;
        let id: AccessKeyId =
            format!("AKIAREHEARSAL{:07}", self.keys_made).parse().expect("twenty letters and digits");
        let metadata = KeyMetadata { id: id.clone(), status: KeyStatus::Active, created_at };
        self.users.entry(who.clone()).or_default().keys.push(Key { metadata, probed_at: None, used: None });
        id
    }

    fn take_up(&mut self, who: &Who, id: &AccessKeyId, at: Timestamp) {
        let Some(user) = self.users.get_mut(who) else { return };
        if user.held.as_ref() == Some(id) {
            return;
        }
        for key in &mut user.keys {
            if Some(&key.metadata.id) == user.held.as_ref()
                && let Some((_, until)) = &mut key.used
            {
                *until = Some(at);
            }
            if key.metadata.id == *id {
                key.used = Some((at, None));
            }
        }
        user.held = Some(id.clone());
        self.watch_over(who);
    }

    /// Notes an outage when the key that the vendor holds does not work.
    fn watch_over(&mut self, who: &Who) {
        let Some(user) = self.users.get(who) else { return };
        let Some(held) = &user.held else { return };
        let works =
            user.keys.iter().any(|key| key.metadata.id == *held && key.metadata.status == KeyStatus::Active);
        if !works && self.outage.is_none() {
            self.outage =
                Some(format!("at {} the vendor of {} held {held}, which does not work", self.now, who.1));
        }
    }

    fn count(&mut self, operation: &'static str) {
        *self.calls.entry(operation).or_default() += 1;
    }
}
