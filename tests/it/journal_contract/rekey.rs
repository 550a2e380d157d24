//! A new seal key for a journal that has a history and a sealed secret.

use std::fs;

use keyround::adapters::journal::{self, Mode, OldKey, SealKey, SqliteJournal};
use keyround::core::secret::Secret;
use keyround::ports::{Journal as _, JournalError};

use super::open;
use super::place::{CANARY, Place, mode_of};

fn key(text: &str) -> SealKey {
    SealKey::from_base64(&Secret::from(text)).expect("a key")
}

/// 32 bytes in base64.
const OTHER: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[tokio::test]
async fn after_a_rekey_the_new_seal_key_opens_and_the_old_one_does_not() {
    let (place, journal, id, sealed) = Place::with_box().await;
    journal.close().await.expect("closed");
    drop(journal);
    let before = fs::read_to_string(place.file("seal.key")).expect("a key");
    let done = journal::rekey(&place.journal(), OldKey::Beside, None).await.expect("sealed anew");
    assert_eq!((done.events, done.resealed, done.discarded.len()), (2, 1, 0));
    assert_eq!(done.key_file, Some(place.file("seal.key")));
    assert!(fs::read_to_string(place.file("seal.key")).expect("a key") != before);
    assert_eq!(mode_of(&place.file("seal.key")), 0o600);
    assert!(!place.file("seal.key.next").exists());
    // The box that was sealed with the old key must be gone from the disk.
    let is_there = |bytes: &[u8]| bytes.windows(sealed.len()).any(|part| part == sealed);
    for name in ["journal.db", "journal.db-wal"] {
        assert!(!is_there(&fs::read(place.file(name)).unwrap_or_default()), "{name}");
    }
    let old = SqliteJournal::open(&place.journal(), Some(key(before.trim())), Mode::Drive).await;
    assert!(matches!(old, Err(JournalError::SealKey(_))));
    let journal = open(&place.journal()).await;
    assert_eq!(journal.secret(id).await.expect("an answer"), Some(Secret::from(CANARY)));
    assert_eq!(journal.verify_history().await.expect("a whole history").0, 2);
}

#[tokio::test]
async fn rekey_replaces_the_key_file_by_a_given_key_in_one_step() {
    let (place, journal, id, _) = Place::with_box().await;
    journal.close().await.expect("closed");
    drop(journal);
    let path = place.journal();
    let rekeyed = |old| journal::rekey(&path, old, Some(key(OTHER)));
    let wrong = rekeyed(OldKey::Given(SealKey::random())).await.expect_err("not the journal's");
    assert!(matches!(wrong, JournalError::SealKey(_)), "{wrong}");
    let done = rekeyed(OldKey::Beside).await.expect("sealed anew");
    assert_eq!((done.resealed, done.key_file), (1, None));
    // The second time, the journal already has that key.
    let done = rekeyed(OldKey::Given(SealKey::random())).await.expect("nothing to do");
    assert_eq!((done.events, done.resealed), (2, 0));
    let journal =
        SqliteJournal::open(&place.journal(), Some(key(OTHER)), Mode::Drive).await.expect("it opens");
    assert_eq!(journal.secret(id).await.expect("an answer"), Some(Secret::from(CANARY)));
}

#[tokio::test]
async fn rekey_after_a_lost_seal_key_discards_only_the_sealed_secrets() {
    let (place, journal, id, _) = Place::with_box().await;
    journal.close().await.expect("closed");
    drop(journal);
    let refused = journal::rekey(&place.journal(), OldKey::Lost, None).await.expect_err("it is there");
    assert!(refused.to_string().contains("is not lost"), "{refused}");
    fs::remove_file(place.file("seal.key")).expect("lost");
    fs::remove_file(place.file("seal.key.next")).unwrap_or_default();
    let refused = SqliteJournal::open(&place.journal(), None, Mode::Drive).await.expect_err("no key");
    assert!(refused.to_string().contains("journal rekey --lost"), "{refused}");
    let done = journal::rekey(&place.journal(), OldKey::Lost, None).await.expect("sealed anew");
    assert_eq!((done.events, done.resealed), (2, 0));
    assert_eq!(done.discarded, [(id.to_string(), "acme".to_owned())]);
    let journal = open(&place.journal()).await;
    assert_eq!(journal.secret(id).await.expect("an answer"), None);
    assert_eq!(journal.read(id).await.expect("events").len(), 2);
    assert_eq!(journal.in_flight().await.expect("rotations").len(), 1);
    assert_eq!(journal.verify_history().await.expect("a whole history").0, 2);
}

#[tokio::test]
async fn rekey_is_refused_beside_a_driver_and_for_a_damaged_history() {
    let (place, journal, id, _) = Place::with_box().await;
    let busy = journal::rekey(&place.journal(), OldKey::Beside, None).await.expect_err("somebody drives");
    assert!(matches!(busy, JournalError::InUse(_)), "{busy}");
    assert_eq!(journal.secret(id).await.expect("an answer"), Some(Secret::from(CANARY)));
    journal.close().await.expect("closed");
    drop(journal);
    place.tamper("UPDATE event SET body = replace(body, 'acme', 'evil') WHERE position = 1").await;
    fs::remove_file(place.file("seal.key")).expect("lost");
    let damaged = journal::rekey(&place.journal(), OldKey::Lost, None).await.expect_err("damaged");
    assert!(matches!(damaged, JournalError::Unusable(_)), "{damaged}");
    let nowhere = journal::rekey(&place.file("none.db"), OldKey::Beside, None).await.expect_err("none");
    assert!(matches!(nowhere, JournalError::Unavailable(_)), "{nowhere}");
}
