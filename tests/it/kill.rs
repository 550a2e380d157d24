//! SIGKILL of the real program before and after each call of a rotation, and at random moments, followed by a
//! restart. Proves that promises 1, 4, 6 and 7 of `src/lib.rs` hold for the real program over a crash.
//!
//! Whatever the moment: the rotation completes, the vendor has a key that works all the time, no key is left that
//! the journal does not name, the history is consistent, and no secret is found in any file or output.
//!
//! A call whose sender is killed before the call took effect can go on in two ways, and both are played: it never
//! happens, or it happens after the process that sent it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::support::campaign::{Dice, campaign};
use crate::support::moto::{Emulator, Release, Rule};
use crate::support::process::{Corner, Place, VENDOR_REGION};
use crate::support::vendor::Moment;

const ROTATE: [&str; 2] = ["rotate", "--wait"];
/// More workers than cores, because most of the time is spent waiting for the emulator.
const WORKERS: usize = 4;

#[test]
fn a_rotation_completes_after_a_kill_at_any_call() {
    let kills = every_kill();
    assert_eq!(kills.len(), 3 * 15, "{kills:?}");
    campaign("killed at a call", WORKERS, &kills, |number, kill| {
        let corner = Corner::new(emulator(), &format!("kill-one-{number}"));
        let old = corner.held().access_key_id;
        assert!(kill_at(&corner, kill), "the call never came");
        let seen = calls(&corner).len();
        corner.run_well(&ROTATE);
        let then = in_brief(&calls(&corner)[seen..]);
        assert_well_ended(&corner, &old);
        format!("{}; then {then}", keys_made(&corner))
    });
}

#[test]
fn a_rotation_completes_after_the_restarted_process_is_killed_too() {
    let kills = every_kill();
    let mut dice = Dice(0x6b65_7972);
    let mut pairs: Vec<Pair> = (0..12).map(|_| Pair::any(&mut dice, &kills)).collect();
    // After an unanswered CreateAccessKey, the restart lists the keys, reads last-used, discards the unknown key,
    // and creates another one.
    for first in kills.iter().filter(|kill| kill.call == "CreateAccessKey") {
        pairs.extend((0..5).map(|skip| Pair::at(first.clone(), skip, dice.one_of(&How::ALL))));
    }
    campaign("killed twice", WORKERS, &pairs, |number, Pair(first, second)| {
        let corner = Corner::new(emulator(), &format!("kill-two-{number}"));
        let old = corner.held().access_key_id;
        assert!(kill_at(&corner, first), "the call never came");
        let seen = calls(&corner).len();
        assert!(kill_at(&corner, second), "the second call never came");
        let second = in_brief(&calls(&corner)[seen..]);
        let seen = calls(&corner).len();
        corner.run_well(&ROTATE);
        let third = in_brief(&calls(&corner)[seen..]);
        assert_well_ended(&corner, &old);
        format!("{}; 2nd run: {second} KILLED; 3rd: {third}", keys_made(&corner))
    });
}

#[test]
fn a_rotation_completes_after_kills_at_random_moments() {
    let mut dice = Dice(0x0067_6464);
    let fates: Vec<Moments> = (0..12).map(|_| Moments((0..4).map(|_| dice.below(700)).collect())).collect();
    campaign("killed after so many ms, again and again", WORKERS, &fates, |number, Moments(millis)| {
        let corner = Corner::new(emulator(), &format!("kill-any-{number}"));
        let old = corner.held().access_key_id;
        for millis in millis {
            kill_after(&corner, *millis);
        }
        corner.run_well(&ROTATE);
        assert_well_ended(&corner, &old);
        keys_made(&corner)
    });
}

#[test]
fn a_rotation_completes_after_a_kill_while_the_journal_is_created() {
    let moments: Vec<Moments> = (1..=16).map(|step| Moments(vec![step * 8])).collect();
    campaign("killed so many ms after the first start", WORKERS, &moments, |number, Moments(millis)| {
        let corner = Corner::new(emulator(), &format!("kill-new-{number}"));
        let old = corner.held().access_key_id;
        kill_after(&corner, millis[0]);
        let found = corner.files_of_journal();
        corner.run_well(&ROTATE);
        assert_well_ended(&corner, &old);
        format!(
            "the journal's folder held {}",
            if found.is_empty() { "nothing".to_owned() } else { found.join(" ") }
        )
    });
}

#[test]
fn a_create_call_that_arrives_after_a_restart_leaves_no_extra_key() {
    let corner = Corner::new(emulator(), "kill-zombie");
    let old = corner.held().access_key_id;
    let creation = Rule::pause("iam:CreateAccessKey").about(&corner.user);
    let zombie = emulator().order(&creation);
    let mut process = corner.spawn(&ROTATE);
    assert!(process.lives_until(|_| emulator().has_arrived(zombie)));
    process.kill();
    // The next process waits until the doubt ends, finds no key, and is about to create one …
    let second = emulator().order(&creation);
    let mut process = corner.spawn(&ROTATE);
    assert!(process.lives_until(|_| emulator().has_arrived(second)));
    // … when the first request arrives after all, and takes the slot.
    emulator().release(zombie, Release::Proceed);
    process.lives_until(|_| corner.living_keys().len() == 2);
    emulator().release(second, Release::Proceed);
    let finished = process.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let whole = in_brief(&calls(&corner));
    assert_well_ended(&corner, &old);
    println!("a creation that came late: {}; {whole}", keys_made(&corner));
}

#[test]
fn a_kill_between_two_webhooks_resends_both_as_the_same_messages() {
    let corner = Corner::with_steps(emulator(), "kill-steps", &["/first", "/second"]);
    corner.log_everything();
    let old = corner.held().access_key_id;
    let kill = Kill { call: "second".to_owned(), place: Place::Vendor(1), how: How::BeforeAndNever };
    assert!(kill_at(&corner, &kill));
    corner.run_well(&ROTATE);
    assert_well_ended(&corner, &old);
    let requests = corner.vendor.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/first", "/second", "/first", "/second", "/which"]);
    for (first, again) in [(0, 2), (1, 3)] {
        assert_eq!(requests[first].headers["webhook-id"], requests[again].headers["webhook-id"]);
        assert_eq!(requests[first].body, requests[again].body);
    }
    assert_ne!(requests[0].headers["webhook-id"], requests[1].headers["webhook-id"]);
}

#[test]
fn a_terminated_process_finishes_the_running_effect_and_no_more() {
    let corner = Corner::new(emulator(), "kill-term");
    corner.log_everything();
    let old = corner.held().access_key_id;
    let gate = corner.gate(Place::Aws(1), Moment::After);
    let mut process = corner.spawn(&ROTATE);
    assert!(process.lives_until(|_| gate.has_arrived()));
    process.signal("TERM");
    assert!(process.lives_until(|process| process.err().contains("stopping after the effects")));
    assert!(process.err().contains("DEBUG"), "the log is as loud as it can be");
    let told = Instant::now();
    gate.release(Release::Proceed);
    let finished = process.finish();
    assert_eq!(finished.code, Some(75), "what was asked for is not done: {finished:?}");
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert_eq!(corner.events().last().map(String::as_str), Some("created"), "its answer is in the journal");
    assert_eq!(corner.status()["rotation"]["stage"], "prove");
    corner.assert_no_secret_on_disk();
    corner.run_well(&ROTATE);
    assert_well_ended(&corner, &old);
    assert_eq!(corner.emulator.keys(&corner.user).len(), 2, "the key was made once");
}

/// A call at which the program is killed, and how.
#[derive(Clone, Debug)]
struct Kill {
    call: String,
    place: Place,
    how: How,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum How {
    /// The call never takes effect.
    BeforeAndNever,
    /// The call takes effect after its sender has ended.
    BeforeAndLater,
    /// The call took effect, and its sender never got the answer.
    After,
}

impl How {
    const ALL: [How; 3] = [How::BeforeAndNever, How::BeforeAndLater, How::After];
}

impl Kill {
    fn is_to_aws(&self) -> bool {
        matches!(self.place, Place::Aws(_))
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::BeforeAndNever => "before, never happens",
            How::BeforeAndLater => "before, happens later",
            How::After => "after",
        };
        write!(f, "{:<22} {how:<21}", self.call)
    }
}

/// A kill at a call of an undisturbed rotation, and a kill of the restart at one of its calls.
struct Pair(Kill, Kill);

impl Pair {
    fn any(dice: &mut Dice, kills: &[Kill]) -> Pair {
        let first = dice.one_of(kills);
        let index = kills.iter().position(|kill| kill.place == first.place).expect("it is one of them");
        // The restart repeats the call at which it was killed, or continues with the calls after it.
        let left = kills[index..].iter().filter(|kill| kill.is_to_aws() == first.is_to_aws());
        let ways = How::ALL.len() as u64;
        let skip = u32::try_from(dice.below(left.count() as u64 / ways)).expect("it is small");
        Pair::at(first, skip, dice.one_of(&How::ALL))
    }

    /// The second kill comes after this many calls of the restart to the same side.
    fn at(first: Kill, skip: u32, how: How) -> Pair {
        let place = if first.is_to_aws() { Place::Aws(skip) } else { Place::Vendor(skip) };
        let side = if first.is_to_aws() { "AWS" } else { "the vendor" };
        let call = format!("call {} to {side}", skip + 1);
        Pair(first, Kill { call, place, how })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} then {}", self.0, self.1)
    }
}

struct Moments(Vec<u64>);

impl fmt::Display for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Each call of an undisturbed rotation, killed in each way.
fn every_kill() -> Vec<Kill> {
    static CALLS: LazyLock<Vec<(Place, String)>> = LazyLock::new(calls_of_clean_rotation);
    CALLS
        .iter()
        .flat_map(|(place, call)| How::ALL.map(|how| Kill { call: call.clone(), place: *place, how }))
        .collect()
}

fn calls_of_clean_rotation() -> Vec<(Place, String)> {
    let corner = Corner::new(emulator(), "kill-none");
    let old = corner.held().access_key_id;
    corner.run_well(&ROTATE);
    let mut seen = BTreeMap::new();
    let places = calls(&corner).into_iter().map(|(_, place, name)| {
        let times: &mut u32 = seen.entry(name.clone()).or_default();
        *times += 1;
        (place, if *times == 1 { name } else { format!("{name} {times}") })
    });
    let places = places.collect();
    assert_well_ended(&corner, &old);
    places
}

/// The calls of the program so far: the time, the place, and the name.
fn calls(corner: &Corner) -> Vec<(f64, Place, String)> {
    let ours = corner.emulator.calls_about(&corner.user).into_iter();
    let ours = ours.filter(|call| call.region.as_deref() != Some(VENDOR_REGION));
    let to_aws = ours.zip(0..).map(|(call, number)| {
        let name = call.action.split_once(':').map_or(call.action.clone(), |(_, name)| name.to_owned());
        (call.arrived_at, Place::Aws(number), name)
    });
    let to_vendor = corner.vendor.requests().into_iter().zip(0..).map(|(request, number)| {
        let at = request.arrived_at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let name = if request.method == "GET" { "the vendor is asked" } else { "the vendor is given" };
        (at, Place::Vendor(number), name.to_owned())
    });
    let mut calls: Vec<_> = to_aws.chain(to_vendor).collect();
    calls.sort_by(|left, right| left.0.total_cmp(&right.0));
    calls
}

fn in_brief(calls: &[(f64, Place, String)]) -> String {
    let brief = calls.iter().map(|(_, _, name)| match name.as_str() {
        "ListAccessKeys" => "list",
        "CreateAccessKey" => "create",
        "GetCallerIdentity" => "prove",
        "the vendor is given" => "deliver",
        "the vendor is asked" => "verify",
        "GetAccessKeyLastUsed" => "used?",
        "UpdateAccessKey" => "inactive",
        "DeleteAccessKey" => "delete",
        other => other,
    });
    brief.collect::<Vec<_>>().join(" ")
}

fn keys_made(corner: &Corner) -> String {
    let made = corner.emulator.keys(&corner.user).len() - 1;
    format!("{made} new key{}", if made == 1 { "" } else { "s, of which one is left" })
}

/// Kills the program at a call. Returns false if the program ended before that call.
#[track_caller]
fn kill_at(corner: &Corner, kill: &Kill) -> bool {
    let moment = if kill.how == How::After { Moment::After } else { Moment::Before };
    let gate = corner.gate(kill.place, moment);
    let mut process = corner.spawn(&ROTATE);
    let arrived = process.lives_until(|_| gate.has_arrived());
    process.kill();
    gate.release(if arrived && kill.how != How::BeforeAndLater { Release::HangUp } else { Release::Proceed });
    assert_safe_while_dead(corner);
    arrived
}

fn kill_after(corner: &Corner, millis: u64) {
    let process = corner.spawn(&ROTATE);
    thread::sleep(Duration::from_millis(millis));
    process.kill();
    assert_safe_while_dead(corner);
}

/// What must hold while the program is not running.
#[track_caller]
fn assert_safe_while_dead(corner: &Corner) {
    corner.assert_vendor_works();
    corner.assert_no_secret_on_disk();
}

#[track_caller]
fn assert_well_ended(corner: &Corner, old: &str) {
    corner.assert_rotated_from(old);
    let mut messages = BTreeMap::new();
    for request in corner.vendor.requests().into_iter().filter(|request| request.method == "POST") {
        let id = &request.headers["webhook-id"];
        let before = messages.entry(id.clone()).or_insert_with(|| request.body.clone());
        assert_eq!(*before, request.body, "one message, one body");
    }
    let paths = corner.vendor.requests().into_iter().filter(|request| request.method == "POST");
    let paths: BTreeSet<_> = paths.map(|request| request.path).collect();
    assert_eq!(messages.len(), paths.len(), "a repeat is no new message");
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
