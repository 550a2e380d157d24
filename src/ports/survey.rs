//! The port to AWS accounts that a review reads.
//!
//! **Invariant:** a survey changes nothing, and its facts name what it could not read.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::core::ids::{AccountName, IamUserName};
use crate::core::time::Timestamp;
use crate::ports::Answer;
use crate::review::audit::Facts;

/// What a review reads of an account in addition to what every review reads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// The users whose keys are always listed. For other users the credential report decides, which does not show
    /// Inactive keys.
    pub users: BTreeSet<IamUserName>,
    /// Paths: every user under one of them counts as one of `users`.
    pub paths: BTreeSet<String>,
    /// The ARNs of the roles for which `usage` is read.
    pub roles: BTreeSet<String>,
    /// Whether AWS is asked what these users and roles have used. It takes some calls for each of them.
    pub usage: bool,
    /// Whether CloudTrail is asked from where the keys of these users are used. It takes one call for each key, two a
    /// second.
    pub origins: bool,
}

/// Reads an account for a review. Changes nothing.
#[async_trait]
pub trait Survey: Send + Sync {
    /// Reads the facts. Whatever could not be read is listed in them as a gap.
    async fn facts(&self, scope: &Scope, now: Timestamp) -> Answer<Facts>;
}

/// The accounts of the configuration, for reviews.
pub trait Surveys: Send + Sync {
    /// The survey of that account; `None` is the account of the ambient credentials.
    fn survey(&self, account: Option<&AccountName>) -> Arc<dyn Survey>;
}
