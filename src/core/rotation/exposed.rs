//! What events mean while a key is exposed: which intents may follow, what a listing is for, and when a key may be set
//! Active again.

use crate::core::ids::AccessKeyId;
use crate::core::rotation::event::{EffectKind, Intent, RemovalReason};
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

impl Rotation {
    /// Whether an intent is legal. An exposed key is not set Active. The reason "exposed" is legal only for an exposed
    /// key, and the reason "offboarded" only for a key of an offboarded vendor.
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

    /// The exposed old key, and since when a use of it is not the vendor's daily work: since the incident was declared
    /// where the key is set Inactive first, and otherwise since the vendor accepted the new key. `None`: no incident is
    /// in force, or the vendor still works with the key.
    #[must_use]
    pub fn exposed_since(&self) -> Option<(&AccessKeyId, Timestamp)> {
        let (incident, old) = (self.incident()?, self.old()?);
        let accepted_at = match self.stage.beneath() {
            Stage::Soak { accepted_at, .. } | Stage::Cool { accepted_at, .. } => Some(*accepted_at),
            _ => None,
        };
        let since = if incident.mode.cuts_first() { Some(incident.at) } else { accepted_at };
        Some((old, since?))
    }

    /// Whether a listing only serves to check the exposed keys, because the present stage has no use for one.
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

    /// The stage after the vendor was verified. If the old key is exposed and Inactive already, there is no soak. If
    /// there is no old key, the issue ends.
    pub(super) fn after_verification(&mut self, verify: Stage, at: Timestamp) -> Option<Stage> {
        let Stage::Verify { new, accepted_at, .. } = verify else { return None };
        if self.old.is_none() {
            return Some(self.after_issue(new));
        }
        let soak = Stage::Soak { new, accepted_at, asked_at: Some(at), listed_at: None, usage: None };
        if self.old_cut_at().is_some() { self.begin_cooling(soak, at) } else { Some(soak) }
    }

    /// The stage after the old key was set Inactive as the last step of the soak.
    pub(super) fn after_retirement(&mut self, soak: Stage, at: Timestamp) -> Option<Stage> {
        self.retired(at);
        self.begin_cooling(soak, at)
    }

    /// The stage after an operator asked for a key back; `None`: the event cannot follow. An exposed key is given back
    /// only if the operator confirmed that (`exposed`).
    pub(super) fn when_asked_back(&mut self, stage: &Stage, exposed: bool) -> Option<Stage> {
        if let Stage::Offboard { .. } = stage.beneath() {
            return self.take_offboarding_back(exposed);
        }
        // A request to delete may still be under way, and would delete the key that was just set Active.
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
