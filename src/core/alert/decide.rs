//! What to tell a sink now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::alert::active::{ActiveAlerts, Alert, AlertKey};
use crate::core::alert::condition::Condition;
use crate::core::alert::delivery_state::{DeliveryState, Told};
use crate::core::ids::{IamUserName, RotationId, VendorName};
use crate::core::time::Timestamp;

/// Where each alert is an incident of its own, more than this of one kind at once are one incident: two hundred
/// pages are read as well as none.
const INCIDENTS_AT_ONCE_MAX: usize = 5;
/// What a sink forgets by itself is told again this often, as Prometheus does.
const REFRESH_EVERY: Duration = Duration::from_mins(1);

/// What a sink wants to hear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Of what.
    pub on: BTreeSet<Condition>,
    /// What is still wrong is told again after this long.
    pub repeat: Duration,
    /// In which form.
    pub style: Style,
}

/// How a sink keeps what it is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// It passes messages on: one message with all there is to say.
    Messages,
    /// It keeps incidents, each opened and closed by its key.
    Incidents,
    /// It keeps what is wrong, and forgets what it is not told again.
    State,
}

impl Style {
    /// What an alert takes the place of: to who reads messages, whatever was said before of the same topic; to those
    /// who keep alerts apart, only itself.
    #[must_use]
    pub fn slot(self, alert: &Alert) -> AlertKey {
        match self {
            Style::Messages => alert.key(),
            Style::Incidents | Style::State => alert.incident(),
        }
    }
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notification {
    /// What is in it; at least one.
    pub items: Vec<Item>,
    /// The incident that it opens, repeats or closes.
    pub incident: Option<AlertKey>,
    /// When it was first tried to tell this: a message that is tried again is the same message.
    pub at: Timestamp,
}

/// One thing to tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// This is wrong.
    Firing {
        /// What.
        alert: Alert,
        /// It was told before.
        again: bool,
    },
    /// What was told is over.
    Over {
        /// As it was told.
        alert: Alert,
        /// What there is to say now.
        sentence: String,
    },
    /// What was not told is over.
    Recovered {
        /// As it was.
        alert: Alert,
        /// What there is to say now.
        sentence: String,
    },
    /// Something happened, and was good.
    News(Notice),
    /// A test: nothing is wrong.
    Test,
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// What.
    pub condition: Condition,
    /// To whom.
    pub vendor: VendorName,
    /// To which user of theirs.
    pub iam_user: IamUserName,
    /// In which rotation.
    pub rotation: RotationId,
    /// In words.
    pub sentence: String,
    /// When.
    pub at: Timestamp,
    /// Its place in the history.
    pub position: u64,
}

impl Notification {
    /// The test that `keyround alert test` sends.
    #[must_use]
    pub fn test(now: Timestamp) -> Notification {
        Notification { items: vec![Item::Test], incident: Some(AlertKey("test".to_owned())), at: now }
    }
}

/// What to tell this sink now, in order. `notices`: what happened after its cursor.
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

/// Things to tell that belong together, and the incident that they are about.
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
        // What happened and is over is no state.
        Style::State => vec![(None, firing.into_iter().chain(over).collect())],
        Style::Incidents => {
            let mut notifications = openings(memory, firing);
            notifications.extend(closings(memory, over));
            notifications.extend(recovered.into_iter().chain(news).map(|item| (None, vec![item])));
            notifications
        }
    }
}

/// When to decide again, if nothing happens before.
#[must_use]
pub fn next_time(
    policy: &Policy,
    memory: &DeliveryState,
    active: &ActiveAlerts,
    now: Timestamp,
) -> Timestamp {
    // What was not taken may be over by now: then there is nothing to try again.
    if memory.failures > 0 && memory.is_left_alone(now) {
        return memory.not_before;
    }
    let every = every(policy);
    let still = |told: &Told| {
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

/// What is wrong and was not told for certain, or was told long enough ago.
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

/// What was told, or may have been, and is over. To those who keep alerts apart, what became another one that they are
/// told of is over, too.
fn over(policy: &Policy, memory: &DeliveryState, active: &ActiveAlerts) -> Vec<Item> {
    let became = |told: &Told| {
        let firing = active.firing.get(&told.alert.key())?;
        let is_other = firing.condition != told.alert.condition && policy.on.contains(&firing.condition);
        (is_other && policy.style != Style::Messages).then(|| firing.sentence.clone())
    };
    let item = |told: &Told| {
        let sentence = became(told).or_else(|| active.end_of(&told.alert))?;
        Some(Item::Over { alert: told.alert.clone(), sentence })
    };
    memory.told.values().filter_map(item).collect()
}

/// What was noted, and is over. Nobody has recovered whose trouble is only another one.
fn recovered(memory: &DeliveryState, active: &ActiveAlerts) -> Vec<Item> {
    let item = |(key, alert): (&AlertKey, &Alert)| {
        let sentence = active.end_of(alert)?;
        let in_trouble = active.firing.get(key).is_some_and(|firing| firing.condition.is_trouble());
        (!in_trouble).then(|| Item::Recovered { alert: alert.clone(), sentence })
    };
    memory.noted.iter().filter_map(item).collect()
}

/// Incidents are opened before others are closed: what gets worse is never without one.
fn openings(memory: &DeliveryState, firing: Vec<Item>) -> Vec<Batch> {
    let mut open: BTreeMap<AlertKey, Vec<Item>> = BTreeMap::new();
    let mut begun: BTreeMap<Condition, Vec<Alert>> = BTreeMap::new();
    for item in firing {
        let Item::Firing { alert, again } = item else { continue };
        // What is open, or may be, must stay the same incident.
        match memory.told.get(&alert.incident()) {
            Some(told) => {
                open.entry(told.incident.clone()).or_default().push(Item::Firing { alert, again });
            }
            None => begun.entry(alert.condition).or_default().push(alert),
        }
    }
    for alerts in begun.into_values() {
        let together = alerts.len() > INCIDENTS_AT_ONCE_MAX;
        let shared = alerts.first().map(|first| AlertKey(format!("{}/and-more", first.incident().0)));
        for alert in alerts {
            let own = alert.incident();
            let incident = shared.clone().filter(|_| together).unwrap_or(own);
            open.entry(incident).or_default().push(Item::Firing { alert, again: false });
        }
    }
    open.into_iter().map(|(incident, items)| (Some(incident), items)).collect()
}

/// An incident is closed when the last of what it is about is over, and not before.
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
