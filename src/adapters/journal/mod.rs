//! The journal: the append-only history of every rotation, and the sealed secret of each new access key until the
//! vendor has it.
//!
//! There are three implementations of [`crate::ports::Journal`]: [`SqliteJournal`], a file; [`PostgresJournal`], a
//! database that several machines can reach; and [`MemoryJournal`], for tests and rehearsals.
//!
//! **Invariant:** the history is append-only, and an append names the number that its event must get. If two writers
//! read the same history and both append, the second one gets [`JournalError::Conflict`].
//!
//! **Invariant:** an event, the end of its rotation and the change of its secret are one transaction, and that
//! transaction is on disk before the append returns.
//!
//! **Invariant:** a file that is damaged, foreign, from a newer version or sealed with another key is refused,
//! unchanged, with a message that says which of these it is.
//!
//! # What the hash chain and the seal over its head prove
//!
//! Each event's hash covers the hash of the event before it, and the `journal` row stores the number of events and the
//! last hash. So `journal verify` finds a row that was changed, inserted, removed, moved or cut off the end. A code
//! over the head (HMAC-SHA256 under a key that is derived from the seal key) makes keyround refuse a history that was
//! written by a program without the seal key. The code is checked before any rotation is driven, again whenever another
//! process has written, and by `journal verify`.
//!
//! A program that can write the file can still replace it with an older copy, and can append the events that an
//! operator may append without the seal key (hold, resume, reactivate, abandon, ack, the declaration of an incident).
//! Against an older copy, the log and the heartbeat of each full pass contain the event count and the last hash: a
//! history that still has that hash at that position continues the one that was there. A journal from a version without
//! this code gets one when it is first driven; the events that it holds at that moment are trusted.

mod appending;
mod chain;
mod copy;
mod failure;
mod fallback;
mod files;
mod head;
mod memory;
mod open_file;
mod opening;
mod postgres;
mod rekey;
mod schema;
mod seal;
mod sqlite;
mod stored;
mod verify;

use std::path::Path;
use std::sync::Arc;

pub use chain::{Unreadable, decode, encode};
pub use copy::{Copied, Place, copy};
pub use fallback::FallbackFile;
pub use memory::MemoryJournal;
pub use postgres::PostgresJournal;
pub use rekey::{OldKey, Rekeyed, rekey};
pub use seal::{BadSealKey, SealKey};
pub use sqlite::SqliteJournal;

use crate::core::secret::Secret;
use crate::ports::{Journal, JournalError};

/// What a journal is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// To drive rotations. Only one process can do this at a time; another one gets an error that names the first.
    Drive,
    /// To append the event of an operator command, while another process may be driving rotations.
    Operate,
    /// To read. Nothing is created, migrated or written.
    Read,
}

/// Opens the SQLite journal at `path`. If `seal_key` is `None`, the file `seal.key` beside the journal is used; it is
/// created together with a new journal. In [`Mode::Read`], a missing journal reads as an empty one.
///
/// # Errors
///
/// The journal is unusable, unavailable, or in use by another process.
pub async fn open(
    path: &Path,
    seal_key: Option<SealKey>,
    mode: Mode,
) -> Result<Arc<dyn Journal>, JournalError> {
    if mode == Mode::Read && files::inspect(path)? == files::Found::Nothing {
        return Ok(Arc::new(MemoryJournal::empty_for_reading()));
    }
    Ok(Arc::new(SqliteJournal::open(path, seal_key, mode).await?))
}

/// Opens the journal in the PostgreSQL database with this URL. Its tables are made if the database has none; in
/// [`Mode::Read`], a missing journal reads as an empty one.
///
/// # Errors
///
/// The journal is unusable, unavailable, or in use by another process; or there is none and no seal key to make one.
pub async fn open_database(
    url: &Secret,
    seal_key: Option<SealKey>,
    mode: Mode,
) -> Result<Arc<dyn Journal>, JournalError> {
    if mode == Mode::Drive && seal_key.is_none() {
        return Err(copy::no_seal_key());
    }
    match PostgresJournal::open(url, seal_key, mode).await? {
        Some(journal) => Ok(Arc::new(journal)),
        None if mode == Mode::Read => {
            tracing::warn!(
                "there is no journal in the database yet: rotations of another journal are not shown"
            );
            Ok(Arc::new(MemoryJournal::empty_for_reading()))
        }
        None => Err(JournalError::Unavailable(
            "there is no journal in the database of [journal] url; nothing was touched".to_owned(),
        )),
    }
}

/// Opens the SQLite journal at `path`, which must exist, for an operator command whose user cannot read the seal key.
///
/// # Errors
///
/// The journal is unusable, unavailable, or not there.
pub async fn open_without_key(path: &Path) -> Result<Arc<dyn Journal>, JournalError> {
    Ok(Arc::new(SqliteJournal::open_without_key(path).await?))
}

fn read_only() -> JournalError {
    JournalError::Unavailable("the journal was opened for reading only; nothing was appended".to_owned())
}

/// The name of this process as a writer of events: `host:pid`.
fn this_process() -> String {
    format!("{}:{}", host(), std::process::id())
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(64).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
