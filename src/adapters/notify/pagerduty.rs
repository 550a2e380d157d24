//! `kind = "pagerduty"`: sends events to the Events API v2. A condition that fires is an incident, which its
//! `dedup_key` opens and resolves. Good news, such as a finished rotation, is a change event
//! (developer.pagerduty.com/docs/events-api-v2, PagerDuty/api-schema).

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::adapters::net::target::Plaintext;
use crate::adapters::notify::{Tools, cut};
use crate::config::SecretRef;
use crate::core::alert::{AlertKey, Item, Notification, Severity, headline, lines};
use crate::core::time::Timestamp;
use crate::ports::{Answer, Sink};

/// The maximum length of a summary, in characters. PagerDuty cuts a longer one.
const SUMMARY_CHARS_MAX: usize = 1024;
const SOURCE: &str = "keyround";

pub(super) struct PagerDuty {
    pub(super) tools: Tools,
    pub(super) routing_key: SecretRef,
    pub(super) url: String,
}

#[async_trait]
impl Sink for PagerDuty {
    async fn tell(&self, notification: &Notification, now: Timestamp, _holds_until: Timestamp) -> Answer<()> {
        let key = self.tools.resolve(&self.routing_key).await?;
        for (path, mut event) in events(notification, now) {
            event["routing_key"] = Value::from(key.expose());
            let url = format!("{}{path}", self.url);
            self.tools.post(&url, Plaintext::LoopbackOnly, Vec::new(), &event, now).await?;
        }
        Ok(())
    }

    async fn probe(&self) -> Answer<String> {
        let _key = self.tools.resolve(&self.routing_key).await?;
        self.tools.find(&self.url, Plaintext::LoopbackOnly).await
    }
}

/// The events for one notification, each with the path of its API, and without the routing key.
fn events(notification: &Notification, now: Timestamp) -> Vec<(&'static str, Value)> {
    let is_firing = notification.items.iter().any(|item| matches!(item, Item::Firing { .. }));
    let is_over = notification.items.iter().any(|item| matches!(item, Item::Over { .. }));
    let is_test = notification.items.iter().any(|item| matches!(item, Item::Test));
    match &notification.incident {
        Some(incident) if is_firing => vec![("/v2/enqueue", trigger(notification, incident, now))],
        Some(incident) if is_over => vec![("/v2/enqueue", resolve(incident))],
        // The incident of a test is opened and resolved at once, so that nobody has to resolve it by hand.
        Some(incident) if is_test => {
            vec![("/v2/enqueue", trigger(notification, incident, now)), ("/v2/enqueue", resolve(incident))]
        }
        Some(_) | None => vec![("/v2/change/enqueue", change(notification))],
    }
}

fn dedup_key(incident: &AlertKey) -> String {
    format!("{SOURCE}:{}", incident.as_str())
}

fn trigger(notification: &Notification, incident: &AlertKey, now: Timestamp) -> Value {
    let alerts: Vec<_> = notification
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Firing { alert, .. } => Some(alert),
            Item::Over { .. } | Item::Recovered { .. } | Item::News(_) | Item::Test => None,
        })
        .collect();
    let severity = alerts.iter().map(|alert| alert.condition.severity()).max().unwrap_or(Severity::Info);
    let first = alerts.first();
    let component = first.filter(|_| alerts.len() == 1).and_then(|alert| alert.vendor.as_ref());
    json!({
        "event_action": "trigger",
        "dedup_key": dedup_key(incident),
        "client": "keyround",
        "payload": {
            "summary": summary(notification),
            "source": SOURCE,
            "severity": severity.as_str(),
            "timestamp": first.map_or(now, |alert| alert.since),
            "component": component,
            "group": first.map(|alert| alert.condition.as_str()),
            "class": first.map(|alert| alert.reason.as_str()),
            "custom_details": { "lines": lines(notification) },
        },
    })
}

fn resolve(incident: &AlertKey) -> Value {
    json!({ "event_action": "resolve", "dedup_key": dedup_key(incident) })
}

fn change(notification: &Notification) -> Value {
    json!({
        "payload": {
            "summary": summary(notification),
            "source": SOURCE,
            "timestamp": notification.at,
            "custom_details": { "lines": lines(notification) },
        },
    })
}

/// The summary. A phone shows little else, so the summary of a single alert or notice includes its sentence.
fn summary(notification: &Notification) -> String {
    let headline = headline(notification);
    let summary = match &notification.items[..] {
        [Item::Firing { alert, .. }] => format!("{headline}: {}", alert.sentence),
        [Item::News(notice)] => format!("{headline}: {}", notice.sentence),
        [..] => headline,
    };
    cut(&summary, SUMMARY_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::alert::{Alert, Condition, Notice};

    fn overdue(vendor: &str) -> Alert {
        let alert = Alert::of_house(Condition::Overdue, "overdue", "a sentence".to_owned(), Timestamp::EPOCH);
        Alert { vendor: Some(vendor.parse().expect("a vendor")), ..alert }
    }

    fn notification(items: Vec<Item>, incident: Option<AlertKey>) -> Notification {
        Notification { items, incident, at: Timestamp::EPOCH }
    }

    #[test]
    fn a_resolved_alert_uses_the_dedup_key_of_its_trigger() {
        let alert = overdue("acme");
        let opened =
            notification(vec![Item::Firing { alert: alert.clone(), again: false }], Some(alert.incident()));
        let [(path, event)] = &events(&opened, Timestamp::EPOCH)[..] else { panic!("one event") };
        assert_eq!(*path, "/v2/enqueue");
        assert_eq!(
            (&event["event_action"], &event["dedup_key"]),
            (&json!("trigger"), &json!("keyround:overdue/acme"))
        );
        let payload = &event["payload"];
        assert_eq!(payload["summary"], "keyround: acme overdue: a sentence");
        assert_eq!((&payload["severity"], &payload["source"]), (&json!("error"), &json!("keyround")));
        assert_eq!((&payload["component"], &payload["class"]), (&json!("acme"), &json!("overdue")));
        let over = Item::Over { alert: alert.clone(), sentence: String::new() };
        let closed = notification(vec![over], Some(alert.incident()));
        assert_eq!(
            events(&closed, Timestamp::EPOCH),
            [("/v2/enqueue", json!({ "event_action": "resolve", "dedup_key": "keyround:overdue/acme" }))]
        );
    }

    #[test]
    fn recoveries_and_news_are_pagerduty_change_events() {
        let alert = overdue("acme");
        let subject = crate::core::ids::Subject {
            vendor: "acme".parse().expect("a vendor"),
            account: None,
            iam_user: "vendor-acme".parse().expect("a user"),
        };
        let old = "AKIAOLD0000000000001".parse().expect("a key id");
        let notice = Notice {
            condition: Condition::Rotated,
            vendor: subject.vendor.clone(),
            iam_user: subject.iam_user.clone(),
            rotation: crate::core::ids::RotationId::new(&subject, &old, Timestamp::EPOCH),
            sentence: "replaced".to_owned(),
            at: Timestamp::EPOCH,
            position: 1,
        };
        let recovered = Item::Recovered { alert, sentence: String::new() };
        for item in [Item::News(notice), recovered] {
            let [(path, event)] = &events(&notification(vec![item], None), Timestamp::EPOCH)[..] else {
                panic!("one event")
            };
            assert_eq!(*path, "/v2/change/enqueue");
            assert!(
                event["payload"]["summary"].is_string() && event.get("event_action").is_none(),
                "{event}"
            );
        }
    }

    #[test]
    fn a_summary_is_cut_at_the_pagerduty_limit() {
        let alert = Alert { sentence: "ä".repeat(5000), ..overdue("acme") };
        let long =
            notification(vec![Item::Firing { alert: alert.clone(), again: false }], Some(alert.incident()));
        assert_eq!(summary(&long).chars().count(), 1024);
    }
}
