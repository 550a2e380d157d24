//! The soak: both keys are Active until the plan's gates are passed, and the old key is set Inactive.
//!
//! In an incident there are no gates (`incident.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::effect::Effect;
use crate::core::rotation::event::{EffectKind, KeyUsage};
use crate::core::rotation::listing::LISTING_SETTLES;
use crate::core::rotation::machine::{EVIDENCE_FRESH, Rotation, is_good, superseded};
use crate::core::rotation::next::{Next, Waiting};
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

/// Of several uses within this span AWS records only the first (IAM User Guide, GetAccessKeyLastUsed).
pub(super) const USE_RECORD_GRAIN: Duration = Duration::from_mins(15);
/// Last-used is read soon at first, and few times in all.
const USAGE_READ_EVERY_MIN: Duration = Duration::from_secs(5);
const USAGE_READ_EVERY_MAX: Duration = Duration::from_hours(1);

impl Rotation {
    pub(super) fn next_in_soak(&self, now: Timestamp) -> Next {
        let Stage::Soak { new, accepted_at, asked_at, listed_at, usage } = &self.stage else {
            return self.next_in_stage(now);
        };
        // A clock that was ahead wrote these times; the listing's own time takes their place.
        if self.since.max(*accepted_at) > now {
            return Next::Perform(Effect::ListKeys);
        }
        if self.reactivations > 0 && listed_at.is_none() && self.incident.is_none() {
            // A request to set it Inactive may still have been under way when it was set Active.
            let settled = self.since + LISTING_SETTLES;
            return match now < settled {
                true => Next::Wait { until: settled, why: Waiting::Soak },
                false => Next::Perform(Effect::ListKeys),
            };
        }
        // In doubt, the gates were passed when the end of the old key was intended, and it may be Inactive already:
        // a listing says when it is not, and ends the doubt. In an incident there are no gates.
        if self.incident.is_none()
            && !self.is_in_doubt_of(EffectKind::Deactivate)
            && let Some(next) = self.next_at_gates(new, *accepted_at, usage.as_ref(), now)
        {
            return next;
        }
        if let Some(look) = self.last_look(new, *asked_at, *listed_at, now) {
            return look;
        }
        let evidence = superseded(new, asked_at.unwrap_or(self.since));
        Next::Perform(Effect::Deactivate { key: self.old.clone(), evidence })
    }

    /// `None`: soaked, in a window, the new key in use and the old one quiet.
    fn next_at_gates(
        &self,
        new: &AccessKeyId,
        accepted_at: Timestamp,
        usage: Option<&(BTreeMap<AccessKeyId, KeyUsage>, Timestamp)>,
        now: Timestamp,
    ) -> Option<Next> {
        let soaked = self.soaked_at(accepted_at);
        if now < soaked {
            return Some(Next::Wait { until: soaked, why: Waiting::Soak });
        }
        let opening = self.plan.windows.opening(now);
        if now < opening {
            return Some(Next::Wait { until: opening, why: Waiting::Window });
        }
        self.next_at_usage_gate(new, usage, now)
    }

    /// Before this, no reading of last-used can open the gates, so none is taken.
    fn soaked_at(&self, accepted_at: Timestamp) -> Timestamp {
        let soaked = self.since + self.plan.soak;
        match self.plan.quiet_for.is_zero() {
            true => soaked,
            false => soaked.max(accepted_at + USE_RECORD_GRAIN + self.plan.quiet_for),
        }
    }

    /// `None`: the gate is passed, on a reading that is fresh.
    fn next_at_usage_gate(
        &self,
        new: &AccessKeyId,
        usage: Option<&(BTreeMap<AccessKeyId, KeyUsage>, Timestamp)>,
        now: Timestamp,
    ) -> Option<Next> {
        if !self.plan.requires_use() && self.plan.quiet_for.is_zero() {
            return None;
        }
        let read = Next::Perform(self.read_usage(new));
        let Some((usage, read_at)) = usage else { return Some(read) };
        let Some((again_at, why)) = self.gate_closed(new, usage, *read_at) else {
            return (!is_good(Some(*read_at), EVIDENCE_FRESH, now)).then_some(read);
        };
        Some(if now < again_at { Next::Wait { until: again_at, why } } else { read })
    }

    /// Why a reading keeps the old key Active, and when another reading could say otherwise.
    fn gate_closed(
        &self,
        new: &AccessKeyId,
        usage: &BTreeMap<AccessKeyId, KeyUsage>,
        read_at: Timestamp,
    ) -> Option<(Timestamp, Waiting)> {
        let again_later = Rotation::read_again_at(self.since, read_at);
        if let Some(why) = self.use_missed(usage.get(new), usage.get(&self.old)) {
            return Some((again_later, why));
        }
        if self.plan.quiet_for.is_zero() {
            return None;
        }
        let Stage::Soak { accepted_at, .. } = &self.stage else { return None };
        let last_use = match usage.get(&self.old) {
            Some(KeyUsage::Used { last_used_at, service, .. }) => Some((*last_used_at, service.clone())),
            Some(KeyUsage::Never | KeyUsage::Gone) => None,
            None => return Some((again_later, Waiting::Use { old_used_at: None })),
        };
        let quiet_since =
            last_use.as_ref().map_or(*accepted_at, |(last_used_at, _)| *last_used_at.max(accepted_at));
        // A recorded use may hide later ones of the same quarter of an hour.
        let quiet_at = quiet_since + USE_RECORD_GRAIN + self.plan.quiet_for;
        if read_at >= quiet_at {
            return None;
        }
        let why = last_use
            .map_or(Waiting::Soak, |(last_used_at, service)| Waiting::Quiet { last_used_at, service });
        Some((quiet_at, why))
    }

    /// The newest use must be the new key's. A vendor that took it, used it, and works with the old one since, or
    /// with neither, as halves of two pairs, may still name the new one when it is asked.
    fn use_missed(&self, of_new: Option<&KeyUsage>, of_old: Option<&KeyUsage>) -> Option<Waiting> {
        if !self.plan.requires_use() {
            return None;
        }
        let Some(used_at) = self.used_by_vendor_at(of_new, of_old) else {
            return Some(Waiting::Use { old_used_at: None });
        };
        match of_old {
            Some(KeyUsage::Used { last_used_at, .. }) if *last_used_at > used_at => {
                Some(Waiting::Use { old_used_at: Some(*last_used_at) })
            }
            _ => None,
        }
    }

    /// While nothing tells when a key will be used, last-used is read again after half as long as was waited already.
    pub(super) fn read_again_at(waiting_since: Timestamp, read_at: Timestamp) -> Timestamp {
        read_at + (read_at.since(waiting_since) / 2).clamp(USAGE_READ_EVERY_MIN, USAGE_READ_EVERY_MAX)
    }
}
