//! `kind = "alertmanager"`: sends alerts to the API v2 of Alertmanager.
//!
//! Alertmanager identifies an alert by its labels, groups and repeats notifications by itself, and resolves an alert
//! at its `endsAt`. So an alert that fires is posted again and again, each time with a later end. A resolved alert is
//! posted with an end of now.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use crate::adapters::net::target::Plaintext;
use crate::adapters::notify::{Tools, misconfigured};
use crate::config::settings::Auth;
use crate::core::alert::{Alert, Item, Notification};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Sink};

/// The minimum duration of an alert from a review. The next review, a day later, posts it again if it still applies.
const REVIEW_LASTS: std::time::Duration = std::time::Duration::from_hours(26);
/// How long a test alert stays active.
const TEST_LASTS: std::time::Duration = std::time::Duration::from_mins(1);

pub(super) struct Alertmanager {
    pub(super) tools: Tools,
    pub(super) urls: Vec<String>,
    pub(super) auth: Option<Auth>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) plaintext: Plaintext,
}

/// One element of the body of `POST /api/v2/alerts`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

#[async_trait]
impl Sink for Alertmanager {
    /// Posts to every instance. The instances of a cluster share their alerts, so the notification counts as sent if
    /// one of them accepts it.
    async fn tell(&self, notification: &Notification, now: Timestamp, holds_until: Timestamp) -> Answer<()> {
        let posted: Vec<Posted> =
            notification.items.iter().filter_map(|item| self.posted(item, now, holds_until)).collect();
        let mut answer = Err(misconfigured("no Alertmanager is configured"));
        for url in &self.urls {
            let (url, headers) = (format!("{url}/api/v2/alerts"), self.headers().await?);
            let told = self.tools.post(&url, self.plaintext, headers, &posted, now).await;
            // An unknown result outweighs a refusal, because that instance may have accepted the alerts.
            if matches!(&answer, Err(Fault::Refused(_))) || told.is_ok() {
                answer = told;
            }
        }
        answer
    }

    async fn probe(&self) -> Answer<String> {
        let _headers = self.headers().await?;
        let mut found = Vec::new();
        for url in &self.urls {
            found.push(self.tools.find(url, self.plaintext).await?);
        }
        Ok(found.join("; "))
    }
}

impl Alertmanager {
    async fn headers(&self) -> Answer<Vec<(String, Secret)>> {
        let header = |name: &str, value: String| vec![(name.to_ascii_lowercase(), Secret::new(value))];
        Ok(match &self.auth {
            None => Vec::new(),
            Some(Auth::Bearer(token)) => {
                let token = self.tools.resolve(token).await?;
                header("authorization", format!("Bearer {}", token.expose()))
            }
            Some(Auth::Basic { user, password }) => {
                let password = self.tools.resolve(password).await?;
                let pair = BASE64.encode(format!("{user}:{}", password.expose()));
                header("authorization", format!("Basic {pair}"))
            }
            Some(Auth::Header { name, value }) => {
                header(name, self.tools.resolve(value).await?.expose().to_owned())
            }
            Some(Auth::OAuth2 { .. } | Auth::Jwt { .. }) => {
                return Err(misconfigured("an Alertmanager sink does not support oauth2 or jwt"));
            }
        })
    }

    /// The alert to post for an item. `None` for an item that is an event and not a state, which Alertmanager cannot
    /// show.
    fn posted(&self, item: &Item, now: Timestamp, holds_until: Timestamp) -> Option<Posted> {
        match item {
            Item::Firing { alert, .. } => {
                let ends_at = match alert.condition.is_of_review() {
                    true => holds_until.max(now + REVIEW_LASTS),
                    false => holds_until,
                };
                Some(self.alert(alert, &alert.sentence, now, ends_at))
            }
            Item::Over { alert, sentence } => Some(self.alert(alert, sentence, now, now)),
            Item::Recovered { .. } | Item::News(_) => None,
            Item::Test => {
                let mut labels = self.labels.clone();
                labels.insert("alertname".to_owned(), "KeyroundTest".to_owned());
                labels.insert("severity".to_owned(), "info".to_owned());
                let summary = "this is a test, and nothing is wrong".to_owned();
                let annotations = BTreeMap::from([("summary", summary)]);
                Some(Posted { labels, annotations, starts_at: now, ends_at: now + TEST_LASTS })
            }
        }
    }

    /// The alert to post. Its labels stay the same for as long as the alert lasts, and contain no access key id.
    fn alert(&self, alert: &Alert, sentence: &str, now: Timestamp, ends_at: Timestamp) -> Posted {
        let mut labels = self.labels.clone();
        let mut label = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                labels.insert(name.to_owned(), value);
            }
        };
        label("alertname", Some(alert_name(alert)));
        label("condition", Some(alert.condition.to_string()));
        label("severity", Some(alert.condition.severity().as_str().to_owned()));
        label("vendor", alert.vendor.as_ref().map(ToString::to_string));
        label("iam_user", alert.iam_user.as_ref().map(ToString::to_string));
        label("account", alert.account.as_ref().map(ToString::to_string));
        let mut annotations = BTreeMap::from([
            (
                "summary",
                format!(
                    "{} {}",
                    alert.vendor.as_ref().map_or("keyround", |name| name.as_str()),
                    alert.condition
                ),
            ),
            ("description", sentence.to_owned()),
            ("reason", alert.reason.clone()),
        ]);
        annotations.extend(alert.owner.clone().map(|owner| ("owner", owner)));
        // Alertmanager refuses an alert that ends before it starts.
        Posted { labels, annotations, starts_at: alert.since.min(now), ends_at }
    }
}

/// The `alertname` label, such as `KeyroundRootKey` for the condition `root-key`.
fn alert_name(alert: &Alert) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        first + letters.as_str()
    };
    let words: String = alert.condition.as_str().split('-').map(capital).collect();
    format!("Keyround{words}")
}
