//! What is so in an account, as far as the rules need to know it.

use std::collections::BTreeSet;

use crate::core::ids::{AccessKeyId, AccountId, IamUserName};
use crate::core::rotation::KeyStatus;
use crate::core::time::Timestamp;
use crate::review::policy::{Document, Mistake};

/// All of it, gathered once.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The account.
    pub account_id: AccountId,
    /// Who gathered them, as an ARN.
    pub caller: String,
    /// When.
    pub at: Timestamp,
    /// Root.
    pub root: Root,
    /// The users, by name.
    pub users: Vec<User>,
    /// The roles, by name; service-linked ones are AWS's own, and are left out.
    pub roles: Vec<Role>,
    /// The trails; `None`: they could not be read.
    pub trails: Option<Vec<Trail>>,
    /// What could not be read, and why.
    pub gaps: Vec<Gap>,
}

impl Facts {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.caller.split(':').nth(1).unwrap_or("aws")
    }

    /// The account itself, as an ARN.
    #[must_use]
    pub fn account_arn(&self) -> String {
        format!("arn:{}:iam::{}:root", self.partition(), self.account_id)
    }

    /// A user, by its name.
    #[must_use]
    pub fn user(&self, name: &IamUserName) -> Option<&User> {
        // Names of users are the same in any case.
        self.users.iter().find(|user| user.name.as_str().eq_ignore_ascii_case(name.as_str()))
    }
}

/// Something that could not be read.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Gap {
    /// What, in a word or two.
    pub what: String,
    /// Why, as a sentence.
    pub sentence: String,
}

/// The account's root.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Root {
    /// Whether it has access keys; `None`: not known.
    pub has_keys: Option<bool>,
    /// When its password or a key of it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// An IAM user.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: IamUserName,
    /// Its ARN, with its path.
    pub arn: String,
    /// Its path, such as `/vendors/acme/`.
    pub path: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its console password.
    pub console: Console,
    /// Its keys.
    pub keys: Vec<Key>,
    /// What it may do: its own policies and those of its groups.
    pub policies: Vec<Attached>,
    /// What limits its rights, if there is a permissions boundary.
    pub boundary: Option<Attached>,
    /// What it has used; `None`: not asked, or not answered.
    pub used: Option<Vec<ServiceUse>>,
}

/// A user's way into the console.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Console {
    /// Whether it has a password.
    pub password: bool,
    /// When that was last used.
    pub last_used_at: Option<Timestamp>,
    /// Whether it has a second factor.
    pub mfa: bool,
}

/// An access key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Its public half.
    pub id: AccessKeyId,
    /// Its status.
    pub status: KeyStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its last use; `None`: never.
    pub last_use: Option<Use>,
    /// From where it was used lately; `None`: not asked.
    pub origins: Option<BTreeSet<Origin>>,
}

/// The last use of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Use {
    /// When.
    pub at: Timestamp,
    /// Of which service, such as `s3`.
    pub service: Option<String>,
    /// Where.
    pub region: Option<String>,
}

/// Where a call came from.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// The address that CloudTrail shows.
    pub address: String,
    /// The program, as it called itself.
    pub agent: String,
}

/// A policy that somebody has.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// How it came to be there.
    pub via: Via,
    /// Its text.
    pub text: String,
    /// What can be read of it.
    pub document: Option<Document>,
    /// What cannot.
    pub mistakes: Vec<Mistake>,
}

impl Attached {
    /// Reads the text.
    #[must_use]
    pub fn new(name: &str, via: Via, text: String) -> Attached {
        let (document, mistakes) = Document::read(&text);
        Attached { name: name.to_owned(), via, document, mistakes, text }
    }
}

/// How a policy came to somebody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Via {
    /// It is written into the user or the role.
    Inline,
    /// It is attached.
    Managed {
        /// Its ARN.
        arn: String,
    },
    /// It comes with a group.
    Group {
        /// The group's name.
        group: String,
    },
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Whom it lets in, as far as that can be read.
    pub trust: Option<Document>,
    /// What it may do.
    pub policies: Vec<Attached>,
    /// What limits its rights, if there is a permissions boundary.
    pub boundary: Option<Attached>,
    /// What it has used; `None`: not asked, or not answered.
    pub used: Option<Vec<ServiceUse>>,
}

/// A service that somebody may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceUse {
    /// Such as `s3`.
    pub service: String,
    /// When it was last used; `None`: not within the 400 days that AWS remembers.
    pub last_used_at: Option<Timestamp>,
    /// The actions that AWS keeps apart, such as `PutObjectAcl`, and when each was last used.
    pub actions: Vec<(String, Option<Timestamp>)>,
}

/// A trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trail {
    /// Its ARN.
    pub arn: String,
    /// Whether it records every region.
    pub multi_region: bool,
    /// Whether its files can be checked for changes.
    pub log_validation: bool,
    /// Whether it is switched on; `None`: not known.
    pub logging: Option<bool>,
    /// What kept it from writing to its bucket.
    pub delivery_error: Option<String>,
    /// Whether it records every management event; `None`: not known.
    pub management_events: Option<bool>,
}
