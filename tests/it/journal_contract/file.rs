//! What only a journal in a file can promise, and what can happen to the file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use keyround::adapters::journal::{self, Mode, SealKey, SqliteJournal};
use keyround::core::rotation::Event;
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{Journal as _, JournalError};
use sqlx::{ConnectOptions as _, Connection as _, query};

use super::place::{CANARY, Place, mode_of, options, refusal};
use super::{append, at, conflict, ending, erase, keep, open, probed, seal, start};

#[tokio::test]
async fn a_journal_dropped_without_close_keeps_events_secret_and_tick() {
    let place = Place::new();
    let begun = start("acme", "user-a", None, 0);
    let journal = open(&place.journal()).await;
    keep(&journal, begun.id, 1, &begun.event).await;
    seal(&journal, begun.id, 2, "AKIANEW0000000000001", CANARY).await;
    journal.record_tick(at(5)).await.expect("recorded");
    drop(journal);
    let journal = open(&place.journal()).await;
    assert_eq!(journal.read(begun.id).await.expect("events").len(), 2);
    assert_eq!(journal.secret(begun.id).await.expect("an answer"), Some(Secret::from(CANARY)));
    assert_eq!(journal.last_tick().await.expect("an answer"), Some(at(5)));
    keep(&journal, begun.id, 3, &probed(3)).await;
    journal.verify_history().await.expect("a whole history");
}

#[tokio::test]
async fn files_copied_from_an_open_journal_form_a_complete_journal() {
    let (place, copy) = (Place::new(), Place::new());
    let begun = start("acme", "user-a", None, 0);
    let journal = open(&place.journal()).await;
    keep(&journal, begun.id, 1, &begun.event).await;
    for number in 2..=9 {
        keep(&journal, begun.id, number, &probed(number)).await;
        // Copies the files as they are at this moment, while the first process still has them open.
        for name in ["journal.db", "journal.db-wal", "seal.key"] {
            fs::copy(place.file(name), copy.file(name)).expect("copied");
        }
        let survivor = open(&copy.journal()).await;
        assert_eq!(survivor.read(begun.id).await.expect("events").len() as u64, number);
        assert_eq!(survivor.verify_history().await.expect("a whole history").0, number);
        survivor.close().await.expect("closed");
    }
}

#[tokio::test]
async fn a_second_driver_is_refused_with_the_process_id_of_the_first() {
    let place = Place::new();
    let journal = open(&place.journal()).await;
    let refused = refusal(&place, Mode::Drive).await;
    assert!(matches!(refused, JournalError::InUse(_)), "{refused}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("the machine has a name");
    let holder = format!("in use by process {} on {},", std::process::id(), host.trim());
    assert!(refused.to_string().contains(&holder), "{refused}");
    assert!(refused.to_string().contains("status, explain and history work meanwhile"), "{refused}");
    journal.close().await.expect("closed");
    open(&place.journal()).await;
}

#[tokio::test]
async fn an_operator_can_append_and_a_reader_read_beside_a_driver() {
    let place = Place::new();
    let begun = start("acme", "user-a", None, 0);
    let driver = open(&place.journal()).await;
    keep(&driver, begun.id, 1, &begun.event).await;
    let operator = SqliteJournal::open(&place.journal(), None, Mode::Operate).await.expect("an operator");
    let reader = SqliteJournal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    keep(&operator, begun.id, 2, &probed(1)).await;
    conflict(&driver, begun.id, 2, &probed(2)).await;
    keep(&driver, begun.id, 3, &probed(3)).await;
    assert_eq!(reader.read(begun.id).await.expect("events"), [begun.event, probed(1), probed(3)]);
    assert_eq!(reader.verify_history().await.expect("a whole history").0, 3);
    let writer = &reader.history(None, at(1)).await.expect("events")[0].writer;
    assert!(writer.ends_with(&format!(":{}", std::process::id())), "{writer}");
}

#[tokio::test]
async fn an_operator_without_the_seal_key_appends_but_creates_no_journal() {
    let place = Place::new();
    let missing = SqliteJournal::open_without_key(&place.journal()).await.expect_err("there is none");
    assert!(missing.to_string().starts_with("there is no journal at "), "{missing}");
    assert_eq!(place.names(), Vec::<String>::new(), "and none is made");
    let begun = start("acme", "user-a", None, 0);
    let driver = open(&place.journal()).await;
    keep(&driver, begun.id, 1, &begun.event).await;
    let operator = SqliteJournal::open_without_key(&place.journal()).await.expect("an operator");
    let held = Event::Held { until: None, by: "ops".to_owned(), why: "a test".to_owned(), at: at(1) };
    keep(&operator, begun.id, 2, &held).await;
    assert_eq!(driver.read(begun.id).await.expect("events"), [begun.event, held]);
}

#[tokio::test]
async fn a_reader_changes_nothing_and_leaves_nothing_behind() {
    let place = Place::with_history().await;
    let (names, bytes) = (place.names(), place.bytes());
    let begun = start("acme", "user-b", None, 9);
    let reader = SqliteJournal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    let refused = append(&reader, begun.id, 1, &begun.event).await.expect_err("no writer");
    assert!(refused.to_string().contains("nothing was appended"), "{refused}");
    reader.record_tick(at(1)).await.expect_err("no writer");
    assert_eq!(reader.rotations(None).await.expect("rotations").len(), 1);
    reader.close().await.expect("closed");
    assert_eq!((place.names(), place.bytes()), (names, bytes));
}

#[tokio::test]
async fn a_reader_without_the_seal_key_sees_all_but_the_secret() {
    let place = Place::with_history().await;
    let id = start("acme", "user-a", None, 0).id;
    fs::remove_file(place.file("seal.key")).expect("removed");
    let reader = SqliteJournal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    assert_eq!(reader.read(id).await.expect("events").len(), 3);
    let refused = reader.secret(id).await.expect_err("no key");
    assert!(refused.to_string().contains("without its seal key"), "{refused}");
}

#[tokio::test]
async fn a_reader_uses_the_seal_key_for_checks_but_opens_no_secret() {
    let place = Place::with_history().await;
    let id = start("acme", "user-a", None, 0).id;
    let reader = SqliteJournal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    assert!(reader.checks_seal());
    let refused = reader.secret(id).await.expect_err("it only reads");
    assert!(refused.to_string().contains("opened to read"), "{refused}");
}

#[tokio::test]
async fn a_reader_sees_a_missing_journal_as_empty_and_creates_none() {
    let place = Place::new();
    let begun = start("acme", "user-a", None, 0);
    let reader = journal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    assert_eq!(reader.rotations(None).await.expect("rotations"), []);
    append(&*reader, begun.id, 1, &begun.event).await.expect_err("no writer");
    assert_eq!(place.names(), [""; 0]);
    let driver = journal::open(&place.journal(), None, Mode::Drive).await.expect("a driver");
    append(&*driver, begun.id, 1, &begun.event).await.expect("a journal to write to");
    assert!(place.journal().exists());
}

#[tokio::test]
async fn a_reader_opens_a_journal_whose_log_cannot_be_created() {
    let place = Place::with_history().await;
    // On a read-only medium, the files that SQLite shares between processes cannot be created; the folder prevents
    // it here.
    fs::create_dir(place.file("journal.db-wal")).expect("a folder in the way");
    let reader = SqliteJournal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    assert_eq!(reader.verify_history().await.expect("a whole history").0, 3);
    let refused = refusal(&place, Mode::Drive).await;
    assert!(matches!(refused, JournalError::Unavailable(_)), "{refused}");
}

#[tokio::test]
async fn every_journal_file_is_readable_by_its_owner_only() {
    let place = Place::new();
    let path = place.file("deep/er/journal.db");
    let journal = open(&path).await;
    keep(&journal, start("acme", "user-a", None, 0).id, 1, &start("acme", "user-a", None, 0).event).await;
    for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock", "seal.key"] {
        assert_eq!(mode_of(&path.with_file_name(name)), 0o600, "{name}");
    }
    assert_eq!((mode_of(&place.file("deep")), mode_of(&place.file("deep/er"))), (0o700, 0o700));
    journal.close().await.expect("closed");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened to all");
    open(&path).await;
    assert_eq!(mode_of(&path), 0o600);
}

#[tokio::test]
async fn a_secret_is_never_stored_in_clear_and_its_box_is_wiped_on_erase() {
    let (place, journal, id, sealed) = Place::with_box().await;
    assert!(!place.contains(CANARY.as_bytes()));
    assert!(place.contains(&sealed), "the box is somewhere");
    erase(&journal, id, 3).await;
    assert!(!place.contains(&sealed), "nothing of the box is left");
    journal.close().await.expect("closed");
    assert!(!place.contains(CANARY.as_bytes()) && !place.contains(&sealed));
}

#[tokio::test]
async fn a_wrong_seal_key_is_refused() {
    let place = Place::with_history().await;
    for mode in [Mode::Drive, Mode::Operate, Mode::Read] {
        let wrong = Some(SealKey::random());
        let refused = SqliteJournal::open(&place.journal(), wrong, mode).await.expect_err("a wrong key");
        place.untouched(&refused, "sealed with another seal key");
    }
    fs::remove_file(place.file("seal.key")).expect("removed");
    let other = Place::with_history().await;
    fs::copy(other.file("seal.key"), place.file("seal.key")).expect("copied");
    place.untouched(&refusal(&place, Mode::Drive).await, "sealed with another seal key");
}

#[tokio::test]
async fn a_missing_seal_key_is_refused_and_not_created_anew() {
    let place = Place::with_history().await;
    fs::remove_file(place.file("seal.key")).expect("removed");
    for mode in [Mode::Drive, Mode::Operate] {
        place.untouched(&refusal(&place, mode).await, "seal.key is missing");
    }
    assert!(!place.file("seal.key").exists());
}

#[tokio::test]
async fn an_invalid_or_group_readable_seal_key_is_refused() {
    let place = Place::with_history().await;
    fs::set_permissions(place.file("seal.key"), Permissions::from_mode(0o640)).expect("opened to the group");
    place.untouched(&refusal(&place, Mode::Drive).await, "can be read by others than its owner (mode 0640)");
    fs::set_permissions(place.file("seal.key"), Permissions::from_mode(0o600)).expect("closed");
    fs::write(place.file("seal.key"), "c2hvcnQ=\n").expect("written");
    place.untouched(&refusal(&place, Mode::Drive).await, "the seal key has 5 bytes instead of 32");
}

#[tokio::test]
async fn a_seal_key_from_the_configuration_needs_no_file() {
    let place = Place::new();
    let key = || SealKey::from_base64(&Secret::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")).ok();
    let begun = start("acme", "user-a", None, 0);
    let journal = SqliteJournal::open(&place.journal(), key(), Mode::Drive).await.expect("a journal");
    keep(&journal, begun.id, 1, &begun.event).await;
    seal(&journal, begun.id, 2, "AKIANEW0000000000001", CANARY).await;
    journal.close().await.expect("closed");
    let journal = SqliteJournal::open(&place.journal(), key(), Mode::Drive).await.expect("a journal");
    assert_eq!(journal.secret(begun.id).await.expect("an answer"), Some(Secret::from(CANARY)));
    assert!(!place.file("seal.key").exists());
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_refused() {
    let place = Place::new();
    place.put("buy milk\n".repeat(99).as_bytes());
    place.refused_by_all("is not a keyround journal").await;
    fs::remove_file(place.journal()).expect("removed");
    let mut other = options(&place.journal()).create_if_missing(true).connect().await.expect("a database");
    query("CREATE TABLE milk (litres)").execute(&mut other).await.expect("a table");
    other.close().await.expect("closed");
    place.put(&place.bytes());
    place.refused_by_all("is not a keyround journal").await;
}

#[tokio::test]
async fn a_truncated_journal_is_refused() {
    let place = Place::with_history().await;
    let whole = place.bytes();
    for length in [0, 10, 99, 100, 4096, whole.len() - 1] {
        place.put(&whole[..length]);
        place.refused_by_all("is truncated").await;
    }
}

#[tokio::test]
async fn a_damaged_journal_is_refused() {
    let place = Place::with_history().await;
    let mut bytes = place.bytes();
    bytes[4096..].iter_mut().for_each(|byte| *byte = 0xa5);
    place.put(&bytes);
    let refused = refusal(&place, Mode::Drive).await;
    place.untouched(&refused, "is damaged");
}

#[tokio::test]
async fn a_journal_with_an_altered_index_is_refused_to_a_driver() {
    let place = Place::with_history().await;
    // With this index, the vendor would seem to have no rotations.
    let other = "UPDATE sqlite_schema SET sql = replace(sql, '(vendor', '(iam_user') WHERE name = 'rotation_by_vendor'";
    place.tell(&format!("PRAGMA writable_schema = ON; {other}")).await;
    place.untouched(&refusal(&place, Mode::Drive).await, "is damaged");
}

#[tokio::test]
async fn a_journal_locked_by_another_process_is_refused_to_a_reader() {
    let place = Place::with_history().await;
    place.tell("PRAGMA journal_mode = DELETE").await;
    let mut holder = options(&place.journal()).connect().await.expect("a connection");
    query("BEGIN EXCLUSIVE").execute(&mut holder).await.expect("nobody else is here");
    let refused = refusal(&place, Mode::Read).await;
    assert!(matches!(refused, JournalError::Unavailable(_)), "{refused}");
    assert!(refused.to_string().contains("another process is writing to it"), "{refused}");
}

#[tokio::test]
async fn a_journal_without_its_journal_row_is_refused() {
    let place = Place::with_history().await;
    place.tell("DELETE FROM journal").await;
    place.untouched(&refusal(&place, Mode::Drive).await, "a row is missing");
}

#[tokio::test]
async fn a_journal_from_a_newer_version_is_refused() {
    let place = Place::with_history().await;
    place.tell("PRAGMA user_version = 4").await;
    place.refused_by_all("from a newer version of keyround (schema 4, this version knows 3)").await;
}

#[tokio::test]
async fn a_journal_of_an_older_version_is_refused_to_operators_and_readers() {
    let place = Place::with_history().await;
    place.tell("PRAGMA user_version = 0").await;
    for mode in [Mode::Operate, Mode::Read] {
        place.untouched(&refusal(&place, mode).await, "from an older version of keyround");
    }
}

#[tokio::test]
async fn a_write_ahead_log_without_its_journal_is_refused() {
    let place = Place::new();
    let journal = open(&place.journal()).await;
    let log = fs::read(place.file("journal.db-wal")).expect("a log");
    let begun = start("acme", "user-a", None, 0);
    keep(&journal, begun.id, 1, &begun.event).await;
    journal.close().await.expect("closed");
    fs::remove_file(place.journal()).expect("removed");
    fs::write(place.file("journal.db-wal"), [log, vec![1; 32]].concat()).expect("written");
    let refused = refusal(&place, Mode::Drive).await;
    assert!(refused.to_string().contains("its write-ahead log"), "{refused}");
    assert!(!place.journal().exists());
}

#[tokio::test]
async fn an_event_of_an_unknown_kind_is_refused_as_from_a_newer_version() {
    let place = Place::with_history().await;
    let id = start("acme", "user-a", None, 0).id;
    place.tamper("UPDATE event SET body = replace(body, 'probed', 'teleported') WHERE position = 3").await;
    let reader = SqliteJournal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    let refused = reader.read(id).await.expect_err("unknown");
    let words =
        format!("event 3 of rotation {id} cannot be read: it was written by a newer version of keyround");
    assert!(refused.to_string().starts_with(&words), "{refused}");
    assert!(matches!(refused, JournalError::Unusable(_)));
    reader.history(None, Timestamp::EPOCH).await.expect_err("unknown");
}

#[tokio::test]
async fn a_flipped_bit_in_a_stored_event_is_found() {
    let place = Place::with_history().await;
    let mut bytes = place.bytes();
    let reason = bytes.windows(7).position(|text| text == b"too_old").expect("the first event's reason");
    bytes[reason] ^= 1;
    place.put(&bytes);
    place.found("event 1 of the history (event 1 of rotation ").await;
}

#[tokio::test]
async fn tampered_events_heads_and_rotation_entries_are_found() {
    let rotation = start("acme", "user-a", None, 0).id;
    let cut = "UPDATE journal SET events = 2, head = (SELECT hash FROM event WHERE position = 2)";
    let attempts = [
        ("UPDATE event SET writer = 'nobody:1' WHERE position = 2", "event 2 of the history (event 2"),
        ("UPDATE event SET hash = zeroblob(32) WHERE position = 3", "event 3 of the history (event 3"),
        ("UPDATE event SET ends = 1 WHERE position = 1", "event 1 of the history (event 1"),
        ("UPDATE event SET at = at + 1 WHERE position = 3", "filed under another time"),
        ("DELETE FROM sealed_secret; DELETE FROM event WHERE position = 2", "event 2 is missing"),
        (
            "DELETE FROM event WHERE position = 3",
            "event 3 of the history does not fit: the journal should hold 3",
        ),
        (cut, "event 3 of the history does not fit: the journal should hold 2"),
        ("UPDATE journal SET head = zeroblob(32)", "event 3 of the history does not fit"),
        ("UPDATE rotation SET ended = 1", &format!("the entry of rotation {rotation} does not fit")),
        (
            "UPDATE rotation SET iam_user = 'user-b'",
            &format!("the entry of rotation {rotation} does not fit"),
        ),
        (
            "INSERT INTO rotation SELECT id || '0', vendor, account, 'user-b', 0, 0 FROM rotation",
            "the list of rotations does not fit: it has 2, the events name 1",
        ),
    ];
    for (attempt, finding) in attempts {
        let place = Place::with_history().await;
        place.tamper(attempt).await;
        place.found(finding).await;
    }
}

#[tokio::test]
async fn a_journal_that_lost_its_last_event_is_refused_to_a_driver() {
    let place = Place::with_history().await;
    place.tamper("DELETE FROM event WHERE position = 3").await;
    place.untouched(&refusal(&place, Mode::Drive).await, "should hold 3 events and holds 2");
}

#[tokio::test]
async fn stored_events_can_be_neither_updated_nor_deleted() {
    let place = Place::with_history().await;
    let mut connection = options(&place.journal()).connect().await.expect("a connection");
    for mistake in ["UPDATE event SET body = ''", "DELETE FROM event"] {
        let refused = query(mistake).execute(&mut connection).await.expect_err("refused");
        assert!(refused.to_string().contains("the history is append-only"), "{refused}");
    }
}

#[tokio::test]
async fn a_sealed_secret_moved_to_another_rotation_does_not_open() {
    let place = Place::with_history().await;
    let (first, other) = (start("acme", "user-a", None, 0), start("acme", "user-b", None, 1));
    let journal = open(&place.journal()).await;
    keep(&journal, other.id, 1, &other.event).await;
    seal(&journal, other.id, 2, "AKIANEW0000000000001", "another").await;
    let swap = format!(
        "UPDATE sealed_secret SET box = (SELECT box FROM sealed_secret WHERE rotation = '{}')",
        first.id
    );
    place.tell(&swap).await;
    let refused = journal.secret(other.id).await.expect_err("another box");
    assert!(
        refused.to_string().contains(&format!("the sealed secret of rotation {}", other.id)),
        "{refused}"
    );
    assert_eq!(journal.secret(first.id).await.expect("an answer"), Some(Secret::from(CANARY)));
}

#[tokio::test]
async fn two_concurrent_creators_of_a_journal_share_one() {
    let place = Place::new();
    let path = place.journal();
    let operate = || SqliteJournal::open(&path, None, Mode::Operate);
    let (one, other) = tokio::join!(operate(), operate());
    let (one, other) = (one.expect("a journal"), other.expect("the same journal"));
    let begun = start("acme", "user-a", None, 0);
    keep(&one, begun.id, 1, &begun.event).await;
    seal(&one, begun.id, 2, "AKIANEW0000000000001", CANARY).await;
    assert_eq!(other.secret(begun.id).await.expect("an answer"), Some(Secret::from(CANARY)));
    ending(&other, begun.id, 3, &probed(3)).await;
    assert!(place.names().iter().all(|name| !name.contains(".new-")), "{:?}", place.names());
}
