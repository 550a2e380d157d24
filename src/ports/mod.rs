//! The ports: what the driver asks of the world, as traits owned by their caller.
//!
//! **Invariant:** an adapter decides nothing, retries nothing and has no fallback. It performs one
//! call within its deadline and tells three answers apart: done, [`Fault::Refused`] (certainly not
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

pub use alerting::{FallbackStore, Heartbeat, Reviewer, Route, Shown, Sink, SinkTransport};
pub use journal::{Entry, Journal, JournalError, Known, Recorded, SecretChange};
pub use programs::{Finished, Program, Programs};
pub use survey::{Scope, Survey, Surveys};

/// Not a yes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It certainly did not happen.
    Refused(Refusal),
    /// It may have happened, or not, or may happen yet.
    Unknown(Doubt),
}

impl Fault {
    /// A refusal of this kind, in words that hold no secret.
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

    /// A doubt, in words that hold no secret.
    #[must_use]
    pub fn unknown(sentence: impl Into<String>) -> Fault {
        Fault::Unknown(Doubt { sentence: sentence.into(), retry_after: None, pairs: Vec::new(), said: None })
    }

    /// The words.
    #[must_use]
    pub fn sentence(&self) -> &str {
        match self {
            Fault::Refused(refusal) => &refusal.sentence,
            Fault::Unknown(doubt) => &doubt.sentence,
        }
    }
}

/// What an adapter answers.
pub type Answer<T> = Result<T, Fault>;

/// The clock, and waiting on it. A simulation's clock jumps.
#[async_trait]
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;
    /// Returns when it is `until` or later, or when the clock was set meanwhile.
    async fn sleep_until(&self, until: Timestamp);
    /// How far the clock was set forward since it showed `at`, as far as this process could see: that much of what
    /// seems to have passed did not pass. A clock that nobody can set keeps the default.
    fn set_forward_since(&self, _at: Timestamp) -> Duration {
        Duration::ZERO
    }
    /// Whether sleeping moves the clock instead of taking time, so that nobody may sleep while
    /// somebody else is at work.
    fn jumps(&self) -> bool {
        false
    }
}

/// A key that was just made. Its secret exists here and nowhere else.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The public half.
    pub id: AccessKeyId,
    /// The secret half.
    pub secret: Secret,
    /// The AWS request id.
    pub request_id: Option<String>,
}

/// Who signed a GetCallerIdentity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The account.
    pub account_id: AccountId,
    /// Such as `arn:aws:iam::111122223333:user/vendors/vendor-acme`.
    pub arn: String,
}

impl Identity {
    /// The name of the IAM user that signed; `None`: it was a role, or the root user.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        let (_, path) = self.arn.split_once(":user/")?;
        path.rsplit('/').next()
    }

    /// Whether this IAM user signed. IAM does not tell names apart by upper and lower case.
    #[must_use]
    pub fn is_user(&self, name: &IamUserName) -> bool {
        self.user_name().is_some_and(|signer| signer.eq_ignore_ascii_case(name.as_str()))
    }
}

/// IAM and STS of one account. Each call has a deadline of its own, well under a minute.
#[async_trait]
pub trait Iam: Send + Sync {
    /// Who the rotator is here: asked of AWS once, and remembered.
    async fn caller(&self) -> Answer<Identity>;
    /// The account this speaks to.
    async fn account_id(&self) -> Answer<AccountId> {
        Ok(self.caller().await?.account_id)
    }
    /// What time it is at AWS: the `Date` of the newest answer that AWS itself gave, and what passed since then on a
    /// clock that nobody can set. `None`: AWS did not answer in this process yet.
    fn aws_time(&self) -> Option<Timestamp>;
    /// The same, after one more question that changes nothing. AWS's refusal has a date, too.
    async fn ask_aws_time(&self) -> Option<Timestamp>;
    /// ListAccessKeys, every page.
    async fn list_keys(&self, user: &IamUserName) -> Answer<Vec<KeyMetadata>>;
    /// CreateAccessKey, sent once.
    async fn create_key(&self, user: &IamUserName) -> Answer<NewKey>;
    /// UpdateAccessKey to Active or Inactive. Gives the request id.
    async fn set_status(
        &self,
        user: &IamUserName,
        key: &AccessKeyId,
        status: KeyStatus,
    ) -> Answer<Option<String>>;
    /// DeleteAccessKey. Gives the request id.
    async fn delete_key(&self, user: &IamUserName, key: &AccessKeyId) -> Answer<Option<String>>;
    /// GetAccessKeyLastUsed, and who it was by CloudTrail's `LookupEvents` where the configuration says so. CloudTrail
    /// only adds: what it does not answer is missing in the answer, and fails nothing. A key that does not exist is
    /// [`KeyUsage::Gone`], not a refusal.
    async fn usage(&self, key: &AccessKeyId) -> Answer<KeyUsage>;
    /// GetAccessKeyLastUsed alone, for a look at many keys: CloudTrail answers two questions a second.
    async fn recorded_usage(&self, key: &AccessKeyId) -> Answer<KeyUsage> {
        self.usage(key).await
    }
    /// GetCallerIdentity, signed with this pair. A pair that does not sign is [`RefusalCode::NotUsable`].
    async fn identify(&self, key: &AccessKeyId, secret: &Secret) -> Answer<Identity>;
    /// `ListUsers` under a path, every page.
    async fn users_under(&self, path: &str) -> Answer<Vec<IamUserName>>;
    /// Which of the IAM actions on this user that a rotation needs the rotator lacks; `None`: it may not ask AWS.
    async fn missing_rights(&self, user: &IamUserName) -> Answer<Option<Vec<String>>>;
}

/// The accounts of the configuration.
pub trait Accounts: Send + Sync {
    /// IAM of that account; `None` is the account of the ambient credentials.
    fn iam(&self, account: Option<&AccountName>) -> Arc<dyn Iam>;
    /// What time it is at AWS, by each account that has answered in this process; `None` is the account of the ambient
    /// credentials.
    fn aws_times(&self) -> Vec<(Option<AccountName>, Timestamp)> {
        Vec::new()
    }
}

/// A new key as it is offered to a vendor, without its secret half. The same offer is the same message: nothing in it
/// changes from one attempt to the next but `now`.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Which rotation.
    pub rotation: RotationId,
    /// Which delivery of it, from 1.
    pub round: u32,
    /// To whom, for which user.
    pub subject: Subject,
    /// The user's account.
    pub account_id: AccountId,
    /// The new key's public half.
    pub access_key_id: AccessKeyId,
    /// The key it replaces.
    pub old_access_key_id: AccessKeyId,
    /// When this delivery was first intended.
    pub offered_at: Timestamp,
    /// The old key works at least until then.
    pub old_valid_until: Timestamp,
    /// What the vendor holds, as far as earlier attempts tell.
    pub at_vendor: AtVendor,
    /// The time of this attempt.
    pub now: Timestamp,
}

/// One finding of a preflight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// What was checked, in a word or two.
    pub check: String,
    /// Whether it is as it should be. Also true for what was not checked.
    pub ok: bool,
    /// Whether it was looked at; if not, the sentence says why.
    pub checked: bool,
    /// What was found.
    pub sentence: String,
}

impl Check {
    /// What was found, or why it is not as it should be.
    #[must_use]
    pub fn found(check: impl Into<String>, found: Result<String, String>) -> Check {
        let (ok, sentence) = match found {
            Ok(sentence) => (true, sentence),
            Err(sentence) => (false, sentence),
        };
        Check { check: check.into(), ok, checked: true, sentence }
    }

    /// Something that could not be looked at, and why.
    #[must_use]
    pub fn not_checked(check: impl Into<String>, why: impl Into<String>) -> Check {
        Check { check: check.into(), ok: true, checked: false, sentence: why.into() }
    }
}

/// One vendor's own ways: how it is given a key, and asked which one it has.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// All steps, in order. Happened only when every one was accepted.
    async fn deliver(&self, offer: &Offer, secret: &Secret) -> Answer<()>;
    /// Whether the vendor says that the offered key is in force. [`RefusalCode::NotInForce`] when it names another one.
    async fn verify(&self, offer: &Offer) -> Answer<Verification>;
    /// Whether a delivery could be made: secrets resolve, templates render, hosts are reached, and a preset's harmless
    /// question is answered. Nothing is changed.
    async fn preflight(&self, offer: &Offer) -> Vec<Check>;
}

/// The vendors of the configuration.
pub trait Vendors: Send + Sync {
    /// That vendor's ways; `None` when it is not in the configuration.
    fn delivery(&self, vendor: &VendorName) -> Option<Arc<dyn Delivery>>;
}

/// Reads secrets where they are referred to.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The secret itself.
    ///
    /// # Errors
    ///
    /// A sentence that names the reference and what is wrong, and nothing of the value.
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, String>;
}

/// What a request to a vendor is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Purpose {
    /// Whose key it is about.
    pub subject: Subject,
    /// Which part of the vendor's ways it is.
    pub part: RecipePart,
}

/// Which part of a vendor's ways a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecipePart {
    /// A step of the delivery, counted from 0.
    Deliver {
        /// Which.
        step: usize,
    },
    /// A step of the question which key is in force, counted from 0.
    Verify {
        /// Which.
        step: usize,
    },
    /// A request that changes nothing and shows whether the vendor knows us, counted from 0.
    Probe {
        /// Which.
        step: usize,
    },
    /// A token that another request needs.
    Token,
}

/// A request to a vendor, ready to be sent. All of it may hold secrets, so none of it is printable.
pub struct Request {
    /// Such as `POST`.
    pub method: String,
    /// Where to: `https`, or plain to loopback, checked.
    pub url: Secret,
    /// Lower-case names.
    pub headers: Vec<(String, Secret)>,
    /// The body's bytes are UTF-8: all that we send is text.
    pub body: Option<Secret>,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

/// A vendor's answer, bounded. Its body may hold secrets.
pub struct Response {
    /// The status.
    pub status: u16,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    /// The body, up to the bound.
    pub body: Secret,
}

impl Response {
    /// How long the other side asks to be left alone: in seconds, or until a date.
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

/// The way out to vendors: one request, no redirects, no retries.
#[async_trait]
pub trait Egress: Send + Sync {
    /// Sends it. Any answer with a status, whichever, is `Ok`; a body that is too long or breaks off is cut.
    async fn send(&self, purpose: &Purpose, request: Request) -> Answer<Response>;
    /// Whether that host and port can be connected to, TLS included. Nothing is asked of it.
    async fn reach(&self, url: &str, timeout: Duration) -> Answer<()>;
}

/// What stands at a drop-off.
pub struct Stored {
    /// All of it.
    pub text: Secret,
    /// How others find it.
    pub reference: Reference,
}

/// How others find what was dropped off. None of it is secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reference {
    /// `secretsmanager` or `ssm`.
    pub service: &'static str,
    /// The ARN of the secret or the parameter.
    pub arn: String,
    /// Which version of it.
    pub version_id: String,
}

/// The places at AWS where a vendor fetches its pair.
#[async_trait]
pub trait DropOffs: Send + Sync {
    /// What stands there now. A place that is not there, or holds no secret text, is a refusal.
    async fn read(&self, purpose: &Purpose, place: &Place) -> Answer<Stored>;
    /// Puts a text there, sent once, and reads back that it is the one in force. Repeated under the same `token`, which
    /// is 32 to 64 letters, digits and dashes, it is the same version.
    async fn write(&self, purpose: &Purpose, place: &Place, text: &Secret, token: &str) -> Answer<Reference>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_the_last_part_of_its_path_in_whatever_case() {
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
