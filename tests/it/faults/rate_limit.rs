//! AWS's rate limit: many keys are due at once, and AWS throttles the calls that exceed its limit.
//!
//! The least possible time is the number of calls divided by the rate. keyround sends a throttled call again, and records
//! no failure of the rotation.

use std::time::{Duration, Instant};

use super::emulator;
use super::party::{Party, program, rotate, settings};
use crate::support::proxy::{Limit, Mishap, Proxy};

#[test]
fn rotations_under_a_rate_limit_do_not_fail_because_of_throttling() {
    let limit = Limit { per_second: 15.0, burst: 5.0, latency: Duration::from_millis(40) };
    // A short run on a machine that is busy with other tests: only the long one measures.
    rotate_all("limit", 6, limit, 4.0);
}

#[test]
#[ignore = "takes two minutes"]
fn a_hundred_rotations_at_fifteen_calls_a_second_take_the_least_time() {
    let limit = Limit { per_second: 15.0, burst: 15.0, latency: Duration::from_millis(40) };
    rotate_all("hundred", 100, limit, 1.15);
}

/// Rotates that many due keys in one pass. Asserts that it takes at most `times` the least time, and that no rotation
/// failed in between.
fn rotate_all(group: &str, keys: usize, limit: Limit, times: f64) {
    let proxy = Proxy::start_limited(&emulator().url(), limit);
    let parties: Vec<Party> = (0..keys).map(|n| Party::new(group, &format!("v{n}"))).collect();
    let parts: String = parties.iter().map(|party| party.toml(&party.vendor.url("/keys"), "")).collect();
    let mut program = program(&parts);
    program.configure(&settings(&parts).replace("concurrency = 64\n", ""));
    program.set_env("AWS_ENDPOINT_URL", &proxy.url());
    let begun = Instant::now();
    let (ran, _) = rotate(&program);
    let took = begun.elapsed().as_secs_f64();
    let passed = proxy.passed();
    let throttled = passed.iter().filter(|call| call.mishap == Some(Mishap::Throttled)).count();
    let calls = passed.len() - throttled;
    let least = f64::from(u32::try_from(calls).expect("a small number")) / limit.per_second;
    let ratio = took / least;
    println!(
        "{group}: {keys} keys, {calls} calls, {throttled} throttled, {took:.1} s: {ratio:.3} x the least time"
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    parties.iter().for_each(Party::assert_rotated);
    let rows = program.json(0, &["history"]);
    let failures = rows.as_array().expect("rows").iter().filter(|row| {
        let event = row["event"]["event"].as_str();
        matches!(event, Some("refused" | "unanswered"))
    });
    assert_eq!(failures.count(), 0, "throttling is no failure: {rows:#}");
    assert!(throttled > 0, "the limit was reached");
    assert!(ratio <= times, "{ratio:.3} times the least time");
    program.assert_no_secret_was_seen(emulator());
}
