//! The seal over the head: a code over the number of events and the last hash, under a key that is derived from the
//! seal key.
//!
//! Any program can recompute the hash chain alone. It cannot recompute the code without the seal key, so keyround
//! refuses a history that another program wrote before it drives anything. A program that can write the file can still
//! do two things: put back an older copy of it, and append the events that an operator may append without the seal key.
//! Against an older copy, the log and the heartbeat keep the event count and the last hash of each pass outside of the
//! file.

use sqlx::{Connection as _, SqliteConnection, query, query_as};

use super::chain::GENESIS;
use super::failure::Failure;
use super::schema;
use super::seal::{SALT_LEN, SealKey, random_bytes};

/// The stored seal, with the salt that its code depends on.
pub(super) struct HeadSeal {
    salt: Vec<u8>,
    /// The number of events that the seal covers.
    pub(super) events: u64,
    code: Vec<u8>,
}

impl HeadSeal {
    pub(super) fn new(salt: Vec<u8>, events: i64, code: Vec<u8>) -> HeadSeal {
        HeadSeal { salt, events: events.cast_unsigned(), code }
    }

    pub(super) async fn stored(connection: &mut SqliteConnection) -> Result<HeadSeal, Failure> {
        let (salt, events, code): (Vec<u8>, i64, Vec<u8>) =
            query_as("SELECT seal_salt, head_seal.events, code FROM journal JOIN head_seal USING (one)")
                .fetch_one(connection)
                .await?;
        Ok(HeadSeal::new(salt, events, code))
    }

    /// Whether the code proves that a program with the seal key sealed `hash` as the hash of the event number `events`.
    pub(super) fn covers(&self, seal_key: &SealKey, hash: &[u8]) -> bool {
        seal_key.is_head_code(&self.salt, self.events, hash, &self.code)
    }
}

/// Inserts the `journal` row of a new journal, and the seal over its empty history.
pub(super) async fn begin(connection: &mut SqliteConnection, seal_key: &SealKey) -> Result<(), Failure> {
    query("INSERT INTO journal (one, seal_salt, seal_check, events, head) VALUES (1, x'', x'', 0, ?)")
        .bind(GENESIS.as_slice())
        .execute(&mut *connection)
        .await?;
    begin_anew(connection, seal_key).await
}

/// Migrates an older schema and seals the head that the journal has now. This trusts the content of the file, once.
pub(super) async fn migrate(connection: &mut SqliteConnection, seal_key: &SealKey) -> Result<(), Failure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    schema::migrate(&mut transaction).await?;
    begin_anew(&mut transaction, seal_key).await?;
    transaction.commit().await?;
    Ok(())
}

/// Binds the journal to this seal key under a new salt, and seals the current head.
pub(super) async fn begin_anew(connection: &mut SqliteConnection, seal_key: &SealKey) -> Result<(), Failure> {
    let salt: [u8; SALT_LEN] = random_bytes();
    query("UPDATE journal SET seal_salt = ?, seal_check = ?")
        .bind(salt.as_slice())
        .bind(seal_key.check_value(&salt).as_slice())
        .execute(&mut *connection)
        .await?;
    seal(connection, seal_key).await
}

/// Seals the current head. The caller has verified it or made it.
pub(super) async fn seal(connection: &mut SqliteConnection, seal_key: &SealKey) -> Result<(), Failure> {
    let (salt, events, head): (Vec<u8>, i64, Vec<u8>) =
        query_as("SELECT seal_salt, events, head FROM journal").fetch_one(&mut *connection).await?;
    let code = seal_key.head_code(&salt, events.cast_unsigned(), &head);
    query(
        "INSERT INTO head_seal (one, events, code) VALUES (1, ?, ?) \
           ON CONFLICT (one) DO UPDATE SET events = excluded.events, code = excluded.code",
    )
    .bind(events)
    .bind(code.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, raw_sql};

    use super::*;
    use crate::adapters::journal::{Mode, SqliteJournal};
    use crate::ports::{Journal as _, JournalError};

    const WITHOUT_SEAL: &str =
        "DROP TABLE head_seal; DELETE FROM _sqlx_migrations WHERE version > 2; PRAGMA user_version = 2";

    /// Makes a journal as an older version did that sealed secrets only.
    async fn older(path: &Path, first_schema: bool) {
        let journal = SqliteJournal::open(path, None, Mode::Drive).await.expect("a journal");
        journal.close().await.expect("closed");
        let seal_key = crate::adapters::journal::files::seal_key_of(path).expect("its key");
        let mut connection =
            SqliteConnectOptions::new().filename(path).connect().await.expect("a connection");
        raw_sql(WITHOUT_SEAL).execute(&mut connection).await.expect("done");
        if first_schema {
            let older = "DROP TABLE alert_sink; DELETE FROM _sqlx_migrations WHERE version > 1; PRAGMA user_version = 1";
            raw_sql(older).execute(&mut connection).await.expect("done");
        }
        query("UPDATE journal SET seal_check = ?")
            .bind(seal_key.open_check_value(b"salt").as_slice())
            .execute(&mut connection)
            .await
            .expect("done");
        raw_sql("UPDATE journal SET seal_salt = x'73616c74'").execute(&mut connection).await.expect("done");
        connection.close().await.expect("closed");
    }

    #[tokio::test]
    async fn an_older_journal_is_sealed_when_opened_to_drive_and_must_stay_sealed() {
        for first_schema in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("journal.db");
            older(&path, first_schema).await;
            let refused =
                SqliteJournal::open(&path, None, Mode::Read).await.expect_err("a reader changes nothing");
            assert!(refused.to_string().contains("from an older version of keyround"), "{refused}");
            let journal = SqliteJournal::open(&path, None, Mode::Drive).await.expect("brought up to date");
            journal.verify_history().await.expect("sealed");
            let (pager, memory) =
                ("pager".parse().expect("a name"), crate::core::alert::DeliveryState::new(0));
            journal.remember_sink(&pager, &memory).await.expect("there is a table for it");
            journal.close().await.expect("closed");

            // A program that removes the seal cannot compute the check value of a journal without one.
            let mut connection =
                SqliteConnectOptions::new().filename(&path).connect().await.expect("a connection");
            raw_sql(WITHOUT_SEAL).execute(&mut connection).await.expect("done");
            connection.close().await.expect("closed");
            let refused = SqliteJournal::open(&path, None, Mode::Drive).await.expect_err("it had a seal");
            assert!(matches!(refused, JournalError::Unusable(_)), "{refused}");
            assert!(
                refused.to_string().contains("the seal over the end of its history was taken away"),
                "{refused}"
            );
        }
    }
}
