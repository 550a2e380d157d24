//! The SQL statements that read a journal.

use sqlx::{PgConnection, query_as, query_scalar};

use super::seen::ReadRow;
use crate::adapters::journal::failure::Failure;
use crate::adapters::journal::stored::{KnownRow, RecordedRow};
use crate::core::ids::{RotationId, SinkName, VendorName};
use crate::core::time::Timestamp;

pub(super) async fn events_of(
    connection: &mut PgConnection,
    rotation: &str,
) -> Result<Vec<ReadRow>, Failure> {
    let rows = query_as(
        "SELECT position, number, writer, ends, body FROM keyround.event WHERE rotation = $1 ORDER BY number",
    )
    .bind(rotation)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// The stored number of events and the last hash.
pub(super) async fn end(connection: &mut PgConnection) -> Result<(i64, Vec<u8>), Failure> {
    Ok(query_as("SELECT events, head FROM keyround.journal").fetch_one(connection).await?)
}

/// The number of the event that made the secret, the secret's box, and the body of that event.
pub(super) async fn secret(
    connection: &mut PgConnection,
    rotation: RotationId,
) -> Result<Option<(i64, Vec<u8>, String)>, Failure> {
    let row = query_as(
        "SELECT number, box, body FROM keyround.sealed_secret JOIN keyround.event USING (rotation, number) \
         WHERE rotation = $1",
    )
    .bind(rotation.to_string())
    .fetch_optional(connection)
    .await?;
    Ok(row)
}

pub(super) async fn in_flight(connection: &mut PgConnection) -> Result<Vec<KnownRow>, Failure> {
    let rows = query_as(
        "SELECT id, vendor, account, iam_user, started_at, ended FROM keyround.rotation WHERE NOT ended \
         ORDER BY started_at, id",
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

pub(super) async fn rotations(
    connection: &mut PgConnection,
    vendor: Option<&VendorName>,
) -> Result<Vec<KnownRow>, Failure> {
    let rows = query_as(
        "SELECT id, vendor, account, iam_user, started_at, ended FROM keyround.rotation \
         WHERE vendor = coalesce($1, vendor) ORDER BY started_at, id",
    )
    .bind(vendor.map(VendorName::as_str))
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

pub(super) async fn history(
    connection: &mut PgConnection,
    vendor: Option<&VendorName>,
    since: Timestamp,
) -> Result<Vec<RecordedRow>, Failure> {
    let rows = query_as(
        "SELECT position, rotation, number, writer, body, hash FROM keyround.event \
         JOIN keyround.rotation ON id = rotation WHERE vendor = coalesce($1, vendor) AND at >= $2 ORDER BY position",
    )
    .bind(vendor.map(VendorName::as_str))
    .bind(since.unix_seconds())
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

pub(super) async fn history_after(
    connection: &mut PgConnection,
    position: u64,
) -> Result<Vec<RecordedRow>, Failure> {
    let rows = query_as(
        "SELECT position, rotation, number, writer, body, hash FROM keyround.event WHERE position > $1 ORDER BY position",
    )
    .bind(i64::try_from(position).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

pub(super) async fn last_tick(connection: &mut PgConnection) -> Result<Option<i64>, Failure> {
    Ok(query_scalar("SELECT last_tick FROM keyround.journal").fetch_one(connection).await?)
}

pub(super) async fn sink_memory(
    connection: &mut PgConnection,
    sink: &SinkName,
) -> Result<Option<String>, Failure> {
    let memory = query_scalar("SELECT memory FROM keyround.alert_sink WHERE name = $1")
        .bind(sink.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(memory)
}
