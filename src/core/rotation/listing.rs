//! What a listing of the user's keys means: at the start, while a CreateAccessKey is unanswered, and before a key is
//! taken away.
//!
//! **Invariant:** the journal knows what keyround did, and only a listing knows what others did. So no key is created,
//! set Inactive or deleted for a vendor that holds a key without a listing that allows it; only the cut of an exposed
//! key needs none.

use std::time::Duration;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::apply::CLOCK_SKEW_MAX;
use crate::core::rotation::doubt::PendingSpan;
use crate::core::rotation::effect::Effect;
use crate::core::rotation::event::{EffectKind, KeyMetadata, KeyStatus};
use crate::core::rotation::machine::{EVIDENCE_FRESH, Rotation, is_good};
use crate::core::rotation::next::{Blocker, Next};
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

/// A listing is believed to show what was done to a key at least this long before it.
pub(super) const LISTING_SETTLES: Duration = CLOCK_SKEW_MAX;

/// A listing that is older than this does not allow taking a key away, because anybody can change a key at any time.
pub(super) const LISTING_FRESH: Duration = Duration::from_mins(1);

impl Rotation {
    /// The last checks before a key is taken away: the vendor is asked, if it can be, and then the keys are listed.
    /// `None`: both were done, and their results still count.
    pub(super) fn last_look(
        &self,
        new: &AccessKeyId,
        asked_at: Option<Timestamp>,
        listed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Next> {
        if self.plan.can_ask_vendor && !is_good(asked_at, EVIDENCE_FRESH, now) {
            return Some(Next::Perform(Effect::Verify { key: new.clone() }));
        }
        (!is_good(listed_at, LISTING_FRESH, now)).then_some(Next::Perform(Effect::ListKeys))
    }

    /// The stage after a complete listing, at the start and after an unanswered CreateAccessKey.
    pub(super) fn after_listing(&mut self, keys: &[KeyMetadata], at: Timestamp) -> Stage {
        self.remember_doubt();
        // A listing may lag behind our own deletion.
        let others =
            || keys.iter().filter(|key| !self.is_old(&key.id) && !self.was_just_discarded(&key.id, at));
        let mut unknown = others().filter(|key| !self.bystanders.contains(&key.id));
        let (other, third) = (unknown.next(), unknown.next());
        let settles = PendingSpan::settles_at(self.doubt_span);
        if self.abandoning && at < settles {
            // The clock was set back since the wait for this listing began, so the listing is too early.
            self.wait_until(settles, at);
            return Stage::Survey;
        }
        if self.abandoning {
            // An abandoned rotation only clears away a key that may be ours, whatever happened to the old key.
            let all: Vec<&KeyMetadata> = others().collect();
            let ours = other.filter(|other| third.is_none() && self.may_be_ours(other));
            return match self.stray_among(&all).or_else(|| ours.map(|ours| ours.id.clone())) {
                Some(key) => Stage::Suspect { key },
                None => Stage::Abandoned,
            };
        }
        let Some(key) = self.old.clone() else {
            let others: Vec<&KeyMetadata> = others().collect();
            return self.after_listing_without_old(&others, at);
        };
        match keys.iter().find(|row| row.id == key).map(|row| row.status) {
            // Whatever happened to an exposed key, the vendor needs another one.
            _ if self.old_is_exposed() => {}
            None => return stuck(Blocker::OldKeyGone { key }, Stage::Survey),
            Some(KeyStatus::Active) => {}
            Some(KeyStatus::Inactive | KeyStatus::Expired) => {
                return stuck(Blocker::OldKeyNotActive { key }, Stage::Survey);
            }
        }
        match (other, third) {
            (None, _) => Stage::Create { surveyed_at: at },
            (Some(other), None) if self.may_be_ours(other) => Stage::Suspect { key: other.id.clone() },
            (Some(other), None) if self.was_the_old_one(&other.id) => {
                stuck(Blocker::SlotFilledInIncident { other: other.id.clone() }, Stage::Survey)
            }
            (Some(other), _) => stuck(Blocker::NoFreeSlot { other: other.id.clone() }, Stage::Survey),
        }
    }

    /// Whether this rotation began by replacing this key, before an incident made another key the one to be replaced.
    fn was_the_old_one(&self, key: &AccessKeyId) -> bool {
        self.began_with.as_ref() == Some(key)
    }

    pub(super) fn was_just_discarded(&self, key: &AccessKeyId, at: Timestamp) -> bool {
        self.discarded.get(key).is_some_and(|discarded_at| at < *discarded_at + LISTING_SETTLES)
    }

    /// Why the old key does not exist any more, as far as that is known.
    pub(super) fn old_key_gone(&self) -> Option<Blocker> {
        let key = self.old.clone()?;
        Some(match self.deletion_intended {
            true => Blocker::OldKeyDeletedLate { key },
            false => Blocker::OldKeyGone { key },
        })
    }

    /// The old key was to be set Active again, and is not there any more.
    pub(super) fn enter_without_old_key(&mut self, at: Timestamp) {
        if let Some(blocker) = self.old_key_gone() {
            self.enter(stuck(blocker, self.stage.clone()), at);
        }
    }

    /// Whether an unanswered CreateAccessKey of ours can have created this key.
    ///
    /// IAM does not say who created a key. If somebody else creates one for this very user within these minutes, and
    /// AWS has not published its first use yet, keyround cannot tell it from its own.
    pub(super) fn may_be_ours(&self, key: &KeyMetadata) -> bool {
        self.doubt_span.is_some_and(|span| {
            // The plan comes from the journal, so the sum of two of its spans may overflow. Adding each of them to a
            // time does not.
            let latest = span.to + CLOCK_SKEW_MAX + self.plan.doubt_window;
            key.created_at + CLOCK_SKEW_MAX >= span.from && key.created_at <= latest
        })
    }

    /// Whether a listing is a look at keys that are to be set Inactive or deleted, or cool.
    pub(super) fn looks_at_both(&self) -> bool {
        matches!(self.stage, Stage::Soak { .. } | Stage::Cool { .. } | Stage::Offboard { .. })
    }

    /// The stage after a listing before a key is set Inactive or deleted: the journal does not know what others did to
    /// the keys meanwhile. `None`: the listing is counted already, as a failure or as trouble.
    pub(super) fn after_another_look(&mut self, keys: &[KeyMetadata], at: Timestamp) -> Option<Stage> {
        if let Stage::Offboard { .. } = self.stage {
            return self.listed_while_leaving(keys, at);
        }
        let status = |id: &AccessKeyId| keys.iter().find(|key| key.id == *id).map(|key| key.status);
        let (old, stage) = (self.old.as_ref().and_then(status), self.stage.clone());
        let new = stage.new_key().and_then(status);
        self.in_doubt.take_if(|doubt| doubt.is_refuted_by(old, at));
        if let Stage::Soak { .. } = stage {
            self.looked_while_soaking(stage, (old, new), at)
        } else {
            self.looked_while_cooling(stage, (old, new), at)
        }
    }

    fn looked_while_soaking(
        &mut self,
        stage: Stage,
        (old, new): (Option<KeyStatus>, Option<KeyStatus>),
        at: Timestamp,
    ) -> Option<Stage> {
        let Stage::Soak { new: key, accepted_at, asked_at, usage, .. } = stage else { return None };
        let in_doubt = self.is_in_doubt_of(EffectKind::Deactivate);
        let soak = |listed_at| Stage::Soak { new: key.clone(), accepted_at, asked_at, listed_at, usage };
        Some(match (old, new) {
            (None, Some(KeyStatus::Active)) if self.old_is_exposed() => Stage::Done { new: key },
            (None, _) => stuck(self.old_key_gone()?, soak(None)),
            (Some(_), None) if at < self.last_probe.counts_from + LISTING_SETTLES => {
                self.fail(EffectKind::List, "the listing does not show the new key yet", None, at);
                return None;
            }
            // The old key may be Inactive, or become so, and then the vendor has no working key.
            (Some(_), None | Some(KeyStatus::Inactive | KeyStatus::Expired)) if in_doubt => {
                self.new_key_taken_away(key, new, accepted_at, at);
                return None;
            }
            (Some(_), None) => stuck(Blocker::NewKeyGone { key: key.clone() }, soak(None)),
            (Some(_), Some(KeyStatus::Inactive | KeyStatus::Expired)) => {
                stuck(Blocker::NewKeyNotActive { key: key.clone() }, soak(None))
            }
            // The old key was set Active again, and an earlier request to set it Inactive arrived after that.
            (Some(KeyStatus::Inactive), Some(KeyStatus::Active))
                if self.reactivations > 0 && !in_doubt && !self.old_is_exposed() =>
            {
                Stage::Restore { new: key, accepted_at }
            }
            (Some(_), Some(KeyStatus::Active)) => soak(Some(at)),
        })
    }

    /// Another person deleted the new key or set it Inactive, and the old key may be Inactive. So the vendor gets the
    /// old key back. `found`: what the listing shows of the new key.
    pub(super) fn new_key_taken_away(
        &mut self,
        new: AccessKeyId,
        found: Option<KeyStatus>,
        accepted_at: Timestamp,
        at: Timestamp,
    ) {
        let what = match found {
            None => "was deleted",
            Some(KeyStatus::Expired) => "expired",
            Some(KeyStatus::Inactive | KeyStatus::Active) => "was set Inactive",
        };
        let sentence = format!("the new key {new} {what} outside keyround");
        self.trouble(Stage::Restore { new, accepted_at }, &sentence, at);
    }
}
