//! A journal that was changed after it was closed, and a seal key that does not belong to it.
//!
//! **Invariant:** the program refuses to start, says which of the two it is, exits with 78, and touches nothing:
//! not the files, not AWS, not the vendor. When the journal is restored, the rotation carries on.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use keyround::adapters::journal::{Mode, SqliteJournal};
use keyround::ports::Journal as _;

use super::{ROTATE, assert_no_harm, assert_well_ended, emulator, said, sentence};
use crate::support::campaign::{Dice, campaign};
use crate::support::moto::Release;
use crate::support::process::{Corner, Place};
use crate::support::vendor::Moment;

const DRIVERS: [&[&str]; 2] = [&["rotate"], &["run"]];
const WRITERS: [&[&str]; 3] = [&["rotate"], &["run"], &["hold", "acme", "--why", "an odd smell"]];
const ALL: [&[&str]; 4] = [&["rotate"], &["run"], &["hold", "acme", "--why", "an odd smell"], &["history"]];

struct Damage {
    what: &'static str,
    inflict: fn(&Wreck),
    /// The commands that refuse it. The words of the refusal are in `words`.
    refused_by: &'static [&'static [&'static str]],
    words: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<36}", self.what)
    }
}

const DAMAGES: [Damage; 20] = [
    Damage {
        what: "truncated to nothing",
        inflict: |wreck| wreck.truncate(|_| 0),
        refused_by: &ALL,
        words: "is truncated: 0 bytes are left",
    },
    Damage {
        what: "truncated in its header",
        inflict: |wreck| wreck.truncate(|_| 60),
        refused_by: &ALL,
        words: "is truncated: 60 bytes",
    },
    Damage {
        what: "truncated after its first page",
        inflict: |wreck| wreck.truncate(|_| 4096),
        refused_by: &ALL,
        words: "is truncated: 4096",
    },
    Damage {
        what: "truncated to its half",
        inflict: |wreck| wreck.truncate(|length| length / 2),
        refused_by: &ALL,
        words: "is truncated",
    },
    Damage {
        what: "truncated by one byte",
        inflict: |wreck| wreck.truncate(|length| length - 1),
        refused_by: &ALL,
        words: "is truncated",
    },
    Damage {
        what: "another file in its place",
        inflict: |wreck| wreck.change(|bytes| *bytes = b"buy milk\n".repeat(999)),
        refused_by: &ALL,
        words: "is not a keyround journal",
    },
    Damage {
        what: "its first page is zeros",
        inflict: |wreck| wreck.change(|bytes| bytes[..4096].fill(0)),
        refused_by: &ALL,
        words: "is not a keyround journal",
    },
    Damage {
        what: "all but its first page is garbage",
        inflict: |wreck| wreck.change(|bytes| bytes[4096..].fill(0xa5)),
        refused_by: &DRIVERS,
        words: "is damaged",
    },
    Damage {
        what: "from a newer version",
        inflict: |wreck| wreck.change(|bytes| bytes[60..64].copy_from_slice(&4_u32.to_be_bytes())),
        refused_by: &ALL,
        words: "from a newer version of keyround (schema 4, this version knows 3)",
    },
    Damage {
        what: "a letter of an event is another one",
        inflict: |wreck| wreck.swap("too_old", "too_odd"),
        refused_by: &DRIVERS,
        words: "event 1 of the history",
    },
    Damage {
        what: "the old key's id is another one",
        inflict: |wreck| {
            let old = wreck.corner.held().access_key_id;
            wreck.swap(&old, &old.replace("AKIA", "AKIB"));
        },
        refused_by: &DRIVERS,
        words: "of the history",
    },
    Damage {
        what: "its name for the user is another one",
        inflict: |wreck| wreck.swap("wreck-table", "wreck-tabel"),
        refused_by: &DRIVERS,
        words: "is damaged",
    },
    Damage {
        what: "gone, and its log is still there",
        inflict: |wreck| {
            fs::rename(wreck.journal(), wreck.file("journal.db-wal")).expect("it can be moved");
        },
        refused_by: &WRITERS,
        words: "is missing, but its write-ahead log",
    },
    Damage {
        what: "the seal key of another journal",
        inflict: |wreck| wreck.write_seal_key(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"),
        refused_by: &WRITERS,
        words: "was sealed with another seal key",
    },
    Damage {
        what: "the seal key is missing",
        inflict: |wreck| fs::remove_file(wreck.file("seal.key")).expect("it was there"),
        refused_by: &WRITERS,
        words: "seal.key is missing",
    },
    Damage {
        what: "the seal key is words",
        inflict: |wreck| wreck.write_seal_key(b"open sesame\n"),
        refused_by: &WRITERS,
        words: "the seal key is not base64 text",
    },
    Damage {
        what: "the seal key is bytes",
        inflict: |wreck| wreck.write_seal_key(&[0xff, 0xfe, 0, 1].repeat(8)),
        refused_by: &WRITERS,
        words: "the seal key is not base64 text",
    },
    Damage {
        what: "the seal key is empty",
        inflict: |wreck| wreck.write_seal_key(b""),
        refused_by: &WRITERS,
        words: "the seal key has 0 bytes instead of 32",
    },
    Damage {
        what: "the seal key is cut in half",
        inflict: |wreck| wreck.write_seal_key(b"AAECAwQFBgcICQoLDA0ODw==\n"),
        refused_by: &WRITERS,
        words: "the seal key has 16 bytes instead of 32",
    },
    Damage {
        what: "everybody may read the seal key",
        inflict: |wreck| {
            let readable = Permissions::from_mode(0o644);
            fs::set_permissions(wreck.file("seal.key"), readable).expect("it is ours");
        },
        refused_by: &WRITERS,
        words: "can be read by others than its owner (mode 0644)",
    },
];

#[test]
fn a_damaged_journal_is_refused_with_a_reason_and_nothing_changes() {
    let wreck = Wreck::new("wreck-table");
    println!("the journal was damaged:");
    for damage in &DAMAGES {
        wreck.put_back(&wreck.whole);
        (damage.inflict)(&wreck);
        let damaged = wreck.files();
        let mut told = String::new();
        for command in damage.refused_by {
            let refused = wreck.corner.run(command);
            told = said(&refused);
            assert_eq!(refused.code, Some(78), "{damage}: {command:?}: {refused:?}");
            assert!(sentence(&refused).contains(damage.words), "{damage}: {command:?}: {told}");
            assert!(refused.out.is_empty(), "{damage}: {refused:?}");
            wreck.assert_untouched(&damaged, &told);
        }
        println!("  {damage}  {}", wreck.without_paths(&told));
    }
    wreck.mend_and_carry_on();
}

#[test]
fn an_invalid_seal_key_from_the_configuration_is_refused() {
    let wreck = Wreck::new("wreck-reference");
    let rest = fs::read_to_string(wreck.corner.path("rotation.toml")).expect("it was written");
    let referred = rest.replacen("[account.main]", "seal_key = \"env:SEAL\"\n[account.main]", 1);
    fs::write(wreck.corner.path("rotation.toml"), &referred).expect("the folder can be written");
    for (value, words) in [
        ("canary-no-base64", "[journal] seal_key: env:SEAL: the seal key is not base64 text"),
        ("Y2FuYXJ5", "has 6 bytes instead of 32"),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "was sealed with another seal key"),
        ("", "it is empty"),
    ] {
        wreck.corner.set_env("SEAL", value);
        let (before, refused) = (wreck.files(), wreck.corner.run(&["rotate"]));
        println!("seal_key = \"env:SEAL\": {}", wreck.without_paths(&said(&refused)));
        assert_eq!(refused.code, Some(78), "{refused:?}");
        assert!(sentence(&refused).contains(words), "{refused:?}");
        assert!(value.is_empty() || !refused.err.contains(value), "{refused:?}");
        wreck.assert_untouched(&before, words);
    }
    fs::write(wreck.corner.path("rotation.toml"), rest).expect("the folder can be written");
    wreck.mend_and_carry_on();
}

#[test]
fn a_flipped_journal_bit_is_refused_or_changes_nothing() {
    flip_bits("wreck-bits", 0x0062_6974, 48);
}

#[test]
#[ignore = "takes a few minutes: a run of the program for each of 1,000 bits"]
fn a_flipped_bit_at_a_thousand_places_is_refused_or_changes_nothing() {
    flip_bits("wreck-many-bits", 0x6d61_6e79, 1_000);
}

/// Gives each process the journal with one bit changed. The rotation is on hold, so that a process that accepts the
/// journal does nothing.
fn flip_bits(user: &str, seed: u64, flips: u32) {
    let wreck = Wreck::new(user);
    wreck.corner.run_well(&["hold", "acme", "--why", "bits are flipped"]);
    wreck.close_tidily();
    let whole = wreck.files();
    let (head, mut dice) = (wreck.head(), Dice(seed));
    // Many pages of the file were never written to, so only bytes that are not zero are changed.
    let bytes = whole["journal.db"].iter().enumerate();
    let written: Vec<usize> = bytes.filter(|(_, byte)| **byte != 0).map(|(place, _)| place).collect();
    let mut refusals = BTreeMap::<String, u32>::new();
    for _ in 0..flips {
        let (place, bit) = (dice.one_of(&written), dice.below(8));
        wreck.put_back(&whole);
        wreck.change(|bytes| bytes[place] ^= 1 << bit);
        let (damaged, finished) = (wreck.files(), wreck.corner.run(&["rotate"]));
        let case = format!("byte {place}, bit {bit}: {finished:?}");
        match finished.code {
            Some(78) => wreck.assert_untouched(&damaged, &case),
            Some(0) => {
                wreck.assert_untouched_outside(&case);
                assert_eq!(wreck.head(), head, "{case}");
            }
            _ => panic!("{case}"),
        }
        *refusals.entry(kind_of(&sentence(&finished))).or_default() += 1;
    }
    println!("one bit flipped, {flips} times (seed {seed:#x}):");
    for (kind, times) in &refusals {
        println!("  {times:>4}  {kind}");
    }
    assert!(refusals.len() > 2, "{refusals:?}");
    wreck.put_back(&whole);
    wreck.corner.run_well(&["resume", "acme"]);
    wreck.mend_and_carry_on();
}

/// The kind of a refusal, without the details that differ from one to the next.
fn kind_of(sentence: &str) -> String {
    let known = [
        "is not a keyround journal",
        "is truncated",
        "from a newer version",
        "sealed with another seal key",
        "does not fit",
        "some are missing",
        "a row is missing",
        "another program changed its schema",
        "is damaged",
    ];
    let found = known.iter().find(|words| sentence.contains(**words));
    match found {
        Some(words) => format!("refused: … {words} …"),
        None if sentence.is_empty() => "believed, with the same history to the last hash".to_owned(),
        None => sentence.to_owned(),
    }
}

#[test]
fn a_damaged_write_ahead_log_does_not_harm_the_vendor() {
    let mut dice = Dice(0x0077_616c);
    let mut lose = || {
        // Later calls are left out, because there the secret, and the log with it, is erased.
        let (call, place) = dice.one_of(&super::full_disk::CALLS[..7]);
        Loss { call, place, percent: dice.below(100), truncated: dice.below(2) == 0 }
    };
    let losses: Vec<Loss> = (0..12).map(|_| lose()).collect();
    campaign("killed, and then the log was damaged", 4, &losses, |number, loss| {
        let corner = Corner::new(emulator(), &format!("wreck-log-{number}"));
        let old = corner.held().access_key_id;
        kill_at(&corner, loss.place, Moment::After);
        let log = corner.path("journal/journal.db-wal");
        let mut bytes = fs::read(&log).expect("a killed process leaves its log");
        let place = bytes.len() * usize::try_from(loss.percent).expect("it is small") / 100;
        match loss.truncated {
            true => bytes.truncate(place),
            false => bytes[place] ^= 0x10,
        }
        fs::write(&log, bytes).expect("written");
        let finished = corner.run(&ROTATE);
        assert_no_harm(&corner);
        match finished.code {
            // What was lost is done again; the repeated message may then carry another time.
            Some(0) if corner.living_keys().len() == 1 => corner.assert_rotated_from(&old),
            Some(1) => {
                let told = sentence(&finished);
                assert!(told.contains("nothing was touched") || told.contains("no key"), "{finished:?}");
            }
            _ => panic!("{finished:?}"),
        }
        said(&finished)
    });
}

struct Loss {
    call: &'static str,
    place: Place,
    /// The place in the log, in percent of its length.
    percent: u64,
    truncated: bool,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.truncated { "cut off" } else { "one bit changed" };
        write!(f, "after {:<23} log {how:<15} at {:>2} %", self.call, self.percent)
    }
}

/// A journal at rest in the middle of a rotation, as it can be after any crash.
struct Wreck {
    corner: Corner,
    whole: BTreeMap<String, Vec<u8>>,
    old: String,
    calls: usize,
    requests: usize,
}

impl Wreck {
    fn new(user: &str) -> Wreck {
        let corner = Corner::new(emulator(), user);
        corner.log_everything();
        let old = corner.held().access_key_id;
        kill_at(&corner, Place::Vendor(0), Moment::Before);
        let mut wreck = Wreck { corner, whole: BTreeMap::new(), old, calls: 0, requests: 0 };
        wreck.close_tidily();
        wreck.whole = wreck.files();
        wreck.calls = wreck.mutating_calls();
        wreck.requests = wreck.corner.vendor.requests().len();
        wreck
    }

    /// Moves the whole log into the journal file.
    fn close_tidily(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let journal = SqliteJournal::open(&self.journal(), None, Mode::Operate).await;
            journal.expect("it is whole").close().await.expect("it can be closed");
        });
    }

    /// What `history verify` shows: the number of events, and the last hash.
    fn head(&self) -> (u64, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let journal = SqliteJournal::open(&self.journal(), None, Mode::Read).await.expect("it opens");
            let head = journal.verify_history().await.expect("it fits together");
            // Closed explicitly, because a dropped journal is closed by another thread, which removes its files at
            // any time.
            journal.close().await.expect("it can be closed");
            head
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.corner.path("journal").join(name)
    }

    fn journal(&self) -> PathBuf {
        self.file("journal.db")
    }

    /// The files that matter, without the lock, which exists while a process runs, and SQLite's shared-memory file.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.corner.files_of_journal().into_iter();
        let names = names.filter(|name| !name.ends_with("db.lock") && !name.ends_with("-shm"));
        let files = names.map(|name| (fs::read(self.file(&name)).expect("a file"), name));
        files.filter(|(bytes, _)| !bytes.is_empty()).map(|(bytes, name)| (name, bytes)).collect()
    }

    fn put_back(&self, files: &BTreeMap<String, Vec<u8>>) {
        for name in self.corner.files_of_journal() {
            fs::remove_file(self.file(&name)).expect("it is a file");
        }
        for (name, bytes) in files {
            fs::write(self.file(name), bytes).expect("written");
            fs::set_permissions(self.file(name), Permissions::from_mode(0o600)).expect("it is ours");
        }
    }

    fn change(&self, change: impl Fn(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.journal()).expect("a journal");
        change(&mut bytes);
        fs::write(self.journal(), bytes).expect("written");
    }

    fn truncate(&self, to: fn(usize) -> usize) {
        self.change(|bytes| bytes.truncate(to(bytes.len())));
    }

    /// Replaces the first occurrence of one word by another of the same length.
    fn swap(&self, word: &str, other: &str) {
        self.change(|bytes| {
            let at = bytes.windows(word.len()).position(|window| window == word.as_bytes());
            let at = at.expect("the word is in the journal");
            bytes[at..at + other.len()].copy_from_slice(other.as_bytes());
        });
    }

    fn write_seal_key(&self, bytes: &[u8]) {
        fs::write(self.file("seal.key"), bytes).expect("written");
    }

    fn mutating_calls(&self) -> usize {
        let calls = self.corner.emulator.calls_about(&self.corner.user);
        calls.iter().filter(|call| call.mutating).count()
    }

    #[track_caller]
    fn assert_untouched_outside(&self, case: &str) {
        assert_eq!(self.mutating_calls(), self.calls, "{case}");
        assert_eq!(self.corner.vendor.requests().len(), self.requests, "{case}");
    }

    #[track_caller]
    fn assert_untouched(&self, files: &BTreeMap<String, Vec<u8>>, case: &str) {
        self.assert_untouched_outside(case);
        assert!(self.files() == *files, "the files were touched: {case}");
    }

    /// Restores the journal, and asserts that the rotation carries on.
    #[track_caller]
    fn mend_and_carry_on(&self) {
        assert_no_harm(&self.corner);
        if self.mutating_calls() == self.calls && !self.whole.is_empty() {
            self.put_back(&self.whole);
        }
        self.corner.run_well(&ROTATE);
        assert_well_ended(&self.corner, &self.old);
    }

    /// The sentence without the folder of the test, which has another name each time.
    fn without_paths(&self, told: &str) -> String {
        told.replace(&format!("{}/", self.corner.path("journal").display()), "")
    }
}

/// Kills the program at that call, which then never happens (before), or took effect without an answer (after).
#[track_caller]
fn kill_at(corner: &Corner, place: Place, moment: Moment) {
    let gate = corner.gate(place, moment);
    let mut process = corner.spawn(&ROTATE);
    assert!(process.lives_until(|_| gate.has_arrived()), "the call never came");
    process.kill();
    gate.release(Release::HangUp);
}
