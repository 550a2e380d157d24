//! What a sink was last told. It outlives the process.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::alert::active::{ActiveAlerts, Alert, AlertKey};
use crate::core::alert::condition::Condition;
use crate::core::alert::decide::{Item, Notification, Policy, Style};
use crate::core::rotation::retry::wait_after;
use crate::core::time::Timestamp;

/// A sink that is down is tried again at least this often: longer waits are for rotations, not for alarms.
const SINK_WAIT_MAX: Duration = Duration::from_mins(30);

/// What one sink was told, and how it took it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DeliveryState {
    /// The place in the history up to which it was told the news; 0: before the first.
    pub cursor: u64,
    /// What it believes to be wrong, or may believe: told, and not yet that it is over. By [`Style::slot`].
    pub told: BTreeMap<AlertKey, Told>,
    /// What it does not want to hear, noted so that the end of it can be told. By [`Alert::key`].
    pub noted: BTreeMap<AlertKey, Alert>,
    /// It was begun while what the sink was told before could not be read, so it is not all of it.
    pub is_part: bool,
    /// When it was last told what a review of the accounts found.
    pub reviewed_at: Timestamp,
    /// How often in a row it did not take what it was told.
    pub failures: u32,
    /// It is left alone until then.
    pub not_before: Timestamp,
    /// Since when it does not take what there is to tell.
    pub trying_since: Option<Timestamp>,
}

/// One thing that a sink was told, or may have been told.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// As it was told last.
    pub alert: Alert,
    /// When that was.
    pub at: Timestamp,
    /// The incident that it is part of.
    pub incident: AlertKey,
    /// The sink's last answer about it was lost, or is not here yet: it may know that this is wrong, that it is over, or neither.
    pub in_doubt: bool,
}

impl DeliveryState {
    /// That of a sink which was never told anything. What happened up to this place of the history is none of its news.
    #[must_use]
    pub fn new(cursor: u64) -> DeliveryState {
        DeliveryState {
            cursor,
            told: BTreeMap::new(),
            noted: BTreeMap::new(),
            is_part: false,
            reviewed_at: Timestamp::EPOCH,
            failures: 0,
            not_before: Timestamp::EPOCH,
            trying_since: None,
        }
    }

    /// One that is begun while it cannot be read what the sink was told before.
    #[must_use]
    pub fn part() -> DeliveryState {
        DeliveryState { is_part: true, ..DeliveryState::new(0) }
    }

    /// This, and what was told after it while it could not be read or written.
    #[must_use]
    pub fn and_then(mut self, later: DeliveryState) -> DeliveryState {
        if !later.is_part {
            return later;
        }
        self.told.extend(later.told);
        self.noted.extend(later.noted);
        DeliveryState {
            failures: later.failures,
            not_before: later.not_before,
            trying_since: later.trying_since,
            ..self
        }
    }

    /// Notes what this sink does not want to hear, but whose end it does.
    pub fn watch(&mut self, policy: &Policy, active: &ActiveAlerts) {
        if !policy.on.contains(&Condition::Recovered) {
            return;
        }
        for (key, alert) in &active.firing {
            let wanted = policy.on.contains(&alert.condition);
            let is_told = || self.told.values().any(|told| told.alert.key() == *key);
            if alert.condition.is_trouble() && !wanted && !self.noted.contains_key(key) && !is_told() {
                self.noted.insert(key.clone(), alert.clone());
            }
        }
    }

    /// The sink took it.
    pub fn took(&mut self, style: Style, notification: &Notification, now: Timestamp) {
        (self.failures, self.not_before, self.trying_since) = (0, Timestamp::EPOCH, None);
        for item in &notification.items {
            match item {
                Item::Firing { alert, .. } => self.note(style, notification, alert, (now, false)),
                Item::Over { alert, .. } => {
                    let slot = style.slot(alert);
                    // Who reads messages may have been told in the same one what it is instead.
                    if self.told.get(&slot).is_some_and(|told| told.alert.condition == alert.condition) {
                        self.told.remove(&slot);
                    }
                }
                Item::Recovered { alert, .. } => drop(self.noted.remove(&alert.key())),
                Item::News(notice) => self.cursor = self.cursor.max(notice.position),
                Item::Test => {}
            }
        }
    }

    /// The sink may hear it from now on, and nobody knows whether it does. Whatever is in doubt is told again: that it is
    /// wrong, while it is, and else that it is over.
    pub fn is_being_told(&mut self, style: Style, notification: &Notification, now: Timestamp) {
        for item in &notification.items {
            match item {
                Item::Firing { alert, again: false } => self.note(style, notification, alert, (now, true)),
                Item::Over { alert, .. } => {
                    let told = self.told.get_mut(&style.slot(alert));
                    if let Some(told) = told.filter(|told| told.alert.condition == alert.condition) {
                        told.in_doubt = true;
                    }
                }
                // It knows of the alert already, and the rest is simply told again.
                Item::Firing { again: true, .. } | Item::Recovered { .. } | Item::News(_) | Item::Test => {}
            }
        }
    }

    /// The sink may have taken it or not, and is left alone for a while.
    pub fn lost(
        &mut self,
        style: Style,
        notification: &Notification,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) {
        self.is_being_told(style, notification, now);
        self.refused(notification, retry_after, now);
    }

    /// The sink did not take it, and is left alone for a while.
    pub fn refused(&mut self, notification: &Notification, retry_after: Option<Duration>, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.trying_since.get_or_insert(notification.at);
        let wait = wait_after(self.failures, retry_after).unwrap_or(SINK_WAIT_MAX);
        self.not_before = now + wait.min(SINK_WAIT_MAX);
    }

    /// Whether it is too early to try it again. No wait is longer than the longest: who said so had a clock that was
    /// ahead, and was set right since.
    pub(super) fn is_left_alone(&self, now: Timestamp) -> bool {
        now < self.not_before && self.not_before <= now + SINK_WAIT_MAX
    }

    fn note(
        &mut self,
        style: Style,
        notification: &Notification,
        alert: &Alert,
        (at, in_doubt): (Timestamp, bool),
    ) {
        let incident = notification.incident.clone().unwrap_or_else(|| alert.incident());
        let told = Told { alert: alert.clone(), at, incident, in_doubt };
        self.told.insert(style.slot(alert), told);
        self.noted.remove(&alert.key());
    }
}

impl Told {
    /// Whether it is time to tell it again, or was told by a clock that was far ahead.
    pub(super) fn is_long_ago(&self, every: Duration, now: Timestamp) -> bool {
        now.since(self.at) >= every || self.at > now + every
    }

    /// Whether the sink certainly knows that this is wrong.
    pub(super) fn is_known(&self, alert: &Alert) -> bool {
        !self.in_doubt && self.alert.condition == alert.condition
    }
}
