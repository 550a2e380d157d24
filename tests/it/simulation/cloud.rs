//! Simulated IAM and STS: a quota of two keys, replicas that lag and disagree, last-used dates that come late, and
//! answers that get lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyround::core::ids::{AccessKeyId, AccountId, AccountName, IamUserName};
use keyround::core::rotation::{KeyMetadata, KeyStatus, KeyUsage, RefusalCode, Stage};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{Accounts, Answer, Fault as Failed, Iam, Identity, NewKey};

use super::Mistake;
use super::consumers::Consumer;
use super::faults::{AT_AWS, Fault};
use super::world::{Sim, State};
use crate::support::trail;

/// Access keys per user, Inactive ones included (IAM quotas).
pub(super) const QUOTA: usize = 2;
pub(super) const REPLICAS: usize = 3;
/// Of several uses within this span IAM records the first (IAM User Guide).
const USE_GRAIN: Duration = Duration::from_mins(15);
/// AWS refuses a request whose signature is dated further away than this (SigV4).
const SKEW_SECS_MAX: u64 = 300;
/// A signed request that is delayed on its way arrives at most this much later.
pub(super) const LATE_MAX: Duration = Duration::from_mins(4);
const NO_ANSWER_AFTER: Duration = Duration::from_secs(30);

/// One change of a key, and the time from which each replica shows it.
#[derive(Clone, Debug)]
struct Change {
    /// The status after the change; `None` means that the key was deleted.
    status: Option<KeyStatus>,
    /// The time of the change.
    at: Timestamp,
    shown_from: [Timestamp; REPLICAS],
}

/// The origin of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Maker {
    /// The person who set the vendor up.
    First,
    /// The program.
    Program,
    Stranger,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: AccessKeyId,
    pub(super) secret: String,
    pub(super) maker: Maker,
    pub(super) created_at: Timestamp,
    pub(super) inactive_since: Option<Timestamp>,
    pub(super) offered: bool,
    /// When another person switched or deleted the key. The checkers do not blame the program for what follows.
    pub(super) meddled_at: Option<Timestamp>,
    pub(super) probed_at: Option<Timestamp>,
    worked_for_probe: bool,
    /// The spans in which the key is used: the first use, the last (`None` while it continues), and the time
    /// between two of them.
    pub(super) uses: Vec<(Timestamp, Option<Timestamp>, Duration)>,
    changes: Vec<Change>,
}

/// An IAM user, and the vendor that works with its key.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: IamUserName,
    pub(super) keys: Vec<Key>,
    pub(super) consumer: Consumer,
    /// The longest lag of a replica in this play.
    pub(super) lag_max: Duration,
    /// How long it takes until a last-used date is published.
    pub(super) usage_lag: Duration,
    /// How late CloudTrail shows a use. `None`: CloudTrail is not asked, or does not record this vendor's calls.
    pub(super) trail_lag: Option<Duration>,
    /// When the program last listed the keys.
    pub(super) listed_at: Timestamp,
    /// When the program last read last-used dates.
    pub(super) usage_read_at: Timestamp,
    /// The spans, from and until, in which a CreateAccessKey of the program may have been unanswered.
    pub(super) doubts: Vec<(Timestamp, Timestamp)>,
    /// Until this time every call for this user is refused for missing permissions.
    pub(super) denied_until: Timestamp,
}

impl Key {
    /// The true status, whatever the replicas show.
    pub(super) fn status(&self) -> Option<KeyStatus> {
        self.changes.last().and_then(|change| change.status)
    }

    pub(super) fn works(&self) -> bool {
        self.status() == Some(KeyStatus::Active)
    }

    /// The time of the last status change.
    pub(super) fn changed_at(&self) -> Timestamp {
        self.changes.last().map_or(self.created_at, |change| change.at)
    }

    /// Whether the key had this status at some time between these two.
    pub(super) fn had(&self, status: Option<KeyStatus>, from: Timestamp, until: Timestamp) -> bool {
        let ends = self.changes.iter().skip(1).map(|change| change.at).chain([Timestamp::NEVER]);
        let lasted = |(change, end): (&Change, Timestamp)| {
            change.status == status && change.at <= until && end >= from
        };
        let was_not_there = status.is_none() && self.created_at >= from;
        was_not_there || self.changes.iter().zip(ends).any(lasted)
    }

    fn shown(&self, replica: usize, now: Timestamp) -> Option<KeyStatus> {
        let known = self.changes.iter().rev().find(|change| change.shown_from[replica] <= now);
        known.and_then(|change| change.status)
    }

    /// Whether at least one replica shows the key as Active.
    pub(super) fn is_known_somewhere(&self, now: Timestamp) -> bool {
        (0..REPLICAS).any(|replica| self.shown(replica, now) == Some(KeyStatus::Active))
    }

    fn last_use(&self, published: Timestamp) -> Option<Timestamp> {
        let until_published = |&(from, until, every): &(Timestamp, Option<Timestamp>, Duration)| {
            let last = until.unwrap_or(published).min(published);
            let every = every.max(USE_GRAIN).as_secs();
            (from <= last).then(|| from + Duration::from_secs(last.since(from).as_secs() / every * every))
        };
        self.uses.iter().filter_map(until_published).max()
    }

    /// What GetAccessKeyLastUsed answers: it is late, and a use soon after a recorded one is hidden behind that one.
    pub(super) fn usage(&self, published: Timestamp) -> KeyUsage {
        let by_probe = self.probed_at.filter(|at| *at <= published);
        let (last_used_at, service) = match (self.last_use(published), by_probe) {
            (None, None) => return KeyUsage::Never,
            (Some(used), Some(probed)) if used.since(probed) > USE_GRAIN => (used, "s3"),
            (_, Some(probed)) => (probed, "sts"),
            (Some(used), None) => (used, "s3"),
        };
        KeyUsage::Used { last_used_at, service: service.to_owned(), region: None, witness: None }
    }
}

impl State {
    pub(super) fn make_key(
        &mut self,
        user: &IamUserName,
        maker: Maker,
        created_at: Timestamp,
    ) -> AccessKeyId {
        let id = self.new_key_id();
        let key = Key {
            id: id.clone(),
            secret: format!("canary-secret-of-{id}"),
            maker,
            created_at,
            inactive_since: None,
            offered: maker == Maker::First,
            meddled_at: None,
            probed_at: None,
            worked_for_probe: false,
            uses: Vec::new(),
            changes: Vec::new(),
        };
        self.user(user).keys.push(key);
        self.change(user, &id, Some(KeyStatus::Active));
        id
    }

    /// Changes a key. Each replica follows after its own lag, and never shows changes out of order.
    pub(super) fn change(&mut self, user: &IamUserName, id: &AccessKeyId, status: Option<KeyStatus>) {
        let now = self.now();
        let lag_max = if self.weather.is_calm { Duration::from_secs(2) } else { self.user(user).lag_max };
        let lags: [Duration; REPLICAS] =
            std::array::from_fn(|_| self.dice.span(Duration::from_secs(1), lag_max));
        let key = self.key(user, id).expect("somebody just found it");
        let before = key.changes.last().map(|change| change.shown_from);
        let shown_from = std::array::from_fn(|replica| {
            (now + lags[replica]).max(before.map_or(now, |shown| shown[replica]))
        });
        key.changes.push(Change { status, at: now, shown_from });
        key.inactive_since = match status {
            Some(KeyStatus::Inactive) => key.inactive_since.or(Some(now)),
            Some(KeyStatus::Active | KeyStatus::Expired) | None => None,
        };
        self.note(format!("{user}: {id} is {status:?}"));
    }

    /// A key that exists, or that is just being created.
    pub(super) fn key(&mut self, user: &IamUserName, id: &AccessKeyId) -> Option<&mut Key> {
        self.user(user)
            .keys
            .iter_mut()
            .find(|key| key.id == *id && (key.status().is_some() || key.changes.is_empty()))
    }

    pub(super) fn slots_taken(&mut self, user: &IamUserName) -> usize {
        self.user(user).keys.iter().filter(|key| key.status().is_some()).count()
    }

    fn list(&mut self, user: &IamUserName) -> Vec<KeyMetadata> {
        let (now, replica) = (self.now(), self.dice.up_to(REPLICAS));
        self.user(user).listed_at = now;
        let doubted = self.never_ends_doubt_of(user);
        let row = |key: &Key| {
            let shown = key.shown(replica, now)?;
            let status = if doubted.as_ref() == Some(&key.id) { KeyStatus::Inactive } else { shown };
            Some(KeyMetadata { id: key.id.clone(), status, created_at: key.created_at })
        };
        self.user(user).keys.iter().filter_map(row).collect()
    }

    /// For [`Mistake::DoubtNeverEnds`]: the old key whose deactivation is unanswered. `list` shows it as Inactive,
    /// because a listing that shows it Active would end the doubt.
    fn never_ends_doubt_of(&self, user: &IamUserName) -> Option<AccessKeyId> {
        if self.mistake != Mistake::DoubtNeverEnds {
            return None;
        }
        let rotation = self.in_flight(user)?;
        let is_in_doubt =
            matches!(rotation.stage(), Stage::Soak { .. }) && rotation.old_key_may_be_inactive();
        rotation.old().filter(|_| is_in_doubt).cloned()
    }

    fn create(&mut self, user: &IamUserName) -> Answer<NewKey> {
        if self.slots_taken(user) >= QUOTA {
            if self.mistake == Mistake::DeletesOtherAtQuota {
                self.make_room(user);
                return self.create(user);
            }
            return Err(Failed::refused(RefusalCode::LimitExceeded, "two keys already"));
        }
        let now = self.now();
        let id = self.make_key(user, Maker::Program, now);
        let secret = Secret::new(self.key(user, &id).expect("just made").secret.clone());
        Ok(NewKey { id, secret, request_id: None })
    }

    /// For [`Mistake::DeletesOtherAtQuota`]: deletes the oldest key when both slots are taken, as a popular
    /// rotation tool does.
    fn make_room(&mut self, user: &IamUserName) {
        let oldest = self.user(user).keys.iter().find(|key| key.status().is_some()).map(|key| key.id.clone());
        let oldest = oldest.expect("both slots are taken");
        self.check_taking(user, &oldest, "deleted");
        self.change(user, &oldest, None);
    }

    fn set_status(
        &mut self,
        user: &IamUserName,
        id: &AccessKeyId,
        status: KeyStatus,
    ) -> Answer<Option<String>> {
        if self.key(user, id).is_none() {
            return Err(Failed::refused(RefusalCode::NoSuchKey, "no such key"));
        }
        if status == KeyStatus::Inactive {
            self.check_taking(user, id, "set Inactive");
            self.check_evidence(user, id);
            if self.mistake == Mistake::InactiveIsNotSent {
                return Ok(None);
            }
        }
        self.change(user, id, Some(status));
        Ok(None)
    }

    fn delete(&mut self, user: &IamUserName, id: &AccessKeyId) -> Answer<Option<String>> {
        if self.key(user, id).is_none() {
            return Err(Failed::refused(RefusalCode::NoSuchKey, "no such key"));
        }
        self.check_deleting(user, id);
        self.change(user, id, None);
        Ok(None)
    }

    fn last_used(&mut self, user: &IamUserName, id: &AccessKeyId) -> KeyUsage {
        let now = self.now();
        let (lag, trail_lag) = (self.user(user).usage_lag, self.user(user).trail_lag);
        // A throttled CloudTrail look-up gives no witness.
        let trail_lag = trail_lag.filter(|_| self.dice.per_mille(900));
        let is_old = self.in_flight(user).is_some_and(|rotation| rotation.old() == Some(id));
        let usage = self.key(user, id).map_or(KeyUsage::Gone, |key| {
            let seen = trail_lag.and_then(|lag| key.last_use(now.minus(lag)));
            let usage = key.usage(now.minus(lag));
            seen.into_iter().fold(usage, |usage, at| usage.witnessed(trail::witness(at, "s3")))
        });
        match (self.mistake, usage) {
            (Mistake::OldUseIsOverlooked, _) if is_old => KeyUsage::Never,
            (Mistake::ProbeIsUse, KeyUsage::Used { last_used_at, .. }) => {
                KeyUsage::Used { last_used_at, service: "s3".to_owned(), region: None, witness: None }
            }
            (Mistake::UseIsOverlooked, KeyUsage::Used { .. }) => KeyUsage::Never,
            (_, usage) => usage,
        }
    }

    fn identify(&mut self, user: &IamUserName, id: &AccessKeyId, secret: &str) -> Answer<Identity> {
        let (now, replica) = (self.now(), self.dice.up_to(REPLICAS));
        let is_believed = self.mistake == Mistake::ProofIsSkipped;
        let known = self.user(user).keys.iter_mut().find(|key| key.id == *id);
        let known = known.filter(|key| key.secret == secret);
        let Some(key) = known else {
            return Err(Failed::refused(RefusalCode::NotUsable, "no such pair"));
        };
        if key.shown(replica, now) != Some(KeyStatus::Active) && !is_believed {
            if key.worked_for_probe {
                self.mark(user, Fault::ReplicaFlaps);
            }
            return Err(Failed::refused(RefusalCode::NotUsable, "AWS does not know the key"));
        }
        (key.probed_at, key.worked_for_probe) = (Some(now), true);
        Ok(Identity { account_id: account_id(), arn: format!("arn:aws:iam::{}:user/{user}", account_id()) })
    }
}

pub(super) fn account_id() -> AccountId {
    "111122223333".parse().expect("twelve digits")
}

/// IAM, as the program calls it.
pub(super) struct SimAccounts(pub(super) Sim);

impl Accounts for SimAccounts {
    fn iam(&self, _account: Option<&AccountName>) -> Arc<dyn Iam> {
        Arc::new(SimIam(self.0.clone()))
    }
}

struct SimIam(Sim);

impl SimIam {
    /// Makes one call: draws its fault and its duration, and returns its answer.
    async fn call<T: Send>(
        &self,
        user: &IamUserName,
        what: &'static str,
        act: impl Fn(&mut State) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let changes = !matches!(what, "list" | "last used" | "identify");
        let (fault, travels) = {
            let mut state = self.0.lock();
            state.count_call(user);
            (
                SimIam::draw(&mut state, user, what, changes),
                state.dice.span(Duration::from_secs(1), Duration::from_secs(4)),
            )
        };
        self.0.pass(travels).await;
        let answer = self.answer(user, fault, act).await;
        let mut state = self.0.lock();
        let heard = match &answer {
            Ok(_) => "done",
            Err(Failed::Refused(refusal)) => refusal.code.as_str(),
            Err(Failed::Unknown(_)) => "no answer",
        };
        state.note(format!("{user}: {what}: {heard}"));
        let taken_for_a_no = state.mistake == Mistake::SilenceIsRefusal;
        drop(state);
        match answer {
            Err(Failed::Unknown(_)) if taken_for_a_no => {
                Err(Failed::refused(RefusalCode::Other, "no answer"))
            }
            answer => answer,
        }
    }

    fn draw(state: &mut State, user: &IamUserName, what: &str, changes: bool) -> Option<Fault> {
        if state.clock_off_secs.unsigned_abs() > SKEW_SECS_MAX {
            return Some(Fault::ClockSteps);
        }
        // Most calls are listings of users for whom nothing is due, so only a tenth of those meets faults.
        if what == "list" && state.place(user) == "idle" && !state.dice.per_mille(100) {
            return None;
        }
        if state.now() < state.user(user).denied_until && !state.weather.is_calm {
            state.mark(user, Fault::Denied);
            return Some(Fault::Denied);
        }
        let fault = state.strike(user, &AT_AWS)?;
        match fault {
            // The permissions are missing until an operator notices.
            Fault::Denied => {
                let until = state.dice.span(Duration::from_secs(1), Duration::from_hours(60));
                let until = state.now() + until;
                state.user(user).denied_until = until;
            }
            // A call that only reads has the same result before a kill, after it, and late.
            Fault::KilledInFlight | Fault::KilledAfter if !changes => return Some(Fault::KilledBefore),
            Fault::Late | Fault::AnswerLost if !changes => return Some(Fault::ServerError),
            _ => {}
        }
        Some(fault)
    }

    async fn answer<T: Send>(
        &self,
        user: &IamUserName,
        fault: Option<Fault>,
        act: impl Fn(&mut State) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let retries = {
            let state = self.0.lock();
            state.mistake == Mistake::SdkRetriesCreate
        };
        match fault {
            None => act(&mut self.0.lock()),
            Some(Fault::KilledBefore) => self.0.die().await,
            Some(Fault::KilledAfter) => {
                drop(act(&mut self.0.lock()));
                self.0.die().await
            }
            Some(Fault::KilledInFlight) => {
                self.perform_late(act);
                self.0.die().await
            }
            Some(Fault::Late) => {
                self.perform_late(act);
                self.0.pass(NO_ANSWER_AFTER).await;
                Err(Failed::unknown("no answer"))
            }
            Some(Fault::AnswerLost) => {
                drop(act(&mut self.0.lock()));
                self.0.pass(NO_ANSWER_AFTER).await;
                if retries {
                    return act(&mut self.0.lock());
                }
                Err(Failed::unknown("no answer"))
            }
            Some(Fault::ServerError) => Err(Failed::unknown("500")),
            Some(Fault::Throttled) => Err(Failed::refused(RefusalCode::Throttled, "slow down")),
            Some(Fault::Denied) => Err(Failed::refused(RefusalCode::AccessDenied, "rights are missing")),
            Some(Fault::Unreachable) => Err(Failed::refused(RefusalCode::NotSent, "no connection")),
            Some(_) => {
                Err(Failed::refused(RefusalCode::Other, format!("the request of {user} is dated wrongly")))
            }
        }
    }

    fn perform_late<T>(&self, act: impl Fn(&mut State) -> Answer<T> + Send + 'static) {
        let sim = self.0.clone();
        let (late, clock_off_secs) = {
            let mut state = sim.lock();
            (state.dice.span(Duration::from_secs(5), LATE_MAX), state.clock_off_secs)
        };
        // The program's clock dates the signature, so it may be too old by the time the request arrives.
        if late.as_secs().cast_signed() - clock_off_secs > SKEW_SECS_MAX.cast_signed() {
            return;
        }
        drop(tokio::spawn(async move {
            sim.pass(late).await;
            drop(act(&mut sim.lock()));
        }));
    }
}

#[async_trait]
impl Iam for SimIam {
    async fn caller(&self) -> Answer<Identity> {
        let account_id = account_id();
        let arn = format!("arn:aws:sts::{account_id}:assumed-role/keyround/keyround");
        Ok(Identity { account_id, arn })
    }

    fn aws_time(&self) -> Option<Timestamp> {
        Some(self.0.true_now())
    }

    async fn ask_aws_time(&self) -> Option<Timestamp> {
        self.aws_time()
    }

    async fn list_keys(&self, user: &IamUserName) -> Answer<Vec<KeyMetadata>> {
        let name = user.clone();
        let listed = self.call(user, "list", move |state| Ok(state.list(&name))).await;
        let is_believed = self.0.lock().mistake == Mistake::NoListingIsNoKeys;
        if is_believed { Ok(listed.unwrap_or_default()) } else { listed }
    }

    async fn create_key(&self, user: &IamUserName) -> Answer<NewKey> {
        let (name, from) = (user.clone(), self.0.true_now());
        self.0.lock().user(user).doubts.push((from, from + NO_ANSWER_AFTER + LATE_MAX));
        self.tempt_a_stranger(user);
        self.call(user, "create", move |state| state.create(&name)).await
    }

    async fn set_status(
        &self,
        user: &IamUserName,
        key: &AccessKeyId,
        status: KeyStatus,
    ) -> Answer<Option<String>> {
        let (name, id) = (user.clone(), key.clone());
        let what = if status == KeyStatus::Active { "set Active" } else { "set Inactive" };
        self.call(user, what, move |state| state.set_status(&name, &id, status)).await
    }

    async fn delete_key(&self, user: &IamUserName, key: &AccessKeyId) -> Answer<Option<String>> {
        let (name, id) = (user.clone(), key.clone());
        self.call(user, "delete", move |state| state.delete(&name, &id)).await
    }

    async fn usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        let (user, id) = (self.owner(key), key.clone());
        let name = user.clone();
        self.call(&user, "last used", move |state| Ok(state.last_used(&name, &id))).await
    }

    async fn identify(&self, key: &AccessKeyId, secret: &Secret) -> Answer<Identity> {
        let (user, id, secret) = (self.owner(key), key.clone(), secret.clone());
        let name = user.clone();
        self.call(&user, "identify", move |state| state.identify(&name, &id, secret.expose())).await
    }

    async fn users_under(&self, _path: &str) -> Answer<Vec<IamUserName>> {
        Ok(self.0.lock().users.keys().cloned().collect())
    }

    async fn missing_rights(&self, _user: &IamUserName) -> Answer<Option<Vec<String>>> {
        Ok(Some(Vec::new()))
    }
}

impl SimIam {
    /// May let another person create a key at the worst time: while a CreateAccessKey of the program may be unanswered.
    fn tempt_a_stranger(&self, user: &IamUserName) {
        let mut state = self.0.lock();
        let State { weather, dice, .. } = &mut *state;
        if !weather.strikes(Fault::StrangerMakesKey, dice) {
            return;
        }
        let (sim, user, after) = (self.0.clone(), user.clone(), dice.span(Duration::from_secs(1), LATE_MAX));
        drop(tokio::spawn(async move {
            sim.pass(after).await;
            let mut state = sim.lock();
            if state.slots_taken(&user) < QUOTA {
                state.mark(&user, Fault::StrangerMakesKey);
                let now = state.now();
                let id = state.make_key(&user, Maker::Stranger, now);
                state.key(&user, &id).expect("just made").uses.push((now, None, USE_GRAIN));
            }
        }));
    }

    fn owner(&self, key: &AccessKeyId) -> IamUserName {
        let state = self.0.lock();
        let owns = |user: &&User| user.keys.iter().any(|known| known.id == *key);
        state.users.values().find(owns).expect("only keys of the cast are asked for").name.clone()
    }
}
