//! `keyround incident` as an operator uses it, with and without `keyround run`: the key is Inactive seconds after the
//! command, and what the command cannot do is refused with a reason.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::moto::Emulator;
use crate::support::process::{Corner, Process};
use crate::support::vendor::Vendor;

mod exposure;

/// A plan with waits that are longer than any test: an incident must skip them.
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
/// The bound on the time from the command to Inactive. The goal is 5 seconds; the bound is wider for busy machines.
const CUT_WITHIN: Duration = Duration::from_secs(15);

/// A vendor whose key is this old, without a rotation under way. Returns the key's ID, too.
fn corner(user: &str, age_days: f64) -> (Corner, String) {
    let corner = Corner::new(emulator(), user);
    let old = corner.held().access_key_id;
    emulator().set_age(&old, age_days);
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    corner.configure(&[LONG_WAITS, &vendor].concat());
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

fn declare<'a>(mode: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["incident", "--mode", mode, "--why", "it was in a public repository", "--yes"], rest].concat()
}

#[test]
fn the_service_acts_on_an_incident_within_seconds_in_each_mode() {
    for mode in ["replace-first", "cut-first", "cut-and-hold"] {
        let (corner, old) = corner(&format!("incident-{mode}"), 5.0);
        let mut service = serve(&corner);
        let begun = Instant::now();
        let declared = corner.run_well(&declare(mode, &["acme"])).out;
        assert!(declared.contains(&old), "{declared}");
        assert!(service.lives_until(|_| status_of(&old) == "Inactive"));
        let took = begun.elapsed();
        println!("{mode}: Inactive after {took:?}");
        assert!(took < CUT_WITHIN, "{mode}: {took:?}");
        if mode == "cut-and-hold" {
            let status = corner.status();
            assert_eq!((&status["state"], &status["reason"]), (&json!("rotating"), &json!("incident_held")));
            assert_eq!(corner.living_keys().len(), 1, "no new key was made");
            corner.run_well(&["resume", "acme"]);
        }
        assert!(service.lives_until(|_| corner.held().access_key_id != old));
        println!("{mode}: the vendor holds a new key after {:?}", begun.elapsed());
        assert!(service.lives_until(|_| corner.status()["rotation"]["stage"] == "cool"));
        let status = corner.status();
        assert_eq!(status["rotation"]["mode"], mode);
        assert_eq!(status_of(&old), "Inactive");
        corner.assert_vendor_works();
        let refused = corner.run(&["reactivate", "acme", "--why", "their nightly job"]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.out.contains("was declared exposed"), "{refused:?}");
        let history = corner.run_well(&["history", "acme"]).out;
        assert!(history.contains("incident_declared") && history.contains("public repository"), "{history}");
        service.signal("TERM");
        assert_eq!(service.finish().code, Some(0));
    }
}

#[test]
fn an_incident_deactivates_a_soaking_old_key_even_under_a_hold() {
    let (corner, old) = corner("incident-soak", 97.0);
    let forced = corner.run_well(&["rotate", "--force"]);
    assert!(forced.out.contains("soak") || forced.out.contains("accepted"), "{forced:?}");
    assert_eq!(status_of(&old), "Active");
    let mut service = serve(&corner);
    corner.run_well(&["hold", "acme", "--why", "a freeze"]);
    let begun = Instant::now();
    corner.run_well(&declare("replace-first", &["acme"]));
    assert!(service.lives_until(|_| status_of(&old) == "Inactive"));
    println!("in the soak: Inactive after {:?}", begun.elapsed());
    assert!(begun.elapsed() < CUT_WITHIN);
    corner.assert_vendor_works();
    service.signal("TERM");
    assert_eq!(service.finish().code, Some(0));
}

#[test]
fn the_incident_command_replaces_the_key_when_no_service_runs() {
    let (corner, old) = corner("incident-alone", 5.0);
    let shown = corner.run_well(&["incident", "--mode", "cut-first", "--why", "a test", "--dry-run", "acme"]);
    assert!(shown.out.contains(&old) && shown.out.contains("nothing was changed"), "{shown:?}");
    let unasked = corner.run(&["incident", "acme", "--mode", "cut-first", "--why", "a test"]);
    assert_eq!(unasked.code, Some(64), "{unasked:?}");
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    assert_eq!((status_of(&old).as_str(), corner.living_keys().len()), ("Active", 1));

    let declared = corner.run_well(&[&declare("cut-first", &["--all"])[..], &["--format", "json"]].concat());
    let rows: Value = serde_json::from_str(&declared.out).expect("JSON");
    assert_eq!((&rows[0]["access_key_id"], &rows[0]["done"]), (&json!(old), &json!(true)), "{rows:#}");
    assert_eq!(status_of(&old), "Inactive");
    assert_ne!(corner.held().access_key_id, old);
    corner.assert_vendor_works();
    corner.assert_no_secret_on_disk();

    // The vendor's present key leaks, too. The first key fills the second slot, so an operator must delete it.
    let second = corner.held().access_key_id;
    let declared = corner.run(&declare("cut-first", &["acme"]));
    assert_eq!(declared.code, Some(1), "{declared:?}");
    assert!(declared.out.contains("delete it at AWS") && declared.out.contains(&old), "{declared:?}");
    assert_eq!(status_of(&second), "Inactive");
}

#[test]
fn a_use_of_the_exposed_key_after_the_incident_is_alerted_once() {
    let inbox = Vendor::start();
    let (corner, old) = corner("incident-used", 5.0);
    let alert = format!(
        "[alert.all]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"env:SIGNING\"\non = [\"used-after-incident\"]\n",
        inbox.url("/alerts")
    );
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    corner.configure(&[LONG_WAITS, &vendor, &alert].concat());
    emulator().set_used(&old, "s3", 1.0);
    corner.run_well(&declare("cut-first", &["acme"]));
    corner.run_well(&["rotate"]);
    assert!(inbox.requests().is_empty(), "the key was used before the incident only");
    // AWS's dates are whole seconds, and a use in the second of the declaration does not count.
    std::thread::sleep(Duration::from_millis(1100));
    emulator().set_used(&old, "s3", 0.0);
    // On a busy machine, a first attempt to reach AWS or the sink may fail. A later pass makes another one.
    let is_told = (0..20).any(|_| {
        corner.run_well(&["rotate"]);
        let is_told = !inbox.requests().is_empty();
        if !is_told {
            std::thread::sleep(Duration::from_secs(1));
        }
        is_told
    });
    assert!(is_told);
    corner.run_well(&["rotate"]);
    let [told] = &inbox.requests()[..] else { panic!("{:?}", inbox.requests()) };
    let alert = &told.json()["data"]["alerts"][0];
    assert_eq!(
        (&alert["condition"], &alert["severity"]),
        (&json!("used-after-incident"), &json!("critical"))
    );
    let sentence = alert["sentence"].as_str().expect("a sentence");
    for part in
        [&format!("the exposed key {old} was used at "), " for s3 in us-east-1", "rejects later requests"]
    {
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn rotate_force_without_a_vendor_asks_on_a_terminal() {
    let (corner, old) = corner("forced-by-hand", 5.0);
    let (code, shown) = corner.run_on_terminal("rotate --force", "no\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("replaces the keys of all 1 vendors now"), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(corner.living_keys().len(), 1);
    let (code, shown) = corner.run_on_terminal("rotate --force --yes", "");
    assert_eq!(code, Some(0), "{shown}");
    assert!(corner.held().access_key_id != old && !shown.contains("Type yes"), "{shown}");
}

#[test]
fn incident_leaves_unknown_keys_alone_and_does_not_replace_a_second_key() {
    let (corner, old) = corner("incident-key", 5.0);
    let stranger = "AKIASTRANGER00000001";
    let refused = corner.run(&declare("cut-first", &["--key", stranger]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(stranger) && refused.err.contains("left alone"), "{refused:?}");
    for nobody in [&["--preset", "fastly-s3"][..], &["--account", "elsewhere"]] {
        let refused = corner.run(&declare("cut-first", nobody));
        assert!(matches!(refused.code, Some(1 | 64)), "{refused:?}");
    }
    emulator().seed_second_key(&corner.user, 200.0);
    let other = corner.living_keys().into_iter().find(|key| key.access_key_id != old).expect("two keys");
    let unclear = corner.run(&declare("cut-first", &["acme"]));
    assert_eq!(unclear.code, Some(1), "{unclear:?}");
    assert!(unclear.out.contains("--key"), "{unclear:?}");
    let cut = corner.run_well(&declare("cut-first", &["--key", &other.access_key_id]));
    assert!(cut.out.contains("not replaced"), "{cut:?}");
    assert_eq!(
        (status_of(&old), status_of(&other.access_key_id)),
        ("Active".to_owned(), "Inactive".to_owned())
    );
    corner.run_well(&["history", "verify"]);
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
