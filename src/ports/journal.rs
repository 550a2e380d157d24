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
    /// Leaves it as it is.
    Keep,
    /// Seals and stores this secret.
    Seal(Secret),
    /// Erases the secret, if there is one.
    Erase,
}

/// One event to be appended.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The rotation that the event belongs to.
    pub rotation: RotationId,
    /// Its number in the rotation, from 1: one more than the last, or the append is a conflict.
    pub number: u64,
    /// What happened.
    pub event: &'a Event,
    /// What happens to the sealed secret.
    pub secret: SecretChange,
    /// Whether this event finishes the rotation. After that its user can begin another one.
    pub ends: bool,
}

/// One event as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// Its position in the whole history, from 1.
    pub position: u64,
    /// The rotation that it belongs to.
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

/// A rotation that the journal has events of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownRotation {
    /// Its id.
    pub rotation: RotationId,
    /// The IAM user, and the vendor that had it when the rotation began.
    pub subject: Subject,
    /// When it began.
    pub started_at: Timestamp,
    /// Whether it is finished.
    pub ended: bool,
}

/// Why the journal did not perform an operation. No operation is half done.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another event has that number: another process appended first.
    #[error("rotation {rotation} has moved on: event {number} is there already")]
    Conflict {
        /// The rotation.
        rotation: RotationId,
        /// The event number that is already used.
        number: u64,
    },
    /// The user has a rotation that is not finished.
    #[error("the IAM user {iam_user} already has a rotation that is not over")]
    AlreadyRotating {
        /// The user that already has a rotation.
        iam_user: IamUserName,
    },
    /// Another process drives rotations with this journal.
    #[error("{0}")]
    InUse(String),
    /// The journal cannot be trusted: it is damaged, or a newer version of keyround wrote it.
    #[error("{0}")]
    Unusable(String),
    /// The key that seals the journal's secrets is missing, cannot be read, or is not the one that sealed them.
    #[error("{0}")]
    SealKey(String),
    /// The journal cannot be reached or written now.
    #[error("{0}")]
    Unavailable(String),
}

/// Stores the events of all rotations. It is the only state that processes share: an event that is not in it did not
/// happen.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends one event. It is durable when this function returns.
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

    /// Opens the sealed secret of a rotation; `None` when it has none, or when the secret was erased.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable, or was opened without its seal key.
    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError>;

    /// The rotations that are not finished, oldest first.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn in_flight(&self) -> Result<Vec<KnownRotation>, JournalError>;

    /// All rotations, or one vendor's, finished or not, oldest first.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<KnownRotation>, JournalError>;

    /// All events with a time of `since` or later, or one vendor's, in order.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn history(
        &self,
        vendor: Option<&VendorName>,
        since: Timestamp,
    ) -> Result<Vec<Recorded>, JournalError>;

    /// The events after this position of the history, in order. A reader that keeps the last position sees each event
    /// once, whatever the clock showed when it was written.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError>;

    /// Recomputes the hash chain over the whole history, and with the seal key also the seal over its head. Returns the
    /// number of events and the last hash.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unusable`] names the first event that does not fit. The journal may also be unavailable.
    async fn verify_history(&self) -> Result<(u64, String), JournalError>;

    /// Whether [`Journal::verify_history`] also checks the seal over the head. Without the seal key it cannot.
    fn checks_seal(&self) -> bool {
        false
    }

    /// The number of events and the last hash, as they are stored. A reader outside of keyround can keep them, to
    /// compare them later.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn head(&self) -> Result<(u64, String), JournalError> {
        self.verify_history().await
    }

    /// Finishes postponed work on the disk, such as wiping an erased secret while a reader was using the file. Call it
    /// now and then; without postponed work it does nothing.
    async fn tend(&self) {}

    /// Closes the journal. After that, everything that was appended is in one file, and later calls fail.
    ///
    /// # Errors
    ///
    /// The file could not be closed; nothing that was appended is lost.
    async fn close(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// When the last scheduled pass began, if there was one.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError>;

    /// Records that a scheduled pass began at this time.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn record_tick(&self, at: Timestamp) -> Result<(), JournalError>;

    /// The delivery state of this sink: what it was sent last, and with which result. `None` if nothing was recorded.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<DeliveryState>, JournalError>;

    /// Records the delivery state of this sink.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    async fn remember_sink(&self, sink: &SinkName, memory: &DeliveryState) -> Result<(), JournalError>;
}
