//! Abandoning a rotation: which key is still discarded, and which keys stay.

use crate::core::rotation::blocker::Blocker;
use crate::core::rotation::dates::OwnDate;
use crate::core::rotation::discard::discard;
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

impl Rotation {
    /// The stage after an operator abandons the rotation; `None` if it cannot be abandoned in this stage. A new key
    /// that the vendor was not offered is discarded. One that the vendor was offered stays, and so does the old key.
    pub(super) fn after_abandoning(&mut self, stage: Stage, at: Timestamp) -> Option<Stage> {
        self.abandoning = true;
        self.end_incident_hold();
        self.hold = None;
        self.remember_doubt();
        Some(match stage {
            // An unanswered CreateAccessKey may have made a key. The keys are listed first, so that it is not left
            // behind.
            Stage::Survey | Stage::Create { .. } if self.doubt_span.is_some() => Stage::Survey,
            stage @ (Stage::Suspect { .. } | Stage::Discard { .. }) => stage,
            Stage::Prove { new, .. } => {
                // A probe may have been sent whose answer was lost or not recorded. AWS may show it as the key's use.
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
            // In `NotDiscarded`, the discard already stopped because the vendor may use the key. So it stays.
            | Stage::Stuck { blocker: Blocker::NotDiscarded { .. }, .. } => Stage::Abandoned,
            Stage::Stuck { resume, .. } => self.after_abandoning(*resume, at)?,
            Stage::Done { .. } | Stage::Abandoned => return None,
        })
    }
}
