//! Decisions, as tables. The tests in the submodules cover lost delivery results and long series of failures.

mod keys;
mod lives;
mod lost;
mod reviews;

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::core::ids::{IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::{Doubt, EffectKind, Event, KeyMetadata, KeyUsage, Plan, Rotation};
use crate::core::schedule::{Action, State, Verdict};
use crate::core::time::Timestamp;

const HOUR: Duration = Duration::from_hours(1);
const REPEAT: Duration = Duration::from_hours(24);
const STYLES: [Style; 3] = [Style::Messages, Style::Incidents, Style::State];

// The active alerts.

#[test]
fn each_state_of_a_user_raises_the_expected_alerts() {
    for (state, expected) in [
        (State::Ok, &[][..]),
        (State::Warning, &["warning"]),
        (State::Due, &["due"]),
        (State::Overdue, &["overdue"]),
        (State::Rotating, &[]),
        (State::Stuck, &["overdue", "stuck"]),
        (State::Held, &["overdue"]),
        (State::Unmanaged, &[]),
        (State::Role, &[]),
    ] {
        let user = User::new("acme", state);
        assert_eq!(words(&active(&[user.seen()], true, now())), expected, "{state}");
    }
}

#[test]
fn an_alert_has_the_reason_code_sentence_and_owner_of_its_user() {
    let user = User::new("acme", State::Overdue);
    let active = active(&[user.seen()], true, now());
    let alert = active.firing().next().expect("an alert");
    assert_eq!((alert.reason.as_str(), alert.sentence.as_str()), ("reason", "the sentence of status"));
    assert_eq!(alert.owner.as_deref(), Some("platform@example.com"));
    assert_eq!(alert.since, now().minus(HOUR), "since it is overdue");
    assert_eq!(alert.key().as_str(), "age/acme/user-acme");
    assert_eq!(alert.incident().as_str(), "overdue/acme/user-acme");
}

#[test]
fn a_key_with_a_held_rotation_is_still_overdue() {
    let held = User { rotation: Some(rotation(0)), ..User::new("acme", State::Held) };
    assert_eq!(words(&active(&[held.seen()], true, now())), ["overdue"]);
}

#[test]
fn a_failing_step_raises_an_alert_after_three_attempts() {
    for (failures, expected) in [(1, &[][..]), (2, &[]), (3, &["failed"]), (9, &["failed"])] {
        let user = User { rotation: Some(rotation(failures)), ..User::new("acme", State::Rotating) };
        assert_eq!(words(&active(&[user.seen()], true, now())), expected, "{failures}");
        let next_attempt = now() + HOUR * 24;
        assert_eq!(words(&active(&[user.seen()], true, next_attempt)), expected, "under way: {failures}");
    }
}

#[test]
fn unanswered_calls_for_all_users_raise_one_aws_alert() {
    let silent = |name| User::stuck(name, "unanswered");
    let (one, two, good) = (silent("acme"), silent("zeta"), User::new("good", State::Ok));
    let role = User::new("role", State::Role);
    let all = active(&[one.seen(), two.seen(), role.seen()], true, now());
    assert_eq!(words(&all), ["aws"]);
    let some = active(&[one.seen(), two.seen(), good.seen()], true, now());
    assert_eq!(words(&some), ["overdue", "overdue", "stuck", "stuck"]);
    let early = active(&[one.seen(), good.seen()], false, now());
    assert_eq!(words(&early), [""; 0], "the others of this pass may not have been asked yet");
}

#[test]
fn a_failing_journal_raises_one_alert() {
    let broken = |name| User::stuck(name, "journal");
    let (one, two) = (broken("acme"), broken("zeta"));
    assert_eq!(words(&active(&[one.seen(), two.seen()], true, now())), ["journal"]);
}

#[test]
fn a_clock_alert_lasts_until_a_comparison_for_its_account_agrees() {
    let reading = |account: Option<&str>, offset_secs: i64, is_accepted| ClockReading {
        account: account.map(|account| account.parse().expect("an account")),
        offset_secs,
        is_accepted,
        at: now(),
    };
    for (offset_secs, expected) in
        [(691_200, "was 8d ahead of that of AWS"), (-600, "was 10m behind that of AWS")]
    {
        let active = active(&[], true, now()).with_clocks(&[reading(None, offset_secs, false)]);
        let alert = active.firing().next().expect("an alert");
        assert_eq!((alert.condition.severity(), alert.reason.as_str()), (Severity::Critical, "clock"));
        assert!(alert.sentence.contains(expected), "{}", alert.sentence);
    }
    let mut route = Route::new(Style::Messages, &["clock"]);
    let mut hears = |readings: &[ClockReading]| {
        let active = active(&[], true, now()).with_clocks(readings);
        let notifications = decide(&route.policy, &route.memory, &active, &[], now());
        route.take(&notifications, now());
        short(&notifications)
    };
    assert_eq!(hears(&[reading(Some("production"), 900, false)]), ["+clock/"]);
    assert_eq!(hears(&[]), [""; 0], "nothing was compared");
    assert_eq!(hears(&[reading(None, 0, true)]), [""; 0], "that is another account's clock");
    assert_eq!(hears(&[reading(Some("production"), 1, true)]), ["-clock/"]);
}

// The notifications about them.

#[test]
fn an_alert_is_sent_once_repeated_after_repeat_and_resolved_once() {
    for style in [Style::Messages, Style::Incidents] {
        let mut route = Route::new(style, &["overdue"]);
        let overdue = [User::new("acme", State::Overdue)];
        assert_eq!(route.hears(&overdue, now()), ["+overdue/acme"]);
        assert_eq!(route.hears(&overdue, now() + HOUR), [""; 0], "{style:?}");
        assert_eq!(route.hears(&overdue, now() + REPEAT), ["~overdue/acme"]);
        let ok = [User::new("acme", State::Ok)];
        assert_eq!(route.hears(&ok, now() + REPEAT + HOUR), ["-overdue/acme"]);
        assert_eq!(route.hears(&ok, now() + REPEAT * 3), [""; 0], "{style:?}");
        assert_eq!(route.hears(&overdue, now() + REPEAT * 4), ["+overdue/acme"]);
    }
}

#[test]
fn a_state_sink_receives_a_firing_alert_again_after_a_minute() {
    let mut route = Route::new(Style::State, &["overdue"]);
    let overdue = [User::new("acme", State::Overdue)];
    assert_eq!(route.hears(&overdue, now()), ["+overdue/acme"]);
    assert_eq!(route.hears(&overdue, now() + Duration::from_secs(59)), [""; 0]);
    assert_eq!(route.hears(&overdue, now() + Duration::from_mins(1)), ["~overdue/acme"]);
    assert_eq!(route.hears(&[User::new("acme", State::Ok)], now() + HOUR), ["-overdue/acme"]);
}

#[test]
fn a_worse_condition_is_a_new_message_and_a_new_incident() {
    let on = ["warning", "due", "overdue"];
    let (warning, overdue) = ([User::new("acme", State::Warning)], [User::new("acme", State::Overdue)]);
    let mut reader = Route::new(Style::Messages, &on);
    assert_eq!(reader.hears(&warning, now()), ["+warning/acme"]);
    assert_eq!(reader.hears(&overdue, now() + HOUR), ["+overdue/acme"], "nothing is over");
    for style in [Style::Incidents, Style::State] {
        let mut keeper = Route::new(style, &on);
        assert_eq!(keeper.hears(&warning, now()), ["+warning/acme"]);
        assert_eq!(keeper.hears(&overdue, now() + HOUR), ["+overdue/acme", "-warning/acme"], "{style:?}");
        assert_eq!(keeper.hears(&[User::new("acme", State::Ok)], now() + HOUR * 2), ["-overdue/acme"]);
    }
}

#[test]
fn a_warning_route_is_not_sent_resolved_when_the_state_gets_worse() {
    let mut route = Route::new(Style::Messages, &["warning"]);
    assert_eq!(route.hears(&[User::new("acme", State::Warning)], now()), ["+warning/acme"]);
    assert_eq!(route.hears(&[User::new("acme", State::Due)], now() + HOUR), [""; 0]);
    assert_eq!(route.hears(&[User::new("acme", State::Ok)], now() + HOUR * 2), ["-warning/acme"]);
}

#[test]
fn an_alert_is_not_resolved_while_its_condition_is_unknown() {
    let mut route = Route::new(Style::Messages, &["overdue", "aws"]);
    assert_eq!(route.hears(&[User::new("acme", State::Overdue)], now()), ["+overdue/acme"]);
    let silent = [User::stuck("acme", "not_sent")];
    assert_eq!(route.hears(&silent, now() + HOUR), ["+aws/"]);
    assert_eq!(route.hears_of_a_part(&[], now() + HOUR * 2), [""; 0], "nobody was looked at");
    let answers = [User::new("acme", State::Overdue)];
    assert_eq!(route.hears(&answers, now() + HOUR * 3), ["-aws/"]);
    assert_eq!(route.hears(&[], now() + HOUR * 4), ["-overdue/acme"], "it left the configuration");
}

#[test]
fn many_alerts_at_once_are_one_message_and_one_incident() {
    let many: Vec<User> = (0..200).map(|n| User::new(&format!("v{n:03}"), State::Overdue)).collect();
    let mut reader = Route::new(Style::Messages, &["overdue"]);
    let notifications = reader.notifications(&many, true, now());
    assert_eq!(notifications.len(), 1);
    assert_eq!(headline(&notifications[0]), "keyround: 200 overdue");
    let lines = lines(&notifications[0]);
    assert_eq!(lines.len(), 31);
    assert_eq!(lines.last().map(String::as_str), Some("and 170 more: run keyround status"));

    let mut pager = Route::new(Style::Incidents, &["overdue"]);
    let opened = pager.notifications(&many, true, now());
    assert_eq!(opened.len(), 1);
    pager.take(&opened, now());
    let one_left = &many[..1];
    assert_eq!(pager.notifications(one_left, true, now() + HOUR), [], "it is not over for all of them");
    let closed = pager.notifications(&[], true, now() + HOUR * 2);
    assert_eq!(closed.len(), 1);
    assert_eq!((closed[0].incident.as_ref(), closed[0].items.len()), (opened[0].incident.as_ref(), 200));
    pager.take(&closed, now() + HOUR * 2);
    assert_eq!(pager.notifications(&[], true, now() + HOUR * 3), []);
}

#[test]
fn a_few_alerts_at_once_are_separate_incidents() {
    let few: Vec<User> = (0..5).map(|n| User::new(&format!("v{n}"), State::Overdue)).collect();
    assert_eq!(Route::new(Style::Incidents, &["overdue"]).notifications(&few, true, now()).len(), 5);
}

#[test]
fn a_recovery_is_sent_to_a_route_that_never_received_the_alert() {
    let mut route = Route::new(Style::Messages, &["recovered"]);
    assert_eq!(route.hears(&[User::new("acme", State::Overdue)], now()), [""; 0]);
    assert_eq!(route.hears(&[User::new("acme", State::Due)], now() + HOUR), ["*overdue/acme"]);
    assert_eq!(route.hears(&[User::new("acme", State::Ok)], now() + HOUR * 2), [""; 0]);
}

#[test]
fn news_is_sent_once_per_route_by_journal_position() {
    let notice = |position| Notice {
        condition: Condition::Rotated,
        vendor: name("acme"),
        iam_user: user("acme"),
        rotation: rotation(0).id(),
        sentence: "replaced".to_owned(),
        at: now(),
        position,
    };
    for style in [Style::Messages, Style::Incidents] {
        let mut route = Route::new(style, &["rotated"]);
        let news = [notice(7), notice(9)];
        let told = decide(&route.policy, &route.memory, &ActiveAlerts::default(), &news, now());
        assert_eq!(told.iter().map(|notification| notification.items.len()).sum::<usize>(), 2);
        route.take(&told, now());
        assert_eq!(decide(&route.policy, &route.memory, &ActiveAlerts::default(), &news, now()), []);
    }
    let deaf = Route::new(Style::Messages, &["overdue"]);
    assert_eq!(decide(&deaf.policy, &deaf.memory, &ActiveAlerts::default(), &[notice(1)], now()), []);
}

#[test]
fn retry_waits_for_a_failing_sink_grow_up_to_thirty_minutes() {
    let mut memory = DeliveryState::new(0);
    let mut waits = Vec::new();
    for _ in 0..14 {
        memory.refused(&Notification::test(now()), None, now());
        waits.push(memory.not_before.since(now()));
    }
    assert!(waits.is_sorted(), "{waits:?}");
    assert_eq!((waits[0], waits[13]), (Duration::from_secs(5), Duration::from_mins(30)));
    memory.refused(&Notification::test(now()), Some(HOUR * 100), now());
    assert_eq!(memory.not_before.since(now()), Duration::from_mins(30));
}

#[test]
fn a_refused_notification_is_not_retried_after_its_alert_ends() {
    for style in STYLES {
        let mut route = Route::new(style, &["overdue"]);
        let notifications = route.notifications(&[User::new("acme", State::Overdue)], true, now());
        route.memory.refused(&notifications[0], None, now());
        let next = |route: &Route, at| next_time(&route.policy, &route.memory, &active(&[], true, at), at);
        assert_eq!(next(&route, now()), route.memory.not_before);
        assert_eq!(route.hears(&[], now() + HOUR), [""; 0]);
        assert_eq!(next(&route, now() + HOUR), Timestamp::NEVER, "it would be decided without end");
    }
}

#[test]
fn the_delivery_state_of_a_sink_round_trips_through_json() {
    let mut route = Route::new(Style::Incidents, &["overdue", "recovered"]);
    let _told = route.hears(&[User::new("acme", State::Stuck), User::new("zeta", State::Overdue)], now());
    let text = serde_json::to_string(&route.memory).expect("JSON");
    assert_eq!(serde_json::from_str::<DeliveryState>(&text).expect("a memory"), route.memory);
    let (told, noted) = (route.memory.told.len(), route.memory.noted.len());
    assert_eq!((told, noted), (2, 1), "{text}");
}

#[test]
fn a_message_states_user_condition_since_reason_and_owner() {
    let mut route = Route::new(Style::Messages, &["overdue"]);
    let told = route.notifications(&[User::new("acme", State::Overdue)], true, now());
    assert_eq!(headline(&told[0]), "keyround: acme (user-acme) overdue");
    assert_eq!(
        lines(&told[0]),
        ["acme (user-acme) overdue since 2026-11-23T11:00:00Z [reason]: the sentence of status; ask \
             platform@example.com"]
    );
}

#[test]
fn every_condition_has_a_unique_name_and_is_parsed_back() {
    let words: BTreeSet<&str> = Condition::ALL.iter().map(|condition| condition.as_str()).collect();
    assert_eq!(words.len(), Condition::ALL.len());
    for condition in Condition::ALL {
        assert_eq!(condition.as_str().parse(), Ok(condition));
        assert_eq!(serde_json::to_value(condition).expect("JSON"), condition.as_str());
    }
}

// The users and the routes of these tests.

struct User {
    vendor: VendorName,
    name: IamUserName,
    rotation: Option<Rotation>,
    verdict: Verdict,
    keys: Vec<KeyMetadata>,
    keys_listed_at: Option<Timestamp>,
    keys_unanswered: bool,
    exposed_use: Option<KeyUsage>,
}

impl User {
    fn new(vendor: &str, state: State) -> User {
        let due = [State::Due, State::Overdue, State::Stuck, State::Held, State::Rotating].contains(&state);
        let overdue = due && state != State::Due;
        let verdict = Verdict {
            state,
            reason: "reason",
            sentence: String::new(),
            due_at: due.then(|| now().minus(HOUR * 2)),
            overdue_at: overdue.then(|| now().minus(HOUR)),
            old: None,
            action: Action::Nothing,
        };
        let (vendor, name, rotation) = (name(vendor), user(vendor), None);
        User {
            vendor,
            name,
            rotation,
            verdict,
            keys: Vec::new(),
            keys_listed_at: None,
            keys_unanswered: false,
            exposed_use: None,
        }
    }

    /// A user that is stuck for this reason.
    fn stuck(vendor: &str, reason: &'static str) -> User {
        let user = User::new(vendor, State::Stuck);
        User { verdict: Verdict { reason, ..user.verdict }, ..user }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            vendor: &self.vendor,
            iam_user: Some(&self.name),
            account: None,
            owner: Some("platform@example.com"),
            verdict: &self.verdict,
            sentence: "the sentence of status".to_owned(),
            rotation: self.rotation.as_ref(),
            failed: false,
            keys: &self.keys,
            keys_listed_at: self.keys_listed_at,
            keys_unanswered: self.keys_unanswered,
            exposed_use: self.exposed_use.as_ref(),
            since: now(),
        }
    }
}

struct Route {
    policy: Policy,
    memory: DeliveryState,
}

impl Route {
    fn new(style: Style, on: &[&str]) -> Route {
        let on = on.iter().map(|word| word.parse().expect("a condition")).collect();
        Route { policy: Policy { on, repeat: REPEAT, style }, memory: DeliveryState::new(0) }
    }

    fn notifications(&mut self, users: &[User], whole: bool, at: Timestamp) -> Vec<Notification> {
        let seen: Vec<Seen<'_>> = users.iter().map(User::seen).collect();
        let active = active(&seen, whole, at);
        self.memory.watch(&self.policy, &active);
        decide(&self.policy, &self.memory, &active, &[], at)
    }

    fn take(&mut self, notifications: &[Notification], at: Timestamp) {
        for notification in notifications {
            self.memory.took(self.policy.style, notification, at);
        }
    }

    /// What the route is sent, in short: `+` begins, `~` is repeated, `-` is resolved, `*` has recovered.
    fn hears(&mut self, users: &[User], at: Timestamp) -> Vec<String> {
        let notifications = self.notifications(users, true, at);
        self.take(&notifications, at);
        short(&notifications)
    }

    fn hears_of_a_part(&mut self, users: &[User], at: Timestamp) -> Vec<String> {
        let notifications = self.notifications(users, false, at);
        self.take(&notifications, at);
        short(&notifications)
    }
}

fn short(notifications: &[Notification]) -> Vec<String> {
    let said = |mark: &str, alert: &Alert| {
        format!("{mark}{}/{}", alert.condition, alert.vendor.as_ref().map_or("", VendorName::as_str))
    };
    let item = |item: &Item| match item {
        Item::Firing { alert, again: false } => said("+", alert),
        Item::Firing { alert, again: true } => said("~", alert),
        Item::Over { alert, .. } => said("-", alert),
        Item::Recovered { alert, .. } => said("*", alert),
        Item::News(notice) => format!("!{}", notice.vendor),
        Item::Test => "test".to_owned(),
    };
    notifications.iter().flat_map(|notification| notification.items.iter().map(item)).collect()
}

fn words(active: &ActiveAlerts) -> Vec<&'static str> {
    let mut words: Vec<&str> = active.firing().map(|alert| alert.condition.as_str()).collect();
    words.sort_unstable();
    words
}

/// A rotation whose first listing has failed this many times.
fn rotation(failures: u32) -> Rotation {
    let subject = Subject { vendor: name("acme"), account: None, iam_user: user("acme") };
    let old = "AKIAOLD0000000000001".parse().expect("a key id");
    let id = RotationId::new(&subject, &old, now());
    let plan = Plan::default();
    let started = Event::Started {
        subject,
        old,
        old_created_at: Timestamp::EPOCH,
        reason: String::new(),
        plan,
        account_id: None,
        at: now(),
    };
    let doubt = Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
    let failure = Event::Unanswered { doing: EffectKind::List, doubt, at: now() };
    let failures = std::iter::repeat_n(&failure, usize::try_from(failures).expect("a few"));
    Rotation::replay(id, std::iter::once(&started).chain(failures)).expect("a legal life")
}

fn name(vendor: &str) -> VendorName {
    vendor.parse().expect("a vendor")
}

fn user(vendor: &str) -> IamUserName {
    format!("user-{vendor}").parse().expect("a user")
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}
