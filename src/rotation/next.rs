//! What the machine answers when it is asked what to do: act, wait, stuck, over.
//!
//! Each wait, blocker and ending has a code and a sentence. They are the same in logs, tables,
//! JSON and `explain`, because they are made here and nowhere else.

use std::fmt;

use crate::ids::AccessKeyId;
use crate::rotation::effect::Effect;
use crate::rotation::event::Doing;
use crate::time::Timestamp;

/// What to do now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Do this.
    Perform(Effect),
    /// Nothing, until then.
    Wait {
        /// When to ask again; [`Timestamp::NEVER`] when only a person can end the wait.
        until: Timestamp,
        /// What is waited for.
        why: Waiting,
    },
    /// Nothing, until a person has looked.
    Stuck(Blocker),
    /// It is over.
    Ended(Ending),
}

/// What a rotation waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Waiting {
    /// AWS to have heard of the new key everywhere.
    Propagation,
    /// The next attempt after a failure.
    Backoff {
        /// How often it failed in a row.
        failures: u32,
        /// The last failure, in words.
        sentence: String,
    },
    /// An unanswered CreateAccessKey to show in the listing, or not.
    Doubt,
    /// Both keys work; the plan wants them to for some time.
    Soak,
    /// The new key has not been seen in use.
    Use,
    /// The old key has been in use too lately.
    Quiet {
        /// Its recorded last use.
        last_used_at: Timestamp,
        /// The AWS service that was called.
        service: String,
    },
    /// The vendor's window is closed.
    Window,
    /// The old key is Inactive, for its time, and can be brought back.
    Cool,
    /// A person said: wait.
    Held {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
}

impl Waiting {
    /// The reason code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Waiting::Propagation => "propagation",
            Waiting::Backoff { .. } => "backoff",
            Waiting::Doubt => "unanswered_create",
            Waiting::Soak => "soaking",
            Waiting::Use => "awaiting_use",
            Waiting::Quiet { .. } => "awaiting_quiet",
            Waiting::Window => "window_closed",
            Waiting::Cool => "cooling",
            Waiting::Held { .. } => "held",
        }
    }

    /// The sentence, with when it ends.
    #[must_use]
    pub fn until(&self, until: Timestamp) -> String {
        match until {
            Timestamp::NEVER => format!("{self}, until somebody resumes it"),
            until => format!("{self}; next step at {until}"),
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
            Waiting::Soak => f.write_str("the vendor has the new key; both keys stay Active while it soaks"),
            Waiting::Use => f.write_str("the new key has not been seen in use yet; the old key stays Active until it is"),
            Waiting::Quiet { last_used_at, service } => write!(
                f,
                "the old key was last used at {last_used_at} for {service}; it stays Active until it has been quiet for long enough"
            ),
            Waiting::Window => f.write_str("the vendor's window is closed; the old key stays Active until it opens"),
            Waiting::Cool => f.write_str("the old key is Inactive and can be set Active again until it is deleted"),
            Waiting::Held { by, why } => write!(f, "held by {by}: {why}"),
        }
    }
}

/// What only a person can resolve. Nothing is taken away while it lasts.
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
    /// The user has a second key that is not ours.
    NoFreeSlot {
        /// That key.
        other: AccessKeyId,
    },
    /// A key turned up where ours may have been made, and somebody uses it.
    UnknownKey {
        /// That key.
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
    /// The new key signs as somebody else.
    WrongIdentity {
        /// What was expected and seen.
        sentence: String,
    },
    /// The vendor's address is gone for good (410).
    VendorGone {
        /// What was said.
        sentence: String,
    },
    /// The vendor accepts deliveries and goes on with the old key.
    VendorKeepsOldKey {
        /// How many deliveries it accepted.
        deliveries: u32,
    },
    /// The vendor had the new key, and went back or fell silent each time the old one was taken away.
    VendorWentBack {
        /// What it said.
        sentence: String,
    },
    /// The same thing failed for days.
    Exhausted {
        /// What was tried.
        doing: Doing,
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
            Blocker::UnknownKey { .. } => "unknown_key",
            Blocker::NewKeyGone { .. } => "new_key_gone",
            Blocker::NewKeyNotActive { .. } => "new_key_not_active",
            Blocker::NewKeyNeverWorked { .. } => "new_key_never_worked",
            Blocker::WrongIdentity { .. } => "wrong_identity",
            Blocker::VendorGone { .. } => "vendor_gone",
            Blocker::VendorKeepsOldKey { .. } => "vendor_keeps_old_key",
            Blocker::VendorWentBack { .. } => "vendor_went_back",
            Blocker::Exhausted { .. } => "exhausted",
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocker::OldKeyGone { key } => write!(
                f,
                "the old key {key} does not exist any more: somebody deleted it; nothing was touched; abandon this rotation"
            ),
            Blocker::OldKeyNotActive { key } => write!(
                f,
                "the old key {key} is not Active: somebody switched it off; nothing was touched; set it Active and resume, or abandon"
            ),
            Blocker::NoFreeSlot { other } => write!(
                f,
                "the user has a second access key, {other}, that this journal does not know; nothing was touched; \
                 find out whose it is, delete it if it is nobody's"
            ),
            Blocker::UnknownKey { key } => write!(
                f,
                "the key {key} was made while our own CreateAccessKey had no answer, and somebody uses it; nothing was \
                 touched; find out whose it is, then resume or abandon"
            ),
            Blocker::NewKeyGone { key } => write!(
                f,
                "the new key {key} was deleted by somebody else; the old key was not touched; abandon this rotation \
                 and check that the vendor works"
            ),
            Blocker::NewKeyNotActive { key } => write!(
                f,
                "the new key {key} is not Active: somebody switched it off; the old key was not touched; set the new \
                 one Active and resume, or abandon"
            ),
            Blocker::NewKeyNeverWorked { key } => write!(
                f,
                "AWS never accepted the new key {key}; the vendor was not offered it and still has the old one; resume, \
                 or abandon to discard the new key"
            ),
            Blocker::WrongIdentity { sentence } => write!(
                f,
                "{sentence}; the vendor was not offered the new key and still has the old one; check the accounts in \
                 the configuration, then abandon"
            ),
            Blocker::VendorGone { sentence } => write!(
                f,
                "{sentence}; both keys are Active, so whichever the vendor has works; mend the delivery in the \
                 configuration, then resume"
            ),
            Blocker::VendorKeepsOldKey { deliveries } => write!(
                f,
                "the vendor accepted {deliveries} deliveries and still says that another key is in force; both keys \
                 are Active; ask the vendor, then resume"
            ),
            Blocker::VendorWentBack { sentence } => write!(
                f,
                "the vendor was in trouble each time the old key was Inactive: {sentence}; the old key is Active \
                 again; ask the vendor, then resume or abandon"
            ),
            Blocker::Exhausted { doing, sentence } => write!(
                f,
                "{} failed for days, last with: {sentence}; {}; mend the cause, then resume",
                doing.in_words(),
                safe_after(*doing)
            ),
        }
    }
}

/// What can be relied on when this failed for days.
fn safe_after(doing: Doing) -> &'static str {
    match doing {
        Doing::Create | Doing::Probe | Doing::Deliver | Doing::ReadUsage => "no key was taken away",
        Doing::List | Doing::Verify | Doing::Deactivate => "no key was deleted",
        Doing::Reactivate => {
            "the old key may still be Inactive, and the vendor may need it: set it Active by hand at once"
        }
        Doing::Delete => "the key is Inactive and can still be set Active",
    }
}

/// How a rotation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The vendor has the new key and the old one is deleted.
    Done,
    /// A person gave it up.
    Abandoned,
}

impl Ending {
    /// The word for it, as in the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Abandoned => "abandoned",
        }
    }
}
