//! The drive lock: only the process that holds it drives rotations.
//!
//! It is an advisory lock of a session of its own. PostgreSQL releases it when that session ends, also when the process
//! is killed or its machine is gone. Each append of the driver checks, under the lock on the `journal` row, that this
//! session still holds the advisory lock and that no other process has driven since (`epoch`).

use sqlx::{Connection as _, PgConnection, query_as, query_scalar};

use super::schema::LOCK_CLASS;
use super::server::{Server, answered};
use crate::adapters::journal::failure::Failure;
use crate::ports::JournalError;

/// The advisory lock of the process that drives rotations.
const DRIVE_LOCK: i32 = 1;

/// The drive lock, held.
#[derive(Debug)]
pub(super) struct Lease {
    connection: PgConnection,
    claim: Claim,
}

/// What an append of the driver proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Claim {
    /// The process of the server that serves the session with the lock.
    pub(super) backend: i32,
    /// The epoch of this driver; 0 before [`Lease::begin_epoch`].
    pub(super) epoch: i64,
}

impl Lease {
    /// Takes the lock. If another process holds it, the error names that process.
    pub(super) async fn take(server: &Server) -> Result<Lease, Failure> {
        let mut connection = server.connect(false).await?;
        let (taken, backend): (bool, i32) = answered(
            query_as("SELECT pg_try_advisory_lock($1, $2), pg_backend_pid()")
                .bind(LOCK_CLASS)
                .bind(DRIVE_LOCK)
                .fetch_one(&mut connection),
        )
        .await?;
        if taken {
            return Ok(Lease { connection, claim: Claim { backend, epoch: 0 } });
        }
        let holder = holder(&mut connection).await;
        // The reason for the refusal is the other process, not how this connection ends.
        drop(connection.close().await);
        Err(Failure::Judged(JournalError::InUse(format!(
            "the journal {server} is in use by {holder}, and only one process may drive rotations; stop it or wait until it \
             is done; status, explain and history work meanwhile"
        ))))
    }

    /// Begins a new epoch and names this process as the holder. From now on, appends of earlier drivers fail.
    pub(super) async fn begin_epoch(&mut self, holder: &str) -> Result<(), Failure> {
        self.claim.epoch = answered(
            query_scalar("UPDATE keyround.journal SET epoch = epoch + 1, holder = $1 RETURNING epoch")
                .bind(holder)
                .fetch_one(&mut self.connection),
        )
        .await?;
        Ok(())
    }

    pub(super) fn claim(&self) -> Claim {
        self.claim
    }

    /// Whether the session that holds the lock still answers.
    pub(super) async fn is_alive(&mut self) -> bool {
        answered(self.connection.ping()).await.is_ok()
    }

    pub(super) async fn release(self) {
        // Without a proper end, the server releases the lock when it notices that the connection is gone.
        drop(answered(self.connection.close()).await);
    }
}

/// The process that holds the lock, in words.
async fn holder(connection: &mut PgConnection) -> String {
    let holder: Result<Option<String>, Failure> =
        answered(query_scalar("SELECT holder FROM keyround.journal").fetch_one(connection)).await;
    match holder.ok().flatten().as_deref().and_then(|holder| holder.rsplit_once(':')) {
        Some((host, pid)) => format!("process {pid} on {host}"),
        None => "another process".to_owned(),
    }
}

/// Checks the claim of a driver inside the transaction of its append, which has locked the `journal` row.
pub(super) async fn check(
    connection: &mut PgConnection,
    server: &Server,
    claim: Claim,
    epoch: i64,
) -> Result<(), Failure> {
    let is_held: bool = query_scalar(
        "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database \
             WHERE datname = current_database() AND locktype = 'advisory' AND granted AND pid = $1 \
             AND classid::bigint = $2 AND objid::bigint = $3 AND objsubid = 2)",
    )
    .bind(claim.backend)
    .bind(i64::from(LOCK_CLASS))
    .bind(i64::from(DRIVE_LOCK))
    .fetch_one(&mut *connection)
    .await?;
    if is_held && claim.epoch == epoch {
        return Ok(());
    }
    let why = match claim.epoch == epoch {
        true => "the connection that held its lock was lost".to_owned(),
        false => format!("{} has driven rotations since", holder(connection).await),
    };
    Err(Failure::Judged(JournalError::InUse(format!(
        "this process may not drive rotations with the journal {server} any more: {why}; nothing was appended"
    ))))
}
