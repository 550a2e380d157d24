//! What a sink was last told. It outlives the process.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::condition::Condition;
use crate::alert::decide::{Item, Policy, Style, Telling};
use crate::alert::picture::{Alert, AlertKey, Picture};
use crate::rotation::retry::wait_after;
use crate::time::Timestamp;

/// A sink that is down is tried again at least this often: longer waits are for rotations, not for alarms.
const SINK_WAIT_MAX: Duration = Duration::from_mins(30);

/// What one sink was told, and how it took it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Up to where of the history it was told the news.
    pub cursor: Cursor,
    /// What it was told is wrong, and not yet that it is over.
    pub told: BTreeMap<AlertKey, Told>,
    /// What it may believe to be wrong beside that: its answer was lost, or it keeps what became another alert. By the
    /// key of the incident.
    pub maybe_told: BTreeMap<AlertKey, Told>,
    /// It was begun while what the sink was told before could not be read, so it is not all of it.
    pub is_part: bool,
    /// How often in a row it did not take what it was told.
    pub failures: u32,
    /// It is left alone until then.
    pub not_before: Timestamp,
    /// Since when it does not take what there is to tell.
    pub trying_since: Option<Timestamp>,
}

/// A place in the history.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// The position of the last event that was looked at; 0: none.
    pub position: u64,
    /// Of the events after that place, those from before this time are none of its news: nobody asked for them.
    pub at: Timestamp,
}

/// One thing that a sink was told.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// As it was told last.
    pub alert: Alert,
    /// When that was.
    pub at: Timestamp,
    /// The incident that it is part of.
    pub incident: AlertKey,
    /// It was not told, only seen, so that its end can be.
    pub quiet: bool,
}

impl Memory {
    /// That of a sink which was never told anything. What happened before `now` is none of its news.
    #[must_use]
    pub fn new(now: Timestamp) -> Memory {
        Memory {
            cursor: Cursor { position: 0, at: now },
            told: BTreeMap::new(),
            maybe_told: BTreeMap::new(),
            is_part: false,
            failures: 0,
            not_before: Timestamp::EPOCH,
            trying_since: None,
        }
    }

    /// This, and what was told after it while it could not be read or written.
    #[must_use]
    pub fn and_then(mut self, later: Memory) -> Memory {
        if !later.is_part {
            return later;
        }
        self.told.extend(later.told);
        self.maybe_told.extend(later.maybe_told);
        (self.failures, self.not_before) = (later.failures, later.not_before);
        self
    }

    /// Notes what this sink does not want to hear, but whose end it does. Whether there was anything.
    pub fn watch(&mut self, policy: &Policy, picture: &Picture, now: Timestamp) -> bool {
        if !policy.on.contains(&Condition::Recovered) {
            return false;
        }
        let unheard = picture.firing.iter().filter(|(key, alert)| {
            let wanted = policy.on.contains(&alert.condition);
            alert.condition.is_trouble() && !wanted && !self.told.contains_key(*key)
        });
        let quiet = |(key, alert): (&AlertKey, &Alert)| {
            let told = Told { alert: alert.clone(), at: now, incident: alert.incident(), quiet: true };
            (key.clone(), told)
        };
        let unheard: Vec<_> = unheard.map(quiet).collect();
        let is_news = !unheard.is_empty();
        self.told.extend(unheard);
        is_news
    }

    /// The sink took it.
    pub fn took(&mut self, style: Style, telling: &Telling, now: Timestamp) {
        (self.failures, self.not_before, self.trying_since) = (0, Timestamp::EPOCH, None);
        for item in &telling.items {
            match item {
                Item::Firing { alert, .. } => {
                    self.is_certain(style, alert);
                    let before = self.told.insert(alert.key(), Told::now(telling, alert, now));
                    // To those to whom this is another alert, the end of the one before is still to be told.
                    let other =
                        before.filter(|before| !before.quiet && before.alert.condition != alert.condition);
                    if let Some(other) = other.filter(|_| style != Style::Messages) {
                        self.maybe_told.insert(other.alert.incident(), other);
                    }
                }
                Item::Over { alert, .. } | Item::Recovered { alert, .. } => {
                    self.is_certain(style, alert);
                    let key = alert.key();
                    // It may have begun again as something else in the meantime.
                    if self.told.get(&key).is_some_and(|told| told.alert.condition == alert.condition) {
                        self.told.remove(&key);
                    }
                }
                Item::News(notice) => {
                    let position = self.cursor.position.max(notice.position);
                    self.cursor = Cursor { position, at: Timestamp::EPOCH };
                }
                Item::Test => {}
            }
        }
    }

    /// Of this alert there is no doubt any more, nor, for those who read messages, of what it was before.
    fn is_certain(&mut self, style: Style, alert: &Alert) {
        self.maybe_told.remove(&alert.incident());
        if style == Style::Messages {
            self.maybe_told.retain(|_, maybe| maybe.alert.key() != alert.key());
        }
    }

    /// The sink may have taken it or not, and is left alone for a while. Whatever it may have been told is told again:
    /// that it is wrong, while it is, and else that it is over.
    pub fn lost(&mut self, telling: &Telling, retry_after: Option<Duration>, now: Timestamp) {
        for item in &telling.items {
            match item {
                Item::Firing { alert, again: false } => {
                    self.maybe_told.insert(alert.incident(), Told::now(telling, alert, now));
                }
                Item::Over { alert, .. } => {
                    let key = alert.key();
                    let told = self.told.get(&key).filter(|told| told.alert.condition == alert.condition);
                    if told.is_some_and(|told| !told.quiet) {
                        self.maybe_told.extend(self.told.remove(&key).map(|told| (alert.incident(), told)));
                    }
                }
                Item::Firing { again: true, .. } | Item::Recovered { .. } | Item::News(_) | Item::Test => {}
            }
        }
        self.refused(telling, retry_after, now);
    }

    /// Whether of this alert's topic nothing else was told after it.
    pub(super) fn is_last(&self, maybe: &Told) -> bool {
        let key = maybe.alert.key();
        let is_told = self.told.get(&key).is_some_and(|told| !told.quiet);
        let mut others = self.maybe_told.values().filter(|other| other.alert.key() == key);
        !is_told && others.all(|other| other.at <= maybe.at)
    }

    /// The sink did not take it, and is left alone for a while.
    pub fn refused(&mut self, telling: &Telling, retry_after: Option<Duration>, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.trying_since.get_or_insert(telling.at);
        let wait = wait_after(self.failures, retry_after).unwrap_or(SINK_WAIT_MAX);
        self.not_before = now + wait.min(SINK_WAIT_MAX);
    }
}

impl Told {
    fn now(telling: &Telling, alert: &Alert, now: Timestamp) -> Told {
        let incident = telling.incident.clone().unwrap_or_else(|| alert.incident());
        Told { alert: alert.clone(), at: now, incident, quiet: false }
    }
}
