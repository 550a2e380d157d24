//! A bad connection to AWS: answers that are late, lost, cut off or replaced, calls that are late, lost or refused.
//!
//! Every vendor of one configuration has a mishap of its own, so each test also shows that a mishap affects no
//! other vendor.

use std::fmt;
use std::time::{Duration, Instant};

use super::party::{Party, complaints, program, rotate, row};
use super::{emulator, party};
use crate::support::campaign::Dice;
use crate::support::program::Program;
use crate::support::proxy::{Mishap, Order, Passed, Proxy};

/// Longer than one attempt, which may take 6 s.
const TOO_LATE: Duration = Duration::from_millis(6500);

/// Each operation that a rotation calls, and how often it does.
const OPERATIONS: [(&str, u32); 6] = [
    ("ListAccessKeys", 1),
    ("CreateAccessKey", 1),
    ("GetCallerIdentity", 3),
    ("GetAccessKeyLastUsed", 2),
    ("UpdateAccessKey", 1),
    ("DeleteAccessKey", 1),
];
const MISHAPS: [Mishap; 10] = [
    Mishap::AnsweredLate(TOO_LATE),
    Mishap::PerformedLate(TOO_LATE),
    Mishap::AnswerLost,
    Mishap::CallLost,
    Mishap::AnswerCut,
    Mishap::Failed,
    Mishap::Unavailable,
    Mishap::PageInstead,
    Mishap::LoginPage,
    Mishap::BadGateway,
];
/// A rotation without mishaps has 11 calls. Three CreateAccessKey without an answer may leave three keys, and it
/// takes eight or nine calls to find and discard each of them.
const CALLS_MAX: usize = 11 + 3 * 9;
const PASSES_MAX: u32 = 4;

#[test]
fn a_rotation_completes_after_any_mishap_of_any_aws_operation() {
    let fates: Vec<Fate> = OPERATIONS
        .iter()
        .flat_map(|(operation, _)| {
            MISHAPS.map(|mishap| Fate(vec![Hit { operation, skip: 0, count: 1, mishap }]))
        })
        .collect();
    play("line", &fates);
}

#[test]
fn rotations_complete_after_one_throttled_call() {
    throttle("throttled", 1);
}

#[test]
#[ignore = "takes two minutes: back-offs are waited out"]
fn rotations_complete_after_two_throttled_calls() {
    throttle("burst", 2);
}

fn throttle(group: &str, count: u32) {
    let burst = |operation, mishap| Fate(vec![Hit { operation, skip: 0, count, mishap }]);
    play(
        group,
        &[
            burst("CreateAccessKey", Mishap::Throttled),
            burst("DeleteAccessKey", Mishap::Throttled),
            burst("ListAccessKeys", Mishap::TooManyRequests),
            burst("UpdateAccessKey", Mishap::TooManyRequests),
        ],
    );
}

#[test]
#[ignore = "takes a few minutes: back-offs and late answers are waited out, for 150 vendors"]
fn rotations_complete_after_three_random_mishaps_of_aws_calls() {
    let mut dice = Dice(0x6c69_6e65);
    for round in 0..3 {
        let fates: Vec<Fate> = (0..50).map(|_| Fate((0..3).map(|_| Hit::any(&mut dice)).collect())).collect();
        play(&format!("three-{round}"), &fates);
    }
}

/// One mishap, and the calls that it affects.
#[derive(Clone, Debug)]
struct Hit {
    operation: &'static str,
    skip: u32,
    count: u32,
    mishap: Mishap,
}

impl Hit {
    fn any(dice: &mut Dice) -> Hit {
        let (operation, calls) = dice.one_of(&OPERATIONS);
        let skip = u32::try_from(dice.below(u64::from(calls))).expect("it is small");
        Hit { operation, skip, count: 1, mishap: dice.one_of(&MISHAPS) }
    }
}

/// All mishaps of one vendor.
#[derive(Clone, Debug)]
struct Fate(Vec<Hit>);

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hits: Vec<String> = self
            .0
            .iter()
            .map(|Hit { operation, skip, count, mishap }| {
                let times = if *count == 1 { String::new() } else { format!(" ×{count}") };
                format!("{operation} {}: {mishap:?}{times}", skip + 1)
            })
            .collect();
        write!(f, "{:<45}", hits.join(", "))
    }
}

fn play(group: &str, fates: &[Fate]) {
    let proxy = Proxy::start(&emulator().url());
    let parties: Vec<Party> = (0..fates.len()).map(|n| Party::new(group, &format!("v{n}"))).collect();
    for (party, fate) in parties.iter().zip(fates) {
        for hit in &fate.0 {
            let (user, operation) = (party.user.clone(), hit.operation.to_owned());
            proxy.order(Order { user, operation, skip: hit.skip, count: hit.count, mishap: hit.mishap });
        }
    }
    let parts: String = parties.iter().map(|party| party.toml(&party.vendor.url("/keys"), "")).collect();
    let mut program = program(&parts);
    program.set_env("AWS_ENDPOINT_URL", &proxy.url());
    program.set_env("KEYROUND_LOG", "warn,keyround=trace");
    let begun = Instant::now();
    let mut said: Vec<Vec<String>> = vec![Vec::new(); fates.len()];
    // A vendor whose keys could not even be listed has no rotation yet; the next pass begins it.
    let (shown, passed) = (1..=PASSES_MAX)
        .find_map(|pass| {
            let (ran, shown) = rotate(&program);
            parties.iter().for_each(Party::assert_works);
            for (party, said) in parties.iter().zip(&mut said) {
                let row = row(&shown, &party.name);
                if row["reason"] == "unanswered" {
                    said.push(row["sentence"].as_str().expect("a sentence").to_owned());
                }
            }
            assert!(pass < PASSES_MAX || ran.code == Some(0), "{ran}");
            (ran.code == Some(0)).then(|| (shown, proxy.passed()))
        })
        .expect("the last pass is a good one");
    let secs = begun.elapsed().as_secs_f32();
    println!("{group}: {} vendors, each with a line of its own; {secs:.1} s", fates.len());
    for ((party, fate), said) in parties.iter().zip(fates).zip(&mut said) {
        said.extend(complaints(&program, &party.name));
        let said = if said.is_empty() { "asked again within the call".to_owned() } else { said.join(" | ") };
        let calls = calls_of(&passed, party);
        println!("  {fate}  {said}  ({} calls)", calls.len());
        assert!(calls.len() <= CALLS_MAX, "{fate}: {} calls", calls.len());
        assert_ne!(row(&shown, &party.name)["state"], "stuck", "{fate}: {shown:#}");
        party.assert_rotated();
        party.assert_nothing_was_deleted_that_was_active();
        assert_no_key_was_made_twice(&program, &proxy.passed(), party);
    }
    let hit = passed.iter().filter(|call| call.mishap.is_some()).count();
    let ordered: u32 = fates.iter().flat_map(|fate| &fate.0).map(|hit| hit.count).sum();
    println!("  {hit} of {ordered} mishaps happened in {} calls", passed.len());
    program.assert_no_secret_was_seen(emulator());
}

fn calls_of<'a>(passed: &'a [Passed], party: &Party) -> Vec<&'a Passed> {
    passed.iter().filter(|call| call.user.as_deref() == Some(&party.user)).collect()
}

/// Asserts that CreateAccessKey passed the proxy once for each intent in the history.
#[track_caller]
fn assert_no_key_was_made_twice(program: &Program, passed: &[Passed], party: &party::Party) {
    // A throttled call certainly did nothing, so it is sent again for the same intent.
    let is_sent =
        |call: &&&Passed| call.operation == "CreateAccessKey" && call.mishap != Some(Mishap::Throttled);
    let sent = calls_of(passed, party).iter().filter(is_sent).count();
    let rows = program.json(0, &["history", &party.name]);
    let intents = rows.as_array().expect("rows").iter().map(|row| &row["event"]["intent"]["intent"]);
    let intended = intents.filter(|intent| **intent == "create").count();
    assert_eq!(sent, intended, "{}: CreateAccessKey is sent once for each intent", party.name);
}
