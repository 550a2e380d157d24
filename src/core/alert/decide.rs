//! Decides which notifications a sink gets now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::alert::active::{ActiveAlerts, Alert, AlertKey};
use crate::core::alert::condition::Condition;
use crate::core::alert::delivery_state::{DeliveryState, SentAlert};
use crate::core::ids::{IamUserName, RotationId, VendorName};
use crate::core::time::Timestamp;

/// For a sink that keeps incidents: if more new alerts of one condition than this appear at once, they share one
/// incident, because nobody reads two hundred pages.
const INCIDENTS_AT_ONCE_MAX: usize = 5;
/// A sink that drops alerts which are not repeated gets them again this often, as Prometheus does.
const REFRESH_EVERY: Duration = Duration::from_mins(1);

/// Which alerts a sink gets, how often, and in which form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The conditions that the sink gets.
    pub on: BTreeSet<Condition>,
    /// An alert that stays active is sent again after this time.
    pub repeat: Duration,
    /// How the sink keeps alerts.
    pub style: Style,
}

/// How a sink keeps alerts. This decides how they are grouped into notifications.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// The sink passes messages on, as e-mail and Slack do: one message contains everything that there is to report.
    Messages,
    /// The sink keeps incidents, as PagerDuty does: each is opened and closed under its key.
    Incidents,
    /// The sink keeps the active alerts, as Alertmanager does, and drops those that are not sent again.
    State,
}

impl Style {
    /// The key under which a sink keeps this alert. For a sink of messages, an alert replaces the one that was sent
    /// before about the same topic. For the other sinks, each condition is an alert of its own.
    #[must_use]
    pub fn slot(self, alert: &Alert) -> AlertKey {
        match self {
            Style::Messages => alert.key(),
            Style::Incidents | Style::State => alert.incident(),
        }
    }
}

/// One message to a sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notification {
    /// What the notification reports; at least one item.
    pub items: Vec<Item>,
    /// The incident that the notification opens, repeats or closes; `None`: it belongs to no incident.
    pub incident: Option<AlertKey>,
    /// When the first attempt was made. A repeated attempt has the same time, because it is the same message.
    pub at: Timestamp,
}

/// One thing that a notification reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// An alert is active.
    Firing {
        /// The alert.
        alert: Alert,
        /// The sink has this alert already, and this is a repeat.
        again: bool,
    },
    /// An alert that the sink received, or may have received, is resolved.
    Over {
        /// The alert, as it was last sent.
        alert: Alert,
        /// A sentence about the present state.
        sentence: String,
    },
    /// An alert is resolved that the sink was never sent, because the sink's route does not include its condition.
    Recovered {
        /// The alert, as it was noted.
        alert: Alert,
        /// A sentence about the present state.
        sentence: String,
    },
    /// Something good happened: a rotation has finished.
    News(Notice),
    /// A test: nothing is wrong.
    Test,
}

/// An event that sinks are sent once, such as the end of a rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The condition by which a sink's `on` selects the event.
    pub condition: Condition,
    /// The vendor whose key was rotated.
    pub vendor: VendorName,
    /// The vendor's IAM user.
    pub iam_user: IamUserName,
    /// The rotation.
    pub rotation: RotationId,
    /// What happened, in a sentence.
    pub sentence: String,
    /// When it happened.
    pub at: Timestamp,
    /// The position of the event in the journal's history.
    pub position: u64,
}

impl Notification {
    /// The notification that `keyround alert test` sends.
    #[must_use]
    pub fn test(now: Timestamp) -> Notification {
        Notification { items: vec![Item::Test], incident: Some(AlertKey("test".to_owned())), at: now }
    }
}

/// The notifications to send to this sink now, in order; none while the sink is in its backoff. A notice is sent only
/// if its position is after the sink's cursor.
#[must_use]
pub fn decide(
    policy: &Policy,
    memory: &DeliveryState,
    active: &ActiveAlerts,
    notices: &[Notice],
    now: Timestamp,
) -> Vec<Notification> {
    if memory.is_left_alone(now) {
        return Vec::new();
    }
    let at = memory.trying_since.unwrap_or(now);
    let told = |(incident, items): (Option<AlertKey>, Vec<Item>)| Notification { items, incident, at };
    let notifications = sorted_out(policy, memory, active, notices, now).into_iter();
    notifications.filter(|(_, items)| !items.is_empty()).map(told).collect()
}

/// Items that belong together in one notification, and the incident that they are about.
type Batch = (Option<AlertKey>, Vec<Item>);

fn sorted_out(
    policy: &Policy,
    memory: &DeliveryState,
    active: &ActiveAlerts,
    notices: &[Notice],
    now: Timestamp,
) -> Vec<Batch> {
    let firing = firing(policy, memory, active, now);
    let over = over(policy, memory, active);
    let recovered = recovered(memory, active);
    let news = notices
        .iter()
        .filter(|notice| policy.on.contains(&notice.condition) && notice.position > memory.cursor);
    let news: Vec<Item> = news.cloned().map(Item::News).collect();
    match policy.style {
        Style::Messages => {
            vec![(None, firing.into_iter().chain(over).chain(recovered).chain(news).collect())]
        }
        // A recovery and a notice are events, and this sink keeps only states.
        Style::State => vec![(None, firing.into_iter().chain(over).collect())],
        Style::Incidents => {
            let mut notifications = openings(memory, firing);
            notifications.extend(closings(memory, over));
            notifications.extend(recovered.into_iter().chain(news).map(|item| (None, vec![item])));
            notifications
        }
    }
}

/// When to decide again, if nothing changes before; [`Timestamp::NEVER`] if no repeat is due at any time.
#[must_use]
pub fn next_time(
    policy: &Policy,
    memory: &DeliveryState,
    active: &ActiveAlerts,
    now: Timestamp,
) -> Timestamp {
    // After the backoff has ended there may be nothing to retry, because the alert was resolved meanwhile. So only a
    // backoff that still runs sets the time.
    if memory.failures > 0 && memory.is_left_alone(now) {
        return memory.not_before;
    }
    let every = every(policy);
    let still = |told: &SentAlert| {
        let firing = active.firing.get(&told.alert.key())?;
        (policy.on.contains(&firing.condition) && told.is_known(firing)).then(|| told.at.min(now) + every)
    };
    memory.told.values().filter_map(still).min().unwrap_or(Timestamp::NEVER)
}

fn every(policy: &Policy) -> Duration {
    match policy.style {
        Style::Messages | Style::Incidents => policy.repeat,
        Style::State => policy.repeat.min(REFRESH_EVERY),
    }
}

/// The active alerts that the sink is not certain to have, and those that are due for a repeat.
fn firing(policy: &Policy, memory: &DeliveryState, active: &ActiveAlerts, now: Timestamp) -> Vec<Item> {
    let every = every(policy);
    let wanted = active.firing.values().filter(|alert| policy.on.contains(&alert.condition));
    let item = |alert: &Alert| match memory.told.get(&policy.style.slot(alert)) {
        Some(told) if told.is_known(alert) => {
            let alert = Alert { since: told.alert.since.min(alert.since), ..alert.clone() };
            told.is_long_ago(every, now).then_some(Item::Firing { alert, again: true })
        }
        Some(_) | None => Some(Item::Firing { alert: alert.clone(), again: false }),
    };
    wanted.filter_map(item).collect()
}

/// The alerts that the sink has, or may have, and that are resolved. For a sink that keeps alerts apart, an alert is
/// also resolved when it turned into another condition that the sink gets.
fn over(policy: &Policy, memory: &DeliveryState, active: &ActiveAlerts) -> Vec<Item> {
    let became = |told: &SentAlert| {
        let firing = active.firing.get(&told.alert.key())?;
        let is_other = firing.condition != told.alert.condition && policy.on.contains(&firing.condition);
        (is_other && policy.style != Style::Messages).then(|| firing.sentence.clone())
    };
    let item = |told: &SentAlert| {
        let sentence = became(told).or_else(|| active.end_of(&told.alert))?;
        Some(Item::Over { alert: told.alert.clone(), sentence })
    };
    memory.told.values().filter_map(item).collect()
}

/// The noted alerts that are resolved. A user has not recovered if one problem only turned into another of the same
/// topic.
fn recovered(memory: &DeliveryState, active: &ActiveAlerts) -> Vec<Item> {
    let item = |(key, alert): (&AlertKey, &Alert)| {
        let sentence = active.end_of(alert)?;
        let in_trouble = active.firing.get(key).is_some_and(|firing| firing.condition.is_trouble());
        (!in_trouble).then(|| Item::Recovered { alert: alert.clone(), sentence })
    };
    memory.noted.iter().filter_map(item).collect()
}

/// The notifications that open or repeat incidents. They come before those that close incidents, so that a problem that
/// gets worse always has an open one.
fn openings(memory: &DeliveryState, firing: Vec<Item>) -> Vec<Batch> {
    let mut open: BTreeMap<AlertKey, Vec<Item>> = BTreeMap::new();
    let mut begun: BTreeMap<Condition, Vec<Alert>> = BTreeMap::new();
    for item in firing {
        let Item::Firing { alert, again } = item else { continue };
        // An alert whose incident is open, or may be, stays in that incident.
        match memory.told.get(&alert.incident()) {
            Some(told) => {
                open.entry(told.incident.clone()).or_default().push(Item::Firing { alert, again });
            }
            None => begun.entry(alert.condition).or_default().push(alert),
        }
    }
    for alerts in begun.into_values() {
        let together = alerts.len() > INCIDENTS_AT_ONCE_MAX;
        // The shared incident is named after the first alert. Later notifications find the name in the delivery state.
        let shared = alerts.first().map(|first| AlertKey(format!("{}/and-more", first.incident().0)));
        for alert in alerts {
            let own = alert.incident();
            let incident = shared.clone().filter(|_| together).unwrap_or(own);
            open.entry(incident).or_default().push(Item::Firing { alert, again: false });
        }
    }
    open.into_iter().map(|(incident, items)| (Some(incident), items)).collect()
}

/// The notifications that close incidents. An incident is closed when the last of its alerts is resolved, and not
/// before.
fn closings(memory: &DeliveryState, over: Vec<Item>) -> Vec<Batch> {
    let mut closed: BTreeMap<AlertKey, Vec<Item>> = BTreeMap::new();
    for item in over {
        let Item::Over { alert, .. } = &item else { continue };
        if let Some(told) = memory.told.get(&alert.incident()) {
            closed.entry(told.incident.clone()).or_default().push(item);
        }
    }
    let members =
        |incident: &AlertKey| memory.told.values().filter(|told| told.incident == *incident).count();
    closed.retain(|incident, items| items.len() == members(incident));
    closed.into_iter().map(|(incident, items)| (Some(incident), items)).collect()
}
