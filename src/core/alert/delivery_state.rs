//! What a sink was last sent. This state is stored, and outlives the process.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::alert::active::{ActiveAlerts, Alert, AlertKey};
use crate::core::alert::condition::Condition;
use crate::core::alert::decide::{Item, Notification, Policy, Style};
use crate::core::rotation::retry::wait_after;
use crate::core::time::Timestamp;

/// The longest backoff of a sink that is down. Longer waits are meant for rotations, and not for alerts.
const SINK_WAIT_MAX: Duration = Duration::from_mins(30);

/// What one sink was sent, and how the last deliveries to it ended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DeliveryState {
    /// The position in the journal's history up to which the sink got notices; 0: before the first event.
    pub cursor: u64,
    /// The alerts that the sink has, or may have, as active: sent, and not yet reported as resolved. By
    /// [`Style::slot`].
    pub told: BTreeMap<AlertKey, SentAlert>,
    /// Active alerts that the sink's route does not include, noted so that their end can be sent. By [`Alert::key`].
    pub noted: BTreeMap<AlertKey, Alert>,
    /// The state is incomplete: it was begun while the stored state could not be read.
    pub is_part: bool,
    /// The time of the newest review of the accounts whose findings the sink received.
    pub reviewed_at: Timestamp,
    /// How many deliveries have failed in a row.
    pub failures: u32,
    /// The end of the backoff: no delivery is attempted before.
    pub not_before: Timestamp,
    /// When the first of the failed deliveries was attempted; `None`: the last delivery did not fail.
    pub trying_since: Option<Timestamp>,
}

/// One alert that a sink was sent, or may have been sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SentAlert {
    /// The alert, as it was last sent.
    pub alert: Alert,
    /// When it was last sent.
    pub at: Timestamp,
    /// The incident that the alert is part of.
    pub incident: AlertKey,
    /// The result of the last delivery about this alert was lost, or is not known yet: the sink may have the alert as
    /// active, as resolved, or not at all.
    pub in_doubt: bool,
}

impl DeliveryState {
    /// The state of a sink that was never sent anything. It gets no notices of events up to this position of the
    /// history.
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

    /// An empty state for the time in which the stored one cannot be read. It is incomplete.
    #[must_use]
    pub fn part() -> DeliveryState {
        DeliveryState { is_part: true, ..DeliveryState::new(0) }
    }

    /// This state, with what was sent after it while it could not be read or written. If `later` is complete, it
    /// replaces this state.
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

    /// Notes the active alerts that the sink's route does not include, if the route includes `recovered`.
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

    /// Records that the sink accepted the notification.
    pub fn took(&mut self, style: Style, notification: &Notification, now: Timestamp) {
        (self.failures, self.not_before, self.trying_since) = (0, Timestamp::EPOCH, None);
        for item in &notification.items {
            match item {
                Item::Firing { alert, .. } => self.note(style, notification, alert, (now, false)),
                Item::Over { alert, .. } => {
                    let slot = style.slot(alert);
                    // For a sink of messages, the same notification may have replaced this alert with another one of
                    // its topic.
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

    /// Records that a delivery is attempted and that its result is not known yet. Whatever is in doubt is sent again:
    /// the alert, while it is active, and otherwise its resolution.
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
                // The sink has a repeated alert already, and the other items stay due until a delivery of them is
                // accepted.
                Item::Firing { again: true, .. } | Item::Recovered { .. } | Item::News(_) | Item::Test => {}
            }
        }
    }

    /// Records that the result of a delivery is unknown, and begins a backoff.
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

    /// Records that the sink did not accept the notification, and begins a backoff.
    pub fn refused(&mut self, notification: &Notification, retry_after: Option<Duration>, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.trying_since.get_or_insert(notification.at);
        let wait = wait_after(self.failures, retry_after).unwrap_or(SINK_WAIT_MAX);
        self.not_before = now + wait.min(SINK_WAIT_MAX);
    }

    /// Whether the sink is in its backoff. A backoff that ends later than the longest one allows was set by a clock
    /// that was ahead and has been set right since; it does not count.
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
        let told = SentAlert { alert: alert.clone(), at, incident, in_doubt };
        self.told.insert(style.slot(alert), told);
        self.noted.remove(&alert.key());
    }
}

impl SentAlert {
    /// Whether a repeat is due, or the alert was sent by a clock that was far ahead.
    pub(super) fn is_long_ago(&self, every: Duration, now: Timestamp) -> bool {
        now.since(self.at) >= every || self.at > now + every
    }

    /// Whether the sink certainly has the alert as active, under this condition.
    pub(super) fn is_known(&self, alert: &Alert) -> bool {
        !self.in_doubt && self.alert.condition == alert.condition
    }
}
