//! `[exposure]`: when AWS quarantines a user, keyround sends an alert and shows it in `status`. If `action` is an
//! incident mode, it also declares an incident, once for each exposure.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CUT_WITHIN, LONG_WAITS, emulator, serve, status_of};
use crate::support::moto::{Emulator, Rule};
use crate::support::process::{Corner, Process};
use crate::support::vendor::{Received, Vendor};

const V2: &str = "AWSCompromisedKeyQuarantineV2";
const V3: &str = "AWSCompromisedKeyQuarantineV3";

/// Attaches a quarantine policy to the user as AWS does, or detaches it as an operator does.
fn quarantine(corner: &Corner, policy: &str, is_attached: bool) {
    let what = json!({ "user": corner.user, "policy": policy, "attached": is_attached });
    corner.emulator.prepare("review_quarantine", &what);
}

/// A vendor with a young key, `exposure` as the text of `[exposure]`, and an alert sink at `inbox`. Returns the key's
/// ID, too.
fn watched(emulator: &'static Emulator, user: &str, exposure: &str, inbox: &Vendor) -> (Corner, String) {
    let corner = Corner::new(emulator, user);
    let old = corner.held().access_key_id;
    emulator.set_age(&old, 5.0);
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    let alert = format!(
        "[alert.all]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"env:SIGNING\"\non = [\"exposed\"]\n",
        inbox.url("/alerts")
    );
    corner.configure(&[LONG_WAITS, "[exposure]\n", exposure, &vendor, &alert].concat());
    (corner, old)
}

/// The sentences of the alerts `exposed` that the sink received with this status.
fn told(inbox: &Vendor, word: &str) -> Vec<String> {
    let messages: Vec<Value> = inbox.requests().iter().map(Received::json).collect();
    let alerts =
        messages.iter().flat_map(|message| message["data"]["alerts"].as_array().cloned().unwrap_or_default());
    let alerts = alerts.filter(|alert| alert["condition"] == "exposed" && alert["status"] == word);
    alerts.map(|alert| alert["sentence"].as_str().unwrap_or_default().to_owned()).collect()
}

/// How many times keyround called ListEntitiesForPolicy.
fn asked(emulator: &Emulator) -> usize {
    emulator.calls().iter().filter(|call| call.action == "iam:ListEntitiesForPolicy").count()
}

/// Waits until keyround has asked AWS about all three policies two more times.
fn polls_go_on(corner: &Corner, service: &mut Process) {
    let before = asked(corner.emulator);
    assert!(service.lives_until(|_| asked(corner.emulator) >= before + 6));
}

fn stop(service: Process) {
    service.signal("TERM");
    assert_eq!(service.finish().code, Some(0));
}

/// How many incidents the journal has.
fn declared(corner: &Corner) -> usize {
    corner.events().iter().filter(|name| *name == "incident_declared").count()
}

#[test]
fn a_quarantined_user_is_told_of_and_shown_until_the_policy_is_gone() {
    let inbox = Vendor::start();
    let (corner, old) = watched(emulator(), "exposed-told", "poll = \"1s\"\n", &inbox);
    let mut service = serve(&corner);
    let begun = Instant::now();
    quarantine(&corner, V3, true);
    assert!(service.lives_until(|_| !told(&inbox, "firing").is_empty()));
    println!("told after {:?}", begun.elapsed());
    assert!(begun.elapsed() < CUT_WITHIN);
    polls_go_on(&corner, &mut service);
    let [sentence] = &told(&inbox, "firing")[..] else { panic!("{:?}", told(&inbox, "firing")) };
    for part in [V3, "a new key cannot work for acme either", "keyround incident acme", "never detaches it"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    assert_eq!((status_of(&old).as_str(), declared(&corner)), ("Active", 0));
    let status = corner.status();
    assert_eq!(status["exposed"], json!([V3]), "{status}");
    assert!(status["sentence"].as_str().is_some_and(|sentence| sentence.contains(V3)), "{status}");
    let checked = corner.run(&["check", "--online"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains("FAIL exposure main: AWS attached"), "{checked:?}");
    assert!(checked.out.contains("asks AWS every 1s"), "{checked:?}");

    quarantine(&corner, V3, false);
    assert!(service.lives_until(|_| !told(&inbox, "over").is_empty()));
    assert_eq!(corner.status()["exposed"], json!([]));
    stop(service);
}

#[test]
fn with_an_action_the_key_is_cut_once_for_each_exposure_also_over_restarts() {
    let inbox = Vendor::start();
    let exposure = "poll = \"1s\"\naction = \"cut-first\"\n";
    let (corner, old) = watched(emulator(), "exposed-cut", exposure, &inbox);
    let mut service = serve(&corner);
    let begun = Instant::now();
    quarantine(&corner, V2, true);
    assert!(service.lives_until(|_| status_of(&old) == "Inactive"));
    println!("cut-first: Inactive after {:?}", begun.elapsed());
    assert!(begun.elapsed() < CUT_WITHIN);
    assert!(service.lives_until(|_| corner.held().access_key_id != old));
    println!("cut-first: the vendor holds a new key after {:?}", begun.elapsed());
    assert!(service.lives_until(|_| corner.status()["rotation"]["stage"] == "cool"));
    assert_eq!(corner.status()["rotation"]["mode"], "cut-first");
    let second = corner.held().access_key_id;
    let history = corner.run_well(&["history", "acme"]).out;
    assert!(history.contains("[exposure]") && history.contains(V2), "{history}");
    polls_go_on(&corner, &mut service);
    stop(service);
    // keyround restarts with the file of known exposures, and without it.
    for is_forgotten in [false, true] {
        if is_forgotten {
            std::fs::remove_file(corner.path("journal/exposures.json")).expect("it was remembered");
        }
        let mut service = corner.spawn(&["run"]);
        polls_go_on(&corner, &mut service);
        stop(service);
        assert_eq!((declared(&corner), status_of(&second).as_str()), (1, "Active"), "{is_forgotten}");
    }

    // The new key leaks, too: AWS attaches a policy once more, after the first one was detached.
    let mut service = corner.spawn(&["run"]);
    polls_go_on(&corner, &mut service);
    quarantine(&corner, V2, false);
    assert!(service.lives_until(|_| corner.status()["exposed"] == json!([])));
    polls_go_on(&corner, &mut service);
    quarantine(&corner, V3, true);
    assert!(service.lives_until(|_| status_of(&second) == "Inactive"));
    assert_eq!(declared(&corner), 2);
    stop(service);
}

#[test]
fn a_poll_takes_three_calls_an_account_and_what_is_denied_is_told_once() {
    let emulator: &'static Emulator = Box::leak(Box::new(Emulator::start()));
    let inbox = Vendor::start();
    let (corner, _) = watched(emulator, "exposed-calls", "poll = \"1h\"\n", &inbox);
    emulator.seed_user("exposed-other", 5.0);
    let other = corner.vendor_section("other", "exposed-other", &["/keys"]);
    let text = std::fs::read_to_string(corner.path("rotation.toml")).expect("it");
    std::fs::write(corner.path("rotation.toml"), text + &other).expect("written");
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| asked(emulator) >= 3));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(asked(emulator), 3, "two users, one account, one poll");
    stop(service);

    // AWS answers in pages, and its partition does not have one of the policies.
    quarantine(&corner, V3, true);
    let text = std::fs::read_to_string(corner.path("rotation.toml")).expect("it");
    std::fs::write(corner.path("rotation.toml"), text.replace("poll = \"1h\"", "poll = \"1s\""))
        .expect("written");
    emulator.order(&Rule::error("iam:ListEntitiesForPolicy", 404, "NoSuchEntity"));
    emulator.order(&Rule::page("iam:ListEntitiesForPolicy", 1));
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| !told(&inbox, "firing").is_empty()));
    assert!(!service.err().contains("is not checked"), "{}", service.err());

    emulator.order(&Rule::error("iam:ListEntitiesForPolicy", 403, "AccessDenied").times(1000));
    assert!(service.lives_until(|service| service.err().contains("is not checked")));
    polls_go_on(&corner, &mut service);
    let log = service.err();
    assert_eq!(log.matches("is not checked").count(), 1, "{log}");
    assert!(told(&inbox, "over").is_empty(), "nobody knows that it is over");
    let checked = corner.run(&["check", "--online"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked.out.contains("iam:ListEntitiesForPolicy") && checked.out.contains("grant it"),
        "{checked:?}"
    );
    stop(service);
}

#[test]
fn the_rotators_policy_has_the_right_only_where_quarantines_are_asked_for() {
    let inbox = Vendor::start();
    let (corner, _) = watched(emulator(), "exposed-policy", "action = \"replace-first\"\n", &inbox);
    let policy = corner.run_well(&["policy", "rotator", "--account", "main"]).out;
    assert!(policy.contains("iam:ListEntitiesForPolicy"), "{policy}");
    assert!(policy.contains("arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"), "{policy}");
    let checked = corner.run_well(&["check"]).out;
    assert!(checked.contains("asks AWS every 1m") && checked.contains("(replace-first)"), "{checked}");
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    corner.configure(&[LONG_WAITS, &vendor].concat());
    let policy = corner.run_well(&["policy", "rotator", "--account", "main"]).out;
    assert!(!policy.contains("ListEntitiesForPolicy"), "{policy}");
    corner
        .configure(&[LONG_WAITS, "[exposure]\naction = \"cut-and-hold\"\npoll = \"0s\"\n", &vendor].concat());
    let refused = corner.run(&["check"]);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.err.contains("one of alert, replace-first and cut-first"), "{refused:?}");
}
