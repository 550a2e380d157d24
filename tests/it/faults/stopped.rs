//! SIGSTOP in the middle of a call, for longer than the call may take, then SIGCONT.
//!
//! Proved here: a process that slept through its own deadline does nothing twice, whether the answer was waiting
//! for it, came after it had given up, or the call itself took effect only then; no other process drives meanwhile;
//! and an operator command that was given meanwhile counts. Not proved here: the driver's own deadline for an
//! effect (minutes), and a lease, which the journal of one machine does not have, because a stopped process keeps
//! its lock.

use std::fmt;
use std::thread;
use std::time::Duration;

use super::{ROTATE, assert_no_harm, assert_well_ended, complaints, emulator, history, said, sentence};
use crate::support::campaign::{Dice, campaign};
use crate::support::moto::Release;
use crate::support::process::{Corner, NO_WAITS, Place, Process};
use crate::support::vendor::Moment;

/// Longer than an attempt at AWS, which may take 6 s, and one at this vendor, which may take 1 s.
const LONGER_THAN_A_CALL: Duration = Duration::from_millis(6500);
const VENDOR_TIMEOUT: &str = "timeout = \"1s\"\n";

/// The calls of a rotation that change something, and the place of each one.
const CALLS: [(&str, Place); 4] = [
    ("CreateAccessKey", Place::Aws(1)),
    ("the delivery", Place::Vendor(0)),
    ("UpdateAccessKey", Place::Aws(7)),
    ("DeleteAccessKey", Place::Aws(8)),
];

/// When the call takes effect, and when its answer arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    /// The call takes effect and is answered while the process is stopped.
    Meanwhile,
    /// The call takes effect while the process is stopped, and is answered when the process has given up.
    AnsweredLate,
    /// The call takes effect and is answered when the process has given up.
    DoneLate,
}

struct Stop {
    call: &'static str,
    place: Place,
    when: When,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.when {
            When::Meanwhile => "answered meanwhile",
            When::AnsweredLate => "answered too late",
            When::DoneLate => "done too late",
        };
        write!(f, "stopped in {:<16} {when:<19}", self.call)
    }
}

#[test]
fn a_rotation_completes_if_its_process_is_stopped_past_a_deadline() {
    let whens = [When::Meanwhile, When::AnsweredLate, When::DoneLate];
    let stops: Vec<Stop> =
        CALLS.iter().flat_map(|(call, place)| whens.map(|when| Stop { call, place: *place, when })).collect();
    campaign("SIGSTOP for 6.5 s, then SIGCONT", stops.len(), &stops, |number, stop| {
        let corner = corner(&format!("stop-{number}"));
        let old = corner.held().access_key_id;
        let moment = if stop.when == When::DoneLate { Moment::Before } else { Moment::After };
        let gate = corner.gate(stop.place, moment);
        let mut process = corner.spawn(&ROTATE);
        assert!(process.lives_until(|_| gate.has_arrived()), "the call never came");
        stop_it(&process);
        if stop.when == When::Meanwhile {
            gate.release(Release::Proceed);
            assert_nobody_else_drives(&corner, &process);
        }
        thread::sleep(LONGER_THAN_A_CALL);
        assert_no_harm(&corner);
        process.signal("CONT");
        if stop.when != When::Meanwhile {
            // By then, the process has noticed that its deadline has passed.
            thread::sleep(Duration::from_millis(300));
            gate.release(Release::Proceed);
        }
        let finished = process.finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_well_ended(&corner, &old);
        let said = complaints(&corner);
        if said.is_empty() { "took the answer that was waiting".to_owned() } else { said.join(" | ") }
    });
}

#[test]
fn a_rotation_completes_after_random_stops_of_its_process() {
    let mut dice = Dice(0x7374_6f70);
    let fates: Vec<Naps> = (0..4).map(|_| Naps((0..3).map(|_| dice.below(250)).collect())).collect();
    campaign("stopped for 0.3 s, again and again, after so many ms", 4, &fates, |number, Naps(millis)| {
        let corner = corner(&format!("nap-{number}"));
        let old = corner.held().access_key_id;
        let process = corner.spawn(&ROTATE);
        let mut tried = Vec::new();
        for millis in millis {
            thread::sleep(Duration::from_millis(*millis));
            stop_it(&process);
            // If the first process does not have the journal yet, or has it no longer, this one does the work.
            tried.push(corner.spawn(&ROTATE));
            thread::sleep(Duration::from_millis(300));
            process.signal("CONT");
        }
        let codes: Vec<_> = tried.into_iter().map(|process| process.finish().code.unwrap_or(-1)).collect();
        assert!(codes.iter().all(|code| [0, 75].contains(code)), "{codes:?}");
        let finished = process.finish();
        assert!([Some(0), Some(75)].contains(&finished.code), "{finished:?}");
        corner.run_well(&ROTATE);
        assert_well_ended(&corner, &old);
        format!("the first ends with {:?}, the others with {codes:?}", finished.code.unwrap_or(-1))
    });
}

/// The process is stopped in CreateAccessKey, which took effect; the rotation is abandoned; the process continues.
/// The simulation and the crash matrix prove that the key is found and discarded more than an hour later.
#[test]
fn an_abandon_command_counts_while_the_process_is_stopped() {
    let corner = corner("stop-abandon");
    let old = corner.held().access_key_id;
    let gate = corner.gate(Place::Aws(1), Moment::After);
    let mut process = corner.spawn(&["rotate", "--format", "json"]);
    assert!(process.lives_until(|_| gate.has_arrived()));
    stop_it(&process);
    let told = corner.run_well(&["abandon", "acme", "--why", "the vendor is leaving"]);
    gate.release(Release::Proceed);
    process.signal("CONT");
    let finished = process.finish();
    println!("abandoned while stopped in CreateAccessKey: {} | {}", told.out.trim(), said(&finished));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(sentence(&finished).contains("waiting until a listing can be believed"), "{finished:?}");
    assert_no_harm(&corner);
    assert_eq!(corner.held().access_key_id, old, "nobody was offered anything");
    let events = history(&corner);
    assert!(events.iter().all(|event| event["event"] != "created"), "{events:#?}");
}

struct Naps(Vec<u64>);

impl fmt::Display for Naps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<22}", format!("{:?}", self.0))
    }
}

/// The environment of a vendor to which a request may take no longer than a second.
fn corner(user: &str) -> Corner {
    let corner = Corner::new(emulator(), user);
    let vendor = corner.vendor_section("acme", user, &["/keys"]);
    let vendor = vendor.replace("kind = \"webhook\"\n", &format!("kind = \"webhook\"\n{VENDOR_TIMEOUT}"));
    corner.configure(&[NO_WAITS, &vendor].concat());
    corner.log_everything();
    corner
}

/// Sends SIGSTOP, and waits until the process has stopped.
#[track_caller]
fn stop_it(process: &Process) {
    process.signal("STOP");
    let is_stopped = || {
        let stat = process.proc_file("stat");
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
        matches!(state, Some("T" | "Z"))
    };
    while !is_stopped() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that a second driver is refused and told which process has the journal, and that a reader is not.
#[track_caller]
fn assert_nobody_else_drives(corner: &Corner, stopped: &Process) {
    let second = corner.run(&["rotate"]);
    assert_eq!(second.code, Some(75), "{second:?}");
    let holder = format!("is in use by process {} on ", stopped.pid());
    assert!(sentence(&second).contains(&holder), "{second:?}");
    assert_eq!(corner.status()["state"], "rotating");
}
