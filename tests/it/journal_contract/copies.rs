//! A journal that is copied from SQLite to PostgreSQL and back is the same journal, and its rotation goes on.

use std::path::PathBuf;

use keyround::adapters::journal::{Copied, Place, copy};
use keyround::ports::Recorded;

use super::*;

const CANARY: &str = "canary-of-a-new-key";

/// Everything that the port shows of a journal.
#[derive(Debug, PartialEq)]
struct Content {
    history: Vec<Recorded>,
    rotations: Vec<KnownRotation>,
    in_flight: Vec<KnownRotation>,
    secrets: Vec<Option<Secret>>,
    tick: Option<Timestamp>,
    sinks: Vec<Option<DeliveryState>>,
    end: (u64, String),
}

async fn content(journal: &dyn Journal) -> Content {
    let rotations = journal.rotations(None).await.expect("rotations");
    let (mut secrets, mut sinks) = (Vec::new(), Vec::new());
    for known in &rotations {
        secrets.push(journal.secret(known.rotation).await.expect("an answer"));
    }
    for sink in ["pager", "mail"] {
        sinks.push(journal.sink_memory(&sink.parse().expect("a name")).await.expect("an answer"));
    }
    Content {
        history: journal.history_after(0).await.expect("events"),
        in_flight: journal.in_flight().await.expect("rotations"),
        tick: journal.last_tick().await.expect("an answer"),
        end: journal.verify_history().await.expect("a whole history"),
        rotations,
        secrets,
        sinks,
    }
}

/// A rotation that has ended and one with a sealed secret, more events than a page has, a tick and a sink.
async fn fill(journal: &dyn Journal) -> RotationId {
    let (ended, begun) = (start("acme", "user-a", None, 0), start("zeta", "user-b", Some("production"), 5));
    keep(journal, ended.id, 1, &ended.event).await;
    for number in 2..=300 {
        keep(journal, ended.id, number, &probed(number)).await;
    }
    ending(journal, ended.id, 301, &probed(301)).await;
    keep(journal, begun.id, 1, &begun.event).await;
    seal(journal, begun.id, 2, "AKIANEW0000000000001", CANARY).await;
    journal.record_tick(at(7)).await.expect("recorded");
    let state = DeliveryState::new(3);
    journal.remember_sink(&"pager".parse().expect("a name"), &state).await.expect("remembered");
    begun.id
}

async fn open_file(path: &Path) -> SqliteJournal {
    let opened = SqliteJournal::open(path, Some(database::seal_key()), Mode::Drive).await;
    opened.expect("a journal").with_writer(WRITER)
}

async fn copied(from: &Place, to: &Place) -> Result<Copied, JournalError> {
    copy(from, to, Some(database::seal_key())).await
}

#[tokio::test]
async fn a_journal_is_copied_both_ways_and_its_rotation_goes_on() {
    let (folder, url) = (tempfile::tempdir().expect("a folder"), postgres::database());
    let paths: [PathBuf; 2] = ["first.db", "second.db"].map(|name| folder.path().join(name));
    let (file, base) = (Place::File(paths[0].clone()), Place::Database(Secret::from(url.as_str())));
    let journal = open_file(&paths[0]).await;
    let id = fill(&journal).await;
    let refused = copied(&file, &base).await.expect_err("a driver");
    assert!(matches!(refused, JournalError::InUse(_)), "{refused}");
    let before = content(&journal).await;
    journal.close().await.expect("closed");
    drop(journal);

    let done = copied(&file, &base).await.expect("copied");
    assert_eq!((done.events, done.secrets, &done.head), (303, 1, &before.end.1));
    let journal = database::open(&url, Mode::Drive).await.expect("a journal");
    assert_eq!(content(&journal).await, before);
    assert_eq!(journal.secret(id).await.expect("an answer"), Some(Secret::from(CANARY)));
    erase(&journal, id, 3).await;
    ending(&journal, id, 4, &probed(400)).await;
    let after = content(&journal).await;
    let refused = copied(&base, &Place::File(paths[1].clone())).await.expect_err("a driver");
    assert!(matches!(refused, JournalError::InUse(_)), "{refused}");
    assert!(!paths[1].exists());
    journal.close().await.expect("closed");

    let done = copied(&base, &Place::File(paths[1].clone())).await.expect("copied");
    assert_eq!((done.events, done.secrets), (305, 0));
    let journal = open_file(&paths[1]).await;
    assert_eq!(content(&journal).await, after);
    let next = start("zeta", "user-b", Some("production"), 500);
    keep(&journal, next.id, 1, &next.event).await;
    assert_eq!(open_file(&paths[0]).await.verify_history().await.expect("it is as it was"), before.end);
}

#[tokio::test]
async fn a_copy_needs_an_empty_target_and_a_whole_source() {
    let (folder, url) = (tempfile::tempdir().expect("a folder"), postgres::database());
    let path = folder.path().join("journal.db");
    let (file, base) = (Place::File(path.clone()), Place::Database(Secret::from(url.as_str())));
    let missing = copied(&file, &base).await.expect_err("no source");
    assert!(matches!(missing, JournalError::Unavailable(_)), "{missing}");
    let missing = copied(&base, &file).await.expect_err("no source");
    assert!(matches!(missing, JournalError::Unavailable(_)), "{missing}");
    assert!(!path.exists());
    let journal = open_file(&path).await;
    fill(&journal).await;
    journal.close().await.expect("closed");
    drop(journal);
    // Tables without a history, as `keyround run` makes them, are an empty place.
    database::open(&url, Mode::Drive).await.expect("a journal").close().await.expect("closed");
    copied(&file, &base).await.expect("copied");
    let before = content(&database::open(&url, Mode::Read).await.expect("a reader")).await;
    for (from, to) in [(&file, &base), (&base, &file)] {
        let refused = copied(from, to).await.expect_err("not empty");
        assert!(refused.to_string().contains("is not empty"), "{refused}");
    }
    assert_eq!(content(&database::open(&url, Mode::Read).await.expect("a reader")).await, before);
    // A source that does not verify is not copied.
    postgres::execute(&url, "UPDATE keyround.journal SET events = events - 1");
    let target = Place::File(folder.path().join("copy.db"));
    let refused = copied(&base, &target).await.expect_err("damaged");
    assert!(matches!(refused, JournalError::Unusable(_)), "{refused}");
    let names = std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("copy.db")), "a draft is left");
}
