//! What a response from AWS means. This is the only module that turns SDK errors into a [`Fault`].
//!
//! The SDK's `ServiceError` does not prove a refusal: a response of 200 with an unreadable body, a proxy's page and
//! every 5xx arrive as one too. So a refusal is certain only with an error code *and* a status below 500, or if the
//! request provably never left. Everything else is Unknown.
//!
//! **Invariant:** no message repeats AWS's own message. `SignatureDoesNotMatch` quotes the request, session token
//! included.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::request_id::RequestId;

use crate::adapters::aws::clock::ahead_secs;
use crate::adapters::aws::credentials::NoCredentials;
use crate::adapters::aws::is_plain;
use crate::adapters::aws::pacing::Urgency;
use crate::adapters::aws::throttling::is_throttling;
use crate::core::rotation::{CLOCK_OFF_MAX, Doubt, Refusal, RefusalCode, off_in_words};
use crate::ports::Fault;

/// A call, as messages and logs name it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) service: &'static str,
    pub(crate) operation: &'static str,
    /// The object of the call, such as `user vendor-acme`; empty if the operation needs none.
    pub(crate) on: String,
    pub(crate) signer: Signer,
    /// Its place among the calls that wait.
    pub(crate) urgency: Urgency,
    /// It reads on where an earlier call ended, as the second page of a list does.
    pub(crate) is_continued: bool,
}

/// Whose credentials sign a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signer {
    /// The rotator's own.
    Rotator,
    /// The new key's, to check whether it works.
    NewKey,
}

impl Call {
    /// A call that is signed with the rotator's own credentials.
    pub(crate) fn by_rotator(service: &'static str, operation: &'static str, on: String) -> Call {
        let (signer, urgency) = (Signer::Rotator, Urgency::Rest);
        Call { service, operation, on, signer, urgency, is_continued: false }
    }

    /// The same call with this urgency.
    pub(crate) fn with_urgency(self, urgency: Urgency) -> Call {
        Call { urgency, ..self }
    }

    /// How long the call may wait for its turn, if `call` is the deadline of a call: as long again, and twice as long for
    /// a call that only reads, so that an effect of several readings still ends within the engine's deadline.
    ///
    /// A call that changes something was allowed by a reading whose age
    /// counts, and it must arrive before `doubt_window` ends, which counts from its intent. The rotator's own identity
    /// is asked for after the intent too. A list counts from its last page, so the first one must not be much older.
    pub(crate) fn patience(&self, call: Duration) -> Duration {
        match self.reads() && !self.is_continued && self.urgency == Urgency::Rest {
            true => call * 2,
            false => call,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.operation)?;
        if self.on.is_empty() { Ok(()) } else { write!(f, " on {}", self.on) }
    }
}

impl Call {
    /// Returns `words` if the call changes something, and nothing if it only reads: whether a read was done does not
    /// matter.
    fn in_doubt(&self, words: &'static str) -> &'static str {
        if self.reads() { "" } else { words }
    }

    fn reads(&self) -> bool {
        const VERBS: [&str; 5] = ["Get", "List", "Describe", "Simulate", "Assume"];
        VERBS.iter().any(|verb| self.operation.starts_with(verb))
    }
}

/// What an SDK error means for this call.
pub(crate) fn fault<E>(call: &Call, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            match answer.err().code() {
                Some(code) if status < 500 => {
                    let message = answer.err().message().unwrap_or_default();
                    let kind = kind(call, code, message);
                    let told = clock_problem(call, code, ahead_secs(answer.raw()));
                    let (kind, advice) = told.map_or_else(
                        || (kind, advice(call, kind, code)),
                        |sentence| (RefusalCode::Clock, sentence),
                    );
                    let sentence = format!("{advice} ({})", said(code, error.request_id()));
                    Fault::Refused(Refusal {
                        code: kind,
                        sentence,
                        retry_after: retry_after(answer.raw()),
                        nothing_sent: false,
                        pairs: Vec::new(),
                        said: None,
                    })
                }
                code => unbelievable(call, status, code, retry_after(answer.raw())),
            }
        }
        SdkError::ConstructionFailure(_) => not_sent(call, error),
        SdkError::DispatchFailure(failure) if failure.is_user() || never_left(error) => not_sent(call, error),
        _ => Fault::unknown(format!(
            "{call} got no answer that can be believed ({}){}",
            shape(error),
            call.in_doubt("; it may have been done")
        )),
    }
}

/// Whether AWS certainly did nothing because there were too many calls.
pub(crate) fn is_throttled(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(refusal) if refusal.code == RefusalCode::Throttled)
}

fn unbelievable(call: &Call, status: u16, code: Option<&str>, retry_after: Option<Duration>) -> Fault {
    let code = code.filter(|code| is_plain(code)).map(|code| format!(" {code}")).unwrap_or_default();
    let sentence = if status < 300 {
        let doubt = call.in_doubt("; it may have been done");
        format!("{call} was answered {status} with something that cannot be read{doubt}")
    } else {
        let doubt = call.in_doubt(", which does not say whether it was done");
        format!("{call} was answered {status}{code}{doubt}")
    };
    Fault::Unknown(Doubt { sentence, retry_after, pairs: Vec::new(), said: None })
}

/// AWS's error code and request id, as messages show them.
fn said(code: &str, request_id: Option<&str>) -> String {
    match request_id {
        Some(id) if is_plain(id) => format!("{}, request {id}", plain_or(code, "an odd code")),
        _ => plain_or(code, "an odd code").to_owned(),
    }
}

/// The message for a refusal that a wrong clock caused; `None` if it had another cause. AWS refuses a request that is
/// dated more than five minutes off, and mostly with the error code of a bad signature.
fn clock_problem(call: &Call, code: &str, ahead_secs: Option<i64>) -> Option<String> {
    let off = ahead_secs.filter(|secs| secs.unsigned_abs() > CLOCK_OFF_MAX.as_secs());
    let how_far = match off {
        Some(secs) if is_about_time(code) || is_bad_credential(code) || is_denial(code) => {
            format!("this machine's clock is {}", off_in_words(secs))
        }
        None if is_about_time(code) => "this machine's clock is too far from AWS's".to_owned(),
        Some(_) | None => return None,
    };
    Some(format!("{call} was refused because {how_far}; set the clock, and check the machine's time service"))
}

/// Whether this is an error code for a date that is too far off.
fn is_about_time(code: &str) -> bool {
    matches!(code, "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture")
}

fn kind(call: &Call, code: &str, message: &str) -> RefusalCode {
    if is_throttling(code) {
        return RefusalCode::Throttled;
    }
    if call.signer == Signer::NewKey {
        return RefusalCode::NotUsable;
    }
    match code {
        _ if is_denial(code) || is_bad_credential(code) => RefusalCode::AccessDenied,
        // AWS uses one code for both; only the message tells them apart.
        "NoSuchEntity" if message.starts_with("The Access Key with id") => RefusalCode::NoSuchKey,
        "NoSuchEntity" if message.starts_with("The user with name") => RefusalCode::NoSuchUser,
        "LimitExceeded" => RefusalCode::LimitExceeded,
        _ if is_absent(code) => RefusalCode::Misconfigured,
        _ => RefusalCode::Other,
    }
}

fn advice(call: &Call, kind: RefusalCode, code: &str) -> String {
    match kind {
        RefusalCode::AccessDenied if is_bad_credential(code) => {
            format!("AWS does not accept the rotator's own credentials for {call}; renew them")
        }
        RefusalCode::AccessDenied => {
            format!("{call} is denied to the rotator; grant it (`keyround policy rotator` writes the rights)")
        }
        RefusalCode::NoSuchUser => {
            format!("{call}: there is no such user in this account; correct the configuration")
        }
        RefusalCode::NoSuchKey => format!("{call}: there is no such key"),
        RefusalCode::LimitExceeded => {
            format!("{call}: the user has two access keys already; delete the unused one")
        }
        RefusalCode::Throttled => format!("{call}: AWS asks to be called more slowly"),
        RefusalCode::NotUsable => format!("the new key does not sign yet: {call} was refused"),
        RefusalCode::Misconfigured if is_absent(code) => {
            format!(
                "{call}: AWS has no such secret, or it has no value yet; make it, or correct the configuration"
            )
        }
        _ => format!("{call} was refused"),
    }
}

fn is_denial(code: &str) -> bool {
    matches!(code, "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized")
}

/// Whether Secrets Manager or the Parameter Store says with this code that the secret or its value does not exist.
fn is_absent(code: &str) -> bool {
    matches!(code, "ResourceNotFoundException" | "ParameterNotFound")
}

/// Whether AWS says with this code that it does not accept the credentials, in the query or in the JSON protocol.
fn is_bad_credential(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "InvalidAccessKeyId"
    )
}

fn not_sent<E>(call: &Call, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: Error + 'static,
{
    let none = cause::<NoCredentials>(error);
    let why = if let Some(none) = none {
        none.why.clone()
    } else if cause::<CredentialsError>(error).is_some() {
        "the rotator has no AWS credentials: give it some by environment, profile or role".to_owned()
    } else if never_left(error) {
        "AWS cannot be reached: no connection".to_owned()
    } else {
        "the request cannot be built: check region and endpoint_url".to_owned()
    };
    let code = match none {
        Some(none) if none.is_throttled => RefusalCode::Throttled,
        _ => RefusalCode::NotSent,
    };
    Fault::refused(code, format!("{call} was not sent: {why}"))
}

/// Whether the request certainly did not leave: there was no connection, or there were no credentials to sign it with.
fn never_left<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: Error + 'static,
{
    cause::<CredentialsError>(error).is_some()
        || cause::<hyper_util::client::legacy::Error>(error)
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The first error of that type in the chain of sources.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref::<T>())
}

/// Why there is no usable response. The SDK's own message is not shown, because it quotes what was received.
fn shape<E>(error: &SdkError<E, HttpResponse>) -> &'static str {
    match error {
        SdkError::TimeoutError(_) => "it took too long",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "it took too long",
        SdkError::DispatchFailure(_) => "the connection broke",
        SdkError::ResponseError(_) => "the answer is broken off",
        _ => "an error of a kind that is not known",
    }
}

/// How long AWS asks to wait. `Retry-After` is in whole seconds; AWS's own header is in milliseconds.
fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let number = |name| answer.headers().get(name).and_then(|text| text.trim().parse().ok());
    number("x-amz-retry-after").map(Duration::from_millis).or(number("retry-after").map(Duration::from_secs))
}

fn plain_or<'a>(word: &'a str, otherwise: &'a str) -> &'a str {
    if is_plain(word) { word } else { otherwise }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS_8: i64 = 8 * 86_400;

    #[test]
    fn a_refusal_caused_by_a_wrong_clock_is_reported_as_a_clock_problem() {
        let call = Call::by_rotator("iam", "ListAccessKeys", String::new());
        for code in ["SignatureDoesNotMatch", "InvalidSignatureException", "AccessDeniedException"] {
            let told = clock_problem(&call, code, Some(DAYS_8)).expect(code);
            assert!(
                told.contains("because this machine's clock is 8d ahead of AWS's; set the clock"),
                "{told}"
            );
            assert_eq!(clock_problem(&call, code, Some(60)), None, "a good clock is not blamed");
            assert_eq!(clock_problem(&call, code, None), None);
        }
        for code in ["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"] {
            assert!(clock_problem(&call, code, None).expect(code).contains("too far from AWS's"));
            assert!(clock_problem(&call, code, Some(-DAYS_8)).expect(code).contains("8d behind AWS's"));
        }
        assert_eq!(clock_problem(&call, "NoSuchEntity", Some(DAYS_8)), None);
    }
}
