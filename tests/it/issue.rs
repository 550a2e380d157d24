//! `keyround issue` as an operator uses it, with and without `keyround run`: it makes a key after the last one was set
//! Inactive, and what it cannot do is refused with what to do instead.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::moto::Emulator;
use crate::support::process::{Corner, Process};

/// A plan with waits that are longer than any test: an issue must have none of them.
const LONG_WAITS: &str = r#"
[defaults]
soak = "24h"
quiet_for = "24h"
cool = "7d"
windows = ["Mon 03:00-03:01"]
prove_every = "0s"
[schedule]
cron = "0 0 1 1 *"
jitter = "0s"
"#;
/// The bound on the time until the vendor holds the key. The goal is one minute with three proofs 6 s apart; this plan
/// does not wait between the proofs.
const HELD_WITHIN: Duration = Duration::from_secs(30);

/// A vendor whose user has one key, which is Inactive. Returns the key's ID, too.
fn corner(user: &str) -> (Corner, String) {
    let corner = Corner::new(emulator(), user);
    let old = corner.held().access_key_id;
    emulator().set_status(&old, "Inactive");
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    corner.configure(&[LONG_WAITS, &vendor].concat());
    (corner, old)
}

fn serve(corner: &Corner) -> Process {
    let mut service = corner.spawn(&["run"]);
    let is_up =
        || emulator().calls_about(&corner.user).iter().any(|call| call.action == "iam:ListAccessKeys");
    assert!(service.lives_until(|_| is_up()));
    service
}

fn status_of(key: &str) -> String {
    let keys = emulator().all_keys();
    let found = keys.iter().find(|row| row.access_key_id == key);
    found.map(|row| row.status.clone()).expect("the key is known")
}

#[test]
fn whoever_forces_a_rotation_without_an_active_key_is_told_of_issue_and_it_makes_one() {
    let (corner, old) = corner("issue-alone");
    let forced = corner.run(&["rotate", "acme", "--force"]);
    assert_eq!(forced.code, Some(1), "{forced:?}");
    assert!(forced.out.replace('\n', " ").contains("keyround issue acme"), "{forced:?}");
    assert_eq!(corner.run(&["rotate"]).code, Some(0), "nothing was asked for that could not be done");

    let begun = Instant::now();
    let issued = corner.run_well(&["issue", "acme", "--format", "json"]);
    println!("without the service: the vendor holds the key after {:?}", begun.elapsed());
    let rows: Value = serde_json::from_str(&issued.out).expect("JSON");
    let held = corner.held().access_key_id;
    assert_ne!(held, old);
    assert_eq!((&rows[0]["access_key_id"], &rows[0]["done"]), (&json!(held), &json!(true)), "{rows:#}");
    assert!(rows[0]["sentence"].as_str().expect("text").contains(&old), "{rows:#}");
    assert_eq!((status_of(&old).as_str(), status_of(&held).as_str()), ("Inactive", "Active"));
    corner.assert_vendor_works();
    corner.assert_no_secret_on_disk();
    corner.run_well(&["history", "verify"]);
    let history = corner.run_well(&["history", "acme"]).out;
    assert!(history.contains("issue_asked") && history.contains("none is replaced"), "{history}");

    let again = corner.run(&["issue", "acme"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    let said = again.out.replace('\n', " ");
    assert!(said.contains(&held) && said.contains("keyround rotate --force acme"), "{again:?}");
    assert_eq!(corner.living_keys().len(), 2, "no other key was made");
}

#[test]
fn the_service_makes_the_key_within_seconds_and_a_second_issue_begins_nothing() {
    let (corner, old) = corner("issue-served");
    let mut service = serve(&corner);
    let begun = Instant::now();
    let second = corner.spawn(&["issue", "acme"]);
    let first = corner.run(&["issue", "acme"]);
    let second = second.finish();
    assert!(service.lives_until(|_| corner.held().access_key_id != old));
    println!("with the service: the vendor holds the key after {:?}", begun.elapsed());
    assert!(begun.elapsed() < HELD_WITHIN, "{:?}", begun.elapsed());
    let codes = [first.code, second.code];
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(1)), "{first:?} {second:?}");
    assert_eq!(corner.living_keys().len(), 2, "one new key beside the Inactive one");
    corner.assert_vendor_works();
    service.signal("TERM");
    assert_eq!(service.finish().code, Some(0));
}

#[test]
fn a_key_whose_delivery_cannot_work_is_not_made_and_status_says_how_the_issue_stands() {
    let (corner, _) = corner("issue-unfit");
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    let nowhere = vendor.replace("http://127.0.0.1:", "http://127.0.0.1:1/");
    corner.configure(&[LONG_WAITS, &nowhere].concat());
    let unfit = corner.run(&["issue", "acme"]);
    assert_eq!(unfit.code, Some(1), "{unfit:?}");
    assert!(unfit.out.contains("no new key was made"), "{unfit:?}");
    assert_eq!(corner.living_keys().len(), 1, "no key was made");
    let status = corner.status();
    assert_eq!(status["rotation"]["mode"], "issue", "{status:#}");
    assert_eq!(status["rotation"]["old_access_key_id"], Value::Null);
    assert_eq!(status["rotation"]["vendor_holds"], "unknown");
    corner.configure(&[LONG_WAITS, &vendor].concat());
    corner.run_well(&["rotate"]);
    corner.assert_vendor_works();
}

#[test]
fn a_user_with_two_keys_or_none_at_all_is_refused_with_what_to_do() {
    let (corner, old) = corner("issue-two");
    emulator().seed_second_key(&corner.user, 200.0);
    let other = corner.living_keys().into_iter().find(|key| key.access_key_id != old).expect("two keys");
    emulator().set_status(&other.access_key_id, "Inactive");
    let refused = corner.run(&["issue", "acme"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = refused.out.replace('\n', " ");
    assert!(said.contains(&old) && said.contains("AWS allows no third"), "{refused:?}");
    let vendor = corner.vendor_section("acme", "nobody-of-that-name", &["/keys"]);
    corner.configure(&[LONG_WAITS, &vendor].concat());
    let refused = corner.run(&["issue", "acme"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.out.replace('\n', " ").contains("creates no IAM user"), "{refused:?}");
    let unknown = corner.run(&["issue", "initech"]);
    assert_eq!(unknown.code, Some(64), "{unknown:?}");
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
