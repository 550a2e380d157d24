//! The review of an account: every fault is planted once, with a similar but harmless resource beside it.
//!
//! **Invariant:** these tests run the real binary over HTTP; what the emulator cannot represent is not tested here.

mod account;
mod asked;
mod draft;
mod formats;
mod matrix;
mod prowler;
mod shown;
mod told;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::moto::{Emulator, Rule};
use crate::support::program::Program;
use account::{Account, INNOCENT};

#[test]
fn an_account_in_order_has_no_finding() {
    let mut account = Account::new(INNOCENT);
    account.innocent();
    let program = Program::new(&account.emulator, &account.configuration);
    let report = program.json(0, &["audit", "--origins", "--fail-on", "info"]);
    assert_eq!(report["findings"], json!([]));
    let scores: Vec<&Value> = report["scorecard"].as_array().expect("a scorecard").iter().collect();
    assert!(
        !scores.is_empty()
            && scores.iter().all(|score| score["score"] == 100 && score["failed"] == json!([]))
    );
    program.assert_no_secret_was_seen(&account.emulator);
}

#[test]
fn an_audit_changes_nothing_and_makes_only_the_expected_calls() {
    let mut account = Account::new(INNOCENT);
    account.innocent();
    let program = Program::new(&account.emulator, &account.configuration);
    account.emulator.clear_calls();
    program.json(0, &["audit", "--quick"]);
    let calls = account.emulator.calls();
    let users = account.users();
    let once = [
        "sts:GetCallerIdentity",
        "iam:GetAccountSummary",
        "iam:GetCredentialReport",
        "iam:GetAccountAuthorizationDetails",
        "cloudtrail:DescribeTrails",
        "cloudtrail:GetTrailStatus",
        "cloudtrail:GetEventSelectors",
    ];
    for action in once {
        assert_eq!(calls.iter().filter(|call| call.action == action).count(), 1, "{action}");
    }
    let lists = calls.iter().filter(|call| call.action == "iam:ListAccessKeys").count();
    assert_eq!(lists, users, "one list of keys for each user that has some");
    let rest = calls.iter().filter(|call| {
        !once.contains(&call.action.as_str())
            && !["iam:ListAccessKeys", "iam:GenerateCredentialReport", "iam:GetAccessKeyLastUsed"]
                .contains(&call.action.as_str())
    });
    let rest: Vec<&String> = rest.map(|call| &call.action).collect();
    assert!(rest.is_empty(), "{rest:?}");
    assert!(calls.iter().all(|call| !call.mutating), "a review changed something");
}

#[test]
fn unreadable_account_data_is_reported_as_findings_or_fails_the_audit() {
    let mut account = Account::new(INNOCENT);
    account.innocent();
    let denied = |action: &str| Rule::error(action, 403, "AccessDenied").times(u32::MAX);
    account.emulator.order(&denied("cloudtrail:DescribeTrails"));
    account.emulator.order(&denied("iam:GenerateServiceLastAccessedDetails"));
    account.emulator.order(&denied("iam:GetAccountSummary"));
    let program = Program::new(&account.emulator, &account.configuration);
    let report = program.json(0, &["audit"]);
    let gaps: BTreeSet<&str> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|one| one["evidence"]["what"].as_str())
        .collect();
    assert_eq!(gaps, BTreeSet::from(["CloudTrail", "the account's summary", "what vendors use"]));
    assert!(report["findings"].as_array().expect("findings").iter().all(|one| one["code"] == "KR901"));
    account.emulator.clear_rules();
    account.emulator.order(&denied("iam:GetAccountAuthorizationDetails"));
    let ran = program.run(&["audit"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(
        ran.stderr.contains("cannot be reviewed") && ran.stderr.contains("policy rotator --review"),
        "{ran}"
    );
}

#[test]
fn every_page_of_the_account_authorization_details_is_read() {
    let mut account = Account::new(INNOCENT);
    account.innocent();
    for name in ["plain-1", "plain-2", "plain-3"] {
        account.emulator.prepare("users", &json!({ "name": name }));
    }
    account.emulator.prepare("users", &json!({ "name": "zz-last-of-many", "age_days": 200 }));
    account.emulator.order(&Rule::page("iam:GetAccountAuthorizationDetails", 2));
    let program = Program::new(&account.emulator, &account.configuration);
    let report = program.json(0, &["audit", "--quick"]);
    let pages = account
        .emulator
        .calls()
        .into_iter()
        .filter(|call| call.action == "iam:GetAccountAuthorizationDetails");
    assert!(pages.count() > 1);
    let codes = codes_about(&report, "zz-last-of-many");
    assert_eq!(codes, BTreeSet::from(["KR401", "KR402", "KR406"]));
}

#[test]
fn a_waiver_needs_a_reason_and_an_end_date_and_shows_both() {
    let mut account = Account::new(INNOCENT);
    account.innocent();
    account.emulator.prepare("users", &json!({ "name": "legacy", "age_days": 10 }));
    let waived = |until: &str, subject: &str| {
        format!(
            "{}\n[[waiver]]\nrule = \"KR406\"\nsubject = \"{subject}\"\nreason = \"moves in spring\"\nuntil = \"{until}\"\n",
            account.configuration
        )
    };
    let program = Program::new(&account.emulator, &account.configuration);
    program.json(2, &["audit", "--quick", "--fail-on", "medium"]);
    program.configure(&waived("2099-12-31", "legacy"));
    let report = program.json(0, &["audit", "--quick", "--fail-on", "info"]);
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["waived"]["reason"]),
        (&json!("KR406"), &json!("moves in spring"))
    );
    assert_eq!(finding["waived"]["until"], "2100-01-01T00:00:00Z");
    let ran = program.run(&["audit", "--quick"]);
    assert!(ran.stdout.contains("Accepted until 2100-01-01T00:00:00Z: moves in spring"), "{ran}");
    program.configure(&waived("2026-01-31", "legacy"));
    let report = program.json(2, &["audit", "--quick", "--fail-on", "medium"]);
    let codes: BTreeSet<&str> = report["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect();
    assert_eq!(codes, BTreeSet::from(["KR406", "KR902"]));
    program.configure(&waived("2099-12-31", "nobody"));
    let report = program.json(2, &["audit", "--quick", "--fail-on", "medium"]);
    assert!(report["findings"].as_array().expect("findings").iter().any(|one| one["code"] == "KR903"));
    program.configure(&format!(
        "{}\n[[waiver]]\nrule = \"KR999\"\nsubject = \"x\"\nuntil = \"soon\"\n",
        account.configuration
    ));
    let ran = program.run(&["audit"]);
    assert_eq!(ran.code, Some(78), "{ran}");
    for mistake in ["there is no rule \"KR999\"", "\"soon\" is not a day", "[[waiver]] has no reason"] {
        assert!(ran.stderr.contains(mistake), "{mistake}: {ran}");
    }
}

#[test]
fn a_report_has_scorecard_and_findings_only_with_the_audit_option() {
    let mut account = Account::new(INNOCENT);
    account.innocent();
    account.vendor_with_user("datadog", account::WELL, "");
    account.configuration += "[[waiver]]\nrule = \"KR406\"\nsubject = \"nobody\"\nreason = \"<b>left</b>\"\nuntil = \"2099-12-31\"\n";
    account.user("nobody", "/", account::WELL);
    let program = Program::new(&account.emulator, &account.configuration);
    let report = |arguments: &[&str]| {
        let ran = program.run(&[&["report", "--output", "report.html"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{ran}");
        std::fs::read_to_string(program.path("report.html")).expect("a report")
    };
    let with = report(&["--audit"]);
    for text in
        ["Scorecard", "a role in place of a key", "KR301", "&lt;b&gt;left", "accepted until 2100-01-01"]
    {
        assert!(with.contains(text), "{text} is not in the report:\n{with}");
    }
    let without = report(&[]);
    assert!(!without.contains("Scorecard") && !without.contains("KR301"), "{without}");
}

/// The codes of the findings whose subject ends in this name.
fn codes_about<'r>(report: &'r Value, name: &str) -> BTreeSet<&'r str> {
    let findings = report["findings"].as_array().expect("findings").iter();
    let about = findings.filter(|one| name_of(one["subject"].as_str().unwrap_or_default()) == name);
    about.filter_map(|one| one["code"].as_str()).collect()
}

/// The name at the end of an ARN: `acme` for `arn:aws:iam::123456789012:user/vendors/acme`.
fn name_of(subject: &str) -> &str {
    subject.rsplit(['/', ':']).next().unwrap_or_default()
}

/// A separate emulator, because a review judges the account as a whole.
fn emulator() -> Emulator {
    Emulator::start()
}
