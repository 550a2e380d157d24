//! `kind = "webhook"`: posts a message in the format of Standard Webhooks 1.0, signed like the messages to vendors.

use async_trait::async_trait;

use crate::adapters::net::signing::SigningKey;
use crate::adapters::net::target::Plaintext;
use crate::adapters::notify::document::Document;
use crate::adapters::notify::{Tools, misconfigured};
use crate::config::settings::WebhookStep;
use crate::core::alert::Notification;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Sink};

pub(super) struct Webhook {
    pub(super) tools: Tools,
    pub(super) step: WebhookStep,
}

impl Webhook {
    async fn keys(&self) -> Answer<Vec<SigningKey>> {
        let mut keys = Vec::with_capacity(self.step.secrets.len());
        for reference in &self.step.secrets {
            let key = SigningKey::parse(&self.tools.resolve(reference).await?);
            keys.push(key.map_err(|bad| misconfigured(format!("the webhook secret {reference} {bad}")))?);
        }
        Ok(keys)
    }
}

#[async_trait]
impl Sink for Webhook {
    async fn tell(&self, notification: &Notification, now: Timestamp, _holds_until: Timestamp) -> Answer<()> {
        let document = Document::new(notification);
        let (id, body) = (document.message_id(), document.to_json());
        let keys = self.keys().await?;
        let signatures: Vec<String> = keys.iter().map(|key| key.sign(&id, now, &body)).collect();
        let headers = vec![
            ("webhook-id".to_owned(), Secret::new(id)),
            ("webhook-timestamp".to_owned(), Secret::new(now.unix_seconds().to_string())),
            ("webhook-signature".to_owned(), Secret::new(signatures.join(" "))),
        ];
        let plaintext = Plaintext::from_setting(self.step.allow_plaintext);
        self.tools.post_text(&self.step.url, plaintext, headers, body, now).await
    }

    async fn probe(&self) -> Answer<String> {
        let _keys = self.keys().await?;
        self.tools.find(&self.step.url, Plaintext::from_setting(self.step.allow_plaintext)).await
    }
}
