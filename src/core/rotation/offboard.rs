//! Offboarding: an operator ends the work with a vendor, and every access key of the vendor's IAM user is deleted.
//!
//! Each key that the event names, the rotation's old key and its new key are set Inactive at once, by the same cuts as
//! in an incident. After the cooling time each of them is deleted. Until then `keyround reactivate` sets the keys that
//! were Active before Active again. An offboarding calls AWS only: it delivers nothing and asks the vendor nothing. So
//! it continues when the vendor is no longer in the configuration.
//!
//! A key that appears later was made by somebody else and is not touched, unless an unanswered CreateAccessKey call of
//! this rotation may have made it and it was never used.
//!
//! **Invariant:** a key is deleted only if a listing after its cooling time showed it, and not as Active.
//!
//! **Invariant:** after an operator has taken the offboarding back, it sets no key Inactive and deletes none.

use std::collections::BTreeMap;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::doubt::PendingSpan;
use crate::core::rotation::effect::{Effect, Evidence};
use crate::core::rotation::event::{
    EffectKind, Event, Intent, KeyMetadata, KeyStatus, KeyUsage, RemovalReason,
};
use crate::core::rotation::incident::Cut;
use crate::core::rotation::known_keys::KeyState;
use crate::core::rotation::listing::{LISTING_FRESH, LISTING_SETTLES};
use crate::core::rotation::machine::{Rotation, is_good};
use crate::core::rotation::next::{Ending, Next, Waiting};
use crate::core::rotation::pair::AtVendor;
use crate::core::rotation::refusal::{Refusal, RefusalCode};
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

/// The step must have failed this many times in a row before an answer of AWS that the key or the user does not exist
/// is believed. IAM is eventually consistent, so a single such answer may be wrong.
const NOT_THERE_MAX: u32 = 2;

/// An operator's order to offboard the vendor, and the state of each key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offboarding {
    /// The operator who asked for it.
    pub by: String,
    /// The reason that the operator gave.
    pub why: String,
    /// The time at which the operator asked for it.
    pub at: Timestamp,
    keys: BTreeMap<AccessKeyId, Leaving>,
    /// An operator asked for the keys back.
    is_taken_back: bool,
    /// The offboarding is finished: each key is deleted.
    is_over: bool,
}

/// The state of one key in an offboarding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Leaving {
    /// The key was Active before, so the vendor may have used it: `reactivate` sets it Active again.
    was_active: bool,
    /// The key does not exist any more.
    is_gone: bool,
    /// The key was set Active again.
    is_back: bool,
    /// The key's status in the last listing; `None` if the listing did not show it.
    seen: Option<KeyStatus>,
}

impl Leaving {
    fn new(was_active: bool) -> Leaving {
        Leaving { was_active, is_gone: false, is_back: false, seen: None }
    }
}

impl Offboarding {
    /// The first key that is not deleted yet.
    fn first_left(&self) -> Option<(&AccessKeyId, &Leaving)> {
        self.keys.iter().find(|(_, leaving)| !leaving.is_gone)
    }

    /// The next key to set Active again, once the offboarding was taken back.
    /// A key that was declared exposed since then stays Inactive.
    fn to_give_back(&self, exposed: &BTreeMap<AccessKeyId, Cut>) -> Option<&AccessKeyId> {
        let is_due = |key: &AccessKeyId, leaving: &Leaving| {
            let is_exposed = exposed.get(key).is_some_and(|cut| cut.is_exposed);
            leaving.was_active && !leaving.is_gone && !leaving.is_back && !is_exposed
        };
        self.keys.iter().find(|(key, leaving)| is_due(key, leaving)).map(|(key, _)| key)
    }

    fn mark_gone(&mut self, key: &AccessKeyId) {
        self.keys.entry(key.clone()).and_modify(|leaving| leaving.is_gone = true);
    }
}

impl Rotation {
    /// The offboarding, whether it is in force, finished, or taken back; `None` if no operator asked for one.
    #[must_use]
    pub fn offboarding(&self) -> Option<&Offboarding> {
        self.offboarding.as_ref()
    }

    /// Whether an offboarding is in force or finished, and was not taken back.
    #[must_use]
    pub fn is_offboarded(&self) -> bool {
        self.offboarding.as_ref().is_some_and(|offboarding| !offboarding.is_taken_back)
    }

    /// Whether an offboarding is finished: each key is deleted.
    #[must_use]
    pub fn was_offboarded(&self) -> bool {
        self.offboarding.as_ref().is_some_and(|offboarding| offboarding.is_over)
    }

    /// Whether an offboarding that was not taken back includes this key.
    pub(super) fn is_leaving(&self, key: &AccessKeyId) -> bool {
        self.is_offboarded() && self.offboarding.as_ref().is_some_and(|all| all.keys.contains_key(key))
    }

    /// The ending of a rotation that did not replace a key.
    pub(super) fn given_up(&self) -> Ending {
        match &self.offboarding {
            Some(offboarding) if offboarding.is_over => Ending::Offboarded,
            _ if self.is_cut_only() => Ending::Cut,
            _ => Ending::Abandoned,
        }
    }

    /// Applies the event with which an operator offboards the vendor. `None`: the event cannot follow, because this
    /// rotation already has an offboarding.
    pub(super) fn offboard_asked(&mut self, event: &Event) -> Option<()> {
        let Event::OffboardAsked { keys, by, why, at, .. } = event else { return None };
        if self.offboarding.is_some() {
            return None;
        }
        self.remember_doubt();
        self.in_doubt = None;
        let unoffered = self.new_key().filter(|_| self.offered_at.is_none()).cloned();
        let mut leaving: BTreeMap<AccessKeyId, Leaving> =
            keys.iter().map(|row| (row.id.clone(), Leaving::new(row.status == KeyStatus::Active))).collect();
        for key in self.old.iter().chain(self.new_key()) {
            let was_active = self
                .known_keys()
                .get(key)
                .is_some_and(|known| known.state == KeyState::Is(KeyStatus::Active));
            leaving.entry(key.clone()).or_insert(Leaving::new(was_active));
        }
        if let Some(key) = unoffered {
            leaving.insert(key, Leaving::new(false));
        }
        for key in leaving.keys() {
            self.cut(key.clone());
        }
        let (by, why) = (by.clone(), why.clone());
        self.offboarding =
            Some(Offboarding { by, why, at: *at, keys: leaving, is_taken_back: false, is_over: false });
        (self.incident, self.last_fault, self.at_vendor) = (None, None, AtVendor::unknown());
        self.go_on_at_once(Stage::Offboard { listed_at: None, suspect: None }, *at);
        self.begin_span(*at);
        Some(())
    }

    pub(super) fn next_in_offboard(&self, now: Timestamp) -> Next {
        let (Stage::Offboard { listed_at, suspect }, Some(offboarding)) = (&self.stage, &self.offboarding)
        else {
            return Next::Ended(self.given_up());
        };
        if let Some(key) = suspect {
            return Next::Perform(Effect::ReadUsage { keys: vec![key.clone()] });
        }
        if offboarding.is_taken_back {
            return self.next_when_taken_back(offboarding, now);
        }
        // A clock that was ahead wrote this time. The next listing replaces it by the time of the listing.
        if self.since > now {
            return Next::Perform(Effect::ListKeys);
        }
        let deletes_at = self.deletes_at();
        let (by, why) = (offboarding.by.clone(), offboarding.why.clone());
        let why = Waiting::Offboarded { by, why, deletes_at };
        if now < deletes_at {
            let due = self.next_question(listed_at.unwrap_or(self.since)).min(deletes_at);
            return if now < due { Next::Wait { until: due, why } } else { Next::Perform(Effect::ListKeys) };
        }
        if listed_at.is_none_or(|at| at < deletes_at) || !is_good(*listed_at, LISTING_FRESH, now) {
            return Next::Perform(Effect::ListKeys);
        }
        match offboarding.first_left() {
            Some((key, Leaving { seen: Some(KeyStatus::Inactive | KeyStatus::Expired), .. })) => {
                let evidence = Evidence::new(RemovalReason::Offboarded);
                Next::Perform(Effect::Delete { key: key.clone(), evidence })
            }
            // The listing may lag behind the cut. If a later listing still shows the key Active, it is cut again.
            Some(_) if now < self.since + LISTING_SETTLES => {
                Next::Wait { until: self.since + LISTING_SETTLES, why }
            }
            Some(_) | None => Next::Perform(Effect::ListKeys),
        }
    }

    /// The earliest time to delete the keys: the cooling time counts from the last cut, and a listing must already show
    /// what an unanswered CreateAccessKey call made.
    fn deletes_at(&self) -> Timestamp {
        (self.since + self.plan.cool).max(PendingSpan::settles_at(self.doubt_span))
    }

    fn next_when_taken_back(&self, offboarding: &Offboarding, now: Timestamp) -> Next {
        if let Some(key) = offboarding.to_give_back(&self.exposed) {
            return Next::Perform(Effect::Reactivate { key: key.clone() });
        }
        // An UpdateAccessKey call that sets the key Inactive may still have been under way when it was set Active.
        let settled = self.since + LISTING_SETTLES;
        match now < settled && self.since <= now {
            true => Next::Wait { until: settled, why: Waiting::GivenBack },
            false => Next::Perform(Effect::ListKeys),
        }
    }

    /// The stage after a listing while the keys cool, or after they were set Active again.
    pub(super) fn listed_while_leaving(&mut self, rows: &[KeyMetadata], at: Timestamp) -> Option<Stage> {
        let is_new_hidden = self.new_created_at.is_some_and(|made| at < made + LISTING_SETTLES);
        let (since, settles) = (self.since, PendingSpan::settles_at(self.doubt_span));
        let stray = rows.iter().find(|row| {
            let is_known = |all: &Offboarding| all.keys.contains_key(&row.id);
            !self.offboarding.as_ref().is_some_and(is_known)
                && !self.bystanders.contains(&row.id)
                && self.may_be_ours(row)
        });
        let suspect = stray.map(|row| row.id.clone());
        let offboarding = self.offboarding.as_mut()?;
        for (id, leaving) in offboarding.keys.iter_mut().filter(|(_, leaving)| !leaving.is_gone) {
            leaving.seen = rows.iter().find(|row| row.id == *id).map(|row| row.status);
            leaving.is_gone = leaving.seen.is_none() && !is_new_hidden;
            // A late request of our own set the key Inactive, so it must be set Active once more.
            leaving.is_back &= leaving.seen != Some(KeyStatus::Inactive);
        }
        let status = match self.in_doubt.as_ref().map(|pending| &pending.intent) {
            Some(Intent::Delete { key, .. }) => {
                offboarding.keys.get(key).map(|leaving| (leaving.is_gone, leaving.seen))
            }
            _ => None,
        };
        let is_at_rest = match offboarding.is_taken_back {
            true => at >= since + LISTING_SETTLES && offboarding.to_give_back(&self.exposed).is_none(),
            false => offboarding.first_left().is_none() && at >= settles && suspect.is_none(),
        };
        if let Some((is_gone, seen)) = status {
            self.in_doubt.take_if(|pending| is_gone || pending.is_refuted_by(seen, at));
        }
        Some(match is_at_rest {
            true => self.left(),
            false => Stage::Offboard { listed_at: Some(at), suspect },
        })
    }

    /// Ends the offboarding, and returns the last stage.
    fn left(&mut self) -> Stage {
        if let Some(offboarding) = &mut self.offboarding {
            offboarding.is_over = !offboarding.is_taken_back;
        }
        Stage::Abandoned
    }

    /// The stage after an event in the last stage of an issue or an offboarding; `None` if the event cannot follow.
    pub(super) fn after_last_event(&mut self, stage: Stage, event: &Event) -> Option<Stage> {
        match (stage, event) {
            (Stage::Clear { new }, Event::Listed { keys, at }) => Some(self.after_clearing(new, keys, *at)),
            (stage, event) => self.after_offboard_event(stage, event),
        }
    }

    /// The stage after an event of an offboarding other than a listing, a cut or an operator command; `None` if the
    /// event cannot follow.
    fn after_offboard_event(&mut self, stage: Stage, event: &Event) -> Option<Stage> {
        let Stage::Offboard { suspect, .. } = &stage else { return None };
        let pending = self.in_doubt.as_ref().map(|pending| pending.intent.clone());
        match (event, pending) {
            (Event::UsageRead { usage, .. }, _) => {
                let key = suspect.clone()?;
                match usage.get(&key)? {
                    KeyUsage::Never => {
                        self.offboarding.as_mut()?.keys.insert(key.clone(), Leaving::new(false));
                        self.cut(key);
                    }
                    KeyUsage::Used { .. } | KeyUsage::Gone => drop(self.bystanders.insert(key)),
                }
                Some(Stage::Offboard { listed_at: None, suspect: None })
            }
            (Event::Deleted { at, .. }, Some(Intent::Delete { key, .. })) => {
                let settles = PendingSpan::settles_at(self.doubt_span);
                let offboarding = self.offboarding.as_mut()?;
                offboarding.mark_gone(&key);
                let is_over = offboarding.first_left().is_none() && *at >= settles;
                Some(if is_over { self.left() } else { stage })
            }
            (Event::Reactivated { at }, Some(Intent::Reactivate { key })) => {
                self.offboarding.as_mut()?.keys.get_mut(&key)?.is_back = true;
                self.begin_span(*at);
                Some(Stage::Offboard { listed_at: None, suspect: None })
            }
            _ => None,
        }
    }

    /// Takes a refused call as proof that the key, or the user with all keys, is gone, if AWS has refused often enough.
    /// `false`: the refusal proves no such thing, and the caller handles it.
    pub(super) fn refused_while_leaving(
        &mut self,
        doing: EffectKind,
        refusal: &Refusal,
        at: Timestamp,
    ) -> bool {
        let is_absence = matches!(refusal.code, RefusalCode::NoSuchKey | RefusalCode::NoSuchUser);
        let is_repeated = self.failures >= NOT_THERE_MAX;
        if !matches!(self.stage, Stage::Offboard { .. }) || !is_absence || !is_repeated {
            return false;
        }
        let Some(offboarding) = &mut self.offboarding else { return false };
        let absent: Vec<AccessKeyId> = match doing {
            EffectKind::List => offboarding.keys.keys().cloned().collect(),
            EffectKind::Delete => offboarding.first_left().map(|(key, _)| key.clone()).into_iter().collect(),
            EffectKind::Reactivate => offboarding.to_give_back(&self.exposed).cloned().into_iter().collect(),
            _ => return false,
        };
        for key in &absent {
            offboarding.mark_gone(key);
        }
        let is_over = offboarding.first_left().is_none();
        self.in_doubt = None;
        let stage = if is_over { self.left() } else { self.stage.clone() };
        (self.failures, self.failing, self.last_fault) = (0, None, None);
        self.enter(stage, at);
        true
    }

    /// The stage after an operator takes the offboarding back. `None`: the event cannot follow, because a key may be
    /// about to be deleted, no key can be given back, or one of them is exposed and `exposed` does not accept that.
    pub(super) fn take_offboarding_back(&mut self, exposed: bool) -> Option<Stage> {
        if self.is_in_doubt_of(EffectKind::Delete) {
            return None;
        }
        let offboarding = self.offboarding.as_mut().filter(|offboarding| !offboarding.is_taken_back)?;
        let back: Vec<AccessKeyId> = offboarding
            .keys
            .iter()
            .filter(|(_, leaving)| leaving.was_active && !leaving.is_gone)
            .map(|(key, _)| key.clone())
            .collect();
        if back.is_empty()
            || !exposed && back.iter().any(|key| self.exposed.get(key).is_some_and(|cut| cut.is_exposed))
        {
            return None;
        }
        offboarding.is_taken_back = true;
        self.exposed.clear();
        self.in_doubt = None;
        Some(Stage::Offboard { listed_at: None, suspect: None })
    }

    /// Whether the offboarding can be abandoned now: an unanswered CreateAccessKey call may have made a key, and
    /// abandoning the offboarding too early would leave that key behind.
    pub(super) fn may_give_offboarding_up(&self, at: Timestamp) -> bool {
        let settles = PendingSpan::settles_at(self.doubt_span);
        let Stage::Offboard { listed_at, suspect: None } = &self.stage else { return false };
        // A late request to set a key Active may undo a cut. The listing that `look_at` plans finds that, and then the
        // key is cut again.
        if self.exposed.values().any(|cut| cut.look_at.is_some()) {
            return false;
        }
        self.doubt_span.is_none() || at >= settles && listed_at.is_some_and(|listed_at| listed_at >= settles)
    }
}
