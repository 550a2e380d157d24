//! What to do: the machine's orders to the world. Names are imperative.
//!
//! **Invariant:** a key is taken away only by an effect that carries [`Evidence`], and only the
//! machine, in this folder, can make evidence: it is not read from files and has no constructor
//! outside.

use crate::core::ids::AccessKeyId;
use crate::core::rotation::event::{Because, EffectKind, Event, Intent};
use crate::core::rotation::refusal::{Doubt, Refusal};

/// Something to do in the world.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// List the user's keys, every page.
    ListKeys,
    /// Make a new key. Sent once, never retried.
    CreateKey,
    /// Sign one GetCallerIdentity with the new pair and compare who answers.
    Probe {
        /// The new key.
        key: AccessKeyId,
    },
    /// Give the pair to the vendor: all steps in order, each safe to repeat.
    Deliver {
        /// The new key.
        key: AccessKeyId,
        /// Repeats of one delivery have its number; a fresh delivery has the next.
        round: u32,
    },
    /// Ask the vendor which key is in force.
    Verify {
        /// The key that should be.
        key: AccessKeyId,
    },
    /// Ask AWS when these keys were last used.
    ReadUsage {
        /// The keys.
        keys: Vec<AccessKeyId>,
    },
    /// Set a key Inactive.
    Deactivate {
        /// The key.
        key: AccessKeyId,
        /// Why that is safe.
        evidence: Evidence,
    },
    /// Set the old key Active again.
    Reactivate {
        /// The old key.
        key: AccessKeyId,
    },
    /// Delete a key that is Inactive.
    Delete {
        /// The key.
        key: AccessKeyId,
        /// Why that is safe.
        evidence: Evidence,
    },
}

impl Effect {
    /// What must be in the journal before this may be performed. `None`: it only reads.
    #[must_use]
    pub fn intent(&self) -> Option<Intent> {
        match self {
            Effect::ListKeys | Effect::Probe { .. } | Effect::Verify { .. } | Effect::ReadUsage { .. } => {
                None
            }
            Effect::CreateKey => Some(Intent::Create),
            Effect::Deliver { key, round } => Some(Intent::Deliver { key: key.clone(), round: *round }),
            Effect::Deactivate { key, evidence } => {
                Some(Intent::Deactivate { key: key.clone(), because: evidence.0.clone() })
            }
            Effect::Reactivate { key } => Some(Intent::Reactivate { key: key.clone() }),
            Effect::Delete { key, evidence } => {
                Some(Intent::Delete { key: key.clone(), because: evidence.0.clone() })
            }
        }
    }

    /// What kind of effect it is.
    #[must_use]
    pub fn doing(&self) -> EffectKind {
        match self {
            Effect::ListKeys => EffectKind::List,
            Effect::CreateKey => EffectKind::Create,
            Effect::Probe { .. } => EffectKind::Probe,
            Effect::Deliver { .. } => EffectKind::Deliver,
            Effect::Verify { .. } => EffectKind::Verify,
            Effect::ReadUsage { .. } => EffectKind::ReadUsage,
            Effect::Deactivate { .. } => EffectKind::Deactivate,
            Effect::Reactivate { .. } => EffectKind::Reactivate,
            Effect::Delete { .. } => EffectKind::Delete,
        }
    }

    /// Whether a hold stops it: it makes, hands out or takes away a key. What only looks, and what gives a key back, goes on.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        match self {
            Effect::CreateKey
            | Effect::Probe { .. }
            | Effect::Deliver { .. }
            | Effect::Deactivate { .. }
            | Effect::Delete { .. } => true,
            Effect::ListKeys
            | Effect::Verify { .. }
            | Effect::ReadUsage { .. }
            | Effect::Reactivate { .. } => false,
        }
    }

    /// Its name in logs and timelines: the AWS call where it is one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Effect::ListKeys => "ListAccessKeys",
            Effect::CreateKey => "CreateAccessKey",
            Effect::Probe { .. } => "GetCallerIdentity",
            Effect::Deliver { .. } => "deliver",
            Effect::Verify { .. } => "verify",
            Effect::ReadUsage { .. } => "GetAccessKeyLastUsed",
            Effect::Deactivate { .. } => "UpdateAccessKey Inactive",
            Effect::Reactivate { .. } => "UpdateAccessKey Active",
            Effect::Delete { .. } => "DeleteAccessKey",
        }
    }
}

/// That it is safe to take a key away. Only the machine makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence(Because);

impl Evidence {
    pub(super) fn new(because: Because) -> Evidence {
        Evidence(because)
    }

    /// The reason, as it goes into the journal.
    #[must_use]
    pub fn because(&self) -> &Because {
        &self.0
    }
}

/// What came of an effect: three answers, not two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It happened, and this is the event that says so.
    Happened(Event),
    /// It certainly did not happen.
    Refused(Refusal),
    /// It may have happened, or not, or may happen yet.
    Unknown(Doubt),
}
