//! A vendor without an API (`kind = "manual"`), with the real program: the new key is revealed to a person once,
//! and the old key stays Active until the new one is used.

use base64::prelude::{BASE64_STANDARD, Engine};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::moto::Emulator;
use crate::support::papers;
use crate::support::program::{Program, Ran};
use crate::support::python;
use crate::support::vendor::Pair;

/// No wait, except for people. It sets `require_use = false`, which must not apply to a delivery by hand.
const HASTE: &str = r#"
[defaults]
soak = "0s"
quiet_for = "0s"
cool = "0s"
require_use = false
prove_every = "0s"
prove_successes = 1
"#;

const BY_HAND: &str = r#"
[vendor.acme]
iam_user = "vendor-acme"
[[vendor.acme.deliver]]
kind = "manual"
instructions = "Log in at acme.example, Settings, AWS."
"#;

struct Scene {
    emulator: Emulator,
    program: Program,
    old: String,
}

impl Scene {
    /// A scene whose key is due.
    fn new() -> Scene {
        let emulator = Emulator::start();
        let (old, _) = emulator.seed_user("vendor-acme", 120.0);
        let program = Program::new(&emulator, &format!("{HASTE}{BY_HAND}"));
        Scene { emulator, program, old }
    }

    /// A scene whose new key waits to be revealed.
    fn waiting() -> Scene {
        let scene = Scene::new();
        let shown = scene.program.json(0, &["rotate"]);
        assert_eq!(shown["vendors"][0]["reason"], "awaiting_reveal", "{shown:#}");
        scene
    }

    fn statuses(&self) -> Vec<String> {
        self.emulator.keys("vendor-acme").into_iter().map(|key| key.status).collect()
    }

    fn new_key(&self) -> Pair {
        let keys = self.emulator.keys("vendor-acme");
        let new = keys.iter().find(|key| key.access_key_id != self.old).expect("a new key");
        Pair { access_key_id: new.access_key_id.clone(), secret_access_key: new.secret.clone() }
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, words: &str) {
        let ran = self.program.run(arguments);
        assert_eq!(ran.code, Some(code), "{ran}");
        assert!(ran.stderr.contains(words) || ran.stdout.contains(words), "{words}: {ran}");
        assert!(!ran.stdout.contains(&self.new_key().secret_access_key), "{arguments:?}");
    }

    fn events(&self) -> Vec<Value> {
        let rows = self.program.run(&["history", "--format", "json"]).json();
        rows.as_array().expect("rows").iter().map(|row| row["event"].clone()).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.events().iter().filter(|event| event["event"] == name).count()
    }
}

fn shows(ran: &Ran, pair: &Pair) -> bool {
    ran.stdout.contains(&pair.access_key_id) && ran.stdout.contains(&pair.secret_access_key)
}

#[test]
fn the_documented_manual_delivery_commands_complete_a_rotation() {
    let emulator = Emulator::start();
    let (old, _) = emulator.seed_user("vendor-acme", 120.0);
    let toml = papers::block("docs/vendors.md", "by-hand-configuration").join("\n");
    let program = Program::new(&emulator, &format!("{HASTE}{toml}"));
    let commands = papers::block("docs/vendors.md", "by-hand");
    let words: Vec<&str> = commands.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(words, ["rotate", "reveal", "ack", "rotate", "history"], "{commands:?}");
    for command in &commands {
        let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        if command.contains("--wait") {
            // The vendor uses the new key after the acknowledgement, so that the rotation can finish.
            let keys = emulator.keys("vendor-acme");
            let new = keys.iter().find(|key| key.access_key_id != old).expect("a new key");
            emulator.set_used(&new.access_key_id, "s3", 0.0);
        }
        let ran = match arguments[0] {
            "reveal" => program.run_for_eyes(&arguments),
            _ => program.run(&arguments),
        };
        assert_eq!(ran.code, Some(0), "{command}: {ran}");
    }
    let keys = emulator.keys("vendor-acme");
    let of = |status: &str| keys.iter().filter(|key| key.status == status).collect::<Vec<_>>();
    assert_eq!((of("Active").len(), of("Deleted").len()), (1, 1), "{keys:?}");
    assert_eq!(of("Deleted")[0].access_key_id, old);
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn a_key_is_shown_once_and_again_only_with_a_reason() {
    let scene = Scene::waiting();
    let pair = scene.new_key();
    let first = scene.program.run_for_eyes(&["reveal", "acme"]);
    assert!(first.code == Some(0) && shows(&first, &pair), "{first}");
    assert!(first.stdout.contains("Settings, AWS") && first.stdout.contains(&scene.old), "{first}");
    scene.refused(&["reveal", "acme"], 1, "is shown only once");
    scene.refused(&["reveal", "acme", "--again"], 64, "--why");
    assert_eq!(scene.count("revealed"), 1);
    let again = ["reveal", "acme", "--again", "--why", "the line was cut", "--format", "json"];
    let again = scene.program.run_for_eyes(&again);
    assert_eq!(again.json()["secret_access_key"], json!(pair.secret_access_key));
    let events = scene.events();
    let last = events.iter().rfind(|event| event["event"] == "revealed").expect("it is kept");
    assert_eq!(last["why"], "the line was cut");
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}

/// Each of the vendor's two users has a new key that waits.
#[test]
fn reveal_and_ack_act_only_on_the_named_user_of_a_vendor_with_two() {
    let emulator = Emulator::start();
    let users = ["vendor-acme-eu", "vendor-acme-us"];
    for user in users {
        drop(emulator.seed_user(user, 120.0));
    }
    let both = BY_HAND.replace("iam_user = \"vendor-acme\"", &format!("iam_users = {users:?}"));
    let program = Program::new(&emulator, &format!("{HASTE}{both}"));
    drop(program.json(0, &["rotate"]));
    let newest = |user: &str| {
        let key = emulator.keys(user).pop().expect("a key");
        Pair { access_key_id: key.access_key_id, secret_access_key: key.secret }
    };
    let (eu, us) = (newest(users[0]), newest(users[1]));

    let unnamed = program.run_for_eyes(&["reveal", "acme"]);
    assert_eq!(unnamed.code, Some(64), "{unnamed}");
    assert!(users.iter().all(|user| unnamed.stderr.contains(user)), "{unnamed}");
    assert!(!shows(&unnamed, &eu) && !shows(&unnamed, &us));
    let named = program.run_for_eyes(&["reveal", "acme", "--user", users[1]]);
    assert!(named.code == Some(0) && shows(&named, &us) && !shows(&named, &eu), "{named}");
    let stranger = program.run_for_eyes(&["reveal", "acme", "--user", "vendor-initech"]);
    assert_eq!(stranger.code, Some(1), "{stranger}");

    let unseen = program.run(&["ack", "acme", "--user", users[0]]);
    assert!(unseen.code == Some(1) && unseen.stdout.contains(users[0]), "{unseen}");
    let acknowledged = program.run(&["ack", "acme", "--user", users[1]]);
    assert!(acknowledged.code == Some(0) && acknowledged.stdout.contains(users[1]), "{acknowledged}");
    assert!(!acknowledged.stdout.contains(users[0]), "{acknowledged}");
    let status = program.json(0, &["status"]);
    let stages: Vec<(&str, &str)> = status["vendors"]
        .as_array()
        .expect("vendors")
        .iter()
        .map(|row| {
            (row["iam_user"].as_str().expect("a user"), row["rotation"]["stage"].as_str().expect("a stage"))
        })
        .collect();
    assert_eq!(stages, [(users[0], "deliver"), (users[1], "verify")]);
}

#[test]
fn a_reveal_whose_output_fails_counts_as_revealed() {
    let scene = Scene::waiting();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
    let child = Command::new(env!("CARGO_BIN_EXE_keyround"))
        .args(["reveal", "acme"])
        .current_dir(scene.program.path(""))
        .env_clear()
        .envs(scene.emulator.env())
        .stdin(Stdio::null())
        .stdout(full)
        .output();
    let child = child.expect("the program runs");
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--again --why REASON") && !said.contains(&scene.new_key().secret_access_key),
        "{said}"
    );
    assert_eq!(scene.count("revealed"), 1);
    // The key may have been seen, so an abandon deletes nothing.
    assert_eq!(scene.program.run(&["abandon", "acme", "--why", "a test"]).code, Some(0));
    assert_eq!(scene.program.run(&["rotate"]).code.map(|code| code < 2), Some(true));
    assert_eq!(scene.statuses(), ["Active", "Active"]);
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}

#[test]
fn abandon_discards_a_key_that_was_never_revealed() {
    let scene = Scene::waiting();
    scene.refused(&["ack", "acme"], 1, "the new key was not shown to anybody yet");
    assert_eq!(scene.program.run(&["abandon", "acme", "--why", "a test"]).code, Some(0));
    let new = scene.new_key().access_key_id;
    scene.program.run(&["rotate"]);
    let keys = scene.emulator.keys("vendor-acme");
    let discarded = keys.iter().find(|key| key.access_key_id == new).expect("it was made");
    assert_eq!(discarded.status, "Deleted");
    assert!(keys.iter().any(|key| key.access_key_id == scene.old && key.status == "Active"));
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}

#[test]
fn ack_ends_a_manual_delivery_but_the_old_key_stays_until_use() {
    let scene = Scene::waiting();
    let pair = scene.new_key();
    scene.program.run_for_eyes(&["reveal", "acme"]);
    assert_eq!(scene.program.run(&["ack", "acme"]).code, Some(0));
    for pass in 1..=3 {
        let shown = scene.program.json(0, &["rotate"]);
        assert_eq!(shown["vendors"][0]["reason"], "awaiting_use", "pass {pass}");
        assert_eq!(scene.statuses(), ["Active", "Active"], "pass {pass}");
    }
    // A person tries the key at STS, which does not count as a use by the vendor.
    scene.emulator.set_used(&pair.access_key_id, "sts", 0.0);
    let shown = scene.program.json(0, &["rotate"]);
    assert_eq!(shown["vendors"][0]["reason"], "awaiting_use");
    scene.refused(&["reveal", "acme", "--again", "--why", "lost"], 1, "no new key to deliver by hand");
    scene.emulator.set_used(&pair.access_key_id, "s3", 0.0);
    let ran = scene.program.run(&["rotate", "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(scene.statuses(), ["Deleted", "Active"]);
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}

#[test]
fn use_of_the_new_key_ends_a_manual_delivery_without_an_ack() {
    let scene = Scene::waiting();
    let pair = scene.new_key();
    scene.program.run_for_eyes(&["reveal", "acme"]);
    let status = scene.program.json(0, &["status"]);
    assert_eq!(
        (&status["vendors"][0]["reason"], &status["vendors"][0]["rotation"]["stage"]),
        (&json!("awaiting_hand_over"), &json!("deliver"))
    );
    assert!(
        status["vendors"][0]["sentence"]
            .as_str()
            .is_some_and(|text| text.ends_with("to go on: `keyround ack acme`"))
    );
    scene.emulator.set_used(&pair.access_key_id, "s3", 0.0);
    let ran = scene.program.run(&["rotate", "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(
        (scene.statuses(), scene.count("acknowledged")),
        (vec!["Deleted".to_owned(), "Active".to_owned()], 0)
    );
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}

#[test]
fn reveal_encrypts_the_key_to_a_recipient_and_prints_it_nowhere() {
    let scene = Scene::waiting();
    let made =
        python::ask("open_age.py", &json!({ "do": "generate" })).unwrap_or_else(|error| panic!("{error}"));
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let recipient = made["recipient"].as_str().expect("text");
    scene.refused(&["reveal", "acme", "--for", "age1canary"], 64, "not an age recipient");
    scene.refused(&["reveal", "acme", "--output", "acme.age"], 64, "--for");
    fs::write(scene.program.path("taken"), "").expect("the folder can be written");
    scene.refused(&["reveal", "acme", "--for", recipient, "--output", "taken"], 1, "nothing was shown");
    assert_eq!(scene.count("revealed"), 0, "what fails before the key is shown leaves no record");
    let ran = scene.program.run(&["reveal", "acme", "--for", recipient, "--output", "acme.age"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let path = scene.program.path("acme.age");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let file = fs::read(&path).expect("it is there");
    let question =
        json!({ "do": "open", "identity": made["identity"], "file": BASE64_STANDARD.encode(&file) });
    let opened = python::ask("open_age.py", &question).unwrap_or_else(|error| panic!("{error}"));
    let opened: Value = serde_json::from_str(&opened).expect("JSON");
    assert_eq!(opened["secret_access_key"], json!(scene.new_key().secret_access_key));
    assert_eq!(scene.events().last().map(|event| event["recipient"].clone()), Some(json!(recipient)));
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}

#[test]
fn a_pending_manual_delivery_is_warned_about_with_its_next_command() {
    let scene = Scene::waiting();
    let ran = scene.program.run(&["rotate"]);
    assert!(ran.stderr.contains("WARN") && ran.stderr.contains("keyround reveal acme"), "{ran}");
    let explained = scene.program.run(&["explain", "acme"]);
    for words in [
        "awaiting_reveal",
        "`keyround reveal acme`",
        "keyround ack VENDOR",
        "until IAM has seen the new key in use",
    ] {
        assert!(
            explained.stdout.replace("\n ", "").replace("  ", " ").contains(words)
                || explained.stdout.contains(words),
            "{words}: {explained}"
        );
    }
    let begun = std::time::Instant::now();
    assert_eq!(scene.program.run(&["rotate", "--wait"]).code, Some(0));
    assert!(begun.elapsed().as_secs() < 60, "only a person can go on, so nobody waits");
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}

#[test]
fn rehearse_completes_a_manual_delivery_and_a_dry_run_lists_its_steps() {
    let scene = Scene::new();
    let played = scene.program.run(&["rehearse"]);
    assert_eq!(played.code, Some(0), "{played}");
    for words in ["revealed", "acknowledged", "the vendor had a working key all the time", "deleted on day"] {
        assert!(played.stdout.contains(words), "{words}: {played}");
    }
    let shown = scene.program.json(0, &["rotate", "--dry-run"]);
    let steps = shown["vendors"][0]["steps"].to_string();
    assert!(steps.contains("keyround reveal VENDOR") && steps.contains("in use"), "{steps}");
    let preflight = shown["vendors"][0]["preflight"].to_string();
    assert!(preflight.contains("step 1: manual"), "{preflight}");
    scene.program.assert_no_secret_was_seen(&scene.emulator);
}
