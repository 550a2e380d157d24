//! A journal that fails in ways that a test selects.

use std::sync::atomic::AtomicBool;

use keyround::core::alert::DeliveryState;
use keyround::core::ids::SinkName;
use keyround::ports::{JournalError, Recorded};

use super::*;

/// A journal that can hang when a pass is recorded, fail to read what the sinks received, and need a minute to
/// return its head.
pub(super) struct Ailing {
    journal: Arc<MemoryJournal>,
    pub(super) hangs: AtomicBool,
    pub(super) is_forgetful: AtomicBool,
    pub(super) is_slow: AtomicBool,
    /// How often its head was requested, and how often it was returned.
    pub(super) heads: (AtomicUsize, AtomicUsize),
}

impl Ailing {
    pub(super) fn beside(house: &House) -> Ailing {
        let journal = Arc::clone(&house.journal);
        Ailing {
            journal,
            hangs: AtomicBool::new(false),
            is_forgetful: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
            heads: Default::default(),
        }
    }
}

#[async_trait]
impl Journal for Ailing {
    async fn append(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        self.journal.append(entry).await
    }

    async fn read(&self, rotation: RotationId) -> Result<Vec<Event>, JournalError> {
        self.journal.read(rotation).await
    }

    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError> {
        self.journal.secret(rotation).await
    }

    async fn in_flight(&self) -> Result<Vec<KnownRotation>, JournalError> {
        self.journal.in_flight().await
    }

    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<KnownRotation>, JournalError> {
        self.journal.rotations(vendor).await
    }

    async fn history(
        &self,
        vendor: Option<&VendorName>,
        since: Timestamp,
    ) -> Result<Vec<Recorded>, JournalError> {
        self.journal.history(vendor, since).await
    }

    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError> {
        self.journal.history_after(position).await
    }

    async fn verify_history(&self) -> Result<(u64, String), JournalError> {
        self.journal.verify_history().await
    }

    async fn head(&self) -> Result<(u64, String), JournalError> {
        self.heads.0.fetch_add(1, Ordering::SeqCst);
        if self.is_slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        self.heads.1.fetch_add(1, Ordering::SeqCst);
        self.journal.head().await
    }

    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError> {
        self.journal.last_tick().await
    }

    async fn record_tick(&self, at: Timestamp) -> Result<(), JournalError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.journal.record_tick(at).await
    }

    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<DeliveryState>, JournalError> {
        match self.is_forgetful.load(Ordering::SeqCst) {
            true => Err(JournalError::Unavailable("the disk is slow".to_owned())),
            false => self.journal.sink_memory(sink).await,
        }
    }

    async fn remember_sink(&self, sink: &SinkName, memory: &DeliveryState) -> Result<(), JournalError> {
        self.journal.remember_sink(sink, memory).await
    }
}
