//! `keyround issue`: a new access key for an IAM user that has no Active one. It is the vendor's first key, or the next
//! one after all were set Inactive or deleted.
//!
//! An issue is a rotation without an old key. It ends when the vendor has the new key: no key soaks, and none is set
//! Inactive.
//!
//! The user may have one key that is not Active; it stays as it is. If the user has no key, both slots are free, and
//! that is a danger: in any other rotation AWS refuses a second new key, because there is no slot for it. So after an
//! unanswered CreateAccessKey, the keys are listed once more when the vendor has its key and any late request must have
//! arrived. A key that a late request made is discarded, like any key that the vendor was not offered.
//!
//! **Invariant:** no key is made while the last listing shows an Active one.

use crate::core::ids::AccessKeyId;
use crate::core::rotation::doubt::PendingSpan;
use crate::core::rotation::effect::Effect;
use crate::core::rotation::event::{KeyMetadata, KeyStatus};
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::next::{Blocker, Next, Waiting};
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

impl Rotation {
    /// Whether this rotation is an issue: it makes a key and replaces none.
    #[must_use]
    pub fn is_issue(&self) -> bool {
        self.old.is_none() && self.offboarding.is_none()
    }

    /// The new key that is proved, delivered and kept. Before there is one: the stray key that may be discarded.
    #[must_use]
    pub fn new_key(&self) -> Option<&AccessKeyId> {
        self.given.as_ref().or_else(|| self.stage.new_key())
    }

    /// The stage after a listing, before there is a new key. `keys`: the listed keys that are not known to be deleted.
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

    /// For a rotation without an old key: a listed key that an unanswered CreateAccessKey may have made.
    pub(super) fn stray_among(&self, keys: &[&KeyMetadata]) -> Option<AccessKeyId> {
        let is_stray = |key: &&&KeyMetadata| !self.bystanders.contains(&key.id) && self.may_be_ours(key);
        keys.iter().filter(|_| self.old.is_none()).find(is_stray).map(|key| key.id.clone())
    }

    /// Records that the new key was made. If an old key fills the other slot, no earlier CreateAccessKey can still make
    /// a key, so the doubt about it ends. If not, the doubt stays, and the new key itself must not count as a stray.
    pub(super) fn forget_doubt_after(&mut self, new: &AccessKeyId) {
        if self.old.is_some() {
            self.doubt_span = None;
        } else {
            self.bystanders.insert(new.clone());
        }
    }

    /// Whether an unanswered CreateAccessKey may have made a key beside the new one.
    pub(super) fn may_have_stray(&self) -> bool {
        self.old.is_none() && self.doubt_span.is_some()
    }

    /// The stage after the vendor got the new key.
    pub(super) fn after_issue(&mut self, new: AccessKeyId) -> Stage {
        if self.may_have_stray() { Stage::Clear { new } } else { Stage::Done { new } }
    }

    /// The next step in [`Stage::Clear`]: one listing, as soon as it must show what a late CreateAccessKey made.
    pub(super) fn next_in_clear(&self, now: Timestamp) -> Next {
        let settles = PendingSpan::settles_at(self.doubt_span);
        match now < settles {
            true => Next::Wait { until: settles, why: Waiting::Doubt },
            false => Next::Perform(Effect::ListKeys),
        }
    }

    /// The stage after a listing, once the vendor has the new key.
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

    /// The stage in which the rotation continues once a stray key is gone, or an operator has looked at one in use.
    pub(super) fn looks_again(&mut self) -> Stage {
        match self.given.take().filter(|_| !self.abandoning) {
            Some(new) => Stage::Clear { new },
            None => Stage::Survey,
        }
    }
}
