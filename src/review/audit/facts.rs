//! The facts about an account that the rules need.

use std::collections::BTreeSet;

use crate::core::ids::{AccessKeyId, AccountId, IamUserName};
use crate::core::rotation::KeyStatus;
use crate::core::time::Timestamp;
use crate::review::policy::{Document, Mistake};

/// The facts about one account, gathered once.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The account's id.
    pub account_id: AccountId,
    /// The ARN of the identity that gathered the facts.
    pub caller: String,
    /// The time at which they were gathered.
    pub at: Timestamp,
    /// The root user.
    pub root: Root,
    /// The users, sorted by name.
    pub users: Vec<User>,
    /// The roles, sorted by name. Service-linked roles belong to AWS and are left out.
    pub roles: Vec<Role>,
    /// The trails; `None`: they could not be read.
    pub trails: Option<Vec<Trail>>,
    /// What could not be read, and why.
    pub gaps: Vec<Gap>,
}

impl Facts {
    /// The partition of the account: `aws`, `aws-cn` or `aws-us-gov`.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.caller.split(':').nth(1).unwrap_or("aws")
    }

    /// The ARN of the account itself.
    #[must_use]
    pub fn account_arn(&self) -> String {
        format!("arn:{}:iam::{}:root", self.partition(), self.account_id)
    }

    /// The user with this name, if there is one.
    #[must_use]
    pub fn user(&self, name: &IamUserName) -> Option<&User> {
        // IAM compares user names without case.
        self.users.iter().find(|user| user.name.as_str().eq_ignore_ascii_case(name.as_str()))
    }
}

/// Something that the review could not read.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Gap {
    /// The name of what is missing, in a word or two.
    pub what: String,
    /// The reason, as a sentence.
    pub sentence: String,
}

/// The account's root user.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Root {
    /// Whether it has access keys; `None`: not known.
    pub has_keys: Option<bool>,
    /// The last time its password or one of its keys was used; `None`: never, or not known.
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
    /// When it was created.
    pub created_at: Timestamp,
    /// Its access to the console.
    pub console: Console,
    /// Its access keys.
    pub keys: Vec<Key>,
    /// Its own policies and those of its groups.
    pub policies: Vec<Attached>,
    /// Its permissions boundary, if it has one.
    pub boundary: Option<Attached>,
    /// The services that it may use, and their last use; `None`: not asked, or not answered.
    pub used: Option<Vec<ServiceUse>>,
}

/// A user's access to the console.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Console {
    /// Whether it has a password.
    pub password: bool,
    /// When the password was last used; `None`: never, or there is none.
    pub last_used_at: Option<Timestamp>,
    /// Whether it has an MFA device.
    pub mfa: bool,
}

/// An access key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// The `AccessKeyId`, its public half.
    pub id: AccessKeyId,
    /// Its status.
    pub status: KeyStatus,
    /// When it was created: `CreateDate`.
    pub created_at: Timestamp,
    /// Its last use; `None`: never.
    pub last_use: Option<Use>,
    /// Where its latest calls on record in CloudTrail came from; `None`: not asked.
    pub origins: Option<BTreeSet<Origin>>,
}

/// The last use of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Use {
    /// The time of the use.
    pub at: Timestamp,
    /// The service that was called, such as `s3`.
    pub service: Option<String>,
    /// The region of the call.
    pub region: Option<String>,
}

/// The origin of a call.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin {
    /// The source address that CloudTrail shows.
    pub address: String,
    /// The user agent that the caller sent.
    pub agent: String,
}

/// A policy that applies to a user or a role.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// How it applies: inline, attached, or by a group.
    pub via: AttachedBy,
    /// Its text, as JSON.
    pub text: String,
    /// The part of it that could be read; `None`: nothing.
    pub document: Option<Document>,
    /// The mistakes in its text.
    pub mistakes: Vec<Mistake>,
}

impl Attached {
    /// Parses the text of a policy.
    #[must_use]
    pub fn new(name: &str, via: AttachedBy, text: String) -> Attached {
        let (document, mistakes) = Document::read(&text);
        Attached { name: name.to_owned(), via, document, mistakes, text }
    }
}

/// How a policy applies to a user or a role.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AttachedBy {
    /// It is an inline policy of the user or the role.
    Inline,
    /// It is a managed policy that is attached.
    Managed {
        /// Its ARN.
        arn: String,
    },
    /// It belongs to a group of the user.
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
    /// Its trust policy, as far as it can be read.
    pub trust: Option<Document>,
    /// Its own policies.
    pub policies: Vec<Attached>,
    /// Its permissions boundary, if it has one.
    pub boundary: Option<Attached>,
    /// The services that it may use, and their last use; `None`: not asked, or not answered.
    pub used: Option<Vec<ServiceUse>>,
}

/// A service that a user or a role may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceUse {
    /// The service prefix, such as `s3`.
    pub service: String,
    /// When it was last used; `None`: not within the 400 days that AWS keeps.
    pub last_used_at: Option<Timestamp>,
    /// The actions for which AWS reports the last use separately, such as `PutObjectAcl`, each with that time.
    pub actions: Vec<(String, Option<Timestamp>)>,
}

/// A CloudTrail trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trail {
    /// Its ARN.
    pub arn: String,
    /// Whether it records every region.
    pub multi_region: bool,
    /// Whether log file validation is on, so that its files can be checked for changes.
    pub log_validation: bool,
    /// Whether it is logging; `None`: not known.
    pub logging: Option<bool>,
    /// The error of its latest delivery to its bucket, if it failed.
    pub delivery_error: Option<String>,
    /// Whether it records all management events; `None`: not known.
    pub management_events: Option<bool>,
}
