//! Opening a journal in PostgreSQL: which checks run, and in which order, before anything is written.

use sqlx::{Connection as _, PgConnection, query, query_as};
use tokio::sync::Mutex;

use super::lease::Lease;
use super::schema::{self, Found, SCHEMA};
use super::seen::Seen;
use super::server::{Server, answered};
use super::{Open, PostgresJournal};
use crate::adapters::journal::chain::GENESIS;
use crate::adapters::journal::failure::{Failure, Operation};
use crate::adapters::journal::seal::{HeadIs, SALT_LEN, random_bytes};
use crate::adapters::journal::{Mode, SealKey, this_process};
use crate::core::secret::Secret;
use crate::core::time::MonotonicInstant;
use crate::ports::JournalError;

impl PostgresJournal {
    /// Opens the journal in the database that the URL names. Its tables are made if the database has none, except in
    /// [`Mode::Read`] and without a seal key: then this returns `None`.
    ///
    /// # Errors
    ///
    /// The journal is unusable, unavailable, or in use by another process.
    pub async fn open(
        url: &Secret,
        seal_key: Option<SealKey>,
        mode: Mode,
    ) -> Result<Option<PostgresJournal>, JournalError> {
        let server = Server::from_url(url)?;
        let writer = this_process();
        match opened(&server, seal_key.as_ref(), &writer, mode).await {
            Ok(Some(open)) => {
                let open = Mutex::new(Some(open));
                Ok(Some(PostgresJournal { server, writer, mode, seal_key, open }))
            }
            Ok(None) => Ok(None),
            Err(failure) => Err(server.in_words(failure, Operation::Opening)),
        }
    }
}

async fn opened(
    server: &Server,
    seal_key: Option<&SealKey>,
    writer: &str,
    mode: Mode,
) -> Result<Option<Open>, Failure> {
    // The lock comes first, so that no other process makes the tables or drives rotations during the checks.
    let mut lease = match mode {
        Mode::Drive => Some(Lease::take(server).await?),
        Mode::Operate | Mode::Read => None,
    };
    let mut connection = server.connect(mode == Mode::Read).await?;
    if answered(schema::inspect(&mut connection, server)).await? == Found::Nothing {
        let (Some(seal_key), Mode::Drive | Mode::Operate) = (seal_key, mode) else { return Ok(None) };
        answered(create(&mut connection, server, seal_key)).await?;
    }
    let seen = check(&mut connection, server, seal_key, mode).await?;
    if let Some(lease) = &mut lease {
        lease.begin_epoch(writer).await?;
    }
    let used_at = MonotonicInstant::now();
    Ok(Some(Open { connection: Some(connection), used_at, lease, seen }))
}

/// Makes the tables in one transaction. If another process made them first, those stay.
pub(super) async fn create(
    connection: &mut PgConnection,
    server: &Server,
    seal_key: &SealKey,
) -> Result<(), Failure> {
    let mut transaction = connection.begin().await?;
    schema::lock_making(&mut transaction).await?;
    if schema::inspect(&mut transaction, server).await? == Found::Nothing {
        schema::make(&mut transaction).await?;
        let salt: [u8; SALT_LEN] = random_bytes();
        query(
            "INSERT INTO keyround.journal (one, schema_version, seal_salt, seal_check, events, head, sealed_events, head_code) \
             VALUES (1, $1, $2, $3, 0, $4, 0, $5)",
        )
        .bind(SCHEMA)
        .bind(salt.as_slice())
        .bind(seal_key.check_value(&salt).as_slice())
        .bind(GENESIS.as_slice())
        .bind(seal_key.head_code(&salt, 0, &GENESIS).as_slice())
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Checks the seal key and, unless the journal is only read, the whole history.
async fn check(
    connection: &mut PgConnection,
    server: &Server,
    seal_key: Option<&SealKey>,
    mode: Mode,
) -> Result<Seen, Failure> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut transaction = connection.begin_with(begin).await?;
    if let Some(seal_key) = seal_key {
        check_seal_key(&mut transaction, server, seal_key).await?;
    }
    let seen = match mode {
        Mode::Read => Seen::default(),
        Mode::Drive | Mode::Operate => Seen::of(&mut transaction, server, seal_key).await?,
    };
    transaction.rollback().await?;
    Ok(seen)
}

pub(super) async fn check_seal_key(
    connection: &mut PgConnection,
    server: &Server,
    seal_key: &SealKey,
) -> Result<(), Failure> {
    let (salt, value): (Vec<u8>, Vec<u8>) =
        query_as("SELECT seal_salt, seal_check FROM keyround.journal").fetch_one(connection).await?;
    if seal_key.matches(HeadIs::Sealed, &salt, &value) {
        return Ok(());
    }
    Err(Failure::Judged(JournalError::SealKey(format!(
        "the journal {server} was sealed with another seal key; check [journal] seal_key; nothing was touched"
    ))))
}
