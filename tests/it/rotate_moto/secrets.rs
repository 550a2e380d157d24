//! The places in which a secret could be seen. None of them may contain one.

use std::fs;

use super::*;

#[test]
fn a_trace_log_contains_no_secret() {
    let emulator = Emulator::start();
    let members =
        KINDS.map(|kind| Member::new(&emulator, &format!("{kind:?}").to_lowercase(), kind, OLD_DAYS));
    let mut program = program(&emulator, &members.each_ref());
    program.set_env("KEYROUND_LOG", "trace");
    let ran = program.run(&["rotate", "--log-format", "json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.lines().count() > 100, "{ran}");
    assert_eq!(program.run(&["status", "-vv"]).code, Some(0));
    for member in &members {
        member.assert_rotated(&emulator);
    }
    for place in ["keyround.db", "keyround.db-wal", "keyround.db-shm", "seal.key"] {
        assert!(program.has_seen(place), "{place}");
    }
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
#[should_panic(expected = "a secret was seen in notes")]
fn the_secret_search_finds_a_secret_in_a_file() {
    let emulator = Emulator::start();
    let member = Member::new(&emulator, "acme", Kind::Webhook, YOUNG_DAYS);
    let program = program(&emulator, &[&member]);
    program.json(0, &["status"]);
    let secret = format!("{:5000}{}", "", member.old.secret_access_key);
    fs::write(program.path("notes"), secret).expect("the folder can be written");
    program.assert_no_secret_was_seen(&emulator);
}
