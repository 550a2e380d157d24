//! The output of the command line for people and for programs: sentences, JSON, exit codes, operator commands, log
//! lines.
//!
//! Times, keys and ids are masked, and the rest is compared completely, so that any change of an output fails a test.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::moto::{Emulator, Release, Rule};
use crate::support::program::{HASTE, Program, Ran};
use crate::support::vendor::{Answer, Pair, Vendor};

/// The secret that signs webhooks. Its decoded key is text, so that a search can find it where it must not be.
const WEBHOOK_SECRET: &str = "whsec_YS1zaWduaW5nLXNlY3JldC1vZi10aGUtY29tbWFuZC1saW5l";

// The output of the commands.

#[test]
fn status_prints_the_expected_json_and_one_line_per_row() {
    let house = House::new("contract", 97.0);
    let name = &house.name;
    let toml = format!(
        "{}\n[vendor.role]\nrole_arn = \"arn:aws:iam::111122223333:role/vendor\"\nvendor_account_id = \"444455556666\"\n\
         [vendor.off]\niam_user = \"nobody\"\nenabled = false\n[[vendor.off.deliver]]\nkind = \"webhook\"\n\
         url = \"https://hooks.example/off\"\nsecret = \"credential:hook\"\n",
        house.toml("")
    );
    house.program.configure(&toml);
    let expect = json!({
        "generated_at": "<time>",
        "vendors": [
            {
                "vendor": name, "account_id": "123456789012", "iam_user": house.user, "state": "overdue", "reason": "overdue",
                "sentence": "the key <key> is 97 days old and due since <time>, and overdue since <time>; it is replaced at \
                             the next pass",
                "due_at": "<time>", "overdue_at": "<time>",
                "keys": [{"access_key_id": "<key>", "status": "Active", "created_at": "<time>", "age_days": 97,
                          "last_used_at": null, "role": "old"}],
                "rotation": null,
            },
            {
                "vendor": "off", "account_id": null, "iam_user": null, "state": "unmanaged", "reason": "disabled",
                "sentence": "`enabled = false` in the configuration: not checked and not rotated",
                "due_at": null, "overdue_at": null, "keys": [], "rotation": null,
            },
            {
                "vendor": "role", "account_id": null, "iam_user": null, "state": "role", "reason": "assumes_role",
                "sentence": "the vendor assumes arn:aws:iam::111122223333:role/vendor: there is no key to rotate",
                "due_at": null, "overdue_at": null, "keys": [], "rotation": null,
            },
        ],
    });
    assert_eq!(masked_json(&house.program.json(0, &["status"])), expect);
    let wide = house.program.run(&["status"]);
    let rows: Vec<&str> = wide.stdout.lines().collect();
    assert_eq!(rows.len(), 4, "into a pipe, a row is a line: {wide}");
    assert!(rows[1].starts_with(name.as_str()) && rows[1].ends_with("at the next pass"), "{wide}");
    house.ends();
}

#[test]
fn status_queries_cloudtrail_only_when_a_vendor_is_named() {
    let house = House::new("who", 97.0);
    house.program.configure(&format!("[aws]\ncloudtrail = true\n{}", house.toml("")));
    let asked = |command: &[&str]| {
        house.program.json(0, command);
        let calls = house.emulator.calls();
        let look_ups = calls.iter().filter(|call| call.action == "cloudtrail:LookupEvents");
        look_ups.filter(|call| call.subject.as_deref() == Some(&house.user)).count()
    };
    assert_eq!(asked(&["status"]), 0, "two a second are answered");
    assert_eq!(asked(&["status", &house.name]), 1);
    house.ends();
}

#[test]
fn status_puts_the_sentence_below_its_row_at_a_hundred_columns() {
    let mut house = House::new("narrow", 97.0);
    house.program.set_env("COLUMNS", "100");
    let ran = house.program.run(&["status"]);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100), "{ran}");
    let expect = "VENDOR      IAM USER           STATE    STAGE  AGE  DUE\n\
                  cli-narrow  user-of-cli-narrow  overdue  -      97d  <time>\n    \
                  the key <key> is 97 days old and due since <time>,\n    \
                  and overdue since <time>; it is replaced at the next pass\n\n\
                  1 row: 1 overdue";
    assert_eq!(words(&masked(&ran.stdout)), words(expect));
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("    ")).count(), 2, "{ran}");
    house.ends();
}

#[test]
fn rotate_and_its_dry_run_print_the_expected_json() {
    let house = House::new("rotate", 97.0);
    let (name, user) = (&house.name, &house.user);
    let dry = masked_json(&house.program.json(0, &["rotate", "--dry-run"]));
    let checks: Vec<&Value> = dry["vendors"][0]["preflight"].as_array().expect("checks").iter().collect();
    assert!(checks.iter().all(|check| check["ok"] == true && check["sentence"].is_string()), "{dry}");
    let mut without_checks = dry.clone();
    without_checks["vendors"][0]["preflight"] = json!([]);
    let expect = json!({"dry_run": true, "vendors": [{
        "vendor": name, "iam_user": user, "action": "rotate", "reason": "overdue",
        "sentence": "the key <key> is 97 days old and due since <time>, and overdue since <time>; it is replaced at the \
                     next pass",
        "steps": ["create a new access key (sent once)", "prove it: 3 GetCallerIdentity in a row, 0s apart",
                  "deliver it to the vendor in 1 step", "let both keys work for at least 0s", "set the old key Inactive",
                  "cool for 0s: until then the old key can be brought back", "delete the old key"],
        "preflight": [], "error": null,
    }]});
    assert_eq!(without_checks, expect);
    assert_eq!(house.emulator.keys(user).len(), 1, "a dry run changes nothing");
    assert!(!house.program.files().contains("keyround.db"), "not even here: {:?}", house.program.files());
    let mut wet = masked_json(&house.program.json(0, &["rotate"]));
    // The keys come in the order of their ids, which are random.
    if let Some(read) = wet["vendors"][0]["steps"].as_array_mut().and_then(|steps| steps.get_mut(10)) {
        let sentence = read.as_str().expect("a sentence").to_owned();
        let mut parts: Vec<&str> = sentence.trim_start_matches("usage_read: ").split(", ").collect();
        parts.sort_unstable();
        *read = json!(format!("usage_read: {}", parts.join(", ")));
    }
    let expect = json!({"dry_run": false, "vendors": [{
        "vendor": name, "iam_user": user, "action": "rotate", "reason": "rotated",
        "sentence": "the key <key> replaced the key <key>, which was deleted",
        "steps": [
            format!("started: {name}: <key> of {user} is to be replaced: overdue"), "listed: <key>",
            "created: <key> (request <id>)", "probed: AWS knows the new key", "probed: AWS knows the new key",
            "probed: AWS knows the new key", "delivered: the vendor accepted the new key",
            "verified: not verified: this vendor has no check", "listed: <key>, <key>", "deactivated: Inactive (request <id>)",
            "usage_read: <key> never used, <key> used at <time> for sts in us-east-1", "listed: <key>, <key>", "deleted: deleted (request <id>)",
        ],
        "preflight": [], "error": null,
    }]});
    assert_eq!(wet, expect);
    house.ends();
}

#[test]
fn explain_prints_the_expected_text() {
    let house = House::new("explain", 97.0);
    house.program.configure(&house.toml("soak = \"2h\"\ncool = \"7d\"\n"));
    let (name, user) = (&house.name, &house.user);
    let ran = house.program.run(&["explain", name]);
    let expect = format!(
        "{name} (IAM user {user}): overdue, overdue\n\n  The key <key> is 97 days old and due since <time>, and overdue since \
         <time>; it is replaced at the next pass.\n\nKeys\n  <key>: Active, 97 days old, never used.\n\nWhen it is \
         replaced\n  1. create a new access key (sent once)\n  2. prove it: 3 GetCallerIdentity in a row, 0s apart\n  3. \
         deliver it to the vendor in 1 step\n  4. let both keys work for at least 2h\n  5. set the old key Inactive\n  6. \
         cool for 7d: until then the old key can be brought back\n  7. delete the old key\n\nRules\n  A key is due when it \
         is 90d old, which is announced 14d before, and overdue 3d after; a rotation under way keeps the settings that it \
         began with.\n"
    );
    assert_eq!(masked(&ran.stdout), expect);
    house.program.json(0, &["rotate"]);
    let ran = house.program.run(&["explain", name]);
    let under_way = "Rotation\n  The key <key> is being replaced by <key>; in stage soak since <time>; rotation id <id>.\n\n\
                     Still to come\n  1. let both keys work for at least 2h\n  2. set the old key Inactive\n  3. cool for \
                     7d: until then the old key can be brought back\n  4. delete the old key\n";
    assert!(masked(&ran.stdout).contains(under_way), "{ran}");
    house.ends();
}

#[test]
fn history_prints_one_line_per_event_also_of_a_removed_vendor() {
    let house = House::new("history", 97.0);
    house.program.json(0, &["rotate"]);
    let ran = house.program.run(&["history", &house.name]);
    let events: Vec<String> = ran.stdout.lines().skip(1).map(|line| words(line)[2].clone()).collect();
    let expect = [
        "started",
        "listed",
        "intended",
        "created",
        "probed",
        "probed",
        "probed",
        "intended",
        "delivered",
        "verified",
        "listed",
        "intended",
        "deactivated",
        "usage_read",
        "listed",
        "intended",
        "deleted",
    ];
    assert_eq!(events, expect, "{ran}");
    let verified = house.program.json(0, &["history", "verify"]);
    assert_eq!((&verified["ok"], &verified["events"]), (&json!(true), &json!(expect.len())));
    house.program.configure("[vendor.other]\nrole_arn = \"arn:aws:iam::111122223333:role/other\"\n");
    assert_eq!(house.program.run(&["history", &house.name]).stdout, ran.stdout);
    fails(&house.program.run(&["history", "nobody"]), 64, "there is no vendor nobody in the configuration");
    house.ends();
}

#[test]
fn the_help_of_every_command_fits_into_a_hundred_columns() {
    let house = House::new("help", 5.0);
    let help = house.program.run(&["--help"]);
    let commands = help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<String> =
        commands.take_while(|line| !line.is_empty()).map(|line| words(line)[0].clone()).collect();
    assert!(commands.contains(&"rehearse".to_owned()), "{help}");
    for command in commands.iter().filter(|command| *command != "help") {
        let ran = house.program.run(&[command, "--help"]);
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100), "{ran}");
    }
    let hold = house.program.run(&["hold", "--help"]);
    assert!(hold.stdout.contains("Only a rotation in flight can be held"), "{hold}");
    house.ends();
}

// Errors and exit codes.

#[test]
fn a_vendor_that_does_not_exist_is_a_usage_error_that_names_the_nearest() {
    let house = House::new("nearest", 5.0);
    for command in [
        &["rotate", "cli-neerest"][..],
        &["status", "cli-neerest"],
        &["explain", "cli-neerest"],
        &["resume", "cli-neerest"],
    ] {
        let ran = house.program.run(command);
        fails(&ran, 64, "there is no vendor cli-neerest in the configuration");
        assert!(ran.stderr.contains("hint: did you mean cli-nearest?"), "{ran}");
    }
    let far = house.program.run(&["rotate", "zzz"]);
    assert!(far.stderr.contains("hint: `keyround status` shows the vendors that there are"), "{far}");
    assert_eq!(house.program.run(&["rotate", "not a name"]).code, Some(64));
    assert_eq!(house.program.run(&["rotat"]).code, Some(64));
    assert_eq!(house.program.run(&["hold", &house.name]).code, Some(64), "without --why");
    house.ends();
}

#[test]
fn a_bad_configuration_exits_with_78_and_unreachable_aws_with_75() {
    let mut house = House::new("away", 97.0);
    house.program.configure("[vendor.acme]\niam_usr = \"x\"\n");
    fails(&house.program.run(&["rotate"]), 78, "rotation.toml:2:1");
    house.program.configure(&house.toml(""));
    house.program.set_env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    for command in [&["status"][..], &["rotate"], &["rotate", "--dry-run"]] {
        let ran = house.program.run(command);
        assert_eq!(ran.code, Some(75), "{ran}");
        assert!(ran.stdout.contains("no key was touched"), "{ran}");
    }
    assert_eq!(house.emulator.keys(&house.user).len(), 1);
    house.ends();
}

#[test]
fn detailed_exitcode_is_2_with_work_to_do_and_0_without() {
    let house = House::new("detailed", 97.0);
    house.program.configure(&house.toml("soak = \"2h\"\n"));
    let code = |arguments: &[&str]| house.program.run(arguments).code;
    assert_eq!(code(&["rotate", "--dry-run", "--detailed-exitcode"]), Some(2), "due");
    assert_eq!(code(&["rotate", "--dry-run"]), Some(0));
    assert_eq!(code(&["rotate", "--detailed-exitcode"]), Some(2), "under way");
    assert_eq!(code(&["rotate"]), Some(0));
    let young = House::new("detailed-young", 5.0);
    assert_eq!(young.program.run(&["rotate", "--detailed-exitcode"]).code, Some(0));
    young.ends();
    house.ends();
}

#[test]
fn force_replaces_a_young_key_and_never_chooses_between_two() {
    let house = House::new("force", 5.0);
    let untouched = house.program.json(0, &["rotate"]);
    assert_eq!(
        (&untouched["vendors"][0]["action"], &untouched["vendors"][0]["reason"]),
        (&json!("none"), &json!("fresh"))
    );
    let forced = house.program.json(0, &["rotate", &house.name, "--force"]);
    assert_eq!(forced["vendors"][0]["reason"], "rotated", "{forced}");
    let two = House::new("force-two", 5.0);
    two.emulator.seed_second_key(&two.user, 40.0);
    for arguments in [&["rotate", "--force", "--dry-run"][..], &["rotate", "--force"]] {
        let stuck = two.program.json(1, arguments);
        let vendor = &stuck["vendors"][0];
        assert_eq!(
            (&vendor["action"], &vendor["reason"]),
            (&json!("stuck"), &json!("no_free_slot")),
            "{stuck}"
        );
        assert!(vendor["sentence"].as_str().expect("a sentence").contains("find out who uses it"), "{stuck}");
    }
    let keys = two.emulator.keys(&two.user);
    assert!(keys.len() == 2 && keys.iter().all(|key| key.status == "Active"), "{keys:?}");
    two.ends();
    house.ends();
}

#[test]
fn a_stuck_rotation_names_the_resume_command_and_completes_after_it() {
    let house = House::new("stuck", 97.0);
    let name = &house.name;
    house.vendor.script([Answer::status(410)]);
    let stuck = house.program.json(1, &["rotate"]);
    assert_eq!(
        (&stuck["vendors"][0]["action"], &stuck["vendors"][0]["reason"]),
        (&json!("stuck"), &json!("vendor_gone"))
    );
    let way_on =
        format!("mend the delivery in the configuration, then resume; to go on: `keyround resume {name}`");
    for command in [&["rotate", name][..], &["status"], &["explain", name]] {
        let ran = house.program.run(command);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stdout.contains(&way_on), "{ran}");
    }
    let row = house.program.json(1, &["status"]);
    let rotation = &row["vendors"][0]["rotation"];
    assert_eq!((&rotation["stage"], &rotation["next_at"]), (&json!("stuck"), &json!(null)), "{row}");
    let resumed = house.program.run(&["resume", name]);
    assert_eq!(resumed.code, Some(0), "{resumed}");
    assert!(resumed.stdout.contains("next step: deliver, within seconds if"), "{resumed}");
    assert_eq!(house.program.json(0, &["rotate"])["vendors"][0]["reason"], "rotated");
    house.ends();
}

// The operator commands.

#[test]
fn hold_resume_and_abandon_act_on_a_soaking_rotation() {
    let house = House::new("levers", 97.0);
    let (name, user) = (house.name.as_str(), house.user.as_str());
    let none = house.program.run(&["hold", name, "--why", "a test"]);
    fails(&none, 1, &format!("{name} has no rotation in flight; nothing was changed"));
    house.program.configure(&house.toml("soak = \"2h\"\n"));
    house.program.json(0, &["rotate"]);
    assert_eq!(house.state(), ("overdue".to_owned(), "soaking".to_owned()));

    let held = house.program.json(0, &["hold", name, "--why", "the vendor moves house"]);
    assert_eq!((&held[0]["iam_user"], &held[0]["done"]), (&json!(user), &json!(true)));
    assert_eq!(house.state(), ("held".to_owned(), "held".to_owned()));
    let sentence = house.program.json(0, &["rotate"])["vendors"][0]["sentence"].clone();
    let sentence = sentence.as_str().expect("a sentence").to_owned();
    assert!(sentence.ends_with(": the vendor moves house, until an operator resumes it"), "{sentence}");
    house.program.json(0, &["resume", name]);
    assert_eq!(house.state(), ("overdue".to_owned(), "soaking".to_owned()));

    let given_up = house.program.json(0, &["abandon", name, "--why", "again, from the start"]);
    says(&given_up, "stay as they are");
    assert_eq!(house.state().1, "no_free_slot", "the vendor was offered the new key: both stay");
    says(&house.program.json(1, &["status"])["vendors"], "in the rotation that was abandoned at");
    assert_eq!(house.statuses(), ["Active", "Active"]);
    fails(&house.program.run(&["resume", name]), 1, "has no rotation in flight");
    house.ends();
}

#[test]
fn reactivate_sets_the_old_key_active_while_it_cools() {
    let house = House::new("reactivate", 97.0);
    let name = house.name.as_str();
    house.program.configure(&house.toml("cool = \"2h\"\n"));
    house.program.json(0, &["rotate"]);
    assert_eq!(
        (house.state().1.as_str(), house.statuses()),
        ("cooling", vec!["Inactive".to_owned(), "Active".to_owned()])
    );
    let held = house.program.json(0, &["hold", name, "--why", "a freeze"]);
    says(
        &held,
        "keyround still checks whether the key that it set Inactive is needed, and sets it Active again",
    );
    house.program.json(0, &["resume", name]);
    let asked = house.program.run(&["reactivate", name, "--why", "the vendor fell back"]);
    assert_eq!(asked.code, Some(0), "{asked}");
    assert!(asked.stdout.contains("next step: UpdateAccessKey Active, within seconds if"), "{asked}");
    let wait = ["hold", name, "--until", "2999-01-01T00:00:00Z", "--why", "until they know"];
    says(&house.program.json(0, &wait), "next step: UpdateAccessKey Active, within seconds if");
    assert_eq!(house.statuses(), ["Inactive", "Active"]);
    house.program.json(0, &["rotate"]);
    assert_eq!(house.statuses(), ["Active", "Active"], "a hold does not stop what gives a key back");
    house.program.json(0, &["resume", name]);
    assert_eq!(
        (house.state().1.as_str(), house.statuses()),
        ("soaking", vec!["Active".to_owned(), "Active".to_owned()]),
        "however short the soak, a look at the keys must find it Active first"
    );
    let history = house.program.run(&["history", name]);
    assert!(history.stdout.contains("the old key was set Active again"), "{history}");
    assert!(history.stdout.contains("the vendor fell back"), "{history}");
    house.ends();
}

#[test]
fn abandon_while_cooling_leaves_the_old_key_inactive_and_says_so() {
    let house = House::new("cold", 97.0);
    let name = house.name.as_str();
    house.program.configure(&house.toml("cool = \"2h\"\n"));
    house.program.json(0, &["rotate"]);
    let given_up = house.program.json(0, &["abandon", name, "--why", "the vendor is leaving"]);
    says(&given_up, "which was set Inactive, Active again");
    assert_eq!(house.statuses(), ["Inactive", "Active"]);
    house.ends();
}

/// Asserts what the answer to an operator command says.
#[track_caller]
fn says(pulled: &Value, what: &str) {
    let sentence = pulled[0]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains(what), "{sentence}");
}

#[test]
fn abandon_discards_a_new_key_that_was_never_delivered() {
    let house = House::new("discard", 97.0);
    let name = house.name.as_str();
    // The proofs are never completed, so the vendor is never offered the key.
    house.program.configure(&house.toml("prove_every = \"1h\"\n"));
    house.program.json(0, &["rotate"]);
    assert_eq!(house.state().1, "propagation");
    fails(&house.program.run(&["reactivate", name, "--why", "a test"]), 1, "");
    house.program.json(0, &["abandon", name, "--why", "not today"]);
    let over = house.program.json(0, &["rotate", name]);
    assert_eq!(
        (&over["vendors"][0]["action"], &over["vendors"][0]["reason"]),
        (&json!("none"), &json!("abandoned"))
    );
    assert_eq!(house.statuses(), ["Active", "Deleted"]);
    assert_eq!(house.vendor.requests().len(), 0);
    house.ends();
}

#[test]
fn operator_commands_work_beside_the_scheduler_but_a_second_driver_exits() {
    let house = House::new("beside", 97.0);
    let name = house.name.as_str();
    house.program.configure(&house.toml("soak = \"2h\"\n"));
    let paused = house.emulator.order(&Rule::pause("iam:CreateAccessKey").about(&house.user));
    let scheduler = house.program.start(&["run"]);
    house.emulator.wait_for(paused);
    let second = house.program.run(&["rotate"]);
    fails(&second, 75, "is in use by process");
    let status = house.program.json(0, &["status"]);
    assert_eq!(status["vendors"][0]["rotation"]["stage"], "create", "{status}");
    let held = house.program.run(&["hold", name, "--why", "wait"]);
    assert_eq!(held.code, Some(0), "{held}");
    house.emulator.release(paused, Release::Proceed);
    scheduler.signal("TERM");
    let ended = scheduler.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stderr.contains("stopping after the effects under way"), "{ended}");
    let seen = house.program.json(0, &["status"]);
    assert_eq!(seen["vendors"][0]["state"], "held", "{seen}");
    let after = house.program.json(0, &["rotate"]);
    assert_eq!(after["vendors"][0]["action"], "wait", "{after}");
    assert_eq!(house.vendor.requests().len(), 0, "held is held");
    house.program.json(0, &["resume", name]);
    house.program.json(0, &["rotate"]);
    assert_eq!(house.state().1, "soaking");
    house.ends();
}

#[test]
fn rotate_finishes_its_effect_on_one_stop_signal_and_not_on_two() {
    let house = House::new("stopped", 97.0);
    let paused = house.emulator.order(&Rule::pause("iam:CreateAccessKey").about(&house.user));
    let patient = house.program.start(&["rotate"]);
    house.emulator.wait_for(paused);
    patient.signal("INT");
    house.emulator.release(paused, Release::Proceed);
    fails(&patient.wait(), 75, "stopped before everything was done");
    assert_eq!(house.state().1, "next_step", "the key was made, and nothing was done with it");

    let hanging = house.emulator.order(&Rule::hang("sts:GetCallerIdentity").about(&house.user));
    let hasty = house.program.start(&["rotate"]);
    house.emulator.wait_for(hanging);
    hasty.signal("TERM");
    hasty.signal("INT");
    fails(&hasty.wait(), 75, "");
    assert_eq!(house.program.json(0, &["rotate"])["vendors"][0]["reason"], "rotated");
    house.ends();
}

// Rotations whose vendor changed in the configuration, and paths.

#[test]
fn the_rotation_of_a_removed_vendor_is_reported_and_can_be_abandoned() {
    let house = House::new("left", 97.0);
    let name = house.name.as_str();
    house.program.configure(&house.toml("soak = \"2h\"\n"));
    house.program.json(0, &["rotate"]);
    house.program.configure("[vendor.other]\nrole_arn = \"arn:aws:iam::111122223333:role/other\"\n");
    for command in [&["status"][..], &["rotate"], &["rotate", "--dry-run"]] {
        let seen = house.program.json(1, command);
        let row = &seen["vendors"][0];
        assert_eq!((&row["vendor"], &row["reason"]), (&json!(name), &json!("orphaned")), "{seen}");
    }
    let ran = house.program.run(&["rotate"]);
    assert!(
        ran.stderr.contains("WARN")
            && ran.stderr.contains("is not in the configuration with this user any more"),
        "{ran}"
    );
    house.program.json(0, &["abandon", name, "--why", "the contract ended"]);
    assert_eq!(house.program.json(0, &["status"])["vendors"].as_array().map(Vec::len), Some(1));
    house.ends();
}

#[test]
fn a_renamed_vendor_resumes_its_rotation_under_the_new_name() {
    let house = House::new("renamed", 97.0);
    let name = house.name.as_str();
    house.vendor.script([Answer::status(410)]);
    house.program.json(1, &["rotate"]);
    house.program.configure(&house.toml("").replace(&format!("vendor.{name}"), "vendor.after"));
    let old_name = house.program.run(&["resume", name]);
    fails(&old_name, 1, &format!("{name} has no rotation in flight"));
    assert!(old_name.stderr.contains("the rotation in flight for its user belongs to after"), "{old_name}");
    let stuck = house.program.json(1, &["rotate", "after"]);
    let sentence = stuck["vendors"][0]["sentence"].as_str().expect("a sentence");
    assert!(sentence.ends_with("to go on: `keyround resume after`"), "{sentence}");
    house.program.json(0, &["resume", "after"]);
    let done = house.program.json(0, &["rotate"]);
    assert_eq!(done["vendors"][0]["reason"], "rotated", "{done}");
    assert!(!done["vendors"][0]["steps"].as_array().expect("steps").is_empty(), "{done}");
    assert_eq!(house.vendor.requests()[1].json()["data"]["vendor"], "after");
    house.ends();
}

#[test]
fn an_unlistable_path_does_not_stop_a_rotation_in_flight() {
    let house = House::new("path", 5.0);
    let (path, user) = ("/cli-path/", "user-under-cli-path");
    house.emulator.seed_user_under(path, user);
    house.emulator.seed_second_key(user, 97.0);
    let toml = house
        .toml("soak = \"0s\"\n")
        .replace(&format!("iam_user = \"{}\"", house.user), &format!("path = \"{path}\""));
    house.vendor.script([Answer::status(410)]);
    house.program.configure(&toml);
    house.program.json(1, &["rotate"]);
    house.program.json(0, &["resume", &house.name]);
    house.emulator.order(&Rule::error("iam:ListUsers", 403, "AccessDenied").about(path));
    let ran = house.program.json(1, &["rotate"]);
    let rows = ran["vendors"].as_array().expect("rows");
    let reasons: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row["iam_user"], &row["reason"])).collect();
    assert_eq!(
        reasons,
        [(&json!(null), &json!("access_denied")), (&json!(user), &json!("rotated"))],
        "{ran}"
    );
    house.program.json(0, &["check", "--online"]);
    house.emulator.order(&Rule::error("iam:ListUsers", 403, "AccessDenied").about(path));
    let checked = house.program.json(1, &["check", "--online"]);
    assert_eq!(
        (&checked["checks"][1]["check"], &checked["checks"][1]["ok"]),
        (&json!("keys"), &json!(false))
    );
    house.ends();
}

#[test]
fn check_online_names_the_account_and_counts_unchecked_items() {
    let house = House::new("counted", 97.0);
    house.program.configure(&house.toml(""));
    let ran = house.program.run(&["check", "--online"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let has = |text: &str| ran.stdout.contains(text);
    assert!(has("  ok   account: keyround is arn:aws:") && has(" in AWS account 123456789012"), "{ran}");
    assert!(
        has(", rights: keyround has no right to simulate its own policies") && has("  not checked"),
        "{ran}"
    );
    assert!(has(" ok, 0 failed, 1 not checked"), "{ran}");
    let wrong = format!("{}\n[account.elsewhere]\nid = \"444455556666\"\n", house.toml(""));
    house.program.configure(&wrong);
    let ran = house.program.run(&["check", "--online"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let first = ran.stdout.lines().nth(1).unwrap_or_default();
    assert!(
        first.contains("FAIL account elsewhere: the credentials belong to the AWS account 123456789012, and"),
        "{ran}"
    );
    assert!(ran.stdout.contains(", 1 failed, 1 not checked"), "{ran}");
    let json = house.program.json(1, &["check", "--online"]);
    let rights = json["checks"].as_array().expect("checks").iter().find(|check| check["check"] == "rights");
    let rights = rights.expect("the rights are named");
    assert_eq!((&rights["ok"], &rights["checked"]), (&json!(true), &json!(false)), "{json}");
    house.ends();
}

#[test]
fn a_path_without_users_is_reported_by_its_name() {
    let house = House::new("empty-path", 5.0);
    let toml = house.toml("").replace(&format!("iam_user = \"{}\"", house.user), "path = \"/nobody-here/\"");
    house.program.configure(&toml);
    for command in ["status", "rotate"] {
        let shown = house.program.json(0, &[command]);
        let row = &shown["vendors"][0];
        assert_eq!((&row["vendor"], &row["reason"]), (&json!(house.name), &json!("no_users")), "{shown}");
        assert!(row["sentence"].as_str().is_some_and(|text| text.contains("/nobody-here/")), "{shown}");
    }
    let planned = house.program.run(&["rotate", "--dry-run"]);
    assert!(
        planned.stdout.contains("dry run: 0 to rotate, 0 to continue, 1 unchanged; nothing was changed"),
        "{planned}"
    );
    house.ends();
}

#[test]
fn a_rotation_continues_from_a_backup_taken_beside_the_scheduler() {
    let house = House::new("backup", 97.0);
    let paused = house.emulator.order(&Rule::pause("sts:GetCallerIdentity").about(&house.user));
    let scheduler = house.program.start(&["run"]);
    house.emulator.wait_for(paused);
    let backup = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))";
    let (journal, copy) = (house.program.path("keyround.db"), house.program.path("copy.db"));
    let made = Command::new("python3").args(["-c", backup]).args([&journal, &copy]).status();
    assert!(made.expect("python3 is there").success());
    scheduler.signal("TERM");
    house.emulator.release(paused, Release::Proceed);
    assert_eq!(scheduler.wait().code, Some(0));
    for file in house.program.files().iter().filter(|file| file.starts_with("keyround.db")) {
        std::fs::remove_file(house.program.path(file)).expect("it is there");
    }
    assert_eq!(house.program.json(0, &["history"]), json!([]), "the journal is lost");
    std::fs::rename(&copy, &journal).expect("the copy takes its place");

    let verified = house.program.run(&["history", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified}");
    assert_eq!(
        house.program.json(0, &["rotate"])["vendors"][0]["reason"],
        "rotated",
        "with the sealed secret"
    );
    house.ends();
}

// The log.

#[test]
fn a_failed_delivery_and_each_stage_are_logged_once() {
    let house = House::new("logs", 97.0);
    let (name, user) = (&house.name, &house.user);
    house.vendor.script([Answer::status(500)]);
    let ran = house.program.run(&["rotate"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let lines: Vec<String> = masked(&ran.stderr)
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        // The program warns about the waits of seconds that make the test quick.
        .filter(|line| !line.starts_with("WARN [defaults]"))
        .collect();
    let of_level =
        |level: &str| lines.iter().filter(|line| line.starts_with(level)).cloned().collect::<Vec<_>>();
    assert_eq!(of_level("WARN").len() + of_level("ERROR").len(), 1, "{ran}");
    assert!(of_level("WARN")[0].contains("500"), "{ran}");
    let infos = of_level("INFO").join("\n");
    for sentence in [
        format!("{name}: a rotation begins: the key <key> of user {user} is to be replaced, overdue"),
        format!("{name}: created a new key for user {user}: <key> (request <id>)"),
        format!("{name}: AWS knows the new key"),
        format!("{name}: the vendor accepted the new key"),
        format!("{name}: a key of user {user} was set Inactive (request <id>)"),
        format!("{name}: a key of user {user} was deleted (request <id>)"),
    ] {
        assert_eq!(infos.matches(&sentence).count(), 1, "{sentence}\n{infos}");
    }
    house.ends();
}

// The house: the environment of these tests.

struct House {
    name: String,
    user: String,
    emulator: &'static Emulator,
    vendor: Vendor,
    program: Program,
}

impl House {
    /// A vendor with a key of that age, and a program that is configured for it.
    fn new(name: &str, age_days: f64) -> House {
        let (emulator, vendor) = (Emulator::shared(), Vendor::start());
        let (name, user) = (format!("cli-{name}"), format!("user-of-cli-{name}"));
        let (access_key_id, secret_access_key) = emulator.seed_user(&user, age_days);
        vendor.hold(Pair { access_key_id, secret_access_key });
        let program = Program::new(emulator, "");
        program.credential("hook", WEBHOOK_SECRET);
        let house = House { name, user, emulator, vendor, program };
        house.program.configure(&house.toml(""));
        house
    }

    fn toml(&self, settings: &str) -> String {
        let House { name, user, vendor, .. } = self;
        let url = vendor.url("/hook");
        format!(
            "{HASTE}\n[vendor.{name}]\niam_user = \"{user}\"\n{settings}\n[[vendor.{name}.deliver]]\nkind = \"webhook\"\n\
             url = \"{url}\"\nsecret = \"credential:hook\"\n"
        )
    }

    /// The vendor's state and reason in `status`.
    #[track_caller]
    fn state(&self) -> (String, String) {
        let seen = self.program.run(&["status", &self.name, "--format", "json"]).json();
        let text = |field: &str| seen["vendors"][0][field].as_str().expect("text").to_owned();
        (text("state"), text("reason"))
    }

    /// The statuses of the user's keys, oldest first.
    fn statuses(&self) -> Vec<String> {
        self.emulator.keys(&self.user).into_iter().map(|key| key.status).collect()
    }

    #[track_caller]
    fn ends(self) {
        self.program.assert_no_secret_was_seen(self.emulator);
    }
}

#[track_caller]
fn fails(ran: &Ran, code: i32, message: &str) {
    assert_eq!(ran.code, Some(code), "{ran}");
    assert!(format!("{}{}", ran.stderr, ran.stdout).contains(message), "{ran}");
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn masked_json(document: &Value) -> Value {
    serde_json::from_str(&masked(&document.to_string())).expect("masks are words")
}

/// Replaces each time, key and id by a mask.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == ':';
        let end = rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end.max(first.len_utf8()));
        let (bare, colon) = word.strip_suffix(':').map_or((word, ""), |bare| (bare, ":"));
        match bare {
            _ if is_time(bare) => masked.push_str("<time>"),
            _ if bare.len() == 20 && bare.starts_with("AKIA") => masked.push_str("<key>"),
            _ if is_id(bare) => masked.push_str("<id>"),
            _ => masked.push_str(bare),
        }
        masked.push_str(colon);
        rest = after;
    }
    masked
}

fn is_time(word: &str) -> bool {
    let shape: String =
        word.chars().map(|letter| if letter.is_ascii_digit() { '9' } else { letter }).collect();
    shape == "9999-99-99T99:99:99Z"
}

/// Whether the word is a UUID, or a request id of AWS.
fn is_id(word: &str) -> bool {
    let long = word.len() >= 30 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    long || (word.len() > 40 && word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
