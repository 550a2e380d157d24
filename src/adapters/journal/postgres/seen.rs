//! The history as this process verified it last, and its verification.

use sqlx::{PgConnection, query_as, query_scalar};

use super::server::{Server, answered};
use crate::adapters::journal::SealKey;
use crate::adapters::journal::chain::{GENESIS, Hash, Link};
use crate::adapters::journal::failure::Failure;
use crate::adapters::journal::head::HeadSeal;
use crate::adapters::journal::verify::{ChainRow, Check, PAGE_ROWS, Verdict};

/// The hashes of the events that this process verified or appended: 32 bytes an event.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashes: Vec<Hash>,
}

/// One event of a rotation, as it is checked before the rotation is driven: position, number, writer, whether it ends
/// the rotation, body.
pub(super) type ReadRow = (i64, i64, String, bool, String);

impl Seen {
    /// Verifies the whole history.
    pub(super) async fn of(
        connection: &mut PgConnection,
        server: &Server,
        seal_key: Option<&SealKey>,
    ) -> Result<Seen, Failure> {
        let mut hashes = Vec::new();
        match verify(connection, seal_key, |hash| hashes.push(*hash)).await? {
            Ok(_) => Ok(Seen { hashes }),
            Err(why) => Err(server.unusable(&format!("is damaged: {why}; restore it from a backup"))),
        }
    }

    /// Checks that the history still ends where this process last saw its end, inside the transaction that will use it.
    /// If another process has appended, everything is verified again, and must continue what was seen.
    pub(super) async fn check(
        &mut self,
        connection: &mut PgConnection,
        server: &Server,
        seal_key: Option<&SealKey>,
        (events, head): (i64, &[u8]),
    ) -> Result<(), Failure> {
        let last = self.hashes.last().unwrap_or(&GENESIS);
        if events.cast_unsigned() == self.hashes.len() as u64 && head == last {
            return Ok(());
        }
        let now = Seen::of(connection, server, seal_key).await?;
        if !now.hashes.starts_with(&self.hashes) {
            return Err(server.unusable(&format!(
                "is not the one that this process wrote: it does not have the same {} events any more, as when an older \
                 copy is put in its place",
                self.hashes.len()
            )));
        }
        *self = now;
        Ok(())
    }

    /// Checks that these rows are the events that were verified.
    pub(super) fn check_rows(
        &self,
        server: &Server,
        rotation: &str,
        rows: &[ReadRow],
    ) -> Result<(), Failure> {
        for (position, number, writer, ends, body) in rows {
            let index = usize::try_from(position - 1).unwrap_or(usize::MAX);
            let before = index.checked_sub(1).map_or(Some(&GENESIS), |index| self.hashes.get(index));
            let link = Link {
                position: position.cast_unsigned(),
                rotation,
                number: number.cast_unsigned(),
                writer,
                ends: *ends,
                body,
            };
            let hash = before.map(|before| link.hash_after(before));
            if hash.is_none() || hash.as_ref() != self.hashes.get(index) {
                return Err(server.unusable(&format!(
                    "is damaged: event {position} of the history (event {number} of rotation {rotation}) is not the one that \
                     this process verified; restore it from a backup"
                )));
            }
        }
        Ok(())
    }

    /// Records that this process appended an event.
    pub(super) fn moved(&mut self, (events, hash): (u64, Hash)) {
        // If the history moved in another way, the next use verifies it again.
        if events == self.hashes.len() as u64 + 1 {
            self.hashes.push(hash);
        }
    }
}

/// Verifies the whole history, page by page. The caller's transaction must show one moment: it is REPEATABLE READ, or it
/// has locked the `journal` row. `each` gets the hash of each event.
pub(super) async fn verify(
    connection: &mut PgConnection,
    seal_key: Option<&SealKey>,
    mut each: impl FnMut(&Hash) + Send,
) -> Result<Verdict, Failure> {
    let mut check = Check::new(match seal_key {
        Some(seal_key) => Some((seal_key, stored_seal(connection).await?)),
        None => None,
    });
    loop {
        let page = query_as(
            "SELECT position, rotation, number, at, writer, ends, body, hash FROM keyround.event \
             WHERE position > $1 ORDER BY position LIMIT $2",
        );
        let page = page.bind(check.events().cast_signed()).bind(PAGE_ROWS);
        let page: Vec<ChainRow> = answered(page.fetch_all(&mut *connection)).await?;
        if page.is_empty() {
            break;
        }
        for row in &page {
            if let Err(why) = check.follow(row) {
                return Ok(Err(why));
            }
            each(check.hash());
        }
    }
    // An event whose position is not positive is in no page.
    let rows: i64 = query_scalar("SELECT count(*) FROM keyround.event").fetch_one(&mut *connection).await?;
    if rows.cast_unsigned() != check.events() {
        return Ok(Err(format!("the history has {rows} rows and {} events in order", check.events())));
    }
    let end = query_as("SELECT events, head FROM keyround.journal").fetch_one(&mut *connection).await?;
    let derived = query_as(
        "SELECT id, vendor, account, iam_user, started_at, ended, coalesce(body, '') \
         FROM keyround.rotation LEFT JOIN keyround.event ON rotation = id AND number = 1 ORDER BY id",
    )
    .fetch_all(connection)
    .await?;
    Ok(check.end(&end, &derived))
}

async fn stored_seal(connection: &mut PgConnection) -> Result<HeadSeal, Failure> {
    let (salt, events, code) = query_as("SELECT seal_salt, sealed_events, head_code FROM keyround.journal")
        .fetch_one(connection)
        .await?;
    Ok(HeadSeal::new(salt, events, code))
}
