//! The names of things. Each kind of name has a type of its own, so that no function can be given the wrong one.
//!
//! **Invariant:** a value of one of these types has passed the check that the type documents. Code that holds one never
//! checks it again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::time::Timestamp;

/// A text that does not have the form that its kind of name requires.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not {kind}: {demand}")]
pub struct BadName {
    kind: &'static str,
    demand: &'static str,
    text: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $demand:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    Ok(Self(text.into()))
                } else {
                    let text = text.chars().take(80).collect();
                    Err(BadName { kind: $kind, demand: $demand, text })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The public half of an access key (`AKIA…`). Not a secret: it may be logged and shown.
    ///
    /// IAM's service model allows 16 to 128 word characters.
    AccessKeyId, "an access key id", "16 to 128 letters, digits or underscores",
    |text| (16..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

name! {
    /// The name of an IAM user, without its path.
    ///
    /// IAM's service model allows 1 to 64 word characters and `+=,.@-`.
    IamUserName, "an IAM user name", "1 to 64 letters, digits or any of _+=,.@-",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

name! {
    /// The name of a vendor, as in `[vendor.NAME]`. It becomes a metric label, and it appears in sentences.
    VendorName, "a vendor name", "1 to 64 letters, digits, - or _",
    is_word
}

name! {
    /// The name of an account, as in `[account.NAME]`.
    AccountName, "an account name", "1 to 64 letters, digits, - or _",
    is_word
}

name! {
    /// The name of an alert sink, as in `[alert.NAME]`.
    SinkName, "an alert name", "1 to 64 letters, digits, - or _",
    is_word
}

name! {
    /// The id of an AWS account: twelve digits.
    AccountId, "an AWS account id", "exactly twelve digits",
    |text| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The IAM user whose key is rotated, in the account that holds it.
///
/// The account is the name from the configuration; `None` is the account of the ambient credentials.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Subject {
    /// The vendor that was given this user's key.
    pub vendor: VendorName,
    /// The account's name in the configuration, `[account.NAME]`; `None`: the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// The vendor's own IAM user.
    pub iam_user: IamUserName,
}

/// An IAM user of an account, without its vendor: a vendor can be renamed in the configuration, and its user stays the
/// same.
pub type Who = (Option<AccountName>, IamUserName);

impl Subject {
    /// The account and the IAM user, without the vendor.
    #[must_use]
    pub fn who(&self) -> Who {
        (self.account.clone(), self.iam_user.clone())
    }
}

/// The id of one rotation of one key. Ids sort by the time at which the rotations began.
///
/// The id is computed from what is rotated and when that began, without random numbers: a start that is recorded twice
/// is the same rotation, and a simulation has the same ids each time.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RotationId(uuid::Uuid);

impl RotationId {
    /// The id of the rotation of the key `old` that begins at `at`.
    #[must_use]
    pub fn new(subject: &Subject, old: &AccessKeyId, at: Timestamp) -> RotationId {
        RotationId::of(subject, old.as_str(), at)
    }

    /// The id of a rotation that replaces no key.
    #[must_use]
    pub fn of_issue(subject: &Subject, at: Timestamp) -> RotationId {
        RotationId::of(subject, "", at)
    }

    fn of(subject: &Subject, old: &str, at: Timestamp) -> RotationId {
        let account = subject.account.as_ref().map_or("", AccountName::as_str);
        let what = format!("{account}/{}/{old}/{}", subject.iam_user, at.unix_seconds());
        let mut bytes = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, what.as_bytes()).into_bytes();
        // As in a UUIDv7, the first six bytes are the time in milliseconds, so that ids sort by time.
        let millis = at.unix_seconds().unsigned_abs() * 1000;
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        RotationId(uuid::Uuid::new_v8(bytes))
    }
}

impl FromStr for RotationId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        uuid::Uuid::parse_str(text).map(RotationId).map_err(|_| BadName {
            kind: "a rotation id",
            demand: "a UUID",
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for RotationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RotationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_identifiers_are_refused() {
        assert!("AKIAIOSFODNN7EXAMPLE".parse::<AccessKeyId>().is_ok());
        for bad in ["", "AKIA", "AKIAIOSFODNN7EXAMPL!", &"A".repeat(129)] {
            assert!(bad.parse::<AccessKeyId>().is_err(), "{bad}");
        }
        assert!("vendor+acme=eu,1.x@y-z".parse::<IamUserName>().is_ok());
        for bad in ["", "a/b", "a b", &"u".repeat(65)] {
            assert!(bad.parse::<IamUserName>().is_err(), "{bad}");
        }
        assert!("111122223333".parse::<AccountId>().is_ok());
        assert!("11112222333".parse::<AccountId>().is_err());
        assert!("a.b".parse::<VendorName>().is_err());
    }

    #[test]
    fn a_rotation_id_is_the_same_for_the_same_start_and_sorts_by_time() {
        let subject = Subject {
            vendor: "acme".parse().expect("a vendor"),
            account: None,
            iam_user: "vendor-acme".parse().expect("a user"),
        };
        let old = "AKIAIOSFODNN7EXAMPLE".parse().expect("a key id");
        let at = |seconds| RotationId::new(&subject, &old, Timestamp::from_unix(seconds));
        assert_eq!(at(1000), at(1000));
        assert!(at(1000) < at(1001));
        assert_eq!(at(1000).to_string().parse(), Ok(at(1000)));
    }
}
