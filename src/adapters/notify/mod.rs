//! Sinks: how a notification is sent to each kind of alert receiver.
//!
//! [`crate::core::alert`] decides what is sent to which sink, and when it is repeated. Here, one notification becomes
//! a request, a mail, a message or a process.
//!
//! **Invariant:** a sink makes one attempt, each request of it within its time limit, and leaves repeats to the
//! notifier. Only the AWS SDK may repeat the Publish call of the SNS sink within that limit.
//!
//! **Invariant:** no sentence contains the path of an address, a header, or anything that the receiver sent, except
//! its status or error code. Sentences name hosts.

mod alertmanager;
mod command;
mod document;
mod email;
mod heartbeat;
mod pagerduty;
mod slack;
mod sns;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::adapters::aws::AwsSession;
use crate::adapters::net::target::{self, Plaintext};
use crate::config::SecretRef;
use crate::config::settings::{AlertSettings, SinkSettings};
use crate::core::ids::SinkName;
use crate::core::rotation::{Doubt, Refusal, RefusalCode};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Request, Response, Route, SecretSource, Sink, SinkTransport};

pub use heartbeat::HttpHeartbeat;

/// Builds the sinks of the configuration, each with its alert policy. Nothing is read or sent yet.
#[must_use]
pub fn routes(
    settings: &BTreeMap<SinkName, AlertSettings>,
    transport: &Arc<dyn SinkTransport>,
    secrets: &Arc<dyn SecretSource>,
    session: &Arc<AwsSession>,
) -> Vec<Route> {
    let route = |(name, alert): (&SinkName, &AlertSettings)| {
        let tools =
            Tools { transport: Arc::clone(transport), secrets: Arc::clone(secrets), timeout: alert.timeout };
        let sink: Arc<dyn Sink> = match alert.sink.clone() {
            SinkSettings::Webhook(step) => Arc::new(webhook::Webhook { tools, step }),
            SinkSettings::Slack { url } => Arc::new(slack::Slack { tools, url }),
            SinkSettings::PagerDuty { routing_key, url } => {
                Arc::new(pagerduty::PagerDuty { tools, routing_key, url })
            }
            SinkSettings::Alertmanager { urls, auth, labels, allow_plaintext } => {
                let plaintext = Plaintext::from_setting(allow_plaintext);
                Arc::new(alertmanager::Alertmanager { tools, urls, auth, labels, plaintext })
            }
            SinkSettings::Email(settings) => Arc::new(email::Email { tools, settings: *settings }),
            SinkSettings::Sns { topic_arn, region } => {
                Arc::new(sns::Sns { session: Arc::clone(session), topic_arn, region, timeout: alert.timeout })
            }
            SinkSettings::Command { command } => {
                Arc::new(command::Program { command, timeout: alert.timeout })
            }
        };
        Route { name: name.clone(), policy: alert.policy.clone(), sink }
    };
    settings.iter().map(route).collect()
}

/// The transport, the secret source and the time limit that most sinks use.
#[derive(Clone)]
struct Tools {
    transport: Arc<dyn SinkTransport>,
    secrets: Arc<dyn SecretSource>,
    timeout: Duration,
}

impl Tools {
    async fn resolve(&self, reference: &SecretRef) -> Answer<Secret> {
        self.secrets.resolve(reference).await.map_err(misconfigured)
    }

    /// Posts a value as JSON. Succeeds if the response has any 2xx status.
    async fn post(
        &self,
        url: &str,
        plaintext: Plaintext,
        headers: Vec<(String, Secret)>,
        body: &impl Serialize,
        now: Timestamp,
    ) -> Answer<()> {
        let body =
            serde_json::to_string(body).map_err(|_| misconfigured("the alert cannot be written as JSON"))?;
        self.post_text(url, plaintext, headers, body, now).await
    }

    async fn post_text(
        &self,
        url: &str,
        plaintext: Plaintext,
        mut headers: Vec<(String, Secret)>,
        body: String,
        now: Timestamp,
    ) -> Answer<()> {
        let target = target::checked(url, plaintext).map_err(misconfigured)?;
        headers.push(("content-type".to_owned(), Secret::from("application/json")));
        let request = Request {
            method: "POST".to_owned(),
            url: Secret::from(target.as_str()),
            headers,
            body: Some(Secret::new(body)),
            timeout: self.timeout,
        };
        let response = self.transport.carry(request).await?;
        accepted(&target::host_of(&target), &response, now)
    }

    /// Checks that the host of this address can be connected to. Sends no request.
    async fn find(&self, url: &str, plaintext: Plaintext) -> Answer<String> {
        let target = target::checked(url, plaintext).map_err(misconfigured)?;
        self.transport.find(target.as_str(), self.timeout).await?;
        Ok(format!("{} can be reached", target::host_of(&target)))
    }
}

/// Accepts any 2xx status. A redirect or a client error is a refusal, and for any other status the outcome is
/// unknown.
fn accepted(host: &str, response: &Response, now: Timestamp) -> Answer<()> {
    let retry_after = response.retry_after(now);
    match response.status {
        200..=299 => Ok(()),
        status @ 300..=499 => Err(Fault::Refused(Refusal {
            code: RefusalCode::Other,
            sentence: format!("{host} answered {status}"),
            retry_after,
            nothing_sent: false,
            pairs: Vec::new(),
            said: None,
        })),
        status => Err(Fault::Unknown(Doubt {
            sentence: format!("{host} answered {status}"),
            retry_after,
            pairs: Vec::new(),
            said: None,
        })),
    }
}

fn misconfigured(sentence: impl Into<String>) -> Fault {
    Fault::refused(RefusalCode::Misconfigured, sentence)
}

/// The text, cut to at most `chars_max` characters.
fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max.saturating_sub(1)) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        Some(_) | None => text.to_owned(),
    }
}
