//! The daily review of the accounts, for the sinks that subscribed to its findings. The page shows its result too.
//!
//! **Invariant:** it is made once a day, also across restarts and when a timer runs keyround every few minutes, unless
//! a subscribed sink is down. It is made only if a sink subscribed to its findings, because a review takes calls to
//! AWS, and permissions that a rotation does not need.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::core::alert::{Findings, Policy};
use crate::core::time::Timestamp;
use crate::engine::World;
use crate::ports::{Fault, Reviewer};
use crate::review::audit::{self, Summary};
use crate::status::StatusStore;

/// The time between two reviews.
const EVERY: Duration = Duration::from_hours(24);
/// The time until the next attempt after AWS gave no answer.
const AGAIN: Duration = Duration::from_hours(1);

/// Whether a sink subscribed to a condition that only a review finds.
pub(super) fn is_wanted(policy: &Policy) -> bool {
    policy.on.iter().any(|condition| condition.is_of_review())
}

/// The result of the last review.
#[derive(Clone, Debug, Default)]
pub(super) struct Reviewed {
    /// What the last successful review of this process found.
    pub(super) findings: Option<Findings>,
    /// When the last review ended that is not repeated before [`EVERY`] has passed: it succeeded, or it was refused.
    pub(super) at: Option<Timestamp>,
    /// The next review does not begin before this time.
    not_before: Option<Timestamp>,
}

/// Makes the reviews, in a task beside everything else.
pub(super) struct Reviews {
    reviewer: Arc<dyn Reviewer>,
    status_store: Arc<StatusStore>,
    newest: watch::Sender<Reviewed>,
    under_way: Option<JoinHandle<()>>,
}

impl Reviews {
    pub(super) fn new(reviewer: Arc<dyn Reviewer>, status_store: Arc<StatusStore>) -> Reviews {
        Reviews { reviewer, status_store, newest: watch::Sender::default(), under_way: None }
    }

    pub(super) fn newest(&self) -> Reviewed {
        self.newest.borrow().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Reviewed> {
        self.newest.subscribe()
    }

    /// When the next review is due. `told_at`: the time of the newest review that every subscribed sink received.
    pub(super) fn due_at(&self, told_at: Timestamp) -> Timestamp {
        let Reviewed { at, not_before, .. } = &*self.newest.borrow();
        (at.unwrap_or(told_at).max(told_at) + EVERY).max(not_before.unwrap_or(Timestamp::EPOCH))
    }

    /// Begins a review, unless one is under way.
    pub(super) fn begin(&mut self, world: World) {
        if self.under_way.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (reviewer, status_store) = (Arc::clone(&self.reviewer), Arc::clone(&self.status_store));
        let newest = self.newest.clone();
        self.under_way = Some(tokio::spawn(async move {
            let found = reviewer.review(&world.settings, world.journal.as_ref()).await;
            let now = world.clock.now();
            newest.send_modify(|reviewed| match found {
                Ok(reviews) => {
                    status_store.reviewed(Summary::of(&reviews, now));
                    (reviewed.findings, reviewed.at) = (Some(audit::findings(&reviews, now)), Some(now));
                }
                Err(fault) => {
                    // A refusal, such as a missing permission, lasts longer than an hour, so the next attempt is in a
                    // day.
                    reviewed.at = matches!(fault, Fault::Refused(_)).then_some(now).or(reviewed.at);
                    reviewed.not_before = Some(now + AGAIN);
                    let sentence = fault.sentence();
                    tracing::warn!("root-key and audit alerts are skipped: {sentence}; rotations continue");
                }
            });
        }));
    }

    /// Aborts the review that is under way. That is safe, because a review only reads.
    pub(super) fn give_up(&mut self) {
        if let Some(task) = self.under_way.take() {
            task.abort();
        }
    }

    /// Waits for the review that is under way.
    pub(super) async fn finish(&mut self) {
        if let Some(task) = self.under_way.take() {
            drop(task.await);
        }
    }
}
