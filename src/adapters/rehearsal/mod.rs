//! The rehearsal: a stand-in for AWS and for the vendors, in this process, with a clock that jumps.
//!
//! `keyround rehearse` runs the whole life of a rotation with the operator's own configuration, the same driver, the
//! same journal and the same templates. Only AWS and the vendors are stand-ins, so it needs no credentials and
//! changes nothing outside.
//!
//! **Invariant:** no real secret is read here. A placeholder that names the reference stands in its place, so a
//! request can be shown as it would be sent, and nothing in it needs to be masked.

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

/// The placeholder for a secret access key.
pub const SECRET_ACCESS_KEY: &str = "<secret_access_key>";

/// How long after its creation a new key is not accepted yet. At AWS it takes about this long (hashicorp/vault
/// documents 5 to 10 s).
const PROPAGATION: Duration = Duration::from_secs(8);

/// An access key at the stand-in for IAM.
#[derive(Clone, Debug)]
struct Key {
    metadata: KeyMetadata,
    probed_at: Option<Timestamp>,
    /// When the vendor used the key: from, and until. An `until` of `None` means that it still uses the key.
    used: Option<(Timestamp, Option<Timestamp>)>,
}

/// An IAM user at the stand-in. `held` is the key that its vendor uses.
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
    /// The first time that a vendor had no working key, as a sentence.
    outage: Option<String>,
}

/// The state of a rehearsal: the clock, the IAM users and the keys of the vendors. Clones share the same state.
#[derive(Clone, Debug)]
pub struct RehearsalWorld {
    state: Arc<Mutex<State>>,
}

impl RehearsalWorld {
    /// An empty world at this time. An account without an id in `account_ids` has a made-up one.
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
        // The state is consistent between calls, so a panic of one reconcile must not stop the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the IAM user of a vendor with one key, made at `created_at`, which the vendor uses.
    #[must_use]
    pub fn hand_out_key(&self, subject: &Subject, created_at: Timestamp) -> AccessKeyId {
        let mut state = self.lock();
        let who = subject.who();
        let id = state.make_key(&who, created_at);
        state.take_up(&who, &id, created_at);
        id
    }

    /// Lets the vendor switch to this key, which it uses from now on.
    pub fn vendor_takes_up(&self, subject: &Subject, key: &AccessKeyId) {
        let mut state = self.lock();
        let now = state.now;
        state.take_up(&subject.who(), key, now);
    }

    /// The id of the key that the vendor holds, as text. Empty if it holds none.
    #[must_use]
    pub fn held(&self, subject: &Subject) -> String {
        let state = self.lock();
        let held = state.users.get(&subject.who()).and_then(|user| user.held.clone());
        held.map(String::from).unwrap_or_default()
    }

    /// The id of the newest key of the user, as text: during a delivery, the one that is being delivered.
    #[must_use]
    pub fn newest(&self, subject: &Subject) -> String {
        let state = self.lock();
        let newest = state.users.get(&subject.who()).and_then(|user| user.keys.last());
        newest.map(|key| key.metadata.id.to_string()).unwrap_or_default()
    }

    /// The id of the user's account: the one that [`RehearsalWorld::new`] was given, or a made-up one.
    #[must_use]
    pub fn account_id(&self, subject: &Subject) -> AccountId {
        self.lock().id_of_account(subject.account.as_ref())
    }

    /// The current time of the rehearsal.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn jump_to(&self, at: Timestamp) {
        let mut state = self.lock();
        state.now = state.now.max(at);
    }

    /// How many times each AWS call was made, by its name.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.lock().calls.clone()
    }

    /// The first time that a vendor had no working key, as a sentence. `None` if that never happened.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        self.lock().outage.clone()
    }

    /// The age of the oldest Active key of all users. Zero if there is none.
    #[must_use]
    pub fn oldest_active_age(&self) -> Duration {
        let state = self.lock();
        let keys = state.users.values().flat_map(|user| &user.keys);
        let active = keys.filter(|key| key.metadata.status == KeyStatus::Active);
        active.map(|key| state.now.since(key.metadata.created_at)).max().unwrap_or_default()
    }

    /// The number of keys of each user.
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

    /// Records an outage if the key that the vendor holds does not exist or is not Active.
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
