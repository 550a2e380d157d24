//! The real binary with a journal in a real PostgreSQL database.

use super::*;
use crate::support::postgres::{self, PASSWORD};

const SEAL_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The configuration of one vendor whose journal is in the database that `credential:journal-url` names.
fn with_database(member: &Member) -> String {
    format!(
        "[journal]\nurl = \"credential:journal-url\"\nseal_key = \"credential:seal-key\"\n{HASTE}{}",
        member.toml("")
    )
}

fn give_credentials(program: &Program, member: &Member, url: &str) {
    program.credential(&member.name, &member.credential());
    program.credential("journal-url", url);
    program.credential("seal-key", SEAL_KEY);
    program.canary(PASSWORD);
}

#[test]
fn a_whole_rotation_is_driven_with_a_journal_in_postgresql() {
    let (emulator, url) = (Emulator::start(), postgres::database());
    let member = Member::new(&emulator, "acme", Kind::Asked, OLD_DAYS);
    let program = Program::new(&emulator, &with_database(&member));
    give_credentials(&program, &member, &url);
    assert_eq!(program.json(0, &["history"]), json!([]), "nothing is there yet");
    program.json(0, &["rotate", "-vv"]);
    member.assert_rotated(&emulator);
    let history = program.json(0, &["history"]);
    assert!(history.as_array().is_some_and(|events| events.len() > 8), "{history}");
    let verified = program.json(0, &["journal", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
    program.json(0, &["status"]);
    program.json(0, &["explain", "acme"]);
    program.json(0, &["check"]);
    // Each of these refuses with a sentence: there is no rotation in flight, and no new key for a database.
    for (code, arguments) in [
        (1, &["hold", "acme", "--why", "a test"] as &[&str]),
        (1, &["journal", "rekey"]),
        (64, &["journal", "copy", "--to", "postgres://a:b@db.example/c"]),
    ] {
        let ran = program.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn a_rotation_that_began_in_sqlite_ends_in_postgresql_and_is_copied_back() {
    let (emulator, url) = (Emulator::start(), postgres::database());
    let member = Member::new(&emulator, "acme", Kind::Asked, OLD_DAYS);
    let program = Program::new(&emulator, &format!("{HASTE}{}", member.toml("")));
    give_credentials(&program, &member, &url);
    // The vendor fails, so that the rotation waits with its sealed secret.
    member.vendor.script(std::iter::repeat_with(|| Answer::status(500)).take(3));
    let ran = program.run(&["rotate"]);
    assert_ne!(ran.code, Some(0), "{ran}");
    let copy = ["journal", "copy", "--to", "credential:journal-url"];
    let copied = program.json(0, &copy);
    assert_eq!((&copied["ok"], &copied["secrets"]), (&json!(true), &json!(1)), "{copied}");
    let again = program.run(&copy);
    assert_eq!(again.code, Some(78), "{again}");
    assert!(again.stderr.contains("is not empty"), "{again}");
    let key = std::fs::read_to_string(program.path("seal.key")).expect("a key");
    program.credential("seal-key", key.trim());
    program.configure(&with_database(&member));
    let verified = program.json(0, &["journal", "verify"]);
    assert_eq!(verified["head"], copied["head"], "{verified}");
    program.run(&["hold", "acme", "--why", "a test"]);
    program.run(&["resume", "acme"]);
    let mut code = None;
    for _ in 0..20 {
        code = program.run(&["rotate", "-vv"]).code;
        if code == Some(0) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    assert_eq!(code, Some(0));
    member.assert_rotated(&emulator);
    let back = program.json(0, &["journal", "copy", "--to", "sqlite:back.db"]);
    program.configure(&format!(
        "[journal]\nurl = \"sqlite://back.db\"\nseal_key = \"credential:seal-key\"\n{HASTE}{}",
        member.toml("")
    ));
    assert_eq!(program.json(0, &["journal", "verify"])["head"], back["head"]);
    program.json(0, &["rotate"]);
}
