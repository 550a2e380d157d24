//! The rows of a journal in PostgreSQL as they are, for copying a journal.

use async_trait::async_trait;
use sqlx::{Connection as _, PgConnection, query, query_as, query_scalar, raw_sql};

use super::lease::Lease;
use super::opening::check_seal_key;
use super::schema::{self, Found, SCHEMA};
use super::seen::{self, Seen};
use super::server::{Server, answered};
use crate::adapters::journal::SealKey;
use crate::adapters::journal::copy::{HeadRow, SecretRow, SinkRow, Source, Target, head_row, not_empty};
use crate::adapters::journal::failure::{Failure, Operation};
use crate::adapters::journal::stored::KnownRow;
use crate::adapters::journal::verify::{ChainRow, PAGE_ROWS, Verdict};
use crate::core::secret::Secret;
use crate::ports::JournalError;

/// A copy may leave the transaction of one side idle while it works on the other.
const UNHURRIED: &str = "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = '10min'";

/// A journal in PostgreSQL that is copied: its drive lock is held, and a transaction locks it.
pub(in crate::adapters::journal) struct PostgresSource {
    server: Server,
    connection: PgConnection,
    _lease: Lease,
}

impl PostgresSource {
    pub(in crate::adapters::journal) async fn open(
        url: &Secret,
        seal_key: &SealKey,
    ) -> Result<PostgresSource, JournalError> {
        let server = Server::from_url(url)?;
        match locked(&server, seal_key).await {
            Ok((lease, connection)) => Ok(PostgresSource { server, connection, _lease: lease }),
            Err(failure) => Err(server.in_words(failure, Operation::Opening)),
        }
    }

    fn unread<T>(&self, answer: Result<T, Failure>) -> Result<T, JournalError> {
        answer.map_err(|failure| self.server.in_words(failure, Operation::Reading))
    }
}

async fn locked(server: &Server, seal_key: &SealKey) -> Result<(Lease, PgConnection), Failure> {
    let lease = Lease::take(server).await?;
    let mut connection = server.connect(false).await?;
    if answered(schema::inspect(&mut connection, server)).await? == Found::Nothing {
        return Err(Failure::Judged(JournalError::Unavailable(format!("there is no journal at {server}"))));
    }
    answered(raw_sql(UNHURRIED).execute(&mut connection)).await?;
    answered(query("BEGIN").execute(&mut connection)).await?;
    // Operator commands append without the drive lock; this keeps them waiting.
    answered(query("SELECT events FROM keyround.journal FOR UPDATE").execute(&mut connection)).await?;
    answered(check_seal_key(&mut connection, server, seal_key)).await?;
    Seen::of(&mut connection, server, Some(seal_key)).await?;
    Ok((lease, connection))
}

#[async_trait]
impl Source for PostgresSource {
    async fn head(&mut self) -> Result<HeadRow, JournalError> {
        let row = query_as(
            "SELECT seal_salt, seal_check, events, head, sealed_events, head_code, last_tick FROM keyround.journal",
        );
        let row = answered(row.fetch_one(&mut self.connection)).await;
        self.unread(row.map(head_row))
    }

    async fn rotations(&mut self) -> Result<Vec<KnownRow>, JournalError> {
        let rows = query_as(
            "SELECT id, vendor, account, iam_user, started_at, ended FROM keyround.rotation ORDER BY id",
        );
        let rows = answered(rows.fetch_all(&mut self.connection)).await;
        self.unread(rows)
    }

    async fn events_after(&mut self, position: i64) -> Result<Vec<ChainRow>, JournalError> {
        let rows = query_as(
            "SELECT position, rotation, number, at, writer, ends, body, hash FROM keyround.event \
             WHERE position > $1 ORDER BY position LIMIT $2",
        );
        let rows = answered(rows.bind(position).bind(PAGE_ROWS).fetch_all(&mut self.connection)).await;
        self.unread(rows)
    }

    async fn secrets(&mut self) -> Result<Vec<SecretRow>, JournalError> {
        let rows = query_as("SELECT rotation, number, box FROM keyround.sealed_secret ORDER BY rotation");
        let rows = answered(rows.fetch_all(&mut self.connection)).await;
        self.unread(rows)
    }

    async fn sinks(&mut self) -> Result<Vec<SinkRow>, JournalError> {
        let rows = query_as("SELECT name, memory FROM keyround.alert_sink ORDER BY name");
        let rows = answered(rows.fetch_all(&mut self.connection)).await;
        self.unread(rows)
    }
}

/// An empty journal in PostgreSQL that is filled in one transaction.
pub(in crate::adapters::journal) struct PostgresTarget {
    server: Server,
    connection: PgConnection,
    lease: Lease,
}

impl PostgresTarget {
    pub(in crate::adapters::journal) async fn open(url: &Secret) -> Result<PostgresTarget, JournalError> {
        let server = Server::from_url(url)?;
        match emptied(&server).await {
            Ok((lease, connection)) => Ok(PostgresTarget { server, connection, lease }),
            Err(failure) => Err(server.in_words(failure, Operation::Making)),
        }
    }

    fn unmade<T>(&self, answer: Result<T, Failure>) -> Result<T, JournalError> {
        answer.map_err(|failure| self.server.in_words(failure, Operation::Making))
    }
}

async fn emptied(server: &Server) -> Result<(Lease, PgConnection), Failure> {
    let lease = Lease::take(server).await?;
    let mut connection = server.connect(false).await?;
    answered(raw_sql(UNHURRIED).execute(&mut connection)).await?;
    answered(query("BEGIN").execute(&mut connection)).await?;
    answered(schema::lock_making(&mut connection)).await?;
    if answered(schema::inspect(&mut connection, server)).await? == Found::Nothing {
        answered(schema::make(&mut connection)).await?;
        return Ok((lease, connection));
    }
    // `keyround run` makes the tables of a new journal, so tables without a row of the history are an empty place.
    answered(query("SELECT events FROM keyround.journal FOR UPDATE").execute(&mut connection)).await?;
    let has_rows: bool = answered(
        query_scalar(
            "SELECT EXISTS (SELECT FROM keyround.event) OR EXISTS (SELECT FROM keyround.rotation) \
             OR EXISTS (SELECT FROM keyround.sealed_secret) OR EXISTS (SELECT FROM keyround.alert_sink)",
        )
        .fetch_one(&mut connection),
    )
    .await?;
    if has_rows {
        return Err(not_empty(server).into());
    }
    answered(query("DELETE FROM keyround.journal").execute(&mut connection)).await?;
    Ok((lease, connection))
}

#[async_trait]
impl Target for PostgresTarget {
    async fn put_head(&mut self, head: &HeadRow) -> Result<(), JournalError> {
        let put = query(
            "INSERT INTO keyround.journal (one, schema_version, seal_salt, seal_check, events, head, sealed_events, \
             head_code, last_tick) VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8)",
        );
        let put = put.bind(SCHEMA).bind(head.seal_salt.as_slice()).bind(head.seal_check.as_slice());
        let put = put.bind(head.events).bind(head.head.as_slice()).bind(head.sealed_events);
        let put = put.bind(head.head_code.as_slice()).bind(head.last_tick);
        let put = answered(put.execute(&mut self.connection)).await;
        self.unmade(put.map(drop))
    }

    async fn put_rotations(&mut self, rows: Vec<KnownRow>) -> Result<(), JournalError> {
        for (id, vendor, account, iam_user, started_at, ended) in rows {
            let put = query(
                "INSERT INTO keyround.rotation (id, vendor, account, iam_user, started_at, ended) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            );
            let put = put.bind(id).bind(vendor).bind(account).bind(iam_user).bind(started_at).bind(ended);
            let put = answered(put.execute(&mut self.connection)).await;
            self.unmade(put.map(drop))?;
        }
        Ok(())
    }

    async fn put_events(&mut self, rows: Vec<ChainRow>) -> Result<(), JournalError> {
        for (position, rotation, number, at, writer, ends, body, hash) in rows {
            let put = query(
                "INSERT INTO keyround.event (position, rotation, number, at, writer, ends, body, hash) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            );
            let put = put.bind(position).bind(rotation).bind(number).bind(at).bind(writer).bind(ends);
            let put = answered(put.bind(body).bind(hash).execute(&mut self.connection)).await;
            self.unmade(put.map(drop))?;
        }
        Ok(())
    }

    async fn put_secrets(&mut self, rows: Vec<SecretRow>) -> Result<(), JournalError> {
        for (rotation, number, sealed) in rows {
            let put = query("INSERT INTO keyround.sealed_secret (rotation, number, box) VALUES ($1, $2, $3)");
            let put = put.bind(rotation).bind(number).bind(sealed);
            let put = answered(put.execute(&mut self.connection)).await;
            self.unmade(put.map(drop))?;
        }
        Ok(())
    }

    async fn put_sinks(&mut self, rows: Vec<SinkRow>) -> Result<(), JournalError> {
        for (name, memory) in rows {
            let put = query("INSERT INTO keyround.alert_sink (name, memory) VALUES ($1, $2)");
            let put = answered(put.bind(name).bind(memory).execute(&mut self.connection)).await;
            self.unmade(put.map(drop))?;
        }
        Ok(())
    }

    async fn verify(&mut self, seal_key: &SealKey) -> Result<Verdict, JournalError> {
        let verdict = seen::verify(&mut self.connection, Some(seal_key), |_| {}).await;
        self.unmade(verdict)
    }

    async fn commit(mut self: Box<Self>) -> Result<(), JournalError> {
        let committed = answered(query("COMMIT").execute(&mut self.connection)).await;
        self.unmade(committed.map(drop))?;
        let PostgresTarget { connection, lease, .. } = *self;
        drop(connection.close().await);
        lease.release().await;
        Ok(())
    }
}
