//! Delivery results that were lost, and delivery states that could not be read.

use super::*;

#[test]
fn an_alert_with_an_unknown_result_is_resent_and_resolved_once() {
    for style in STYLES {
        let mut route = Route::new(style, &["overdue", "stuck"]);
        let overdue = [User::new("acme", State::Overdue)];
        route.loses(&overdue, now());
        assert_eq!(route.hears(&overdue, now() + HOUR), ["+overdue/acme"], "{style:?}");
        assert_eq!(route.hears(&[], now() + HOUR * 2), ["-overdue/acme"], "{style:?}");

        route.loses(&overdue, now() + HOUR * 3);
        assert_eq!(route.hears(&[], now() + HOUR * 4), ["-overdue/acme"], "{style:?}");
        assert_eq!(route.hears(&[], now() + HOUR * 5), [""; 0], "{style:?}");
    }
}

#[test]
fn a_lost_resolution_is_sent_again_or_replaced_by_a_new_alert() {
    for style in STYLES {
        let mut route = Route::new(style, &["overdue"]);
        let overdue = [User::new("acme", State::Overdue)];
        assert_eq!(route.hears(&overdue, now()), ["+overdue/acme"]);
        route.loses(&[], now() + HOUR);
        let mut other = Route { policy: route.policy.clone(), memory: route.memory.clone() };
        assert_eq!(other.hears(&[], now() + HOUR * 2), ["-overdue/acme"], "{style:?}");
        assert_eq!(route.hears(&overdue, now() + HOUR * 2), ["+overdue/acme"], "{style:?}");
        assert_eq!(route.hears(&[], now() + HOUR * 3), ["-overdue/acme"], "{style:?}");
    }
}

#[test]
fn a_lost_repetition_is_sent_again_as_a_repetition() {
    let mut route = Route::new(Style::Messages, &["overdue"]);
    let overdue = [User::new("acme", State::Overdue)];
    assert_eq!(route.hears(&overdue, now()), ["+overdue/acme"]);
    route.loses(&overdue, now() + REPEAT);
    assert_eq!(route.hears(&overdue, now() + REPEAT + HOUR), ["~overdue/acme"]);
    assert_eq!(route.hears(&overdue, now() + REPEAT + HOUR * 2), [""; 0]);
}

#[test]
fn an_unconfirmed_overdue_alert_is_deescalated_explicitly() {
    let mut mail = Route::new(Style::Messages, &["warning", "overdue"]);
    let warning = [User::new("acme", State::Warning)];
    assert_eq!(mail.hears(&warning, now()), ["+warning/acme"]);
    mail.loses(&[User::new("acme", State::Overdue)], now() + HOUR);
    assert_eq!(mail.hears(&warning, now() + HOUR * 2), ["+warning/acme", "-overdue/acme"]);
    assert_eq!(mail.hears(&warning, now() + HOUR * 3), [""; 0]);
}

#[test]
fn an_incident_with_a_refused_resolution_is_resolved_later() {
    let mut pager = Route::new(Style::Incidents, &["warning", "overdue"]);
    let (warning, overdue) = ([User::new("acme", State::Warning)], [User::new("acme", State::Overdue)]);
    assert_eq!(pager.hears(&warning, now()), ["+warning/acme"]);
    let notifications = pager.notifications(&overdue, true, now() + HOUR);
    let [opening, closing] = &notifications[..] else { panic!("{notifications:#?}") };
    pager.take(std::slice::from_ref(opening), now() + HOUR);
    pager.memory.refused(closing, None, now() + HOUR);
    let mut other = Route { policy: pager.policy.clone(), memory: pager.memory.clone() };
    assert_eq!(pager.hears(&overdue, now() + HOUR * 2), ["-warning/acme"]);
    assert_eq!(pager.hears(&[], now() + HOUR * 3), ["-overdue/acme"]);
    assert_eq!(other.hears(&warning, now() + HOUR * 2), ["-overdue/acme"], "the first one is open still");
    assert_eq!(other.hears(&[], now() + HOUR * 3), ["-warning/acme"]);
}

#[test]
fn an_unconfirmed_shared_incident_is_reused_and_resolved() {
    let many: Vec<User> = (0..20).map(|n| User::new(&format!("v{n:03}"), State::Overdue)).collect();
    let mut pager = Route::new(Style::Incidents, &["overdue"]);
    let lost = pager.loses(&many, now());
    // The first alert, which gave the incident its name, is resolved before the pager can be reached again.
    let again = pager.notifications(&many[1..], true, now() + HOUR);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].incident, lost.incident);
    pager.take(&again, now() + HOUR);
    let closed = pager.notifications(&[], true, now() + HOUR * 2);
    let incidents: Vec<_> = closed.iter().map(|notification| notification.incident.clone()).collect();
    assert_eq!(incidents, [lost.incident]);
}

#[test]
fn a_full_delivery_state_replaces_the_kept_one_and_a_part_is_merged() {
    let mut route = Route::new(Style::Messages, &["overdue", "journal"]);
    assert_eq!(route.hears(&[User::new("acme", State::Overdue)], now()), ["+overdue/acme"]);
    let kept = DeliveryState { cursor: 7, ..route.memory.clone() };
    assert_eq!(route.hears(&[], now() + HOUR), ["-overdue/acme"]);
    assert_eq!(kept.clone().and_then(route.memory.clone()), route.memory, "the end is remembered");

    route.memory = DeliveryState::part();
    assert_eq!(route.hears(&[User::stuck("acme", "journal")], now()), ["+journal/"]);
    let joined = kept.and_then(route.memory);
    let told: Vec<&str> = joined.told.keys().map(AlertKey::as_str).collect();
    assert_eq!(told, ["age/acme/user-acme", "journal"]);
    assert_eq!((joined.is_part, joined.cursor), (false, 7));
}

#[test]
fn a_journal_alert_is_resolved_only_after_a_complete_pass() {
    let mut route = Route::new(Style::Messages, &["journal"]);
    assert_eq!(route.hears(&[User::stuck("acme", "journal_unavailable")], now()), ["+journal/"]);
    assert_eq!(route.hears_of_a_part(&[], now() + HOUR), [""; 0], "nobody was looked at yet");
    let zeta = [User::new("zeta", State::Ok)];
    assert_eq!(route.hears_of_a_part(&zeta, now() + HOUR), [""; 0], "acme was not looked at yet");
    let all = [User::new("acme", State::Ok), User::new("zeta", State::Ok)];
    let seen: Vec<Seen<'_>> = all.iter().map(User::seen).collect();
    let unwritten = active(&seen, true, now()).without_journal();
    assert_eq!(decide(&route.policy, &route.memory, &unwritten, &[], now() + HOUR), []);
    assert_eq!(route.hears(&all, now() + HOUR), ["-journal/"]);
}

#[test]
fn a_notification_pending_at_a_crash_is_sent_again_or_resolved() {
    for style in STYLES {
        let mut route = Route::new(style, &["overdue"]);
        let overdue = [User::new("acme", State::Overdue)];
        // The process ended before it knew the result of the delivery. So the sink is sent the alert again, or its
        // resolution.
        let notifications = route.notifications(&overdue, true, now());
        route.memory.is_being_told(style, &notifications[0], now());
        let mut other = Route { policy: route.policy.clone(), memory: route.memory.clone() };
        assert_eq!(route.hears(&overdue, now() + HOUR), ["+overdue/acme"], "{style:?}");
        assert_eq!(other.hears(&[], now() + HOUR), ["-overdue/acme"], "{style:?}");
        assert_eq!(other.hears(&[], now() + HOUR * 2), [""; 0], "{style:?}");
    }
}

#[test]
fn a_sink_wait_set_by_a_clock_that_was_ahead_is_ignored() {
    let mut route = Route::new(Style::Messages, &["overdue"]);
    let overdue = [User::new("acme", State::Overdue)];
    let ahead = now() + HOUR * 19;
    let notifications = route.notifications(&overdue, true, ahead);
    route.memory.refused(&notifications[0], None, ahead);
    let waits_until = route.memory.not_before;
    let active = active(&[overdue[0].seen()], true, now());
    assert_eq!(route.hears(&overdue, waits_until.minus(Duration::from_secs(1))), [""; 0]);
    assert_eq!(next_time(&route.policy, &route.memory, &active, ahead), waits_until);
    assert_eq!(next_time(&route.policy, &route.memory, &active, now()), Timestamp::NEVER, "it is told");
    assert_eq!(route.hears(&overdue, now()), ["+overdue/acme"]);
}

#[test]
fn an_alert_sent_by_a_clock_that_was_ahead_is_still_repeated_on_time() {
    let mut route = Route::new(Style::Messages, &["overdue"]);
    let overdue = [User::new("acme", State::Overdue)];
    assert_eq!(route.hears(&overdue, now() + REPEAT * 400), ["+overdue/acme"]);
    let active = active(&[overdue[0].seen()], true, now());
    assert_eq!(next_time(&route.policy, &route.memory, &active, now()), now() + REPEAT);
    assert_eq!(route.hears(&overdue, now()), ["~overdue/acme"]);
    assert_eq!(route.hears(&overdue, now() + HOUR), [""; 0]);
    assert_eq!(route.hears(&overdue, now() + REPEAT), ["~overdue/acme"]);
}

impl Route {
    /// Sends the first notification. The sink's answer is lost.
    fn loses(&mut self, users: &[User], at: Timestamp) -> Notification {
        let first = self.notifications(users, true, at).swap_remove(0);
        self.memory.lost(self.policy.style, &first, None, at);
        first
    }
}
