//! Tests of the status line.

use super::*;
use crate::config::{self, Environment};
use crate::core::rotation::Blocker;
use crate::core::schedule::Verdict;

const CONFIG: &str = "[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"webhook\"\n\
                      url = \"https://acme.example/\"\nsecret = \"env:S\"\n[vendor.globex]\npath = \"/globex/\"\n\
                      [[vendor.globex.deliver]]\nkind = \"webhook\"\nurl = \"https://globex.example/\"\nsecret = \"env:S\"\n";
const NOW: &str = "2026-11-24T02:30:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn turn(config: &str) -> LoopStatus {
    let settings = config::parse("test", config, &Environment::default()).expect("settings");
    let settings = Arc::new(settings);
    LoopStatus {
        settings,
        now: time(NOW),
        next_pass: time("2026-11-24T03:17:00Z"),
        visits: 0,
        stopping: false,
    }
}

fn subject(vendor: &str, user: &str) -> Subject {
    let (vendor, iam_user) = (vendor.parse().expect("a vendor"), user.parse().expect("a user"));
    Subject { vendor, account: None, iam_user }
}

fn user_report(subject: &Subject, state: State) -> UserReport {
    let verdict = Verdict { state, ..Verdict::broken("test", String::new()) };
    UserReport::of(subject.vendor.clone(), Some(subject.iam_user.clone()), verdict)
}

fn started(turn: &LoopStatus, subject: &Subject) -> (Rotation, Event) {
    let vendor = turn.settings.vendors.values().next().expect("a vendor");
    let Access::Key(access) = &vendor.access else { panic!("it has keys") };
    let old: crate::core::ids::AccessKeyId = "AKIAIOSFODNN7EXAMPLE".parse().expect("a key");
    let event = Event::Started {
        subject: subject.clone(),
        old: old.clone(),
        old_created_at: Timestamp::EPOCH,
        reason: "too_old".to_owned(),
        plan: access.plan.clone(),
        account_id: None,
        at: turn.now,
    };
    let id = crate::core::ids::RotationId::new(subject, &old, turn.now);
    (Rotation::replay(id, [&event]).expect("a start"), event)
}

#[test]
fn the_status_line_gives_the_vendor_count_and_the_next_pass() {
    let mut service = ServiceStatus::default();
    service.loop_passed(&turn(CONFIG));
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC");
    service.loop_passed(&LoopStatus { next_pass: time("2026-11-30T03:17:00Z"), ..turn(CONFIG) });
    assert_eq!(service.to_string(), "2 vendors, next pass 2026-11-30 03:17 UTC");
    service.loop_passed(&LoopStatus { visits: 1, ..turn(CONFIG) });
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC, 1 visit under way");
    service.loop_passed(&LoopStatus { next_pass: Timestamp::NEVER, ..turn(CONFIG) });
    assert_eq!(service.to_string(), "2 vendors, no next pass");
}

#[test]
fn the_status_line_names_a_rotation_with_its_stage_and_its_wait() {
    let (mut service, turn) = (ServiceStatus::default(), turn(CONFIG));
    service.loop_passed(&turn);
    let acme = subject("acme", "vendor-acme");
    let (rotation, event) = started(&turn, &acme);
    service.appended(&rotation, &event);
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC, 1 rotating (acme: survey)");
    let rest = |until, why| UserReport {
        rotation: Some(rotation.clone()),
        rest: Some(Rest::Wait { until: time(until), why }),
        ..user_report(&acme, State::Rotating)
    };
    service.reconciled(&acme, &rest("2026-11-25T02:29:00Z", Waiting::Soak));
    assert!(service.to_string().ends_with("1 rotating (acme: survey until 02:29 UTC)"), "{service}");
    service.reconciled(&acme, &rest("2026-11-26T02:29:00Z", Waiting::Use { old_used_at: None }));
    let expect = "1 rotating (acme: survey looked at again at 2026-11-26 02:29 UTC)";
    assert!(service.to_string().ends_with(expect), "{service}");
    let held = Waiting::Held { by: "ops".to_owned(), why: "freeze".to_owned() };
    service.reconciled(&acme, &rest("9999-12-31T23:59:59Z", held));
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC, 1 held (acme)");
    let stuck = Rest::Stuck(Blocker::OldKeyGone { key: rotation.old().expect("it replaces one").clone() });
    service.reconciled(&acme, &UserReport { rest: Some(stuck), ..user_report(&acme, State::Stuck) });
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC, 1 stuck (acme)");
    service.reconciled(&acme, &user_report(&acme, State::Ok));
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC");
}

#[test]
fn the_status_line_names_three_users_and_counts_the_others() {
    let mut service = ServiceStatus::default();
    service.loop_passed(&turn(CONFIG));
    for user in ["a", "b", "c", "d", "e"] {
        let subject = subject("globex", user);
        service.reconciled(&subject, &user_report(&subject, State::Overdue));
    }
    let expect = "2 vendors, next pass 03:17 UTC, 5 overdue (globex/a, globex/b, globex/c, 2 more)";
    assert_eq!(service.to_string(), expect);
}

#[test]
fn the_status_line_omits_vendors_that_left_the_configuration() {
    let (mut service, both) = (ServiceStatus::default(), turn(CONFIG));
    service.loop_passed(&both);
    let acme = subject("acme", "vendor-acme");
    service.reconciled(&acme, &user_report(&acme, State::Stuck));
    service.unlisted(&"globex".parse().expect("a vendor"));
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC, 2 stuck (acme, globex)");
    let renamed = turn(&CONFIG.replace("vendor.acme", "vendor.acme-inc"));
    service.loop_passed(&renamed);
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC, 2 stuck (acme-inc, globex)");
    service.listed(&"globex".parse().expect("a vendor"));
    assert_eq!(service.to_string(), "2 vendors, next pass 03:17 UTC, 1 stuck (acme-inc)");
    service.loop_passed(&turn(""));
    assert_eq!(service.to_string(), "0 vendors, next pass 03:17 UTC");
}

#[test]
fn the_status_line_reports_stopping_and_a_faulty_configuration() {
    let mut service = ServiceStatus { bad_since: Some(time(NOW)), ..ServiceStatus::default() };
    service.loop_passed(&LoopStatus { stopping: true, visits: 2, ..turn(CONFIG) });
    let expect = "2 vendors, stopping, 2 visits under way, the configuration file had mistakes at 2026-11-24 02:30 \
                  UTC, and the previous configuration is in force";
    assert_eq!(service.to_string(), expect);
}
