//! The findings that a review shows: those of some vendors, from some severity on, or new since the last review.

use serde_json::{Value, json};

use super::told::careless;
use crate::support::program::Program;

/// The fields of each finding that stay the same from one review to the next.
fn findings(report: &Value) -> Vec<Value> {
    let list = report["findings"].as_array().expect("findings");
    list.iter()
        .map(|one| json!([one["code"], one["subject"], one["vendor"], one["severity"], one["sentence"]]))
        .collect()
}

#[test]
fn audit_can_be_limited_to_vendors_severities_and_new_findings() {
    let account = careless("");
    let program = Program::new(&account.emulator, &account.configuration);
    let all = findings(&program.json(0, &["audit", "--quick"]));
    let narrow = program.json(0, &["audit", "--quick", "lax", "--severity", "high"]);
    let expect: Vec<Value> = all
        .iter()
        .filter(|one| one[2] == "lax" && (one[3] == "high" || one[3] == "critical"))
        .cloned()
        .collect();
    assert!(!expect.is_empty() && expect.len() < all.len(), "{all:#?}");
    assert_eq!(findings(&narrow), expect);
    assert_eq!(narrow["scorecard"].as_array().map(Vec::len), Some(1));
    let ranked = narrow["ranking"].as_array().expect("a ranking");
    assert!(ranked.iter().all(|key| key["vendor"] == "lax") && !ranked.is_empty(), "{ranked:#?}");
    assert_eq!(program.run(&["audit", "nobody"]).code, Some(64));

    let since = || findings(&program.json(0, &["audit", "--quick", "--since-last"]));
    assert_eq!(since(), all, "the first time, everything is new");
    assert_eq!(since(), Vec::<Value>::new());
    account.trail(&json!({ "name": "reads-only", "management": "ReadOnly" }));
    let new = since();
    assert!(!new.is_empty() && new.iter().all(|one| !all.contains(one)), "{new:#?}");
    program.assert_no_secret_was_seen(&account.emulator);
}
