//! Notices what other processes append to the journal while the engine works: the operator's levers.
//!
//! **Invariant:** it reads the journal only, and asks neither AWS nor a vendor.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::ids::RotationId;
use crate::ports::{Journal, JournalError};
use crate::rotation::Event;

/// How often the end of the history is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far the history was read, and the rotations that an operator's lever asks to look at.
pub(super) struct Notices {
    read_to: u64,
    next_look: Instant,
    pub(super) asked_for: BTreeSet<RotationId>,
}

impl Notices {
    /// From the present end of the history on.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    pub(super) async fn from_now(journal: &dyn Journal) -> Result<Notices, JournalError> {
        let (read_to, _) = journal.head().await?;
        Ok(Notices { read_to, next_look: Instant::now() + LOOK_EVERY, asked_for: BTreeSet::new() })
    }

    /// Returns when something was appended. A journal that cannot be read now is the next visit's to report.
    pub(super) async fn wait(&self, journal: &dyn Journal) {
        let mut next_look = self.next_look;
        loop {
            sleep_until(next_look).await;
            if journal.head().await.is_ok_and(|(events, _)| events != self.read_to) {
                return;
            }
            next_look = Instant::now() + LOOK_EVERY;
        }
    }

    /// Reads what was appended, at most once a second.
    pub(super) async fn take(&mut self, journal: &dyn Journal) {
        if Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + LOOK_EVERY;
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

/// Whether only an operator appends such an event.
fn is_lever(event: &Event) -> bool {
    matches!(
        event,
        Event::Held { .. }
            | Event::Resumed { .. }
            | Event::ReactivationAsked { .. }
            | Event::Abandoned { .. }
            | Event::Acknowledged { .. }
            | Event::Revealed { .. }
    )
}
