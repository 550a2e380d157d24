//! The promises of every journal, checked with the in-memory, the SQLite and the PostgreSQL journal, and a comparison of
//! the three on random operations. Proves the storage side of promises 4 and 7 of `src/lib.rs`.
//!
//! What only a journal in a file can promise or suffer is in `journal_contract/file.rs`; changes of the file by
//! other programs are in `foreign.rs` and `forged.rs`. What only a journal in a database can promise or suffer is in
//! `database.rs`, and copies are in `copies.rs`.

mod copies;
mod database;
mod file;
mod foreign;
mod forged;
mod place;
mod rekey;

use std::path::Path;
use std::time::Duration;

use keyround::adapters::journal::{MemoryJournal, Mode, SqliteJournal};
use keyround::core::alert::{Alert, Condition, DeliveryState, Item, Notification, Style};
use keyround::core::ids::{AccessKeyId, RotationId, Subject};
use keyround::core::rotation::{Event, Plan, Verification};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{Entry, Journal, JournalError, KnownRotation, SecretChange};

use crate::support::postgres;

const WRITER: &str = "host:1";

/// Runs each rule with each journal.
macro_rules! contract {
    ($($rule:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(&super::MemoryJournal::new(super::WRITER)).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test]
            async fn $rule() {
                let folder = tempfile::tempdir().expect("a folder");
                let journal = super::open(&folder.path().join("journal.db")).await;
                super::$rule(&journal).await;
                super::Journal::verify_history(&journal).await.expect("a whole history");
            })*
        }

        mod postgresql {
            $(#[tokio::test]
            async fn $rule() {
                let url = crate::support::postgres::database();
                let journal = super::database::open(&url, super::Mode::Drive).await.expect("a journal");
                super::$rule(&journal).await;
                super::Journal::verify_history(&journal).await.expect("a whole history");
            })*
        }
    };
}

contract! {
    an_empty_journal_knows_nothing
    events_come_back_in_order_as_they_were_appended
    a_number_that_is_taken_or_skipped_is_a_conflict
    a_rotation_begins_with_started_and_only_once
    a_user_has_one_rotation_at_a_time
    nothing_follows_the_end_of_a_rotation
    a_secret_is_there_from_its_sealing_to_its_erasing
    a_secret_is_sealed_only_with_the_event_that_names_its_key
    a_second_key_of_a_rotation_takes_the_place_of_the_first
    rotations_are_listed_oldest_first_and_by_vendor
    the_history_is_cut_by_vendor_and_by_time
    the_chain_ends_with_the_hash_of_the_last_event
    the_last_pass_never_goes_back
    of_two_who_append_one_number_one_is_told_of_a_conflict
    what_a_sink_was_told_is_remembered_until_it_is_told_more
}

async fn an_empty_journal_knows_nothing(journal: &dyn Journal) {
    let id = start("acme", "user-a", None, 0).id;
    assert_eq!(journal.read(id).await.expect("events"), []);
    assert_eq!(journal.secret(id).await.expect("an answer"), None);
    assert_eq!(journal.in_flight().await.expect("rotations"), []);
    assert_eq!(journal.rotations(None).await.expect("rotations"), []);
    assert_eq!(journal.history(None, Timestamp::EPOCH).await.expect("events"), []);
    assert_eq!(journal.last_tick().await.expect("an answer"), None);
    assert_eq!(journal.verify_history().await.expect("a whole history"), (0, "0".repeat(64)));
}

async fn events_come_back_in_order_as_they_were_appended(journal: &dyn Journal) {
    let (ours, theirs) = (start("acme", "user-a", None, 0), start("acme", "user-b", None, 1));
    keep(journal, ours.id, 1, &ours.event).await;
    keep(journal, theirs.id, 1, &theirs.event).await;
    keep(journal, ours.id, 2, &probed(2)).await;
    keep(journal, theirs.id, 2, &created("AKIANEW0000000000001", 3)).await;
    keep(journal, ours.id, 3, &probed(4)).await;
    assert_eq!(journal.read(ours.id).await.expect("events"), [ours.event.clone(), probed(2), probed(4)]);
    let read = journal.read(theirs.id).await.expect("events");
    assert_eq!(read, [theirs.event.clone(), created("AKIANEW0000000000001", 3)]);
}

async fn a_number_that_is_taken_or_skipped_is_a_conflict(journal: &dyn Journal) {
    let begun = start("acme", "user-a", None, 0);
    let unknown = start("acme", "user-b", None, 0).id;
    conflict(journal, unknown, 2, &probed(1)).await;
    keep(journal, begun.id, 1, &begun.event).await;
    conflict(journal, begun.id, 1, &begun.event).await;
    for number in [0, 1, 3, 4, u64::MAX] {
        conflict(journal, begun.id, number, &probed(1)).await;
    }
    assert_eq!(journal.read(begun.id).await.expect("events"), [begun.event]);
    assert_eq!(journal.rotations(None).await.expect("rotations").len(), 1);
}

async fn a_rotation_begins_with_started_and_only_once(journal: &dyn Journal) {
    let begun = start("acme", "user-a", None, 0);
    let refused = append(journal, begun.id, 1, &probed(1)).await.expect_err("no beginning");
    assert!(matches!(refused, JournalError::Unusable(_)), "{refused}");
    keep(journal, begun.id, 1, &begun.event).await;
    let refused = append(journal, begun.id, 2, &begun.event).await.expect_err("a second beginning");
    assert!(matches!(refused, JournalError::Unusable(_)), "{refused}");
    assert_eq!(journal.read(begun.id).await.expect("events"), [begun.event]);
}

async fn a_user_has_one_rotation_at_a_time(journal: &dyn Journal) {
    let first = start("acme", "user-a", None, 0);
    let (second, elsewhere) = (start("acme", "user-a", None, 9), start("acme", "user-a", Some("staging"), 9));
    keep(journal, first.id, 1, &first.event).await;
    let refused = append(journal, second.id, 1, &second.event).await.expect_err("two at a time");
    assert!(matches!(&refused, JournalError::AlreadyRotating { iam_user } if iam_user.as_str() == "user-a"));
    assert_eq!(journal.read(second.id).await.expect("events"), []);
    keep(journal, elsewhere.id, 1, &elsewhere.event).await;
    ending(journal, first.id, 2, &probed(1)).await;
    keep(journal, second.id, 1, &second.event).await;
}

async fn nothing_follows_the_end_of_a_rotation(journal: &dyn Journal) {
    let begun = start("acme", "user-a", None, 0);
    keep(journal, begun.id, 1, &begun.event).await;
    ending(journal, begun.id, 2, &probed(1)).await;
    conflict(journal, begun.id, 3, &probed(2)).await;
    conflict(journal, begun.id, 1, &begun.event).await;
    assert_eq!(journal.in_flight().await.expect("rotations"), []);
    let known = journal.rotations(None).await.expect("rotations");
    assert_eq!(known, [KnownRotation { ended: true, ..begun.known() }]);
}

async fn a_secret_is_there_from_its_sealing_to_its_erasing(journal: &dyn Journal) {
    let (begun, other) = (start("acme", "user-a", None, 0), start("acme", "user-b", None, 0));
    keep(journal, begun.id, 1, &begun.event).await;
    keep(journal, other.id, 1, &other.event).await;
    seal(journal, begun.id, 2, "AKIANEW0000000000001", "canary").await;
    keep(journal, begun.id, 3, &probed(2)).await;
    assert_eq!(journal.secret(begun.id).await.expect("an answer"), Some(Secret::from("canary")));
    assert_eq!(journal.secret(other.id).await.expect("an answer"), None);
    erase(journal, begun.id, 4).await;
    assert_eq!(journal.secret(begun.id).await.expect("an answer"), None);
    erase(journal, begun.id, 5).await;
}

async fn a_secret_is_sealed_only_with_the_event_that_names_its_key(journal: &dyn Journal) {
    let begun = start("acme", "user-a", None, 0);
    keep(journal, begun.id, 1, &begun.event).await;
    let secret = SecretChange::Seal(Secret::from("canary"));
    let entry = Entry { rotation: begun.id, number: 2, event: &probed(1), secret, ends: false };
    let refused = journal.append(entry).await.expect_err("no key");
    assert!(matches!(&refused, JournalError::Unusable(why) if !why.contains("canary")), "{refused}");
    assert_eq!(journal.read(begun.id).await.expect("events"), [begun.event]);
    assert_eq!(journal.secret(begun.id).await.expect("an answer"), None);
}

async fn a_second_key_of_a_rotation_takes_the_place_of_the_first(journal: &dyn Journal) {
    let begun = start("acme", "user-a", None, 0);
    keep(journal, begun.id, 1, &begun.event).await;
    seal(journal, begun.id, 2, "AKIANEW0000000000001", "first").await;
    seal(journal, begun.id, 3, "AKIANEW0000000000002", "second").await;
    assert_eq!(journal.secret(begun.id).await.expect("an answer"), Some(Secret::from("second")));
}

async fn rotations_are_listed_oldest_first_and_by_vendor(journal: &dyn Journal) {
    let late = start("acme", "user-a", Some("production"), 300);
    let (early, other) = (start("acme", "user-b", None, 100), start("zeta", "user-c", None, 200));
    for begun in [&late, &early, &other] {
        keep(journal, begun.id, 1, &begun.event).await;
    }
    let (all, acme) = ([early.known(), other.known(), late.known()], [early.known(), late.known()]);
    let name = "acme".parse().expect("a vendor");
    assert_eq!(journal.rotations(None).await.expect("rotations"), all);
    assert_eq!(journal.in_flight().await.expect("rotations"), all);
    assert_eq!(journal.rotations(Some(&name)).await.expect("rotations"), acme);
    let nobody = "nobody".parse().expect("a vendor");
    assert_eq!(journal.rotations(Some(&nobody)).await.expect("rotations"), []);
}

async fn the_history_is_cut_by_vendor_and_by_time(journal: &dyn Journal) {
    let (acme, zeta) = (start("acme", "user-a", None, 0), start("zeta", "user-b", None, 10));
    keep(journal, acme.id, 1, &acme.event).await;
    keep(journal, zeta.id, 1, &zeta.event).await;
    keep(journal, acme.id, 2, &probed(20)).await;
    keep(journal, zeta.id, 2, &probed(30)).await;
    let all = journal.history(None, Timestamp::EPOCH).await.expect("events");
    let places: Vec<_> = all.iter().map(|told| (told.position, told.rotation, told.number)).collect();
    assert_eq!(places, [(1, acme.id, 1), (2, zeta.id, 1), (3, acme.id, 2), (4, zeta.id, 2)]);
    assert!(all.iter().all(|told| told.writer == WRITER && told.hash.len() == 64));
    let name = "acme".parse().expect("a vendor");
    let theirs = journal.history(Some(&name), Timestamp::EPOCH).await.expect("events");
    assert_eq!(theirs, [all[0].clone(), all[2].clone()]);
    assert_eq!(journal.history(None, at(20)).await.expect("events"), all[2..]);
    assert_eq!(journal.history(Some(&name), at(21)).await.expect("events"), []);
    for (position, index) in [(0, 0), (1, 1), (2, 2), (all.last().expect("events").position, all.len())] {
        assert_eq!(journal.history_after(position).await.expect("events"), all[index..]);
    }
    assert_eq!(journal.history_after(u64::MAX).await.expect("events"), []);
}

async fn the_chain_ends_with_the_hash_of_the_last_event(journal: &dyn Journal) {
    let begun = start("acme", "user-a", None, 0);
    keep(journal, begun.id, 1, &begun.event).await;
    // More events than are held in memory at once while a file is verified.
    for number in 2..=300 {
        keep(journal, begun.id, number, &probed(number)).await;
    }
    let history = journal.history(None, Timestamp::EPOCH).await.expect("events");
    let (events, hash) = journal.verify_history().await.expect("a whole history");
    assert_eq!((events, Some(&hash)), (300, history.last().map(|last| &last.hash)));
    assert_eq!(journal.head().await.expect("an end"), (events, hash));
}

async fn the_last_pass_never_goes_back(journal: &dyn Journal) {
    for (told, remembered) in [(100, 100), (50, 100), (100, 100), (101, 101)] {
        journal.record_tick(at(told)).await.expect("recorded");
        assert_eq!(journal.last_tick().await.expect("an answer"), Some(at(remembered)));
    }
}

async fn of_two_who_append_one_number_one_is_told_of_a_conflict(journal: &dyn Journal) {
    let begun = start("acme", "user-a", None, 0);
    keep(journal, begun.id, 1, &begun.event).await;
    let (one, other) = (probed(1), probed(2));
    let both = tokio::join!(append(journal, begun.id, 2, &one), append(journal, begun.id, 2, &other));
    assert!(both.0.is_ok() != both.1.is_ok(), "{both:?}");
    assert_eq!(journal.read(begun.id).await.expect("events").len(), 2);
}

async fn what_a_sink_was_told_is_remembered_until_it_is_told_more(journal: &dyn Journal) {
    let [pager, mail] = ["pager", "mail"].map(|name| name.parse().expect("a name"));
    assert_eq!(journal.sink_memory(&pager).await.expect("an answer"), None);
    let mut memory = DeliveryState::new(0);
    journal.remember_sink(&pager, &memory).await.expect("remembered");
    memory.refused(&Notification::test(at(1)), None, at(1));
    let sentence = "the sentence; 'quoted'".to_owned();
    let alert = Alert::of_house(Condition::Journal, "journal", sentence, at(0));
    memory.took(
        Style::Messages,
        &Notification { items: vec![Item::Firing { alert, again: false }], incident: None, at: at(2) },
        at(2),
    );
    journal.remember_sink(&pager, &memory).await.expect("remembered");
    assert_eq!(journal.sink_memory(&pager).await.expect("an answer"), Some(memory));
    assert_eq!(journal.sink_memory(&mail).await.expect("an answer"), None);
    assert_eq!(
        journal.history(None, Timestamp::EPOCH).await.expect("events"),
        [],
        "it is no part of the history"
    );
}

#[tokio::test]
async fn the_three_journals_agree_on_random_sequences_of_operations() {
    for seed in 1..=12 {
        let folder = tempfile::tempdir().expect("a folder");
        let (memory, sqlite) = (MemoryJournal::new(WRITER), open(&folder.path().join("journal.db")).await);
        let postgres = database::open(&postgres::database(), Mode::Drive).await.expect("a journal");
        let journals = [&memory as &dyn Journal, &sqlite, &postgres];
        let (mut dice, mut others, mut ids) = (Dice(seed), Dice(seed + 1000), Vec::new());
        for step in 0..60 {
            let drawn = Drawn::new(&mut dice, &mut ids, step, &memory).await;
            let (tick, sink) =
                (others.below(100), others.one_of(&["pager", "mail"]).parse().expect("a name"));
            let mut answers = Vec::new();
            for journal in journals {
                let appended = journal.append(drawn.entry()).await;
                if step % 7 == 0 {
                    journal.record_tick(at(tick)).await.expect("recorded");
                    let state = DeliveryState::new(tick);
                    journal.remember_sink(&sink, &state).await.expect("remembered");
                }
                let (read, secret) =
                    (journal.read(drawn.rotation).await, journal.secret(drawn.rotation).await);
                let after = journal.history_after(step / 2).await;
                let (tick, state) = (journal.last_tick().await, journal.sink_memory(&sink).await);
                answers.push(format!("{appended:?} {read:?} {secret:?} {after:?} {tick:?} {state:?}"));
            }
            assert_eq!(answers[0], answers[1], "seed {seed} step {step}: {drawn:?}");
            assert_eq!(answers[0], answers[2], "seed {seed} step {step}: {drawn:?}");
        }
        agree(&memory, &sqlite, &ids, seed).await;
        agree(&memory, &postgres, &ids, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_concurrent_writers_of_a_journal_file_lose_no_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.db");
    let driver = open(&path).await;
    let operator = SqliteJournal::open(&path, None, Mode::Operate).await.expect("an operator");
    let write = async |journal: SqliteJournal, user: &str| {
        let begun = start("acme", user, None, 0);
        keep(&journal, begun.id, 1, &begun.event).await;
        for number in 2..=40 {
            keep(&journal, begun.id, number, &probed(number)).await;
        }
        journal
    };
    let (journal, _) = tokio::join!(write(driver, "user-a"), write(operator, "user-b"));
    assert_eq!(journal.verify_history().await.expect("a whole history").0, 80);
}

#[tokio::test]
async fn drafts_of_a_killed_process_are_removed_and_other_files_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.db");
    let drafts = [
        "seal.key.new-0123456789abcdef",
        "journal.db.new-0123456789abcdef",
        "journal.db.new-0123456789abcdef-journal",
    ];
    let others = ["journal.db.new-backup", "seal.key.new-0123456789abcdeg", "other.db.new-0123456789abcdef"];
    for name in drafts.iter().chain(&others) {
        std::fs::write(folder.path().join(name), "").expect("the folder can be written");
    }
    let journal = open(&path).await;
    let is_there = |name: &&str| folder.path().join(name).exists();
    assert!(!drafts.iter().any(is_there), "drafts are left");
    assert!(others.iter().all(is_there), "a file of somebody else is gone");
    journal.close().await.expect("it closes");
}

async fn agree(one: &dyn Journal, other: &dyn Journal, ids: &[RotationId], seed: u64) {
    let history = |journal| Journal::history(journal, None, Timestamp::EPOCH);
    let told = history(one).await.expect("events");
    assert!(told.len() > 10, "seed {seed} tells too little: {} events", told.len());
    assert_eq!(told, history(other).await.expect("events"), "seed {seed}");
    assert_eq!(one.rotations(None).await.ok(), other.rotations(None).await.ok(), "seed {seed}");
    assert_eq!(one.in_flight().await.ok(), other.in_flight().await.ok(), "seed {seed}");
    assert_eq!(one.verify_history().await.ok(), other.verify_history().await.ok(), "seed {seed}");
    for id in ids {
        assert_eq!(one.read(*id).await.ok(), other.read(*id).await.ok(), "seed {seed}");
        assert_eq!(one.secret(*id).await.ok(), other.secret(*id).await.ok(), "seed {seed}");
    }
}

/// A generator (`SplitMix64`) that gives the same numbers for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn one_of<T: Clone>(&mut self, things: &[T]) -> T {
        let index = self.below(things.len() as u64);
        things[usize::try_from(index).expect("less than the length of a slice")].clone()
    }
}

/// One random append, more often valid than not.
#[derive(Debug)]
struct Drawn {
    rotation: RotationId,
    number: u64,
    event: Event,
    secret: SecretChange,
    ends: bool,
}

impl Drawn {
    async fn new(dice: &mut Dice, ids: &mut Vec<RotationId>, step: u64, memory: &MemoryJournal) -> Drawn {
        let fresh = ids.is_empty() || dice.below(4) == 0;
        let (user, account) = (format!("user-{}", dice.below(2)), dice.one_of(&[None, Some("production")]));
        let begun = start("acme", &user, account, step);
        if fresh {
            ids.push(begun.id);
        }
        let rotation = if fresh { begun.id } else { dice.one_of(ids) };
        let next = memory.read(rotation).await.expect("events").len() as u64 + 1;
        let number = if dice.below(5) == 0 { dice.below(next + 2) } else { next };
        let created = created(&format!("AKIANEW000000000{step:04}"), step);
        let event = match dice.below(8) {
            _ if fresh => begun.event,
            0 => begun.event,
            1..=3 => created,
            _ => probed(step),
        };
        let secret = match dice.below(4) {
            0 | 1 => SecretChange::Keep,
            2 => SecretChange::Seal(Secret::new(format!("secret {step}"))),
            _ => SecretChange::Erase,
        };
        Drawn { rotation, number, event, secret, ends: dice.below(6) == 0 }
    }

    fn entry(&self) -> Entry<'_> {
        let Drawn { rotation, number, event, secret, ends } = self;
        Entry { rotation: *rotation, number: *number, event, secret: secret.clone(), ends: *ends }
    }
}

/// A rotation that begins, with its first event.
struct Begun {
    id: RotationId,
    subject: Subject,
    event: Event,
}

impl Begun {
    fn known(&self) -> KnownRotation {
        let (subject, started_at) = (self.subject.clone(), self.event.at());
        KnownRotation { rotation: self.id, subject, started_at, ended: false }
    }
}

fn start(vendor: &str, iam_user: &str, account: Option<&str>, seconds: u64) -> Begun {
    let subject = Subject {
        vendor: vendor.parse().expect("a vendor"),
        account: account.map(|name| name.parse().expect("an account")),
        iam_user: iam_user.parse().expect("a user"),
    };
    let old: AccessKeyId = "AKIAOLD0000000000001".parse().expect("a key id");
    let event = Event::Started {
        subject: subject.clone(),
        old: old.clone(),
        old_created_at: Timestamp::EPOCH,
        reason: "too_old".to_owned(),
        plan: Plan::default(),
        account_id: None,
        at: at(seconds),
    };
    Begun { id: RotationId::new(&subject, &old, at(seconds)), subject, event }
}

fn created(key: &str, seconds: u64) -> Event {
    Event::Created { key: key.parse().expect("a key id"), at: at(seconds), request_id: None }
}

fn probed(seconds: u64) -> Event {
    Event::Probed { at: at(seconds) }
}

fn at(seconds: u64) -> Timestamp {
    "2026-11-23T03:00:00Z".parse::<Timestamp>().expect("a time") + Duration::from_secs(seconds)
}

async fn open(path: &Path) -> SqliteJournal {
    SqliteJournal::open(path, None, Mode::Drive).await.expect("a journal").with_writer(WRITER)
}

async fn append(
    journal: &dyn Journal,
    rotation: RotationId,
    number: u64,
    event: &Event,
) -> Result<(), JournalError> {
    journal.append(Entry { rotation, number, event, secret: SecretChange::Keep, ends: false }).await
}

async fn keep(journal: &dyn Journal, rotation: RotationId, number: u64, event: &Event) {
    append(journal, rotation, number, event).await.expect("appended");
}

async fn conflict(journal: &dyn Journal, rotation: RotationId, number: u64, event: &Event) {
    let told = append(journal, rotation, number, event).await.expect_err("a conflict");
    let expected = matches!(told, JournalError::Conflict { number: taken, .. } if taken == number);
    assert!(expected, "{told}");
}

async fn ending(journal: &dyn Journal, rotation: RotationId, number: u64, event: &Event) {
    let entry = Entry { rotation, number, event, secret: SecretChange::Erase, ends: true };
    journal.append(entry).await.expect("appended");
}

async fn seal(journal: &dyn Journal, rotation: RotationId, number: u64, key: &str, secret: &str) {
    let (event, secret) = (created(key, number), SecretChange::Seal(Secret::from(secret)));
    journal.append(Entry { rotation, number, event: &event, secret, ends: false }).await.expect("appended");
}

async fn erase(journal: &dyn Journal, rotation: RotationId, number: u64) {
    let event = Event::Verified { by: Verification::Asked, at: at(number) };
    let entry = Entry { rotation, number, event: &event, secret: SecretChange::Erase, ends: false };
    journal.append(entry).await.expect("appended");
}
