//! The delivery by a person: the wait until a person is shown the new key, and then until the vendor has it.
//!
//! **Invariant:** the journal records that a person is shown the key before it is shown. From then on the key counts as
//! offered: it is never discarded, whether or not the person saw it on the screen.
//!
//! **Invariant:** a person's confirmation ends the hand-over, and is not enough to set the old key Inactive: outside an
//! incident, a use of the new key must be recorded for that.

use std::time::Duration;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::effect::Effect;
use crate::core::rotation::event::{Event, KeyUsage};
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::next::{Blocker, Next, Waiting};
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

/// The person who must fetch the new key is reminded this often.
const REMIND_EVERY: Duration = Duration::from_hours(24);

impl Rotation {
    pub(super) fn next_in_hand_over(
        &self,
        new: &AccessKeyId,
        read_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Next {
        let Some(revealed_at) = self.revealed_at else {
            let days = u32::try_from(now.days_since(self.since)).unwrap_or(u32::MAX);
            let until = self.since + REMIND_EVERY * days.saturating_add(1);
            return Next::Wait { until, why: self.waiting_for_person(now) };
        };
        let again_at = Rotation::read_again_at(revealed_at, read_at.unwrap_or(revealed_at));
        if now < again_at {
            return Next::Wait { until: again_at, why: self.waiting_for_person(now) };
        }
        Next::Perform(Effect::ReadUsage { keys: vec![new.clone()] })
    }

    fn waiting_for_person(&self, now: Timestamp) -> Waiting {
        match self.revealed_at {
            None => Waiting::Reveal { since: self.since, days: now.days_since(self.since) },
            Some(revealed_at) => Waiting::HandOver { revealed_at, days: now.days_since(revealed_at) },
        }
    }

    /// What a hand-over by a person waits for, even if a reading of last-used is due; `None`: the rotation is in
    /// another stage.
    #[must_use]
    pub fn hand_over(&self, now: Timestamp) -> Option<Waiting> {
        matches!(self.stage, Stage::HandOver { .. }).then(|| self.waiting_for_person(now))
    }

    /// The stage after an event during the hand-over; `None`: the event cannot follow.
    pub(super) fn after_hand_over(&mut self, new: AccessKeyId, round: u32, event: &Event) -> Option<Stage> {
        let accepted = |rotation: &mut Rotation, new, at| {
            rotation.vendor_holds_new();
            Stage::Verify { new, round, accepted_at: at, denials: 0 }
        };
        match event {
            Event::Revealed { at, .. } => {
                self.vendor_holds_anything();
                self.offered_at.get_or_insert(*at);
                self.revealed_at = Some(*at);
                Some(Stage::HandOver { new, round, read_at: None })
            }
            // The vendor cannot have a key that nobody was shown.
            Event::Acknowledged { at, .. } => self.revealed_at.map(|_| accepted(self, new, *at)),
            Event::UsageRead { usage, at } => Some(match usage.get(&new)? {
                KeyUsage::Gone => {
                    stuck(Blocker::NewKeyGone { key: new.clone() }, self.to_be_delivered(new, round))
                }
                seen if self.used_by_vendor_at(Some(seen), None).is_some() => accepted(self, new, *at),
                KeyUsage::Never | KeyUsage::Used { .. } => Stage::HandOver { new, round, read_at: Some(*at) },
            }),
            Event::Started { .. }
            | Event::IssueAsked { .. }
            | Event::OffboardAsked { .. }
            | Event::Intended { .. }
            | Event::Listed { .. }
            | Event::Created { .. }
            | Event::Probed { .. }
            | Event::Delivered { .. }
            | Event::Verified { .. }
            | Event::Deactivated { .. }
            | Event::Reactivated { .. }
            | Event::Deleted { .. }
            | Event::Refused { .. }
            | Event::Unanswered { .. }
            | Event::Held { .. }
            | Event::Resumed { .. }
            | Event::ReactivationAsked { .. }
            | Event::IncidentDeclared { .. }
            | Event::Abandoned { .. } => None,
        }
    }

    /// The stage for a new key that was proved, or that is to be delivered afresh.
    pub(super) fn to_be_delivered(&self, new: AccessKeyId, round: u32) -> Stage {
        match self.plan.by_hand {
            true => Stage::HandOver { new, round, read_at: None },
            false => Stage::Deliver { new, round },
        }
    }

    /// Whether a use of STS may come from the person who was shown the key: people often ask AWS whose key it is. A
    /// vendor that works through STS is recognized by the last use of the old key.
    pub(super) fn may_be_a_try(&self, of_old: Option<&KeyUsage>) -> bool {
        let vendor_uses_sts = matches!(of_old, Some(KeyUsage::Used { service, .. }) if service == "sts");
        self.plan.by_hand && !vendor_uses_sts
    }

    /// When the new key was last shown to a person; `None`: it was not shown yet.
    #[must_use]
    pub fn revealed_at(&self) -> Option<Timestamp> {
        self.revealed_at
    }
}
