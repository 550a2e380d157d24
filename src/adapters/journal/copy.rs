//! Copying a journal into an empty one, from SQLite to PostgreSQL, back, or between two of a kind.
//!
//! The rows are copied as they are: positions, hashes, writers, sealed secrets, delivery states, the last pass and the
//! seal. So the copy has the same chain, and the same seal key opens it.
//!
//! **Invariant:** nothing is appended to the source meanwhile: its drive lock is held, and one transaction locks it.
//!
//! **Invariant:** the target gets everything in one transaction, which is committed only after the copy was verified.

use std::path::PathBuf;

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection, query, query_as};

use super::chain::hex;
use super::failure::{Failure, Operation};
use super::files::{self, Draft, Found, InstanceLock};
use super::postgres::{PostgresSource, PostgresTarget};
use super::stored::KnownRow;
use super::verify::{ChainRow, PAGE_ROWS, Verdict, verify_within};
use super::{Mode, SealKey, opening, schema, this_process};
use crate::core::secret::Secret;
use crate::ports::JournalError;

/// Where a journal is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// The PostgreSQL database with this URL.
    Database(Secret),
}

/// What was copied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Copied {
    /// The number of events in the history.
    pub events: u64,
    /// The last hash of the history, in both journals.
    pub head: String,
    /// The number of sealed secrets.
    pub secrets: usize,
}

/// The row of `journal` and the seal over the head.
#[derive(Debug)]
pub(super) struct HeadRow {
    pub(super) seal_salt: Vec<u8>,
    pub(super) seal_check: Vec<u8>,
    pub(super) events: i64,
    pub(super) head: Vec<u8>,
    pub(super) sealed_events: i64,
    pub(super) head_code: Vec<u8>,
    pub(super) last_tick: Option<i64>,
}

/// A sealed secret: its rotation, the number of its event, and its box.
pub(super) type SecretRow = (String, i64, Vec<u8>);
/// The name of a sink, and its delivery state.
pub(super) type SinkRow = (String, String);

/// The rows of a journal that is locked.
#[async_trait]
pub(super) trait Source: Send {
    async fn head(&mut self) -> Result<HeadRow, JournalError>;
    async fn rotations(&mut self) -> Result<Vec<KnownRow>, JournalError>;
    /// The next events after that position; empty at the end.
    async fn events_after(&mut self, position: i64) -> Result<Vec<ChainRow>, JournalError>;
    async fn secrets(&mut self) -> Result<Vec<SecretRow>, JournalError>;
    async fn sinks(&mut self) -> Result<Vec<SinkRow>, JournalError>;
}

/// An empty journal that is being filled. What was put is dropped unless [`Target::commit`] succeeds.
#[async_trait]
pub(super) trait Target: Send {
    async fn put_head(&mut self, head: &HeadRow) -> Result<(), JournalError>;
    async fn put_rotations(&mut self, rows: Vec<KnownRow>) -> Result<(), JournalError>;
    async fn put_events(&mut self, rows: Vec<ChainRow>) -> Result<(), JournalError>;
    async fn put_secrets(&mut self, rows: Vec<SecretRow>) -> Result<(), JournalError>;
    async fn put_sinks(&mut self, rows: Vec<SinkRow>) -> Result<(), JournalError>;
    async fn verify(&mut self, seal_key: &SealKey) -> Result<Verdict, JournalError>;
    async fn commit(self: Box<Self>) -> Result<(), JournalError>;
}

/// Copies a journal into one that must be empty, and verifies the copy. `seal_key`: the key of the source; `None`: the
/// file `seal.key` beside it.
///
/// # Errors
///
/// The source is missing, unusable, unavailable or in use; the target is not empty, unavailable or in use; or the copy
/// does not verify. The source is unchanged, and the target too unless the error says otherwise.
pub async fn copy(from: &Place, to: &Place, seal_key: Option<SealKey>) -> Result<Copied, JournalError> {
    let seal_key = match (seal_key, from) {
        (Some(key), _) => key,
        (None, Place::File(path)) => {
            demand_journal(path)?;
            files::seal_key_of(path)?
        }
        (None, Place::Database(_)) => return Err(no_seal_key()),
    };
    let mut source = source(from, &seal_key).await?;
    let mut target = target(to).await?;
    let copied = fill(source.as_mut(), target.as_mut(), &seal_key).await?;
    target.commit().await?;
    verify_again(to, seal_key, &copied).await?;
    Ok(copied)
}

/// The error for a journal in a database without a seal key.
pub(super) fn no_seal_key() -> JournalError {
    JournalError::SealKey(
        "a journal in PostgreSQL has no file beside it that could hold its seal key: set [journal] seal_key; nothing was \
         touched"
            .to_owned(),
    )
}

async fn fill(
    source: &mut dyn Source,
    target: &mut dyn Target,
    seal_key: &SealKey,
) -> Result<Copied, JournalError> {
    let head = source.head().await?;
    target.put_head(&head).await?;
    target.put_rotations(source.rotations().await?).await?;
    let mut position = 0;
    loop {
        let page = source.events_after(position).await?;
        let Some(last) = page.last() else { break };
        position = last.0;
        target.put_events(page).await?;
    }
    let secrets = source.secrets().await?;
    let count = secrets.len();
    target.put_secrets(secrets).await?;
    target.put_sinks(source.sinks().await?).await?;
    let (events, hash) = target.verify(seal_key).await?.map_err(|why| not_verified(&why))?;
    if events != head.events.cast_unsigned() || hash.as_slice() != head.head {
        return Err(not_verified("it does not end as the source does"));
    }
    Ok(Copied { events, head: hex(&hash), secrets: count })
}

/// Opens the copy as a reader does, and verifies it once more.
async fn verify_again(to: &Place, seal_key: SealKey, copied: &Copied) -> Result<(), JournalError> {
    let journal = match to {
        Place::File(path) => super::open(path, Some(seal_key), Mode::Read).await?,
        Place::Database(url) => super::open_database(url, Some(seal_key), Mode::Read).await?,
    };
    let end = journal.verify_history().await;
    journal.close().await?;
    if end? == (copied.events, copied.head.clone()) {
        return Ok(());
    }
    Err(JournalError::Unusable(
        "the target was written by another process during the copy; remove it and copy again".to_owned(),
    ))
}

fn not_verified(why: &str) -> JournalError {
    JournalError::Unusable(format!("the copy does not verify: {why}; the target was left empty"))
}

async fn source(from: &Place, seal_key: &SealKey) -> Result<Box<dyn Source>, JournalError> {
    Ok(match from {
        Place::File(path) => Box::new(SqliteSource::open(path.clone(), seal_key).await?),
        Place::Database(url) => Box::new(PostgresSource::open(url, seal_key).await?),
    })
}

async fn target(to: &Place) -> Result<Box<dyn Target>, JournalError> {
    Ok(match to {
        Place::File(path) => Box::new(SqliteTarget::open(path.clone()).await?),
        Place::Database(url) => Box::new(PostgresTarget::open(url).await?),
    })
}

fn demand_journal(path: &std::path::Path) -> Result<(), JournalError> {
    match files::inspect(path)? {
        Found::Journal => Ok(()),
        Found::Nothing => {
            Err(JournalError::Unavailable(format!("there is no journal at {}", path.display())))
        }
    }
}

/// The error for a target that has a journal with content.
pub(super) fn not_empty(target: &impl std::fmt::Display) -> JournalError {
    JournalError::Unusable(format!(
        "{target} is not empty: a journal is copied only into an empty place; nothing was copied"
    ))
}

struct SqliteSource {
    path: PathBuf,
    connection: SqliteConnection,
    _lock: InstanceLock,
}

impl SqliteSource {
    async fn open(path: PathBuf, seal_key: &SealKey) -> Result<SqliteSource, JournalError> {
        demand_journal(&path)?;
        let lock = InstanceLock::take(&path, &this_process())?;
        let (mut connection, _) = opening::connect(&path, Some(seal_key), Mode::Drive).await?;
        // Operator commands append without the drive lock; this keeps them waiting.
        let locked = query("BEGIN IMMEDIATE").execute(&mut connection).await;
        let verified = match locked {
            Ok(_) => verify_within(&mut connection, Some(seal_key)).await,
            Err(error) => Err(error.into()),
        };
        match verified.map_err(|failure| failure.in_words(&path, Operation::Opening))? {
            Ok(_) => Ok(SqliteSource { path, connection, _lock: lock }),
            Err(why) => Err(JournalError::Unusable(why)),
        }
    }

    fn unread(&self, error: sqlx::Error) -> JournalError {
        Failure::from(error).in_words(&self.path, Operation::Reading)
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn head(&mut self) -> Result<HeadRow, JournalError> {
        let row = query_as(
            "SELECT seal_salt, seal_check, journal.events, head, head_seal.events, code, last_tick \
             FROM journal JOIN head_seal USING (one)",
        )
        .fetch_one(&mut self.connection)
        .await;
        row.map(head_row).map_err(|error| self.unread(error))
    }

    async fn rotations(&mut self) -> Result<Vec<KnownRow>, JournalError> {
        let rows =
            query_as("SELECT id, vendor, account, iam_user, started_at, ended FROM rotation ORDER BY id")
                .fetch_all(&mut self.connection)
                .await;
        rows.map_err(|error| self.unread(error))
    }

    async fn events_after(&mut self, position: i64) -> Result<Vec<ChainRow>, JournalError> {
        let rows = query_as(
            "SELECT position, rotation, number, at, writer, ends, body, hash FROM event \
             WHERE position > ? ORDER BY position LIMIT ?",
        )
        .bind(position)
        .bind(PAGE_ROWS)
        .fetch_all(&mut self.connection)
        .await;
        rows.map_err(|error| self.unread(error))
    }

    async fn secrets(&mut self) -> Result<Vec<SecretRow>, JournalError> {
        let rows = query_as("SELECT rotation, number, box FROM sealed_secret ORDER BY rotation")
            .fetch_all(&mut self.connection)
            .await;
        rows.map_err(|error| self.unread(error))
    }

    async fn sinks(&mut self) -> Result<Vec<SinkRow>, JournalError> {
        let rows = query_as("SELECT name, memory FROM alert_sink ORDER BY name")
            .fetch_all(&mut self.connection)
            .await;
        rows.map_err(|error| self.unread(error))
    }
}

pub(super) type HeadColumns = (Vec<u8>, Vec<u8>, i64, Vec<u8>, i64, Vec<u8>, Option<i64>);

pub(super) fn head_row(columns: HeadColumns) -> HeadRow {
    let (seal_salt, seal_check, events, head, sealed_events, head_code, last_tick) = columns;
    HeadRow { seal_salt, seal_check, events, head, sealed_events, head_code, last_tick }
}

struct SqliteTarget {
    path: PathBuf,
    draft: Draft,
    connection: SqliteConnection,
}

impl SqliteTarget {
    async fn open(path: PathBuf) -> Result<SqliteTarget, JournalError> {
        if path.exists() {
            return Err(not_empty(&path.display()));
        }
        files::make_folder(&path)?;
        files::refuse_orphaned_log(&path)?;
        let draft = Draft::beside(&path)?;
        let opened = async {
            let mut connection = opening::connect_new(draft.path()).await?;
            schema::migrate(&mut connection).await?;
            query("BEGIN IMMEDIATE").execute(&mut connection).await?;
            Ok::<_, Failure>(connection)
        };
        let connection = opened.await.map_err(|failure| failure.in_words(&path, Operation::Making))?;
        Ok(SqliteTarget { path, draft, connection })
    }

    fn failed(&self, error: impl Into<Failure>) -> JournalError {
        error.into().in_words(&self.path, Operation::Making)
    }
}

#[async_trait]
impl Target for SqliteTarget {
    async fn put_head(&mut self, head: &HeadRow) -> Result<(), JournalError> {
        let row = query(
            "INSERT INTO journal (one, seal_salt, seal_check, events, head, last_tick) VALUES (1, ?, ?, ?, ?, ?)",
        )
        .bind(head.seal_salt.as_slice())
        .bind(head.seal_check.as_slice())
        .bind(head.events)
        .bind(head.head.as_slice())
        .bind(head.last_tick)
        .execute(&mut self.connection)
        .await;
        row.map_err(|error| self.failed(error))?;
        let seal = query("INSERT INTO head_seal (one, events, code) VALUES (1, ?, ?)")
            .bind(head.sealed_events)
            .bind(head.head_code.as_slice())
            .execute(&mut self.connection)
            .await;
        seal.map_err(|error| self.failed(error))?;
        Ok(())
    }

    async fn put_rotations(&mut self, rows: Vec<KnownRow>) -> Result<(), JournalError> {
        for (id, vendor, account, iam_user, started_at, ended) in rows {
            let put = query(
                "INSERT INTO rotation (id, vendor, account, iam_user, started_at, ended) VALUES (?, ?, ?, ?, ?, ?)",
            );
            let put = put.bind(id).bind(vendor).bind(account).bind(iam_user).bind(started_at).bind(ended);
            put.execute(&mut self.connection).await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    async fn put_events(&mut self, rows: Vec<ChainRow>) -> Result<(), JournalError> {
        for (position, rotation, number, at, writer, ends, body, hash) in rows {
            let put = query(
                "INSERT INTO event (position, rotation, number, at, writer, ends, body, hash) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            );
            let put = put.bind(position).bind(rotation).bind(number).bind(at).bind(writer).bind(ends);
            let put = put.bind(body).bind(hash).execute(&mut self.connection).await;
            put.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    async fn put_secrets(&mut self, rows: Vec<SecretRow>) -> Result<(), JournalError> {
        for (rotation, number, sealed) in rows {
            let put = query("INSERT INTO sealed_secret (rotation, number, box) VALUES (?, ?, ?)");
            let put = put.bind(rotation).bind(number).bind(sealed).execute(&mut self.connection).await;
            put.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    async fn put_sinks(&mut self, rows: Vec<SinkRow>) -> Result<(), JournalError> {
        for (name, memory) in rows {
            let put = query("INSERT INTO alert_sink (name, memory) VALUES (?, ?)").bind(name).bind(memory);
            put.execute(&mut self.connection).await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    async fn verify(&mut self, seal_key: &SealKey) -> Result<Verdict, JournalError> {
        let verdict = verify_within(&mut self.connection, Some(seal_key)).await;
        verdict.map_err(|failure| self.failed(failure))
    }

    async fn commit(mut self: Box<Self>) -> Result<(), JournalError> {
        let committed = query("COMMIT").execute(&mut self.connection).await;
        committed.map_err(|error| self.failed(error))?;
        let SqliteTarget { path, draft, connection } = *self;
        // Closing moves everything from the write-ahead log into the file.
        let closed = connection.close().await;
        closed.map_err(|error| Failure::from(error).in_words(&path, Operation::Making))?;
        draft.publish(&path)
    }
}
