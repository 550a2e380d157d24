//! The port to the journal.

use async_trait::async_trait;

use crate::core::alert::DeliveryState;
use crate::core::ids::{IamUserName, RotationId, SinkName, Subject, VendorName};
use crate::core::rotation::Event;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;

/// What an append does to the sealed secret of its rotation, in the same transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretChange {
    /// Nothing.
    Keep,
    /// Seals and stores it.
    Seal(Secret),
    /// Erases it; there may be none.
    Erase,
}

/// One event to be appended.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Whose.
    pub rotation: RotationId,
    /// Its number in the rotation, from 1: one more than the last, or the append is a conflict.
    pub number: u64,
    /// What happened.
    pub event: &'a Event,
    /// What becomes of the sealed secret.
    pub secret: SecretChange,
    /// Whether the rotation is over with it. Its user can then begin another.
    pub ends: bool,
}

/// One event as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// Its place in the whole history, from 1.
    pub position: u64,
    /// Whose.
    pub rotation: RotationId,
    /// Its number in the rotation, from 1.
    pub number: u64,
    /// The host and process that wrote it.
    pub writer: String,
    /// What happened.
    pub event: Event,
    /// The hash over this event and the hash before it: 64 hexadecimal digits.
    pub hash: String,
}

/// A rotation that the journal knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// Its id.
    pub rotation: RotationId,
    /// Whose key.
    pub subject: Subject,
    /// When it began.
    pub started_at: Timestamp,
    /// Whether it is over.
    pub ended: bool,
}

/// Why the journal did not do it. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another event has that number: somebody else appended first.
    #[error("rotation {rotation} has moved on: event {number} is there already")]
    Conflict {
        /// Whose.
        rotation: RotationId,
        /// The number that was taken.
        number: u64,
    },
    /// The user has a rotation that is not over.
    #[error("the IAM user {iam_user} already has a rotation that is not over")]
    AlreadyRotating {
        /// The user.
        iam_user: IamUserName,
    },
    /// Another process drives rotations with this journal.
    #[error("{0}")]
    InUse(String),
    /// The journal cannot be believed: damaged, or from a newer version.
    #[error("{0}")]
    Unusable(String),
    /// The key that seals the journal's secrets is missing, cannot be read, or is another one.
    #[error("{0}")]
    SealKey(String),
    /// The journal cannot be reached or written now.
    #[error("{0}")]
    Unavailable(String),
}

/// The only shared thing: what is not in here did not happen.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends one event, durably, when it returns.
    ///
    /// # Errors
    ///
    /// Any of [`JournalError`]; nothing was appended.
    async fn append(&self, entry: Entry<'_>) -> Result<(), JournalError>;

    /// The events of one rotation, in order.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn read(&self, rotation: RotationId) -> Result<Vec<Event>, JournalError>;

    /// Opens the sealed secret of a rotation; `None` when it has none, or it is erased.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError>;

    /// The rotations that are not over, oldest first.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn in_flight(&self) -> Result<Vec<Known>, JournalError>;

    /// All rotations, or one vendor's, oldest first.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<Known>, JournalError>;

    /// The whole history from `since` on, or one vendor's, in order.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn history(
        &self,
        vendor: Option<&VendorName>,
        since: Timestamp,
    ) -> Result<Vec<Recorded>, JournalError>;

    /// What was appended after this place of the history, in order. What a projection has taken in, it is not
    /// shown again, whatever the clock said when it was written.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError>;

    /// Recomputes the hash chain over the whole history, and with the seal key the seal over its head. Gives the number of
    /// events and the last hash.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unusable`] names the first event that does not fit.
    async fn verify_history(&self) -> Result<(u64, String), JournalError>;

    /// Whether [`Journal::verify_history`] checks the seal over the head, too. Without the seal key it cannot.
    fn checks_seal(&self) -> bool {
        false
    }

    /// The number of events and the last hash, as they are stored: for somebody else to keep.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn head(&self) -> Result<(u64, String), JournalError> {
        self.verify_history().await
    }

    /// Does what is still to be done on the disk, such as wiping an erased secret that a reader was in the way of. It is to
    /// be called now and then; when nothing is owed, it does nothing.
    async fn tend(&self) {}

    /// Closes the journal, after which everything that was appended is in one file. Later calls fail.
    ///
    /// # Errors
    ///
    /// The file could not be closed; nothing that was appended is lost.
    async fn close(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// The time of the last scheduled pass that was begun, if any.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError>;

    /// Remembers that the scheduled pass of this time was begun.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn record_tick(&self, at: Timestamp) -> Result<(), JournalError>;

    /// What this sink of alerts was last told, if anything.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<DeliveryState>, JournalError>;

    /// Remembers what this sink was last told.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn remember_sink(&self, sink: &SinkName, memory: &DeliveryState) -> Result<(), JournalError>;
}
