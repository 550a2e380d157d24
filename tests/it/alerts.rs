//! Alerts as operators get them: the real program with each kind of sink, and the notifications that the sinks receive.
//!
//! An HTTP server stands in for Slack and PagerDuty, and each request is compared with their documentation.
//! Standard Webhooks, mail, SNS and Alertmanager are checked with real implementations (`alerts/receivers.rs`).

mod receivers;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::moto::Emulator;
use crate::support::program::{HASTE, Program};
use crate::support::python;
use crate::support::vendor::{Answer, Pair, Received, Vendor};

const SIGNING: &str = "whsec_YWxlcnQtc2lnbmluZy1zZWNyZXQtOWM0MWQ3";
const EVERY_FEW_SECONDS: &str = "[schedule]\ncron = \"*/5 * * * * *\"\njitter = \"0s\"\n";
/// The longest time that a retry takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A vendor, and its section of the configuration.
struct Customer {
    vendor: Vendor,
    section: String,
}

impl Customer {
    fn new(emulator: &Emulator, program: Option<&Program>, name: &str, age_days: f64) -> Customer {
        let user = format!("vendor-{name}");
        let (access_key_id, secret_access_key) = emulator.seed_user(&user, age_days);
        let vendor = Vendor::start();
        vendor.hold(Pair { access_key_id, secret_access_key });
        if let Some(program) = program {
            program.credential("signing", SIGNING);
        }
        let section = format!(
            "[vendor.{name}]\niam_user = \"{user}\"\nowner = \"platform@example.com\"\n[[vendor.{name}.deliver]]\n\
             kind = \"webhook\"\nurl = \"{}\"\nsecret = \"credential:signing\"\n",
            vendor.url("/keys")
        );
        Customer { vendor, section }
    }
}

/// The configuration of each kind of sink that speaks HTTP, all at one receiver, and of a command sink.
fn sinks(program: &Program, receiver: &Vendor) -> String {
    program.credential("hook", SIGNING);
    program.credential("slack", &receiver.url("/slack/T0/B0/token-5f1c8a"));
    program.credential("pagerduty", "routing-key-77aa01");
    let on = "on = [\"stuck\", \"overdue\", \"failed\", \"journal\", \"seal-key\", \"rotated\"]";
    format!(
        "[alert.hook]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"credential:hook\"\n{on}\n\
         [alert.slack]\nkind = \"slack\"\nurl = \"credential:slack\"\n{on}\n\
         [alert.pager]\nkind = \"pagerduty\"\nrouting_key = \"credential:pagerduty\"\nurl = \"{}\"\n{on}\n\
         [alert.manager]\nkind = \"alertmanager\"\nurl = \"{}\"\nlabels = {{ team = \"platform\" }}\n{on}\n\
         [alert.shell]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >> told; echo >> told; env > env\"]\n{on}\n",
        receiver.url("/hook"),
        receiver.url(""),
        receiver.url("/am"),
    )
}

fn at<'r>(requests: &'r [Received], path: &str) -> Vec<&'r Received> {
    requests.iter().filter(|request| request.path == path).collect()
}

fn told(program: &Program) -> Vec<Value> {
    let text = fs::read_to_string(program.path("told")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a document a line")).collect()
}

fn statuses(document: &Value) -> Vec<String> {
    let alerts = document["data"]["alerts"].as_array().expect("alerts").iter();
    let word = |alert: &Value| format!("{}:{}", alert["status"], alert["condition"]).replace('"', "");
    alerts.map(word).collect()
}

#[test]
fn a_stuck_alert_and_its_resolution_are_sent_once_to_each_sink() {
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    let receiver = Vendor::start();
    let acme = Customer::new(&emulator, Some(&program), "acme", 91.0);
    acme.vendor.script([Answer::status(410)]);
    program.configure(&[HASTE, &acme.section, &sinks(&program, &receiver)].concat());

    let ran = program.run(&["rotate"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let first = receiver.requests();
    let status = program.json(1, &["status"]);
    let sentence = status["vendors"][0]["sentence"].as_str().expect("a sentence");
    check_first_tellings(&first, sentence);
    let documents = told(&program);
    assert_eq!(documents.len(), 1);
    assert_eq!(statuses(&documents[0]), ["firing:stuck"]);
    let alert = &documents[0]["data"]["alerts"][0];
    assert_eq!((&alert["sentence"], &alert["reason"]), (&json!(sentence), &json!("vendor_gone")));
    assert_eq!((&alert["vendor"], &alert["owner"]), (&json!("acme"), &json!("platform@example.com")));
    let env = fs::read_to_string(program.path("env")).expect("the command's environment");
    let names: Vec<&str> = env.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{names:?}");

    let ran = program.run(&["rotate"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert_eq!(receiver.requests().len(), first.len(), "nothing is told twice");

    assert_eq!(program.run(&["resume", "acme"]).code, Some(0));
    let ran = program.run(&["rotate"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    check_last_tellings(&receiver.requests()[first.len()..]);
    assert_eq!(statuses(&told(&program)[1]), ["over:stuck", "news:rotated"]);
    let count = receiver.requests().len();
    assert_eq!(program.run(&["rotate"]).code, Some(0));
    assert_eq!(receiver.requests().len(), count, "over is told once");
    for request in receiver.requests() {
        let secrets = emulator.all_keys().into_iter().map(|key| key.secret);
        for secret in secrets.chain([SIGNING.to_owned()]) {
            assert!(!request.body.contains(&secret), "a secret was told to {}", request.path);
        }
    }
    // The command wrote to a file, which is not output of the program, but it must not contain a secret either.
    program.assert_no_secret_was_seen(&emulator);
}

fn check_first_tellings(requests: &[Received], sentence: &str) {
    assert_eq!(requests.len(), 4, "{requests:#?}");
    let [hook] = at(requests, "/hook")[..] else { panic!("one webhook") };
    let question = json!({ "check": "hmac", "secret": SIGNING, "body": hook.body, "headers": hook.headers });
    assert_eq!(python::ask("verify_webhook.py", &question), Ok("keyround.alert".to_owned()));
    assert_eq!(statuses(&hook.json()), ["firing:stuck"]);

    let [slack] = at(requests, "/slack/T0/B0/token-5f1c8a")[..] else { panic!("one message to Slack") };
    let message = slack.json();
    assert_eq!(message["text"], "keyround: acme (vendor-acme) stuck");
    let blocks = message["blocks"].as_array().expect("blocks");
    assert!(blocks.iter().all(|block| block["type"] == "section" && block["text"]["type"] == "mrkdwn"));
    assert!(blocks[1]["text"]["text"].as_str().is_some_and(|text| text.contains(sentence)), "{message}");

    let [pager] = at(requests, "/v2/enqueue")[..] else { panic!("one event to PagerDuty") };
    let event = pager.json();
    assert_eq!(
        (&event["routing_key"], &event["event_action"]),
        (&json!("routing-key-77aa01"), &json!("trigger"))
    );
    assert_eq!(event["dedup_key"], "keyround:stuck/acme/vendor-acme");
    assert_eq!(event["payload"]["severity"], "error");
    assert!(event["payload"]["summary"].as_str().is_some_and(|text| text.contains(sentence)), "{event}");
    assert_eq!(
        (&event["payload"]["source"], &event["payload"]["class"]),
        (&json!("keyround"), &json!("vendor_gone"))
    );

    let [manager] = at(requests, "/am/api/v2/alerts")[..] else { panic!("one post to Alertmanager") };
    let alerts = manager.json();
    let labels = &alerts[0]["labels"];
    assert_eq!((&labels["alertname"], &labels["team"]), (&json!("KeyroundStuck"), &json!("platform")));
    assert_eq!(alerts[0]["annotations"]["description"], *sentence);
    assert!(alerts[0]["endsAt"].as_str() > alerts[0]["startsAt"].as_str(), "{alerts}");
    assert!(!labels.to_string().contains("AKIA"), "a key id in a label: {labels}");
}

fn check_last_tellings(requests: &[Received]) {
    let [hook] = at(requests, "/hook")[..] else { panic!("one webhook") };
    assert_eq!(statuses(&hook.json()), ["over:stuck", "news:rotated"]);
    assert_eq!(at(requests, "/slack/T0/B0/token-5f1c8a").len(), 1);
    let [pager] = at(requests, "/v2/enqueue")[..] else { panic!("one event to PagerDuty") };
    let event = pager.json();
    assert_eq!(
        (&event["event_action"], &event["dedup_key"]),
        (&json!("resolve"), &json!("keyround:stuck/acme/vendor-acme"))
    );
    let [change] = at(requests, "/v2/change/enqueue")[..] else { panic!("one change event") };
    assert_eq!(change.json()["routing_key"], "routing-key-77aa01");
    assert!(change.json()["payload"]["summary"].as_str().is_some_and(|text| text.contains("acme rotated")));
    let [manager] = at(requests, "/am/api/v2/alerts")[..] else { panic!("one post to Alertmanager") };
    let alerts = manager.json();
    assert_eq!(alerts.as_array().map(Vec::len), Some(1), "news are no state");
    assert_eq!(alerts[0]["labels"]["alertname"], "KeyroundStuck");
}

#[test]
fn a_hanging_sink_delays_no_rotation_and_is_resent_the_same_message() {
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    let (receiver, other) = (Vendor::start(), Vendor::start());
    receiver.script([Answer::Hangs, Answer::status(503)]);
    let stuck = Customer::new(&emulator, Some(&program), "gone", 91.0);
    stuck.vendor.script([Answer::status(410)]);
    let good = Customer::new(&emulator, None, "good", 91.0);
    let sinks = format!(
        "[alert.hook]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"credential:signing\"\non = \
         [\"stuck\"]\ntimeout = \"2s\"\n\
         [alert.other]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"credential:signing\"\non = [\"stuck\"]\n\
         [heartbeat]\nurl = \"{}\"\n",
        receiver.url("/hook"),
        other.url("/hook"),
        other.url("/beat"),
    );
    program.configure(&[HASTE, EVERY_FEW_SECONDS, &stuck.section, &good.section, &sinks].concat());
    let service = program.start(&["run"]);
    wait_until(|| good.vendor.requests().iter().any(|request| request.method == "POST"));
    wait_until(|| emulator.keys("vendor-good").iter().any(|key| key.status == "Deleted"));
    wait_until(|| receiver.requests().len() == 3);
    let ids: Vec<String> =
        receiver.requests().iter().map(|request| request.headers["webhook-id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one message has one id: {ids:?}");
    // The answer to the third notification has arrived once another pass has ended.
    let beats = at(&other.requests(), "/beat").len();
    wait_until(|| at(&other.requests(), "/beat").len() > beats);
    assert_eq!(at(&other.requests(), "/hook").len(), 1, "the other sink was told once, at once");
    service.signal("TERM");
    let ran = service.wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains("the alert sink hook may not have received an alert"), "{ran}");
    // The status is searched as a word, because a time or an id may contain its digits too.
    let words = ran.stderr.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    assert_eq!(
        words.filter(|word| *word == "503").count(),
        0,
        "at the first failure, and not at the second: {ran}"
    );
    assert_eq!(
        ran.stderr.matches("rotations continue").count(),
        1,
        "a failure that lasts is logged once: {ran}"
    );
    assert_eq!(ran.stderr.matches("has recovered").count(), 1, "{ran}");
    assert!(ran.stderr.contains("the alert sink hook has recovered"), "{ran}");
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn an_unusable_journal_or_seal_key_is_alerted_once_and_then_resolved() {
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    let receiver = Vendor::start();
    let acme = Customer::new(&emulator, Some(&program), "acme", 1.0);
    program.configure(&[HASTE, &acme.section, &sinks(&program, &receiver)].concat());
    assert_eq!(program.run(&["rotate"]).code, Some(0));
    let journal = program.path("keyround.db");
    let good = all_of(&journal);
    fs::write(&journal, &good[..good.len() / 2]).expect("written");
    for _ in 0..2 {
        let ran = program.run(&["rotate"]);
        assert_eq!(ran.code, Some(78), "{ran}");
    }
    let documents = told(&program);
    assert_eq!(documents.len(), 1, "told once, by two processes");
    assert_eq!(statuses(&documents[0]), ["firing:journal"]);
    let sentence = documents[0]["data"]["alerts"][0]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("truncated") && sentence.contains("no key is touched"), "{sentence}");
    fs::write(&journal, &good).expect("written");
    assert_eq!(program.run(&["rotate"]).code, Some(0));
    assert_eq!(statuses(&told(&program)[1]), ["over:journal"]);
    assert!(!program.path("keyround.db-alerts").exists(), "what was kept meanwhile is in the journal");

    let seal_key = program.path("seal.key");
    fs::rename(&seal_key, program.path("elsewhere")).expect("moved");
    let ran = program.run(&["rotate"]);
    assert_eq!(ran.code, Some(78), "{ran}");
    assert_eq!(statuses(&told(&program)[2]), ["firing:seal-key"]);
    fs::rename(program.path("elsewhere"), &seal_key).expect("moved back");
    assert_eq!(program.run(&["rotate"]).code, Some(0));
    assert_eq!(statuses(&told(&program)[3]), ["over:seal-key"]);
    program.assert_no_secret_was_seen(&emulator);
}

/// The journal as one file. A program that ends may leave the newest part of it in the write-ahead log.
fn all_of(journal: &Path) -> Vec<u8> {
    use sqlx::{ConnectOptions as _, Connection as _};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(journal);
        let mut connection = options.connect().await.expect("a journal");
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.expect("moved");
        connection.close().await.expect("closed");
    });
    fs::read(journal).expect("a journal")
}

#[test]
fn alert_test_sends_to_all_sinks_or_to_one_and_reports_failed_sinks() {
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    let receiver = Vendor::start();
    let acme = Customer::new(&emulator, Some(&program), "acme", 1.0);
    program.configure(&[HASTE, &acme.section, &sinks(&program, &receiver)].concat());
    let shown = program.json(0, &["alert", "test"]);
    assert_eq!(shown["sinks"].as_array().map(Vec::len), Some(5), "{shown}");
    let actions: Vec<Value> = at(&receiver.requests(), "/v2/enqueue")
        .iter()
        .map(|request| request.json()["event_action"].clone())
        .collect();
    assert_eq!(actions, ["trigger", "resolve"], "nobody has to close the incident of a test");
    assert_eq!(statuses(&told(&program)[0]), ["test:test"]);

    receiver.script([Answer::status(403)]);
    let shown = program.json(1, &["alert", "test", "slack"]);
    assert_eq!(
        shown["sinks"],
        json!([{ "name": "slack", "ok": false, "sentence": "127.0.0.1 answered 403" }])
    );
    assert_eq!(program.run(&["alert", "test", "nobody"]).code, Some(64));

    let before = receiver.requests().len();
    let online = program.json(0, &["check", "--online"]);
    let checks = online["checks"].as_array().expect("checks");
    let alerts: Vec<&Value> = checks
        .iter()
        .filter(|check| check["check"].as_str().is_some_and(|name| name.starts_with("alert ")))
        .collect();
    assert_eq!(alerts.len(), 5, "{online:#}");
    assert_eq!(receiver.requests().len(), before, "a check tells nobody anything");
    program.configure(&[HASTE, &acme.section].concat());
    assert_eq!(program.run(&["alert", "test"]).code, Some(64));
    program.assert_no_secret_was_seen(&emulator);
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
