//! Long series of notifications to sinks that refuse some of them, or whose answers are lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to eight users and to the sink, an overdue key is reported as soon as the sink can be reached,
    /// and in the end no alert is left open. Except where an answer was lost, nothing is sent twice within `repeat`,
    /// and what was sent is resolved exactly once.
    #[test]
    fn sink_failures_lose_no_alert_and_only_unknown_results_duplicate_one(life in lives()) {
        for style in STYLES {
            live(style, &life)?;
        }
    }
}

#[derive(Clone, Debug)]
struct Step {
    secs: u64,
    states: Vec<State>,
    /// How the delivery of each notification ends. All later deliveries succeed.
    hearings: Vec<Hearing>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hearing {
    Heard,
    Refused,
    /// The sink receives the notification, and its answer is lost.
    AnswerLost,
    /// The notification is lost.
    Lost,
}

fn lives() -> impl Strategy<Value = Vec<Step>> {
    let state = prop::sample::select(vec![
        State::Ok,
        State::Warning,
        State::Due,
        State::Overdue,
        State::Rotating,
        State::Stuck,
        State::Held,
    ]);
    let hearing = prop_oneof![
        6 => Just(Hearing::Heard),
        1 => Just(Hearing::Refused),
        1 => Just(Hearing::AnswerLost),
        1 => Just(Hearing::Lost),
    ];
    let hearings = prop::collection::vec(hearing, 0..4);
    let step = (1_u64..90_000, prop::collection::vec(state, 8), hearings);
    let step = step.prop_map(|(secs, states, hearings)| Step { secs, states, hearings });
    prop::collection::vec(step, 1..30)
}

fn live(style: Style, life: &[Step]) -> Result<(), TestCaseError> {
    let mut route = Route::new(style, &["warning", "overdue", "stuck"]);
    let mut believer = Believer { style, open: BTreeMap::new(), doubtful: BTreeSet::new() };
    let mut at = now();
    let calm = Step { secs: 90_000, states: vec![State::Ok; 8], hearings: Vec::new() };
    for step in life.iter().chain([&calm]) {
        at = at + Duration::from_secs(step.secs);
        let users: Vec<User> =
            step.states.iter().zip(0..).map(|(state, n)| User::new(&format!("v{n}"), *state)).collect();
        let was_left_alone = at < route.memory.not_before;
        let notifications = route.notifications(&users, true, at);
        prop_assert!(!was_left_alone || notifications.is_empty());
        let hearings = step.hearings.iter().copied().chain(std::iter::repeat(Hearing::Heard));
        let mut reached = !was_left_alone;
        for (notification, hearing) in notifications.iter().zip(hearings) {
            if hearing != Hearing::Refused {
                believer.hears(notification, at, hearing)?;
            }
            match hearing {
                Hearing::Heard => route.take(std::slice::from_ref(notification), at),
                Hearing::Refused => route.memory.refused(notification, None, at),
                Hearing::AnswerLost | Hearing::Lost => route.memory.lost(style, notification, None, at),
            }
            reached &= hearing == Hearing::Heard;
            if !reached {
                break;
            }
        }
        for user in users.iter().filter(|user| reached && user.verdict.state == State::Overdue) {
            let alerts = active(&[user.seen()], true, at);
            let alert = alerts.firing().next().expect("it is overdue");
            let known = believer.open.get(&style.slot(alert)).map(|open| open.condition);
            prop_assert_eq!(known, Some(Condition::Overdue), "silent about {:?}", alert);
        }
    }
    prop_assert!(believer.open.is_empty(), "still believed: {:?}", believer.open);
    prop_assert!(route.memory.told.is_empty(), "still remembered: {:?}", route.memory.told);
    Ok(())
}

/// A reader who believes every notification.
struct Believer {
    style: Style,
    /// The open alerts, by slot. A reader of messages has one for each topic; one who keeps incidents has each of them
    /// until it is closed.
    open: BTreeMap<AlertKey, Open>,
    /// The slots of which an answer was lost since the last one that arrived.
    doubtful: BTreeSet<AlertKey>,
}

#[derive(Debug)]
struct Open {
    condition: Condition,
    at: Timestamp,
}

impl Believer {
    fn hears(
        &mut self,
        notification: &Notification,
        at: Timestamp,
        hearing: Hearing,
    ) -> Result<(), TestCaseError> {
        for item in &notification.items {
            let (Item::Firing { alert, .. } | Item::Over { alert, .. }) = item else {
                return Err(TestCaseError::fail(format!("{item:?}")));
            };
            let slot = self.style.slot(alert);
            let is_doubtful = self.doubtful.contains(&slot);
            if hearing == Hearing::Heard {
                self.doubtful.remove(&slot);
            } else {
                self.doubtful.insert(slot.clone());
            }
            let is_firing = matches!(item, Item::Firing { .. });
            let is_instead =
                |other: &Item| matches!(other, Item::Firing { alert, .. } if self.style.slot(alert) == slot);
            match self.open.get(&slot) {
                _ if hearing == Hearing::Lost => {}
                before if is_firing => {
                    let before = before.filter(|open| open.condition == alert.condition && !is_doubtful);
                    let is_soon = before.is_some_and(|open| at.since(open.at) < REPEAT);
                    prop_assert!(!is_soon || self.style == Style::State, "{alert:?} is told twice");
                    self.open.insert(slot, Open { condition: alert.condition, at });
                }
                // The same notification says which condition replaces the alert.
                _ if notification.items.iter().any(is_instead) => {}
                before => {
                    let is_believed = before.is_some_and(|open| open.condition == alert.condition);
                    prop_assert!(is_believed || is_doubtful, "{alert:?} is over twice");
                    self.open.remove(&slot);
                }
            }
        }
        Ok(())
    }
}
