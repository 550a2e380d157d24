//! What to tell a sink now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::alert::condition::Condition;
use crate::alert::memory::{Memory, Told};
use crate::alert::picture::{Alert, AlertKey, Picture};
use crate::ids::{IamUserName, RotationId, VendorName};
use crate::time::Timestamp;

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

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Telling {
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

impl Telling {
    /// The test that `keyround alert test` sends.
    #[must_use]
    pub fn test(now: Timestamp) -> Telling {
        Telling { items: vec![Item::Test], incident: Some(AlertKey("test".to_owned())), at: now }
    }
}

/// What to tell this sink now, in order. `notices`: what happened after its cursor.
#[must_use]
pub fn decide(
    policy: &Policy,
    memory: &Memory,
    picture: &Picture,
    notices: &[Notice],
    now: Timestamp,
) -> Vec<Telling> {
    if now < memory.not_before {
        return Vec::new();
    }
    let at = memory.trying_since.unwrap_or(now);
    let told = |(incident, items): (Option<AlertKey>, Vec<Item>)| Telling { items, incident, at };
    let tellings = sorted_out(policy, memory, picture, notices, now).into_iter();
    tellings.filter(|(_, items)| !items.is_empty()).map(told).collect()
}

/// Things to tell that belong together, and the incident that they are about.
type Batch = (Option<AlertKey>, Vec<Item>);

fn sorted_out(
    policy: &Policy,
    memory: &Memory,
    picture: &Picture,
    notices: &[Notice],
    now: Timestamp,
) -> Vec<Batch> {
    let firing = firing(policy, memory, picture, now);
    let over = over(policy.style, memory, picture);
    let news = notices
        .iter()
        .filter(|notice| policy.on.contains(&notice.condition) && notice.position > memory.cursor.position);
    let news: Vec<Item> = news.cloned().map(Item::News).collect();
    match policy.style {
        Style::Messages => {
            vec![(None, firing.into_iter().chain(over).chain(news).collect())]
        }
        // What happened and is over is no state.
        Style::State => {
            let ends =
                over.into_iter().chain(replaced(policy, memory, picture)).filter(is_end).collect::<Vec<_>>();
            vec![(None, firing.into_iter().chain(ends).collect())]
        }
        Style::Incidents => {
            let ends = over.into_iter().chain(replaced(policy, memory, picture)).collect();
            let mut tellings = openings(memory, firing);
            tellings.extend(closings(memory, ends));
            tellings.extend(news.into_iter().map(|item| (None, vec![item])));
            tellings
        }
    }
}

/// When to decide again, if nothing happens before.
#[must_use]
pub fn next_time(policy: &Policy, memory: &Memory, picture: &Picture, now: Timestamp) -> Timestamp {
    // What was not taken may be over by now: then there is nothing to try again.
    if memory.failures > 0 && memory.not_before > now {
        return memory.not_before;
    }
    let every = every(policy);
    let still = |(key, told): (&AlertKey, &Told)| {
        let firing = picture.firing.get(key).filter(|alert| policy.on.contains(&alert.condition))?;
        (!told.quiet && firing.condition == told.alert.condition).then(|| told.at + every)
    };
    memory.told.iter().filter_map(still).min().unwrap_or(Timestamp::NEVER)
}

fn every(policy: &Policy) -> Duration {
    match policy.style {
        Style::Messages | Style::Incidents => policy.repeat,
        Style::State => policy.repeat.min(REFRESH_EVERY),
    }
}

/// What is wrong and was not told, or was told long enough ago.
fn firing(policy: &Policy, memory: &Memory, picture: &Picture, now: Timestamp) -> Vec<Item> {
    let every = every(policy);
    let wanted = picture.firing.iter().filter(|(_, alert)| policy.on.contains(&alert.condition));
    // Who reads messages and may have been told of something else since then believes that.
    let may_be_outdated = |key: &AlertKey| {
        policy.style == Style::Messages && memory.maybe_told.values().any(|maybe| maybe.alert.key() == *key)
    };
    let is_known = |told: &Told, alert: &Alert| {
        !told.quiet && told.alert.condition == alert.condition && !may_be_outdated(&alert.key())
    };
    let item = |(key, alert): (&AlertKey, &Alert)| match memory.told.get(key) {
        Some(told) if is_known(told, alert) => {
            let alert = Alert { since: told.alert.since.min(alert.since), ..alert.clone() };
            (now.since(told.at) >= every).then_some(Item::Firing { alert, again: true })
        }
        Some(_) | None => Some(Item::Firing { alert: alert.clone(), again: false }),
    };
    wanted.filter_map(item).collect()
}

/// What was told, or may have been told, or was quietly noted, and is over.
fn over(style: Style, memory: &Memory, picture: &Picture) -> Vec<Item> {
    let item = |(key, told): (&AlertKey, &Told)| {
        let sentence = picture.end_of(&told.alert)?;
        let alert = told.alert.clone();
        if !told.quiet {
            return Some(Item::Over { alert, sentence });
        }
        // Nobody has recovered whose trouble is only another one.
        let in_trouble = picture.firing.get(key).is_some_and(|firing| firing.condition.is_trouble());
        (!in_trouble).then_some(Item::Recovered { alert, sentence })
    };
    let maybe = memory.maybe_told.values().filter_map(|maybe| {
        // Who reads messages is told of the end of what was told last, and of nothing before it.
        let is_last = style != Style::Messages || memory.is_last(maybe);
        let sentence = picture.end_of(&maybe.alert).filter(|_| is_last)?;
        Some(Item::Over { alert: maybe.alert.clone(), sentence })
    });
    memory.told.iter().filter_map(item).chain(maybe).collect()
}

/// What was told, or may have been told, and got worse, for those to whom that is another alert. What got better is
/// over by itself.
fn replaced(policy: &Policy, memory: &Memory, picture: &Picture) -> Vec<Item> {
    let wanted = picture.firing.iter().filter(|(_, alert)| policy.on.contains(&alert.condition));
    let lesser = |(key, alert): (&AlertKey, &Alert)| -> Vec<Item> {
        let told = memory.told.get(key).filter(|told| !told.quiet);
        let maybe = memory.maybe_told.values().filter(|maybe| maybe.alert.key() == *key);
        let lesser = told.into_iter().chain(maybe).filter(|told| told.alert.condition < alert.condition);
        let over = |told: &Told| Item::Over { alert: told.alert.clone(), sentence: alert.sentence.clone() };
        lesser.map(over).collect()
    };
    wanted.flat_map(lesser).collect()
}

fn is_end(item: &Item) -> bool {
    matches!(item, Item::Over { .. })
}

/// Incidents are opened before others are closed: what gets worse is never without one.
fn openings(memory: &Memory, firing: Vec<Item>) -> Vec<Batch> {
    let mut open: BTreeMap<AlertKey, Vec<Item>> = BTreeMap::new();
    let mut begun: BTreeMap<Condition, Vec<Alert>> = BTreeMap::new();
    for item in firing {
        let Item::Firing { alert, again } = item else { continue };
        match memory.told.get(&alert.key()).filter(|_| again) {
            Some(told) => {
                open.entry(told.incident.clone()).or_default().push(Item::Firing { alert, again });
            }
            None => match memory.maybe_told.get(&alert.incident()) {
                // Perhaps it is open already, and then it must stay the same one.
                Some(maybe) => {
                    open.entry(maybe.incident.clone()).or_default().push(Item::Firing { alert, again });
                }
                None => begun.entry(alert.condition).or_default().push(alert),
            },
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
fn closings(memory: &Memory, ends: Vec<Item>) -> Vec<Batch> {
    let mut closed: BTreeMap<AlertKey, Vec<Item>> = BTreeMap::new();
    let mut recovered = Vec::new();
    for item in ends {
        match &item {
            Item::Over { alert, .. } => {
                let told = memory.told.get(&alert.key());
                let told = told.filter(|told| told.alert.condition == alert.condition);
                if let Some(told) = told.or_else(|| memory.maybe_told.get(&alert.incident())) {
                    closed.entry(told.incident.clone()).or_default().push(item);
                }
            }
            Item::Recovered { .. } => recovered.push(item),
            Item::Firing { .. } | Item::News(_) | Item::Test => {}
        }
    }
    let members = |incident: &AlertKey| {
        let told = memory.told.values().chain(memory.maybe_told.values());
        told.filter(|told| !told.quiet && told.incident == *incident).count()
    };
    closed.retain(|incident, items| items.len() == members(incident));
    let recovered = recovered.into_iter().map(|item| (None, vec![item]));
    closed.into_iter().map(|(incident, items)| (Some(incident), items)).chain(recovered).collect()
}
