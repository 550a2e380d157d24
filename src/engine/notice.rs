//! Notices what other processes append to the journal while the engine works: the operator's levers.
//!
//! **Invariant:** it reads the journal only, and asks neither AWS nor a vendor.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::core::ids::RotationId;
use crate::core::rotation::Event;
use crate::ports::{Journal, JournalError};

/// How far the history was read, and the rotations that an operator's lever asks to look at.
pub(super) struct Notices {
    read_to: u64,
    every: Duration,
    next_look: Instant,
    asked_for: BTreeSet<RotationId>,
}

impl Notices {
    /// From the present end of the history on, whose end is read this often.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    pub(super) async fn from_now(journal: &dyn Journal, every: Duration) -> Result<Notices, JournalError> {
        let (read_to, _) = journal.head().await?;
        Ok(Notices { read_to, every, next_look: Instant::now() + every, asked_for: BTreeSet::new() })
    }

    async fn wait(&self, journal: &dyn Journal) {
        let mut next_look = self.next_look;
        loop {
            sleep_until(next_look).await;
            if journal.head().await.is_ok_and(|(events, _)| events != self.read_to) {
                return;
            }
            next_look = Instant::now() + self.every;
        }
    }

    /// The rotations to which an operator's event was appended since the last time. Reads no more often than was said.
    pub(super) async fn take(&mut self, journal: &dyn Journal) -> BTreeSet<RotationId> {
        self.read(journal).await;
        std::mem::take(&mut self.asked_for)
    }

    /// Gives this rotation again at the next look.
    pub(super) fn ask_again_for(&mut self, rotation: RotationId) {
        self.asked_for.insert(rotation);
    }

    async fn read(&mut self, journal: &dyn Journal) {
        if Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + self.every;
        let Ok((events, _)) = journal.head().await else { return };
        if events == self.read_to {
            return;
        }
        let Ok(appended) = journal.history_after(self.read_to).await else { return };
        for recorded in appended {
            self.read_to = self.read_to.max(recorded.position);
            if is_lever(&recorded.event) {
                self.asked_for.insert(recorded.rotation);
            }
        }
    }
}

/// Returns when something was appended; never where nobody looks. A journal that cannot be read now is the next visit's to
/// report.
pub(super) async fn appended(notices: Option<&Notices>, journal: &dyn Journal) {
    match notices {
        Some(notices) => notices.wait(journal).await,
        None => std::future::pending().await,
    }
}

/// Whether only an operator appends such an event.
fn is_lever(event: &Event) -> bool {
    matches!(
        event,
        Event::Held { .. }
            | Event::Resumed { .. }
            | Event::ReactivationAsked { .. }
            | Event::IncidentDeclared { .. }
            | Event::Abandoned { .. }
            | Event::Acknowledged { .. }
            | Event::Revealed { .. }
    )
}
