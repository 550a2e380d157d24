//! The soak: both keys are Active until the plan's gates are passed. Then the old key is set Inactive.
//!
//! An incident has no gates (`incident.rs`).

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

/// AWS records only the first of several uses within this span (IAM User Guide, GetAccessKeyLastUsed).
pub(super) const USE_RECORD_GRAIN: Duration = Duration::from_mins(15);
/// The shortest and the longest wait between two readings of last-used: it is read soon at first, and few times in all.
const USAGE_READ_EVERY_MIN: Duration = Duration::from_secs(5);
const USAGE_READ_EVERY_MAX: Duration = Duration::from_hours(1);

impl Rotation {
    pub(super) fn next_in_soak(&self, now: Timestamp) -> Next {
        let (Stage::Soak { new, accepted_at, asked_at, listed_at, usage }, Some(old)) =
            (&self.stage, &self.old)
        else {
            return self.next_in_stage(now);
        };
        // A clock that was ahead wrote these times. The time of the listing replaces them.
        if self.since.max(*accepted_at) > now {
            return Next::Perform(Effect::ListKeys);
        }
        if self.reactivations > 0 && listed_at.is_none() && self.incident.is_none() {
            // An earlier request to set the old key Inactive may still have been under way when the key was set Active.
            let settled = self.since + LISTING_SETTLES;
            return match now < settled {
                true => Next::Wait { until: settled, why: Waiting::Soak },
                false => Next::Perform(Effect::ListKeys),
            };
        }
        // While a request to set the old key Inactive is pending, its gates were passed and the key may be Inactive
        // already. A listing that shows it Active ends the doubt. An incident has no gates.
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
        Next::Perform(Effect::Deactivate { key: old.clone(), evidence })
    }

    /// What the gates still wait for. `None`: the soak time has passed, a window is open, the new key is in use and the
    /// old one is quiet.
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

    /// The earliest time at which a reading of last-used can pass the gates. None is taken before.
    fn soaked_at(&self, accepted_at: Timestamp) -> Timestamp {
        let soaked = self.since + self.plan.soak;
        match self.plan.quiet_for.is_zero() {
            true => soaked,
            false => soaked.max(accepted_at + USE_RECORD_GRAIN + self.plan.quiet_for),
        }
    }

    /// What the gate on last-used still waits for. `None`: a fresh reading passes it.
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

    /// Why a reading keeps the old key Active, and when another reading may say otherwise. `None`: the reading passes
    /// the gate.
    fn gate_closed(
        &self,
        new: &AccessKeyId,
        usage: &BTreeMap<AccessKeyId, KeyUsage>,
        read_at: Timestamp,
    ) -> Option<(Timestamp, Waiting)> {
        let again_later = Rotation::read_again_at(self.since, read_at);
        if let Some(why) = self.use_missed(usage.get(new), self.of_old(usage)) {
            return Some((again_later, why));
        }
        if self.plan.quiet_for.is_zero() {
            return None;
        }
        let Stage::Soak { accepted_at, .. } = &self.stage else { return None };
        let last_use = match self.of_old(usage) {
            Some(KeyUsage::Used { last_used_at, service, .. }) => Some((*last_used_at, service.clone())),
            Some(KeyUsage::Never | KeyUsage::Gone) => None,
            None => return Some((again_later, Waiting::Use { old_used_at: None })),
        };
        let quiet_since =
            last_use.as_ref().map_or(*accepted_at, |(last_used_at, _)| *last_used_at.max(accepted_at));
        // The recorded use may hide later ones within the same 15 minutes.
        let quiet_at = quiet_since + USE_RECORD_GRAIN + self.plan.quiet_for;
        if read_at >= quiet_at {
            return None;
        }
        let why = last_use
            .map_or(Waiting::Soak, |(last_used_at, service)| Waiting::Quiet { last_used_at, service });
        Some((quiet_at, why))
    }

    /// The reason to wait if the newest use is not the new key's. A vendor that used the new key may since work with
    /// the old one again, or with neither because it holds the halves of two pairs, and may still name the new key when
    /// it is asked.
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

    /// The entry of the key to be replaced in a reading of last-used.
    pub(super) fn of_old<'u>(&self, usage: &'u BTreeMap<AccessKeyId, KeyUsage>) -> Option<&'u KeyUsage> {
        usage.get(self.old.as_ref()?)
    }

    /// When to read last-used again. Nothing tells when a key will be used, so the next wait is half of the time waited
    /// so far, within bounds.
    pub(super) fn read_again_at(waiting_since: Timestamp, read_at: Timestamp) -> Timestamp {
        read_at + (read_at.since(waiting_since) / 2).clamp(USAGE_READ_EVERY_MIN, USAGE_READ_EVERY_MAX)
    }
}
