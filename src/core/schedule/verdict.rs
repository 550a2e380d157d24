//! Verdicts: the judgement on one IAM user, as a state, a reason code and a sentence.
//!
//! The rules are in `reasons.rs`. This file has the states, and the verdicts that need no rule because there is nothing
//! to judge.

use std::fmt;

use crate::core::ids::{AccessKeyId, VendorName};
use crate::core::rotation::{KeyMetadata, KeyState, KeyStatus, Offboarding, RefusalCode, Rotation, Stage};
use crate::core::time::Timestamp;

/// The reason code of a user whose vendor was offboarded.
pub const OFFBOARDED: &str = "offboarded";

/// The state of a user's key, in one word.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// There is nothing to do.
    Ok,
    /// The key is due soon.
    Warning,
    /// The key is due for replacement.
    Due,
    /// The key has been due for too long, and is not replaced yet.
    Overdue,
    /// The key is being replaced.
    Rotating,
    /// A person must act before keyround can go on, or the reconcile failed.
    Stuck,
    /// An operator put the rotation on hold.
    Held,
    /// The user has no key that could be replaced, or keyround does nothing for this vendor.
    Unmanaged,
    /// The vendor assumes a role, so there is no key to rotate.
    Role,
}

impl State {
    /// All states, in the order of the metric's label values.
    pub const ALL: [State; 9] = [
        State::Ok,
        State::Warning,
        State::Due,
        State::Overdue,
        State::Rotating,
        State::Stuck,
        State::Held,
        State::Unmanaged,
        State::Role,
    ];

    /// The state as a word, as in JSON and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Due => "due",
            State::Overdue => "overdue",
            State::Rotating => "rotating",
            State::Stuck => "stuck",
            State::Held => "held",
            State::Unmanaged => "unmanaged",
            State::Role => "role",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the engine does after a verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Nothing, or nothing that keyround may do.
    Nothing,
    /// Start a rotation of this key.
    Start {
        /// The key to be replaced.
        old: KeyMetadata,
    },
    /// Continue the rotation that is under way.
    Continue,
    /// Do nothing before this time.
    Wait {
        /// When to look again; [`Timestamp::NEVER`] when only a person can end the wait.
        until: Timestamp,
    },
}

/// The judgement on one IAM user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// The state, in one word.
    pub state: State,
    /// The reason code, the same in logs, metrics, alerts and JSON.
    pub reason: &'static str,
    /// The reason, as a sentence for operators.
    pub sentence: String,
    /// When the key is due, or became due; `None`: no key was judged.
    pub due_at: Option<Timestamp>,
    /// When the key is overdue, or became overdue; `None`: no key was judged.
    pub overdue_at: Option<Timestamp>,
    /// The key that was judged.
    pub old: Option<AccessKeyId>,
    /// What the engine does next.
    pub action: Action,
}

impl Verdict {
    pub(super) fn without_key(state: State, reason: &'static str, sentence: String) -> Verdict {
        Verdict {
            state,
            reason,
            sentence,
            due_at: None,
            overdue_at: None,
            old: None,
            action: Action::Nothing,
        }
    }

    /// The verdict on a vendor that assumes this role and has no key.
    #[must_use]
    pub fn role(role_arn: &str) -> Verdict {
        let sentence = format!("the vendor assumes {role_arn}: there is no key to rotate");
        Verdict::without_key(State::Role, "assumes_role", sentence)
    }

    /// The verdict on a vendor with `enabled = false`, for which keyround does nothing.
    #[must_use]
    pub fn disabled() -> Verdict {
        let sentence = "`enabled = false` in the configuration: not checked and not rotated";
        Verdict::without_key(State::Unmanaged, "disabled", sentence.to_owned())
    }

    /// The verdict on a vendor if AWS lists no IAM user under its path.
    #[must_use]
    pub fn without_users(path: &str) -> Verdict {
        let sentence = format!(
            "AWS lists no IAM user under the path {path}, so nothing is rotated for this vendor; check `path` and the \
             account of its section"
        );
        Verdict::without_key(State::Unmanaged, "no_users", sentence)
    }

    /// The verdict on a rotation that has ended: finished, abandoned, or ended by the cut of an exposed key.
    #[must_use]
    pub fn ended(rotation: &Rotation) -> Verdict {
        let (reason, sentence) = match (rotation.stage(), rotation.old()) {
            (Stage::Abandoned, Some(old)) if rotation.is_cut_only() && rotation.cut_at(old).is_some() => (
                "cut",
                format!(
                    "the exposed key {old} was set Inactive and is not replaced; the next pass judges the keys anew"
                ),
            ),
            (Stage::Done { new }, Some(old)) => {
                ("rotated", format!("the key {new} replaced the key {old}, which was deleted"))
            }
            (Stage::Abandoned, _) if rotation.was_offboarded() => (
                OFFBOARDED,
                "the vendor was offboarded, and its keys are deleted; no rotation begins for it".to_owned(),
            ),
            (Stage::Abandoned, _) if rotation.offboarding().is_some() => {
                ("abandoned", "the offboarding was taken back; the next pass judges the keys anew".to_owned())
            }
            (Stage::Done { new }, None) => {
                ("issued", format!("the key {new} was made, and the vendor has it"))
            }
            (_, Some(old)) => (
                "abandoned",
                format!("the rotation of {old} was given up; the next pass judges the keys anew"),
            ),
            (_, None) => (
                "abandoned",
                "giving the vendor a key was given up; the next pass judges the keys anew".to_owned(),
            ),
        };
        Verdict::without_key(State::Ok, reason, sentence)
    }

    /// The user's last rotation was an offboarding, and nothing has given it a key since.
    #[must_use]
    pub fn offboarded(offboarding: &Offboarding, keys: &[KeyMetadata]) -> Verdict {
        let Offboarding { by, why, at, .. } = offboarding;
        let kept = keys.iter().map(|key| format!("{} ({})", key.id, status_word(key.status)));
        let kept = kept.collect::<Vec<_>>().join(" and ");
        let kept = match kept.is_empty() {
            true => String::new(),
            false => format!("; the user has the key {kept} since, which is not rotated"),
        };
        let sentence = format!("offboarded at {at} by {by}: {why}; no rotation begins for this user{kept}");
        Verdict::without_key(State::Unmanaged, OFFBOARDED, sentence)
    }

    /// The verdict on a rotation whose vendor is not in the configuration any more.
    #[must_use]
    pub fn orphaned(rotation: &Rotation, vendor: &VendorName) -> Verdict {
        let sentence = format!(
            "the rotation {} is not over, but the vendor {vendor} is not in the configuration with this user any \
             more: no key is touched, and the vendor is not asked; {}put the vendor back, or abandon the rotation",
            rotation.id(),
            last_known(rotation)
        );
        Verdict::without_key(State::Unmanaged, "orphaned", sentence)
    }

    /// The verdict on a rotation whose vendor has `enabled = false`.
    #[must_use]
    pub fn switched_off(rotation: &Rotation) -> Verdict {
        let sentence = format!(
            "the rotation {} is not over, but the configuration says `enabled = false`: no key is touched, and the \
             vendor is not asked; {}switch the vendor on again, or abandon the rotation",
            rotation.id(),
            last_known(rotation)
        );
        Verdict::without_key(State::Unmanaged, "disabled", sentence)
    }

    /// The verdict on a reconcile that failed, with the reason. What the journal holds stays valid.
    #[must_use]
    pub fn broken(reason: &'static str, sentence: String) -> Verdict {
        Verdict::without_key(State::Stuck, reason, sentence)
    }

    /// The verdict on a user whose keys could not be listed. `code` says why; `None`: there was no answer that can be
    /// believed. A failed listing is never read as "no keys".
    #[must_use]
    pub fn unlisted(code: Option<RefusalCode>, fault: &str) -> Verdict {
        let reason = code.map_or("unanswered", RefusalCode::as_str);
        let sentence = format!("{fault}; no key was touched; {}", advice_when_unlisted(code));
        Verdict::without_key(State::Stuck, reason, sentence)
    }
}

/// The keys of a rotation as its journal last knew them, each with the time; empty if it knows none.
fn last_known(rotation: &Rotation) -> String {
    let known = rotation.known_keys().iter().map(|(key, known)| match known.state {
        KeyState::Is(status) => format!("{key} was {} at {}", status_word(status), known.at),
        KeyState::Gone => format!("{key} did not exist at {}", known.at),
        KeyState::InDoubt => {
            format!("a change of {key} was sent at {} and may have been made", known.at)
        }
    });
    match known.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        known => format!("{known}; "),
    }
}

/// The status of a key, in IAM's word.
#[must_use]
pub fn status_word(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "Active",
        KeyStatus::Inactive => "Inactive",
        KeyStatus::Expired => "Expired",
    }
}

fn advice_when_unlisted(code: Option<RefusalCode>) -> &'static str {
    match code {
        Some(RefusalCode::AccessDenied) => "allow the rotator iam:ListAccessKeys on this user",
        Some(RefusalCode::NoSuchUser) => {
            "correct the name or the account in the configuration, or remove it there"
        }
        Some(RefusalCode::Misconfigured | RefusalCode::OtherAccount) => "mend the configuration",
        Some(RefusalCode::NotSent) => "check the rotator's credentials and network; the next pass asks again",
        None | Some(RefusalCode::Throttled | RefusalCode::Clock) => "the next pass asks again",
        Some(
            RefusalCode::NoSuchKey
            | RefusalCode::LimitExceeded
            | RefusalCode::NotUsable
            | RefusalCode::WrongIdentity
            | RefusalCode::VendorRefused
            | RefusalCode::VendorGone
            | RefusalCode::NotInForce
            | RefusalCode::Other,
        ) => "look into it at AWS; the next pass asks again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_listing_is_stuck_and_not_reported_as_no_keys() {
        let verdict = Verdict::unlisted(Some(RefusalCode::AccessDenied), "ListAccessKeys was denied");
        assert_eq!((verdict.state, verdict.reason), (State::Stuck, "access_denied"));
        let expect = "ListAccessKeys was denied; no key was touched; allow the rotator iam:ListAccessKeys on this user";
        assert_eq!(verdict.sentence, expect);
        assert_eq!(Verdict::unlisted(Some(RefusalCode::NoSuchUser), "").reason, "no_such_user");
        assert_eq!(Verdict::unlisted(None, "no answer in 30s").reason, "unanswered");
    }

    #[test]
    fn role_and_disabled_vendors_have_their_own_verdicts() {
        let role = Verdict::role("arn:aws:iam::111122223333:role/vendor-billing");
        assert_eq!((role.state, role.reason, role.action), (State::Role, "assumes_role", Action::Nothing));
        let disabled = Verdict::disabled();
        assert_eq!((disabled.state, disabled.reason), (State::Unmanaged, "disabled"));
    }

    #[test]
    fn the_names_of_states_are_unique() {
        let words: std::collections::BTreeSet<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(words.len(), State::ALL.len());
        assert_eq!(format!("{:<8}|", State::Ok), "ok      |", "they stand in columns");
    }
}
