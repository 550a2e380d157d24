//! The two ways in which a call can fail: a refusal, whose outcome is certain, and a doubt, whose outcome is unknown.
//! Both are stored in events, so their stored form does not change.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::rotation::pair::Halves;

/// A refusal: AWS or the vendor certainly did nothing, except what `pairs` says of a delivery in two requests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kind of refusal.
    pub code: RefusalCode,
    /// A sentence for people. It contains no secret and no response body; the body is in `said`.
    pub sentence: String,
    /// How long the other side asked to wait, from its `Retry-After` header.
    #[serde(
        rename = "retry_after_secs",
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_secs"
    )]
    pub retry_after: Option<Duration>,
    /// For a delivery: nothing that could contain the new key left this program in this attempt. `false` if that is not
    /// certain, and in refusals of the first versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing_sent: bool,
    /// For a delivery that writes id and secret in two requests: what the vendor holds after it, pair by pair.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Halves>,
    /// The vendor's response, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<VendorAnswer>>,
}

/// The kinds of refusal that the machine tells apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The rotator lacks a permission.
    AccessDenied,
    /// There is no such IAM user.
    NoSuchUser,
    /// There is no such key.
    NoSuchKey,
    /// The user already has two keys.
    LimitExceeded,
    /// There were too many requests.
    Throttled,
    /// The request was never sent: no connection, no credentials, or a name that does not resolve.
    NotSent,
    /// AWS does not accept the new key yet, or not any more.
    NotUsable,
    /// AWS says that the new key belongs to another identity than expected.
    WrongIdentity,
    /// The vendor answered, and did not accept.
    VendorRefused,
    /// The vendor answered that this address is gone for good (HTTP 410).
    VendorGone,
    /// The vendor was asked which key is in force, and named another one.
    NotInForce,
    /// keyround could not build the request: a template, a secret reference or a setting is wrong.
    Misconfigured,
    /// The credentials lead to another AWS account than the one in which the rotation began. Nothing was sent.
    OtherAccount,
    /// AWS does not accept the date of the request: this machine's clock is wrong.
    Clock,
    /// Any other refusal by AWS.
    Other,
}

impl RefusalCode {
    /// All codes.
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

/// An unknown outcome: a time-out, a broken connection, or a response that cannot be believed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Doubt {
    /// A sentence for people. It contains no secret and no response body; the body is in `said`.
    pub sentence: String,
    /// How long the other side asked to wait, from its `Retry-After` header.
    #[serde(
        rename = "retry_after_secs",
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_secs"
    )]
    pub retry_after: Option<Duration>,
    /// For a delivery that writes id and secret in two requests: what the vendor holds after it, pair by pair.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Halves>,
    /// The vendor's response, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<VendorAnswer>>,
}

impl Refusal {
    /// The sentence, followed by the vendor's response.
    #[must_use]
    pub fn in_words(&self) -> String {
        in_words(&self.sentence, self.said.as_deref())
    }
}

impl Doubt {
    /// The sentence, followed by the vendor's response.
    #[must_use]
    pub fn in_words(&self) -> String {
        in_words(&self.sentence, self.said.as_deref())
    }
}

fn in_words(sentence: &str, said: Option<&VendorAnswer>) -> String {
    match said {
        // The sentence contains the status already.
        Some(VendorAnswer { path: None, words: None, .. }) | None => sentence.to_owned(),
        Some(said) => format!("{sentence} ({said})"),
    }
}

/// A vendor's response that is not an acceptance. It contains no secret of the request.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VendorAnswer {
    /// The method of the request, such as `PUT`.
    pub method: String,
    /// The path of the request, without its query. `None` for a webhook, whose address may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The HTTP status of the response.
    pub status: u16,
    /// The beginning of the body, at most 300 printable characters on one line. `None` if there is no body, if the
    /// status is a success, if the request was a question, or if the secrets of the request could not be cut out of the
    /// body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

impl fmt::Display for VendorAnswer {
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
