//! Changing the seal key of a journal.
//!
//! **Invariant:** if the change is interrupted, a key that opens the journal is on disk. A new key that is made here is
//! written to `seal.key.next` before anything is sealed with it, and replaces `seal.key` afterwards.

use std::path::{Path, PathBuf};

use sqlx::{Connection as _, SqliteConnection, query, query_as};

use super::appending::erase_secret;
use super::chain::decode;
use super::failure::{Failure, Operation};
use super::files::{self, Found, InstanceLock};
use super::open_file::OpenFile;
use super::opening::{self, Patience};
use super::verify::verify;
use super::{Mode, SealKey, head, schema, this_process};
use crate::core::ids::RotationId;
use crate::core::rotation::Event;
use crate::ports::JournalError;

/// The key that the journal is sealed with so far.
#[derive(Debug)]
pub enum OldKey {
    /// This key.
    Given(SealKey),
    /// The file `seal.key` beside the journal.
    Beside,
    /// The key is lost: the sealed secrets are discarded, and the history is believed without its seal.
    Lost,
}

/// The result of a change of the seal key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rekeyed {
    /// The number of events in the history. All of them are kept.
    pub events: u64,
    /// The number of secrets that were sealed with the new key.
    pub resealed: usize,
    /// The rotations whose sealed secret was discarded, each with its vendor.
    pub discarded: Vec<(String, String)>,
    /// The path of the new key, if it was made here.
    pub key_file: Option<PathBuf>,
}

/// Seals a journal with another key: `new`, or one that is made here and stored in `seal.key` beside the journal.
///
/// # Errors
///
/// The journal is missing, unusable, unavailable, or in use by another process; or the old key is not the journal's.
/// The journal is then unchanged. If only replacing `seal.key` or closing the journal fails, it may be sealed with the
/// new key already; the next call completes the change.
pub async fn rekey(path: &Path, old: OldKey, new: Option<SealKey>) -> Result<Rekeyed, JournalError> {
    if files::inspect(path)? == Found::Nothing {
        return Err(JournalError::Unavailable(format!("there is no journal at {}", path.display())));
    }
    let lock = InstanceLock::take(path, &this_process())?;
    let is_ours = new.is_none();
    let new = match new {
        Some(key) => key,
        None => files::next_seal_key(path)?,
    };
    let old = match old {
        OldKey::Given(key) => Some(key),
        OldKey::Beside => Some(files::seal_key_of(path)?),
        OldKey::Lost => {
            refuse_what_is_not_lost(path).await?;
            None
        }
    };
    let done = change(path, old.as_ref(), &new).await?;
    let key_file = is_ours.then(|| files::publish_next_seal_key(path)).transpose()?;
    drop(lock);
    Ok(Rekeyed { key_file, ..done })
}

/// Refuses [`OldKey::Lost`] if the file `seal.key` opens the journal: then nothing needs to be discarded.
async fn refuse_what_is_not_lost(path: &Path) -> Result<(), JournalError> {
    let Some(key) = files::readable_seal_key(path) else { return Ok(()) };
    let Ok((connection, _)) = opening::connect(path, Some(&key), Mode::Operate).await else { return Ok(()) };
    close(path, connection).await?;
    Err(JournalError::SealKey(format!(
        "the seal key of {} is not lost: the file seal.key beside it opens it; leave --lost out; nothing was touched",
        path.display()
    )))
}

async fn change(path: &Path, old: Option<&SealKey>, new: &SealKey) -> Result<Rekeyed, JournalError> {
    // A change that was interrupted may have sealed the journal with the new key already.
    if let Ok((connection, (events, _))) = opening::connect(path, Some(new), Mode::Drive).await {
        close(path, connection).await?;
        return Ok(Rekeyed { events, resealed: 0, discarded: Vec::new(), key_file: None });
    }
    let (connection, end) = opening::connect(path, old, Mode::Drive).await?;
    let failed = |failure: Failure| failure.in_words(path, Operation::Appending);
    let mut file = OpenFile::new(connection, end, None).await.map_err(failed)?;
    let done = seal_anew(&mut file.connection, path, old, new).await;
    // The boxes under the old key are wiped from the disk, too.
    file.owe_wipe();
    file.wipe_if_owed(Patience::Some).await;
    let closed = file.close().await;
    let done = done.map_err(failed)?;
    closed.map_err(|error| failed(error.into()))?;
    Ok(done)
}

async fn close(path: &Path, connection: SqliteConnection) -> Result<(), JournalError> {
    connection.close().await.map_err(|error| Failure::from(error).in_words(path, Operation::Appending))
}

/// Seals everything in one transaction, so the journal is sealed either with the old key or with the new one.
async fn seal_anew(
    connection: &mut SqliteConnection,
    path: &Path,
    old: Option<&SealKey>,
    new: &SealKey,
) -> Result<Rekeyed, Failure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if old.is_none() {
        schema::migrate(&mut transaction).await?;
    }
    // An operator command may have appended an event since the journal was opened.
    let (events, _) = match verify(&mut transaction, old).await? {
        Ok(end) => end,
        Err(why) => {
            return Err(opening::unusable(path, &format!("is damaged: {why}; restore it from a backup")));
        }
    };
    let rows: Vec<(String, String, Vec<u8>, String)> = query_as(
        "SELECT rotation, vendor, box, body FROM sealed_secret JOIN event USING (rotation, number) \
         JOIN rotation ON id = rotation ORDER BY rotation",
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut done = Rekeyed { events, resealed: 0, discarded: Vec::new(), key_file: None };
    for (rotation, vendor, sealed, body) in rows {
        let Some(old) = old else {
            erase_secret(&mut transaction, &rotation).await?;
            done.discarded.push((rotation, vendor));
            continue;
        };
        let sealed = sealed_anew(&rotation, &sealed, &body, old, new).ok_or_else(|| {
            opening::unusable(
                path,
                &format!("is damaged: the sealed secret of rotation {rotation} does not open"),
            )
        })?;
        let changed = query("UPDATE sealed_secret SET box = ? WHERE rotation = ?")
            .bind(sealed)
            .bind(&rotation)
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() != 1 {
            let what = format!("did not take the new seal over the secret of rotation {rotation}");
            return Err(opening::unusable(path, &what));
        }
        done.resealed += 1;
    }
    head::begin_anew(&mut transaction, new).await?;
    transaction.commit().await?;
    Ok(done)
}

fn sealed_anew(rotation: &str, sealed: &[u8], body: &str, old: &SealKey, new: &SealKey) -> Option<Vec<u8>> {
    let rotation: RotationId = rotation.parse().ok()?;
    let Ok(Event::Created { key, .. }) = decode(body) else { return None };
    let secret = old.open(rotation, &key, sealed).ok()?;
    Some(new.seal(rotation, &key, &secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::journal::SqliteJournal;
    use crate::ports::Journal as _;

    /// The process ends between the two steps: the journal is sealed with the new key, and `seal.key` is the old one.
    #[tokio::test]
    async fn an_interrupted_rekey_is_completed_by_the_next_rekey() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        let journal = SqliteJournal::open(&path, None, Mode::Drive).await.expect("a journal");
        journal.close().await.expect("closed");
        drop(journal);
        let old = files::seal_key_of(&path).expect("its key");
        let new = files::next_seal_key(&path).expect("a new key");
        change(&path, Some(&old), &new).await.expect("sealed anew");

        let refused = SqliteJournal::open(&path, None, Mode::Drive).await.expect_err("the old key");
        assert!(refused.to_string().contains("journal rekey"), "{refused}");
        let done = rekey(&path, OldKey::Beside, None).await.expect("completed");
        assert_eq!((done.resealed, done.key_file), (0, Some(folder.path().join("seal.key"))));
        assert!(!folder.path().join("seal.key.next").exists());
        SqliteJournal::open(&path, None, Mode::Drive).await.expect("it opens");
    }
}
