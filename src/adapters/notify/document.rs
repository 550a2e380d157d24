//! A notification as JSON for programs: the body that the webhook sink posts, and the standard input of the command
//! sink.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::core::alert::{Alert, Item, Notice, Notification, headline, lines};
use crate::core::time::Timestamp;

/// The document, in the form of a Standard Webhooks 1.0 payload.
#[derive(Serialize)]
pub(super) struct Document {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data,
}

#[derive(Serialize)]
struct Data {
    headline: String,
    lines: Vec<String>,
    alerts: Vec<AlertView>,
}

/// One item of the notification.
#[derive(Serialize)]
struct AlertView {
    /// The kind of the item: `firing`, `again`, `over`, `recovered`, `news` or `test`.
    status: &'static str,
    condition: &'static str,
    severity: &'static str,
    vendor: Option<String>,
    account: Option<String>,
    iam_user: Option<String>,
    owner: Option<String>,
    reason: Option<String>,
    sentence: String,
    since: Option<Timestamp>,
    rotation_id: Option<String>,
    key: Option<String>,
}

impl Document {
    pub(super) fn new(notification: &Notification) -> Document {
        let alerts = notification.items.iter().map(AlertView::new).collect();
        let data = Data { headline: headline(notification), lines: lines(notification), alerts };
        Document { r#type: "keyround.alert", timestamp: notification.at, data }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a document has nothing that JSON cannot say")
    }

    /// The idempotency key of the message, the same at every attempt to send it. It contains no dot, because the
    /// signed text of a webhook is joined with dots.
    pub(super) fn message_id(&self) -> String {
        let hash = digest(&SHA256, self.to_json().as_bytes());
        let mut id = "msg_".to_owned();
        for byte in hash.as_ref().iter().take(16) {
            write!(id, "{byte:02x}").expect("a string takes all that is written to it");
        }
        id
    }
}

impl AlertView {
    fn new(item: &Item) -> AlertView {
        match item {
            Item::Firing { alert, again: false } => AlertView::of("firing", alert, &alert.sentence),
            Item::Firing { alert, again: true } => AlertView::of("again", alert, &alert.sentence),
            Item::Over { alert, sentence } => AlertView::of("over", alert, sentence),
            Item::Recovered { alert, sentence } => AlertView::of("recovered", alert, sentence),
            Item::News(notice) => AlertView::news(notice),
            Item::Test => AlertView {
                status: "test",
                condition: "test",
                severity: "info",
                vendor: None,
                account: None,
                iam_user: None,
                owner: None,
                reason: None,
                sentence: "this is a test, and nothing is wrong".to_owned(),
                since: None,
                rotation_id: None,
                key: None,
            },
        }
    }

    fn of(status: &'static str, alert: &Alert, sentence: &str) -> AlertView {
        AlertView {
            status,
            condition: alert.condition.as_str(),
            severity: alert.condition.severity().as_str(),
            vendor: alert.vendor.as_ref().map(ToString::to_string),
            account: alert.account.as_ref().map(ToString::to_string),
            iam_user: alert.iam_user.as_ref().map(ToString::to_string),
            owner: alert.owner.clone(),
            reason: Some(alert.reason.clone()),
            sentence: sentence.to_owned(),
            since: Some(alert.since),
            rotation_id: alert.rotation.map(|rotation| rotation.to_string()),
            key: Some(alert.key().as_str().to_owned()),
        }
    }

    fn news(notice: &Notice) -> AlertView {
        AlertView {
            status: "news",
            condition: notice.condition.as_str(),
            severity: notice.condition.severity().as_str(),
            vendor: Some(notice.vendor.to_string()),
            account: None,
            iam_user: Some(notice.iam_user.to_string()),
            owner: None,
            reason: None,
            sentence: notice.sentence.clone(),
            since: Some(notice.at),
            rotation_id: Some(notice.rotation.to_string()),
            key: None,
        }
    }
}
