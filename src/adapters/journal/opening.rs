//! Opening a journal file: which checks run, and in which order, before anything is written.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, query, query_as, query_scalar};

use super::Mode;
use super::chain::{GENESIS, Hash};
use super::failure::{FULL, Failure, Operation};
use super::files::{self, APPLICATION_ID, Draft, SCHEMA, SEALED_SCHEMA};
use super::head;
use super::schema::{self, KnownObjects};
use super::seal::{HeadIs, SealKey};
use super::verify::verify;
use crate::ports::JournalError;

/// How long a process waits for another process's transaction. A transaction takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite result codes that mean that the files shared between readers cannot be created: the folder is not writable
/// (`SQLITE_READONLY`, `SQLITE_CANTOPEN`), or the disk is full.
const NO_ROOM_FOR_SHARED_FILES: [i32; 3] = [8, 14, FULL];

/// Creates a journal, complete or not at all. If another process created one first, that one stays.
pub(super) async fn create(path: &Path, seal_key: &SealKey) -> Result<(), JournalError> {
    files::refuse_orphaned_log(path)?;
    let draft = Draft::beside(path)?;
    fill(draft.path(), seal_key).await.map_err(|failure| failure.in_words(path, Operation::Making))?;
    draft.publish(path)
}

/// Opens the empty file of a journal that is about to be made.
pub(super) async fn connect_new(path: &Path) -> Result<SqliteConnection, Failure> {
    let mut connection = writing(path).connect().await?;
    keep_write_ahead_log(&mut connection).await?;
    Ok(connection)
}

async fn fill(path: &Path, seal_key: &SealKey) -> Result<(), Failure> {
    let mut connection = connect_new(path).await?;
    schema::migrate(&mut connection).await?;
    head::begin(&mut connection, seal_key).await?;
    // Closing moves everything from the write-ahead log into the file.
    connection.close().await?;
    Ok(())
}

/// Opens an existing journal and checks it. Nothing is written before every check has passed. Also returns the number
/// of events and the last hash; a reader does not verify the history and gets 0 and [`GENESIS`].
pub(super) async fn connect(
    path: &Path,
    seal_key: Option<&SealKey>,
    mode: Mode,
) -> Result<(SqliteConnection, (u64, Hash)), JournalError> {
    let failed = |failure: Failure| failure.in_words(path, Operation::Opening);
    let mut connection = match mode {
        Mode::Drive | Mode::Operate => writing(path).connect().await.map_err(|error| failed(error.into()))?,
        Mode::Read => connect_reader(path).await.map_err(failed)?,
    };
    match check(&mut connection, path, seal_key, mode).await {
        Ok(end) => Ok((connection, end)),
        Err(failure) => Err(failed(left(connection, failure).await)),
    }
}

/// Closes the connection before the failure is returned, which removes the shared files. A connection that is only
/// dropped is closed later, or never if the process exits because of the failure.
async fn left(connection: SqliteConnection, failure: Failure) -> Failure {
    // An error on closing is not the reason why the journal was refused.
    drop(connection.close().await);
    failure
}

async fn check(
    connection: &mut SqliteConnection,
    path: &Path,
    seal_key: Option<&SealKey>,
    mode: Mode,
) -> Result<(u64, Hash), Failure> {
    let version = schema_version(connection, path).await?;
    let old = version < SCHEMA;
    if old && mode != Mode::Drive {
        return Err(unusable(
            path,
            "is from an older version of keyround; `keyround run` or `rotate` brings it up to date",
        ));
    }
    check_schema(connection, path, &KnownObjects::of(version).await?).await?;
    if mode == Mode::Drive {
        check_pages(connection, path).await?;
    }
    if let Some(seal_key) = seal_key {
        check_seal_key(connection, path, version, seal_key).await?;
    }
    if mode == Mode::Read {
        return Ok((0, GENESIS));
    }
    let end = check_history(connection, path, seal_key.filter(|_| version >= SEALED_SCHEMA)).await?;
    if let Some(seal_key) = seal_key.filter(|_| old) {
        head::migrate(connection, seal_key).await?;
    }
    keep_write_ahead_log(connection).await?;
    Ok(end)
}

/// Repeats the checks of everything that another process may have changed since the journal was opened. Returns the
/// number of events and the last hash.
pub(super) async fn check_again(
    connection: &mut SqliteConnection,
    path: &Path,
    known: &KnownObjects,
    seal_key: Option<&SealKey>,
) -> Result<(u64, Hash), Failure> {
    let version = schema_version(connection, path).await?;
    check_schema(connection, path, known).await?;
    if let Some(seal_key) = seal_key {
        check_seal_key(connection, path, version, seal_key).await?;
    }
    check_history(connection, path, seal_key).await
}

/// With a write-ahead log, readers can read while another process writes. The mode is stored in the file; only a file
/// that comes from a backup may lack it.
async fn keep_write_ahead_log(connection: &mut SqliteConnection) -> Result<(), Failure> {
    query("PRAGMA journal_mode = WAL").execute(connection).await?;
    Ok(())
}

/// How long a wipe waits for readers that block it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// Not at all: an append must not wait for a reader.
    None,
    /// For two seconds, as the last step before the file is closed.
    Some,
}

/// Moves the write-ahead log into the file and truncates the log, so that erased data is gone from the disk too.
/// Returns whether this was done: a reader can block it.
pub(super) async fn wipe_write_ahead_log(connection: &mut SqliteConnection, patience: Patience) -> bool {
    let wait = match patience {
        Patience::None => "PRAGMA busy_timeout = 0",
        Patience::Some => "PRAGMA busy_timeout = 2000",
    };
    let waits = query(wait).execute(&mut *connection).await;
    let wiped: Result<i64, sqlx::Error> =
        query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
    // Restored, or later appends would not wait for other writers.
    let restored = query("PRAGMA busy_timeout = 5000").execute(connection).await;
    waits.is_ok() && restored.is_ok() && matches!(wiped, Ok(0))
}

fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        // A lower setting may lose the last commits on a power failure, and with them the intent of an effect.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("secure_delete", "ON")
        .disable_statement_logging()
}

/// Opens a connection that reads. It does not use SQLite's read-only mode, which leaves behind the files that are
/// shared with a writer. This connection writes nothing to the database and removes those files when it is closed.
async fn connect_reader(path: &Path) -> Result<SqliteConnection, Failure> {
    let options = || {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
        options.pragma("query_only", "ON").pragma("trusted_schema", "OFF").disable_statement_logging()
    };
    let failure = match begin_reading(options()).await {
        Ok(connection) => return Ok(connection),
        Err(failure) => failure,
    };
    // On a medium that is not writable, no other process writes either, so the file can be read as it is. The exception
    // is a write-ahead log that still holds a part of the journal, because an immutable connection ignores it.
    let no_room = failure.sqlite_code().is_some_and(|code| NO_ROOM_FOR_SHARED_FILES.contains(&code));
    if no_room && !files::has_log(path) {
        return begin_reading(options().immutable(true)).await;
    }
    Err(failure)
}

async fn begin_reading(options: SqliteConnectOptions) -> Result<SqliteConnection, Failure> {
    let mut connection = options.connect().await?;
    match query("SELECT count(*) FROM sqlite_schema").execute(&mut connection).await {
        Ok(_) => Ok(connection),
        Err(error) => Err(left(connection, error.into()).await),
    }
}

async fn check_pages(connection: &mut SqliteConnection, path: &Path) -> Result<(), Failure> {
    // Not `quick_check`: an index that disagrees with its table makes SQLite find another row, or none.
    let found: String = query_scalar("PRAGMA integrity_check(1)").fetch_one(connection).await?;
    match found.as_str() {
        "ok" => Ok(()),
        trouble => {
            // The first line of SQLite's report is a title.
            let trouble = trouble.lines().last().unwrap_or_default();
            Err(unusable(path, &format!("is damaged ({trouble}); restore it from a backup")))
        }
    }
}

/// The schema version, checked to be one that this version of keyround knows. [`files::inspect`] read it from the
/// file's header, but the value in force may be in the write-ahead log.
async fn schema_version(connection: &mut SqliteConnection, path: &Path) -> Result<u32, Failure> {
    let application: i64 = query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let schema: i64 = query_scalar("PRAGMA user_version").fetch_one(connection).await?;
    if application != i64::from(APPLICATION_ID) {
        return Err(unusable(path, "is not a keyround journal"));
    }
    let schema = u32::try_from(schema).unwrap_or(u32::MAX);
    files::judge_schema(path, schema)?;
    Ok(schema)
}

/// Compares the schema before any of keyround's tables is read: a view or trigger that another program added could
/// answer in place of a table.
async fn check_schema(
    connection: &mut SqliteConnection,
    path: &Path,
    known: &KnownObjects,
) -> Result<(), Failure> {
    match schema::foreign(connection, known).await? {
        None => Ok(()),
        Some(words) => Err(unusable(
            path,
            &format!("is damaged, or another program changed its schema: {words}; restore it from a backup"),
        )),
    }
}

async fn check_seal_key(
    connection: &mut SqliteConnection,
    path: &Path,
    version: u32,
    seal_key: &SealKey,
) -> Result<(), Failure> {
    let (salt, value): (Vec<u8>, Vec<u8>) =
        query_as("SELECT seal_salt, seal_check FROM journal").fetch_one(connection).await?;
    let (kind, other) = match version >= SEALED_SCHEMA {
        true => (HeadIs::Sealed, HeadIs::Open),
        false => (HeadIs::Open, HeadIs::Sealed),
    };
    if seal_key.matches(kind, &salt, &value) {
        return Ok(());
    }
    if seal_key.matches(other, &salt, &value) {
        let what =
            "is damaged: the seal over the end of its history was taken away; restore it from a backup";
        return Err(unusable(path, what));
    }
    let journal = path.display();
    let what_to_do = match files::has_next_seal_key(path) {
        true => "`keyround journal rekey` was broken off: run it again",
        false => "check [journal] seal_key, or the file seal.key beside it",
    };
    Err(Failure::Judged(JournalError::SealKey(format!(
        "the journal {journal} was sealed with another seal key; {what_to_do}; nothing was touched"
    ))))
}

/// Verifies every event before anything is driven. With a journal that lost its end, effects would be performed a
/// second time, and with one changed letter, an effect could hit another key than intended.
async fn check_history(
    connection: &mut SqliteConnection,
    path: &Path,
    seal_key: Option<&SealKey>,
) -> Result<(u64, Hash), Failure> {
    match verify(connection, seal_key).await? {
        Ok(end) => Ok(end),
        Err(why) => Err(unusable(path, &format!("is damaged: {why}; restore it from a backup"))),
    }
}

pub(super) fn unusable(path: &Path, what: &str) -> Failure {
    let journal = path.display();
    Failure::Judged(JournalError::Unusable(format!("the journal {journal} {what}; nothing was touched")))
}
