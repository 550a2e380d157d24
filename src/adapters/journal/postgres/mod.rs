//! The journal in a PostgreSQL database: several machines can reach it, one process drives rotations, any number of
//! others read it and append operator commands.
//!
//! **Invariant:** every append locks the row of `journal` first, so that all appends run one after the other and the
//! hash chain is one.
//!
//! **Invariant:** an append of a process that drives rotations succeeds only while that process holds the drive lock and
//! no other process has driven since (see [`lease`]). So a driver that was replaced fails at its next intent, before the
//! effect.
//!
//! **Invariant:** when the answer to a COMMIT is lost, the append is answered only after a new connection has looked
//! whether the event is there.

mod appending;
mod lease;
mod opening;
mod raw;
mod reading;
mod schema;
mod seen;
mod server;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction, query, query_scalar};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use self::appending::Append;
use self::lease::Lease;
use self::seen::{ReadRow, Seen};
use self::server::{Server, answered, is_lost};
use super::chain::{Hash, hex};
use super::failure::{Failure, Operation};
use super::stored::{self, Stored};
use super::verify::Verdict;
use super::{Mode, SealKey, read_only};
use crate::core::alert::DeliveryState;
use crate::core::ids::{RotationId, SinkName, VendorName};
use crate::core::rotation::Event;
use crate::core::secret::Secret;
use crate::core::time::{MonotonicInstant, Timestamp};
use crate::ports::{Entry, Journal, JournalError, KnownRotation, Recorded};

pub(super) use self::raw::{PostgresSource, PostgresTarget};

/// A connection that was not used for longer than this is tried before it is used.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// How often, and after which pauses, a new connection looks for an event whose COMMIT had no answer.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// A journal in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresJournal {
    server: Server,
    writer: String,
    mode: Mode,
    seal_key: Option<SealKey>,
    /// `None` after the journal is closed.
    open: Mutex<Option<Open>>,
}

/// The connections of an open journal.
#[derive(Debug)]
struct Open {
    /// `None` after it was lost.
    connection: Option<PgConnection>,
    used_at: MonotonicInstant,
    /// The drive lock; `None` after it was lost, and in the other modes.
    lease: Option<Lease>,
    seen: Seen,
}

/// Runs a statement on the journal's connection and puts its failure in words. A connection that is lost is replaced at
/// the next use.
macro_rules! on_connection {
    ($journal:ident, $doing:expr, $connection:ident => $work:expr) => {{
        let mut open = $journal.state().await?;
        let done = match $journal.ready(&mut open).await {
            Ok($connection) => answered($work).await,
            Err(failure) => Err(failure),
        };
        $journal.settled(&mut open, done, $doing)?
    }};
}

impl PostgresJournal {
    /// The same journal, with `writer` recorded as the writer of its events instead of `host:pid`.
    #[must_use]
    pub fn with_writer(self, writer: impl Into<String>) -> PostgresJournal {
        PostgresJournal { writer: writer.into(), ..self }
    }

    async fn state(&self) -> Result<MappedMutexGuard<'_, Open>, JournalError> {
        MutexGuard::try_map(self.open.lock().await, Option::as_mut).map_err(|_| {
            JournalError::Unavailable(format!("the journal {} is closed: keyround is stopping", self.server))
        })
    }

    /// The connection, which is made again if it was lost.
    async fn ready<'a>(&self, open: &'a mut Open) -> Result<&'a mut PgConnection, Failure> {
        if let Some(connection) = &mut open.connection
            && open.used_at.elapsed() > IDLE_MAX
            && answered(connection.ping()).await.is_err()
        {
            open.connection = None;
        }
        open.used_at = MonotonicInstant::now();
        match &mut open.connection {
            Some(connection) => Ok(connection),
            gone => Ok(gone.insert(self.server.connect(self.mode == Mode::Read).await?)),
        }
    }

    fn settled<T>(
        &self,
        open: &mut Open,
        done: Result<T, Failure>,
        doing: Operation,
    ) -> Result<T, JournalError> {
        done.map_err(|failure| {
            if is_lost(&failure) {
                open.connection = None;
            }
            self.server.in_words(failure, doing)
        })
    }

    /// Takes the drive lock again if it was lost, unless another process holds it now.
    async fn hold(&self, open: &mut Open) -> Result<(), Failure> {
        if self.mode == Mode::Drive && open.lease.is_none() {
            let mut lease = Lease::take(&self.server).await?;
            lease.begin_epoch(&self.writer).await?;
            tracing::info!("the lock on the journal {} was lost, and is held again", self.server);
            open.lease = Some(lease);
        }
        Ok(())
    }

    /// The key that seals and opens secrets. Fails if this journal was opened without it.
    fn seal_key(&self) -> Result<&SealKey, JournalError> {
        self.seal_key.as_ref().ok_or_else(|| {
            JournalError::Unavailable(
                "the journal was opened without its seal key: no secret can be sealed or opened".to_owned(),
            )
        })
    }

    fn stored(&self) -> Stored<&Server> {
        Stored { journal: &self.server }
    }

    async fn append_in(
        &self,
        open: &mut Open,
        entry: &Entry<'_>,
        sealed: Option<Vec<u8>>,
    ) -> Result<(), Failure> {
        self.hold(open).await?;
        self.ready(open).await?;
        let Open { connection: Some(connection), lease, seen, .. } = open else {
            return Err(self.server.unusable("has no connection"));
        };
        let append = Append {
            server: &self.server,
            writer: &self.writer,
            seal_key: self.seal_key.as_ref(),
            claim: lease.as_ref().map(Lease::claim),
        };
        let mut transaction = answered(connection.begin()).await?;
        let end = match append.run(&mut transaction, seen, entry, sealed).await {
            Ok(end) => end,
            Err(failure) => return Err(undone(transaction, failure).await),
        };
        match answered(transaction.commit()).await {
            Ok(()) => {}
            Err(failure) if is_lost(&failure) => {
                open.connection = None;
                self.look_again(failure, end).await?;
            }
            Err(failure) => return Err(failure),
        }
        open.seen.moved(end);
        Ok(())
    }

    /// Finds out whether an event was appended although the answer to the COMMIT was lost. `failure` is returned if it
    /// was not.
    async fn look_again(&self, failure: Failure, (position, hash): (u64, Hash)) -> Result<(), Failure> {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            match self.is_appended(position, &hash).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(failure),
                Err(_) => {}
            }
        }
        Err(Failure::Judged(JournalError::Unavailable(format!(
            "the journal {} could not be reached while event {position} of the history was committed: whether it was appended \
             is not known; keyround reads the journal again before it goes on",
            self.server
        ))))
    }

    async fn is_appended(&self, position: u64, hash: &[u8]) -> Result<bool, Failure> {
        let mut connection = self.server.connect(false).await?;
        let mut transaction = answered(connection.begin()).await?;
        // Waits until the transaction of the lost connection has ended in one way or the other.
        answered(query("SELECT events FROM keyround.journal FOR UPDATE").execute(&mut *transaction)).await?;
        let stored: Option<Vec<u8>> = answered(
            query_scalar("SELECT hash FROM keyround.event WHERE position = $1")
                .bind(position.cast_signed())
                .fetch_optional(&mut *transaction),
        )
        .await?;
        // A failure to end this transaction changes nothing: it wrote nothing.
        drop(transaction.rollback().await);
        drop(connection.close().await);
        Ok(stored.as_deref() == Some(hash))
    }

    /// Reads the events of a rotation. When rotations are driven, the same transaction checks that the journal can be
    /// believed, because the rotation is driven by these events.
    async fn read_in(&self, open: &mut Open, rotation: RotationId) -> Result<Vec<(i64, String)>, Failure> {
        self.ready(open).await?;
        let Open { connection: Some(connection), seen, .. } = open else {
            return Err(self.server.unusable("has no connection"));
        };
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut transaction = answered(connection.begin_with(begin)).await?;
        let rows = self.read_rows(&mut transaction, seen, &rotation.to_string()).await;
        match rows {
            Ok(rows) => {
                answered(transaction.rollback()).await?;
                Ok(rows.into_iter().map(|(_, number, _, _, body)| (number, body)).collect())
            }
            Err(failure) => Err(undone(transaction, failure).await),
        }
    }

    async fn read_rows(
        &self,
        connection: &mut PgConnection,
        seen: &mut Seen,
        rotation: &str,
    ) -> Result<Vec<ReadRow>, Failure> {
        let rows = answered(reading::events_of(connection, rotation)).await?;
        if self.mode == Mode::Drive {
            let (events, head) = answered(reading::end(connection)).await?;
            seen.check(connection, &self.server, self.seal_key.as_ref(), (events, &head)).await?;
            seen.check_rows(&self.server, rotation, &rows)?;
        }
        Ok(rows)
    }
}

/// Verifies the whole history as of one moment.
async fn verified(connection: &mut PgConnection, seal_key: Option<&SealKey>) -> Result<Verdict, Failure> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut transaction = answered(connection.begin_with(begin)).await?;
    match seen::verify(&mut transaction, seal_key, |_| {}).await {
        Ok(verdict) => {
            answered(transaction.rollback()).await?;
            Ok(verdict)
        }
        Err(failure) => Err(undone(transaction, failure).await),
    }
}

/// Ends the transaction of a failed operation at once. Dropped, it would end, and free the row of `journal` for others,
/// only at the next use of the connection. The connection is lost if it cannot be ended.
async fn undone(transaction: Transaction<'_, Postgres>, failure: Failure) -> Failure {
    match is_lost(&failure) {
        true => failure,
        false => answered(transaction.rollback()).await.err().unwrap_or(failure),
    }
}

#[async_trait]
impl Journal for PostgresJournal {
    async fn append(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        // Sealing happens before the transaction begins.
        let sealed = stored::sealed(&entry, || self.seal_key())?;
        let mut open = self.state().await?;
        let appended = self.append_in(&mut open, &entry, sealed).await;
        if matches!(appended, Err(Failure::Judged(JournalError::InUse(_)))) {
            // The next append tries to take the lock again.
            open.lease = None;
        }
        self.settled(&mut open, appended, Operation::Appending)
    }

    async fn read(&self, rotation: RotationId) -> Result<Vec<Event>, JournalError> {
        let mut open = self.state().await?;
        let rows = self.read_in(&mut open, rotation).await;
        let rows = self.settled(&mut open, rows, Operation::Reading)?;
        self.stored().events(rotation, rows)
    }

    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError> {
        let row =
            on_connection!(self, Operation::Reading, connection => reading::secret(connection, rotation));
        let Some(row) = row else { return Ok(None) };
        self.stored().secret(rotation, row, self.seal_key()?).map(Some)
    }

    async fn in_flight(&self) -> Result<Vec<KnownRotation>, JournalError> {
        self.stored()
            .known(on_connection!(self, Operation::Reading, connection => reading::in_flight(connection)))
    }

    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<KnownRotation>, JournalError> {
        let rows =
            on_connection!(self, Operation::Reading, connection => reading::rotations(connection, vendor));
        self.stored().known(rows)
    }

    async fn history(
        &self,
        vendor: Option<&VendorName>,
        since: Timestamp,
    ) -> Result<Vec<Recorded>, JournalError> {
        let rows = on_connection!(self, Operation::Reading, connection => reading::history(connection, vendor, since));
        self.stored().recorded(rows)
    }

    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError> {
        let rows = on_connection!(self, Operation::Reading, connection => reading::history_after(connection, position));
        self.stored().recorded(rows)
    }

    async fn verify_history(&self) -> Result<(u64, String), JournalError> {
        let seal_key = self.seal_key.as_ref();
        let mut open = self.state().await?;
        let verdict = match self.ready(&mut open).await {
            Ok(connection) => verified(connection, seal_key).await,
            Err(failure) => Err(failure),
        };
        let verdict = self.settled(&mut open, verdict, Operation::Reading)?;
        verdict.map(|(events, hash)| (events, hex(&hash))).map_err(JournalError::Unusable)
    }

    fn checks_seal(&self) -> bool {
        self.seal_key.is_some()
    }

    async fn head(&self) -> Result<(u64, String), JournalError> {
        let (events, hash) = on_connection!(self, Operation::Reading, connection => reading::end(connection));
        Ok((events.cast_unsigned(), hex(&hash)))
    }

    /// Notices that the drive lock was lost, and takes it again.
    async fn tend(&self) {
        let Ok(mut open) = self.state().await else { return };
        if let Some(lease) = &mut open.lease
            && !lease.is_alive().await
        {
            tracing::warn!("the connection that holds the lock on the journal {} was lost", self.server);
            open.lease = None;
        }
        if let Err(failure) = self.hold(&mut open).await {
            tracing::warn!("{}", self.server.in_words(failure, Operation::Appending));
        }
    }

    async fn close(&self) -> Result<(), JournalError> {
        let Some(open) = self.open.lock().await.take() else { return Ok(()) };
        if let Some(connection) = open.connection {
            // Everything that was appended is committed, however the connection ends.
            drop(answered(connection.close()).await);
        }
        if let Some(lease) = open.lease {
            lease.release().await;
        }
        Ok(())
    }

    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError> {
        let tick = on_connection!(self, Operation::Reading, connection => reading::last_tick(connection));
        Ok(tick.map(Timestamp::from_unix))
    }

    async fn record_tick(&self, at: Timestamp) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        let at = at.unix_seconds();
        let update =
            query("UPDATE keyround.journal SET last_tick = greatest(coalesce(last_tick, 0), $1)").bind(at);
        on_connection!(self, Operation::RecordingTick, connection => update.execute(connection));
        Ok(())
    }

    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<DeliveryState>, JournalError> {
        let memory =
            on_connection!(self, Operation::Reading, connection => reading::sink_memory(connection, sink));
        self.stored().sink_memory(memory)
    }

    async fn remember_sink(&self, sink: &SinkName, memory: &DeliveryState) -> Result<(), JournalError> {
        if self.mode == Mode::Read {
            return Err(read_only());
        }
        let memory = serde_json::to_string(memory).expect("a memory has nothing that JSON cannot say");
        let insert = query(
            "INSERT INTO keyround.alert_sink (name, memory) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET memory = excluded.memory",
        );
        let insert = insert.bind(sink.as_str()).bind(memory);
        on_connection!(self, Operation::RememberingSink, connection => insert.execute(connection));
        Ok(())
    }
}
