//! `kind = "slack"`: an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
//!
//! Slack answers 200 with the body `ok`, and else says why in plain text that is not repeated here: the address
//! is a secret, and who knows what an error page quotes.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::adapters::net::target::Plaintext;
use crate::adapters::notify::{Tools, cut};
use crate::config::SecretRef;
use crate::core::alert::{Notification, headline, lines};
use crate::core::time::Timestamp;
use crate::ports::{Answer, Sink};

/// Slack refuses a section with more than 3000 characters. An escaped one is up to five.
const SECTION_CHARS_MAX: usize = 2900;

pub(super) struct Slack {
    pub(super) tools: Tools,
    pub(super) url: SecretRef,
}

#[async_trait]
impl Sink for Slack {
    async fn tell(&self, notification: &Notification, now: Timestamp, _holds_until: Timestamp) -> Answer<()> {
        let url = self.tools.resolve(&self.url).await?;
        self.tools.post(url.expose(), Plaintext::LoopbackOnly, Vec::new(), &message(notification), now).await
    }

    async fn probe(&self) -> Answer<String> {
        let url = self.tools.resolve(&self.url).await?;
        self.tools.find(url.expose(), Plaintext::LoopbackOnly).await
    }
}

/// `text` is what a notification shows, the blocks what the channel does.
fn message(notification: &Notification) -> Value {
    let headline = escaped(&headline(notification));
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(&text, SECTION_CHARS_MAX) } });
    let mut blocks = vec![section(format!("*{headline}*"))];
    blocks.extend(lines(notification).iter().map(|line| section(escaped(line))));
    json!({ "text": headline, "blocks": blocks })
}

/// The three characters with a meaning in Slack's markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_text_and_sections_of_markup_that_says_what_was_meant() {
        let message = message(&Notification::test(Timestamp::EPOCH));
        assert_eq!(message["text"], "keyround: this is a test, and nothing is wrong");
        assert_eq!(message["blocks"][0]["text"]["text"], "*keyround: this is a test, and nothing is wrong*");
        assert_eq!(message["blocks"][1]["type"], "section");
        assert_eq!(escaped("<!channel> & co"), "&lt;!channel&gt; &amp; co");
    }
}
