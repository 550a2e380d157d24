//! The policies of `tests/policies/`, and the findings in each: `expected.txt`, one line for each finding.
//!
//! `KEYROUND_BLESS=1` rewrites that file, so that its diff can be reviewed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use super::{policy, root};

/// The texts of the policies, by name.
pub(super) fn policies() -> BTreeMap<String, String> {
    let mut policies = BTreeMap::new();
    for entry in fs::read_dir(root().join("tests/policies")).expect("the policies") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            policies.insert(name, fs::read_to_string(&path).expect("a text"));
        }
    }
    policies
}

/// The findings of `policy lint` in these texts, by name. The program reads them from files, as a person would give
/// them.
#[track_caller]
pub(super) fn findings(policies: &BTreeMap<String, String>) -> BTreeMap<String, Vec<Value>> {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut files = Vec::new();
    for (name, text) in policies {
        let path = folder.path().join(format!("{name}.json"));
        fs::write(&path, text).expect("the folder can be written");
        files.push(path.display().to_string());
    }
    let arguments: Vec<&str> =
        ["lint", "--format", "json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let unreadable = policies.keys().any(|name| name.starts_with("broken"));
    let (text, _) = policy("", i32::from(unreadable), &arguments);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let mut found: BTreeMap<String, Vec<Value>> =
        policies.keys().map(|name| (name.clone(), Vec::new())).collect();
    for finding in report["findings"].as_array().expect("findings") {
        let file = finding["file"].as_str().expect("a file");
        let name = file.rsplit('/').next().and_then(|name| name.strip_suffix(".json")).expect("one of ours");
        found.get_mut(name).expect("one of ours").push(finding.clone());
    }
    found
}

#[test]
fn each_policy_of_the_corpus_has_the_expected_findings_and_places() {
    let mut text = String::new();
    for (name, findings) in findings(&policies()) {
        if findings.is_empty() {
            writeln!(text, "{name}: nothing").expect("memory");
        }
        for finding in findings {
            let (code, line, column) = (&finding["code"], &finding["line"], &finding["column"]);
            let (severity, sentence) = (&finding["severity"], &finding["sentence"]);
            let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            writeln!(text, "{name}:{line}:{column} {} {}: {}", words(code), words(severity), words(sentence))
                .expect("memory");
        }
    }
    check_golden("tests/policies/expected.txt", &text);
}

/// The names of the files tell their faults: a good policy has no finding that is worse than low, a broken one is
/// reported as not being a policy, and all others have a finding.
#[test]
fn exactly_the_faulty_policies_of_the_corpus_have_findings() {
    const FAULTS: [&str; 17] = [
        "admin",
        "not-",
        "whole-",
        "wildcard-",
        "iam-",
        "assume-",
        "pass-",
        "escalate-",
        "any-",
        "misspelt-",
        "unknown-",
        "no-version",
        "old-version",
        "bucket-for-everybody",
        "trust-any-token",
        "trust-everybody",
        "advice-",
    ];
    // In the first a Deny prevents the escalation, and in the second a condition narrows the resources.
    const NO_FAULTS: [&str; 2] = ["escalate-denied", "any-instance-by-tag"];
    for (name, findings) in findings(&policies()) {
        let codes: Vec<&str> = findings.iter().filter_map(|finding| finding["code"].as_str()).collect();
        let is_fault =
            FAULTS.iter().any(|fault| name.starts_with(fault)) && !NO_FAULTS.contains(&name.as_str());
        if name.starts_with("broken") {
            assert!(codes.contains(&"KR500"), "{name}: {codes:?}");
        } else {
            assert_eq!(!codes.is_empty(), is_fault, "{name}: {codes:?}");
        }
    }
}

#[test]
fn policy_lint_honours_fail_on_and_refuses_empty_input() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let bad = folder.path().join("any bucket.json");
    fs::write(&bad, policies()["any-bucket"].as_str()).expect("the folder can be written");
    let bad = bad.display().to_string();
    policy("", 0, &["lint", "--fail-on", "high", &bad]);
    let (text, _) = policy("", 2, &["lint", "--fail-on", "medium", &bad]);
    assert!(text.contains(":11:19") && text.contains("KR510") && text.contains("medium"), "{text}");
    let (nothing, _) = policy("", 1, &["lint"]);
    assert!(nothing.contains("there is no policy here"), "an empty standard input is no policy: {nothing}");
    let (_, why) = policy("", 64, &["lint", "/nonexistent/policy.json"]);
    assert!(why.contains("cannot be read"), "{why}");
    let (_, why) = policy("", 64, &["lint", "--format", "asff", &bad]);
    assert!(why.contains("table, json or sarif"), "{why}");
}

#[test]
fn policy_lint_names_a_service_that_is_not_in_its_list() {
    let (text, _) = policy(
        "",
        0,
        &["lint", &root().join("tests/policies/unknown-service-read.json").display().to_string()],
    );
    assert!(text.contains("orbitworks: not in the list of known services"), "{text}");
}

/// Asserts that this file has this text; with `KEYROUND_BLESS=1` it writes the file.
#[track_caller]
pub(super) fn check_golden(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("KEYROUND_BLESS").is_some() {
        fs::write(&file, text).expect("the repository can be written");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    for (number, (ours, theirs)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, theirs, "{path}:{}", number + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count(), "{path} has another length");
}
