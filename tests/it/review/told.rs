//! The findings of the daily review, as alerts to the sinks that subscribe to them.

use std::fs;

use serde_json::{Value, json};

use super::account::{Account, WELL};
use crate::support::program::Program;

const AUTHORIZATIONS: &str = "iam:GetAccountAuthorizationDetails";

/// A sink that appends each notification to a file.
pub(super) fn sink(on: &str) -> String {
    format!(
        "[alert.shell]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >> told; echo >> told\"]\n{on}\n"
    )
}

fn told(program: &Program) -> Vec<Value> {
    let text = fs::read_to_string(program.path("told")).unwrap_or_default();
    let documents = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a document a line"));
    documents.flat_map(|document| document["data"]["alerts"].as_array().expect("alerts").clone()).collect()
}

#[test]
fn root_key_and_audit_alerts_are_sent_and_not_again_on_the_same_day() {
    let account = careless(&sink("on = [\"root-key\", \"audit\"]"));
    let program = Program::new(&account.emulator, &account.configuration);
    let reviews = || account.emulator.calls().iter().filter(|call| call.action == AUTHORIZATIONS).count();
    assert_eq!(program.run(&["rotate"]).code, Some(0));
    let alerts = told(&program);
    let words = |alert: &Value| {
        let word = |name: &str| alert[name].as_str().unwrap_or("-").to_owned();
        [word("status"), word("condition"), word("vendor"), word("reason")].join(" ")
    };
    let mut said: Vec<String> = alerts.iter().map(words).collect();
    said.sort();
    assert_eq!(
        said,
        ["firing audit - KR601", "firing audit lax KR501", "firing root-key - KR201"],
        "{alerts:#?}"
    );
    let sentence =
        alerts.iter().find(|alert| alert["condition"] == "root-key").expect("it")["sentence"].clone();
    assert!(
        sentence.as_str().is_some_and(|text| text.contains("has access keys; to mend it: ")),
        "{sentence}"
    );
    assert_eq!(reviews(), 1);

    assert_eq!(program.run(&["rotate"]).code, Some(0));
    assert_eq!((told(&program).len(), reviews()), (alerts.len(), 1), "once a day");
    program.assert_no_secret_was_seen(&account.emulator);
}

#[test]
fn no_audit_runs_without_a_sink_for_audit_alerts() {
    let account = careless(&sink(""));
    let program = Program::new(&account.emulator, &account.configuration);
    assert_eq!(program.run(&["rotate"]).code, Some(0));
    assert_eq!(told(&program), Vec::<Value>::new());
    let asked = account.emulator.calls().iter().any(|call| call.action == AUTHORIZATIONS);
    assert!(!asked, "a review takes rights that a rotation does not take");
}

/// An account whose root user has a key, with a vendor that has every permission.
pub(super) fn careless(configuration: &str) -> Account {
    let mut account = Account::new(configuration);
    account.vendor_with_user("lax", WELL, "");
    let all = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
    account.adorn("lax", json!({ "policies": { "all": all } }));
    account.emulator.prepare("review_root", &json!({ "keys": true }));
    account
}
