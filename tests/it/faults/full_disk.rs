//! A disk on which the journal cannot grow any more, at each point of a rotation.
//!
//! Here the kernel refuses to let the files of the running program grow (`RLIMIT_FSIZE`, set from outside at the
//! chosen call), which needs no rights; `needs_root/small_disks.rs` fills real file systems.

use std::fmt;
use std::fs;

use super::{ROTATE, assert_no_harm, assert_well_ended, emulator, said, sentence};
use crate::support::campaign::{Dice, campaign};
use crate::support::moto::Release;
use crate::support::process::{Corner, Place, Process};
use crate::support::vendor::Moment;

/// The calls of a rotation, and the place of each one.
pub(in crate::faults) const CALLS: [(&str, Place); 11] = [
    ("ListAccessKeys", Place::Aws(0)),
    ("CreateAccessKey", Place::Aws(1)),
    ("GetCallerIdentity 1", Place::Aws(2)),
    ("GetCallerIdentity 2", Place::Aws(3)),
    ("GetCallerIdentity 3", Place::Aws(4)),
    ("the delivery", Place::Vendor(0)),
    ("the question", Place::Vendor(1)),
    ("GetAccessKeyLastUsed 1", Place::Aws(5)),
    ("GetAccessKeyLastUsed 2", Place::Aws(6)),
    ("UpdateAccessKey", Place::Aws(7)),
    ("DeleteAccessKey", Place::Aws(8)),
];
/// The size of a page of the journal with its header, in the write-ahead log.
const FRAME_BYTES: u64 = 4096 + 24;
const WORKERS: usize = 4;

/// From that call on, the journal cannot grow by more than this many frames.
struct Limit {
    call: &'static str,
    place: Place,
    frames: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>2} pages left, at {:<23}", self.frames, self.call)
    }
}

#[test]
fn a_journal_that_cannot_grow_stops_the_rotation_without_harm() {
    let limits: Vec<_> = CALLS.iter().map(|(call, place)| Limit { call, place: *place, frames: 0 }).collect();
    campaign("no room for the answer", WORKERS, &limits, |number, limit| {
        let corner = Corner::new(emulator(), &format!("room-none-{number}"));
        play_limit(&corner, limit, &[75])
    });
}

#[test]
fn a_journal_with_little_room_stops_or_ends_the_rotation_without_harm() {
    let mut dice = Dice(0x0064_6973);
    let mut limit = || {
        let (call, place) = dice.one_of(&CALLS);
        Limit { call, place, frames: 1 + dice.below(16) }
    };
    let limits: Vec<_> = (0..10).map(|_| limit()).collect();
    campaign("a little room", WORKERS, &limits, |number, limit| {
        let corner = Corner::new(emulator(), &format!("room-little-{number}"));
        play_limit(&corner, limit, &[75, 0])
    });
}

fn play_limit(corner: &Corner, limit: &Limit, codes: &[i32]) -> String {
    let fill = |process: &Process| {
        let log = fs::metadata(corner.path("journal/journal.db-wal")).map_or(0, |log| log.len());
        process.limit_files(log + limit.frames * FRAME_BYTES);
    };
    play(corner, limit.place, codes, fill, || {})
}

/// Fills the disk at that call; then makes room again, and lets the next run complete the rotation.
#[track_caller]
pub(in crate::faults) fn play(
    corner: &Corner,
    place: Place,
    codes: &[i32],
    fill: impl Fn(&Process),
    make_room: impl Fn(),
) -> String {
    corner.log_everything();
    let old = corner.held().access_key_id;
    let gate = corner.gate(place, Moment::After);
    let mut process = corner.spawn(&ROTATE);
    assert!(process.lives_until(|_| gate.has_arrived()), "the call never came");
    fill(&process);
    gate.release(Release::Proceed);
    let finished = process.finish();
    assert!(finished.code.is_some_and(|code| codes.contains(&code)), "{finished:?}");
    if finished.code != Some(0) {
        let told = sentence(&finished);
        assert!(told.contains("disk") && told.contains("nothing was appended"), "{told}");
    }
    assert_no_harm(corner);
    make_room();
    corner.run_well(&ROTATE);
    assert_well_ended(corner, &old);
    let made = corner.emulator.keys(&corner.user).len() - 1;
    format!("{}; then done, keys made: {made}", said(&finished))
}
