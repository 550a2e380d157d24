//! The events of a rotation: its journal, from which the machine is rebuilt.
//!
//! **Invariant:** a stored event stays readable. Fields and variants are added, and never renamed or given a new
//! meaning. `tests/events/` has a line of each kind as the first version wrote it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::ids::{AccessKeyId, AccountId, Subject};
use crate::core::rotation::Plan;
use crate::core::rotation::incident::IncidentMode;
use crate::core::rotation::refusal::{Doubt, Refusal};
use crate::core::rotation::use_evidence::UseEvidence;
use crate::core::time::Timestamp;

/// An event of one rotation, as the journal stores it. Names are past tense.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A rotation that replaces a key began. It keeps its plan until it ends.
    Started {
        /// The vendor and the IAM user whose key is rotated.
        subject: Subject,
        /// The key to be replaced.
        old: AccessKeyId,
        /// When AWS created the key to be replaced (its `CreateDate`).
        old_created_at: Timestamp,
        /// The reason code of the verdict that began the rotation, or `incident`.
        reason: String,
        /// The settings this rotation runs with.
        plan: Plan,
        /// The AWS account that holds the user, as AWS named it. Absent if AWS did not name it, and in rotations of the
        /// first versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_id: Option<AccountId>,
        /// When the rotation began.
        at: Timestamp,
    },
    /// An operator asked for a key for a user without an Active one. This begins a rotation that replaces no key.
    IssueAsked {
        /// The vendor and the IAM user that get the key.
        subject: Subject,
        /// The settings this rotation runs with.
        plan: Plan,
        /// The AWS account that holds the user, as AWS named it, if that was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_id: Option<AccountId>,
        /// The user that gave the command: the login user, if there is one.
        by: String,
        /// When the operator gave the command.
        at: Timestamp,
    },
    /// An operator offboarded the vendor: each key of its user is set Inactive, and deleted after the cooling time.
    OffboardAsked {
        /// The data of the rotation that begins with this event; `None`: the event joins a rotation that is under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begins: Option<Box<Beginning>>,
        /// The user's keys, as they were listed for this command.
        keys: Vec<KeyMetadata>,
        /// The user that gave the command: the login user, if there is one.
        by: String,
        /// The reason that the operator gave.
        why: String,
        /// When the operator gave the command.
        at: Timestamp,
    },
    /// An effect is about to be performed. A journal that ends here does not tell whether it was performed.
    Intended {
        /// The effect.
        intent: Intent,
        /// When the intent was recorded, before the effect is performed.
        at: Timestamp,
    },
    /// The user's keys were listed, every page of them.
    Listed {
        /// Every key of the user.
        keys: Vec<KeyMetadata>,
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
    },
    /// AWS created the new key. Stored in one transaction with the key's sealed secret.
    Created {
        /// The new key.
        key: AccessKeyId,
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
        /// The AWS request id, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// The new key signed a GetCallerIdentity call, and AWS named the expected user and account.
    Probed {
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
    },
    /// The vendor accepted the new key.
    Delivered {
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
    },
    /// The new key is about to be shown to a person. Recorded before it is shown, so it is not certain that it was.
    Revealed {
        /// The user to whom the key is shown: the login user, if there is one.
        by: String,
        /// The reason for showing the key again; the first time needs none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The age recipient to which the shown key is encrypted; `None`: it is shown unencrypted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipient: Option<String>,
        /// When this was recorded, before the key is shown.
        at: Timestamp,
    },
    /// An operator confirmed that the vendor has the new key.
    Acknowledged {
        /// The user that gave the command: the login user, if there is one.
        by: String,
        /// When the operator gave the command.
        at: Timestamp,
    },
    /// The vendor holds the new key. The first such event erases the sealed secret in the same transaction.
    Verified {
        /// How it is known that the vendor holds the new key.
        by: Verification,
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
    },
    /// AWS answered when keys were last used.
    UsageRead {
        /// The last use of each key that was asked about.
        usage: BTreeMap<AccessKeyId, KeyUsage>,
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
    },
    /// A key was set Inactive.
    Deactivated {
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
        /// The AWS request id, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// A key was set Active again: the old key, a key of an offboarded vendor, or a key that was being discarded
    /// and turned out to be in use.
    Reactivated {
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
    },
    /// A key was deleted.
    Deleted {
        /// When the answer arrived, by this machine's clock.
        at: Timestamp,
        /// The AWS request id, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// AWS or the vendor refused an effect, or keyround did before it sent anything. The effect certainly did not
    /// happen, except for the part of a delivery that the refusal names.
    Refused {
        /// The kind of the refused effect.
        doing: EffectKind,
        /// The refusal, with its code and a sentence.
        refusal: Refusal,
        /// When the effect was refused.
        at: Timestamp,
    },
    /// An effect got no answer that can be believed: it may have happened, or not, or may still happen.
    Unanswered {
        /// The kind of the effect.
        doing: EffectKind,
        /// What happened instead of an answer, such as a timeout.
        doubt: Doubt,
        /// When the attempt ended without such an answer.
        at: Timestamp,
    },
    /// An operator put the rotation on hold.
    Held {
        /// The end of the hold; `None`: it lasts until an operator resumes the rotation.
        until: Option<Timestamp>,
        /// The user that gave the command: the login user, if there is one.
        by: String,
        /// The reason that the operator gave.
        why: String,
        /// When the operator gave the command.
        at: Timestamp,
    },
    /// An operator resumed the rotation. This ends a hold, also that of an incident, and a stuck rotation continues in
    /// the stage in which it got stuck.
    Resumed {
        /// The user that gave the command: the login user, if there is one.
        by: String,
        /// When the operator gave the command.
        at: Timestamp,
    },
    /// An operator asked to set the old key Active again, or to give an offboarded vendor its keys back.
    ReactivationAsked {
        /// The user that gave the command: the login user, if there is one.
        by: String,
        /// The reason that the operator gave.
        why: String,
        /// The operator confirmed that the key is to be Active although it is exposed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        exposed: bool,
        /// When the operator gave the command.
        at: Timestamp,
    },
    /// An operator declared a key of the user exposed, or `[exposure]` did because AWS quarantined the user.
    IncidentDeclared {
        /// The order in which the key is set Inactive and replaced.
        mode: IncidentMode,
        /// The exposed key.
        key: AccessKeyId,
        /// The key is set Inactive and not replaced, and the rotation ends with that.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut_only: bool,
        /// The user that declared it, or `keyround run, by [exposure]`.
        by: String,
        /// The reason for the declaration.
        why: String,
        /// When the incident was declared.
        at: Timestamp,
    },
    /// An operator abandoned the rotation. A new key that the vendor was not offered is discarded first.
    Abandoned {
        /// The user that gave the command: the login user, if there is one.
        by: String,
        /// The reason that the operator gave.
        why: String,
        /// When the operator gave the command.
        at: Timestamp,
    },
}

impl Event {
    /// The vendor and user whose rotation begins with this event; `None`: the event does not begin a rotation.
    #[must_use]
    pub fn begins(&self) -> Option<&Subject> {
        match self {
            Event::Started { subject, .. } | Event::IssueAsked { subject, .. } => Some(subject),
            Event::OffboardAsked { begins: Some(begins), .. } => Some(&begins.subject),
            _ => None,
        }
    }

    /// When the event happened, by this machine's clock.
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

    /// The name under which the event is stored, and shown in a history.
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

/// The data of a rotation that begins with an offboarding, and so replaces no key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Beginning {
    /// The vendor and the IAM user whose keys are set Inactive and deleted.
    pub subject: Subject,
    /// The settings this rotation runs with.
    pub plan: Plan,
    /// The AWS account that holds the user, as AWS named it, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
}

/// The record of an effect that is about to be performed. It is not a permission to perform the effect.
///
/// The permission is a [`crate::core::rotation::Effect`]. Only the machine creates one, each time anew, and none is
/// read from a file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "snake_case")]
pub enum Intent {
    /// Create a new key.
    Create,
    /// Deliver the new key to the vendor.
    Deliver {
        /// The new key.
        key: AccessKeyId,
        /// The number of the delivery, from 1. A repeat has the same number, and a fresh delivery has the next one.
        round: u32,
    },
    /// Set a key Inactive.
    Deactivate {
        /// The key to set Inactive.
        key: AccessKeyId,
        /// The reason for which the key may be set Inactive.
        because: RemovalReason,
    },
    /// Set a key Active again: the old key, a key of an offboarded vendor, or a discarded key that is in use.
    Reactivate {
        /// The key to set Active.
        key: AccessKeyId,
    },
    /// Delete a key.
    Delete {
        /// The key to delete.
        key: AccessKeyId,
        /// The reason for which the key may be deleted.
        because: RemovalReason,
    },
}

impl Intent {
    /// The kind of the intended effect.
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

/// The kinds of effects, as the journal names them in a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    /// ListAccessKeys.
    List,
    /// CreateAccessKey.
    Create,
    /// GetCallerIdentity with the new key.
    Probe,
    /// The delivery of the new key to the vendor.
    Deliver,
    /// The question to the vendor which key is in force.
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
    /// The kind in words, to begin a sentence such as "… failed for days".
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

/// The reason for which a key may be set Inactive or deleted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum RemovalReason {
    /// The vendor holds another key. Outside an incident, every gate of the plan was passed as well.
    Superseded {
        /// The key that the vendor holds.
        by: AccessKeyId,
        /// When the vendor was last known to hold that key.
        verified_at: Timestamp,
    },
    /// keyround created the key, its secret is lost or was never sent, and no vendor was offered it.
    NeverOffered,
    /// The key was declared exposed, by an operator or by `[exposure]`.
    Exposed,
    /// An operator offboarded the vendor.
    Offboarded,
}

/// One row of ListAccessKeys.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct KeyMetadata {
    /// The `AccessKeyId`.
    pub id: AccessKeyId,
    /// The status of the key at the time of the listing.
    pub status: KeyStatus,
    /// When AWS created the key (`CreateDate`): the only reliable source of the key's age.
    pub created_at: Timestamp,
}

/// The status of an access key, in IAM's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum KeyStatus {
    /// The key can sign requests.
    Active,
    /// The key cannot sign requests. It can be set Active again, and it still fills one of the user's two slots.
    Inactive,
    /// Part of IAM's API model since 2025, without any documentation. keyround counts such a key as not usable, and a
    /// listing that shows it is no reason to set it Active again.
    Expired,
}

/// The last use of one key, according to GetAccessKeyLastUsed and, if it is asked, to CloudTrail.
///
/// Of several uses within 15 minutes, AWS records only the first one (IAM User Guide), so the true last use can be
/// that much later.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "usage", rename_all = "snake_case")]
pub enum KeyUsage {
    /// No use of the key is recorded.
    Never,
    /// The key was used. These are the details of the last use that is known.
    Used {
        /// When the key was last used.
        last_used_at: Timestamp,
        /// The AWS service that was called, such as `s3`.
        service: String,
        /// The AWS region that was called; `None`: the service has none, or an earlier version stored the reading.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// The newest use that CloudTrail has on record, which may be earlier than `last_used_at`; `None`: CloudTrail
        /// is not asked, or has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        witness: Option<Box<UseEvidence>>,
    },
    /// The key does not exist any more.
    Gone,
}

/// How it is known that the vendor holds the new key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// The vendor was asked which key is in force, and named the new one.
    Asked,
    /// The vendor cannot be asked. That it accepted the delivery is the only evidence.
    Acceptance,
}
