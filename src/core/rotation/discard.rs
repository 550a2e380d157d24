//! Discarding a key of ours that no vendor was offered: it is set Inactive, and then deleted.
//!
//! The journal says that no vendor was offered the key. A journal that was restored from a backup says the same of a
//! key that a vendor works with. So keyround asks AWS for the last use before it sets the key Inactive, and once more
//! while the key is Inactive.
//!
//! **Invariant:** a key is discarded only while the old key is Active or exposed, or if there is none, and only if AWS
//! has recorded no use of it except our own probe.

use std::time::Duration;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::effect::{Effect, Evidence};
use crate::core::rotation::event::{Event, KeyStatus, KeyUsage, RemovalReason};
use crate::core::rotation::listing::LISTING_FRESH;
use crate::core::rotation::machine::{EVIDENCE_FRESH, Rotation, is_good};
use crate::core::rotation::next::{Blocker, Next, Waiting};
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

/// A discarded key stays Inactive this long, or for the plan's cooling time if that is shorter. This gives AWS time to
/// publish a use that it had not published yet, and it gives failures of the vendor time to show.
const DISCARD_COOL: Duration = Duration::from_hours(1);

/// What is known of a key that is being discarded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Discarding {
    /// When a listing last showed the old key Active. If the old key is exposed, or there is none, any listing counts.
    pub listed_at: Option<Timestamp>,
    /// When AWS last reported no use of the key except our own probe.
    pub read_at: Option<Timestamp>,
    /// The key was set Inactive, at the time of the rotation's `since`.
    pub is_inactive: bool,
    /// A use of the key was found while it was Inactive, so it is to be set Active again.
    pub in_use: bool,
}

impl Rotation {
    pub(super) fn next_in_discard(&self, key: &AccessKeyId, known: &Discarding, now: Timestamp) -> Next {
        let read = || Next::Perform(Effect::ReadUsage { keys: vec![key.clone()] });
        if known.in_use {
            return Next::Perform(Effect::Reactivate { key: key.clone() });
        }
        let evidence = Evidence::new(RemovalReason::NeverOffered);
        if !known.is_inactive {
            if !is_good(known.read_at, EVIDENCE_FRESH, now) {
                return read();
            }
            if !is_good(known.listed_at, LISTING_FRESH, now) {
                return Next::Perform(Effect::ListKeys);
            }
            return Next::Perform(Effect::Deactivate { key: key.clone(), evidence });
        }
        let since = self.since;
        let until = since + DISCARD_COOL.min(self.plan.cool);
        if now < until && since <= now {
            return Next::Wait { until, why: Waiting::Discard { key: key.clone() } };
        }
        // A hold can delay the deletion by days, so a reading does not stay good until the hold ends.
        if since > now
            || known.read_at.is_none_or(|at| at < until)
            || !is_good(known.read_at, EVIDENCE_FRESH, now)
        {
            return read();
        }
        if !is_good(known.listed_at, LISTING_FRESH, now) {
            return Next::Perform(Effect::ListKeys);
        }
        Next::Perform(Effect::Delete { key: key.clone(), evidence })
    }

    /// The stage after an event while a key is discarded; `None`: the event cannot follow.
    pub(super) fn after_discard_event(
        &mut self,
        key: AccessKeyId,
        known: Discarding,
        event: &Event,
    ) -> Option<Stage> {
        let with = |known| Stage::Discard { key: key.clone(), known };
        Some(match event {
            Event::UsageRead { usage, at } => match usage.get(&key)? {
                KeyUsage::Gone => self.after_discarding(key, *at),
                seen if self.is_used(seen) && self.discarded_key_may_be_inactive() => {
                    with(Discarding { in_use: true, ..known })
                }
                seen if self.is_used(seen) => kept(key),
                KeyUsage::Never | KeyUsage::Used { .. } => with(Discarding { read_at: Some(*at), ..known }),
            },
            Event::Listed { keys, at } => {
                let old = keys.iter().find(|row| self.is_old(&row.id)).map(|row| row.status);
                match old {
                    // The vendor has no key that this one could be taken for.
                    _ if self.old.is_none() => with(Discarding { listed_at: Some(*at), ..known }),
                    Some(KeyStatus::Active) => with(Discarding { listed_at: Some(*at), ..known }),
                    _ if self.old_is_exposed() => with(Discarding { listed_at: Some(*at), ..known }),
                    Some(KeyStatus::Inactive | KeyStatus::Expired) | None => kept(key),
                }
            }
            Event::Deactivated { at, .. } => {
                self.begin_span(*at);
                with(Discarding { is_inactive: true, ..known })
            }
            Event::Reactivated { .. } if known.in_use => kept(key),
            Event::Deleted { at, .. } if known.is_inactive => self.after_discarding(key, *at),
            Event::Started { .. }
            | Event::IssueAsked { .. }
            | Event::OffboardAsked { .. }
            | Event::Intended { .. }
            | Event::Created { .. }
            | Event::Probed { .. }
            | Event::Delivered { .. }
            | Event::Revealed { .. }
            | Event::Acknowledged { .. }
            | Event::Verified { .. }
            | Event::Reactivated { .. }
            | Event::Deleted { .. }
            | Event::Refused { .. }
            | Event::Unanswered { .. }
            | Event::Held { .. }
            | Event::Resumed { .. }
            | Event::ReactivationAsked { .. }
            | Event::IncidentDeclared { .. }
            | Event::Abandoned { .. } => return None,
        })
    }

    /// Whether this is a use other than our own probe. Only keyround had the secret, unless the journal was restored
    /// from a backup.
    fn is_used(&self, usage: &KeyUsage) -> bool {
        self.used_by_vendor_at(Some(usage), None).is_some()
    }

    pub(super) fn after_discarding(&mut self, key: AccessKeyId, at: Timestamp) -> Stage {
        self.discarded.insert(key, at);
        match self.abandoning && !self.may_have_stray() {
            true => Stage::Abandoned,
            false => self.looks_again(),
        }
    }

    /// The stage after a reading of last-used for a key that appeared while a CreateAccessKey was unanswered. A key
    /// without any use is ours. One in use may be somebody else's, so a person decides.
    pub(super) fn after_suspicion(&mut self, usage: &KeyUsage, key: AccessKeyId, at: Timestamp) -> Stage {
        match usage {
            KeyUsage::Never => {
                Stage::Discard { key, known: Discarding { read_at: Some(at), ..Discarding::default() } }
            }
            KeyUsage::Gone => self.after_discarding(key, at),
            KeyUsage::Used { .. } => stuck(Blocker::UnknownKey { key }, self.looks_again()),
        }
    }
}

pub(super) fn discard(key: AccessKeyId) -> Stage {
    Stage::Discard { key, known: Discarding::default() }
}

/// The key may be the one that the vendor works with. So it is kept, and a person decides.
fn kept(key: AccessKeyId) -> Stage {
    stuck(Blocker::NotDiscarded { key: key.clone() }, discard(key))
}
