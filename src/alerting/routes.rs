//! The alerting loop: derives the active alerts from the status, and has the notifier send what changed.
//!
//! **Invariant:** no rotation waits for it. It runs beside the engine, and reads what the [`StatusStore`] holds and
//! what the journal holds.
//!
//! What each sink was sent, and with which result, is the [`Notifier`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alerting::Notifier;
use crate::alerting::reviews::{Reviewed, Reviews};
use crate::config::Settings;
use crate::config::settings::{Access, VendorSettings};
use crate::core::alert::{ActiveAlerts, Alert, Condition, Seen, active};
use crate::core::ids::AccountName;
use crate::core::schedule::State;
use crate::core::time::Timestamp;
use crate::engine::pass::{Place, place};
use crate::engine::{UserReport, World};
use crate::ports::{Clock, FallbackStore, Heartbeat, Journal, JournalError, Reviewer, Route};
use crate::status::{StatusSnapshot, StatusStore};

/// Changes within this time are sent together.
const GATHER: Duration = Duration::from_secs(2);
/// A pass that takes longer is not waited for: a key of a user in it may be overdue.
const PASS_MAX: Duration = Duration::from_mins(2);
/// How much longer than until the next pass a sink keeps an alert that expires by itself.
const GRACE: Duration = Duration::from_mins(30);
/// The waits before each attempt to send a heartbeat. After the last one, the next pass sends another heartbeat.
const HEARTBEAT_WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(30)];

/// Where alerts and heartbeats are sent.
#[derive(Clone, Default)]
pub struct Routing {
    /// The sinks and their filters.
    pub routes: Vec<Route>,
    /// The monitor that is notified of each full pass, if one is configured.
    pub heartbeat: Option<Arc<dyn Heartbeat>>,
}

/// Watches the status store, and sends what changes.
pub struct Alerts {
    worlds: watch::Receiver<World>,
    routing: watch::Receiver<Routing>,
    status_store: Arc<StatusStore>,
    notifier: Notifier,
    reviews: Option<Reviews>,
    /// For each user: its verdict's state and reason, and since when they have been the same.
    standing: BTreeMap<Place, (State, &'static str, Timestamp)>,
    beaten: u64,
    pulse: Option<JoinHandle<()>>,
}

impl Alerts {
    /// Creates the loop. It uses the newest [`World`] and the newest [`Routing`].
    #[must_use]
    pub fn new(
        worlds: watch::Receiver<World>,
        routing: watch::Receiver<Routing>,
        status_store: Arc<StatusStore>,
        spare: Arc<dyn FallbackStore>,
    ) -> Alerts {
        let world = worlds.borrow().clone();
        let notifier = Notifier::new(Some(world.journal), spare, world.clock);
        Alerts {
            worlds,
            routing,
            status_store,
            notifier,
            reviews: None,
            standing: BTreeMap::new(),
            beaten: 0,
            pulse: None,
        }
    }

    /// Adds a reviewer, which reviews the accounts for the sinks that subscribed to its findings.
    #[must_use]
    pub fn with_reviewer(self, reviewer: Arc<dyn Reviewer>) -> Alerts {
        let reviews = Reviews::new(reviewer, Arc::clone(&self.status_store));
        Alerts { reviews: Some(reviews), ..self }
    }

    /// Reads the delivery states. Whatever happens after this call is new to every sink, also to one that was never
    /// sent anything.
    pub async fn recall(&mut self) {
        let routes = self.routing.borrow().routes.clone();
        self.notifier.recall(&routes).await;
    }

    /// Works until stopped. A notification that is being sent then is sent to the end. A review that is under way is
    /// aborted, so that nothing reads the journal after this has returned.
    pub async fn work(&mut self, stop: &CancellationToken) {
        let mut changes = self.status_store.changes();
        let mut found = self.reviews.as_ref().map(Reviews::changes);
        loop {
            let next = self.tell().await.min(self.begin_review());
            let clock = self.clock();
            let next = next.max(clock.now() + GATHER);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = changes.changed() => self.gather(&mut changes, stop).await,
                Ok(()) = self.routing.changed() => {}
                true = changed(&mut found) => {}
                () = clock.sleep_until(next), if next < Timestamp::NEVER => {}
            }
        }
        if let Some(reviews) = &mut self.reviews {
            reviews.give_up();
        }
    }

    /// Waits for changes that belong together: until the pass that is under way ends, for two minutes at most, or else
    /// for two seconds.
    async fn gather(&self, changes: &mut watch::Receiver<()>, stop: &CancellationToken) {
        let clock = self.clock();
        let (soon, late) = (clock.now() + GATHER, clock.now() + PASS_MAX);
        loop {
            let until = if self.status_store.snapshot().passing { late } else { soon };
            if clock.now() >= until || stop.is_cancelled() {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = changes.changed() => {}
                () = clock.sleep_until(until) => {}
            }
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.worlds.borrow().clock)
    }

    /// Sends the notifications that are due now, and the heartbeat. Returns when to call this again.
    pub async fn tell(&mut self) -> Timestamp {
        let (world, routing) = (self.worlds.borrow().clone(), self.routing.borrow().clone());
        let snapshot = self.status_store.snapshot();
        self.beat(&snapshot, &routing).await;
        if routing.routes.is_empty() {
            return Timestamp::NEVER;
        }
        let now = world.clock.now();
        self.follow(&snapshot, now);
        let since = |user_report: &UserReport| {
            self.standing.get(&place(user_report)).map_or(now, |(_, _, since)| *since)
        };
        let seen: Vec<Seen<'_>> = snapshot
            .users
            .values()
            .map(|user_report| seen(&world.settings, user_report, since(user_report)))
            .collect();
        // Only after a full pass is a user that is missing from the snapshot known to be gone.
        let mut active =
            active(&seen, snapshot.whole && !snapshot.passing, now).with_clocks(snapshot.clocks.values());
        active = active.with_exposures(&snapshot.exposures, world.settings.exposure.is_some());
        let reviewed = self.reviews.as_ref().map(Reviews::newest).unwrap_or_default();
        if let Some(findings) = &reviewed.findings {
            active = active.with_review(findings);
        }
        let holds_until = holds_until(&world, snapshot.next_pass_at);
        let next = self.notifier.tell(&routing.routes, &active, holds_until).await;
        if let Some(at) = reviewed.at {
            self.notifier.told_of_review(&routing.routes, at).await;
        }
        next
    }

    /// Updates since when each verdict has been the same.
    fn follow(&mut self, snapshot: &StatusSnapshot, now: Timestamp) {
        self.standing.retain(|place, _| snapshot.users.contains_key(place));
        for (place, user_report) in &snapshot.users {
            let judged = (user_report.verdict.state, user_report.verdict.reason);
            let standing = self.standing.entry(place.clone()).or_insert((judged.0, judged.1, now));
            // A time in the future was written while the clock was ahead; the clock was corrected since.
            if (standing.0, standing.1) != judged || standing.2 > now {
                *standing = (judged.0, judged.1, now);
            }
        }
    }

    /// Begins a review of the accounts if one is due. Returns when the next one is due.
    fn begin_review(&mut self) -> Timestamp {
        let Some(told_at) = self.notifier.reviewed_at(&self.routing.borrow().routes) else {
            return Timestamp::NEVER;
        };
        let world = self.worlds.borrow().clone();
        let Some(reviews) = &mut self.reviews else { return Timestamp::NEVER };
        let due_at = reviews.due_at(told_at);
        if due_at > world.clock.now() {
            return due_at;
        }
        reviews.begin(world);
        Timestamp::NEVER
    }

    /// Reviews the accounts if a review is due, and waits for its end.
    pub async fn review(&mut self) {
        self.recall().await;
        let _next = self.begin_review();
        if let Some(reviews) = &mut self.reviews {
            reviews.finish().await;
        }
    }

    /// Sends an alert that the journal failed, as the last action before keyround exits.
    pub async fn tell_of_journal(&mut self, error: &JournalError) {
        let world = self.worlds.borrow().clone();
        let routes = self.routing.borrow().routes.clone();
        let Some(alert) = of_journal(error, world.clock.now()) else { return };
        let holds_until = holds_until(&world, None);
        self.notifier.tell(&routes, &ActiveAlerts::only(alert), holds_until).await;
    }

    /// Waits for the heartbeat that is being sent.
    pub async fn finish(&mut self) {
        if let Some(pulse) = self.pulse.take() {
            drop(pulse.await);
        }
    }

    /// Sends one heartbeat for each full pass. The end of the history is read here, so that nothing reads the journal
    /// after [`Alerts::work`] has returned. Only the request to the monitor runs beside everything else.
    async fn beat(&mut self, snapshot: &StatusSnapshot, routing: &Routing) {
        if snapshot.passes <= self.beaten {
            return;
        }
        self.beaten = snapshot.passes;
        let journal = Arc::clone(&self.worlds.borrow().journal);
        let head = head(journal.as_ref()).await;
        let Some(heartbeat) = routing.heartbeat.clone() else { return };
        let clock = self.clock();
        self.pulse =
            Some(tokio::spawn(async move { pulse(heartbeat.as_ref(), clock.as_ref(), head.as_ref()).await }));
    }
}

/// Waits for new findings, and returns true. Without a reviewer it never returns.
async fn changed(found: &mut Option<watch::Receiver<Reviewed>>) -> bool {
    match found {
        Some(found) => found.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Reads the end of the history and logs it. A copy of the log can show later whether the history was rewritten.
async fn head(journal: &dyn Journal) -> Option<(u64, String)> {
    match journal.head().await {
        Ok((events, head)) => {
            tracing::info!(journal.events = events, journal.head = %head, "the history has {events} events; its head is {head}");
            Some((events, head))
        }
        Err(error) => {
            tracing::warn!("the end of the history cannot be logged: {error}");
            None
        }
    }
}

async fn pulse(heartbeat: &dyn Heartbeat, clock: &dyn Clock, head: Option<&(u64, String)>) {
    let mut last = String::new();
    for wait in HEARTBEAT_WAITS {
        clock.sleep_until(clock.now() + wait).await;
        match heartbeat.beat(head).await {
            Ok(()) => return,
            Err(fault) => fault.sentence().clone_into(&mut last),
        }
    }
    tracing::warn!("the heartbeat was not accepted: {last}; a monitor that waits for it will raise an alarm");
}

/// The alert for a failure of the journal; `None` for errors that are normal while another process uses the journal.
#[must_use]
pub fn of_journal(error: &JournalError, now: Timestamp) -> Option<Alert> {
    let safe = "no key is touched until it works again; every vendor keeps its key";
    let alert = |condition, reason| Alert::of_house(condition, reason, format!("{error}; {safe}"), now);
    match error {
        JournalError::SealKey(_) => Some(alert(Condition::SealKey, "seal_key")),
        JournalError::Unusable(_) => Some(alert(Condition::Journal, "journal_unusable")),
        JournalError::Unavailable(_) => Some(alert(Condition::Journal, "journal_unavailable")),
        JournalError::InUse(_) | JournalError::Conflict { .. } | JournalError::AlreadyRotating { .. } => None,
    }
}

/// Until when a sink must keep an alert: until the next pass, and [`GRACE`] longer.
fn holds_until(world: &World, next_pass_at: Option<Timestamp>) -> Timestamp {
    let (now, schedule) = (world.clock.now(), &world.settings.schedule);
    let next = next_pass_at.or_else(|| schedule.cron.next_after(now).map(|tick| tick + schedule.jitter));
    next.unwrap_or(now).max(now) + GRACE
}

fn seen<'a>(settings: &'a Settings, user_report: &'a UserReport, since: Timestamp) -> Seen<'a> {
    let vendor = settings.vendors.get(&user_report.vendor);
    let rotation = user_report.rotation.as_ref();
    let account = match rotation {
        Some(rotation) => rotation.subject().account.as_ref(),
        None => vendor.and_then(account),
    };
    Seen {
        vendor: &user_report.vendor,
        iam_user: user_report.iam_user.as_ref(),
        account,
        owner: vendor.and_then(|vendor| vendor.owner.as_deref()),
        verdict: &user_report.verdict,
        sentence: user_report.sentence(),
        rotation,
        failed: user_report.failed,
        keys: &user_report.keys,
        keys_listed_at: user_report.keys_listed_at,
        keys_unanswered: user_report.keys_unanswered,
        exposed_use: user_report.exposed_use.as_ref(),
        since,
    }
}

fn account(vendor: &VendorSettings) -> Option<&AccountName> {
    match &vendor.access {
        Access::Key(access) => access.account.as_ref(),
        Access::Role { .. } => None,
    }
}
