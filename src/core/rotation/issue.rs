//! A key for a user without an Active one: the first key of a vendor, or one after all were set Inactive or deleted.
//!
//! It is a rotation without an old key. It ends when the vendor has the new key: nothing soaks, and nothing is set Inactive.
//!
//! The user may have one key that is not Active, which stays as it is. Else both slots are free, and that is the danger here:
//! in any other rotation AWS refuses a second new key, because there is no slot for it. So after a CreateAccessKey without an
//! answer, the keys are listed once more when the vendor has its key and any late request must have arrived, and a key that
//! such a request made is discarded like any other that nobody was offered.
//!
//! **Invariant:** no key is made while the user has an Active one.

use crate::core::ids::AccessKeyId;
use crate::core::rotation::doubt::PendingSpan;
use crate::core::rotation::effect::Effect;
use crate::core::rotation::event::{KeyMetadata, KeyStatus};
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::next::{Blocker, Next, Waiting};
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

impl Rotation {
    /// Whether it makes a key and replaces none.
    #[must_use]
    pub fn is_issue(&self) -> bool {
        self.old.is_none() && self.offboarding.is_none()
    }

    /// The key that is proved, delivered and kept, or that is being cleared away before there is one.
    #[must_use]
    pub fn new_key(&self) -> Option<&AccessKeyId> {
        self.given.as_ref().or_else(|| self.stage.new_key())
    }

    /// What a listing means before there is a new key. `keys`: all that are not known to be deleted.
    pub(super) fn after_listing_without_old(&mut self, keys: &[&KeyMetadata], at: Timestamp) -> Stage {
        if let Some(key) = self.stray_among(keys) {
            return Stage::Suspect { key };
        }
        if let Some(active) = keys.iter().find(|key| key.status == KeyStatus::Active) {
            return stuck(Blocker::HasActiveKey { key: active.id.clone() }, Stage::Survey);
        }
        if let [_, second, ..] = keys {
            return stuck(Blocker::NoFreeSlot { other: second.id.clone() }, Stage::Survey);
        }
        self.bystanders = keys.iter().map(|key| key.id.clone()).collect();
        Stage::Create { surveyed_at: at }
    }

    /// A key that a CreateAccessKey without an answer may have made, where none is replaced.
    pub(super) fn stray_among(&self, keys: &[&KeyMetadata]) -> Option<AccessKeyId> {
        let is_stray = |key: &&&KeyMetadata| !self.bystanders.contains(&key.id) && self.may_be_ours(key);
        keys.iter().filter(|_| self.old.is_none()).find(is_stray).map(|key| key.id.clone())
    }

    /// The new key was made. Where an old one fills the other slot, no earlier request can make one any more.
    pub(super) fn forget_doubt_after(&mut self, new: &AccessKeyId) {
        if self.old.is_some() {
            self.doubt_span = None;
        } else {
            self.bystanders.insert(new.clone());
        }
    }

    /// Whether a CreateAccessKey without an answer may have made a key beside the new one.
    pub(super) fn may_have_stray(&self) -> bool {
        self.old.is_none() && self.doubt_span.is_some()
    }

    /// The vendor holds the new key.
    pub(super) fn after_issue(&mut self, new: AccessKeyId) -> Stage {
        if self.may_have_stray() { Stage::Clear { new } } else { Stage::Done { new } }
    }

    pub(super) fn next_in_clear(&self, now: Timestamp) -> Next {
        let settles = PendingSpan::settles_at(self.doubt_span);
        match now < settles {
            true => Next::Wait { until: settles, why: Waiting::Doubt },
            false => Next::Perform(Effect::ListKeys),
        }
    }

    /// What a listing means once the vendor has the new key.
    pub(super) fn after_clearing(&mut self, new: AccessKeyId, keys: &[KeyMetadata], at: Timestamp) -> Stage {
        if at < PendingSpan::settles_at(self.doubt_span) {
            return Stage::Clear { new };
        }
        let others: Vec<&KeyMetadata> =
            keys.iter().filter(|key| !self.was_just_discarded(&key.id, at)).collect();
        match self.stray_among(&others) {
            Some(key) => {
                self.given = Some(new);
                Stage::Suspect { key }
            }
            None => Stage::Done { new },
        }
    }

    /// Where it goes on once a stray key is gone.
    pub(super) fn looks_again(&mut self) -> Stage {
        match self.given.take().filter(|_| !self.abandoning) {
            Some(new) => Stage::Clear { new },
            None => Stage::Survey,
        }
    }
}
