//! The stages of a rotation. Each stage holds the facts that are known in it, and no others.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::discard::Discarding;
use crate::core::rotation::event::KeyUsage;
use crate::core::rotation::next::Blocker;
use crate::core::time::Timestamp;

/// The stage of a rotation. Several stages can share one name in logs and tables: see [`Stage::name`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The user's keys are listed, to find out whether a slot is free for a new key.
    Survey,
    /// A slot is free, and a new key is created.
    Create {
        /// When a listing showed the free slot.
        surveyed_at: Timestamp,
    },
    /// A key appeared that an unanswered CreateAccessKey of ours may have created. Its last use is read.
    Suspect {
        /// The key that appeared.
        key: AccessKeyId,
    },
    /// A key of ours that no vendor was offered is first set Inactive, and then deleted.
    Discard {
        /// The key that is discarded.
        key: AccessKeyId,
        /// What is known of the key.
        known: Discarding,
    },
    /// The new key must sign GetCallerIdentity calls before the vendor gets it.
    Prove {
        /// The new key.
        new: AccessKeyId,
        /// How many calls in a row succeeded.
        successes: u32,
        /// How often AWS did not accept the key yet.
        not_usable: u32,
    },
    /// The new key is delivered to the vendor.
    Deliver {
        /// The new key.
        new: AccessKeyId,
        /// The number of the delivery, from 1. A repeat keeps it, and a fresh delivery has the next one.
        round: u32,
    },
    /// A person hands the new key to the vendor.
    HandOver {
        /// The new key.
        new: AccessKeyId,
        /// The number of the delivery, from 1. A repeat keeps it, and a fresh delivery has the next one.
        round: u32,
        /// When last-used was read last since the key was shown; `None`: not yet.
        read_at: Option<Timestamp>,
    },
    /// The vendor accepted the delivery, and is asked which key is in force, if it can be asked.
    Verify {
        /// The new key.
        new: AccessKeyId,
        /// The number of the accepted delivery.
        round: u32,
        /// When the vendor accepted the delivery.
        accepted_at: Timestamp,
        /// How often the vendor has named another key since then.
        denials: u32,
    },
    /// Both keys are Active, until the plan's gates allow setting the old one Inactive.
    Soak {
        /// The new key.
        new: AccessKeyId,
        /// When the vendor accepted the new key.
        accepted_at: Timestamp,
        /// When the vendor was last known to hold the new key; `None`: not since the old key was set Active again.
        asked_at: Option<Timestamp>,
        /// When a listing last showed the new key Active beside the old one.
        listed_at: Option<Timestamp>,
        /// The last reading of last-used, and when it was taken.
        usage: Option<(BTreeMap<AccessKeyId, KeyUsage>, Timestamp)>,
    },
    /// The old key is Inactive, and can still be set Active again.
    Cool {
        /// The new key.
        new: AccessKeyId,
        /// When the vendor accepted the new key.
        accepted_at: Timestamp,
        /// When the vendor was last known to hold the new key.
        asked_at: Timestamp,
        /// When a listing last showed the new key Active and the old one not Active. A listing that may lag behind
        /// counts even if it shows the old key Active.
        listed_at: Option<Timestamp>,
        /// The last reading of last-used since the old key was set Inactive, and when it was taken.
        usage: Option<(BTreeMap<AccessKeyId, KeyUsage>, Timestamp)>,
        /// How long the new key had been unused at the last reading before the old key was set Inactive; `None`: there
        /// was no such reading or no use, or the plan does not require a use.
        unused_for: Option<Duration>,
    },
    /// The old key is set Active again, because the vendor is in trouble or an operator asked for it.
    Restore {
        /// The new key.
        new: AccessKeyId,
        /// When the vendor accepted the new key.
        accepted_at: Timestamp,
    },
    /// The vendor is offboarded: its keys are set Inactive, and deleted after the cooling time. Or the offboarding was
    /// taken back, and its keys are set Active again.
    Offboard {
        /// When the keys were listed last.
        listed_at: Option<Timestamp>,
        /// A key that an unanswered CreateAccessKey of ours may have created, and whose last use is to be read.
        suspect: Option<AccessKeyId>,
    },
    /// The vendor has the new key, and no key was replaced. The keys are listed, to find a second key that an
    /// unanswered CreateAccessKey may have created.
    Clear {
        /// The new key.
        new: AccessKeyId,
    },
    /// The vendor has the new key; the old one, if there was one, is deleted.
    Done {
        /// The new key.
        new: AccessKeyId,
    },
    /// The rotation waits until a person has resolved a problem.
    Stuck {
        /// The problem.
        blocker: Blocker,
        /// The stage in which the rotation continues when an operator resumes it.
        resume: Box<Stage>,
    },
    /// The rotation ended without a replacement: it was abandoned, its key was only set Inactive, or the vendor was
    /// offboarded. `Rotation::next` returns which one.
    Abandoned,
}

impl Stage {
    /// The name of the stage in tables, logs, JSON and the documentation. Stages of one phase share a name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Stage::Survey => "survey",
            Stage::Create { .. } | Stage::Suspect { .. } | Stage::Discard { .. } => "create",
            Stage::Prove { .. } => "prove",
            Stage::Deliver { .. } | Stage::HandOver { .. } => "deliver",
            Stage::Verify { .. } | Stage::Clear { .. } => "verify",
            Stage::Soak { .. } => "soak",
            Stage::Cool { .. } | Stage::Restore { .. } | Stage::Offboard { .. } => "cool",
            Stage::Done { .. } => "done",
            Stage::Stuck { .. } => "stuck",
            Stage::Abandoned => "abandoned",
        }
    }

    /// The name of the stage in which a stuck rotation continues when it is resumed; `None`: it is not stuck.
    #[must_use]
    pub fn resumes_in(&self) -> Option<&'static str> {
        matches!(self, Stage::Stuck { .. }).then(|| self.beneath().name())
    }

    /// This stage, or for a stuck rotation the stage in which it got stuck.
    #[must_use]
    pub fn beneath(&self) -> &Stage {
        if let Stage::Stuck { resume, .. } = self { resume.beneath() } else { self }
    }

    /// Whether this is the last stage before the end of an issue ([`Stage::Clear`]) or an offboarding.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Stage::Offboard { .. } | Stage::Clear { .. })
    }

    /// The key that the rotation created, or a key that it may have created; `None`: this stage has none.
    #[must_use]
    pub fn new_key(&self) -> Option<&AccessKeyId> {
        match self {
            Stage::Survey | Stage::Create { .. } | Stage::Offboard { .. } | Stage::Abandoned => None,
            Stage::Suspect { key } | Stage::Discard { key, .. } => Some(key),
            Stage::Prove { new, .. }
            | Stage::Deliver { new, .. }
            | Stage::HandOver { new, .. }
            | Stage::Verify { new, .. }
            | Stage::Soak { new, .. }
            | Stage::Cool { new, .. }
            | Stage::Restore { new, .. }
            | Stage::Clear { new }
            | Stage::Done { new } => Some(new),
            Stage::Stuck { resume, .. } => resume.new_key(),
        }
    }

    /// The stage that sets the old key Active again; `None`: that is not possible from this stage. It is possible from
    /// the soak, in which a request to set the key Inactive can be pending, until the key is deleted.
    pub(super) fn restored(&self) -> Option<Stage> {
        match self {
            Stage::Soak { new, accepted_at, .. }
            | Stage::Cool { new, accepted_at, .. }
            | Stage::Restore { new, accepted_at } => {
                Some(Stage::Restore { new: new.clone(), accepted_at: *accepted_at })
            }
            Stage::Stuck { resume, .. } => resume.restored(),
            Stage::Survey
            | Stage::Create { .. }
            | Stage::Suspect { .. }
            | Stage::Discard { .. }
            | Stage::Prove { .. }
            | Stage::Deliver { .. }
            | Stage::HandOver { .. }
            | Stage::Verify { .. }
            | Stage::Offboard { .. }
            | Stage::Clear { .. }
            | Stage::Done { .. }
            | Stage::Abandoned => None,
        }
    }
}

/// The stuck stage that continues in `resume`. If that is a stuck stage itself, it continues where that one would, so
/// that one resume is always enough.
pub(super) fn stuck(blocker: Blocker, resume: Stage) -> Stage {
    match resume {
        Stage::Stuck { resume, .. } => Stage::Stuck { blocker, resume },
        resume => Stage::Stuck { blocker, resume: Box::new(resume) },
    }
}
