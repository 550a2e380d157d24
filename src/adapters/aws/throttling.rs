//! Recognizes the responses with which AWS throttles a call: they are counted for the metrics, and the SDK does not
//! repeat those calls itself.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::ports::THROTTLED;

/// Counts each throttled attempt, also those that the SDK repeats. Every client of keyround has it.
#[derive(Debug)]
pub(crate) struct ThrottlingCounter;

impl Intercept for ThrottlingCounter {
    fn name(&self) -> &'static str {
        "ThrottlingCounter"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(called) = config.load::<Metadata>().filter(|_| is_throttled(context.response())) {
            // The SDK's names are such as `Secrets Manager`; the other metrics say `secretsmanager`.
            let service = called.service().replace(' ', "").to_lowercase();
            THROTTLED.count(&service, called.name());
        }
        Ok(())
    }
}

/// Leaves throttled calls to [`crate::adapters::aws::pacing`], which knows how fast the account may be called. The SDK
/// would repeat them by itself, past every call that waits.
#[derive(Debug)]
pub(crate) struct ThrottledCallsWait;

impl ClassifyRetry for ThrottledCallsWait {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(answer) if answer.status().as_u16() < 500 && is_throttled(answer) => {
                RetryAction::RetryForbidden
            }
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "ThrottledCallsWait"
    }
}

/// Whether AWS says with this error code that there were too many calls.
pub(crate) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "SlowDown"
    )
}

fn is_throttled(answer: &HttpResponse) -> bool {
    answer.status().as_u16() >= 400 && error_code(answer).is_some_and(is_throttling)
}

/// The error code of a response, in the query or the JSON protocol: the interfaces of the SDK that see every attempt
/// have no parsed error.
fn error_code(answer: &HttpResponse) -> Option<&str> {
    if let Some(kind) = answer.headers().get("x-amzn-errortype") {
        return Some(without_namespace(kind));
    }
    let text = std::str::from_utf8(answer.body().bytes()?).ok()?;
    if let Some((_, rest)) = text.split_once("<Code>") {
        return rest.split_once("</Code>").map(|(code, _)| code.trim());
    }
    let (_, rest) = text.split_once("\"__type\"")?;
    rest.split('"').nth(1).map(without_namespace)
}

/// `ThrottlingException` of `com.amazon.coral.availability#ThrottlingException:http://…`.
fn without_namespace(kind: &str) -> &str {
    let kind = kind.split(':').next().unwrap_or(kind);
    kind.rsplit('#').next().unwrap_or(kind).trim()
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn answer(status: u16, body: &'static str) -> HttpResponse {
        HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
    }

    #[test]
    fn a_throttled_response_is_recognized_in_both_protocols() {
        for (status, body, is_so) in [
            (400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>", true),
            (503, "<ErrorResponse><Error><Code>SlowDown</Code></Error></ErrorResponse>", true),
            (400, "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}", true),
            (400, "{\"__type\" : \"com.amazon.coral#ThrottlingException\"}", true),
            (400, "<ErrorResponse><Error><Code>LimitExceeded</Code></Error></ErrorResponse>", false),
            (400, "{\"__type\":\"ResourceNotFoundException\"}", false),
            (200, "<Code>Throttling</Code>", false),
            (429, "<!doctype html><title>Too many requests</title>", false),
        ] {
            assert_eq!(is_throttled(&answer(status, body)), is_so, "{status} {body}");
        }
        let mut headed = answer(400, "{}");
        headed.headers_mut().insert("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/");
        assert!(is_throttled(&headed));
    }
}
