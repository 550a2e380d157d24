//! A journal whose schema another program changed: it is refused before one of its tables is read.

use keyround::adapters::journal::{Mode, SqliteJournal};
use keyround::ports::Journal as _;

use super::place::Place;

/// Each change of the schema, and the words of the refusal.
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
async fn a_journal_with_a_foreign_schema_is_refused_and_left_unchanged() {
    for (change, words) in CHANGES {
        let place = Place::with_history().await;
        place.tell(change).await;
        place.refused_by_all(&format!("another program changed its schema: {words}")).await;
    }
}

#[tokio::test]
async fn a_foreign_table_name_is_shown_truncated_and_escaped() {
    let place = Place::with_history().await;
    place.tell(&format!("CREATE TABLE \"\u{1b}[2J{}\" (x)", "a".repeat(900))).await;
    let refused = super::place::refusal(&place, Mode::Drive).await.to_string();
    assert!(refused.contains(r"the table \u{1b}[2Jaaa") && refused.len() < 400, "{refused}");
}

#[tokio::test]
async fn a_journal_vacuumed_or_copied_by_sqlite_still_opens() {
    let place = Place::with_history().await;
    place.tell("VACUUM; REINDEX").await;
    SqliteJournal::open(&place.journal(), None, Mode::Drive).await.expect("the same journal");
    let copy = Place::new();
    place.tell(&format!("VACUUM INTO '{}'", copy.journal().display())).await;
    std::fs::copy(place.file("seal.key"), copy.file("seal.key")).expect("copied");
    let journal = SqliteJournal::open(&copy.journal(), None, Mode::Drive).await.expect("the same journal");
    assert_eq!(journal.verify_history().await.expect("a whole history").0, 3);
}
