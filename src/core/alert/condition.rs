//! The conditions that an alert can be about: the words of `on = […]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an alert is about.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A key is due before long.
    Warning,
    /// A key is to be replaced.
    Due,
    /// A key is due for too long.
    Overdue,
    /// A step of a rotation fails again and again.
    Failed,
    /// A person must look.
    Stuck,
    /// The vendor went back, and the old key was set Active again.
    Reactivated,
    /// Something that one was not told of is over.
    Recovered,
    /// A key was replaced.
    Rotated,
    /// The account's root user has an access key.
    RootKey,
    /// The review of the vendors' credentials found something.
    Audit,
    /// The journal cannot be read, written or believed.
    Journal,
    /// AWS does not answer.
    Aws,
    /// The key that seals the journal's secrets cannot be read, or is another one.
    SealKey,
    /// A vendor's user has no Active access key, so the vendor cannot work.
    NoWorkingKey,
    /// A rotation has been on hold for a day or longer, by a person or by `enabled = false`.
    Held,
    /// The clock of this machine and that of AWS differ by more than keyround accepts.
    Clock,
    /// A vendor holds the id of one key and the secret of another, and cannot work; or that may be so.
    HalfWritten,
}

/// How bad it is, in the words of PagerDuty's events.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Nice to know.
    Info,
    /// Something to look at in daylight.
    Warning,
    /// Something that a person must do.
    Error,
    /// Something that a person must do now.
    Critical,
}

impl Severity {
    /// The word.
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

/// What conditions can turn into each other. One user has one alert a topic.
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
        }
    }
}

impl Condition {
    /// Each of them. Those of one topic stand in the order in which they get worse.
    pub const ALL: [Condition; 17] = [
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
    ];

    /// What one is told of who does not say: all that a person must do something about, but for what takes a review
    /// of the accounts, which is made for those who ask for it.
    pub const DEFAULT: [Condition; 11] = [
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
    ];

    /// The word, as in `on = […]`.
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
        }
    }

    /// How bad it is.
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
            | Condition::HalfWritten => Severity::Critical,
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
        }
    }

    /// Whether a review of the accounts finds it, and only the next one finds it gone.
    #[must_use]
    pub fn is_of_review(self) -> bool {
        matches!(self.topic(), Topic::RootKey | Topic::Audit)
    }

    /// Whether the end of it is a recovery. A key that is due is only ever on its way.
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
            | Condition::HalfWritten => true,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is not an alert condition")]
pub struct BadCondition;

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Condition, BadCondition> {
        Condition::ALL.into_iter().find(|condition| condition.as_str() == text).ok_or(BadCondition)
    }
}
