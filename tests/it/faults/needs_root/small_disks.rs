//! Real file systems that are really full.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::faults::full_disk::{CALLS, play};
use crate::faults::{ROTATE, assert_no_harm, assert_well_ended, emulator, said, sentence};
use crate::support::campaign::campaign;
use crate::support::moto::Release;
use crate::support::process::{Corner, Place};
use crate::support::vendor::Moment;

/// The size of the file system: enough for a journal and its log, and quickly filled.
const DISK_KIB: u64 = 2048;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Tmpfs,
    /// An ext4 file system in a file, by a loop device.
    Ext4,
}

struct Case {
    kind: Kind,
    call: &'static str,
    place: Place,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<5} full at {:<23}", format!("{:?}", self.kind), self.call)
    }
}

#[test]
#[ignore = "needs root: mounts small file systems"]
fn a_disk_that_fills_at_any_call_stops_the_rotation_without_harm() {
    let cases: Vec<Case> = [Kind::Tmpfs, Kind::Ext4]
        .into_iter()
        .flat_map(|kind| CALLS.map(|(call, place)| Case { kind, call, place }))
        .collect();
    campaign("a full disk", 4, &cases, |number, case| {
        let corner = Corner::new(emulator(), &format!("disk-{number}"));
        let disk = Disk::mount(&corner, case.kind);
        play(&corner, case.place, &[75], |_| disk.fill(), || disk.make_room())
    });
}

#[test]
#[ignore = "needs root: mounts small file systems"]
fn commands_on_a_full_disk_work_or_report_the_full_disk() {
    let corner = Corner::new(emulator(), "disk-words");
    corner.log_everything();
    let old = corner.held().access_key_id;
    let disk = Disk::mount(&corner, Kind::Tmpfs);
    disk.fill();
    let unmade = corner.run(&ROTATE);
    println!("no room for a journal at all: {}", said(&unmade));
    assert_eq!(unmade.code, Some(75), "{unmade:?}");
    assert!(is_about_the_disk(&sentence(&unmade)), "{unmade:?}");
    assert_eq!(corner.living_keys().len(), 1, "nothing was begun");

    disk.make_room();
    let gate = corner.gate(Place::Vendor(0), Moment::After);
    let mut process = corner.spawn(&ROTATE);
    assert!(process.lives_until(|_| gate.has_arrived()));
    disk.fill();
    gate.release(Release::Proceed);
    assert_eq!(process.finish().code, Some(75));
    for command in [
        &["rotate"][..],
        &["run"],
        &["hold", "acme", "--why", "disk"],
        &["status"],
        &["explain", "acme"],
        &["history"],
        &["check", "--online"],
    ] {
        // A process that ends moves its log into the journal, which frees some room.
        disk.fill();
        let finished = corner.run(command);
        println!("full disk, {:<6}: {}", command[0], said(&finished));
        match finished.code {
            // Among the checks, the one of the rotation that could not continue fails.
            Some(0 | 1) => assert!(!finished.out.is_empty(), "{command:?}: {finished:?}"),
            Some(75) => assert!(is_about_the_disk(&sentence(&finished)), "{command:?}: {finished:?}"),
            _ => panic!("{command:?}: {finished:?}"),
        }
    }
    assert_no_harm(&corner);
    disk.make_room();
    corner.run_well(&ROTATE);
    assert_well_ended(&corner, &old);
}

fn is_about_the_disk(sentence: &str) -> bool {
    ["disk is full", "No space left", "disk answered"].iter().any(|words| sentence.contains(words))
}

/// A small file system at the journal's folder, which is unmounted when this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(corner: &Corner, kind: Kind) -> Disk {
        let path = corner.path("journal");
        fs::create_dir(&path).expect("the folder can be written");
        let at = path.to_str().expect("a path in UTF-8");
        match kind {
            Kind::Tmpfs => demand("mount", &["-t", "tmpfs", "-o", &format!("size={DISK_KIB}k"), "tmpfs", at]),
            Kind::Ext4 => {
                let image = corner.path("image");
                let made = File::create(&image).and_then(|file| file.set_len(DISK_KIB * 1024));
                made.expect("the folder can be written");
                let image = image.to_str().expect("a path in UTF-8");
                demand("mkfs.ext4", &["-q", "-F", "-m", "0", image]);
                demand("mount", &["-o", "loop", image, at]);
            }
        }
        Disk(path)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let ballast = OpenOptions::new().create(true).append(true).open(self.ballast());
        let mut ballast = ballast.expect("there is room for a name");
        for piece in [4096, 512, 1] {
            let bytes = vec![b'b'; piece];
            while ballast.write_all(&bytes).and_then(|()| ballast.sync_data()).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("it was made");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // After a failed test a process may still use it; then the folder of the test is left behind.
        drop(Command::new("umount").arg(&self.0).status());
    }
}

#[track_caller]
fn demand(program: impl AsRef<Path>, arguments: &[&str]) {
    let done = Command::new(program.as_ref()).args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}: {told} (is this root?)", program.as_ref().display());
}
