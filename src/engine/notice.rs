//! Reads what other processes append to the journal while the engine works: operator commands.
//!
//! **Invariant:** it only reads the journal, and calls neither AWS nor a vendor.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::core::ids::RotationId;
use crate::core::rotation::Event;
use crate::ports::{Journal, JournalError};

/// How far the history was read, and the rotations to which operator commands were appended since.
pub(super) struct Notices {
    read_to: u64,
    every: Duration,
    next_look: Instant,
    asked_for: BTreeSet<RotationId>,
}

impl Notices {
    /// Starts at the present end of the history. The end is read every `every`.
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

    /// The rotations to which an operator command was appended since the last call. Reads the journal at most once in
    /// each interval.
    pub(super) async fn take(&mut self, journal: &dyn Journal) -> BTreeSet<RotationId> {
        self.read(journal).await;
        std::mem::take(&mut self.asked_for)
    }

    /// Makes the next call of [`Notices::take`] return this rotation again.
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

/// Returns when something was appended to the journal, or never without `notices`. If the journal cannot be read now,
/// this function keeps waiting: the next reconcile reports the error.
pub(super) async fn appended(notices: Option<&Notices>, journal: &dyn Journal) {
    match notices {
        Some(notices) => notices.wait(journal).await,
        None => std::future::pending().await,
    }
}

/// Whether only an operator command appends such an event.
fn is_lever(event: &Event) -> bool {
    matches!(
        event,
        Event::Held { .. }
            | Event::Resumed { .. }
            | Event::ReactivationAsked { .. }
            | Event::IncidentDeclared { .. }
            | Event::IssueAsked { .. }
            | Event::OffboardAsked { .. }
            | Event::Abandoned { .. }
            | Event::Acknowledged { .. }
            | Event::Revealed { .. }
    )
}
