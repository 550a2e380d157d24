//! The journal: what was done and what is about to be done, and the sealed secrets in between.
//!
//! Two journals keep one contract ([`crate::ports::Journal`]): [`SqliteJournal`], a file, and
//! [`MemoryJournal`], for tests and rehearsals.
//!
//! **Invariant:** the history is append-only, and an append says which event it expects to be the
//! next one. Of two writers who saw the same past, one is told of a conflict.
//!
//! **Invariant:** an event, the end of its rotation and the change of its secret are one transaction,
//! on the disk before the append returns.
//!
//! **Invariant:** a file that is damaged, foreign, from a newer version or sealed with another key
//! is refused with a sentence that says which, and is not touched.
//!
//! # What the chain of hashes and the seal over its head prove
//!
//! Each event's hash covers the one before it, and the journal's own row keeps the number of events
//! and the last hash. `journal verify` so finds a row that was changed, put in, taken out, moved or
//! cut off the end. A code over the head, under a key that is derived from the seal key (HMAC-SHA256),
//! keeps a history out that somebody wrote who does not hold the seal key; it is checked before
//! anything is driven, again whenever another process has written, and by `journal verify`.
//!
//! Somebody who can write the file can still put an older copy of it in its place, and append what an
//! operator may append without the seal key (hold, resume, reactivate, abandon, ack). Against the first,
//! the count and the last hash are in the log and in the heartbeat of each full pass: a history that still has
//! that hash at that place goes on from the one that was there. A journal from a version that had no such code gets
//! it when it is first driven: what stands in it then is trusted.

mod appending;
mod chain;
mod failure;
mod fallback;
mod files;
mod head;
mod memory;
mod open_file;
mod opening;
mod rekey;
mod schema;
mod seal;
mod sqlite;
mod verify;

use std::path::Path;
use std::sync::Arc;

pub use chain::{Unreadable, decode, encode};
pub use fallback::FallbackFile;
pub use memory::MemoryJournal;
pub use rekey::{OldKey, Rekeyed, rekey};
pub use seal::{BadSealKey, SealKey};
pub use sqlite::SqliteJournal;

use crate::ports::{Journal, JournalError};

/// What a journal is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// To drive rotations. One process at a time: the others are told who it is.
    Drive,
    /// To append what an operator says, while another process may be driving.
    Operate,
    /// To look. Nothing is made, migrated or written.
    Read,
}

/// Opens the SQLite journal at `path`. Without a seal key, the file `seal.key` beside the journal
/// is used, and made together with the journal. A reader sees a missing journal as an empty one.
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

/// Opens the SQLite journal at `path`, which must exist, for an operator who cannot read its seal key.
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

/// Who writes: `host:pid`.
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
