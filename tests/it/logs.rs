//! The log in each format: for people, for machines, and for the systemd journal. Each line about a rotation has
//! its id, and an error that ends the program is logged once.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use chrono::DateTime;
use serde_json::Value;

use crate::support::moto::{Emulator, Rule};
use crate::support::process::{Corner, Finished};
use crate::support::vendor::Answer;

#[test]
fn each_json_line_is_an_object_and_each_line_of_a_rotation_has_its_id() {
    let corner = Corner::new(emulator(), "logs-json");
    let lines = json_lines(&corner.run_well(&["rotate", "--wait", "--log-format", "json"]));
    let id = corner.run_well(&["history", "--format", "json"]).json()[0]["rotation"].clone();
    assert!(id.is_string(), "{id}");
    for line in &lines {
        let at = line["timestamp"].as_str().expect("a time");
        assert!(at.ends_with('Z') && DateTime::parse_from_rfc3339(at).is_ok(), "{at}");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let of_rotation: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("acme: ")))
        .collect();
    assert!(of_rotation.len() > 10, "{lines:?}");
    for line in of_rotation {
        assert_eq!((&line["rotation.id"], &line["vendor.name"]), (&id, &"acme".into()), "{line}");
    }
    // The adapters know no rotation ids, but their lines get the id from the surrounding span.
    let adapters: Vec<&Value> = lines
        .iter()
        .filter(|line| {
            line["target"].as_str().is_some_and(|name| name.starts_with("keyround::adapters::delivery"))
        })
        // The preflight is before the rotation, which has no id yet.
        .filter(|line| !line["target"].as_str().is_some_and(|name| name.ends_with("::preflight")))
        .collect();
    assert!(!adapters.is_empty() && adapters.iter().all(|line| line["rotation.id"] == id), "{adapters:?}");
}

#[test]
fn an_error_line_has_the_rotation_id_at_log_level_error() {
    let corner = Corner::new(emulator(), "logs-quiet");
    corner.set_env("KEYROUND_LOG", "error");
    corner.vendor.script([Answer::status(410)]);
    let ran = corner.run(&["rotate", "--log-format", "json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let lines = json_lines(&ran);
    assert_eq!(lines.len(), 1, "{ran:?}");
    assert!(lines[0]["level"] == "ERROR" && lines[0]["rotation.id"].is_string(), "{ran:?}");
}

#[test]
fn a_repeated_failure_is_logged_once() {
    let corner = Corner::new(emulator(), "logs-once");
    corner.set_env("KEYROUND_LOG", "warn,keyround=info");
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    let by_path = vendor.replace(&format!("iam_user = \"{}\"", corner.user), "path = \"/logs-once/\"");
    let schedule = "[schedule]\ncron = \"* * * * * *\"\njitter = \"0s\"\n";
    corner.configure(&[schedule, &by_path].concat());
    let rule = Rule::error("iam:ListUsers", 403, "AccessDenied").about("/logs-once/").times(u32::MAX);
    emulator().order(&rule);
    let mut service = corner.spawn(&["run"]);
    let listed = || emulator().calls_about("/logs-once/").len();
    assert!(service.lives_until(|_| listed() >= 4));
    let warnings =
        service.err().lines().filter(|line| line.contains("WARN") && line.contains("acme")).count();
    assert_eq!(warnings, 1, "{}", service.err());
    service.signal("TERM");
    assert_eq!(service.finish().code, Some(0));
}

#[test]
fn a_fatal_error_is_logged_as_one_json_line() {
    let corner = Corner::new(emulator(), "logs-end");
    corner.configure("[vendor.acme]\nshoe_size = 46\n");
    let ran = corner.run(&["check", "--log-format", "json"]);
    assert_eq!(ran.code, Some(78));
    let lines = json_lines(&ran);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0]["level"] == "ERROR"
            && lines[0]["message"].as_str().is_some_and(|text| text.contains("shoe_size"))
    );
    // This holds with the log off too, because the program must not end without a message.
    corner.set_env("KEYROUND_LOG", "off");
    let ran = corner.run(&["check", "--log-format", "json"]);
    assert!(ran.err.contains("shoe_size"), "{ran:?}");
}

#[test]
fn a_text_log_line_begins_with_its_time_and_ends_with_its_fields() {
    let corner = Corner::new(emulator(), "logs-text");
    corner.set_env("KEYROUND_LOG", "warn,keyround=info");
    let ran = corner.run_well(&["rotate", "--wait"]);
    let line = ran.err.lines().find(|line| line.contains("the vendor accepted the new key")).expect("a line");
    let (at, rest) = line.split_once(' ').expect("a time");
    assert!(DateTime::parse_from_rfc3339(at).is_ok(), "{line}");
    let expect =
        " INFO acme: the vendor accepted the new key rotation.stage=\"verify\" vendor.name=acme rotation.id=";
    assert!(rest.starts_with(expect), "{line}");
}

#[test]
fn log_lines_to_the_systemd_journal_begin_with_their_priority() {
    let corner = Corner::new(emulator(), "logs-journal");
    corner.run_well(&["rotate", "--wait"]);
    let on_stream = |arguments: &[&str], stream_of: Option<&str>| {
        let path = corner.path("stream");
        let file = File::create(&path).expect("the folder can be written");
        let metadata = file.metadata().expect("it is open");
        let stream = stream_of.map_or(format!("{}:{}", metadata.dev(), metadata.ino()), str::to_owned);
        Command::new(env!("CARGO_BIN_EXE_keyround"))
            .args(arguments)
            .args(["--log-format", "text", "-v"])
            .current_dir(path.parent().expect("a folder"))
            .env_clear()
            .envs(emulator().env())
            .env("JOURNAL_STREAM", stream)
            .env("SIGNING", crate::support::process::WEBHOOK_SECRET)
            .stdout(Stdio::null())
            .stderr(file)
            .status()
            .expect("it starts");
        std::fs::read_to_string(&path).expect("it is text")
    };
    let said = on_stream(&["rotate"], None);
    assert!(said.lines().any(|line| line.starts_with("<7>acme is ok: ")), "{said}");
    assert!(said.lines().all(|line| line.starts_with('<')), "{said}");
    let elsewhere = on_stream(&["rotate"], Some("1:1"));
    assert!(
        elsewhere.lines().all(|line| !line.starts_with('<')),
        "the variable of somebody else's stream: {elsewhere}"
    );
    corner.configure("[vendor.acme]\nshoe_size = 46\n");
    let said = on_stream(&["check"], None);
    assert!(said.lines().count() > 3 && said.lines().all(|line| line.starts_with("<3>")), "{said}");
}

#[track_caller]
fn json_lines(ran: &Finished) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    ran.err.lines().map(line).collect()
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
