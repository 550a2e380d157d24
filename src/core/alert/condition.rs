//! The conditions that an alert can be about: the names in `on = […]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of problem or event that an alert is about.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A key is due soon.
    Warning,
    /// A key is due for replacement.
    Due,
    /// A key has been due for too long, or has reached `inactive_by`, and keyround has not set it Inactive.
    Overdue,
    /// A step of a rotation has failed several times in a row.
    Failed,
    /// A person must act: a rotation cannot go on, or a user could not be reconciled.
    Stuck,
    /// The vendor went back to the old key or stopped answering, and the old key is set Active again.
    Reactivated,
    /// A problem has ended whose condition the sink's route does not include, so that the sink was not sent its alert.
    Recovered,
    /// A rotation has finished: the new key replaced the old one.
    Rotated,
    /// The account's root user has an access key.
    RootKey,
    /// The review of the accounts has a high or critical finding about a vendor's credentials.
    Audit,
    /// The journal cannot be read or written, or its content cannot be trusted.
    Journal,
    /// AWS did not answer for any user.
    Aws,
    /// The seal key, which encrypts the secrets in the journal, cannot be read or is not the one that sealed them.
    SealKey,
    /// A vendor's user has no Active access key, so the vendor cannot work.
    NoWorkingKey,
    /// A rotation has been on hold for a day or longer, by an operator's hold or by `enabled = false`. If the old key
    /// is Inactive, `enabled = false` raises the alert at once.
    Held,
    /// The clocks of this machine and of AWS differ by more than keyround accepts.
    Clock,
    /// A vendor holds, or may hold, the id of one key and the secret of another, and then cannot work.
    HalfWritten,
    /// AWS has quarantined a user, because a key of it is public.
    Exposed,
    /// A key that was declared exposed was used after that.
    UsedAfterIncident,
}

/// How severe a condition is, in the words of PagerDuty's events.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// For information only.
    Info,
    /// A person should look at it during working hours.
    Warning,
    /// A person must act.
    Error,
    /// A person must act now.
    Critical,
}

impl Severity {
    /// The severity as a word, such as `critical`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }
}

/// A group of conditions that can turn into each other. One user has at most one active alert for each topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Topic {
    Age,
    Rotation,
    Reactivated,
    News,
    RootKey,
    Audit,
    Journal,
    Aws,
    SealKey,
    NoWorkingKey,
    Held,
    Clock,
    HalfWritten,
    Exposed,
    UsedAfterIncident,
}

impl Topic {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Topic::Age => "age",
            Topic::Rotation => "rotation",
            Topic::Reactivated => "reactivated",
            Topic::News => "news",
            Topic::RootKey => "root-key",
            Topic::Audit => "audit",
            Topic::Journal => "journal",
            Topic::Aws => "aws",
            Topic::SealKey => "seal-key",
            Topic::NoWorkingKey => "no-working-key",
            Topic::Held => "held",
            Topic::Clock => "clock",
            Topic::HalfWritten => "half-written",
            Topic::Exposed => "exposed",
            Topic::UsedAfterIncident => "used-after-incident",
        }
    }
}

impl Condition {
    /// All conditions. Those of one topic are in the order in which they get worse.
    pub const ALL: [Condition; 19] = [
        Condition::Warning,
        Condition::Due,
        Condition::Overdue,
        Condition::Failed,
        Condition::Stuck,
        Condition::Reactivated,
        Condition::Recovered,
        Condition::Rotated,
        Condition::RootKey,
        Condition::Audit,
        Condition::Journal,
        Condition::Aws,
        Condition::SealKey,
        Condition::NoWorkingKey,
        Condition::Held,
        Condition::Clock,
        Condition::HalfWritten,
        Condition::Exposed,
        Condition::UsedAfterIncident,
    ];

    /// The conditions of a sink without `on`: all that a person must act on, except those that come from a review of
    /// the accounts. A review is made only if a sink asks for one of these.
    pub const DEFAULT: [Condition; 13] = [
        Condition::Overdue,
        Condition::Failed,
        Condition::Stuck,
        Condition::Reactivated,
        Condition::Journal,
        Condition::Aws,
        Condition::SealKey,
        Condition::NoWorkingKey,
        Condition::Held,
        Condition::Clock,
        Condition::HalfWritten,
        Condition::Exposed,
        Condition::UsedAfterIncident,
    ];

    /// The condition's name, as in `on = […]`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Warning => "warning",
            Condition::Due => "due",
            Condition::Overdue => "overdue",
            Condition::Failed => "failed",
            Condition::Stuck => "stuck",
            Condition::Reactivated => "reactivated",
            Condition::Recovered => "recovered",
            Condition::Rotated => "rotated",
            Condition::RootKey => "root-key",
            Condition::Audit => "audit",
            Condition::Journal => "journal",
            Condition::Aws => "aws",
            Condition::SealKey => "seal-key",
            Condition::NoWorkingKey => "no-working-key",
            Condition::Held => "held",
            Condition::Clock => "clock",
            Condition::HalfWritten => "half-written",
            Condition::Exposed => "exposed",
            Condition::UsedAfterIncident => "used-after-incident",
        }
    }

    /// How severe the condition is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Condition::Recovered | Condition::Rotated => Severity::Info,
            Condition::Warning
            | Condition::Due
            | Condition::Failed
            | Condition::Reactivated
            | Condition::Held => Severity::Warning,
            Condition::Overdue | Condition::Stuck | Condition::Audit | Condition::Aws => Severity::Error,
            Condition::RootKey
            | Condition::Journal
            | Condition::SealKey
            | Condition::NoWorkingKey
            | Condition::Clock
            | Condition::HalfWritten
            | Condition::Exposed
            | Condition::UsedAfterIncident => Severity::Critical,
        }
    }

    pub(super) fn topic(self) -> Topic {
        match self {
            Condition::Warning | Condition::Due | Condition::Overdue => Topic::Age,
            Condition::Failed | Condition::Stuck => Topic::Rotation,
            Condition::Reactivated => Topic::Reactivated,
            Condition::Recovered | Condition::Rotated => Topic::News,
            Condition::RootKey => Topic::RootKey,
            Condition::Audit => Topic::Audit,
            Condition::Journal => Topic::Journal,
            Condition::Aws => Topic::Aws,
            Condition::SealKey => Topic::SealKey,
            Condition::NoWorkingKey => Topic::NoWorkingKey,
            Condition::Held => Topic::Held,
            Condition::Clock => Topic::Clock,
            Condition::HalfWritten => Topic::HalfWritten,
            Condition::Exposed => Topic::Exposed,
            Condition::UsedAfterIncident => Topic::UsedAfterIncident,
        }
    }

    /// Whether a review of the accounts raises this condition, so that only a later review can resolve it.
    #[must_use]
    pub fn is_of_review(self) -> bool {
        matches!(self.topic(), Topic::RootKey | Topic::Audit)
    }

    /// Whether the end of this condition is a recovery. A key that becomes due is no problem yet: its rotation is on
    /// its way.
    pub(super) fn is_trouble(self) -> bool {
        match self {
            Condition::Warning | Condition::Due | Condition::Recovered | Condition::Rotated => false,
            Condition::Overdue
            | Condition::Failed
            | Condition::Stuck
            | Condition::Reactivated
            | Condition::RootKey
            | Condition::Audit
            | Condition::Journal
            | Condition::Aws
            | Condition::SealKey
            | Condition::NoWorkingKey
            | Condition::Held
            | Condition::Clock
            | Condition::HalfWritten
            | Condition::Exposed
            | Condition::UsedAfterIncident => true,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is not the name of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is not an alert condition")]
pub struct BadCondition;

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Condition, BadCondition> {
        Condition::ALL.into_iter().find(|condition| condition.as_str() == text).ok_or(BadCondition)
    }
}
