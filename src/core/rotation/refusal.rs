//! The two failures of a call: a refusal, which is certain, and a doubt. Both are stored, as events are, and keep
//! their form.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::rotation::pair::Halves;

/// A no: AWS or the vendor certainly did nothing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of no.
    pub code: RefusalCode,
    /// A sentence for people, without any secret and without the body of an answer; that stands in `said`.
    pub sentence: String,
    /// How long the other side asked to be left alone, from Retry-After.
    #[serde(
        rename = "retry_after_secs",
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_secs"
    )]
    pub retry_after: Option<Duration>,
    /// Of a delivery: nothing that could carry the new key left this program in this attempt. `false` where that is
    /// not certain, and in refusals of the first versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing_sent: bool,
    /// Of a delivery that writes id and secret in two requests: what the vendor holds after it, pair by pair.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Halves>,
    /// What the vendor answered, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<Said>>,
}

/// The kinds of no that the machine tells apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The rotator's own rights are missing.
    AccessDenied,
    /// There is no such IAM user.
    NoSuchUser,
    /// There is no such key.
    NoSuchKey,
    /// The user has two keys already.
    LimitExceeded,
    /// Too many calls.
    Throttled,
    /// The request never left: no connection, no credentials, a name that does not resolve.
    NotSent,
    /// The new key does not sign yet (or not any more).
    NotUsable,
    /// The new key signs as somebody else.
    WrongIdentity,
    /// The vendor answered, and not with acceptance.
    VendorRefused,
    /// The vendor said that this address is gone for good (410).
    VendorGone,
    /// The vendor was asked, and holds another key.
    NotInForce,
    /// This program could not build the request: a template, a secret reference, a setting.
    Misconfigured,
    /// The credentials lead to another AWS account than the one in which the rotation began. Nothing was sent.
    OtherAccount,
    /// AWS does not accept the date of the request: this machine's clock is wrong.
    Clock,
    /// Any other refusal by AWS.
    Other,
}

impl RefusalCode {
    /// Each of them.
    pub const ALL: [RefusalCode; 15] = [
        RefusalCode::AccessDenied,
        RefusalCode::NoSuchUser,
        RefusalCode::NoSuchKey,
        RefusalCode::LimitExceeded,
        RefusalCode::Throttled,
        RefusalCode::NotSent,
        RefusalCode::NotUsable,
        RefusalCode::WrongIdentity,
        RefusalCode::VendorRefused,
        RefusalCode::VendorGone,
        RefusalCode::NotInForce,
        RefusalCode::Misconfigured,
        RefusalCode::OtherAccount,
        RefusalCode::Clock,
        RefusalCode::Other,
    ];

    /// The code as it appears in logs, metrics and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalCode::AccessDenied => "access_denied",
            RefusalCode::NoSuchUser => "no_such_user",
            RefusalCode::NoSuchKey => "no_such_key",
            RefusalCode::LimitExceeded => "limit_exceeded",
            RefusalCode::Throttled => "throttled",
            RefusalCode::NotSent => "not_sent",
            RefusalCode::NotUsable => "not_usable",
            RefusalCode::WrongIdentity => "wrong_identity",
            RefusalCode::VendorRefused => "vendor_refused",
            RefusalCode::VendorGone => "vendor_gone",
            RefusalCode::NotInForce => "not_in_force",
            RefusalCode::Misconfigured => "misconfigured",
            RefusalCode::OtherAccount => "other_account",
            RefusalCode::Clock => "clock",
            RefusalCode::Other => "other",
        }
    }
}

/// Neither yes nor no: a time-out, a broken connection, an answer that cannot be believed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Doubt {
    /// A sentence for people, without any secret and without the body of an answer; that stands in `said`.
    pub sentence: String,
    /// How long the other side asked to be left alone, from Retry-After.
    #[serde(
        rename = "retry_after_secs",
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_secs"
    )]
    pub retry_after: Option<Duration>,
    /// Of a delivery that writes id and secret in two requests: what the vendor holds after it, pair by pair.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Halves>,
    /// What the vendor answered, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<Said>>,
}

impl Refusal {
    /// The sentence, and what the vendor said.
    #[must_use]
    pub fn in_words(&self) -> String {
        in_words(&self.sentence, self.said.as_deref())
    }
}

impl Doubt {
    /// The sentence, and what the vendor said.
    #[must_use]
    pub fn in_words(&self) -> String {
        in_words(&self.sentence, self.said.as_deref())
    }
}

fn in_words(sentence: &str, said: Option<&Said>) -> String {
    match said {
        // The status stands in the sentence.
        Some(Said { path: None, words: None, .. }) | None => sentence.to_owned(),
        Some(said) => format!("{sentence} ({said})"),
    }
}

/// A vendor's answer that was no acceptance, without any secret of the request.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The method of the request, such as `PUT`.
    pub method: String,
    /// The path of the request, without its query. `None` for a webhook, whose address may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The beginning of the body, at most 300 printable characters on one line. `None` where there is none, where the
    /// status is a success, for a question, and where the secrets of the request could not be cut out of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, &self.words) {
            (Some(path), Some(words)) => write!(f, "{} {path}: \"{words}\"", self.method),
            (Some(path), None) => write!(f, "{} {path}", self.method),
            (None, Some(words)) => write!(f, "\"{words}\""),
            (None, None) => write!(f, "{}", self.method),
        }
    }
}

mod optional_secs {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => to.serialize_some(&span.as_secs()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(from).map(|secs| secs.map(Duration::from_secs))
    }
}
