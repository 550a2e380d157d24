//! The events of a rotation. They are stored, so they only gain fields and variants.
//!
//! **Invariant:** a stored event stays readable. Fields and variants are added, never renamed or
//! given a new meaning; `tests/events/` holds a line of each kind as the first version wrote it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::ids::{AccessKeyId, AccountId, Subject};
use crate::core::rotation::Plan;
use crate::core::rotation::incident::IncidentMode;
use crate::core::rotation::refusal::{Doubt, Refusal};
use crate::core::rotation::use_evidence::UseEvidence;
use crate::core::time::Timestamp;

/// Something that happened to one rotation. Names are past tense.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The rotation began, with the plan that it keeps until it ends.
    Started {
        /// Whose key.
        subject: Subject,
        /// The key to be replaced.
        old: AccessKeyId,
        /// When AWS made that key.
        old_created_at: Timestamp,
        /// The reason code of the verdict that began it.
        reason: String,
        /// The settings this rotation runs with.
        plan: Plan,
        /// The AWS account that holds the user, as AWS named it. Rotations of the first versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_id: Option<AccountId>,
        /// When.
        at: Timestamp,
    },
    /// A person asked for a key for a user without an Active one. It begins a rotation that replaces nothing.
    IssueAsked {
        /// Whose key.
        subject: Subject,
        /// The settings this rotation runs with.
        plan: Plan,
        /// The AWS account that holds the user, as AWS named it, where that was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_id: Option<AccountId>,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A person offboarded the vendor: each key of its user is set Inactive, and deleted after the cooling time.
    OffboardAsked {
        /// What began with it, where no rotation was under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begins: Option<Box<Beginning>>,
        /// The user's keys, as they were listed for it.
        keys: Vec<KeyMetadata>,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// An effect is about to be performed, and may be.
    Intended {
        /// Which.
        intent: Intent,
        /// When.
        at: Timestamp,
    },
    /// The user's keys were listed, every page of them.
    Listed {
        /// The keys.
        keys: Vec<KeyMetadata>,
        /// When.
        at: Timestamp,
    },
    /// The new key was made. Stored in one transaction with its sealed secret.
    Created {
        /// The new key.
        key: AccessKeyId,
        /// When.
        at: Timestamp,
        /// The AWS request id, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// The new key signed a GetCallerIdentity and was who it should be.
    Probed {
        /// When.
        at: Timestamp,
    },
    /// The vendor accepted the new key.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// A person is about to be shown the new key, and may have been. Written down before it is shown.
    Revealed {
        /// Who.
        by: String,
        /// Why again; the first time needs no reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The age recipient that it is encrypted to, where it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipient: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A person said that the vendor has the new key.
    Acknowledged {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// The vendor holds the new key. The secret is erased in the same transaction.
    Verified {
        /// How that is known.
        by: Verification,
        /// When.
        at: Timestamp,
    },
    /// AWS was asked when keys were last used.
    UsageRead {
        /// What it said of each key.
        usage: BTreeMap<AccessKeyId, KeyUsage>,
        /// When.
        at: Timestamp,
    },
    /// A key was set Inactive.
    Deactivated {
        /// When.
        at: Timestamp,
        /// The AWS request id, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// The old key was set Active again.
    Reactivated {
        /// When.
        at: Timestamp,
    },
    /// A key was deleted.
    Deleted {
        /// When.
        at: Timestamp,
        /// The AWS request id, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// AWS or the vendor said no, and certainly did nothing.
    Refused {
        /// What was tried.
        doing: EffectKind,
        /// What was said.
        refusal: Refusal,
        /// When.
        at: Timestamp,
    },
    /// No answer that can be believed: it may have happened, or not, or may happen yet.
    Unanswered {
        /// What was tried.
        doing: EffectKind,
        /// What was seen instead of an answer.
        doubt: Doubt,
        /// When.
        at: Timestamp,
    },
    /// A person said: wait.
    Held {
        /// Until then, or until released.
        until: Option<Timestamp>,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// A person said: go on. Ends a hold, and takes a stuck rotation up where it stopped.
    Resumed {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A person asked for the old key back.
    ReactivationAsked {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// The key is exposed, and the person wants it back all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        exposed: bool,
        /// When.
        at: Timestamp,
    },
    /// A person declared an incident: a key of the user is exposed.
    IncidentDeclared {
        /// In which order the key is replaced.
        mode: IncidentMode,
        /// The exposed key.
        key: AccessKeyId,
        /// The key is set Inactive and not replaced, and with that the rotation is over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut_only: bool,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
    /// A person gave the rotation up. A new key that nobody was offered is discarded first.
    Abandoned {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// When.
        at: Timestamp,
    },
}

impl Event {
    /// Whose rotation begins with this event; `None`: it begins none.
    #[must_use]
    pub fn begins(&self) -> Option<&Subject> {
        match self {
            Event::Started { subject, .. } | Event::IssueAsked { subject, .. } => Some(subject),
            Event::OffboardAsked { begins: Some(begins), .. } => Some(&begins.subject),
            _ => None,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Event::Started { at, .. }
            | Event::IssueAsked { at, .. }
            | Event::OffboardAsked { at, .. }
            | Event::Intended { at, .. }
            | Event::Listed { at, .. }
            | Event::Created { at, .. }
            | Event::Probed { at }
            | Event::Delivered { at }
            | Event::Revealed { at, .. }
            | Event::Acknowledged { at, .. }
            | Event::Verified { at, .. }
            | Event::UsageRead { at, .. }
            | Event::Deactivated { at, .. }
            | Event::Reactivated { at }
            | Event::Deleted { at, .. }
            | Event::Refused { at, .. }
            | Event::Unanswered { at, .. }
            | Event::Held { at, .. }
            | Event::Resumed { at, .. }
            | Event::ReactivationAsked { at, .. }
            | Event::IncidentDeclared { at, .. }
            | Event::Abandoned { at, .. } => *at,
        }
    }

    /// The word it is stored under, and shown as in a history.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::Started { .. } => "started",
            Event::IssueAsked { .. } => "issue_asked",
            Event::OffboardAsked { .. } => "offboard_asked",
            Event::Intended { .. } => "intended",
            Event::Listed { .. } => "listed",
            Event::Created { .. } => "created",
            Event::Probed { .. } => "probed",
            Event::Delivered { .. } => "delivered",
            Event::Revealed { .. } => "revealed",
            Event::Acknowledged { .. } => "acknowledged",
            Event::Verified { .. } => "verified",
            Event::UsageRead { .. } => "usage_read",
            Event::Deactivated { .. } => "deactivated",
            Event::Reactivated { .. } => "reactivated",
            Event::Deleted { .. } => "deleted",
            Event::Refused { .. } => "refused",
            Event::Unanswered { .. } => "unanswered",
            Event::Held { .. } => "held",
            Event::Resumed { .. } => "resumed",
            Event::ReactivationAsked { .. } => "reactivation_asked",
            Event::IncidentDeclared { .. } => "incident_declared",
            Event::Abandoned { .. } => "abandoned",
        }
    }
}

/// What a rotation begins with that replaces no key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Beginning {
    /// Whose keys.
    pub subject: Subject,
    /// The settings this rotation runs with.
    pub plan: Plan,
    /// The AWS account that holds the user, as AWS named it, where that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
}

/// An effect on the world as the journal knows it: a record, not a permission.
///
/// [`crate::core::rotation::Effect`] is the permission; it is made anew by the machine and never read
/// from a file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "snake_case")]
pub enum Intent {
    /// Make a new key.
    Create,
    /// Give the new key to the vendor.
    Deliver {
        /// The new key.
        key: AccessKeyId,
        /// Which delivery this is: a repeat of one has its number, a fresh one the next.
        round: u32,
    },
    /// Set a key Inactive.
    Deactivate {
        /// The key.
        key: AccessKeyId,
        /// Why that is safe.
        because: RemovalReason,
    },
    /// Set the old key Active again.
    Reactivate {
        /// The old key.
        key: AccessKeyId,
    },
    /// Delete a key.
    Delete {
        /// The key.
        key: AccessKeyId,
        /// Why that is safe.
        because: RemovalReason,
    },
}

impl Intent {
    /// What is done about it.
    #[must_use]
    pub fn doing(&self) -> EffectKind {
        match self {
            Intent::Create => EffectKind::Create,
            Intent::Deliver { .. } => EffectKind::Deliver,
            Intent::Deactivate { .. } => EffectKind::Deactivate,
            Intent::Reactivate { .. } => EffectKind::Reactivate,
            Intent::Delete { .. } => EffectKind::Delete,
        }
    }
}

/// What can fail: one word for each kind of effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// ListAccessKeys.
    List,
    /// CreateAccessKey.
    Create,
    /// GetCallerIdentity with the new key.
    Probe,
    /// Giving the vendor the new key.
    Deliver,
    /// Asking the vendor which key is in force.
    Verify,
    /// GetAccessKeyLastUsed.
    ReadUsage,
    /// UpdateAccessKey to Inactive.
    Deactivate,
    /// UpdateAccessKey to Active.
    Reactivate,
    /// DeleteAccessKey.
    Delete,
}

impl EffectKind {
    /// As a person would say it, for "… failed for days".
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            EffectKind::List => "listing the user's keys",
            EffectKind::Create => "making a new key",
            EffectKind::Probe => "proving the new key at AWS",
            EffectKind::Deliver => "delivering the new key",
            EffectKind::Verify => "asking the vendor which key is in force",
            EffectKind::ReadUsage => "reading when the keys were last used",
            EffectKind::Deactivate => "setting a key Inactive",
            EffectKind::Reactivate => "setting the old key Active again",
            EffectKind::Delete => "deleting a key",
        }
    }
}

/// Why it is safe to take a key away.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum RemovalReason {
    /// The vendor holds another key, and every gate of the plan is passed.
    Superseded {
        /// The key that the vendor holds now.
        by: AccessKeyId,
        /// When the vendor was last known to hold it.
        verified_at: Timestamp,
    },
    /// The key is ours, its secret is lost or was never sent, and nobody was offered it.
    NeverOffered,
    /// A person declared the key exposed.
    Exposed,
    /// A person offboarded the vendor.
    Offboarded,
}

/// One row of ListAccessKeys.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct KeyMetadata {
    /// The key.
    pub id: AccessKeyId,
    /// Its state.
    pub status: KeyStatus,
    /// When AWS made it: the only honest source of its age.
    pub created_at: Timestamp,
}

/// The state of an access key, in IAM's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum KeyStatus {
    /// Signs requests.
    Active,
    /// Does not sign, can be set Active again, and still fills a slot.
    Inactive,
    /// In IAM's model since 2025, without a word on what it means. Neither usable nor reactivated here.
    Expired,
}

/// What GetAccessKeyLastUsed said of one key, and CloudTrail, where it is asked.
///
/// Of several uses within 15 minutes AWS records only the first one (IAM User Guide), so the true
/// last use can be that much later.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "usage", rename_all = "snake_case")]
pub enum KeyUsage {
    /// No use is recorded.
    Never,
    /// The last use that is known.
    Used {
        /// When.
        last_used_at: Timestamp,
        /// The AWS service that was called, such as `s3`.
        service: String,
        /// Whose use it was, or an earlier one, where CloudTrail is asked and knows one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        witness: Option<Box<UseEvidence>>,
    },
    /// There is no such key any more.
    Gone,
}

/// How it is known that the vendor holds the new key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// The vendor was asked and named the key.
    Asked,
    /// The vendor cannot be asked: its acceptance of the delivery is all there is.
    Acceptance,
}
