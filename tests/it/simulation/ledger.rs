//! The journal of a play: the in-memory journal behind a disk that can be busy, full, or fail to confirm a commit.
//!
//! The program trusts the journal, so the checkers look at each entry here.

use std::sync::Arc;

use async_trait::async_trait;
use keyround::adapters::journal::MemoryJournal;
use keyround::core::alert::DeliveryState;
use keyround::core::ids::{IamUserName, RotationId, SinkName, VendorName};
use keyround::core::rotation::{Event, Rotation};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{Entry, Journal, JournalError, KnownRotation, Recorded, SecretChange};

use super::Mistake;
use super::faults::{AT_JOURNAL, Fault};
use super::world::Sim;

/// The journal that the program sees, and that operators append to.
#[derive(Clone)]
pub(super) struct SimJournal {
    sim: Sim,
    pub(super) inner: Arc<MemoryJournal>,
}

impl SimJournal {
    pub(super) fn new(sim: Sim) -> SimJournal {
        SimJournal { sim, inner: Arc::default() }
    }

    /// Appends without a fault. Operators use it directly, because only the program's own appends meet disk faults.
    pub(super) async fn write(&self, mut entry: Entry<'_>) -> Result<(), JournalError> {
        if self.sim.lock().mistake == Mistake::SecretIsKept && entry.secret == SecretChange::Erase {
            entry.secret = SecretChange::Keep;
        }
        let (id, number, event) = (entry.rotation, entry.number, entry.event.clone());
        self.inner.append(entry).await?;
        let secret = self.inner.secret(id).await?;
        let mut state = self.sim.lock();
        let rotation = match state.rotations.remove(&id) {
            None => Rotation::replay(id, [&event]),
            Some(mut rotation) => rotation.apply(&event).map(|()| rotation),
        };
        match rotation {
            Ok(rotation) => {
                state.note(format!("{}: event {number}: {}", rotation.subject().iam_user, event.name()));
                state.check_event(&rotation, &event, secret.as_ref());
                drop(state.rotations.insert(id, rotation));
            }
            Err(illegal) => state.break_with(illegal.to_string()),
        }
        Ok(())
    }

    fn user(&self, entry: &Entry<'_>) -> IamUserName {
        if let Some(subject) = entry.event.begins() {
            return subject.iam_user.clone();
        }
        self.sim.lock().rotations[&entry.rotation].subject().iam_user.clone()
    }

    fn is_readable(&self) -> Result<(), JournalError> {
        let mut state = self.sim.lock();
        let super::world::State { weather, dice, .. } = &mut *state;
        match dice.per_mille(20) && weather.strikes(Fault::Busy, dice) {
            true => Err(unavailable("the journal is locked")),
            false => Ok(()),
        }
    }
}

fn unavailable(sentence: &str) -> JournalError {
    JournalError::Unavailable(sentence.to_owned())
}

#[async_trait]
impl Journal for SimJournal {
    async fn append(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        let user = self.user(&entry);
        let fault = {
            let mut state = self.sim.lock();
            let is_full = state.is_disk_full();
            if is_full {
                state.mark(&user, Fault::DiskFull);
            }
            if is_full { Some(Fault::DiskFull) } else { state.strike(&user, &AT_JOURNAL) }
        };
        match fault {
            Some(Fault::KilledBefore) => self.sim.die().await,
            Some(Fault::KilledAfter) => {
                self.write(entry).await?;
                self.sim.die().await
            }
            Some(Fault::Busy) => Err(unavailable("the journal is locked")),
            Some(Fault::DiskFull) => Err(unavailable("no space left on device")),
            Some(Fault::CommitInDoubt) => {
                self.write(entry).await?;
                Err(unavailable("the disk did not answer"))
            }
            _ => self.write(entry).await,
        }
    }

    async fn read(&self, rotation: RotationId) -> Result<Vec<Event>, JournalError> {
        self.is_readable()?;
        self.inner.read(rotation).await
    }

    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError> {
        self.is_readable()?;
        self.inner.secret(rotation).await
    }

    async fn in_flight(&self) -> Result<Vec<KnownRotation>, JournalError> {
        self.is_readable()?;
        self.inner.in_flight().await
    }

    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<KnownRotation>, JournalError> {
        self.inner.rotations(vendor).await
    }

    async fn history(
        &self,
        vendor: Option<&VendorName>,
        since: Timestamp,
    ) -> Result<Vec<Recorded>, JournalError> {
        self.inner.history(vendor, since).await
    }

    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError> {
        self.inner.history_after(position).await
    }

    async fn verify_history(&self) -> Result<(u64, String), JournalError> {
        self.inner.verify_history().await
    }

    async fn head(&self) -> Result<(u64, String), JournalError> {
        self.is_readable()?;
        self.inner.head().await
    }

    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError> {
        self.is_readable()?;
        self.inner.last_tick().await
    }

    async fn record_tick(&self, at: Timestamp) -> Result<(), JournalError> {
        self.is_readable()?;
        self.inner.record_tick(at).await
    }

    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<DeliveryState>, JournalError> {
        self.is_readable()?;
        self.inner.sink_memory(sink).await
    }

    async fn remember_sink(&self, sink: &SinkName, memory: &DeliveryState) -> Result<(), JournalError> {
        let (is_full, forgets, killed) = {
            let mut state = self.sim.lock();
            let forgets = match state.mistake {
                Mistake::NothingIsRemembered => true,
                Mistake::DoubtIsNotRemembered => is_being_told(memory),
                _ => false,
            };
            (state.is_disk_full(), forgets, state.strike_at_memory())
        };
        if killed == Some(Fault::KilledBefore) {
            return self.sim.die().await;
        }
        if is_full {
            return Err(unavailable("no space left on device"));
        }
        self.is_readable()?;
        if !forgets {
            self.inner.remember_sink(sink, memory).await?;
            self.sim.lock().readers.remembered(sink, memory);
        }
        match killed {
            Some(_) => self.sim.die().await,
            None => Ok(()),
        }
    }
}

/// Whether this state records that a notification is being sent to the sink: one is in doubt, and no failure is
/// counted.
fn is_being_told(memory: &DeliveryState) -> bool {
    memory.failures == 0 && memory.told.values().any(|told| told.in_doubt)
}
