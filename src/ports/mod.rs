//! The ports: what the engine needs from the outside, as traits that belong to their caller.
//!
//! **Invariant:** an adapter decides nothing, has no fallback, and never repeats a call that changes something. It
//! performs one operation within its deadline and distinguishes three results: done, [`Fault::Refused`] (certainly not
//! done) and [`Fault::Unknown`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::config::SecretRef;
use crate::config::settings::Place;
use crate::core::ids::{AccessKeyId, AccountId, AccountName, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::{
    AtVendor, Doubt, KeyMetadata, KeyStatus, KeyUsage, Refusal, RefusalCode, Verification,
};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;

mod alerting;
mod journal;
pub mod overview;
mod programs;
mod survey;
mod throttled;

pub use alerting::{
    ExposureMemory, FallbackStore, Heartbeat, KnownExposure, Reviewer, Route, Shown, Sink, SinkTransport,
};
pub use journal::{Entry, Journal, JournalError, KnownRotation, Recorded, SecretChange};
pub use programs::{Finished, Program, Programs};
pub use survey::{Scope, Survey, Surveys};
pub use throttled::{ServiceOperation, THROTTLED, ThrottledCalls};

/// Why a call of an adapter did not succeed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The requested change certainly did not happen.
    Refused(Refusal),
    /// The requested change may have happened, or not, or may still happen.
    Unknown(Doubt),
}

impl Fault {
    /// A refusal of this kind, with a sentence that holds no secret.
    #[must_use]
    pub fn refused(code: RefusalCode, sentence: impl Into<String>) -> Fault {
        Fault::Refused(Refusal {
            code,
            sentence: sentence.into(),
            retry_after: None,
            nothing_sent: false,
            pairs: Vec::new(),
            said: None,
        })
    }

    /// An unknown outcome, with a sentence that holds no secret.
    #[must_use]
    pub fn unknown(sentence: impl Into<String>) -> Fault {
        Fault::Unknown(Doubt { sentence: sentence.into(), retry_after: None, pairs: Vec::new(), said: None })
    }

    /// The sentence that says what went wrong.
    #[must_use]
    pub fn sentence(&self) -> &str {
        match self {
            Fault::Refused(refusal) => &refusal.sentence,
            Fault::Unknown(doubt) => &doubt.sentence,
        }
    }
}

/// The result of a call of an adapter.
pub type Answer<T> = Result<T, Fault>;

/// The clock, and waiting for a time. The clock of a simulation jumps instead.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> Timestamp;
    /// Returns when it is `until` or later, or earlier if the clock was set meanwhile.
    async fn sleep_until(&self, until: Timestamp);
    /// By how much the clock was set forward since it showed `at`, as far as this process could see. So much less time
    /// has really passed. A clock that cannot be set keeps the default.
    fn set_forward_since(&self, _at: Timestamp) -> Duration {
        Duration::ZERO
    }
    /// Whether sleeping moves the clock instead of taking time. Then no task may sleep while another one is at work.
    fn jumps(&self) -> bool {
        false
    }
}

/// A key that was just created. Its secret exists only here.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its AccessKeyId.
    pub id: AccessKeyId,
    /// Its secret access key.
    pub secret: Secret,
    /// The AWS request id.
    pub request_id: Option<String>,
}

/// The identity that signed a GetCallerIdentity request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Its ARN, such as `arn:aws:iam::111122223333:user/vendors/vendor-acme`.
    pub arn: String,
}

impl Identity {
    /// The name of the IAM user that signed; `None` if it was a role or the root user.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        let (_, path) = self.arn.split_once(":user/")?;
        path.rsplit('/').next()
    }

    /// Whether this IAM user signed. IAM user names do not differ by case alone.
    #[must_use]
    pub fn is_user(&self, name: &IamUserName) -> bool {
        self.user_name().is_some_and(|signer| signer.eq_ignore_ascii_case(name.as_str()))
    }
}

/// IAM and STS of one account. Each call has its own deadline: a minute, or forty seconds where it changes something. That
/// includes the wait while AWS throttles the account.
#[async_trait]
pub trait Iam: Send + Sync {
    /// The identity that keyround uses in this account. AWS is asked once, and the answer is cached.
    async fn caller(&self) -> Answer<Identity>;
    /// The account that these calls reach.
    async fn account_id(&self) -> Answer<AccountId> {
        Ok(self.caller().await?.account_id)
    }
    /// The present time at AWS: the `Date` of the newest answer from AWS itself, plus the time that passed since then
    /// on the monotonic clock. `None`: AWS has not answered in this process yet.
    fn aws_time(&self) -> Option<Timestamp>;
    /// As [`Iam::aws_time`], after one more request that changes nothing. A refusal by AWS has a date too.
    async fn ask_aws_time(&self) -> Option<Timestamp>;
    /// ListAccessKeys, all pages.
    async fn list_keys(&self, user: &IamUserName) -> Answer<Vec<KeyMetadata>>;
    /// CreateAccessKey, sent once and never retried.
    async fn create_key(&self, user: &IamUserName) -> Answer<NewKey>;
    /// UpdateAccessKey to Active or Inactive. Returns the request id.
    async fn set_status(
        &self,
        user: &IamUserName,
        key: &AccessKeyId,
        status: KeyStatus,
    ) -> Answer<Option<String>>;
    /// DeleteAccessKey. Returns the request id.
    async fn delete_key(&self, user: &IamUserName, key: &AccessKeyId) -> Answer<Option<String>>;
    /// GetAccessKeyLastUsed, and where the configuration asks for it also CloudTrail's `LookupEvents`, which names the
    /// caller. CloudTrail only adds details: if it does not answer, they are missing and the call succeeds all the
    /// same. A key that does not exist is [`KeyUsage::Gone`], not a refusal.
    async fn usage(&self, key: &AccessKeyId) -> Answer<KeyUsage>;
    /// GetAccessKeyLastUsed alone, for many keys at once: CloudTrail answers only two requests a second.
    async fn recorded_usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        self.usage(key).await
    }
    /// GetCallerIdentity, signed with this pair. If AWS does not accept the signature, the refusal is
    /// [`RefusalCode::NotUsable`].
    async fn identify(&self, key: &AccessKeyId, secret: &Secret) -> Answer<Identity>;
    /// ListUsers under a path, all pages.
    async fn users_under(&self, path: &str) -> Answer<Vec<IamUserName>>;
    /// `ListEntitiesForPolicy`, every page: the users that have this policy of AWS's own, by its name. A policy that does
    /// not exist in this partition has none.
    async fn users_with_policy(&self, policy: &str) -> Answer<Vec<IamUserName>> {
        Err(Fault::unknown(format!("this stand-in for AWS does not know who has {policy}")))
    }
    /// The IAM actions on this user that a rotation needs and that keyround's own policies do not allow; `None`:
    /// keyround has no permission to ask AWS.
    async fn missing_rights(&self, user: &IamUserName) -> Answer<Option<Vec<String>>>;
}

/// The accounts of the configuration.
pub trait Accounts: Send + Sync {
    /// IAM and STS of that account; `None` is the account of the ambient credentials.
    fn iam(&self, account: Option<&AccountName>) -> Arc<dyn Iam>;
    /// The present time at AWS, for each account that has answered in this process. The account `None` is that of the
    /// ambient credentials.
    fn aws_times(&self) -> Vec<(Option<AccountName>, Timestamp)> {
        Vec::new()
    }
}

/// A new key as it is offered to a vendor, without its secret access key. A repeated delivery sends the same offer:
/// only `now` differs between attempts.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The rotation that made the key.
    pub rotation: RotationId,
    /// The number of this delivery in the rotation, from 1. A verification has 0.
    pub round: u32,
    /// The vendor that receives the key, and its IAM user.
    pub subject: Subject,
    /// The user's account.
    pub account_id: AccountId,
    /// The new key's AccessKeyId.
    pub access_key_id: AccessKeyId,
    /// The AccessKeyId of the key that it replaces, if there is one.
    pub old_access_key_id: Option<AccessKeyId>,
    /// When the rotation's first delivery was intended, unless that one certainly sent nothing.
    pub offered_at: Timestamp,
    /// The old key, if there is one, stays Active at least until this time.
    pub old_valid_until: Timestamp,
    /// What the vendor holds, as far as the results of earlier attempts tell.
    pub at_vendor: AtVendor,
    /// The time of this attempt.
    pub now: Timestamp,
}

/// The result of one check before a delivery.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// What was checked, in one or two words.
    pub check: String,
    /// Whether the result is good. Also true for something that was not checked.
    pub ok: bool,
    /// Whether it was checked. If not, `sentence` says why.
    pub checked: bool,
    /// What was found, as a sentence.
    pub sentence: String,
}

impl Check {
    /// The result of a check: `Ok` with what was found, or `Err` with what is wrong.
    #[must_use]
    pub fn found(check: impl Into<String>, found: Result<String, String>) -> Check {
        let (ok, sentence) = match found {
            Ok(sentence) => (true, sentence),
            Err(sentence) => (false, sentence),
        };
        Check { check: check.into(), ok, checked: true, sentence }
    }

    /// Something that could not be checked, and why.
    #[must_use]
    pub fn not_checked(check: impl Into<String>, why: impl Into<String>) -> Check {
        Check { check: check.into(), ok: true, checked: false, sentence: why.into() }
    }
}

/// How one vendor is sent a key, and asked which key it has.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Performs all steps of the delivery, in order. The result is `Ok` only if the vendor accepted each of them.
    async fn deliver(&self, offer: &Offer, secret: &Secret) -> Answer<()>;
    /// Asks the vendor whether the offered key is in force. The refusal is [`RefusalCode::NotInForce`] if it names
    /// another key, and the result [`Verification::Acceptance`] if the vendor cannot be asked.
    async fn verify(&self, offer: &Offer) -> Answer<Verification>;
    /// Whether a delivery could be made: secrets can be read, templates render, hosts can be reached, and a preset's
    /// harmless request is answered. Changes nothing.
    async fn preflight(&self, offer: &Offer) -> Vec<Check>;
}

/// The vendors of the configuration, by name.
pub trait Vendors: Send + Sync {
    /// How that vendor is sent a key; `None` when it is not in the configuration.
    fn delivery(&self, vendor: &VendorName) -> Option<Arc<dyn Delivery>>;
}

/// Reads secrets from the places that the configuration refers to.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Reads the secret.
    ///
    /// # Errors
    ///
    /// A sentence that names the reference and what is wrong. It holds no part of the secret.
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, String>;
}

/// What a request to a vendor is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Purpose {
    /// The vendor, and the user whose key the request is about.
    pub subject: Subject,
    /// Which part of the vendor's recipe sends the request.
    pub part: RecipePart,
}

/// A part of a vendor's recipe: its delivery, verification, check or authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecipePart {
    /// A step of the delivery.
    Deliver {
        /// The number of the step, from 0.
        step: usize,
    },
    /// A step of the verification, which asks the vendor which key is in force.
    Verify {
        /// The number of the step, from 0.
        step: usize,
    },
    /// A request of the preflight. It changes nothing and shows whether the vendor accepts keyround's credentials.
    Probe {
        /// The number of the request, from 0.
        step: usize,
    },
    /// A request for a token that another request needs.
    Token,
}

/// A request to a vendor, ready to be sent. Any part of it may hold a secret, so it cannot be printed.
pub struct Request {
    /// The HTTP method, such as `POST`.
    pub method: String,
    /// The URL, checked by the caller: `https`, or `http` to this machine or where the configuration allows plain text.
    pub url: Secret,
    /// The headers; names are in lower case.
    pub headers: Vec<(String, Secret)>,
    /// The body, if there is one. It is always UTF-8 text.
    pub body: Option<Secret>,
    /// The time limit of the whole exchange.
    pub timeout: Duration,
}

/// A vendor's response, of bounded size. Its body may hold secrets.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers; names are in lower case. Headers that are not text are left out.
    pub headers: BTreeMap<String, String>,
    /// The body, cut off at the size limit.
    pub body: Secret,
}

impl Response {
    /// How long the server asks to wait before the next request. The header holds seconds or a date.
    #[must_use]
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.headers.get("retry-after")?.trim();
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Duration::from_secs);
        }
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        Some(Timestamp::from_unix(date.timestamp()).since(now))
    }
}

/// Sends requests to vendors: one request, no redirects, no retries.
#[async_trait]
pub trait Egress: Send + Sync {
    /// Sends the request. Every response with an HTTP status is `Ok`, whatever the status. A body that is too long or
    /// breaks off is cut there.
    async fn send(&self, purpose: &Purpose, request: Request) -> Answer<Response>;
    /// Whether a connection to the host and port of `url` can be made, TLS included. Sends no request.
    async fn reach(&self, url: &str, timeout: Duration) -> Answer<()>;
}

/// The content of a secret or parameter at AWS.
pub struct Stored {
    /// The whole text.
    pub text: Secret,
    /// How others refer to it.
    pub reference: Reference,
}

/// How others refer to a stored text. No part of it is secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reference {
    /// `secretsmanager` or `ssm`.
    pub service: &'static str,
    /// The ARN of the secret or the parameter.
    pub arn: String,
    /// The version of the secret or the parameter.
    pub version_id: String,
}

/// The secrets and parameters at AWS from which a vendor fetches its key pair.
#[async_trait]
pub trait SecretStores: Send + Sync {
    /// Reads the current text of this place. The result is a refusal if the place does not exist or holds no secret
    /// text.
    async fn read(&self, purpose: &Purpose, place: &Place) -> Answer<Stored>;
    /// Writes the text, once, and reads back that it is the current one. `token` has 32 to 64 letters, digits and
    /// dashes; in Secrets Manager, a repeated write with the same token makes no new version.
    async fn write(&self, purpose: &Purpose, place: &Place, text: &Secret, token: &str) -> Answer<Reference>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_arn_matches_by_its_last_part_regardless_of_case() {
        let is_acme = |arn: &str| {
            let identity =
                Identity { account_id: "111122223333".parse().expect("an account"), arn: arn.to_owned() };
            identity.is_user(&"acme".parse().expect("a name"))
        };
        assert!(is_acme("arn:aws:iam::111122223333:user/acme"));
        assert!(is_acme("arn:aws:iam::111122223333:user/Acme"));
        assert!(is_acme("arn:aws-cn:iam::111122223333:user/vendors/eu/acme"));
        assert!(!is_acme("arn:aws:iam::111122223333:user/acme/other"));
        assert!(!is_acme("arn:aws:iam::111122223333:user/not-acme"));
        assert!(!is_acme("arn:aws:sts::111122223333:assumed-role/acme/acme"));
        assert!(!is_acme("arn:aws:iam::111122223333:root"));
    }
}
