//! Alerts for users without an Active key and for rotations on hold, and the sentences about keys.

use super::*;
use crate::core::ids::AccessKeyId;
use crate::core::rotation::{IncidentMode, Intent, KeyStatus, RemovalReason, Verification};

const OLD: &str = "AKIAOLD0000000000001";
const NEW: &str = "AKIANEW0000000000001";

fn key(id: &str, status: KeyStatus) -> KeyMetadata {
    KeyMetadata { id: id.parse().expect("a key id"), status, created_at: Timestamp::EPOCH }
}

fn listed(keys: &[KeyMetadata], at: Timestamp) -> Event {
    Event::Listed { keys: keys.to_vec(), at }
}

/// The events of a rotation that began at `now()` and has reached its soak.
fn soaking() -> Vec<Event> {
    let (new, at): (AccessKeyId, _) = (NEW.parse().expect("a key id"), now());
    let probed = Event::Probed { at };
    vec![
        listed(&[key(OLD, KeyStatus::Active)], at),
        Event::Created { key: new.clone(), at, request_id: None },
        probed.clone(),
        probed.clone(),
        probed,
        Event::Intended { intent: Intent::Deliver { key: new, round: 1 }, at },
        Event::Delivered { at },
        Event::Verified { by: Verification::Asked, at },
    ]
}

fn cooling() -> Vec<Event> {
    let because = RemovalReason::Superseded { by: NEW.parse().expect("a key id"), verified_at: now() };
    let intent = Intent::Deactivate { key: OLD.parse().expect("a key id"), because };
    let mut events = soaking();
    events.push(Event::Intended { intent, at: now() });
    events.push(Event::Deactivated { at: now(), request_id: None });
    events
}

fn rotation_after(events: &[Event]) -> Rotation {
    let mut rotation = rotation(0);
    for event in events {
        crate::core::rotation::samples::happen(&mut rotation, event).expect("a legal life");
    }
    rotation
}

fn of(state: State, events: &[Event]) -> User {
    User { rotation: Some(rotation_after(events)), ..User::new("acme", state) }
}

fn alert_of(user: &User, condition: Condition, at: Timestamp) -> Option<Alert> {
    let active = active(&[user.seen()], true, at);
    active.firing().find(|alert| alert.condition == condition).cloned()
}

#[test]
fn a_user_without_an_active_key_raises_a_critical_alert() {
    let (active, inactive) = (KeyStatus::Active, KeyStatus::Inactive);
    let at = now() + HOUR;
    for (keys, is_told) in [
        (vec![], true),
        (vec![key(OLD, inactive)], true),
        (vec![key(OLD, inactive), key(NEW, KeyStatus::Expired)], true),
        (vec![key(OLD, inactive), key(NEW, active)], false),
        (vec![key(OLD, active)], false),
    ] {
        for (state, events) in
            [(State::Unmanaged, None), (State::Rotating, Some(soaking())), (State::Stuck, Some(cooling()))]
        {
            let rotation = events.map(|events| rotation_after(&events));
            let user =
                User { rotation, keys: keys.clone(), keys_listed_at: Some(at), ..User::new("acme", state) };
            let alert = alert_of(&user, Condition::NoWorkingKey, at);
            assert_eq!(alert.is_some(), is_told, "{state}: {keys:?}");
            for (alert, key) in alert.iter().zip(&keys) {
                let named =
                    format!("{} was {} at {at}", key.id, crate::core::schedule::status_word(key.status));
                assert!(alert.sentence.contains(&named), "{}", alert.sentence);
                assert_eq!(alert.condition.severity(), Severity::Critical);
            }
        }
    }
}

#[test]
fn key_states_in_the_journal_raise_alerts_when_keys_are_not_listed() {
    let both = [key(OLD, KeyStatus::Inactive), key(NEW, KeyStatus::Inactive)];
    let dead = [cooling(), vec![listed(&both, now() + HOUR)]].concat();
    let switched_off = of(State::Unmanaged, &dead);
    let alert = alert_of(&switched_off, Condition::NoWorkingKey, now() + HOUR * 2).expect("told");
    assert_eq!(alert.since, now(), "since this process saw it, or before");
    assert!(
        alert.sentence.contains(&format!("{NEW} was Inactive at {}", now() + HOUR)),
        "{}",
        alert.sentence
    );
    assert_eq!(alert_of(&of(State::Rotating, &cooling()), Condition::NoWorkingKey, now()), None);
    assert_eq!(alert_of(&User::new("acme", State::Stuck), Condition::NoWorkingKey, now()), None);
}

#[test]
fn a_no_working_key_alert_is_resolved_only_after_a_new_listing() {
    let mut route = Route::new(Style::Incidents, &["no-working-key"]);
    let user = |status, listed_at| {
        [User { keys: vec![key(OLD, status)], keys_listed_at: listed_at, ..User::new("acme", State::Stuck) }]
    };
    assert_eq!(route.hears(&user(KeyStatus::Inactive, Some(now())), now()), ["+no-working-key/acme"]);
    assert_eq!(route.hears(&user(KeyStatus::Active, None), now() + HOUR), [""; 0], "nobody looked");
    assert_eq!(route.hears(&user(KeyStatus::Active, Some(now())), now() + HOUR), ["-no-working-key/acme"]);
}

#[test]
fn an_older_journal_listing_resolves_no_alert_after_an_unanswered_one() {
    let mut route = Route::new(Style::Incidents, &["no-working-key"]);
    let stuck = |keys: Vec<KeyMetadata>, keys_listed_at, keys_unanswered| {
        [User { keys, keys_listed_at, keys_unanswered, ..of(State::Stuck, &soaking()) }]
    };
    let off = vec![key(OLD, KeyStatus::Inactive), key(NEW, KeyStatus::Inactive)];
    let told = route.hears(&stuck(off, Some(now() + HOUR), false), now() + HOUR);
    assert_eq!(told, ["+no-working-key/acme"]);
    let told = route.hears(&stuck(Vec::new(), None, true), now() + HOUR * 2);
    assert_eq!(told, [""; 0], "the journal's listing is older");
}

#[test]
fn an_older_journal_listing_resolves_no_alert_of_a_disabled_vendor() {
    let off = vec![key(OLD, KeyStatus::Inactive), key(NEW, KeyStatus::Inactive)];
    let listed = User { keys: off, keys_listed_at: Some(now() + HOUR), ..of(State::Rotating, &soaking()) };
    let mut route = Route::new(Style::Incidents, &["no-working-key"]);
    assert_eq!(route.hears(&[listed], now() + HOUR), ["+no-working-key/acme"]);
    let told = route.hears(&[of(State::Unmanaged, &soaking())], now() + HOUR * 2);
    assert_eq!(told, [""; 0], "nothing was listed since");
}

#[test]
fn a_key_that_was_set_active_resolves_the_alert_without_a_listing() {
    let off = vec![key(OLD, KeyStatus::Inactive), key(NEW, KeyStatus::Inactive)];
    let at = now() + HOUR;
    let asked =
        Event::ReactivationAsked { by: "ops".to_owned(), why: "outage".to_owned(), exposed: false, at };
    let intended = Event::Intended { intent: Intent::Reactivate { key: OLD.parse().expect("a key id") }, at };
    let sent = [cooling(), vec![listed(&off, at), asked, intended]].concat();
    let answered = [sent.clone(), vec![Event::Reactivated { at: at + HOUR }]].concat();
    for (state, keys_unanswered) in [(State::Unmanaged, false), (State::Rotating, true)] {
        let mut route = Route::new(Style::Incidents, &["no-working-key"]);
        let user = |events: &[Event]| [User { keys_unanswered, ..of(state, events) }];
        let listed = User { keys: off.clone(), keys_listed_at: Some(at), ..of(State::Rotating, &cooling()) };
        assert_eq!(route.hears(&[listed], at), ["+no-working-key/acme"]);
        assert_eq!(route.hears(&user(&sent), at + HOUR), [""; 0], "{state}: the request may be lost");
        assert_eq!(route.hears(&user(&answered), at + HOUR), ["-no-working-key/acme"], "{state}");
    }
}

#[test]
fn a_renamed_vendor_resolves_no_alert_before_its_keys_are_listed() {
    let off = vec![key(OLD, KeyStatus::Inactive), key(NEW, KeyStatus::Inactive)];
    let mut route = Route::new(Style::Incidents, &["no-working-key"]);
    let before = of(State::Rotating, &cooling());
    let name = before.name.clone();
    let before = User { keys: off.clone(), keys_listed_at: Some(now() + HOUR), ..before };
    assert_eq!(route.hears(&[before], now() + HOUR), ["+no-working-key/acme"]);
    let renamed = |state| User {
        name: name.clone(),
        rotation: Some(rotation_after(&cooling())),
        ..User::new("zeta", state)
    };
    let told = route.hears(&[renamed(State::Unmanaged)], now() + HOUR * 2);
    assert_eq!(told, [""; 0], "its keys were not listed since");
    let listed = User { keys: off, keys_listed_at: Some(now() + HOUR * 3), ..renamed(State::Rotating) };
    let told = route.hears(&[listed], now() + HOUR * 3);
    assert_eq!(told, ["+no-working-key/zeta", "-no-working-key/acme"]);
    let other = User::new("other", State::Unmanaged);
    let told = route.hears(&[other], now() + HOUR * 4);
    assert_eq!(told, ["-no-working-key/zeta"], "the configuration names the user no more");
}

#[test]
fn a_user_without_an_active_key_raises_its_alert_also_without_the_journal() {
    let unwritten = |keys: &[KeyMetadata], listed_at| User {
        keys: keys.to_vec(),
        keys_listed_at: listed_at,
        ..User::stuck("acme", "journal_unavailable")
    };
    let mut route = Route::new(Style::Incidents, &["no-working-key"]);
    assert_eq!(route.hears(&[unwritten(&[], None)], now()), [""; 0], "its keys were not listed");
    let off = [key(OLD, KeyStatus::Inactive), key(NEW, KeyStatus::Inactive)];
    assert_eq!(route.hears(&[unwritten(&off, Some(now()))], now()), ["+no-working-key/acme"]);
}

#[test]
fn a_hold_raises_an_alert_after_a_day_with_or_without_an_end() {
    for until in [None, Some(now() + HOUR * 900)] {
        let held = Event::Held { until, by: "ops".to_owned(), why: "freeze".to_owned(), at: now() + HOUR };
        let user = of(State::Held, &[soaking(), vec![held]].concat());
        let alert = |at| alert_of(&user, Condition::Held, at).map(|alert| alert.since);
        assert_eq!(alert(now() + HOUR * 24), None);
        assert_eq!(alert(now() + HOUR * 25), Some(now() + HOUR), "{until:?}");
    }
}

#[test]
fn disabling_a_vendor_in_rotation_alerts_after_a_day_or_at_once_in_cool() {
    let (soaking, cooling) = (of(State::Unmanaged, &soaking()), of(State::Unmanaged, &cooling()));
    for (user, at, is_told) in [
        (&soaking, now() + HOUR * 23, false),
        (&soaking, now() + HOUR * 24, true),
        (&cooling, now() + HOUR, true),
    ] {
        assert_eq!(alert_of(user, Condition::Held, at).is_some(), is_told, "{at}");
    }
}

#[test]
fn an_old_key_is_overdue_until_it_is_inactive_even_when_held_or_stuck() {
    for (state, events, is_told) in [
        (State::Held, soaking(), true),
        (State::Stuck, soaking(), true),
        (State::Held, cooling(), false),
        (State::Stuck, cooling(), false),
    ] {
        assert_eq!(alert_of(&of(state, &events), Condition::Overdue, now()).is_some(), is_told, "{state}");
    }
}

#[test]
fn a_reactivation_is_reported_as_certain_only_after_aws_answered() {
    let at = now() + HOUR;
    let asked =
        Event::ReactivationAsked { by: "ops".to_owned(), why: "outage".to_owned(), exposed: false, at };
    let intended = Event::Intended { intent: Intent::Reactivate { key: OLD.parse().expect("a key id") }, at };
    let doubt = Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
    let lost = Event::Unanswered { doing: EffectKind::Reactivate, doubt, at };
    let before = [cooling(), vec![asked, intended, lost]].concat();
    let alert = alert_of(&of(State::Rotating, &before), Condition::Reactivated, at).expect("told");
    assert!(alert.sentence.contains("may still be Inactive"), "{}", alert.sentence);
    let after = [before, vec![Event::Reactivated { at: at + HOUR }]].concat();
    let alert = alert_of(&of(State::Rotating, &after), Condition::Reactivated, at + HOUR).expect("told");
    assert!(alert.sentence.contains(&format!("which was Active at {}", at + HOUR)), "{}", alert.sentence);
}

#[test]
fn a_failed_alert_starts_at_the_first_failure() {
    let failure = |secs| {
        let doubt =
            Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
        Event::Unanswered { doing: EffectKind::List, doubt, at: now() + Duration::from_secs(secs) }
    };
    let user = of(State::Rotating, &[failure(10), failure(20), failure(60)]);
    let alert = alert_of(&user, Condition::Failed, now() + HOUR * 5).expect("told");
    assert_eq!(alert.since, now() + Duration::from_secs(10));
}

#[test]
fn a_use_of_an_exposed_key_counts_from_when_the_vendor_needs_it_no_more() {
    let declared = |mode| Event::IncidentDeclared {
        mode,
        key: OLD.parse().expect("a key id"),
        cut_only: false,
        by: "ops".to_owned(),
        why: "a leak".to_owned(),
        at: now() + HOUR,
    };
    let usage_after = |hours: u32| KeyUsage::Used {
        last_used_at: now() + HOUR * hours + Duration::from_mins(30),
        service: "ec2".to_owned(),
        region: Some("eu-west-1".to_owned()),
        witness: None,
    };
    let first = vec![listed(&[key(OLD, KeyStatus::Active)], now())];
    for (events, mode, hours, is_told) in [
        (first.clone(), IncidentMode::CutFirst, 0, false),
        (first.clone(), IncidentMode::CutFirst, 1, true),
        (first, IncidentMode::ReplaceFirst, 1, false),
        (soaking(), IncidentMode::ReplaceFirst, 1, true),
    ] {
        let user = User {
            exposed_use: Some(usage_after(hours)),
            ..of(State::Rotating, &[events, vec![declared(mode)]].concat())
        };
        let alert = alert_of(&user, Condition::UsedAfterIncident, now() + HOUR * 3);
        assert_eq!(alert.is_some(), is_told, "{mode:?}, {hours}");
        if let Some(alert) = alert {
            assert!(alert.sentence.contains("for ec2 in eu-west-1"), "{}", alert.sentence);
        }
    }
}

#[test]
fn an_unread_use_of_an_exposed_key_resolves_no_alert() {
    let declared = Event::IncidentDeclared {
        mode: IncidentMode::CutFirst,
        key: OLD.parse().expect("a key id"),
        cut_only: false,
        by: "ops".to_owned(),
        why: "a leak".to_owned(),
        at: now(),
    };
    let events = [soaking(), vec![declared]].concat();
    let usage =
        KeyUsage::Used { last_used_at: now() + HOUR, service: "s3".to_owned(), region: None, witness: None };
    let mut route = Route::new(Style::Incidents, &["used-after-incident"]);
    let user = |exposed_use| [User { exposed_use, ..of(State::Rotating, &events) }];
    assert_eq!(route.hears(&user(Some(usage)), now() + HOUR * 2), ["+used-after-incident/acme"]);
    assert_eq!(route.hears(&user(None), now() + HOUR * 3), [""; 0], "AWS did not answer");
    assert_eq!(
        route.hears(&[User::new("acme", State::Ok)], now() + HOUR * 4),
        ["-used-after-incident/acme"],
        "the rotation has ended"
    );
}
