//! Sends a call to AWS when it is its turn, and sends it again while AWS throttles it.
//!
//! A throttled call certainly had no effect, so it may be sent again, whatever it does. A call whose outcome is unknown
//! is never sent again here.
//!
//! **Invariant:** no call is sent later than its patience allows, so that the engine's deadline for an effect and the
//! time for which an unanswered call may still arrive hold.

use std::future::Future;
use std::time::Duration;

use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::request_id::RequestId;
use tokio::time::Instant;

use crate::adapters::aws::pacing::Pace;
use crate::adapters::aws::refusal::{self, Call};
use crate::core::rotation::{Refusal, RefusalCode};
use crate::ports::{Answer, Fault};

/// Waits for a turn, sends the call, and passes the outcome to the caller, the log and the pace. While AWS throttles
/// the call, it waits for another turn, as long as its patience allows.
pub(crate) async fn send<T, E, F>(pace: &Pace, call: &Call, sending: impl Fn() -> F + Send) -> Answer<T>
where
    T: RequestId + Send,
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
{
    let patience = call.patience(pace.deadline());
    let until = Instant::now() + patience;
    let mut turn = pace.queue(call.operation, call.urgency, until);
    let mut last = None;
    while let Some(sent) = turn.come().await {
        let answer = Box::pin(sending()).await;
        let request_id = answer.as_ref().map_or_else(RequestId::request_id, RequestId::request_id);
        let request_id = request_id.unwrap_or_default().to_owned();
        let answer = answer.map_err(|error| refusal::fault(call, &error));
        tracing::debug!(
            aws.service = call.service,
            aws.operation = call.operation,
            aws.outcome = outcome(&answer),
            aws.request_id = request_id,
            "called {call}"
        );
        match answer {
            Err(Fault::Refused(refusal)) if refusal.code == RefusalCode::Throttled => {
                pace.throttled(sent, refusal.retry_after);
                let is_too_late = refusal.retry_after.is_some_and(|wait| Instant::now() + wait > until);
                last = Some(refusal);
                if is_too_late {
                    break;
                }
            }
            // Nothing shows how fast AWS may be called.
            Err(Fault::Unknown(_)) => return answer,
            _ => {
                pace.answered(sent);
                return answer;
            }
        }
    }
    Err(Fault::Refused(last.unwrap_or_else(|| never_sent(call, patience))))
}

fn outcome<T>(answer: &Answer<T>) -> &'static str {
    match answer {
        Ok(_) => "happened",
        Err(Fault::Refused(refusal)) => refusal.code.as_str(),
        Err(Fault::Unknown(_)) => "unknown",
    }
}

fn never_sent(call: &Call, patience: Duration) -> Refusal {
    let secs = patience.as_secs();
    Refusal {
        code: RefusalCode::Throttled,
        sentence: format!(
            "{call} was not sent: AWS throttles this account, and the call had no turn within {secs} s"
        ),
        retry_after: None,
        nothing_sent: false,
        pairs: Vec::new(),
        said: None,
    }
}
