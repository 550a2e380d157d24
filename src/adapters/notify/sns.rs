//! `kind = "sns"`: publishes a notification to an SNS topic with one Publish call.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::config::Region;
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::MessageAttributeValue;

use crate::adapters::aws::AwsSession;
use crate::adapters::aws::throttling::ThrottlingCounter;
use crate::adapters::notify::document::Document;
use crate::adapters::notify::misconfigured;
use crate::core::alert::{Condition, Item, Notification, headline, lines};
use crate::core::rotation::RefusalCode;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Sink};

/// The maximum length of a subject, in bytes. SNS refuses a longer one, and one that is not ASCII.
const SUBJECT_BYTES_MAX: usize = 100;

pub(super) struct Sns {
    pub(super) session: Arc<AwsSession>,
    pub(super) topic_arn: String,
    pub(super) region: String,
    pub(super) timeout: Duration,
}

#[async_trait]
impl Sink for Sns {
    async fn tell(
        &self,
        notification: &Notification,
        _now: Timestamp,
        _holds_until: Timestamp,
    ) -> Answer<()> {
        let client = self.client().await;
        let mut publish = client
            .publish()
            .topic_arn(&self.topic_arn)
            .subject(subject(notification))
            .message(lines(notification).join("\n\n"))
            .message_attributes(
                "condition",
                attribute(worst(notification).map_or("test", Condition::as_str))?,
            );
        // SNS requires this suffix, in lower case, for the name of every FIFO topic.
        if self.topic_arn.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "fifo") {
            let id = Document::new(notification).message_id();
            publish = publish.message_group_id("keyround").message_deduplication_id(id);
        }
        match tokio::time::timeout(self.timeout, publish.send()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(fault(&error)),
            Err(_) => Err(Fault::unknown("SNS did not answer in time")),
        }
    }

    async fn probe(&self) -> Answer<String> {
        let asked = self.client().await.get_topic_attributes().topic_arn(&self.topic_arn).send().await;
        asked.map(|_| "the topic is there".to_owned()).map_err(|error| fault(&error))
    }
}

impl Sns {
    async fn client(&self) -> Client {
        let sdk = self.session.sdk().await;
        let config = aws_sdk_sns::config::Builder::from(sdk).region(Region::new(self.region.clone()));
        let mut config = config.interceptor(ThrottlingCounter);
        if let Some(endpoint) = self.session.endpoint_url() {
            config = config.endpoint_url(endpoint);
        }
        Client::from_conf(config.build())
    }
}

fn attribute(value: &str) -> Answer<MessageAttributeValue> {
    let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
    value.map_err(|_| misconfigured("the message cannot be made"))
}

/// The condition of the highest severity. It becomes a message attribute, by which subscribers can filter. `None` for
/// a test.
fn worst(notification: &Notification) -> Option<Condition> {
    let condition = |item: &Item| match item {
        Item::Firing { alert, .. } | Item::Over { alert, .. } => Some(alert.condition),
        Item::Recovered { .. } => Some(Condition::Recovered),
        Item::News(notice) => Some(notice.condition),
        Item::Test => None,
    };
    notification.items.iter().filter_map(condition).max_by_key(|condition| condition.severity())
}

fn subject(notification: &Notification) -> String {
    let plain = |letter: char| if letter.is_ascii() && !letter.is_ascii_control() { letter } else { '?' };
    headline(notification).chars().map(plain).take(SUBJECT_BYTES_MAX).collect()
}

/// The fault for an error of the AWS SDK. It repeats the error code of AWS, and not the message.
fn fault<E, R>(error: &SdkError<E, R>) -> Fault
where
    E: ProvideErrorMetadata,
{
    match error {
        SdkError::ServiceError(answer) => match answer.err().code() {
            Some(code) => {
                let code: String = code.chars().take(64).collect();
                Fault::refused(RefusalCode::Other, format!("SNS refused: {code}"))
            }
            None => Fault::unknown("SNS's answer cannot be read"),
        },
        SdkError::TimeoutError(_) => Fault::unknown("SNS did not answer in time"),
        _ => Fault::unknown("SNS was not reached, or the rotator has no credentials"),
    }
}
