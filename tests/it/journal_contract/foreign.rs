//! A journal whose schema another program changed: it is refused before one of its tables is read.

use keyround::journal::{Mode, SqliteJournal};
use keyround::ports::{Entry, Journal as _, JournalError, SecretChange};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::place::{Place, options};
use super::{keep, open, probed, seal, start};

/// What was changed, and the words of the refusal.
const CHANGES: [(&str, &str); 12] = [
    (
        "CREATE TRIGGER keeper BEFORE DELETE ON sealed_secret BEGIN SELECT raise(IGNORE); END",
        "the trigger keeper is not part of a keyround journal",
    ),
    (
        "CREATE TRIGGER copy BEFORE DELETE ON sealed_secret BEGIN UPDATE alert_sink SET memory = hex(old.box); END",
        "the trigger copy is not part of a keyround journal",
    ),
    (
        "ALTER TABLE event RENAME TO event_of_old; CREATE VIEW event AS SELECT * FROM event_of_old WHERE position < 2",
        "the",
    ),
    ("CREATE VIEW notes AS SELECT * FROM event", "the view notes is not part of a keyround journal"),
    ("ALTER TABLE rotation ADD COLUMN notes TEXT", "the table rotation is not what keyround made"),
    ("ALTER TABLE sealed_secret RENAME TO secrets", "the table secrets is not part of a keyround journal"),
    ("ALTER TABLE journal RENAME COLUMN last_tick TO tick", "the table journal is not what keyround made"),
    ("CREATE TABLE milk (litres)", "the table milk is not part of a keyround journal"),
    ("CREATE INDEX by_writer ON event (writer)", "the index by_writer is not part of a keyround journal"),
    ("DROP INDEX rotation_under_way", "the index rotation_under_way is missing"),
    ("DROP TRIGGER event_is_never_deleted", "the trigger event_is_never_deleted is missing"),
    ("ANALYZE", "the table sqlite_stat1 is not part of a keyround journal"),
];

#[tokio::test]
async fn a_journal_with_a_foreign_schema_is_refused_by_all_and_nothing_is_touched() {
    for (change, words) in CHANGES {
        let place = Place::with_history().await;
        place.tell(change).await;
        place.refused_by_all(&format!("another program changed its schema: {words}")).await;
    }
}

#[tokio::test]
async fn a_foreign_name_is_repeated_in_part_and_without_its_control_characters() {
    let place = Place::with_history().await;
    place.tell(&format!("CREATE TABLE \"\u{1b}[2J{}\" (x)", "a".repeat(900))).await;
    let refused = super::place::refusal(&place, Mode::Drive).await.to_string();
    assert!(refused.contains(r"the table \u{1b}[2Jaaa") && refused.len() < 400, "{refused}");
}

#[tokio::test]
async fn an_erase_that_did_nothing_is_an_error_and_nothing_is_appended() {
    // Planted while the journal is open, so that only the erase itself can notice.
    for (planted, words) in [
        ("BEFORE DELETE ON sealed_secret BEGIN SELECT raise(IGNORE)", "0 of 1 rows and 1 are left"),
        (
            "AFTER DELETE ON sealed_secret BEGIN INSERT INTO sealed_secret VALUES (old.rotation, old.number, old.box)",
            "1 of 1 rows and 1 are left",
        ),
    ] {
        let place = Place::new();
        let begun = start("acme", "user-a", None, 0);
        let journal = open(&place.journal()).await;
        keep(&journal, begun.id, 1, &begun.event).await;
        seal(&journal, begun.id, 2, "AKIANEW0000000000001", "canary").await;
        let mut other = options(&place.journal()).connect().await.expect("a connection");
        let planted = AssertSqlSafe(format!("CREATE TRIGGER keeper {planted}; END"));
        sqlx::raw_sql(planted).execute(&mut other).await.expect("planted");
        let entry = Entry {
            rotation: begun.id,
            number: 3,
            event: &probed(3),
            secret: SecretChange::Erase,
            ends: false,
        };
        let refused = journal.append(entry).await.expect_err("the secret stayed");
        assert!(matches!(refused, JournalError::Unusable(_)), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
        assert!(refused.to_string().contains("nothing was appended"), "{refused}");
        assert_eq!(journal.read(begun.id).await.expect("events").len(), 2);
    }
}

#[tokio::test]
async fn a_journal_that_sqlite_copied_or_packed_is_still_a_journal() {
    let place = Place::with_history().await;
    place.tell("VACUUM; REINDEX").await;
    SqliteJournal::open(&place.journal(), None, Mode::Drive).await.expect("the same journal");
    let copy = Place::new();
    place.tell(&format!("VACUUM INTO '{}'", copy.journal().display())).await;
    std::fs::copy(place.file("seal.key"), copy.file("seal.key")).expect("copied");
    let journal = SqliteJournal::open(&copy.journal(), None, Mode::Drive).await.expect("the same journal");
    assert_eq!(journal.verify_history().await.expect("a whole history").0, 3);
}
