//! Findings in the formats of other programs, validated against the schemas of those programs.

use serde_json::{Value, json};

use super::account::{Account, INNOCENT, Life, WELL, allow};
use crate::support::program::Program;
use crate::support::python;

/// An account with findings of every severity, one of which is waived.
fn faulty() -> (Account, Program) {
    let mut account = Account::new(INNOCENT);
    account.vendor_with_user("acme", Life { age: 120.0, ..WELL }, "max_age = \"100d\"");
    account.adorn(
        "acme",
        json!({ "policies": { "given": allow(&["*"], &["*"]), "more": allow(&["s3:*"], &["*"]) } }),
    );
    account.user("=nobody,s", "/", WELL);
    account.emulator.prepare("review_root", &json!({ "keys": true }));
    account.configuration += "[[waiver]]\nrule = \"KR401\"\nsubject = \"acme\"\nreason = \"moves in spring\"\nuntil = \"2099-12-31\"\n";
    account.configuration += "[[waiver]]\nrule = \"KR404\"\nsubject = \"acme\"\nreason = \"not any more\"\nuntil = \"2099-12-31\"\n";
    let program = Program::new(&account.emulator, &account.configuration);
    (account, program)
}

#[track_caller]
fn held_to(kind: &str, text: &str) -> Value {
    let document: Value = serde_json::from_str(text).expect("JSON");
    python::ask("validate_findings.py", &json!({ "kind": kind, "document": document }))
        .unwrap_or_else(|why| panic!("{kind}: {why}\n{text}"));
    document
}

#[test]
fn asff_ocsf_and_sarif_are_valid_and_list_the_same_findings() {
    let (_account, program) = faulty();
    let report = program.json(0, &["audit", "--quick"]);
    let findings = report["findings"].as_array().expect("findings");
    let severities: std::collections::BTreeSet<&str> =
        findings.iter().filter_map(|finding| finding["severity"].as_str()).collect();
    assert_eq!(severities.len(), 5, "{severities:?}");
    let run = |format: &str| {
        let ran = program.run(&["audit", "--quick", "--format", format]);
        assert_eq!(ran.code, Some(0), "{ran}");
        ran.stdout
    };
    let codes = |document: &Value, pointer: &str| -> Vec<String> {
        let list = document.as_array().expect("a list").iter();
        list.map(|one| one.pointer(pointer).and_then(Value::as_str).expect("a code").to_owned()).collect()
    };
    let expect = codes(&report["findings"], "/code");
    assert_eq!(codes(&held_to("asff", &run("asff")), "/ProductFields/keyround~1Code"), expect);
    assert_eq!(codes(&held_to("ocsf", &run("ocsf")), "/metadata/event_code"), expect);
    let sarif = held_to("sarif", &run("sarif"));
    assert_eq!(codes(&sarif["runs"][0]["results"], "/ruleId"), expect);
    // GitHub rejects the whole file if one result has no place in a file of the repository.
    for result in sarif["runs"][0]["results"].as_array().expect("results") {
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["region"]["startLine"].as_u64() >= Some(1), "{result}");
        let uri = place["artifactLocation"]["uri"].as_str().expect("a URI");
        assert!(!uri.is_empty() && !uri.contains(':') && !uri.starts_with('/'), "{result}");
    }
    let csv = run("csv");
    assert_eq!(csv.lines().count(), expect.len() + 1, "{csv}");
    assert!(csv.contains("moves in spring"), "{csv}");
    assert_eq!(run("csv"), csv, "the same account is described in the same words");
}

#[test]
fn the_asff_and_ocsf_validators_reject_invalid_findings() {
    let (_account, program) = faulty();
    let ask = |kind: &str, document: &Value| {
        python::ask("validate_findings.py", &json!({ "kind": kind, "document": document }))
    };
    let wrongs = [
        ("asff", "Severity", json!({ "Label": "TERRIBLE" }), "Title"),
        ("ocsf", "class_uid", json!("2003"), "finding_info"),
    ];
    for (kind, member, wrong, needed) in wrongs {
        let mut document: Value =
            serde_json::from_str(&program.run(&["audit", "--quick", "--format", kind]).stdout).expect("JSON");
        assert!(ask(kind, &document).is_ok(), "{kind}");
        let good = document[0][member].take();
        document[0][member] = wrong;
        assert!(ask(kind, &document).is_err(), "{kind}");
        document[0][member] = good;
        assert!(ask(kind, &document).is_ok(), "{kind}");
        document[0].as_object_mut().expect("a finding").remove(needed);
        assert!(ask(kind, &document).is_err(), "{kind}");
    }
}

#[test]
fn policy_lint_writes_sarif_with_line_and_column() {
    let (_account, program) = faulty();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policies/any-bucket.json");
    let ran = program.run(&["policy", "lint", "--format", "sarif", path]);
    let sarif = held_to("sarif", &ran.stdout);
    let region = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"];
    assert_eq!((&region["startLine"], &region["startColumn"]), (&json!(11), &json!(19)));
}
