//! `init`: a configuration that is drafted from the users and keys of an account.

use super::account::{Account, INNOCENT, Life, WELL};
use crate::support::program::Program;

#[test]
fn init_drafts_a_user_without_an_active_key_as_a_comment() {
    let account = Account::new(INNOCENT);
    account.user("vendor-works", "/", WELL);
    account.user("vendor-rests", "/", Life { status: "Inactive", ..WELL });
    let id = account.user("vendor-half", "/", Life { age: 1.5, ..WELL });
    let spare = serde_json::json!({ "user": "vendor-half", "age_days": 20 });
    let spare = account.emulator.prepare("keys", &spare)["access_key_id"].as_str().expect("a key").to_owned();
    account.emulator.set_status(&spare, "Inactive");
    let program = Program::new(&account.emulator, "");
    let ran = program.run(&["init", "--output", "-"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let has = |line: &str| ran.stdout.lines().any(|other| other == line);
    // One key that works is enough, whatever the state of the other.
    assert!(has("[vendor.works]") && has("[vendor.half]"), "{ran}");
    assert!(has("# [vendor.rests]") && has("# enabled = false") && !has("[vendor.rests]"), "{ran}");
    assert!(has("# no key of it works: there is nothing to rotate, so the section is a comment"), "{ran}");
    assert_eq!(ran.stdout.matches("nothing to rotate").count(), 1, "{ran}");
    assert!(has(&format!("# {id}: active, 1 day old, last used 1 day ago for s3")), "{ran}");
}
