//! Giving a rotation up: what is still to be cleared away, and what stays.

use crate::core::rotation::blocker::Blocker;
use crate::core::rotation::dates::OwnDate;
use crate::core::rotation::discard::discard;
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

impl Rotation {
    /// A new key that nobody was offered is discarded; one that was offered stays, with the old one.
    pub(super) fn after_abandoning(&mut self, stage: Stage, at: Timestamp) -> Option<Stage> {
        self.abandoning = true;
        self.end_incident_hold();
        self.hold = None;
        self.remember_doubt();
        Some(match stage {
            // A key that may exist is looked for first: forgetting the doubt would leave it behind.
            Stage::Survey | Stage::Create { .. } if self.doubt_span.is_some() => Stage::Survey,
            stage @ (Stage::Suspect { .. } | Stage::Discard { .. }) => stage,
            Stage::Prove { new, .. } => {
                // A probe may have been sent whose answer was lost or not written down.
                self.last_probe = OwnDate::new(at);
                discard(new)
            }
            Stage::Deliver { new, .. } | Stage::HandOver { new, .. } if self.offered_at.is_none() => {
                discard(new)
            }
            Stage::Deliver { .. } | Stage::HandOver { .. } | Stage::Verify { .. } | Stage::Clear { .. }
                if self.may_have_stray() =>
            {
                Stage::Survey
            }
            Stage::Offboard { .. } if !self.may_give_offboarding_up(at) => return None,
            Stage::Survey
            | Stage::Create { .. }
            | Stage::Deliver { .. }
            | Stage::HandOver { .. }
            | Stage::Verify { .. }
            | Stage::Clear { .. }
            | Stage::Offboard { .. }
            | Stage::Soak { .. }
            | Stage::Cool { .. }
            | Stage::Restore { .. }
            // Given up again, the key stays: it may be the one that the vendor works with.
            | Stage::Stuck { blocker: Blocker::NotDiscarded { .. }, .. } => Stage::Abandoned,
            Stage::Stuck { resume, .. } => self.after_abandoning(*resume, at)?,
            Stage::Done { .. } | Stage::Abandoned => return None,
        })
    }
}
