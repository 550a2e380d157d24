//! The journal in a SQLite file: one machine, one process that drives, any number that look.
//!
//! **Invariant:** an append reads where the rotation stands and adds to it inside one
//! `BEGIN IMMEDIATE` transaction. Without IMMEDIATE, two writers who both read first would have one
//! of them fail in a way that no waiting cures.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection, query, query_as, query_scalar};
use tokio::sync::{Mutex, MutexGuard};

use super::appending::{add, begin, end, erase_secret, standing, store_secret};
use super::chain::{admit, decode, hex, unreadable};
use super::failure::{Doing, Failure};
use super::files::{self, Found, InstanceLock};
use super::verify::verify;
use super::{Mode, SealKey, opening, read_only, this_process};
use crate::alert::Memory;
use crate::ids::{RotationId, SinkName, Subject, VendorName};
use crate::ports::{Entry, Journal, JournalError, Known, Recorded, SecretChange};
use crate::rotation::Event;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A journal in a file.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    writer: String,
    mode: Mode,
    seal_key: Option<SealKey>,
    /// One: SQLite has one writer, and a queue in front of it is better than its own waiting.
    connection: Mutex<SqliteConnection>,
    /// Dropped after the connection.
    _lock: Option<InstanceLock>,
}

/// Where the seal key is.
enum KeyFrom {
    Given(SealKey),
    /// In the file `seal.key` beside the journal.
    Beside,
    /// Out of reach.
    Nowhere,
}

impl SqliteJournal {
    /// Opens the journal at `path`; to drive or operate, it is made if there is none. Without a seal
    /// key, the file `seal.key` beside the journal is used; a reader then opens no secrets.
    ///
    /// # Errors
    ///
    /// The journal is unusable, unavailable, or in use by another process; a reader needs one that
    /// exists.
    pub async fn open(
        path: &Path,
        seal_key: Option<SealKey>,
        mode: Mode,
    ) -> Result<SqliteJournal, JournalError> {
        SqliteJournal::open_with(path, seal_key.map_or(KeyFrom::Beside, KeyFrom::Given), mode).await
    }

    /// Opens a journal that exists, for an operator who cannot read its seal key: what operators say seals nothing.
    ///
    /// # Errors
    ///
    /// The journal is unusable, unavailable, or not there.
    pub async fn open_without_key(path: &Path) -> Result<SqliteJournal, JournalError> {
        SqliteJournal::open_with(path, KeyFrom::Nowhere, Mode::Operate).await
    }

    async fn open_with(path: &Path, key: KeyFrom, mode: Mode) -> Result<SqliteJournal, JournalError> {
        let found = files::inspect(path)?;
        let makes_one = mode != Mode::Read && !matches!(key, KeyFrom::Nowhere);
        if !makes_one && found == Found::Nothing {
            return Err(JournalError::Unavailable(format!("there is no journal at {}", path.display())));
        }
        if found == Found::Nothing {
            files::make_folder(path)?;
        }
        let writer = this_process();
        let lock = match mode {
            Mode::Drive => Some(InstanceLock::take(path, &writer)?),
            Mode::Operate | Mode::Read => None,
        };
        // Looked at again: until it was locked, another process may have made it.
        let found = files::inspect(path)?;
        let seal_key = match (key, mode, found) {
            (KeyFrom::Given(key), _, _) => Some(key),
            (KeyFrom::Nowhere, _, _) | (KeyFrom::Beside, Mode::Read, _) => None,
            (KeyFrom::Beside, Mode::Drive | Mode::Operate, Found::Journal) => Some(files::seal_key_of(path)?),
            (KeyFrom::Beside, Mode::Drive | Mode::Operate, Found::Nothing) => {
                Some(files::seal_key_for_new(path)?)
            }
        };
        if let (Found::Nothing, Some(key)) = (found, &seal_key) {
            opening::create(path, key).await?;
        }
        let connection = opening::connect(path, seal_key.as_ref(), mode).await?;
        if mode != Mode::Read {
            files::keep_to_owner(path)?;
        }
        if mode == Mode::Drive {
            files::sweep_drafts(path);
        }
        let (path, connection) = (path.to_owned(), Mutex::new(connection));
        Ok(SqliteJournal { path, writer, mode, seal_key, connection, _lock: lock })
    }

    /// The same journal, with its events said to be written by `writer` instead of `host:pid`.
    #[must_use]
    pub fn with_writer(self, writer: impl Into<String>) -> SqliteJournal {
        SqliteJournal { writer: writer.into(), ..self }
    }

    /// Closes the file, tidily. Dropping the journal without it loses nothing.
    ///
    /// # Errors
    ///
    /// SQLite could not tidy up.
    pub async fn close(self) -> Result<(), JournalError> {
        let SqliteJournal { path, connection, .. } = self;
        let closed = connection.into_inner().close().await;
        closed.map_err(|error| Failure::from(error).in_words(&path, Doing::Closing))
    }

    fn unread(&self, failure: impl Into<Failure>) -> JournalError {
        failure.into().in_words(&self.path, Doing::Reading)
    }

    async fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.connection.lock().await
    }

    fn seal_key(&self) -> Result<&SealKey, JournalError> {
        self.seal_key.as_ref().ok_or_else(|| {
            JournalError::Unavailable(
                "the journal was opened without its seal key: no secret can be sealed or opened".to_owned(),
            )
        })
    }

    /// What is to be stored for the entry's secret. Sealed before the transaction begins.
    fn sealed(&self, entry: &Entry<'_>) -> Result<Option<Vec<u8>>, JournalError> {
        match (&entry.secret, entry.event) {
            (SecretChange::Seal(secret), Event::Created { key, .. }) => {
                Ok(Some(self.seal_key()?.seal(entry.rotation, key, secret)))
            }
            (SecretChange::Seal(_) | SecretChange::Keep | SecretChange::Erase, _) => Ok(None),
        }
    }

    /// Appends in one transaction. Gives whether a sealed secret was erased.
    async fn append_in(
        &self,
        connection: &mut SqliteConnection,
        entry: &Entry<'_>,
        sealed: Option<Vec<u8>>,
    ) -> Result<bool, Failure> {
        let rotation = entry.rotation.to_string();
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        admit(entry, standing(&mut transaction, &rotation).await?)?;
        if let Event::Started { subject, at, .. } = entry.event {
            begin(&mut transaction, &rotation, subject, *at).await?;
        }
        add(&mut transaction, &rotation, entry, &self.writer).await?;
        let erased = match (&entry.secret, sealed) {
            (_, Some(sealed)) => store_secret(&mut transaction, &rotation, entry.number, &sealed).await?,
            (SecretChange::Erase, None) => erase_secret(&mut transaction, &rotation).await?,
            (SecretChange::Keep | SecretChange::Seal(_), None) => false,
        };
        if entry.ends {
            end(&mut transaction, &rotation).await?;
        }
        transaction.commit().await?;
        Ok(erased)
    }

    fn known(&self, rows: Result<Vec<KnownRow>, sqlx::Error>) -> Result<Vec<Known>, JournalError> {
        let rows = rows.map_err(|error| self.unread(error))?;
        rows.into_iter().map(|row| known(row).ok_or_else(|| self.damaged("a rotation"))).collect()
    }

    fn damaged(&self, what: &str) -> JournalError {
        JournalError::Unusable(format!(
            "the journal {} is damaged: {what} in it is not what keyround writes; restore it from a backup",
            self.path.display()
        ))
    }

    fn recorded(&self, row: RecordedRow) -> Result<Recorded, JournalError> {
        let (position, rotation, number, writer, body, hash) = row;
        let rotation: RotationId = rotation.parse().map_err(|_| self.damaged("a rotation id"))?;
        let (position, number) = (position.cast_unsigned(), number.cast_unsigned());
        let event = decode(&body).map_err(|why| unreadable(rotation, number, &why))?;
        Ok(Recorded { position, rotation, number, writer, event, hash: hex(&hash) })
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        let sealed = self.sealed(&entry)?;
        let mut connection = self.connection().await;
        let appended = self.append_in(&mut connection, &entry, sealed).await;
        let erased = appended.map_err(|failure| failure.in_words(&self.path, Doing::Appending))?;
        if erased {
            opening::wipe_write_ahead_log(&mut connection).await;
        }
        Ok(())
    }

    async fn read(&self, rotation: RotationId) -> Result<Vec<Event>, JournalError> {
        let rows: Vec<(i64, String)> =
            query_as("SELECT number, body FROM event WHERE rotation = ? ORDER BY number")
                .bind(rotation.to_string())
                .fetch_all(&mut *self.connection().await)
                .await
                .map_err(|error| self.unread(error))?;
        (1..)
            .zip(rows)
            .map(|(expected, (number, body))| {
                if number.cast_unsigned() != expected {
                    return Err(
                        self.damaged(&format!("event {expected} of rotation {rotation} is missing, which"))
                    );
                }
                decode(&body).map_err(|why| unreadable(rotation, expected, &why))
            })
            .collect()
    }

    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError> {
        let row: Option<(i64, Vec<u8>, String)> = query_as(
            "SELECT number, box, body FROM sealed_secret JOIN event USING (rotation, number) WHERE rotation = ?",
        )
        .bind(rotation.to_string())
        .fetch_optional(&mut *self.connection().await)
        .await
        .map_err(|error| self.unread(error))?;
        let Some((number, sealed, body)) = row else { return Ok(None) };
        let event = decode(&body).map_err(|why| unreadable(rotation, number.cast_unsigned(), &why))?;
        let opened = match &event {
            Event::Created { key, .. } => self.seal_key()?.open(rotation, key, &sealed).ok(),
            _ => None,
        };
        opened.map(Some).ok_or_else(|| self.damaged(&format!("the sealed secret of rotation {rotation}")))
    }

    async fn in_flight(&self) -> Result<Vec<Known>, JournalError> {
        let rows = query_as(
            "SELECT id, vendor, account, iam_user, started_at, ended FROM rotation WHERE ended = 0 \
             ORDER BY started_at, id",
        )
        .fetch_all(&mut *self.connection().await)
        .await;
        self.known(rows)
    }

    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<Known>, JournalError> {
        let rows = query_as(
            "SELECT id, vendor, account, iam_user, started_at, ended FROM rotation WHERE vendor = ifnull(?, vendor) \
             ORDER BY started_at, id",
        )
        .bind(vendor.map(VendorName::as_str))
        .fetch_all(&mut *self.connection().await)
        .await;
        self.known(rows)
    }

    async fn history(
        &self,
        vendor: Option<&VendorName>,
        since: Timestamp,
    ) -> Result<Vec<Recorded>, JournalError> {
        let rows: Vec<RecordedRow> = query_as(
            "SELECT position, rotation, number, writer, body, hash FROM event JOIN rotation ON id = rotation \
             WHERE vendor = ifnull(?, vendor) AND at >= ? ORDER BY position",
        )
        .bind(vendor.map(VendorName::as_str))
        .bind(since.unix_seconds())
        .fetch_all(&mut *self.connection().await)
        .await
        .map_err(|error| self.unread(error))?;
        rows.into_iter().map(|row| self.recorded(row)).collect()
    }

    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError> {
        let rows: Vec<RecordedRow> = query_as(
            "SELECT position, rotation, number, writer, body, hash FROM event WHERE position > ? ORDER BY position",
        )
        .bind(i64::try_from(position).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.connection().await)
        .await
        .map_err(|error| self.unread(error))?;
        rows.into_iter().map(|row| self.recorded(row)).collect()
    }

    async fn verify_history(&self) -> Result<(u64, String), JournalError> {
        let mut connection = self.connection().await;
        match verify(&mut connection).await.map_err(|failure| self.unread(failure))? {
            Ok((events, hash)) => Ok((events, hex(&hash))),
            Err(why) => Err(JournalError::Unusable(why)),
        }
    }

    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError> {
        let tick: Option<i64> = query_scalar("SELECT last_tick FROM journal")
            .fetch_one(&mut *self.connection().await)
            .await
            .map_err(|error| self.unread(error))?;
        Ok(tick.map(Timestamp::from_unix))
    }

    async fn record_tick(&self, at: Timestamp) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        query("UPDATE journal SET last_tick = max(ifnull(last_tick, 0), ?)")
            .bind(at.unix_seconds())
            .execute(&mut *self.connection().await)
            .await
            .map_err(|error| Failure::from(error).in_words(&self.path, Doing::RecordingTick))?;
        Ok(())
    }

    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<Memory>, JournalError> {
        let memory: Option<String> = query_scalar("SELECT memory FROM alert_sink WHERE name = ?")
            .bind(sink.as_str())
            .fetch_optional(&mut *self.connection().await)
            .await
            .map_err(|error| self.unread(error))?;
        let read = |memory: String| serde_json::from_str(&memory);
        memory.map(read).transpose().map_err(|_| self.damaged("what a sink was told"))
    }

    async fn remember_sink(&self, sink: &SinkName, memory: &Memory) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        let memory = serde_json::to_string(memory).expect("a memory has nothing that JSON cannot say");
        query("INSERT INTO alert_sink (name, memory) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET memory = excluded.memory")
            .bind(sink.as_str())
            .bind(memory)
            .execute(&mut *self.connection().await)
            .await
            .map_err(|error| Failure::from(error).in_words(&self.path, Doing::RememberingSink))?;
        Ok(())
    }
}

type KnownRow = (String, String, Option<String>, String, i64, bool);
type RecordedRow = (i64, String, i64, String, String, Vec<u8>);

fn known((id, vendor, account, iam_user, started_at, ended): KnownRow) -> Option<Known> {
    let account = account.map(|name| name.parse().ok()).map_or(Some(None), |name| name.map(Some))?;
    let subject = Subject { vendor: vendor.parse().ok()?, account, iam_user: iam_user.parse().ok()? };
    let started_at = Timestamp::from_unix(started_at);
    Some(Known { rotation: id.parse().ok()?, subject, started_at, ended })
}
