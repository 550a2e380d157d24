//! Effects: what the machine tells the engine to do. Names are imperative.
//!
//! **Invariant:** a key is taken away only by an effect that carries [`Evidence`], and only the machine, in this
//! folder, can create evidence: it is not read from files and has no constructor outside.

use crate::core::ids::AccessKeyId;
use crate::core::rotation::event::{EffectKind, Event, Intent, RemovalReason};
use crate::core::rotation::refusal::{Doubt, Refusal};

/// One call to AWS or to the vendor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// List the user's keys, every page of the listing.
    ListKeys,
    /// Create a new key. The request is sent once and never retried.
    CreateKey,
    /// Sign one GetCallerIdentity with the new pair, and compare the identity in the answer with the expected one.
    Probe {
        /// The new key.
        key: AccessKeyId,
    },
    /// Deliver the pair to the vendor: all steps in order, each of them safe to repeat.
    Deliver {
        /// The new key.
        key: AccessKeyId,
        /// The number of the delivery. A repeat of a delivery has the same number, and a fresh delivery has the next
        /// one.
        round: u32,
    },
    /// Ask the vendor which key is in force.
    Verify {
        /// The key that the vendor should name.
        key: AccessKeyId,
    },
    /// Ask AWS when these keys were last used.
    ReadUsage {
        /// The keys to ask about.
        keys: Vec<AccessKeyId>,
    },
    /// Set a key Inactive.
    Deactivate {
        /// The key to set Inactive.
        key: AccessKeyId,
        /// Why that is safe.
        evidence: Evidence,
    },
    /// Set a key Active again: the old key, or a key that was being discarded and is in use.
    Reactivate {
        /// The key to set Active.
        key: AccessKeyId,
    },
    /// Delete a key that is Inactive.
    Delete {
        /// The key to delete.
        key: AccessKeyId,
        /// Why that is safe.
        evidence: Evidence,
    },
}

impl Effect {
    /// The intent that must be in the journal before this effect is performed. `None`: the effect changes nothing.
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

    /// The kind of this effect.
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

    /// Whether a hold stops this effect while the old key may be Inactive. It stops effects that create, prove, deliver
    /// or take away a key; effects that only read, or that give a key back, continue. While the old key is Active, a
    /// hold stops every effect, except the cut of an exposed key and the completion of a half-written pair.
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

    /// The name in logs and timelines: that of the AWS call, if the effect is one.
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

/// The proof that it is safe to take a key away. Only the machine creates one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence(RemovalReason);

impl Evidence {
    pub(super) fn new(because: RemovalReason) -> Evidence {
        Evidence(because)
    }

    /// The reason, as it is stored in the journal.
    #[must_use]
    pub fn because(&self) -> &RemovalReason {
        &self.0
    }
}

/// The outcome of an effect. There are three, and not two: an unknown outcome is neither a success nor a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The effect happened, and this event records it.
    Happened(Event),
    /// The effect certainly did not happen.
    Refused(Refusal),
    /// The effect may have happened, or not, or may still happen.
    Unknown(Doubt),
}
