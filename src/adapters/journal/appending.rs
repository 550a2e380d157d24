//! The SQL statements of an append, all of which run in its transaction.

use sqlx::{SqliteConnection, query, query_as, query_scalar};

use super::chain::{Hash, Link, Progress, encode};
use super::failure::Failure;
use crate::core::ids::{AccountName, Subject};
use crate::core::time::Timestamp;
use crate::ports::{Entry, JournalError};

/// How far the rotation has come; `None` if it has not begun.
pub(super) async fn standing(
    connection: &mut SqliteConnection,
    rotation: &str,
) -> Result<Option<Progress>, sqlx::Error> {
    let row: Option<(bool, i64)> = query_as(
        "SELECT ended, (SELECT ifnull(max(number), 0) FROM event WHERE rotation = id) FROM rotation WHERE id = ?",
    )
    .bind(rotation)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(ended, last)| Progress { last: last.cast_unsigned(), ended }))
}

pub(super) async fn begin(
    connection: &mut SqliteConnection,
    rotation: &str,
    subject: &Subject,
    at: Timestamp,
) -> Result<(), Failure> {
    let account = subject.account.as_ref().map(AccountName::as_str);
    let under_way: Option<i64> = query_scalar(
        "SELECT 1 FROM rotation WHERE ifnull(account, '') = ifnull(?, '') AND iam_user = ? AND ended = 0",
    )
    .bind(account)
    .bind(subject.iam_user.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if under_way.is_some() {
        return Err(JournalError::AlreadyRotating { iam_user: subject.iam_user.clone() }.into());
    }
    query("INSERT INTO rotation (id, vendor, account, iam_user, started_at) VALUES (?, ?, ?, ?, ?)")
        .bind(rotation)
        .bind(subject.vendor.as_str())
        .bind(account)
        .bind(subject.iam_user.as_str())
        .bind(at.unix_seconds())
        .execute(connection)
        .await?;
    Ok(())
}

/// Inserts the event at the end of the history and updates the stored end. Returns the new end.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    rotation: &str,
    entry: &Entry<'_>,
    writer: &str,
) -> Result<(u64, Hash), sqlx::Error> {
    let (events, head): (i64, Vec<u8>) =
        query_as("SELECT events, head FROM journal").fetch_one(&mut *connection).await?;
    let (position, body) = (events + 1, encode(entry.event));
    let link = Link {
        position: position.cast_unsigned(),
        rotation,
        number: entry.number,
        writer,
        ends: entry.ends,
        body: &body,
    };
    let hash = link.hash_after(&head);
    query("INSERT INTO event (position, rotation, number, at, writer, ends, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(position)
        .bind(rotation)
        .bind(entry.number.cast_signed())
        .bind(entry.event.at().unix_seconds())
        .bind(writer)
        .bind(entry.ends)
        .bind(&body)
        .bind(hash.as_slice())
        .execute(&mut *connection)
        .await?;
    query("UPDATE journal SET events = ?, head = ?")
        .bind(position)
        .bind(hash.as_slice())
        .execute(connection)
        .await?;
    Ok((position.cast_unsigned(), hash))
}

/// Stores a sealed secret in place of any earlier one. Returns whether an earlier one was erased.
pub(super) async fn store_secret(
    connection: &mut SqliteConnection,
    rotation: &str,
    number: u64,
    sealed: &[u8],
) -> Result<bool, Failure> {
    let erased = erase_secret(&mut *connection, rotation).await?;
    query("INSERT INTO sealed_secret (rotation, number, box) VALUES (?, ?, ?)")
        .bind(rotation)
        .bind(number.cast_signed())
        .bind(sealed)
        .execute(connection)
        .await?;
    Ok(erased)
}

/// Erases the sealed secret of a rotation. Returns whether there was one. The rows are counted before and after instead
/// of trusting SQLite's success, because a sealed secret that stayed would be in every backup.
pub(super) async fn erase_secret(connection: &mut SqliteConnection, rotation: &str) -> Result<bool, Failure> {
    let before = sealed_secrets(connection, rotation).await?;
    let erased = query("DELETE FROM sealed_secret WHERE rotation = ?")
        .bind(rotation)
        .execute(&mut *connection)
        .await?;
    let left = sealed_secrets(connection, rotation).await?;
    if left != 0 || erased.rows_affected() != before {
        return Err(Failure::Judged(JournalError::Unusable(format!(
            "the sealed secret of rotation {rotation} could not be erased: SQLite reports {} of {before} rows and {left} \
             are left; nothing was appended; restore the journal from a backup",
            erased.rows_affected()
        ))));
    }
    Ok(before > 0)
}

async fn sealed_secrets(connection: &mut SqliteConnection, rotation: &str) -> Result<u64, sqlx::Error> {
    let count: i64 = query_scalar("SELECT count(*) FROM sealed_secret WHERE rotation = ?")
        .bind(rotation)
        .fetch_one(connection)
        .await?;
    Ok(count.cast_unsigned())
}

pub(super) async fn end(connection: &mut SqliteConnection, rotation: &str) -> Result<(), sqlx::Error> {
    query("UPDATE rotation SET ended = 1 WHERE id = ?").bind(rotation).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions as _, raw_sql};

    use super::*;
    use crate::adapters::journal::schema;

    #[tokio::test]
    async fn a_secret_that_remains_after_its_erasure_is_an_error() {
        let copy = "AFTER DELETE ON sealed_secret BEGIN INSERT INTO sealed_secret VALUES (old.rotation, old.number, old.box)";
        for (planted, words) in [
            ("BEFORE DELETE ON sealed_secret BEGIN SELECT raise(IGNORE)", "0 of 1 rows and 1 are left"),
            (copy, "1 of 1 rows and 1 are left"),
        ] {
            let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(false);
            let mut connection = options.connect().await.expect("a database");
            schema::migrate(&mut connection).await.expect("a schema");
            assert!(matches!(erase_secret(&mut connection, "r").await, Ok(false)), "there may be none");
            raw_sql("INSERT INTO sealed_secret VALUES ('r', 1, x'00')")
                .execute(&mut connection)
                .await
                .expect("a secret");
            let trigger = format!("CREATE TRIGGER keeper {planted}; END");
            raw_sql(AssertSqlSafe(trigger)).execute(&mut connection).await.expect("planted");
            let refused = erase_secret(&mut connection, "r").await.expect_err("it stayed");
            let Failure::Judged(JournalError::Unusable(why)) = refused else { panic!("{refused:?}") };
            assert!(why.contains(words) && why.contains("nothing was appended"), "{why}");
            raw_sql("DROP TRIGGER keeper").execute(&mut connection).await.expect("dropped");
            assert!(matches!(erase_secret(&mut connection, "r").await, Ok(true)));
        }
    }
}
