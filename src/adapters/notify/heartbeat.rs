//! `[heartbeat]`: one request after each full pass, in the style of healthchecks.io and similar services.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use crate::adapters::net::target::{self, Plaintext};
use crate::adapters::notify::{Tools, accepted, misconfigured};
use crate::config::settings::{HeartbeatSettings, HeartbeatUrl};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Heartbeat, Request, SecretSource, SinkTransport};

/// Reports each full pass to a URL.
pub struct HttpHeartbeat {
    tools: Tools,
    url: HeartbeatUrl,
}

impl HttpHeartbeat {
    /// A heartbeat for the URL of these settings. Nothing is read or sent yet.
    #[must_use]
    pub fn new(
        settings: &HeartbeatSettings,
        transport: &Arc<dyn SinkTransport>,
        secrets: &Arc<dyn SecretSource>,
    ) -> HttpHeartbeat {
        let tools = Tools {
            transport: Arc::clone(transport),
            secrets: Arc::clone(secrets),
            timeout: settings.timeout,
        };
        HttpHeartbeat { tools, url: settings.url.clone() }
    }

    async fn url(&self) -> Answer<Secret> {
        match &self.url {
            HeartbeatUrl::Plain(url) => Ok(Secret::from(url.as_str())),
            HeartbeatUrl::Secret(reference) => self.tools.resolve(reference).await,
        }
    }
}

/// The body of a heartbeat: the number of events in the journal and the hash of the last one. Neither is secret,
/// because a hash does not reveal what it was computed from.
fn body((events, head): &(u64, String)) -> Secret {
    Secret::new(json!({ "journal": { "events": events, "head": head } }).to_string())
}

#[async_trait]
impl Heartbeat for HttpHeartbeat {
    async fn beat(&self, head: Option<&(u64, String)>) -> Answer<()> {
        let url = self.url().await?;
        let target = target::checked(url.expose(), Plaintext::LoopbackOnly).map_err(misconfigured)?;
        let request = Request {
            method: "POST".to_owned(),
            url: Secret::from(target.as_str()),
            headers: head
                .map(|_| ("content-type".to_owned(), Secret::from("application/json")))
                .into_iter()
                .collect(),
            body: head.map(body),
            timeout: self.tools.timeout,
        };
        let response = self.tools.transport.carry(request).await?;
        // The caller ignores `Retry-After`, so the current time is not needed here.
        accepted(&target::host_of(&target), &response, Timestamp::EPOCH)
    }

    async fn probe(&self) -> Answer<String> {
        let url = self.url().await?;
        self.tools.find(url.expose(), Plaintext::LoopbackOnly).await
    }
}
