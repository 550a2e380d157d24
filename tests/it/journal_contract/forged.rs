//! A history that was written without the seal key, and the sealed secrets that concurrent readers leave on the disk.

use std::fs;
use std::process::Command;

use keyround::adapters::journal::{Mode, SqliteJournal};
use keyround::core::rotation::Event;
use keyround::core::time::Timestamp;
use keyround::ports::{Journal as _, JournalError};
use sqlx::{AssertSqlSafe, ConnectOptions as _, query, query_scalar, raw_sql};

use super::place::{Place, options, refusal};
use super::{append, at, erase, keep, open, probed, start};

/// Appends the beginning of a rotation whose plan has only spans of zero, with every hash recomputed.
const FORGE: &str = r#"
import hashlib, json, sqlite3, struct, sys
db = sqlite3.connect(sys.argv[1])
events, head = db.execute("SELECT events, head FROM journal").fetchone()
body = json.loads(db.execute("SELECT body FROM event WHERE number = 1").fetchone()[0])
body["plan"] = {key: 0 if isinstance(value, int) and not isinstance(value, bool) else value for key, value in body["plan"].items()}
body["subject"]["iam_user"], rotation = "user-z", sys.argv[2]
text, place = json.dumps(body, separators=(",", ":")), events + 1
framed = b"".join(struct.pack(">Q", len(part)) + part for part in (rotation.encode(), b"host:1", text.encode()))
hashed = hashlib.sha256(b"keyround history 1\n" + head + struct.pack(">QQB", place, 1, 0) + framed).digest()
at = db.execute("SELECT at FROM event WHERE number = 1").fetchone()[0]
db.execute("INSERT INTO rotation VALUES (?, ?, NULL, 'user-z', ?, 0)", (rotation, body["subject"]["vendor"], at))
db.execute("INSERT INTO event VALUES (?, ?, 1, ?, 'host:1', 0, ?, ?)", (place, rotation, at, text, hashed))
db.execute("UPDATE journal SET events = ?, head = ?", (place, hashed))
db.commit()
"#;

fn forge(place: &Place, rotation: &str) {
    let forged = Command::new("python3")
        .args(["-c", FORGE])
        .arg(place.journal())
        .arg(rotation)
        .output()
        .expect("Python is there");
    assert!(forged.status.success(), "{}", String::from_utf8_lossy(&forged.stderr));
}

#[tokio::test]
async fn a_forged_event_with_valid_hashes_is_refused_without_a_seal() {
    let place = Place::with_history().await;
    let forged = start("acme", "user-z", None, 0).id;
    forge(&place, &forged.to_string());
    place.put(&place.bytes());
    let words = "event 4 of the history was appended without the seal key";
    for mode in [Mode::Drive, Mode::Operate] {
        place.untouched(&refusal(&place, mode).await, words);
    }
    place.found(words).await;
    // Without the key only the hash chain can be checked, and the forged chain is consistent.
    fs::remove_file(place.file("seal.key")).expect("removed");
    let reader = SqliteJournal::open(&place.journal(), None, Mode::Read).await.expect("a reader");
    assert!(!reader.checks_seal());
    assert_eq!(reader.verify_history().await.expect("the hashes fit").0, 4);
}

#[tokio::test]
async fn a_history_forged_beneath_a_driver_is_refused_on_read_and_append() {
    let place = Place::with_history().await;
    let ours = start("acme", "user-a", None, 0).id;
    let forged = start("acme", "user-z", None, 0).id;
    let journal = open(&place.journal()).await;
    keep(&journal, ours, 4, &probed(4)).await;
    forge(&place, &forged.to_string());
    for refused in [
        journal.read(forged).await.expect_err("forged"),
        append(&journal, ours, 5, &probed(5)).await.expect_err("forged"),
        append(&journal, forged, 2, &probed(5)).await.expect_err("forged"),
    ] {
        assert!(matches!(refused, JournalError::Unusable(_)), "{refused}");
        assert!(refused.to_string().contains("was appended without the seal key"), "{refused}");
    }
    journal.verify_history().await.expect_err("forged");
}

#[tokio::test]
async fn a_history_rolled_back_beneath_a_driver_is_refused() {
    let place = Place::with_history().await;
    let ours = start("acme", "user-a", None, 0).id;
    let copy = Place::new();
    place.tell(&format!("VACUUM INTO '{}'", copy.journal().display())).await;
    let journal = open(&place.journal()).await;
    keep(&journal, ours, 4, &probed(4)).await;
    let back = format!(
        "PRAGMA foreign_keys = OFF; ATTACH '{}' AS old; \
         UPDATE journal SET events = 3, head = (SELECT head FROM old.journal); \
         UPDATE head_seal SET events = 3, code = (SELECT code FROM old.head_seal); \
         DROP TRIGGER event_is_never_deleted; DELETE FROM event WHERE position = 4; \
         CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event\nBEGIN\n    \
         SELECT raise(ABORT, 'the history is append-only');\nEND",
        copy.journal().display()
    );
    let mut other = options(&place.journal()).connect().await.expect("a connection");
    raw_sql(AssertSqlSafe(back)).execute(&mut other).await.expect("done");
    let refused = journal.read(ours).await.expect_err("an older past");
    assert!(refused.to_string().contains("does not have the same 4 events any more"), "{refused}");
}

#[tokio::test]
async fn a_missing_or_altered_head_seal_is_refused() {
    for (attempt, words) in [
        ("DELETE FROM head_seal", "a row is missing"),
        ("UPDATE head_seal SET code = zeroblob(32)", "the seal over its first 3 events does not fit"),
        ("UPDATE head_seal SET events = 2", "the seal over its first 2 events does not fit"),
        ("UPDATE head_seal SET events = 0", "the seal over its first 0 events does not fit"),
        ("UPDATE head_seal SET events = 9", "the seal over its first 9 events does not fit"),
        (
            "DROP TABLE head_seal; DELETE FROM _sqlx_migrations WHERE version = 3; PRAGMA user_version = 2",
            "the seal over the end of its history was taken away",
        ),
    ] {
        let place = Place::with_history().await;
        place.tell(attempt).await;
        place.untouched(&refusal(&place, Mode::Drive).await, words);
    }
}

#[tokio::test]
async fn an_operator_event_without_the_seal_key_is_accepted_and_then_sealed() {
    let place = Place::with_history().await;
    let id = start("acme", "user-a", None, 0).id;
    let sealed = async || -> i64 {
        let mut connection = options(&place.journal()).connect().await.expect("a connection");
        query_scalar("SELECT events FROM head_seal").fetch_one(&mut connection).await.expect("a seal")
    };
    let operator = SqliteJournal::open_without_key(&place.journal()).await.expect("an operator");
    let held = Event::Held { until: None, by: "ops".to_owned(), why: "a test".to_owned(), at: at(4) };
    keep(&operator, id, 4, &held).await;
    operator.close().await.expect("closed");
    assert_eq!(sealed().await, 3);
    let journal = open(&place.journal()).await;
    journal.verify_history().await.expect("what an operator may say");
    keep(&journal, id, 5, &Event::Resumed { by: "ops".to_owned(), at: at(5) }).await;
    assert_eq!(sealed().await, 5);
    journal.close().await.expect("closed");

    let operator = SqliteJournal::open_without_key(&place.journal()).await.expect("an operator");
    keep(&operator, id, 6, &probed(6)).await;
    operator.close().await.expect("closed");
    let refused = refusal(&place, Mode::Drive).await.to_string();
    assert!(refused.contains("event 6 of the history was appended without the seal key"), "{refused}");
}

#[tokio::test]
async fn an_erased_secret_kept_by_a_reader_is_wiped_after_the_reader_ends() {
    let (place, journal, id, sealed) = Place::with_box().await;
    let mut reader = place.reader_in_the_way().await;
    let begun_at = std::time::Instant::now();
    erase(&journal, id, 3).await;
    assert!(begun_at.elapsed().as_secs() < 2, "an append does not wait for a reader");
    journal.tend().await;
    assert!(place.contains(&sealed), "the reader still sees it");
    query("COMMIT").execute(&mut reader).await.expect("the reader is done");
    journal.tend().await;
    assert!(!place.contains(&sealed), "nothing of the box is left, and nothing else was appended");
}

#[tokio::test]
async fn an_overdue_wipe_is_done_by_the_next_append_or_the_next_open() {
    for next in ["an append", "a start"] {
        let (place, journal, id, sealed) = Place::with_box().await;
        let mut reader = place.reader_in_the_way().await;
        erase(&journal, id, 3).await;
        query("COMMIT").execute(&mut reader).await.expect("the reader is done");
        assert!(place.contains(&sealed), "{next}");
        let _journal = if next == "an append" {
            keep(&journal, id, 4, &probed(4)).await;
            journal
        } else {
            drop(journal);
            open(&place.journal()).await
        };
        assert!(!place.contains(&sealed), "{next}");
    }
}

#[tokio::test]
async fn a_closed_journal_leaves_no_log_files_and_refuses_further_calls() {
    let place = Place::new();
    let begun = start("acme", "user-a", None, 0);
    let journal = open(&place.journal()).await;
    keep(&journal, begun.id, 1, &begun.event).await;
    journal.close().await.expect("closed");
    assert_eq!(place.names(), ["journal.db", "journal.db.lock", "seal.key"]);
    let refused = append(&journal, begun.id, 2, &probed(2)).await.expect_err("closed");
    assert!(matches!(&refused, JournalError::Unavailable(why) if why.contains("is closed")), "{refused}");
    journal.history(None, Timestamp::EPOCH).await.expect_err("closed");
    journal.tend().await;
    journal.close().await.expect("it is closed already");
    // The lock is released although the value still exists.
    assert_eq!(open(&place.journal()).await.read(begun.id).await.expect("events").len(), 1);
}
