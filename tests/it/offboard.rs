//! `keyround offboard` as an operator uses it, with and without `keyround run`: the keys are Inactive seconds after the
//! command, `reactivate` gives them back, and the vendor may leave the configuration meanwhile. After the end, only
//! `keyround issue` makes a key.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::moto::Emulator;
use crate::support::process::{Corner, Process};

/// The bound on the time from the command to Inactive. The goal is 5 seconds; the bound is wider for busy machines.
const CUT_WITHIN: Duration = Duration::from_secs(15);

/// A plan with this cooling time, and other waits that are longer than any test.
fn waits(cool: &str) -> String {
    format!(
        "[defaults]\nsoak = \"24h\"\nquiet_for = \"24h\"\ncool = \"{cool}\"\nwindows = [\"Mon 03:00-03:01\"]\n\
         prove_every = \"0s\"\n[schedule]\ncron = \"0 0 1 1 *\"\njitter = \"0s\"\n"
    )
}

fn corner(user: &str, cool: &str) -> (Corner, String) {
    let corner = Corner::new(emulator(), user);
    let old = corner.held().access_key_id;
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    corner.configure(&[waits(cool), vendor].concat());
    (corner, old)
}

fn status_of(key: &str) -> String {
    let keys = emulator().all_keys();
    let found = keys.iter().find(|row| row.access_key_id == key);
    found.map(|row| row.status.clone()).expect("the key is known")
}

fn serve(corner: &Corner) -> Process {
    let mut service = corner.spawn(&["run"]);
    let is_up =
        || emulator().calls_about(&corner.user).iter().any(|call| call.action == "iam:ListAccessKeys");
    assert!(service.lives_until(|_| is_up()));
    service
}

const OFFBOARD: [&str; 5] = ["offboard", "acme", "--why", "the contract ended", "--yes"];

#[test]
fn the_service_cuts_both_keys_of_a_rotation_under_a_hold_within_seconds_and_gives_them_back() {
    let (corner, old) = corner("offboard-served", "7d");
    corner.run_well(&["rotate", "--force"]);
    let new = corner.held().access_key_id;
    assert_ne!(new, old);
    let mut service = serve(&corner);
    corner.run_well(&["hold", "acme", "--why", "a freeze"]);
    let begun = Instant::now();
    let said = corner.run_well(&OFFBOARD).out;
    assert!(said.contains("keyround reactivate"), "{said}");
    assert!(service.lives_until(|_| status_of(&old) == "Inactive" && status_of(&new) == "Inactive"));
    println!("with the service: both keys Inactive after {:?}", begun.elapsed());
    assert!(begun.elapsed() < CUT_WITHIN, "{:?}", begun.elapsed());
    let status = corner.status();
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("rotating"), &json!("offboarded")),
        "{status:#}"
    );
    assert_eq!(
        (&status["rotation"]["mode"], &status["rotation"]["stage"]),
        (&json!("offboard"), &json!("cool"))
    );
    corner.assert_no_secret_on_disk();
    corner.run_well(&OFFBOARD);

    corner.run_well(&["reactivate", "acme", "--why", "they signed again"]);
    assert!(service.lives_until(|_| status_of(&old) == "Active" && status_of(&new) == "Active"));
    corner.assert_vendor_works();
    service.signal("TERM");
    assert_eq!(service.finish().code, Some(0));
}

#[test]
fn without_the_service_the_command_does_it_and_the_configuration_may_lose_the_vendor() {
    let (corner, old) = corner("offboard-alone", "7d");
    let shown = corner.run_well(&["offboard", "acme", "--why", "a test", "--dry-run"]);
    assert!(shown.out.contains(&old) && shown.out.contains("nothing was changed"), "{shown:?}");
    let unasked = corner.run(&["offboard", "acme", "--why", "a test"]);
    assert_eq!(unasked.code, Some(64), "{unasked:?}");
    assert_eq!(status_of(&old), "Active");

    let done = corner.run_well(&[&OFFBOARD[..], &["--format", "json"]].concat());
    let rows: Value = serde_json::from_str(&done.out).expect("JSON");
    assert_eq!((&rows[0]["access_key_ids"], &rows[0]["done"]), (&json!([old]), &json!(true)), "{rows:#}");
    assert_eq!(status_of(&old), "Inactive");
    let forced = corner.run(&["rotate", "acme", "--force"]);
    assert!(forced.out.replace('\n', " ").contains("offboarded by"), "{forced:?}");

    let other = corner.vendor_section("initech", "another-user-of-this-test", &["/keys"]);
    emulator().seed_user("another-user-of-this-test", 5.0);
    corner.configure(&[waits("7d"), other].concat());
    corner.run_well(&["rotate"]);
    let status = corner.status();
    assert_eq!((&status["vendor"], &status["reason"]), (&json!("acme"), &json!("offboarded")), "{status:#}");
    corner.run_well(&["reactivate", "acme", "--why", "they signed again"]);
    corner.run_well(&["rotate"]);
    assert_eq!(status_of(&old), "Active", "the offboarding needs no vendor");
}

#[test]
fn after_the_cooling_time_the_keys_are_deleted_and_only_issue_makes_another() {
    let (corner, old) = corner("offboard-ends", "0s");
    corner.run_well(&OFFBOARD);
    assert_eq!(status_of(&old), "Deleted");
    let status = corner.status();
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("unmanaged"), &json!("offboarded")),
        "{status:#}"
    );
    assert!(status["sentence"].as_str().expect("text").contains("keyround issue acme"), "{status:#}");
    let explained = corner.run_well(&["explain", "acme"]).out.replace('\n', " ");
    assert!(explained.contains("the contract ended"), "{explained}");
    let again = corner.run(&OFFBOARD);
    assert_eq!(again.code, Some(1), "{again:?}");
    emulator().seed_second_key(&corner.user, 300.0);
    corner.run_well(&["rotate"]);
    assert_eq!(corner.living_keys().len(), 1, "a key that somebody makes by hand is not rotated");
    assert_eq!(corner.status()["reason"], "offboarded");
    let by_hand = corner.living_keys().remove(0).access_key_id;
    emulator().set_status(&by_hand, "Inactive");
    corner.run_well(&["issue", "acme"]);
    corner.assert_vendor_works();
    assert_eq!(corner.status()["reason"], "two_keys");
    corner.run_well(&["history", "verify"]);
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
