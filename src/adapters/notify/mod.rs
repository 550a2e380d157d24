//! Sinks: how an alert is sent to each of them.
//!
//! What is told to whom, and when again, is decided in [`crate::core::alert`]; here one telling becomes one request, mail,
//! message or process.
//!
//! **Invariant:** a sink sends once, within its time limit. Whoever asked it to tries again.
//!
//! **Invariant:** no sentence holds an address with its path, a header, or anything that the other side sent but its
//! status. Sentences name hosts.

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

/// The sinks of the configuration. Nothing is read or sent yet.
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

/// What most sinks need.
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

    /// Posts this as JSON. Any 2xx is a yes.
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

    /// Whether the host of this address can be reached. Nothing is asked of it.
    async fn find(&self, url: &str, plaintext: Plaintext) -> Answer<String> {
        let target = target::checked(url, plaintext).map_err(misconfigured)?;
        self.transport.find(target.as_str(), self.timeout).await?;
        Ok(format!("{} can be reached", target::host_of(&target)))
    }
}

/// Any 2xx.
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

/// The first so many characters.
fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max.saturating_sub(1)) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        Some(_) | None => text.to_owned(),
    }
}
