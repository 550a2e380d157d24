//! Ten vendors, six of which have keys that are due.

use std::collections::BTreeSet;

use super::*;

struct Fleet {
    emulator: Emulator,
    due: Vec<Member>,
    young: Vec<Member>,
}

impl Fleet {
    fn start() -> Fleet {
        let emulator = Emulator::start();
        let members = |prefix: &str, number: usize, age_days| {
            let kinds = KINDS.iter().cycle().take(number).enumerate();
            kinds
                .map(|(index, kind)| Member::new(&emulator, &format!("{prefix}-{index}"), *kind, age_days))
                .collect()
        };
        let (due, young) = (members("due", 6, OLD_DAYS), members("young", 4, YOUNG_DAYS));
        Fleet { emulator, due, young }
    }

    fn all(&self) -> Vec<&Member> {
        self.due.iter().chain(&self.young).collect()
    }
}

#[test]
fn a_dry_run_names_the_due_vendors_and_changes_nothing() {
    let fleet = Fleet::start();
    let (emulator, all) = (&fleet.emulator, fleet.all());
    let program = program(emulator, &all);
    let shown = program.json(0, &["rotate", "--dry-run"]);
    assert_eq!(shown["dry_run"], true);
    let due: Vec<&Member> = fleet.due.iter().collect();
    assert_eq!(vendors_with(&shown, "action", "rotate"), names(&due));
    assert_eq!(vendors_with(&shown, "action", "none"), names(&fleet.young.iter().collect::<Vec<_>>()));
    for member in &fleet.due {
        let preflight = row(&shown, &member.name)["preflight"].as_array().expect("checks");
        assert!(!preflight.is_empty() && preflight.iter().all(|check| check["ok"] == true), "{preflight:#?}");
    }
    assert_eq!(program.run(&["rotate", "--dry-run", "--detailed-exitcode", "-vv"]).code, Some(2));
    assert_eq!(program.run(&["rotate", "--dry-run", "-vv", "--log-format", "json"]).code, Some(0));
    let mutating: Vec<Call> = emulator.calls().into_iter().filter(|call| call.mutating).collect();
    assert!(mutating.is_empty(), "{mutating:?}");
    for member in all {
        assert_eq!(member.vendor.requests().len(), 0, "{}", member.name);
        member.assert_untouched(emulator);
    }
    assert_eq!(program.files(), BTreeSet::from(["rotation.toml".to_owned()]));
    program.assert_no_secret_was_seen(emulator);
}

#[test]
fn due_keys_are_rotated_once_and_vendors_work_with_the_new_keys() {
    let fleet = Fleet::start();
    let (emulator, all) = (&fleet.emulator, fleet.all());
    let program = program(emulator, &all);
    let before = who_signs(emulator, &all.iter().map(|member| member.held()).collect::<Vec<_>>());
    let shown = program.json(0, &["rotate", "--wait", "-vv", "--detailed-exitcode"]);
    assert_eq!(vendors_with(&shown, "action", "rotate"), names(&fleet.due.iter().collect::<Vec<_>>()));
    for member in &fleet.due {
        member.assert_rotated(emulator);
    }
    for member in &fleet.young {
        member.assert_untouched(emulator);
        assert_eq!(member.vendor.connections(), 0, "{}", member.name);
    }
    let users: Vec<String> = all.iter().map(|member| arn(member)).collect();
    let after = who_signs(emulator, &all.iter().map(|member| member.held()).collect::<Vec<_>>());
    assert_eq!((&before, &after), (&users, &users));
    let gone = who_signs(emulator, &fleet.due.iter().map(|member| member.old.clone()).collect::<Vec<_>>());
    assert!(gone.iter().all(|code| code == "InvalidClientTokenId"), "{gone:?}");
    emulator.clear_calls();
    let again = program.json(0, &["rotate", "--wait", "-vv", "--log-format", "json", "--detailed-exitcode"]);
    assert_eq!(vendors_with(&again, "action", "none").len(), all.len());
    assert!(emulator.calls().iter().all(|call| !call.mutating));
    let verified = program.json(0, &["history", "verify"]);
    println!("ten vendors, six rotated: {} events in the journal", verified["events"]);
    program.assert_no_secret_was_seen(emulator);
}
