//! The findings of the daily review, on the status page of the program that made it.

use std::thread;
use std::time::{Duration, Instant};

use keyround::core::time::{SystemClock, Timestamp};
use serde_json::json;

use super::account::{WELL, allow};
use super::told::{careless, sink};
use crate::serve::{PATIENCE, Reply, ask, free_port};
use crate::support::program::Program;

#[test]
fn the_status_page_shows_the_latest_scorecards_without_calling_aws() {
    let port = free_port();
    let serve = format!(
        "[serve]\nlisten = \"127.0.0.1:{port}\"\n[schedule]\ncron = \"0 4 1 1 *\"\njitter = \"0s\"\n{}",
        sink("on = [\"audit\"]")
    );
    let mut account = careless(&serve);
    account.vendor_with_user("steady", WELL, "");
    let logs = allow(&["s3:PutObject"], &["arn:aws:s3:::steady-logs/*"]);
    account.adorn("steady", json!({ "policies": { "logs": logs } }));
    let program = Program::new(&account.emulator, &account.configuration);
    let audited = program.json(0, &["audit", "--quick"]);
    let began = SystemClock.now();
    let running = program.start(&["run"]);
    wait(|| get(port, "/healthz").is_some_and(|reply| reply.status == 200), "the first pass");
    let page = || get(port, "/").expect("a page").body;
    wait(|| page().contains("Reviewed <time"), "the review");

    let calls = account.emulator.calls().len();
    let (first, second) = (page(), page());
    assert_eq!(account.emulator.calls().len(), calls, "to look causes no call to AWS");
    let scores = audited["scorecard"].as_array().expect("a scorecard");
    assert_eq!(scores.len(), 2);
    assert_ne!(scores[0]["score"], scores[1]["score"], "one could be taken for the other");
    for score in scores {
        let words = score["failed"].as_array().expect("practices").iter().filter_map(|one| one.as_str());
        let failed = words.collect::<Vec<_>>().join(", ");
        let vendor = score["vendor"].as_str().expect("a name");
        let row =
            format!("<b>{vendor}</b></td><td>{} %</td><td class=\"what\">{failed}</td>", score["score"]);
        assert!(first.contains(&row) && second.contains(&row), "{row} is not in {first}");
    }
    let (_, made) = first.split_once("Reviewed <time datetime=\"").expect("a day");
    let made: Timestamp = made.split('"').next().unwrap_or_default().parse().expect("a time");
    assert!(began <= made && made <= SystemClock.now(), "{made}");
    let count = |severity: &str| {
        let findings = audited["findings"].as_array().expect("findings").iter();
        findings.filter(|one| one["severity"] == severity).count()
    };
    let counted =
        format!("critical: {}, high: {}, medium: {}", count("critical"), count("high"), count("medium"));
    assert!(count("critical") > 0 && first.contains(&counted), "{counted} is not in {first}");
    assert!(!first.contains("were not reviewed"), "{first}");

    running.signal("TERM");
    let ran = running.wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    program.assert_no_secret_was_seen(&account.emulator);
}

fn get(port: u16, path: &str) -> Option<Reply> {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

#[track_caller]
fn wait(mut until: impl FnMut() -> bool, what: &str) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < PATIENCE, "{what} is not over within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
