//! `CreateAccessKey` took effect, and its answer did not arrive.

use super::*;
use crate::support::moto::Rule;

/// What happens to the answer of the first CreateAccessKey, for each of four users.
fn mishaps() -> [(&'static str, Rule); 4] {
    const CREATE: &str = "iam:CreateAccessKey";
    [
        ("hung-up", Rule::close(CREATE)),
        ("answered-500", Rule::error(CREATE, 500, "ServiceFailure")),
        ("garbled", Rule::answer(CREATE, 200, "<html>welcome to the hotel's network</html>")),
        ("silent", Rule::hang(CREATE)),
    ]
}

#[test]
fn a_key_whose_create_answer_was_lost_is_deleted_and_replaced() {
    let emulator = Emulator::start();
    let members = mishaps().map(|(name, rule)| {
        let member = Member::new(&emulator, name, Kind::Webhook, OLD_DAYS);
        emulator.order(&rule.after().about(&member.user));
        member
    });
    let program = program(&emulator, &members.iter().collect::<Vec<_>>());
    program.json(0, &["rotate", "-vv"]);
    for member in &members {
        member.assert_rotated(&emulator);
        let calls: Vec<Call> = emulator
            .calls_about(&member.user)
            .into_iter()
            .filter(|call| call.action.starts_with("iam:"))
            .collect();
        println!("{}: {}", member.name, steps(&calls).join(", "));
        assert_eq!(count(&calls, "iam:CreateAccessKey"), 2, "{}", member.name);
        assert_looked_between(&calls);
        assert_orphan_was_discarded(&emulator, member, &calls);
    }
    program.assert_no_secret_was_seen(&emulator);
}

/// Asserts that the keys were listed between two CreateAccessKey, so that no component sent one of them twice.
#[track_caller]
fn assert_looked_between(calls: &[Call]) {
    let mut looked = false;
    for call in calls {
        match call.action.as_str() {
            "iam:ListAccessKeys" => looked = true,
            "iam:CreateAccessKey" => assert!(std::mem::take(&mut looked), "{:?}", steps(calls)),
            _ => {}
        }
    }
}

/// Asserts that there were three keys in all, and that the one that is neither old nor held was deactivated, then
/// deleted, before the next one was created.
#[track_caller]
fn assert_orphan_was_discarded(emulator: &Emulator, member: &Member, calls: &[Call]) {
    let keys = emulator.keys(&member.user);
    let known = [member.old.access_key_id.clone(), member.held().access_key_id];
    let orphans: Vec<&Key> = keys.iter().filter(|key| !known.contains(&key.access_key_id)).collect();
    let [orphan] = orphans.as_slice() else { panic!("{}: {orphans:?}", member.name) };
    let at = |action: &str| {
        let about = |call: &Call| call.access_key_id.as_ref() == Some(&orphan.access_key_id);
        calls.iter().position(|call| call.action == action && about(call)).expect("it was done")
    };
    let made_again =
        calls.iter().rposition(|call| call.action == "iam:CreateAccessKey").expect("it was made");
    assert!(at("iam:UpdateAccessKey") < at("iam:DeleteAccessKey"), "{}", member.name);
    assert!(at("iam:DeleteAccessKey") < made_again, "{}", member.name);
}

fn steps(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.action.trim_start_matches("iam:")).collect()
}
