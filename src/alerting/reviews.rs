//! The daily review of the accounts, for those sinks that want to hear what it finds. Who looks at the page sees it
//! too.
//!
//! **Invariant:** it is made once a day, also over restarts and by a timer that rotates every few minutes, unless a
//! sink is down that was to hear of it; and only where a sink names what it finds: a review takes calls to AWS, and
//! rights that a rotation does not take.

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

/// Between two reviews.
const EVERY: Duration = Duration::from_hours(24);
/// Until another try, where AWS gave no answer.
const AGAIN: Duration = Duration::from_hours(1);

/// Whether a sink wants to hear what a review finds.
pub(super) fn is_wanted(policy: &Policy) -> bool {
    policy.on.iter().any(|condition| condition.is_of_review())
}

/// What a review came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Reviewed {
    /// What the last one found, while this process lives.
    pub(super) findings: Option<Findings>,
    /// When the last one was over, that need not be made again today.
    pub(super) at: Option<Timestamp>,
    /// The next one not before this.
    not_before: Option<Timestamp>,
}

/// Makes the reviews, beside everything else.
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

    /// When the next one is due, if the last that was told of was then.
    pub(super) fn due_at(&self, told_at: Timestamp) -> Timestamp {
        let Reviewed { at, not_before, .. } = &*self.newest.borrow();
        (at.unwrap_or(told_at).max(told_at) + EVERY).max(not_before.unwrap_or(Timestamp::EPOCH))
    }

    /// Begins one, unless one is under way.
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
                    // What is refused today is refused in an hour.
                    reviewed.at = matches!(fault, Fault::Refused(_)).then_some(now).or(reviewed.at);
                    reviewed.not_before = Some(now + AGAIN);
                    let sentence = fault.sentence();
                    tracing::warn!("root-key and audit alerts are skipped: {sentence}; rotations continue");
                }
            });
        }));
    }

    /// Ends the one that is under way without its findings. A review only reads.
    pub(super) fn give_up(&mut self) {
        if let Some(task) = self.under_way.take() {
            task.abort();
        }
    }

    /// Waits for the one that is under way.
    pub(super) async fn finish(&mut self) {
        if let Some(task) = self.under_way.take() {
            drop(task.await);
        }
    }
}
