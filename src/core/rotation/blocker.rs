//! Blockers: what stops a rotation until a person has acted. Each has a code and a sentence.

use std::fmt;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::event::EffectKind;

/// A problem that only a person can resolve. While it lasts, no key is taken away, except an exposed one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Blocker {
    /// The key to be replaced does not exist any more.
    OldKeyGone {
        /// The old key.
        key: AccessKeyId,
    },
    /// The key to be replaced is not Active.
    OldKeyNotActive {
        /// The old key.
        key: AccessKeyId,
    },
    /// The user has a second key that this rotation did not create, so there is no free slot.
    NoFreeSlot {
        /// The second key.
        other: AccessKeyId,
    },
    /// The user has an Active key, where one is to be made for a user without.
    HasActiveKey {
        /// The Active key.
        key: AccessKeyId,
    },
    /// In an incident, the key that the rotation was replacing before fills the slot that a new key needs.
    SlotFilledInIncident {
        /// The key that fills the slot.
        other: AccessKeyId,
    },
    /// The vendor has trouble with the new key, and the old one is exposed, so it is not set Active again.
    ExposedKeyNeeded {
        /// The old key.
        key: AccessKeyId,
        /// What the trouble is.
        sentence: String,
    },
    /// A key appeared that an unanswered CreateAccessKey of ours may have created, and it is in use.
    UnknownKey {
        /// The key that appeared.
        key: AccessKeyId,
    },
    /// A request of ours to delete the old key arrived after the key had been set Active again, and deleted it.
    OldKeyDeletedLate {
        /// The old key.
        key: AccessKeyId,
    },
    /// The old key was deleted while it cooled, and the new key cannot be used.
    NoKeyLeft {
        /// The old key.
        old: AccessKeyId,
        /// The new key.
        new: AccessKeyId,
        /// Whether the new key is still listed, and not Active.
        exists: bool,
    },
    /// A key of ours is not discarded: no vendor was offered it, but it may be the one that the vendor works with.
    NotDiscarded {
        /// The key that is not discarded.
        key: AccessKeyId,
    },
    /// The new key was deleted by somebody else.
    NewKeyGone {
        /// The new key.
        key: AccessKeyId,
    },
    /// The new key was set Inactive by somebody else.
    NewKeyNotActive {
        /// The new key.
        key: AccessKeyId,
    },
    /// AWS never accepted the new key.
    NewKeyNeverWorked {
        /// The new key.
        key: AccessKeyId,
    },
    /// The new key belongs to another identity than expected.
    WrongIdentity {
        /// The identity that was expected and the one that AWS named.
        sentence: String,
    },
    /// The credentials lead to another AWS account than the one in which the rotation began.
    OtherAccount {
        /// A sentence that names both accounts.
        sentence: String,
    },
    /// The vendor answered that its address is gone for good (HTTP 410).
    VendorGone {
        /// What the vendor answered.
        sentence: String,
    },
    /// The vendor accepts deliveries, and still names another key as the one in force.
    VendorKeepsOldKey {
        /// How many deliveries it accepted.
        deliveries: u32,
    },
    /// The vendor had the new key, but went back to the old one or stopped answering each time the old one was set
    /// Inactive.
    VendorWentBack {
        /// The vendor's last trouble.
        sentence: String,
    },
    /// The same step has failed for days.
    Exhausted {
        /// The step that failed.
        doing: EffectKind,
        /// The last failure.
        sentence: String,
    },
}

impl Blocker {
    /// The reason code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Blocker::OldKeyGone { .. } => "old_key_gone",
            Blocker::OldKeyNotActive { .. } => "old_key_not_active",
            Blocker::NoFreeSlot { .. } => "no_free_slot",
            Blocker::HasActiveKey { .. } => "has_active_key",
            Blocker::SlotFilledInIncident { .. } => "slot_filled_in_incident",
            Blocker::ExposedKeyNeeded { .. } => "exposed_key_needed",
            Blocker::UnknownKey { .. } => "unknown_key",
            Blocker::OldKeyDeletedLate { .. } => "old_key_deleted_late",
            Blocker::NoKeyLeft { .. } => "no_key_left",
            Blocker::NotDiscarded { .. } => "not_discarded",
            Blocker::NewKeyGone { .. } => "new_key_gone",
            Blocker::NewKeyNotActive { .. } => "new_key_not_active",
            Blocker::NewKeyNeverWorked { .. } => "new_key_never_worked",
            Blocker::WrongIdentity { .. } => "wrong_identity",
            Blocker::OtherAccount { .. } => "other_account",
            Blocker::VendorGone { .. } => "vendor_gone",
            Blocker::VendorKeepsOldKey { .. } => "vendor_keeps_old_key",
            Blocker::VendorWentBack { .. } => "vendor_went_back",
            Blocker::Exhausted { .. } => "exhausted",
        }
    }
}

impl Blocker {
    /// Writes the sentences of the blockers that concern an incident, the account, the vendor or a step.
    fn fmt_beside_keys(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocker::HasActiveKey { key } => write!(
                f,
                "the user has the Active access key {key}, which somebody made or set Active meanwhile, so no other one was made; \
                 abandon this rotation"
            ),
            Blocker::SlotFilledInIncident { other } => write!(
                f,
                "the user's second access key, {other}, is one that this rotation set out to replace before the incident, and it \
                 fills the slot that a new key needs; delete it at AWS when the vendor does not use it any more, then resume"
            ),
            Blocker::ExposedKeyNeeded { key, sentence } => write!(
                f,
                "the vendor reports an error with the new key: {sentence}; the old key {key} is exposed, so keyround does not set it \
                 Active again; give the vendor the new key by hand or ask it to work with it, then resume"
            ),
            Blocker::WrongIdentity { sentence } => write!(
                f,
                "{sentence}; the vendor was not offered the new key, and still has what it had; check the accounts in \
                 the configuration, then abandon"
            ),
            Blocker::OtherAccount { sentence } => write!(
                f,
                "{sentence}; nothing was sent to AWS; let the credentials or the role lead to the account in which the \
                 rotation began, then resume"
            ),
            Blocker::VendorGone { sentence } => write!(
                f,
                "{sentence}; no key was taken away, so the one that the vendor has is untouched; mend the delivery in \
                 the configuration, then resume"
            ),
            Blocker::VendorKeepsOldKey { deliveries } => write!(
                f,
                "the vendor accepted {deliveries} deliveries and still reports that another key is in force; no key \
                 was taken away; ask the vendor, then resume"
            ),
            Blocker::VendorWentBack { sentence } => write!(
                f,
                "the vendor reported an error each time the old key was Inactive: {sentence}; the old key was set \
                 Active again; ask the vendor, then resume or abandon"
            ),
            Blocker::Exhausted { doing, sentence } => write!(
                f,
                "{} failed for days, last with: {sentence}; {}; mend the cause, then resume",
                doing.in_words(),
                safe_after(*doing)
            ),
            // `fmt` passes only the variants above to this function.
            _ => Err(fmt::Error),
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocker::OldKeyGone { key } => write!(
                f,
                "the old key {key} does not exist any more: it was deleted outside keyround; keyround touches no key; abandon this rotation"
            ),
            Blocker::OldKeyNotActive { key } => write!(
                f,
                "the old key {key} was not Active when the keys were listed: it was set Inactive outside keyround; nothing was touched; set it \
                 Active and resume, or abandon"
            ),
            Blocker::NoFreeSlot { other } => write!(
                f,
                "the user has a second access key, {other}, that this journal does not know; nothing was touched; \
                 find out who uses it, and delete it if it is unused"
            ),
            Blocker::UnknownKey { key } => write!(
                f,
                "the key {key} was created while our own CreateAccessKey had no answer, and it is in use; nothing was \
                 touched; find out who uses it, then resume or abandon"
            ),
            Blocker::OldKeyDeletedLate { key } => write!(
                f,
                "the old key {key} does not exist any more: a DeleteAccessKey of keyround that had no answer was done after \
                 the key had been set Active again. Check that the vendor works with the new key, then abandon this rotation"
            ),
            Blocker::NoKeyLeft { old, new, exists } => write!(
                f,
                "AWS lists neither the old key {old} nor {} new key {new}: somebody changed them, or the IAM user was \
                 renamed, made again, or is in another account. The vendor may have no working key: give it one, then abandon \
                 this rotation",
                if *exists { "an Active" } else { "the" }
            ),
            Blocker::NotDiscarded { key } => write!(
                f,
                "the key {key} was to be discarded, as the journal names no vendor that was offered it, but it was used or the \
                 old key is not Active; it is not deleted. A journal restored from a backup looks like this: find out who uses \
                 the key, then abandon again to keep it, or resume to look again"
            ),
            Blocker::NewKeyGone { key } => write!(
                f,
                "the new key {key} was deleted outside keyround; keyround touches no key; abandon this rotation \
                 and check that the vendor works"
            ),
            Blocker::NewKeyNotActive { key } => write!(
                f,
                "the new key {key} was not Active when the keys were listed: it was set Inactive outside keyround; the old key was \
                 not touched; set the new one Active and resume, or abandon"
            ),
            Blocker::NewKeyNeverWorked { key } => write!(
                f,
                "AWS never accepted the new key {key}; the vendor was not offered it, and still has what it had; resume, \
                 or abandon to discard the new key"
            ),
            Blocker::HasActiveKey { .. }
            | Blocker::SlotFilledInIncident { .. }
            | Blocker::ExposedKeyNeeded { .. }
            | Blocker::WrongIdentity { .. }
            | Blocker::OtherAccount { .. }
            | Blocker::VendorGone { .. }
            | Blocker::VendorKeepsOldKey { .. }
            | Blocker::VendorWentBack { .. }
            | Blocker::Exhausted { .. } => self.fmt_beside_keys(f),
        }
    }
}

/// What is safe after this step has failed for days.
fn safe_after(doing: EffectKind) -> &'static str {
    match doing {
        EffectKind::Create | EffectKind::Probe | EffectKind::Deliver | EffectKind::ReadUsage => {
            "no key was taken away"
        }
        EffectKind::List | EffectKind::Verify | EffectKind::Deactivate => "no key was deleted",
        EffectKind::Reactivate => {
            "the old key may still be Inactive, and the vendor may need it: set it Active by hand at once"
        }
        EffectKind::Delete => "the key was set Inactive and can still be set Active",
    }
}
