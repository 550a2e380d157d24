//! Alerts beside the engine, for `run` and `rotate`, and the alert that is sent if the engine cannot start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::adapters::journal::{FallbackFile, Mode};
use crate::alerting::{Alerts, Notifier, Routing, of_journal};
use crate::cli::exit::{Code, Failure};
use crate::cli::{audit, setup};
use crate::config::Settings;
use crate::core::alert::ActiveAlerts;
use crate::core::rotation::RefusalCode;
use crate::core::time::SystemClock;
use crate::engine::World;
use crate::ports::{Answer, FallbackStore, Fault, Journal, JournalError, Reviewer};
use crate::review::audit::AccountReview;
use crate::status::StatusStore;

/// How long the program waits at its end for a slow sink; ten times as long if it ends because of the journal.
const LAST_WORD_MAX: Duration = Duration::from_secs(3);

/// Opens the world to drive rotations. If its journal is unusable or unavailable, sends an alert about that. A journal
/// that another process has in use is no reason for an alert.
pub(crate) async fn world(settings: Settings) -> Result<World, Failure> {
    let opened = setup::world(settings.clone(), Mode::Drive).await;
    if let Err(Failure { journal: Some(error), .. }) = &opened {
        tell_without_journal(&settings, error).await;
    }
    opened
}

async fn tell_without_journal(settings: &Settings, error: &JournalError) {
    let now = SystemClock.now();
    let (Some(alert), Ok(routing)) = (of_journal(error, now), setup::routing(settings)) else { return };
    let mut notifier = Notifier::new(None, spare(&settings.journal.path), Arc::new(SystemClock));
    let holds_until = now + Duration::from_hours(1);
    notifier.tell(&routing.routes, &ActiveAlerts::only(alert), holds_until).await;
}

fn spare(journal: &Path) -> Arc<dyn FallbackStore> {
    Arc::new(FallbackFile::beside(journal))
}

/// The alerts of a world. Nothing is sent until the caller runs them.
pub(crate) fn alerts(
    worlds: watch::Receiver<World>,
    routing: watch::Receiver<Routing>,
    status_store: &Arc<StatusStore>,
) -> Alerts {
    let spare = spare(&worlds.borrow().settings.journal.path);
    Alerts::new(worlds, routing, Arc::clone(status_store), spare).with_reviewer(Arc::new(AccountReviewer))
}

/// Reviews the accounts as `keyround audit --quick` does.
struct AccountReviewer;

#[async_trait]
impl Reviewer for AccountReviewer {
    async fn review(&self, settings: &Settings, journal: &dyn Journal) -> Answer<Vec<AccountReview>> {
        let journalled = audit::JournalKeys::read(journal).await;
        let journalled = journalled.map_err(|error| Fault::unknown(error.to_string()))?;
        let reviewed = audit::reviews_of(settings, &journalled, false, false).await;
        let reviewed = reviewed.map_err(|failure| match failure.code {
            Code::TryAgain => Fault::unknown(failure.message),
            _ => Fault::refused(RefusalCode::Other, failure.message),
        })?;
        let of_account = |one: audit::Reviewed| {
            let is_whole = one.facts.gaps.is_empty();
            AccountReview { account: one.account, review: one.review, is_whole }
        };
        Ok(reviewed.into_iter().map(of_account).collect())
    }
}

/// Alerts that run in a task beside the engine.
pub(crate) struct AlertTask {
    stop: CancellationToken,
    task: JoinHandle<Alerts>,
}

impl AlertTask {
    pub(crate) fn start(mut alerts: Alerts) -> AlertTask {
        let stop = CancellationToken::new();
        let told = stop.clone();
        let task = tokio::spawn(async move {
            alerts.work(&told).await;
            alerts
        });
        AlertTask { stop, task }
    }

    /// Stops the alerts. If the engine ended because of a journal error, then sends an alert about it.
    pub(crate) async fn end(self, error: Option<&JournalError>) {
        self.stop.cancel();
        let under_way = self.task.abort_handle();
        let last_word = async {
            if let (Ok(mut alerts), Some(error)) = (self.task.await, error) {
                alerts.tell_of_journal(error).await;
            }
        };
        let patience = if error.is_some() { LAST_WORD_MAX * 10 } else { LAST_WORD_MAX };
        if tokio::time::timeout(patience, last_word).await.is_err() {
            under_way.abort();
            tracing::warn!("an alert was still being sent; it is sent again at the next start");
        }
    }
}
