//! AWS's time, taken from its responses.
//!
//! The AWS SDK learns from the `Date` of each response how far the local clock is off, and signs all later requests
//! with AWS's time. A machine whose clock is days ahead would then go on deleting keys that have not cooled, and AWS
//! would not refuse. So the correction is switched off in the SDK's configuration. The clients that the SDK makes for
//! itself (to assume the role of a profile, for example) ignore that setting, so the `Date` header is also removed from
//! every response.
//!
//! **Invariant:** a date counts only if its response carries AWS's request id and does not come from a cache: a proxy
//! puts its own clock's date on its own pages.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::request_id::RequestId;

use crate::core::time::{MonotonicInstant, SystemClock, Timestamp};

/// The name of a header that keyround adds to a response: by how many seconds the local clock was ahead of AWS's when
/// the response arrived.
const AHEAD_SECS: &str = "x-keyround-clock-ahead";

/// AWS's time, by its newest response.
#[derive(Clone, Default)]
pub(crate) struct AwsClock(Arc<Mutex<Option<Reading>>>);

#[derive(Clone, Copy)]
struct Reading {
    date: Timestamp,
    at: MonotonicInstant,
}

impl AwsClock {
    /// AWS's current time; `None` if AWS has not answered yet.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let reading = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.map(|reading| reading.date + reading.at.elapsed())
    }

    fn note(&self, date: Timestamp) {
        let reading = Reading { date, at: MonotonicInstant::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }

    /// The client, with the date of each response recorded on this clock and hidden from the SDK.
    pub(crate) fn watching(&self, client: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(WatchedClient { client, clock: self.clone() })
    }
}

impl fmt::Debug for AwsClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AwsClock").field(&self.now()).finish()
    }
}

/// By how many seconds the local clock was ahead of AWS's when this response arrived; negative if it was behind. `None`
/// if the response has no date that counts.
pub(crate) fn ahead_secs(answer: &HttpResponse) -> Option<i64> {
    answer.headers().get(AHEAD_SECS)?.parse().ok()
}

#[derive(Debug)]
struct WatchedClient {
    client: SharedHttpClient,
    clock: AwsClock,
}

impl HttpClient for WatchedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(WatchedConnector { connector, clock: self.clock.clone() })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.client.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.client.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.client.connector_metadata()
    }
}

#[derive(Debug)]
struct WatchedConnector {
    connector: SharedHttpConnector,
    clock: AwsClock,
}

impl HttpConnector for WatchedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answering, clock) = (self.connector.call(request), self.clock.clone());
        HttpConnectorFuture::new(async move {
            let mut answer = answering.await?;
            let by_aws = answer.request_id().is_some() && answer.headers().get("age").is_none();
            let date = answer.headers_mut().remove("date");
            // Only keyround sets this header: a value that came with the response does not count.
            answer.headers_mut().remove(AHEAD_SECS);
            if let Some(date) = date.and_then(|date| http_date(&date)).filter(|_| by_aws) {
                clock.note(date);
                let ahead = SystemClock.now().unix_seconds() - date.unix_seconds();
                answer.headers_mut().insert(AHEAD_SECS, ahead.to_string());
            }
            Ok(answer)
        })
    }
}

/// Parses the `Date` header of a response, such as `Mon, 23 Nov 2026 03:00:00 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    let date = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some(Timestamp::from_unix(date.timestamp()))
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::http::http_client_fn;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    const DATE: &str = "Mon, 23 Nov 2026 03:00:00 GMT";

    #[derive(Debug)]
    struct Answering(Vec<(&'static str, &'static str)>);

    impl HttpConnector for Answering {
        fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
            let mut answer = HttpResponse::new(200.try_into().expect("a status"), SdkBody::empty());
            for (name, value) in &self.0 {
                answer.headers_mut().insert(*name, *value);
            }
            HttpConnectorFuture::ready(Ok(answer))
        }
    }

    /// The response with these headers as the SDK receives it, and the time that the clock recorded.
    async fn seen(headers: &[(&'static str, &'static str)]) -> (HttpResponse, Option<Timestamp>) {
        let clock = AwsClock::default();
        let connector = SharedHttpConnector::new(Answering(headers.to_vec()));
        let client = clock.watching(http_client_fn(move |_, _| connector.clone()));
        let components = RuntimeComponentsBuilder::for_tests().build().expect("components");
        let settings = HttpConnectorSettings::builder().build();
        let answer = client.http_connector(&settings, &components).call(HttpRequest::empty()).await;
        (answer.expect("an answer"), clock.now())
    }

    #[tokio::test]
    async fn the_date_header_of_a_response_is_recorded_and_hidden_from_the_sdk() {
        let (answer, noted) = seen(&[("date", DATE), ("x-amzn-requestid", "r-1"), (AHEAD_SECS, "0")]).await;
        let date = http_date(DATE).expect("a date");
        assert!(noted.is_some_and(|noted| noted.since(date).as_secs() < 60), "{noted:?}");
        assert!(answer.headers().get("date").is_none());
        let ahead = SystemClock.now().unix_seconds() - date.unix_seconds();
        assert!((ahead_secs(&answer).expect("compared") - ahead).abs() < 60);
    }

    #[tokio::test]
    async fn an_unreliable_date_header_is_ignored_and_hidden_from_the_sdk() {
        let by_cache = [("date", DATE), ("x-amzn-requestid", "r-1"), ("age", "12")];
        for headers in [&[("date", DATE)][..], &by_cache, &[("date", "soon"), ("x-amzn-requestid", "r-1")]] {
            let (answer, noted) = seen(headers).await;
            assert_eq!((noted, ahead_secs(&answer)), (None, None), "{headers:?}");
            assert!(answer.headers().get("date").is_none());
        }
    }
}
