//! The journal in a SQLite file: one machine, one process that drives rotations, any number of readers.
//!
//! **Invariant:** an append reads the last event number of its rotation and inserts the next one inside one `BEGIN
//! IMMEDIATE` transaction. Without IMMEDIATE, of two writers that both read first, one would fail with an error that
//! waiting and retrying the statement cannot resolve.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection, query, query_as, query_scalar};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::appending::{add, begin, end, erase_secret, standing, store_secret};
use super::chain::{admit, hex};
use super::failure::{Failure, Operation};
use super::files::{self, Found, InstanceLock};
use super::open_file::{self, OpenFile};
use super::opening::Patience;
use super::stored::{self, KnownRow, RecordedRow, Stored};
use super::verify::verify;
use super::{Mode, SealKey, head, opening, read_only, this_process};
use crate::core::alert::DeliveryState;
use crate::core::ids::{RotationId, SinkName, VendorName};
use crate::core::rotation::Event;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Entry, Journal, JournalError, KnownRotation, Recorded, SecretChange};

/// A journal in a SQLite file.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    writer: String,
    mode: Mode,
    seal_key: Option<SealKey>,
    /// Whether a reader found the seal key by itself. It then verifies the history with the key, but opens no secret.
    only_checks: bool,
    /// One connection behind a mutex: SQLite allows one writer, and a queue here is better than SQLite's own waiting.
    /// `None` after the journal is closed.
    file: Mutex<Option<OpenFile>>,
}

/// Where the seal key comes from.
enum KeyFrom {
    Given(SealKey),
    /// In the file `seal.key` beside the journal.
    Beside,
    /// Not readable by this user.
    Nowhere,
}

impl SqliteJournal {
    /// Opens the journal at `path`; in the modes Drive and Operate it is created if it is missing. If `seal_key` is
    /// `None`, the file `seal.key` beside the journal is used; a reader then cannot open secrets.
    ///
    /// # Errors
    ///
    /// The journal is unusable, unavailable, or in use by another process. In [`Mode::Read`], a missing journal is an
    /// error.
    pub async fn open(
        path: &Path,
        seal_key: Option<SealKey>,
        mode: Mode,
    ) -> Result<SqliteJournal, JournalError> {
        SqliteJournal::open_with(path, seal_key.map_or(KeyFrom::Beside, KeyFrom::Given), mode).await
    }

    /// Opens an existing journal for an operator command whose user cannot read the seal key. Such a command seals no
    /// secret.
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
        // Inspected again: another process may have created the journal before this one took the lock.
        let found = files::inspect(path)?;
        let seal_key = match (key, mode, found) {
            (KeyFrom::Given(key), _, _) => Some(key),
            (KeyFrom::Nowhere, _, _) => None,
            // Reading needs no key, but with the key the seal over the history can be verified too.
            (KeyFrom::Beside, Mode::Read, _) => return SqliteJournal::open_to_read(path, writer).await,
            (KeyFrom::Beside, Mode::Drive | Mode::Operate, Found::Journal) => Some(files::seal_key_of(path)?),
            (KeyFrom::Beside, Mode::Drive | Mode::Operate, Found::Nothing) => {
                Some(files::seal_key_for_new(path)?)
            }
        };
        if let (Found::Nothing, Some(key)) = (found, &seal_key) {
            opening::create(path, key).await?;
        }
        SqliteJournal::connect(path, writer, mode, seal_key, lock).await
    }

    /// Opens a reader with the seal key beside the journal if the file is readable and fits; otherwise without a key.
    async fn open_to_read(path: &Path, writer: String) -> Result<SqliteJournal, JournalError> {
        let Some(seal_key) = files::readable_seal_key(path) else {
            return SqliteJournal::connect(path, writer, Mode::Read, None, None).await;
        };
        match SqliteJournal::connect(path, writer.clone(), Mode::Read, Some(seal_key), None).await {
            Err(JournalError::SealKey(_)) => {
                SqliteJournal::connect(path, writer, Mode::Read, None, None).await
            }
            opened => opened.map(|journal| SqliteJournal { only_checks: true, ..journal }),
        }
    }

    async fn connect(
        path: &Path,
        writer: String,
        mode: Mode,
        seal_key: Option<SealKey>,
        lock: Option<InstanceLock>,
    ) -> Result<SqliteJournal, JournalError> {
        let (connection, end) = opening::connect(path, seal_key.as_ref(), mode).await?;
        if mode != Mode::Read {
            files::keep_to_owner(path)?;
        }
        if mode == Mode::Drive {
            files::sweep_drafts(path);
        }
        let file = OpenFile::new(connection, end, lock).await;
        let mut file = file.map_err(|failure| failure.in_words(path, Operation::Opening))?;
        if mode == Mode::Drive {
            file.wipe_if_owed(Patience::None).await;
        }
        let (path, file) = (path.to_owned(), Mutex::new(Some(file)));
        Ok(SqliteJournal { path, writer, mode, seal_key, only_checks: false, file })
    }

    /// The same journal, with `writer` recorded as the writer of its events instead of `host:pid`.
    #[must_use]
    pub fn with_writer(self, writer: impl Into<String>) -> SqliteJournal {
        SqliteJournal { writer: writer.into(), ..self }
    }

    fn unread(&self, failure: impl Into<Failure>) -> JournalError {
        failure.into().in_words(&self.path, Operation::Reading)
    }

    async fn file(&self) -> Result<MappedMutexGuard<'_, OpenFile>, JournalError> {
        MutexGuard::try_map(self.file.lock().await, Option::as_mut).map_err(|_| {
            JournalError::Unavailable(format!(
                "the journal {} is closed: keyround is stopping",
                self.path.display()
            ))
        })
    }

    async fn connection(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, JournalError> {
        Ok(MappedMutexGuard::map(self.file().await?, |file| &mut file.connection))
    }

    /// The key that seals and opens secrets. Fails if this journal was opened without it, or only to verify with it.
    fn seal_key(&self) -> Result<&SealKey, JournalError> {
        if self.only_checks {
            let why = "the journal was opened to read: no secret can be sealed or opened";
            return Err(JournalError::Unavailable(why.to_owned()));
        }
        self.seal_key.as_ref().ok_or_else(|| {
            JournalError::Unavailable(
                "the journal was opened without its seal key: no secret can be sealed or opened".to_owned(),
            )
        })
    }

    /// Appends in one transaction. Returns whether a sealed secret was erased.
    async fn append_in(
        &self,
        file: &mut OpenFile,
        entry: &Entry<'_>,
        sealed: Option<Vec<u8>>,
    ) -> Result<bool, Failure> {
        let rotation = entry.rotation.to_string();
        let (connection, mut checked) = file.parts(&self.path, self.seal_key.as_ref());
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        OpenFile::check(&mut transaction, &mut checked).await?;
        admit(entry, standing(&mut transaction, &rotation).await?)?;
        if let Some(subject) = entry.event.begins() {
            begin(&mut transaction, &rotation, subject, entry.event.at()).await?;
        }
        let end_of_history = add(&mut transaction, &rotation, entry, &self.writer).await?;
        let erased = match (&entry.secret, sealed) {
            (_, Some(sealed)) => store_secret(&mut transaction, &rotation, entry.number, &sealed).await?,
            (SecretChange::Erase, None) => erase_secret(&mut transaction, &rotation).await?,
            (SecretChange::Keep | SecretChange::Seal(_), None) => false,
        };
        if entry.ends {
            end(&mut transaction, &rotation).await?;
        }
        if let Some(seal_key) = &self.seal_key {
            head::seal(&mut transaction, seal_key).await?;
        }
        transaction.commit().await?;
        file.moved(end_of_history);
        Ok(erased)
    }

    /// Reads the events of a rotation. When rotations are driven, the same transaction checks that the journal can be
    /// believed, because the rotation is driven by these events.
    async fn read_in(
        &self,
        file: &mut OpenFile,
        rotation: RotationId,
    ) -> Result<Vec<(i64, String)>, Failure> {
        let (connection, mut checked) = file.parts(&self.path, self.seal_key.as_ref());
        let mut transaction = connection.begin().await?;
        let rows = query_as("SELECT number, body FROM event WHERE rotation = ? ORDER BY number")
            .bind(rotation.to_string())
            .fetch_all(&mut *transaction)
            .await?;
        if self.mode == Mode::Drive {
            OpenFile::check(&mut transaction, &mut checked).await?;
        }
        Ok(rows)
    }

    fn stored(&self) -> Stored<impl Display + '_> {
        Stored { journal: self.path.display() }
    }

    fn known(&self, rows: Result<Vec<KnownRow>, sqlx::Error>) -> Result<Vec<KnownRotation>, JournalError> {
        self.stored().known(rows.map_err(|error| self.unread(error))?)
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        // Sealing happens before the transaction begins.
        let sealed = stored::sealed(&entry, || self.seal_key())?;
        let mut file = self.file().await?;
        let appended = self.append_in(&mut file, &entry, sealed).await;
        let erased = appended.map_err(|failure| failure.in_words(&self.path, Operation::Appending))?;
        if erased {
            file.owe_wipe();
        }
        file.wipe_if_owed(Patience::None).await;
        Ok(())
    }

    async fn read(&self, rotation: RotationId) -> Result<Vec<Event>, JournalError> {
        let mut file = self.file().await?;
        let rows = self.read_in(&mut file, rotation).await.map_err(|failure| self.unread(failure))?;
        self.stored().events(rotation, rows)
    }

    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError> {
        let row: Option<(i64, Vec<u8>, String)> = query_as(
            "SELECT number, box, body FROM sealed_secret JOIN event USING (rotation, number) WHERE rotation = ?",
        )
        .bind(rotation.to_string())
        .fetch_optional(&mut *self.connection().await?)
        .await
        .map_err(|error| self.unread(error))?;
        let Some(row) = row else { return Ok(None) };
        self.stored().secret(rotation, row, self.seal_key()?).map(Some)
    }

    async fn in_flight(&self) -> Result<Vec<KnownRotation>, JournalError> {
        let rows = query_as(
            "SELECT id, vendor, account, iam_user, started_at, ended FROM rotation WHERE ended = 0 \
             ORDER BY started_at, id",
        )
        .fetch_all(&mut *self.connection().await?)
        .await;
        self.known(rows)
    }

    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<KnownRotation>, JournalError> {
        let rows = query_as(
            "SELECT id, vendor, account, iam_user, started_at, ended FROM rotation WHERE vendor = ifnull(?, vendor) \
             ORDER BY started_at, id",
        )
        .bind(vendor.map(VendorName::as_str))
        .fetch_all(&mut *self.connection().await?)
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
        .fetch_all(&mut *self.connection().await?)
        .await
        .map_err(|error| self.unread(error))?;
        self.stored().recorded(rows)
    }

    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError> {
        let rows: Vec<RecordedRow> = query_as(
            "SELECT position, rotation, number, writer, body, hash FROM event WHERE position > ? ORDER BY position",
        )
        .bind(i64::try_from(position).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.connection().await?)
        .await
        .map_err(|error| self.unread(error))?;
        self.stored().recorded(rows)
    }

    async fn verify_history(&self) -> Result<(u64, String), JournalError> {
        let mut connection = self.connection().await?;
        match verify(&mut connection, self.seal_key.as_ref()).await.map_err(|failure| self.unread(failure))? {
            Ok((events, hash)) => Ok((events, hex(&hash))),
            Err(why) => Err(JournalError::Unusable(why)),
        }
    }

    fn checks_seal(&self) -> bool {
        self.seal_key.is_some()
    }

    async fn head(&self) -> Result<(u64, String), JournalError> {
        let mut connection = self.connection().await?;
        let (events, hash) = open_file::end(&mut connection).await.map_err(|error| self.unread(error))?;
        Ok((events, hex(&hash)))
    }

    async fn tend(&self) {
        if self.mode == Mode::Read {
            return;
        }
        if let Ok(mut file) = self.file().await {
            file.wipe_if_owed(Patience::None).await;
        }
    }

    async fn close(&self) -> Result<(), JournalError> {
        let Some(mut file) = self.file.lock().await.take() else { return Ok(()) };
        if self.mode != Mode::Read {
            file.owe_wipe();
            file.wipe_if_owed(Patience::Some).await;
        }
        // Closing the last connection makes SQLite remove the write-ahead log. The instance lock is released after
        // that.
        let closed = file.close().await;
        closed.map_err(|error| Failure::from(error).in_words(&self.path, Operation::Closing))
    }

    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError> {
        let tick: Option<i64> = query_scalar("SELECT last_tick FROM journal")
            .fetch_one(&mut *self.connection().await?)
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
            .execute(&mut *self.connection().await?)
            .await
            .map_err(|error| Failure::from(error).in_words(&self.path, Operation::RecordingTick))?;
        Ok(())
    }

    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<DeliveryState>, JournalError> {
        let memory: Option<String> = query_scalar("SELECT memory FROM alert_sink WHERE name = ?")
            .bind(sink.as_str())
            .fetch_optional(&mut *self.connection().await?)
            .await
            .map_err(|error| self.unread(error))?;
        self.stored().sink_memory(memory)
    }

    async fn remember_sink(&self, sink: &SinkName, memory: &DeliveryState) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        let memory = serde_json::to_string(memory).expect("a memory has nothing that JSON cannot say");
        query("INSERT INTO alert_sink (name, memory) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET memory = excluded.memory")
            .bind(sink.as_str())
            .bind(memory)
            .execute(&mut *self.connection().await?)
            .await
            .map_err(|error| Failure::from(error).in_words(&self.path, Operation::RememberingSink))?;
        Ok(())
    }
}
