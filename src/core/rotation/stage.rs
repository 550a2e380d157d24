//! The stages of a rotation: what is known at each, and no more.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::discard::Discarding;
use crate::core::rotation::event::KeyUsage;
use crate::core::rotation::next::Blocker;
use crate::core::time::Timestamp;

/// Where a rotation is. The words are the contract's, but for the inner stages of `create` and `deliver`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The user's keys are to be listed.
    Survey,
    /// A slot is free; a key is to be made.
    Create {
        /// When the slot was seen to be free.
        surveyed_at: Timestamp,
    },
    /// A key turned up that an unanswered CreateAccessKey of ours may have made.
    Suspect {
        /// That key.
        key: AccessKeyId,
    },
    /// A key of ours that nobody was offered is taken away: first Inactive, then deleted.
    Discard {
        /// That key.
        key: AccessKeyId,
        /// What is known of it.
        known: Discarding,
    },
    /// The new key must sign before anybody gets it.
    Prove {
        /// The new key.
        new: AccessKeyId,
        /// Successes in a row.
        successes: u32,
        /// How often AWS did not know it yet.
        not_usable: u32,
    },
    /// The vendor is given the new key.
    Deliver {
        /// The new key.
        new: AccessKeyId,
        /// Which delivery this is, from 1.
        round: u32,
    },
    /// A person hands the new key to the vendor.
    HandOver {
        /// The new key.
        new: AccessKeyId,
        /// Which delivery this is, from 1.
        round: u32,
        /// When last-used was read last, since somebody was shown the key.
        read_at: Option<Timestamp>,
    },
    /// The vendor is asked.
    Verify {
        /// The new key.
        new: AccessKeyId,
        /// The delivery that was accepted.
        round: u32,
        /// When it was accepted.
        accepted_at: Timestamp,
        /// How often the vendor named another key since.
        denials: u32,
    },
    /// Both keys are Active; the plan's gates are awaited.
    Soak {
        /// The new key.
        new: AccessKeyId,
        /// When the vendor accepted it.
        accepted_at: Timestamp,
        /// When the vendor was last known to hold it; `None` after a reactivation.
        asked_at: Option<Timestamp>,
        /// When a listing last showed the new key Active beside the old one.
        listed_at: Option<Timestamp>,
        /// The last reading of last-used, and when it was taken.
        usage: Option<(BTreeMap<AccessKeyId, KeyUsage>, Timestamp)>,
    },
    /// The old key is Inactive and can be brought back.
    Cool {
        /// The new key.
        new: AccessKeyId,
        /// When the vendor accepted it.
        accepted_at: Timestamp,
        /// When the vendor was last known to hold it.
        asked_at: Timestamp,
        /// When a listing last showed the new key Active, and the old one not Active unless it may lag behind.
        listed_at: Option<Timestamp>,
        /// The last reading of last-used since the old key was set Inactive, and when it was taken.
        usage: Option<(BTreeMap<AccessKeyId, KeyUsage>, Timestamp)>,
        /// How long the new key had not been used when its use was last read before that; `None` where it was not read,
        /// or where the plan does not require a use.
        unused_for: Option<Duration>,
    },
    /// The vendor went back: the old key is to be set Active again.
    Restore {
        /// The new key.
        new: AccessKeyId,
        /// When the vendor accepted it.
        accepted_at: Timestamp,
    },
    /// The vendor is offboarded: its keys are set Inactive, cool, and are deleted; or they are given back.
    Offboard {
        /// When the keys were listed last.
        listed_at: Option<Timestamp>,
        /// A key turned up that an unanswered CreateAccessKey of ours may have made.
        suspect: Option<AccessKeyId>,
    },
    /// The vendor has the new key, and none was replaced. What an unanswered CreateAccessKey made beside it is looked for.
    Clear {
        /// The new key.
        new: AccessKeyId,
    },
    /// The vendor has the new key; the old one, if there was one, is deleted.
    Done {
        /// The new key.
        new: AccessKeyId,
    },
    /// A person must look.
    Stuck {
        /// Why.
        blocker: Blocker,
        /// Where it goes on when told to.
        resume: Box<Stage>,
    },
    /// A person gave it up.
    Abandoned,
}

impl Stage {
    /// The stage's word, as in the contract.
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

    /// Where a rotation that is stuck goes on when it is told to; `None`: it is not stuck.
    #[must_use]
    pub fn resumes_in(&self) -> Option<&'static str> {
        matches!(self, Stage::Stuck { .. }).then(|| self.beneath().name())
    }

    /// This stage, or the one in which it got stuck.
    #[must_use]
    pub fn beneath(&self) -> &Stage {
        if let Stage::Stuck { resume, .. } = self { resume.beneath() } else { self }
    }

    /// Whether it is the last stage of an issue or an offboarding, before the end.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Stage::Offboard { .. } | Stage::Clear { .. })
    }

    /// The key that this stage gives to the vendor, or takes back.
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

    /// The old key can be brought back from the moment its end was intended until it is deleted.
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

/// However often it gets stuck, what is resumed is where it was before.
pub(super) fn stuck(blocker: Blocker, resume: Stage) -> Stage {
    match resume {
        Stage::Stuck { resume, .. } => Stage::Stuck { blocker, resume },
        resume => Stage::Stuck { blocker, resume: Box::new(resume) },
    }
}
