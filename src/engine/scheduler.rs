//! The engine's loop: it reconciles every user side by side, and keeps the time of the next reconcile and of the next
//! pass.
//!
//! One loop serves `run`, `rotate` and the rehearsal. They differ in when the loop starts a pass, and in how long a
//! wait it waits out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::core::ids::{RotationId, Subject, Who};
use crate::core::rotation::Rotation;
use crate::core::schedule::{Action, jitter_for};
use crate::core::time::Timestamp;
use crate::engine::job::{self, Cadence, Job, JobResult, PassRequest, Timer, WaitMode};
use crate::engine::notice::{self, Notices};
use crate::engine::pass::{PassUnderWay, Place, place};
use crate::engine::reconcile::UserReport;
use crate::engine::slots::{Slots, host_of};
use crate::engine::targets::{
    Ownership, TargetSet, TargetUser, VendorTargets, call_for_any, claim, left_over, must_be_listed, targets,
};
use crate::engine::{LoopStatus, Rest, Watcher, World, clock};
use crate::ports::{JournalError, KnownRotation};

type Joined = Result<(Id, JobResult), JoinError>;

/// Reconciles users, and keeps the last report of each.
pub struct Engine {
    worlds: watch::Receiver<World>,
    stop: CancellationToken,
    watcher: Arc<dyn Watcher>,
    pulse: Option<Duration>,
    notice_every: Option<Duration>,
    notices: Option<Notices>,
    /// Rotations in the queue because of an operator command: they start without a free slot.
    operator_ordered: BTreeSet<RotationId>,
    ready: VecDeque<Job>,
    timers: BTreeMap<Who, Timer>,
    running: JoinSet<JobResult>,
    running_jobs: HashMap<Id, Job>,
    slots: Slots,
    target_set: TargetSet,
    all_targets: Vec<VendorTargets>,
    forced: bool,
    calling: bool,
    found: BTreeMap<Place, UserReport>,
    pass: Option<PassUnderWay>,
    last_tick: Option<Timestamp>,
    next_tick: Timestamp,
    seen_at: Timestamp,
}

impl Engine {
    /// Creates an engine that works with the newest [`World`] of `worlds` until `stop` is cancelled.
    #[must_use]
    pub fn new(worlds: watch::Receiver<World>, stop: CancellationToken, watcher: Arc<dyn Watcher>) -> Engine {
        Engine {
            worlds,
            stop,
            watcher,
            pulse: None,
            notice_every: None,
            notices: None,
            operator_ordered: BTreeSet::new(),
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            running: JoinSet::new(),
            running_jobs: HashMap::new(),
            slots: Slots::default(),
            target_set: TargetSet::default(),
            all_targets: Vec::new(),
            forced: false,
            calling: false,
            found: BTreeMap::new(),
            pass: None,
            last_tick: None,
            next_tick: Timestamp::NEVER,
            seen_at: Timestamp::EPOCH,
        }
    }

    /// Makes the loop complete a turn at least this often, so that a watchdog can detect a loop that hangs.
    #[must_use]
    pub fn with_pulse(self, pulse: Option<Duration>) -> Engine {
        Engine { pulse, ..self }
    }

    /// While the engine works by the schedule, it looks this often for operator commands in the journal, and acts on
    /// them. Without this, the next pass acts on them.
    #[must_use]
    pub fn noticing_operator_commands(self, every: Duration) -> Engine {
        Engine { notice_every: Some(every), ..self }
    }

    fn world(&self) -> World {
        self.worlds.borrow().clone()
    }

    /// Works until the cadence, or the stop, ends the loop. Jobs that are under way then finish their effect, also when
    /// the journal fails.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    pub async fn work(&mut self, cadence: &Cadence) -> Result<Vec<UserReport>, JournalError> {
        let worked = self.work_until_over(cadence).await;
        if worked.is_err() {
            self.stop.cancel();
        }
        while !self.running.is_empty() {
            self.tell_watcher();
            tokio::select! {
                biased;
                Some(joined) = self.running.join_next_with_id() => self.take_back(joined, WaitMode::Short),
                () = job::pulse(self.pulse) => {}
            }
        }
        worked?;
        Ok(self.found.values().cloned().collect())
    }

    async fn work_until_over(&mut self, cadence: &Cadence) -> Result<(), JournalError> {
        let patience = match cadence {
            Cadence::Once(ask, patience) => {
                self.begin_pass(ask).await?;
                *patience
            }
            Cadence::Scheduled => {
                self.take_up().await?;
                WaitMode::Unlimited
            }
        };
        while !self.stop.is_cancelled() {
            self.plan_anew_if_set_back();
            self.begin_ticks().await?;
            self.take_operator_commands().await?;
            self.take_due_timers();
            self.begin_pass_targets().await?;
            self.send_out();
            self.report_pass();
            if self.is_over(cadence) {
                break;
            }
            self.tell_watcher();
            self.turn(patience).await;
        }
        Ok(())
    }

    fn is_over(&self, cadence: &Cadence) -> bool {
        let idle = self.running.is_empty() && self.ready.is_empty() && self.timers.is_empty();
        matches!(cadence, Cadence::Once(..)) && idle && !self.calling
    }

    fn tell_watcher(&self) {
        let world = self.world();
        self.watcher.clocks_compared(&clock::readings(&world));
        self.watcher.loop_passed(&LoopStatus {
            now: world.clock.now(),
            settings: world.settings,
            next_pass: self.next_tick,
            visits: self.running.len(),
            stopping: self.stop.is_cancelled(),
        });
    }

    /// Waits for whatever comes first: the end of a job, the time of the next timer or pass, a new world, the stop, an
    /// operator command, the pulse.
    async fn turn(&mut self, patience: WaitMode) {
        let World { clock, journal, .. } = self.world();
        let first_wake = self.timers.values().map(|wake| wake.at).min().unwrap_or(Timestamp::NEVER);
        let until = first_wake.min(self.next_tick);
        // A clock that jumps must not move while a job is under way.
        let may_sleep = until < Timestamp::NEVER && (self.running.is_empty() || !clock.jumps());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            Some(joined) = self.running.join_next_with_id(), if !self.running.is_empty() => {
                self.take_back(joined, patience);
            }
            Ok(()) = self.worlds.changed() => self.schedule_next_tick(),
            () = clock.sleep_until(until), if may_sleep => {}
            () = notice::appended(self.notices.as_ref(), journal.as_ref()) => {}
            () = job::pulse(self.pulse) => {}
        }
    }

    /// Queues a reconcile of each rotation to which an operator command was appended. A rotation that is being
    /// reconciled now is reconciled again afterwards.
    async fn take_operator_commands(&mut self) -> Result<(), JournalError> {
        let world = self.world();
        let Some(notices) = &mut self.notices else { return Ok(()) };
        let asked_for = notices.take(world.journal.as_ref()).await;
        if asked_for.is_empty() {
            return Ok(());
        }
        let is_meant = |known: &KnownRotation| asked_for.contains(&known.rotation);
        for known in world.journal.in_flight().await?.into_iter().filter(is_meant) {
            let Some(call) = call_for_any(&world, &known).await else { continue };
            let job = Job::Visit { call, forced: false };
            if self.running_jobs.values().any(|other| other.meets(&job)) {
                if let Some(notices) = &mut self.notices {
                    notices.ask_again_for(known.rotation);
                }
                continue;
            }
            self.ready.retain(|other| !other.meets(&job));
            self.timers.remove(&known.subject.who());
            self.operator_ordered.insert(known.rotation);
            self.ready.push_front(job);
        }
        Ok(())
    }

    /// Starts work by the schedule: it queues the rotations that are under way at once. However many scheduled passes
    /// were missed, one pass makes up for them.
    async fn take_up(&mut self) -> Result<(), JournalError> {
        let world = self.world();
        self.last_tick = world.journal.last_tick().await?;
        if let Some(every) = self.notice_every {
            self.notices = Some(Notices::from_now(world.journal.as_ref(), every).await?);
        }
        self.schedule_next_tick();
        self.carry_on(|_| true).await
    }

    /// Queues a reconcile of each rotation under way that `is_meant` selects and whose user an enabled vendor has.
    async fn carry_on(&mut self, is_meant: impl Fn(RotationId) -> bool) -> Result<(), JournalError> {
        let world = self.world();
        for known in world.journal.in_flight().await?.into_iter().filter(|known| is_meant(known.rotation)) {
            if let Some(call) = call_for_any(&world, &known).await {
                self.line_up(Job::Visit { call, forced: false });
            }
        }
        Ok(())
    }

    /// Computes when the next pass begins: at the next time of the cron expression, plus up to the jitter.
    fn schedule_next_tick(&mut self) {
        let world = self.world();
        let now = world.clock.now();
        let schedule = &world.settings.schedule;
        self.next_tick = match self.last_tick {
            None => now,
            // A clock that was ahead when the last pass began must not put off the next one.
            Some(last) => {
                let tick = schedule.cron.next_after(last.min(now)).unwrap_or(Timestamp::NEVER);
                tick + jitter_for(tick, schedule.jitter, "pass")
            }
        };
    }

    /// A clock that was set back would delay everything that was planned by it. So all timers fire now, and the next
    /// pass is planned again.
    fn plan_anew_if_set_back(&mut self) {
        let now = self.world().clock.now();
        if now < self.seen_at {
            self.timers.values_mut().for_each(|wake| wake.at = wake.at.min(now));
            if self.next_tick < Timestamp::NEVER {
                self.schedule_next_tick();
            }
        }
        self.seen_at = now;
    }

    async fn begin_ticks(&mut self) -> Result<(), JournalError> {
        let now = self.world().clock.now();
        if now < self.next_tick {
            return Ok(());
        }
        self.world().journal.record_tick(now).await?;
        self.last_tick = Some(now);
        self.begin_pass(&PassRequest::default()).await?;
        self.schedule_next_tick();
        Ok(())
    }

    /// Reports the pass once each user in it was reconciled once, whatever their rotations wait for after that.
    fn report_pass(&mut self) {
        if let Some(pass) = self.pass.take_if(|pass| !self.calling && pass.is_over()) {
            self.watcher.pass_ended(&pass.ended(&self.found, self.next_tick, self.world().clock.now()));
        }
    }

    fn line_up_for_pass(&mut self, call: TargetUser, forced: bool) {
        if let Some(pass) = &mut self.pass {
            pass.awaits(call.subject.who());
        }
        self.line_up(Job::Visit { call, forced });
    }

    /// Begins a pass over the vendors that are asked for. Where AWS must list a vendor's users, the listing is a job of
    /// its own, so that a slow answer delays no other vendor. For single rotations it only queues those.
    async fn begin_pass(&mut self, ask: &PassRequest) -> Result<(), JournalError> {
        let world = self.world();
        if !ask.rotations.is_empty() {
            return self.carry_on(|rotation| ask.rotations.contains(&rotation)).await;
        }
        self.target_set = TargetSet::new(&ask.vendors, Vec::new());
        (self.forced, self.calling) = (ask.force, true);
        self.pass = Some(PassUnderWay::new(world.clock.now(), ask.vendors.is_empty()));
        self.watcher.pass_begins();
        for vendor in world.settings.vendors.values().filter(|vendor| ask.is_for(&vendor.name)) {
            match must_be_listed(vendor) {
                true => self.line_up(Job::List(vendor.name.clone())),
                false => self.all_targets.push(targets(&world, vendor).await),
            }
        }
        self.begin_pass_targets().await
    }

    /// Queues a reconcile for each user in the lists that have arrived. When all have arrived, the rotations in none of
    /// them are continued if their vendor's users could not be listed, and otherwise only reported.
    async fn begin_pass_targets(&mut self) -> Result<(), JournalError> {
        let mut jobs = self.ready.iter().chain(self.running_jobs.values());
        let is_listing = jobs.any(|job| matches!(job, Job::List(_)));
        if !self.calling || (is_listing && self.all_targets.is_empty()) {
            return Ok(());
        }
        let world = self.world();
        // A rotation may have begun since the listing was requested.
        self.target_set.refresh(world.journal.in_flight().await?);
        for targets in std::mem::take(&mut self.all_targets) {
            self.take_targets(targets);
        }
        if !is_listing {
            self.end_pass_targets(&world).await;
        }
        Ok(())
    }

    fn take_targets(&mut self, targets: VendorTargets) {
        match targets {
            VendorTargets::Nobody(user_report) => self.remember(*user_report),
            VendorTargets::Unlisted(user_report) => {
                self.target_set.without_targets(user_report.vendor.clone());
                self.watcher.unlisted(&user_report);
                self.remember(*user_report);
            }
            VendorTargets::Users(subjects) => {
                for call in self.target_set.call(subjects) {
                    self.line_up_for_pass(call, self.forced);
                }
            }
        }
    }

    async fn end_pass_targets(&mut self, world: &World) {
        self.calling = false;
        let (calls, nobodys) = left_over(world, &self.target_set).await;
        for call in calls {
            self.line_up_for_pass(call, false);
        }
        for (known, user_report) in nobodys {
            self.timers.remove(&known.subject.who());
            self.found.remove(&(user_report.vendor.clone(), None));
            self.watcher.reconciled(&known.subject, &user_report);
            self.remember(user_report);
        }
    }

    fn line_up(&mut self, job: Job) {
        let busy = self.running_jobs.values().chain(&self.ready).any(|other| job.meets(other));
        if busy {
            return;
        }
        if let Job::Visit { call, .. } = &job {
            self.timers.remove(&call.subject.who());
        }
        self.ready.push_back(job);
    }

    /// This user's rotation, as it was found last.
    fn rotation_of(&self, subject: &Subject) -> Option<&Rotation> {
        let place = (subject.vendor.clone(), Some(subject.iam_user.clone()));
        self.found.get(&place)?.rotation.as_ref()
    }

    /// Queues the rotations whose timer has expired. A rotation whose user belongs to no enabled vendor any more is
    /// dropped here; the next pass reports it.
    fn take_due_timers(&mut self) {
        let world = self.world();
        let now = world.clock.now();
        for (_, wake) in self.timers.extract_if(.., |_, wake| wake.at <= now).collect::<Vec<_>>() {
            // An offboarding needs no vendor.
            if self.rotation_of(&wake.call.subject).is_some_and(|rotation| rotation.offboarding().is_some()) {
                self.line_up(Job::Visit { call: wake.call, forced: false });
            } else if let Ownership::Vendor(vendor) = claim(&world.settings, &wake.call.subject) {
                let subject = Subject { vendor, ..wake.call.subject };
                self.line_up(Job::Visit { call: TargetUser { subject, ..wake.call }, forced: false });
            }
        }
    }

    /// The next urgent job: its rotation sets the old key Active again, its vendor holds half of a pair, an incident is
    /// declared for it (until its old key cools), or an operator command was appended to it.
    fn take_urgent(&mut self) -> Option<Job> {
        let urgent = self.ready.iter().position(|job| self.is_urgent(job))?;
        self.ready.remove(urgent)
    }

    fn is_urgent(&self, job: &Job) -> bool {
        let Job::Visit { call, .. } = job else { return false };
        let rotation = self.rotation_of(&call.subject);
        rotation.is_some_and(|rotation| rotation.gives_back() || rotation.is_hurried())
            || call.rotation.is_some_and(|rotation| self.operator_ordered.contains(&rotation))
    }

    /// The next job to start a task for. An urgent one needs no free slot.
    fn take_ready(&mut self, settings: &Settings) -> Option<Job> {
        self.take_urgent().or_else(|| self.slots.next_of(&mut self.ready, settings))
    }

    fn send_out(&mut self) {
        let world = self.world();
        while let Some(job) = self.take_ready(&world.settings) {
            if let Job::Visit { call: TargetUser { rotation: Some(rotation), .. }, .. } = &job {
                self.operator_ordered.remove(rotation);
            }
            let host = host_of(&job, &world.settings);
            let (world, stop, watcher) = (world.clone(), self.stop.clone(), Arc::clone(&self.watcher));
            let task = self.running.spawn(job::run(world, job.clone(), stop, watcher));
            self.slots.take(task.id(), host);
            self.running_jobs.insert(task.id(), job);
        }
    }

    fn take_back(&mut self, joined: Joined, patience: WaitMode) {
        match joined {
            Ok((task, back)) => match (back, self.remove_job(task)) {
                (JobResult::Listed(targets), job) => {
                    if let (Some(Job::List(vendor)), VendorTargets::Users(_)) = (&job, &targets) {
                        self.watcher.listed(vendor);
                    }
                    self.all_targets.push(targets);
                }
                (JobResult::UserReport(user_report), Some(Job::Visit { call, .. })) => {
                    self.take_report(call.subject, *user_report, patience);
                }
                (JobResult::UserReport(_), Some(Job::List(_)) | None) => {}
            },
            Err(error) => match self.remove_job(error.id()) {
                Some(Job::List(vendor)) => {
                    self.all_targets.push(VendorTargets::Unlisted(Box::new(job::panicked(vendor, None))));
                }
                Some(Job::Visit { call: TargetUser { subject, .. }, .. }) => {
                    let user_report = job::panicked(subject.vendor.clone(), Some(subject.iam_user.clone()));
                    self.watcher.reconciled(&subject, &user_report);
                    self.remember(user_report);
                }
                None => {}
            },
        }
    }

    fn remove_job(&mut self, task: Id) -> Option<Job> {
        self.slots.free(task);
        let job = self.running_jobs.remove(&task);
        if let (Some(pass), Some(Job::Visit { call, .. })) = (&mut self.pass, &job) {
            pass.is_back(&call.subject.who());
        }
        job
    }

    fn take_report(&mut self, subject: Subject, user_report: UserReport, patience: WaitMode) {
        if let Some(at) = self.again_at(&user_report, patience) {
            let rotation = user_report.rotation.as_ref().map(Rotation::id);
            self.timers.insert(subject.who(), Timer { at, call: TargetUser { subject, rotation } });
        }
        self.remember(user_report);
    }

    /// When a user is reconciled before the next pass, if at all: when its rotation asks for it, or when the window
    /// opens in which its due key may be replaced, because the schedule may have no pass inside that window.
    fn again_at(&self, user_report: &UserReport, patience: WaitMode) -> Option<Timestamp> {
        match (&user_report.rest, &user_report.verdict.action) {
            (Some(Rest::Wait { until, why }), _) => {
                patience.covers(*until, why, self.world().clock.now()).then_some(*until)
            }
            (None, Action::Wait { until }) => (self.next_tick < Timestamp::NEVER).then_some(*until),
            (Some(Rest::Stuck(_) | Rest::Ended(_) | Rest::Stopped), _)
            | (None, Action::Nothing | Action::Start { .. } | Action::Continue) => None,
        }
    }

    fn remember(&mut self, user_report: UserReport) {
        if let Some(pass) = &mut self.pass {
            pass.found(&user_report);
        }
        self.found.insert(place(&user_report), user_report);
    }
}
