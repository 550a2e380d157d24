//! The SQL statements of an append, all of which run in its transaction.

use sqlx::{PgConnection, query, query_as, query_scalar};

use super::lease::{self, Claim};
use super::seen::Seen;
use super::server::{Server, answered};
use crate::adapters::journal::SealKey;
use crate::adapters::journal::chain::{Hash, Link, Progress, admit, encode};
use crate::adapters::journal::failure::Failure;
use crate::core::ids::{AccountName, Subject};
use crate::core::time::Timestamp;
use crate::ports::{Entry, JournalError, SecretChange};

/// What an append needs to know besides its entry.
pub(super) struct Append<'a> {
    pub(super) server: &'a Server,
    pub(super) writer: &'a str,
    pub(super) seal_key: Option<&'a SealKey>,
    /// The claim of a process that drives rotations; `None`: an operator command, which may append beside it.
    pub(super) claim: Option<Claim>,
}

impl Append<'_> {
    /// Appends the entry. The first statement locks the `journal` row until the transaction ends, so that all appends
    /// run one after the other. Returns the new end of the history.
    pub(super) async fn run(
        &self,
        connection: &mut PgConnection,
        seen: &mut Seen,
        entry: &Entry<'_>,
        sealed: Option<Vec<u8>>,
    ) -> Result<(u64, Hash), Failure> {
        let (events, head, salt, epoch): (i64, Vec<u8>, Vec<u8>, i64) = answered(
            query_as("SELECT events, head, seal_salt, epoch FROM keyround.journal FOR UPDATE")
                .fetch_one(&mut *connection),
        )
        .await?;
        if let Some(claim) = self.claim {
            answered(lease::check(connection, self.server, claim, epoch)).await?;
        }
        seen.check(connection, self.server, self.seal_key, (events, &head)).await?;
        answered(self.write(connection, entry, sealed, (events + 1, &head), &salt)).await
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        entry: &Entry<'_>,
        sealed: Option<Vec<u8>>,
        (position, head): (i64, &[u8]),
        salt: &[u8],
    ) -> Result<(u64, Hash), Failure> {
        let rotation = entry.rotation.to_string();
        admit(entry, standing(connection, &rotation).await?)?;
        if let Some(subject) = entry.event.begins() {
            begin(connection, &rotation, subject, entry.event.at()).await?;
        }
        let end = self.add(connection, &rotation, entry, (position, head), salt).await?;
        match (&entry.secret, sealed) {
            (_, Some(sealed)) => store_secret(connection, &rotation, entry.number, &sealed).await?,
            (SecretChange::Erase, None) => erase_secret(connection, &rotation).await?,
            (SecretChange::Keep | SecretChange::Seal(_), None) => {}
        }
        if entry.ends {
            query("UPDATE keyround.rotation SET ended = true WHERE id = $1")
                .bind(&rotation)
                .execute(connection)
                .await?;
        }
        Ok(end)
    }

    /// Inserts the event and moves the stored end of the history.
    async fn add(
        &self,
        connection: &mut PgConnection,
        rotation: &str,
        entry: &Entry<'_>,
        (position, head): (i64, &[u8]),
        salt: &[u8],
    ) -> Result<(u64, Hash), Failure> {
        let body = encode(entry.event);
        let link = Link {
            position: position.cast_unsigned(),
            rotation,
            number: entry.number,
            writer: self.writer,
            ends: entry.ends,
            body: &body,
        };
        let hash = link.hash_after(head);
        query(
            "INSERT INTO keyround.event (position, rotation, number, at, writer, ends, body, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(position)
        .bind(rotation)
        .bind(entry.number.cast_signed())
        .bind(entry.event.at().unix_seconds())
        .bind(self.writer)
        .bind(entry.ends)
        .bind(&body)
        .bind(hash.as_slice())
        .execute(&mut *connection)
        .await?;
        let code = self.seal_key.map(|key| key.head_code(salt, position.cast_unsigned(), &hash).to_vec());
        // Without the seal key, the seal stays over the earlier end.
        let moved = query(
            "UPDATE keyround.journal SET events = $1, head = $2, head_code = coalesce($3, head_code), \
             sealed_events = CASE WHEN $3::bytea IS NULL THEN sealed_events ELSE $1 END",
        )
        .bind(position)
        .bind(hash.as_slice())
        .bind(code)
        .execute(connection)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(self.server.unusable("did not take the new end of its history"));
        }
        Ok((position.cast_unsigned(), hash))
    }
}

/// How far the rotation has come; `None` if it has not begun.
async fn standing(connection: &mut PgConnection, rotation: &str) -> Result<Option<Progress>, Failure> {
    let row: Option<(bool, i64)> = query_as(
        "SELECT ended, (SELECT coalesce(max(number), 0) FROM keyround.event WHERE rotation = id) \
         FROM keyround.rotation WHERE id = $1",
    )
    .bind(rotation)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(ended, last)| Progress { last: last.cast_unsigned(), ended }))
}

async fn begin(
    connection: &mut PgConnection,
    rotation: &str,
    subject: &Subject,
    at: Timestamp,
) -> Result<(), Failure> {
    let account = subject.account.as_ref().map(AccountName::as_str);
    let under_way: bool = query_scalar(
        "SELECT EXISTS (SELECT FROM keyround.rotation \
         WHERE coalesce(account, '') = coalesce($1, '') AND iam_user = $2 AND NOT ended)",
    )
    .bind(account)
    .bind(subject.iam_user.as_str())
    .fetch_one(&mut *connection)
    .await?;
    if under_way {
        return Err(JournalError::AlreadyRotating { iam_user: subject.iam_user.clone() }.into());
    }
    query("INSERT INTO keyround.rotation (id, vendor, account, iam_user, started_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(rotation)
        .bind(subject.vendor.as_str())
        .bind(account)
        .bind(subject.iam_user.as_str())
        .bind(at.unix_seconds())
        .execute(connection)
        .await?;
    Ok(())
}

/// Stores a sealed secret in place of any earlier one.
async fn store_secret(
    connection: &mut PgConnection,
    rotation: &str,
    number: u64,
    sealed: &[u8],
) -> Result<(), Failure> {
    erase_secret(connection, rotation).await?;
    query("INSERT INTO keyround.sealed_secret (rotation, number, box) VALUES ($1, $2, $3)")
        .bind(rotation)
        .bind(number.cast_signed())
        .bind(sealed)
        .execute(connection)
        .await?;
    Ok(())
}

/// Erases the sealed secret of a rotation, and checks that none is left.
async fn erase_secret(connection: &mut PgConnection, rotation: &str) -> Result<(), Failure> {
    query("DELETE FROM keyround.sealed_secret WHERE rotation = $1")
        .bind(rotation)
        .execute(&mut *connection)
        .await?;
    let is_left: bool =
        query_scalar("SELECT EXISTS (SELECT FROM keyround.sealed_secret WHERE rotation = $1)")
            .bind(rotation)
            .fetch_one(connection)
            .await?;
    if is_left {
        return Err(Failure::Judged(JournalError::Unusable(format!(
            "the sealed secret of rotation {rotation} could not be erased; nothing was appended; restore the journal from a \
             backup"
        ))));
    }
    Ok(())
}
