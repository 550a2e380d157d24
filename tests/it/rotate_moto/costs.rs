//! The calls of a pass and of a rotation, counted where they arrive, at the emulator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

/// The SDK keeps the connections it opened, and opens one more for a call that finds none idle.
const CONNECTIONS_MAX: usize = 16;

/// How many of eight users must be reconciled at once: all eight, unless this machine is busy.
const AT_ONCE_MIN: usize = 6;

fn members(emulator: &Emulator, number: usize, age_days: f64) -> Vec<Member> {
    (0..number).map(|index| Member::new(emulator, &format!("m-{index}"), Kind::Webhook, age_days)).collect()
}

fn tally(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for call in calls {
        *tally.entry(call.action.as_str()).or_default() += 1;
    }
    tally
}

#[test]
fn a_pass_makes_one_key_listing_per_user_and_one_identity_call() {
    let emulator = Emulator::start();
    let members = members(&emulator, 12, YOUNG_DAYS);
    let program = program(&emulator, &members.iter().collect::<Vec<_>>());
    program.json(0, &["rotate", "-vv"]);
    let calls = emulator.calls();
    println!("a pass over 12 users who are not due: {:?}", tally(&calls));
    assert_eq!(tally(&calls), BTreeMap::from([("iam:ListAccessKeys", 12), ("sts:GetCallerIdentity", 1)]));
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn a_rotation_makes_exactly_the_expected_aws_calls() {
    let emulator = Emulator::start();
    let members = members(&emulator, 4, OLD_DAYS);
    let program = program(&emulator, &members.iter().collect::<Vec<_>>());
    program.json(0, &["rotate", "-vv"]);
    let calls = emulator.calls();
    println!("four rotations: {:?}", tally(&calls));
    for member in &members {
        let (new, calls) = (member.held().access_key_id, emulator.calls_about(&member.user));
        let signed_by_new = calls.iter().filter(|call| call.signer.as_ref() == Some(&new)).count();
        assert_eq!(signed_by_new, count(&calls, "sts:GetCallerIdentity"));
        let expected = [
            ("iam:CreateAccessKey", 1),
            ("iam:DeleteAccessKey", 1),
            // Of both keys, before the old one is deleted, whatever the configuration requires.
            ("iam:GetAccessKeyLastUsed", 2),
            // At the start, before the old key is set Inactive, and before it is deleted.
            ("iam:ListAccessKeys", 3),
            ("iam:UpdateAccessKey", 1),
            ("sts:GetCallerIdentity", 3),
        ];
        assert_eq!(tally(&calls), BTreeMap::from(expected), "{}", member.name);
    }
    let by_rotator: Vec<Call> = calls.into_iter().filter(|call| call.subject.is_none()).collect();
    assert_eq!(tally(&by_rotator), BTreeMap::from([("sts:GetCallerIdentity", 1)]));
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn last_used_is_read_for_both_keys_and_not_again_a_moment_later() {
    let emulator = Emulator::start();
    let member = Member::new(&emulator, "acme", Kind::Webhook, OLD_DAYS);
    let defaults = HASTE.replace("require_use = false", "require_use = true");
    let program = program_with(&emulator, &defaults, [(&member, "")]);
    program.json(0, &["rotate"]);
    assert_eq!(count(&emulator.calls(), "iam:GetAccessKeyLastUsed"), 2);
    program.json(0, &["rotate"]);
    assert_eq!(
        count(&emulator.calls(), "iam:GetAccessKeyLastUsed"),
        2,
        "a pass a moment later reads nothing"
    );
    emulator.set_used(&member.held().access_key_id, "s3", 0.0);
    program.json(0, &["rotate", "--wait"]);
    println!("a rotation that waits for a use: {:?}", tally(&emulator.calls()));
    assert_eq!(
        count(&emulator.calls(), "iam:GetAccessKeyLastUsed"),
        6,
        "twice before the old key is set Inactive, and once more before it is deleted"
    );
    member.assert_rotated(&emulator);
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn users_are_rotated_concurrently_over_few_connections() {
    let emulator = Emulator::start();
    let members = members(&emulator, 8, OLD_DAYS);
    let program = program(&emulator, &members.iter().collect::<Vec<_>>());
    emulator.set_latency(Duration::from_millis(200));
    program.json(0, &["rotate"]);
    let calls = emulator.calls();
    let at_once = calls.iter().map(|call| call.at_once).max().expect("calls");
    let connections: BTreeSet<u16> = calls.iter().map(|call| call.connection).collect();
    println!("8 rotations: {} calls, {at_once} at once, over {} connections", calls.len(), connections.len());
    assert!(at_once >= AT_ONCE_MIN, "{at_once}");
    assert!(connections.len() <= CONNECTIONS_MAX, "{}", connections.len());
    for member in &members {
        member.assert_rotated(&emulator);
    }
    program.assert_no_secret_was_seen(&emulator);
}
