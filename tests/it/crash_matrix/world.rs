//! A model of the world outside the program: IAM with its quota and its lags, one vendor with its habits, another
//! person who creates a key, and requests that arrive late. It checks each change as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use keyround::core::ids::AccessKeyId;
use keyround::core::rotation::{
    Doubt, Effect, Event, IncidentMode, KeyMetadata, KeyStatus, KeyUsage, Outcome, Plan, Refusal,
    RefusalCode, RemovalReason, Verification,
};
use keyround::core::time::Timestamp;

use crate::support::trail;

/// Access keys per user, inactive ones included (IAM quotas).
const QUOTA: usize = 2;
/// How much later a request of a paused process arrives.
const LATE: Duration = Duration::from_secs(45);
/// How long a vendor that went back may be without a working key, where the vendor can be asked: one interval
/// between vendor checks, and half an hour of checks without an answer.
const WITHOUT_KEY_MAX: Duration = Duration::from_hours(2);
/// How soon an exposed key must be Inactive after the vendor has another one, failed attempts included.
const EXPOSED_MAX: Duration = Duration::from_mins(30);
/// Of several uses within this span IAM records the first.
const USE_GRAIN_SECS: i64 = 15 * 60;

/// The AWS service of those vendor calls that CloudTrail records. It is the one that our own probe calls.
pub(crate) const WITNESSED: &str = "sts";

/// What the vendor does with a delivery that it accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Habit {
    /// The vendor uses the key at once.
    Prompt,
    /// The vendor uses the key after this long.
    Slow(Duration),
    /// Like `Slow`, and the vendor stopped using the old key before the rotation began.
    Seldom(Duration),
    /// The vendor loses the first delivery, and treats repeats of it as duplicates.
    Forgets,
    /// The vendor restores a backup with the old key this long after it took the new one.
    GoesBack(Duration),
    /// Like `GoesBack`, and the vendor answers no check until it uses the new key again.
    GoesBackInSilence(Duration),
}

/// The conditions that distinguish one world from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Climate {
    pub(crate) listing_lag: Duration,
    pub(crate) usable_lag: Duration,
    pub(crate) usage_lag: Duration,
    /// Whether the program asks CloudTrail, which distinguishes the vendor's uses from our own.
    pub(crate) cloudtrail: bool,
    pub(crate) habit: Habit,
    /// Another person creates a key before the effect of this number, and uses it at once.
    pub(crate) stranger_before_effect: Option<u32>,
}

#[derive(Clone, Debug)]
struct Key {
    status: KeyStatus,
    created_at: Timestamp,
    inactive_since: Option<Timestamp>,
    strange: bool,
    offered: bool,
    probed_at: Option<Timestamp>,
    /// The span in which the vendor used the key; an end of `None` means that it still uses it.
    used: Option<(Timestamp, Option<Timestamp>)>,
}

/// A change of the world that is due at a later time.
#[derive(Clone, Debug)]
enum Later {
    Perform(Effect),
    Adopt(AccessKeyId),
    PutRight,
    HandOver(AccessKeyId, u32),
    Try(AccessKeyId),
    FallSilent,
}

/// Whether the vendor is offboarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leaving {
    Not,
    Gone,
    TakenBack,
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) calls: u32,
    pub(crate) broken: Option<&'static str>,
    climate: Climate,
    cool: Duration,
    can_ask_vendor: bool,
    keys: BTreeMap<AccessKeyId, Key>,
    made: u32,
    held: AccessKeyId,
    deliveries: Vec<u32>,
    /// The key that was delivered last. A vendor that corrects its mistake takes this one.
    latest: AccessKeyId,
    /// Since when an operator has asked to wait before an exposed key is set Inactive.
    pub(crate) waived_since: Option<Timestamp>,
    went_back: bool,
    is_silent: bool,
    without_key_since: Option<Timestamp>,
    /// The keys that an operator declared exposed, recorded independently of the program.
    exposed: BTreeMap<AccessKeyId, IncidentMode>,
    replaced_since: Option<Timestamp>,
    leaving: Leaving,
    /// The keys that the offboarding names.
    named: Vec<AccessKeyId>,
    later: Vec<(Timestamp, Later)>,
}

impl World {
    pub(crate) fn new(climate: Climate, plan: &Plan) -> World {
        let now = Timestamp::from_unix(1_800_000_000);
        let mut world = World {
            now,
            calls: 0,
            broken: None,
            climate,
            cool: plan.cool,
            can_ask_vendor: plan.can_ask_vendor,
            keys: BTreeMap::new(),
            made: 0,
            held: key_id(1),
            deliveries: Vec::new(),
            latest: key_id(1),
            waived_since: None,
            went_back: false,
            is_silent: false,
            without_key_since: None,
            exposed: BTreeMap::new(),
            replaced_since: None,
            leaving: Leaving::Not,
            named: Vec::new(),
            later: Vec::new(),
        };
        let old = world.make(now.minus(Duration::from_hours(24 * 120)), false);
        let idle_since =
            matches!(climate.habit, Habit::Seldom(_)).then(|| now.minus(Duration::from_hours(1)));
        let used = Some((now.minus(Duration::from_hours(24)), idle_since));
        world.keys.get_mut(&old).expect("just made").used = used;
        world
    }

    /// The same for a vendor without a key; its user may have one that is Inactive, and that is not the vendor's.
    pub(crate) fn without_key(climate: Climate, plan: &Plan, left: bool) -> World {
        let mut world = World::new(climate, plan);
        world.held = key_id(0);
        world.keys.retain(|_, _| left);
        for key in world.keys.values_mut() {
            (key.status, key.inactive_since, key.strange) = (KeyStatus::Inactive, Some(world.now), true);
        }
        world
    }

    /// A person offboards the vendor: these keys of its user go, and all that are ours.
    pub(crate) fn offboard(&mut self, named: impl Iterator<Item = AccessKeyId>) {
        self.named = named.collect();
        for id in self.named.clone() {
            if let Some(key) = self.keys.get_mut(&id) {
                // It was named, so it is no stranger's any more.
                key.strange = false;
            }
        }
        self.leaving = Leaving::Gone;
    }

    /// And takes that back.
    pub(crate) fn take_offboarding_back(&mut self) {
        self.leaving = Leaving::TakenBack;
    }

    pub(crate) fn is_taken_back(&self) -> bool {
        self.leaving == Leaving::TakenBack
    }

    /// No key that was named is Active. One that an earlier request made late is found by a later listing.
    pub(crate) fn check_named_cut(&mut self) {
        let named = self.named.clone();
        if named.iter().any(|id| self.is_active(id)) {
            self.break_with("the vendor is offboarded, and a key of its user is Active");
        }
    }

    /// No key of the offboarded vendor's user is Active, but one that a stranger made later.
    pub(crate) fn check_cut(&mut self) {
        if self.keys.values().any(|key| !key.strange && key.status == KeyStatus::Active) {
            self.break_with("the vendor is offboarded, and a key of its user is Active");
        }
    }

    /// The vendor has the key that it worked with, or another one that was given back.
    pub(crate) fn check_given_back(&mut self) {
        let held = self.held.clone();
        if !self.works(&held) {
            self.break_with("the offboarding was taken back, and the vendor has no key that works");
        }
    }

    /// Whether a listing of then showed an Active key that is not ours.
    pub(crate) fn showed_strange_active_key(&self, listed_at: Timestamp) -> bool {
        let is_shown = |key: &Key| key.created_at + self.climate.listing_lag <= listed_at;
        self.keys.values().any(|key| key.strange && key.status == KeyStatus::Active && is_shown(key))
    }

    pub(crate) fn old() -> AccessKeyId {
        key_id(1)
    }

    pub(crate) fn has_stranger(&self) -> bool {
        self.keys.values().any(|key| key.strange)
    }

    fn make(&mut self, created_at: Timestamp, strange: bool) -> AccessKeyId {
        self.made += 1;
        let id = key_id(self.made);
        let key = Key {
            status: KeyStatus::Active,
            created_at,
            inactive_since: None,
            strange,
            offered: false,
            probed_at: None,
            used: strange.then_some((created_at, None)),
        };
        self.keys.insert(id.clone(), key);
        id
    }

    pub(crate) fn stranger_makes_a_key(&mut self) {
        if self.keys.len() < QUOTA {
            self.make(self.now, true);
        }
    }

    /// Advances the time, and applies everything that is due by then.
    pub(crate) fn pass_until(&mut self, until: Timestamp) {
        while let Some(index) = self.earliest_before(until) {
            let (at, what) = self.later.remove(index);
            self.now = self.now.max(at);
            // Checks the state before the change too, because the change may repair what was wrong until now.
            self.watch_over();
            match what {
                // This request was sent before the key was declared exposed: `perform_late` breaks the run for any
                // other. It is therefore applied without that check.
                Later::Perform(Effect::Reactivate { key }) => drop(self.reactivate(&key)),
                Later::Perform(effect) => drop(self.perform(&effect)),
                Later::Adopt(key) => self.adopt(key),
                Later::PutRight => self.adopt(self.latest.clone()),
                Later::HandOver(key, round) => self.deliver(&key, round),
                Later::Try(key) => drop(self.probe(&key)),
                Later::FallSilent => self.is_silent = true,
            }
            self.watch_over();
        }
        self.now = self.now.max(until);
        self.watch_over();
    }

    /// keyround cannot prevent a vendor from going back to the old key, but it must make that key Active again.
    fn watch_over(&mut self) {
        self.watch_over_exposed();
        // An exposed key is never made Active again, and a new vendor has no key, so no bound applies.
        if self.held == key_id(0)
            || self.leaving != Leaving::Not
            || self.works(&self.held)
            || !self.can_ask_vendor
            || self.exposed.contains_key(&self.held)
        {
            self.without_key_since = None;
            return;
        }
        let since = *self.without_key_since.get_or_insert(self.now);
        if since + WITHOUT_KEY_MAX < self.now {
            self.break_with("a vendor that went back did not get its key back");
        }
    }

    /// In replace-first mode an exposed key may stay Active only until the vendor has another one.
    fn watch_over_exposed(&mut self) {
        let is_replaced = |(id, mode): (&AccessKeyId, &IncidentMode)| {
            *mode == IncidentMode::ReplaceFirst && self.is_active(id) && self.has_another(id)
        };
        if self.waived_since.is_some() || !self.exposed.iter().any(is_replaced) {
            self.replaced_since = None;
            return;
        }
        let since = *self.replaced_since.get_or_insert(self.now);
        let bound = match self.climate.habit {
            Habit::Slow(lag) | Habit::Seldom(lag) => EXPOSED_MAX + 2 * lag,
            _ => EXPOSED_MAX,
        };
        if since + bound < self.now {
            self.break_with("the vendor has another key, and the exposed one stays Active");
        }
    }

    /// Whether the vendor was offered another key that works and, where it can be asked, names that key.
    fn has_another(&self, id: &AccessKeyId) -> bool {
        self.keys.iter().any(|(other, key)| {
            other != id && key.offered && self.works(other) && (!self.can_ask_vendor || self.held == *other)
        })
    }

    /// An operator declares this key exposed.
    pub(crate) fn declare(&mut self, id: &AccessKeyId, mode: IncidentMode) {
        self.exposed.insert(id.clone(), mode);
        self.replaced_since = None;
    }

    pub(crate) fn exposed(&self) -> Vec<AccessKeyId> {
        self.exposed.keys().cloned().collect()
    }

    pub(crate) fn is_active(&self, id: &AccessKeyId) -> bool {
        self.keys.get(id).is_some_and(|key| key.status == KeyStatus::Active)
    }

    /// The keys that were delivered to the vendor.
    pub(crate) fn offered(&self) -> Vec<AccessKeyId> {
        self.keys.iter().filter(|(_, key)| key.offered).map(|(id, _)| id.clone()).collect()
    }

    /// Whether a late request has not arrived yet.
    pub(crate) fn is_something_late(&self) -> bool {
        self.later.iter().any(|(_, later)| matches!(later, Later::Perform(_)))
    }

    pub(crate) fn is_held(&self, id: &AccessKeyId) -> bool {
        self.held == *id
    }

    /// How many keys exist that no stranger made, and how many deliveries arrived.
    pub(crate) fn given_out(&self) -> (usize, usize) {
        (self.count_ours(), self.deliveries.len())
    }

    /// An operator deletes a key at AWS.
    pub(crate) fn delete_by_hand(&mut self, id: &AccessKeyId) {
        self.keys.remove(id);
    }

    pub(crate) fn went_back(&self) -> bool {
        self.went_back
    }

    pub(crate) fn count_ours(&self) -> usize {
        self.keys.values().filter(|key| !key.strange).count()
    }

    fn earliest_before(&self, until: Timestamp) -> Option<usize> {
        let due = self.later.iter().enumerate().filter(|(_, (at, _))| *at <= until);
        due.min_by_key(|(index, (at, _))| (*at, *index)).map(|(index, _)| index)
    }

    pub(crate) fn perform_late(&mut self, effect: &Effect) {
        if let Effect::Reactivate { key } = effect
            && self.exposed.contains_key(key)
        {
            self.break_with("an exposed key was set Active");
        }
        self.later.push((self.now + LATE, Later::Perform(effect.clone())));
    }

    /// Applies an effect to the world, and returns the answer.
    pub(crate) fn perform(&mut self, effect: &Effect) -> Outcome {
        self.calls += 1;
        let at = self.now;
        match effect {
            Effect::ListKeys => Outcome::Happened(Event::Listed { keys: self.listing(), at }),
            Effect::CreateKey if self.keys.len() >= QUOTA => no(RefusalCode::LimitExceeded),
            Effect::CreateKey => {
                let key = self.make(at, false);
                Outcome::Happened(Event::Created { key, at, request_id: None })
            }
            Effect::Probe { key } => self.probe(key),
            Effect::Deliver { key, round } => {
                self.deliver(key, *round);
                Outcome::Happened(Event::Delivered { at })
            }
            Effect::Verify { .. } if !self.can_ask_vendor => {
                Outcome::Happened(Event::Verified { by: Verification::Acceptance, at })
            }
            Effect::Verify { .. } if self.is_silent => no_answer(),
            Effect::Verify { key } if self.held == *key => {
                Outcome::Happened(Event::Verified { by: Verification::Asked, at })
            }
            Effect::Verify { .. } => no(RefusalCode::NotInForce),
            Effect::ReadUsage { keys } => {
                let usage = keys.iter().map(|key| (key.clone(), self.usage(key))).collect();
                Outcome::Happened(Event::UsageRead { usage, at })
            }
            Effect::Deactivate { key, evidence } => self.deactivate(key, evidence.because()),
            Effect::Reactivate { key } => {
                if self.exposed.contains_key(key) {
                    self.break_with("an exposed key was set Active");
                }
                self.reactivate(key)
            }
            Effect::Delete { key, .. } => self.delete(key),
        }
    }

    fn listing(&self) -> Vec<KeyMetadata> {
        let visible = |key: &&Key| key.created_at + self.climate.listing_lag <= self.now;
        let rows = self.keys.iter().filter(|(_, key)| visible(key));
        rows.map(|(id, key)| KeyMetadata { id: id.clone(), status: key.status, created_at: key.created_at })
            .collect()
    }

    fn works(&self, id: &AccessKeyId) -> bool {
        self.keys.get(id).is_some_and(|key| {
            key.status == KeyStatus::Active && key.created_at + self.climate.usable_lag <= self.now
        })
    }

    fn probe(&mut self, id: &AccessKeyId) -> Outcome {
        if !self.works(id) {
            return no(RefusalCode::NotUsable);
        }
        let now = self.now;
        self.keys.get_mut(id).expect("it works").probed_at = Some(now);
        Outcome::Happened(Event::Probed { at: now })
    }

    /// An operator takes the key to the vendor after this long.
    pub(crate) fn hand_over_after(&mut self, wait: Duration, id: &AccessKeyId, round: u32) {
        self.later.push((self.now + wait, Later::HandOver(id.clone(), round)));
    }

    /// An operator tries the key at STS after this long.
    pub(crate) fn try_after(&mut self, wait: Duration, id: &AccessKeyId) {
        self.later.push((self.now + wait, Later::Try(id.clone())));
    }

    fn deliver(&mut self, id: &AccessKeyId, round: u32) {
        if !self.works(id) && !self.exposed.contains_key(id) && self.leaving == Leaving::Not {
            self.break_with("the vendor was given a key that AWS does not know yet");
        }
        if let Some(key) = self.keys.get_mut(id) {
            key.offered = true;
        }
        let is_repeat = self.deliveries.contains(&round);
        self.deliveries.push(round);
        self.latest.clone_from(id);
        let first = self.deliveries[0];
        match self.climate.habit {
            _ if is_repeat && self.climate.habit == Habit::Forgets => {}
            Habit::Forgets if round == first => {}
            Habit::Prompt | Habit::Forgets => self.adopt(id.clone()),
            Habit::Slow(lag) | Habit::Seldom(lag) => {
                self.later.push((self.now + lag, Later::Adopt(id.clone())));
            }
            Habit::GoesBack(lag) | Habit::GoesBackInSilence(lag) => {
                self.adopt(id.clone());
                if !std::mem::replace(&mut self.went_back, true) {
                    if let Habit::GoesBackInSilence(_) = self.climate.habit {
                        self.later.push((self.now + lag, Later::FallSilent));
                    }
                    self.later.push((self.now + lag, Later::Adopt(key_id(1))));
                    // The vendor notices its mistake after the same time again, and takes the latest key.
                    self.later.push((self.now + 2 * lag, Later::PutRight));
                }
            }
        }
    }

    fn adopt(&mut self, id: AccessKeyId) {
        // A `GoesBackInSilence` vendor is silent while it uses the old key, and answers again with the next key it
        // takes.
        self.is_silent &= id == key_id(1);
        if self.held == id || !self.keys.contains_key(&id) {
            return;
        }
        let now = self.now;
        if let Some(Key { used: Some((_, until)), .. }) = self.keys.get_mut(&self.held) {
            until.get_or_insert(now);
        }
        if let Some(key) = self.keys.get_mut(&id) {
            key.used = Some((now, None));
        }
        self.held = id;
    }

    /// What GetAccessKeyLastUsed answers: late, and only the first use of each quarter of an hour.
    fn usage(&self, id: &AccessKeyId) -> KeyUsage {
        let Some(key) = self.keys.get(id) else { return KeyUsage::Gone };
        let published = self.now.minus(self.climate.usage_lag);
        let by_vendor = key.used.filter(|(from, _)| *from <= published).map(|(from, until)| {
            let last = until.unwrap_or(published).min(published);
            let grain = last.since(from).as_secs().cast_signed() / USE_GRAIN_SECS * USE_GRAIN_SECS;
            Timestamp::from_unix(from.unix_seconds() + grain)
        });
        let by_probe = key.probed_at.filter(|at| *at <= published);
        let recorded = match (by_vendor, by_probe) {
            (None, None) => KeyUsage::Never,
            // IAM does not show a use within a quarter of an hour after the probe, because it records only the probe.
            (Some(used), Some(probed)) if used.since(probed).as_secs().cast_signed() > USE_GRAIN_SECS => {
                used_at(used, "s3")
            }
            (_, Some(probed)) => used_at(probed, "sts"),
            (Some(used), None) => used_at(used, "s3"),
        };
        let until_now = |(_, until): (_, Option<Timestamp>)| until.unwrap_or(published).min(published);
        match key.used.filter(|(from, _)| self.climate.cloudtrail && *from <= published) {
            Some(span) => recorded.witnessed(trail::witness(until_now(span), WITNESSED)),
            None => recorded,
        }
    }

    fn deactivate(&mut self, id: &AccessKeyId, because: &RemovalReason) -> Outcome {
        self.check_taking(id);
        let offered = self.keys.get(id).is_some_and(|key| key.offered);
        if *because == RemovalReason::NeverOffered && offered {
            self.break_with("a key that the vendor was offered was taken back");
        }
        let now = self.now;
        let Some(key) = self.keys.get_mut(id) else { return no(RefusalCode::NoSuchKey) };
        key.status = KeyStatus::Inactive;
        key.inactive_since.get_or_insert(now);
        Outcome::Happened(Event::Deactivated { at: now, request_id: None })
    }

    fn reactivate(&mut self, id: &AccessKeyId) -> Outcome {
        let now = self.now;
        let Some(key) = self.keys.get_mut(id) else { return no(RefusalCode::NoSuchKey) };
        key.status = KeyStatus::Active;
        key.inactive_since = None;
        Outcome::Happened(Event::Reactivated { at: now })
    }

    pub(crate) fn delete(&mut self, id: &AccessKeyId) -> Outcome {
        self.check_taking(id);
        let Some(key) = self.keys.get(id) else { return no(RefusalCode::NoSuchKey) };
        let cooling = if key.offered || *id == key_id(1) { self.cool } else { Duration::ZERO };
        if key.inactive_since.is_none_or(|since| since + cooling > self.now) {
            self.break_with("a key was deleted that was not Inactive for its cooling time");
        }
        self.keys.remove(id);
        Outcome::Happened(Event::Deleted { at: self.now, request_id: None })
    }

    fn check_taking(&mut self, id: &AccessKeyId) {
        let is_the_vendors = self.held == *id && self.works(id);
        match self.exposed.get(id) {
            None if is_the_vendors && self.leaving == Leaving::Not => {
                self.break_with("the vendor's key was taken away");
            }
            Some(IncidentMode::ReplaceFirst) if is_the_vendors && !self.has_another(id) => {
                self.break_with("replace-first took the vendor's only key away");
            }
            Some(_) | None => {}
        }
        if self.keys.get(id).is_some_and(|key| key.strange) {
            self.break_with("a stranger's key was touched");
        }
    }

    pub(crate) fn break_with(&mut self, why: &'static str) {
        self.broken.get_or_insert(why);
    }

    /// At the end: the vendor holds the one key of ours that is left, and that key works.
    pub(crate) fn check_at_rest(&mut self) {
        self.pass_until(self.now + Duration::from_hours(24));
        if !self.works(&self.held) {
            self.break_with("at rest the vendor has no key that works");
        }
        if self.keys.values().filter(|key| !key.strange).count() != 1 {
            self.break_with("a key of ours was left behind");
        }
    }

    /// After an abandon: the vendor's key works, and a key that was never offered is not left behind.
    pub(crate) fn check_abandoned(&mut self, offered: bool) {
        // keyround stops asking the vendor after an abandon. Its answer to an abandon during the cooling says that
        // it will not set the old key Active again.
        self.can_ask_vendor = false;
        self.pass_until(self.now + Duration::from_hours(24));
        if !self.works(&self.held) {
            self.break_with("given up, and the vendor has no key that works");
        }
        let ours = self.keys.values().filter(|key| !key.strange).count();
        if ours != 1 && !offered {
            self.break_with("a key of ours was left behind");
        }
    }

    /// While stuck, the vendor's key must still work.
    pub(crate) fn check_stuck(&mut self) {
        if !self.works(&self.held) {
            self.break_with("stuck, and the vendor has no key that works");
        }
    }
}

pub(crate) fn no(code: RefusalCode) -> Outcome {
    Outcome::Refused(Refusal {
        code,
        sentence: code.as_str().to_owned(),
        retry_after: None,
        nothing_sent: false,
        pairs: Vec::new(),
        said: None,
    })
}

pub(crate) fn no_answer() -> Outcome {
    Outcome::Unknown(Doubt {
        sentence: "no answer".to_owned(),
        retry_after: None,
        pairs: Vec::new(),
        said: None,
    })
}

fn used_at(last_used_at: Timestamp, service: &str) -> KeyUsage {
    KeyUsage::Used { last_used_at, service: service.to_owned(), region: None, witness: None }
}

fn key_id(number: u32) -> AccessKeyId {
    format!("AKIAMODELWORLD{number:06}").parse().expect("an access key id")
}
