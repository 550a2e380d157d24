//! Accounts that are read for a review.
//!
//! **Invariant:** a survey changes nothing, and what it could not read is in its facts.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::core::ids::{AccountName, IamUserName};
use crate::core::time::Timestamp;
use crate::ports::Answer;
use crate::review::audit::Facts;

/// What a review reads of an account, beyond what every review reads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// The users whose keys are listed whatever the credential report says: Inactive keys are not in it.
    pub users: BTreeSet<IamUserName>,
    /// The paths under which every user is one of those.
    pub paths: BTreeSet<String>,
    /// The roles, by ARN, that are asked like those users.
    pub roles: BTreeSet<String>,
    /// Whether AWS is asked what these users and roles have used: some calls for each of them.
    pub usage: bool,
    /// Whether CloudTrail is asked from where their keys are used: a call for each key, two a second.
    pub origins: bool,
}

/// Reads an account for a review. Changes nothing.
#[async_trait]
pub trait Survey: Send + Sync {
    /// The facts. What may be missing is a gap in them.
    async fn facts(&self, scope: &Scope, now: Timestamp) -> Answer<Facts>;
}

/// The accounts of the configuration, for reviews.
pub trait Surveys: Send + Sync {
    /// The survey of that account; `None` is the account of the ambient credentials.
    fn survey(&self, account: Option<&AccountName>) -> Arc<dyn Survey>;
}
