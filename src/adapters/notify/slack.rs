//! `kind = "slack"`: posts to an incoming webhook
//! (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
//!
//! Slack answers 200 with the body `ok`, or gives the reason for a failure as plain text. The text is not repeated in
//! sentences, because the address is a secret and an error page might quote it.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::adapters::net::target::Plaintext;
use crate::adapters::notify::{Tools, cut};
use crate::config::SecretRef;
use crate::core::alert::{Notification, headline, lines};
use crate::core::time::Timestamp;
use crate::ports::{Answer, Sink};

/// The maximum length of a section, in characters after escaping. Slack refuses a section of more than 3000; an
/// escaped character counts as up to five.
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

/// The message: Slack shows `text` in desktop and phone notifications, and the blocks in the channel.
fn message(notification: &Notification) -> Value {
    let headline = escaped(&headline(notification));
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(&text, SECTION_CHARS_MAX) } });
    let mut blocks = vec![section(format!("*{headline}*"))];
    blocks.extend(lines(notification).iter().map(|line| section(escaped(line))));
    json!({ "text": headline, "blocks": blocks })
}

/// Escapes the three characters that have a meaning in Slack's markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slack_message_has_text_and_sections_and_escapes_markup() {
        let message = message(&Notification::test(Timestamp::EPOCH));
        assert_eq!(message["text"], "keyround: this is a test, and nothing is wrong");
        assert_eq!(message["blocks"][0]["text"]["text"], "*keyround: this is a test, and nothing is wrong*");
        assert_eq!(message["blocks"][1]["type"], "section");
        assert_eq!(escaped("<!channel> & co"), "&lt;!channel&gt; &amp; co");
    }
}
