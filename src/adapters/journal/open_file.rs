//! An open journal file, and the state in which this process last verified it.

use std::path::Path;

use sqlx::{Connection as _, SqliteConnection, query_as, query_scalar};

use super::chain::Hash;
use super::failure::Failure;
use super::files::{InstanceLock, SCHEMA};
use super::opening::{self, Patience};
use super::schema::KnownObjects;
use super::seal::SealKey;

/// The connection to a journal file, and what was last verified over it.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) connection: SqliteConnection,
    /// Where the history ended when this process last verified it or appended to it.
    seen: Seen,
    schema: KnownObjects,
    /// Whether erased data may still be in the write-ahead log, because no wipe has succeeded since; a reader can block
    /// it.
    wipe_is_owed: bool,
    /// Dropped after the connection, because fields are dropped in order.
    _lock: Option<InstanceLock>,
}

/// The end of a history that this process verified or wrote.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// SQLite's `data_version`: it changes only when another connection commits.
    others: i64,
    events: u64,
    hash: Hash,
}

impl OpenFile {
    /// `events` and `hash` are the end of the history as the caller has just verified it.
    pub(super) async fn new(
        mut connection: SqliteConnection,
        (events, hash): (u64, Hash),
        lock: Option<InstanceLock>,
    ) -> Result<OpenFile, Failure> {
        // Another process may have written since that verification. Then `others` gets a value that SQLite never
        // reports, so that the next use verifies the history again.
        let others = others(&mut connection).await?;
        let now = end(&mut connection).await?;
        let others = if now == (events, hash.to_vec()) { others } else { i64::MIN };
        // A wipe is owed from the start: a process that was killed, or an operator command, may have left data in the
        // log.
        let seen = Seen { others, events, hash };
        let schema = KnownObjects::of(SCHEMA).await?;
        Ok(OpenFile { connection, seen, schema, wipe_is_owed: true, _lock: lock })
    }

    /// Checks that the history is still the one that this process verified, inside the transaction that will use it. If
    /// another process has written, everything is verified again.
    pub(super) async fn check(
        connection: &mut SqliteConnection,
        seen: &mut CheckedAgain<'_>,
    ) -> Result<(), Failure> {
        let others = others(connection).await?;
        if others == seen.seen.others {
            return Ok(());
        }
        let (events, hash) = opening::check_again(connection, seen.path, seen.schema, seen.seal_key).await?;
        let before = *seen.seen;
        if before.events > 0 && hash_at(connection, before.events).await?.as_deref() != Some(&before.hash) {
            return Err(opening::unusable(
                seen.path,
                &format!(
                    "is not the one that this process wrote: it does not have the same {} events any more, as when an \
                     older copy is put in its place",
                    before.events
                ),
            ));
        }
        *seen.seen = Seen { others, events, hash };
        Ok(())
    }

    /// The connection, and the parameters of [`OpenFile::check`].
    pub(super) fn parts<'a>(
        &'a mut self,
        path: &'a Path,
        seal_key: Option<&'a SealKey>,
    ) -> (&'a mut SqliteConnection, CheckedAgain<'a>) {
        (&mut self.connection, CheckedAgain { path, schema: &self.schema, seal_key, seen: &mut self.seen })
    }

    /// Records that this process moved the end of the history.
    pub(super) fn moved(&mut self, (events, hash): (u64, Hash)) {
        (self.seen.events, self.seen.hash) = (events, hash);
    }

    /// Records that data was erased, which is to be wiped from the disk too.
    pub(super) fn owe_wipe(&mut self) {
        self.wipe_is_owed = true;
    }

    /// Wipes the write-ahead log if a wipe is owed. If a reader blocks it, the wipe stays owed.
    pub(super) async fn wipe_if_owed(&mut self, patience: Patience) {
        if self.wipe_is_owed {
            self.wipe_is_owed = !opening::wipe_write_ahead_log(&mut self.connection, patience).await;
        }
    }
}

impl OpenFile {
    /// Closes the connection, and then releases the lock.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        let OpenFile { connection, _lock: lock, .. } = self;
        let closed = connection.close().await;
        drop(lock);
        closed
    }
}

/// What [`OpenFile::check`] compares, and where it records the result.
pub(super) struct CheckedAgain<'a> {
    path: &'a Path,
    schema: &'a KnownObjects,
    seal_key: Option<&'a SealKey>,
    seen: &'a mut Seen,
}

async fn others(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    query_scalar("PRAGMA data_version").fetch_one(connection).await
}

pub(super) async fn end(connection: &mut SqliteConnection) -> Result<(u64, Vec<u8>), sqlx::Error> {
    let (events, hash): (i64, Vec<u8>) =
        query_as("SELECT events, head FROM journal").fetch_one(connection).await?;
    Ok((events.cast_unsigned(), hash))
}

async fn hash_at(connection: &mut SqliteConnection, position: u64) -> Result<Option<Vec<u8>>, sqlx::Error> {
    query_scalar("SELECT hash FROM event WHERE position = ?")
        .bind(position.cast_signed())
        .fetch_optional(connection)
        .await
}
