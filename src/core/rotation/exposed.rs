//! What an event means where a key is exposed: which intents may follow, what a listing is for, and who gets a key back.

use crate::core::rotation::event::{EffectKind, Intent, RemovalReason};
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

impl Rotation {
    /// No exposed key is set Active, and no key is called exposed that is not.
    pub(super) fn may_intend(&self, intent: &Intent) -> bool {
        match intent {
            Intent::Reactivate { key } => !self.is_exposed(key),
            Intent::Deactivate { key, because: RemovalReason::Exposed } => self.is_exposed(key),
            Intent::Deactivate { key, because: RemovalReason::Offboarded }
            | Intent::Delete { key, because: RemovalReason::Offboarded } => self.is_leaving(key),
            Intent::Create | Intent::Deliver { .. } | Intent::Deactivate { .. } | Intent::Delete { .. } => {
                true
            }
        }
    }

    /// A listing in a stage that has no use for one, while there are exposed keys.
    pub(super) fn is_beside_the_stage(&self) -> bool {
        let has_use = match &self.stage {
            Stage::Survey | Stage::Create { .. } => {
                !self.incident.as_ref().is_some_and(|incident| incident.is_held)
            }
            Stage::Discard { .. }
            | Stage::Soak { .. }
            | Stage::Cool { .. }
            | Stage::Clear { .. }
            | Stage::Offboard { .. } => true,
            Stage::Suspect { .. }
            | Stage::Prove { .. }
            | Stage::Deliver { .. }
            | Stage::HandOver { .. }
            | Stage::Verify { .. }
            | Stage::Restore { .. }
            | Stage::Done { .. }
            | Stage::Stuck { .. }
            | Stage::Abandoned => false,
        };
        !self.exposed.is_empty() && !has_use
    }

    /// The vendor holds the new key. Where the exposed old one is Inactive already, there is nothing to soak; and where
    /// there is no old one, nothing is left to do.
    pub(super) fn after_verification(&mut self, verify: Stage, at: Timestamp) -> Option<Stage> {
        let Stage::Verify { new, accepted_at, .. } = verify else { return None };
        if self.old.is_none() {
            return Some(self.after_issue(new));
        }
        let soak = Stage::Soak { new, accepted_at, asked_at: Some(at), listed_at: None, usage: None };
        if self.old_cut_at().is_some() { self.begin_cooling(soak, at) } else { Some(soak) }
    }

    /// The old key was set Inactive, as the last step of a soak.
    pub(super) fn after_retirement(&mut self, soak: Stage, at: Timestamp) -> Option<Stage> {
        self.retired(at);
        self.begin_cooling(soak, at)
    }

    /// Only a person who says so gets an exposed key back.
    pub(super) fn when_asked_back(&mut self, stage: &Stage, exposed: bool) -> Option<Stage> {
        if let Stage::Offboard { .. } = stage.beneath() {
            return self.take_offboarding_back(exposed);
        }
        // A request to delete may still be under way, and would delete the key that was just brought back.
        if matches!(stage.beneath(), Stage::Cool { .. }) && self.is_in_doubt_of(EffectKind::Delete) {
            return None;
        }
        if self.old_is_exposed() && !exposed {
            return None;
        }
        let restored = stage.restored()?;
        self.incident_taken_back();
        Some(restored)
    }
}
