//! The decisions that `Rotation::next` returns: perform an effect, wait, stuck, or ended.
//!
//! Each wait and blocker has a code and a sentence, and each ending has a code. They are the same in logs, tables, JSON
//! and `explain`, because they are made only in this module and in `blocker.rs`.

use std::fmt;

use crate::core::ids::AccessKeyId;
pub use crate::core::rotation::blocker::Blocker;
use crate::core::rotation::clock::ClockDoubt;
use crate::core::rotation::effect::Effect;
use crate::core::time::Timestamp;

/// The decision what to do now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Perform this effect.
    Perform(Effect),
    /// Do nothing until this time, and then decide again.
    Wait {
        /// When to decide again; [`Timestamp::NEVER`]: only an operator can end the wait.
        until: Timestamp,
        /// What the rotation waits for.
        why: Waiting,
    },
    /// Do nothing until a person has resolved this problem.
    Stuck(Blocker),
    /// The rotation has finished.
    Ended(Ending),
}

/// The reason for which a rotation waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Waiting {
    /// Waits for the next proof of the new key, because AWS may not accept a new key everywhere at once.
    Propagation,
    /// Waits for the next attempt after a failure.
    Backoff {
        /// How many attempts in a row failed.
        failures: u32,
        /// The last failure, as a sentence.
        sentence: String,
    },
    /// Waits for the time from which a listing shows whether an unanswered CreateAccessKey created a key.
    Doubt,
    /// Waits for a person who is shown the new key and hands it over to the vendor.
    Reveal {
        /// When the new key was ready to be shown.
        since: Timestamp,
        /// The whole days since then.
        days: u64,
    },
    /// Waits for an operator's confirmation, or a recorded use, that the vendor has the new key that was shown.
    HandOver {
        /// When the new key was last shown to a person.
        revealed_at: Timestamp,
        /// The whole days since then.
        days: u64,
    },
    /// Waits for the end of the soak time, in which the plan keeps both keys Active.
    Soak,
    /// Waits until AWS records a use of the new key that is newer than the last use of the old one.
    Use {
        /// When the old key was last used, if the new one was used before that and not since; `None`: no use of the
        /// new key is recorded.
        old_used_at: Option<Timestamp>,
    },
    /// Waits until the old key has been unused for the time that the plan requires.
    Quiet {
        /// When the old key was last used, according to AWS.
        last_used_at: Timestamp,
        /// The AWS service that was called, such as `s3`.
        service: String,
    },
    /// Waits for the next window in which the plan allows setting the old key Inactive.
    Window,
    /// Waits for the end of the cooling time, in which the old key is Inactive and can be set Active again.
    Cool,
    /// Waits for a use of the new key since the old key was set Inactive. The plan requires one, and none is recorded.
    UseAfterRetirement {
        /// When the old key was set Inactive.
        since: Timestamp,
    },
    /// Waits, for at most an hour, before a key of ours that no vendor was offered is deleted. The key is Inactive.
    Discard {
        /// The key that is discarded.
        key: AccessKeyId,
    },
    /// Waits for the end of a hold, or for the next check: a key is Inactive that the vendor may need.
    HeldWhileInactive {
        /// The operator who asked for the hold.
        by: String,
        /// The reason that the operator gave.
        why: String,
    },
    /// Waits for an operator to resume the rotation after a `cut-and-hold` incident set the keys Inactive.
    IncidentHeld {
        /// The user or component that declared the incident.
        by: String,
        /// The reason for the declaration.
        why: String,
    },
    /// Waits for the end of the cooling time of an offboarded vendor's keys, after which they are deleted.
    Offboarded {
        /// The operator who offboarded the vendor.
        by: String,
        /// The reason that the operator gave.
        why: String,
        /// The time from which the keys are deleted.
        deletes_at: Timestamp,
    },
    /// Waits until a listing shows reliably whether the keys that an offboarded vendor got back are Active.
    GivenBack,
    /// Waits until this machine's clock is right. Only the engine returns this wait (`engine/clock.rs`), because the
    /// machine knows one clock only.
    Clock(ClockDoubt),
    /// Waits for the end of a hold.
    Held {
        /// The operator who asked for the hold.
        by: String,
        /// The reason that the operator gave.
        why: String,
    },
}

impl Waiting {
    /// The reason code, as in logs, tables and JSON.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Waiting::Propagation => "propagation",
            Waiting::Backoff { .. } => "backoff",
            Waiting::Doubt => "unanswered_create",
            Waiting::Reveal { .. } => "awaiting_reveal",
            Waiting::HandOver { .. } => "awaiting_hand_over",
            Waiting::Soak => "soaking",
            Waiting::Use { .. } => "awaiting_use",
            Waiting::Quiet { .. } => "awaiting_quiet",
            Waiting::Window => "window_closed",
            Waiting::Cool => "cooling",
            Waiting::UseAfterRetirement { .. } => "awaiting_use_after_retirement",
            Waiting::Discard { .. } => "discarding",
            Waiting::Clock(_) => "clock",
            Waiting::IncidentHeld { .. } => "incident_held",
            Waiting::Offboarded { .. } => "offboarded",
            Waiting::GivenBack => "given_back",
            Waiting::HeldWhileInactive { .. } | Waiting::Held { .. } => "held",
        }
    }

    /// The sentence, followed by the time of the next step, or by the operator command that ends the wait.
    #[must_use]
    pub fn until(&self, until: Timestamp) -> String {
        match (self, until) {
            // At that time keyround only checks again, because the next step is a person's.
            (Waiting::Reveal { .. } | Waiting::HandOver { .. }, _) => self.to_string(),
            (_, Timestamp::NEVER) => format!("{self}, until an operator resumes it"),
            (_, until) => format!("{self}; next step at {until}"),
        }
    }

    /// Whether the rotation waits for a person: to show the key, to resume an incident, or because of a hold.
    #[must_use]
    pub fn is_for_person(&self) -> bool {
        match self {
            Waiting::Reveal { .. } | Waiting::IncidentHeld { .. } | Waiting::Held { .. } => true,
            Waiting::Propagation
            | Waiting::Backoff { .. }
            | Waiting::Doubt
            | Waiting::HandOver { .. }
            | Waiting::Soak
            | Waiting::Use { .. }
            | Waiting::Quiet { .. }
            | Waiting::Window
            | Waiting::UseAfterRetirement { .. }
            | Waiting::Discard { .. }
            | Waiting::HeldWhileInactive { .. }
            | Waiting::Offboarded { .. }
            | Waiting::GivenBack
            | Waiting::Clock(_)
            | Waiting::Cool => false,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Propagation => f.write_str("the new key is being proved at AWS before anybody gets it"),
            Waiting::Backoff { failures, sentence } => {
                write!(f, "{sentence} ({failures} in a row); no key is touched before the next attempt")
            }
            Waiting::Doubt => f.write_str(
                "CreateAccessKey got no answer; waiting until a listing can be believed before anything else is done",
            ),
            Waiting::Reveal { since, days } => write!(
                f,
                "the new key was proved at AWS and waits for an operator to deliver it to the vendor, {}since {since}; nobody was \
                 shown it yet, and no key is taken away",
                for_days(*days)
            ),
            Waiting::HandOver { revealed_at, days } => write!(
                f,
                "somebody was shown the new key at {revealed_at}{}; no operator has confirmed yet that the vendor has it, and no \
                 use of it was seen; no key is taken away",
                days_ago(*days)
            ),
            Waiting::Soak => f.write_str("the vendor accepted the new key; neither key is touched while it soaks"),
            Waiting::Use { old_used_at: None } => {
                f.write_str("the new key has not been seen in use yet; the old key is not touched until it is")
            }
            Waiting::Use { old_used_at: Some(at) } => write!(
                f,
                "the old key was used at {at}, and the new one was used before that but has not been seen in use since; \
                 the old key is not touched until it is"
            ),
            Waiting::Quiet { last_used_at, service } => write!(
                f,
                "the old key was last used at {last_used_at} for {service}; it is not touched until it has been quiet for long enough"
            ),
            Waiting::Window => f.write_str("the vendor's window is closed; the old key is not touched until it opens"),
            Waiting::Cool => f.write_str("the old key was set Inactive; it can be set Active again until it is deleted"),
            Waiting::UseAfterRetirement { since } => write!(
                f,
                "AWS has recorded no use of the new key since the old key was set Inactive at {since}; the old key is not \
                 deleted until it has. Check that the vendor works"
            ),
            Waiting::Discard { key } => write!(
                f,
                "the key {key} was offered to no vendor, and is going to be deleted unless AWS records a use of it"
            ),
            Waiting::HeldWhileInactive { by, why } => write!(
                f,
                "held by {by}: {why}; no key is deleted meanwhile; keyround still checks whether the key that it set \
                 Inactive is needed, and sets it Active again if it is"
            ),
            Waiting::IncidentHeld { by, why } => write!(
                f,
                "incident declared by {by}: {why}; every key that the vendor was offered was set Inactive, and no new key is \
                 made or delivered before somebody resumes"
            ),
            Waiting::Offboarded { by, why, deletes_at } => write!(
                f,
                "offboarded by {by}: {why}; every key of the user was set Inactive, and is deleted from {deletes_at} on; until then \
                 `keyround reactivate` gives the vendor its keys back"
            ),
            Waiting::GivenBack => f.write_str("the keys that the vendor had were set Active again; they are looked at once more"),
            Waiting::Clock(doubt) => doubt.fmt(f),
            Waiting::Held { by, why } => write!(f, "held by {by}: {why}"),
        }
    }
}

fn for_days(days: u64) -> String {
    match days {
        0 => String::new(),
        1 => "for a day, ".to_owned(),
        days => format!("for {days} days, "),
    }
}

fn days_ago(days: u64) -> String {
    match days {
        0 => String::new(),
        1 => ", a day ago".to_owned(),
        days => format!(", {days} days ago"),
    }
}

/// How a rotation finished.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The vendor has the new key, and the old one, if there was one, is deleted.
    Done,
    /// An operator abandoned the rotation, or took an offboarding back.
    Abandoned,
    /// An exposed key was set Inactive, and not replaced.
    Cut,
    /// The vendor was offboarded, and its keys are deleted.
    Offboarded,
}

impl Ending {
    /// The name of the ending, as in the label of the metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Abandoned => "abandoned",
            Ending::Cut => "cut",
            Ending::Offboarded => "offboarded",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::rotation::event::EffectKind;

    fn key() -> AccessKeyId {
        "AKIAIOSFODNN7EXAMPLE".parse().expect("a key id")
    }

    fn said() -> String {
        "AWS said no".to_owned()
    }

    /// The waits, each with its code and a text that its sentence must contain.
    fn waits() -> [(Waiting, &'static str, &'static str); 16] {
        let reveal = |days| Waiting::Reveal { since: Timestamp::EPOCH, days };
        let hand_over = |days| Waiting::HandOver { revealed_at: Timestamp::EPOCH, days };
        let quiet = Waiting::Quiet { last_used_at: Timestamp::EPOCH, service: "s3".to_owned() };
        [
            (Waiting::Propagation, "propagation", "before anybody gets it"),
            (
                Waiting::Backoff { failures: 2, sentence: said() },
                "backoff",
                "AWS said no (2 in a row); no key is touched",
            ),
            (Waiting::Doubt, "unanswered_create", "CreateAccessKey got no answer"),
            (
                reveal(0),
                "awaiting_reveal",
                "to the vendor, since 1970-01-01T00:00:00Z; nobody was shown it yet",
            ),
            (reveal(1), "awaiting_reveal", "to the vendor, for a day, since 1970"),
            (reveal(3), "awaiting_reveal", "to the vendor, for 3 days, since 1970"),
            (hand_over(0), "awaiting_hand_over", "new key at 1970-01-01T00:00:00Z; no operator has"),
            (hand_over(2), "awaiting_hand_over", "new key at 1970-01-01T00:00:00Z, 2 days ago; no operator"),
            (Waiting::Soak, "soaking", "neither key is touched"),
            (Waiting::Use { old_used_at: None }, "awaiting_use", "the old key is not touched until it is"),
            (
                Waiting::Use { old_used_at: Some(Timestamp::EPOCH) },
                "awaiting_use",
                "was used at 1970-01-01T00:00:00Z, and the new one was used before that",
            ),
            (quiet, "awaiting_quiet", "last used at 1970-01-01T00:00:00Z for s3"),
            (Waiting::Window, "window_closed", "the old key is not touched until it opens"),
            (Waiting::Clock(ClockDoubt::Off { ahead_secs: 691_200 }), "clock", "8d ahead of AWS's; no key"),
            (Waiting::Cool, "cooling", "can be set Active again until it is deleted"),
            (
                Waiting::Held { by: "alex".to_owned(), why: "a freeze".to_owned() },
                "held",
                "by alex: a freeze",
            ),
        ]
    }

    /// The blockers, each with its code and the texts about what is safe and what to do.
    fn blockers() -> [(Blocker, &'static str, &'static str, &'static str); 11] {
        let failed = Blocker::Exhausted { doing: EffectKind::Deliver, sentence: said() };
        [
            (Blocker::OldKeyGone { key: key() }, "old_key_gone", "touches no key", "abandon"),
            (
                Blocker::OldKeyNotActive { key: key() },
                "old_key_not_active",
                "nothing was touched",
                "set it Active",
            ),
            (
                Blocker::NoFreeSlot { other: key() },
                "no_free_slot",
                "nothing was touched",
                "find out who uses it",
            ),
            (
                Blocker::UnknownKey { key: key() },
                "unknown_key",
                "nothing was touched",
                "find out who uses it",
            ),
            (Blocker::NewKeyGone { key: key() }, "new_key_gone", "touches no key", "abandon"),
            (
                Blocker::NewKeyNeverWorked { key: key() },
                "new_key_never_worked",
                "still has what it had",
                "abandon to discard",
            ),
            (
                Blocker::WrongIdentity { sentence: said() },
                "wrong_identity",
                "still has what it had",
                "check the accounts",
            ),
            (
                Blocker::VendorGone { sentence: said() },
                "vendor_gone",
                "no key was taken away",
                "mend the delivery",
            ),
            (
                Blocker::VendorKeepsOldKey { deliveries: 10 },
                "vendor_keeps_old_key",
                "no key was taken away",
                "ask the vendor",
            ),
            (
                Blocker::VendorWentBack { sentence: said() },
                "vendor_went_back",
                "the old key was set Active again",
                "ask the vendor",
            ),
            (failed, "exhausted", "no key was taken away", "mend the cause"),
        ]
    }

    #[test]
    fn each_wait_states_its_reason_code_and_end() {
        let at = Timestamp::EPOCH;
        for (wait, code, words) in waits() {
            assert_eq!(wait.code(), code);
            assert!(wait.to_string().contains(words), "{wait}");
            let is_for_hands = matches!(wait, Waiting::Reveal { .. } | Waiting::HandOver { .. });
            let (step, resume) = match is_for_hands {
                true => (String::new(), ""),
                false => (format!("; next step at {at}"), ", until an operator resumes it"),
            };
            assert_eq!(wait.until(at), format!("{wait}{step}"));
            assert_eq!(wait.until(Timestamp::NEVER), format!("{wait}{resume}"));
        }
    }

    #[test]
    fn each_blocker_states_its_safe_state_and_the_next_action() {
        let mut sentences = BTreeSet::new();
        for (blocker, code, safe, advice) in blockers() {
            assert_eq!(blocker.code(), code);
            let sentence = blocker.to_string();
            assert!(sentence.contains(safe) && sentence.contains(advice), "{sentence}");
            sentences.insert(sentence);
        }
        assert_eq!(sentences.len(), blockers().len());
    }

    #[test]
    fn an_exhausted_step_states_its_last_failure_and_the_safe_state() {
        for (doing, name, safe) in [
            (EffectKind::Deliver, "delivering the new key", "no key was taken away"),
            (EffectKind::Reactivate, "setting the old key Active again", "set it Active by hand at once"),
            (EffectKind::Delete, "deleting a key", "can still be set Active"),
        ] {
            let sentence = Blocker::Exhausted { doing, sentence: said() }.to_string();
            let begin = format!("{name} failed for days, last with: AWS said no; ");
            assert!(sentence.starts_with(&begin) && sentence.contains(safe), "{sentence}");
        }
    }

    #[test]
    fn each_ending_has_its_name() {
        assert_eq!(
            [Ending::Done, Ending::Abandoned, Ending::Cut].map(Ending::as_str),
            ["done", "abandoned", "cut"]
        );
    }
}
