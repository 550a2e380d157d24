//! The engine: visits every user side by side, and knows when to come back.
//!
//! One loop serves `run`, `rotate` and the rehearsal; they differ in when it starts a pass and in
//! how long a wait it waits out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::settings::Users;
use crate::driver::visit::{Roster, Visited, access, by_user, roster, rotation_of, visit};
use crate::driver::{Rest, Watcher, World};
use crate::ids::{IamUserName, RotationId, Subject, VendorName};
use crate::ports::JournalError;
use crate::schedule::{Cron, jitter_for, missed};
use crate::time::Timestamp;

/// A wait that `rotate` without `--wait` still waits out: the propagation of a new key, a first
/// retry. Longer ones are left to the next pass.
const SHORT_WAIT: Duration = Duration::from_mins(1);

/// What a pass is asked to look at.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// These vendors; empty: all.
    pub vendors: Vec<VendorName>,
    /// Rotate whether due or not.
    pub force: bool,
}

/// How long a wait is waited out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// A minute at most.
    Short,
    /// As long as time alone can end it.
    Unlimited,
}

impl Patience {
    fn covers(self, until: Timestamp, now: Timestamp) -> bool {
        until < Timestamp::NEVER && (self == Patience::Unlimited || until.since(now) <= SHORT_WAIT)
    }
}

/// When passes are made.
#[derive(Clone, Debug)]
pub enum Cadence {
    /// One, now; then the end, when nothing is left to wait for.
    Once(Ask, Patience),
    /// By `[schedule]`, until told to stop. A pass that was missed is made up once.
    Scheduled,
}

#[derive(Clone, Debug)]
struct Errand {
    subject: Subject,
    rotation: Option<RotationId>,
    forced: bool,
}

/// Visits users, and remembers what it found.
pub struct Engine {
    worlds: watch::Receiver<World>,
    stop: CancellationToken,
    watcher: Arc<dyn Watcher>,
    ready: VecDeque<Errand>,
    wakes: BTreeMap<Subject, (Timestamp, RotationId)>,
    running: JoinSet<(Errand, Visited)>,
    on_the_road: HashMap<Id, Subject>,
    found: BTreeMap<(VendorName, Option<IamUserName>), Visited>,
    next_tick: Timestamp,
}

impl Engine {
    /// An engine that works with the newest of these worlds, until stopped.
    #[must_use]
    pub fn new(worlds: watch::Receiver<World>, stop: CancellationToken, watcher: Arc<dyn Watcher>) -> Engine {
        Engine {
            worlds,
            stop,
            watcher,
            ready: VecDeque::new(),
            wakes: BTreeMap::new(),
            running: JoinSet::new(),
            on_the_road: HashMap::new(),
            found: BTreeMap::new(),
            next_tick: Timestamp::NEVER,
        }
    }

    fn world(&self) -> World {
        self.worlds.borrow().clone()
    }

    /// Works until the cadence, or the stop, ends it. What is under way is let finish its effect.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    pub async fn work(&mut self, cadence: &Cadence) -> Result<Vec<Visited>, JournalError> {
        let patience = match cadence {
            Cadence::Once(ask, patience) => {
                self.begin_pass(ask).await?;
                *patience
            }
            Cadence::Scheduled => {
                self.first_tick().await?;
                self.take_up().await?;
                Patience::Unlimited
            }
        };
        while !self.stop.is_cancelled() {
            self.begin_ticks().await?;
            self.take_due_wakes();
            self.send_out();
            if self.is_over(cadence) {
                break;
            }
            self.turn(patience).await;
        }
        while let Some(joined) = self.running.join_next_with_id().await {
            self.joined(joined, patience);
        }
        Ok(self.found.values().cloned().collect())
    }

    fn is_over(&self, cadence: &Cadence) -> bool {
        let idle = self.running.is_empty() && self.ready.is_empty() && self.wakes.is_empty();
        matches!(cadence, Cadence::Once(..)) && idle
    }

    /// Waits for whatever comes first: a visit that ends, a time to be somewhere, a new world, the stop.
    async fn turn(&mut self, patience: Patience) {
        let clock = self.world().clock;
        let first_wake = self.wakes.values().map(|(at, _)| *at).min().unwrap_or(Timestamp::NEVER);
        let until = first_wake.min(self.next_tick);
        // A clock that jumps must not, while somebody is on the road.
        let may_sleep = until < Timestamp::NEVER && (self.running.is_empty() || !clock.jumps());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            Some(joined) = self.running.join_next_with_id(), if !self.running.is_empty() => {
                self.joined(joined, patience);
            }
            Ok(()) = self.worlds.changed() => self.schedule_next_tick(clock.now()),
            () = clock.sleep_until(until), if may_sleep => {}
        }
    }

    async fn first_tick(&mut self) -> Result<(), JournalError> {
        let world = self.world();
        let (now, last) = (world.clock.now(), world.journal.last_tick().await?);
        let cron = &world.settings.schedule.cron;
        match last.is_none() || missed(cron, last, now) {
            true => self.next_tick = now,
            false => self.schedule_next_tick(last.unwrap_or(now)),
        }
        Ok(())
    }

    /// Rotations in flight go on at once: what they wait for may be over long before the next tick.
    async fn take_up(&mut self) -> Result<(), JournalError> {
        let world = self.world();
        for known in world.journal.in_flight().await? {
            if is_ours(&world, &known.subject) {
                self.line_up(Errand {
                    subject: known.subject,
                    rotation: Some(known.rotation),
                    forced: false,
                });
            }
        }
        Ok(())
    }

    /// A tick is due at its time on the clock, and a pass begins up to the jitter later.
    fn schedule_next_tick(&mut self, after: Timestamp) {
        let world = self.world();
        let schedule = &world.settings.schedule;
        let tick = Cron::next_after(&schedule.cron, after).unwrap_or(Timestamp::NEVER);
        self.next_tick = tick + jitter_for(tick, schedule.jitter, "pass");
    }

    /// When the next scheduled pass begins; [`Timestamp::NEVER`] without a schedule.
    #[must_use]
    pub fn next_tick(&self) -> Timestamp {
        self.next_tick
    }

    async fn begin_ticks(&mut self) -> Result<(), JournalError> {
        let now = self.world().clock.now();
        if now < self.next_tick {
            return Ok(());
        }
        self.world().journal.record_tick(now).await?;
        self.begin_pass(&Ask::default()).await?;
        self.schedule_next_tick(now);
        Ok(())
    }

    /// Puts an errand for each user in line; whoever is visited already is left alone.
    async fn begin_pass(&mut self, ask: &Ask) -> Result<(), JournalError> {
        let world = self.world();
        let in_flight = by_user(world.journal.in_flight().await?);
        let wanted = |name: &VendorName| ask.vendors.is_empty() || ask.vendors.contains(name);
        let vendors = world.settings.vendors.values().filter(|vendor| wanted(&vendor.name));
        let rosters = futures_util::future::join_all(vendors.map(|vendor| roster(&world, vendor))).await;
        for roster in rosters {
            match roster {
                Roster::Nobody(visited) => self.remember(*visited),
                Roster::Users(subjects) => {
                    for subject in subjects {
                        let rotation = rotation_of(&in_flight, &subject);
                        self.line_up(Errand { subject, rotation, forced: ask.force });
                    }
                }
            }
        }
        Ok(())
    }

    fn line_up(&mut self, errand: Errand) {
        let on_the_road = self.on_the_road.values().any(|subject| *subject == errand.subject);
        let in_line = self.ready.iter().any(|waiting| waiting.subject == errand.subject);
        if !on_the_road && !in_line {
            self.wakes.remove(&errand.subject);
            self.ready.push_back(errand);
        }
    }

    fn take_due_wakes(&mut self) {
        let now = self.world().clock.now();
        let due: Vec<_> = self.wakes.iter().filter(|(_, (at, _))| *at <= now).collect();
        let due: Vec<_> = due.into_iter().map(|(subject, (_, id))| (subject.clone(), *id)).collect();
        for (subject, id) in due {
            self.line_up(Errand { subject, rotation: Some(id), forced: false });
        }
    }

    fn send_out(&mut self) {
        let world = self.world();
        while self.running.len() < world.settings.concurrency {
            let Some(errand) = self.ready.pop_front() else { break };
            let (world, stop, watcher) = (world.clone(), self.stop.clone(), Arc::clone(&self.watcher));
            let subject = errand.subject.clone();
            let task = self.running.spawn(async move {
                let visited =
                    visit(&world, &errand.subject, errand.rotation, errand.forced, &stop, watcher.as_ref())
                        .await;
                (errand, visited)
            });
            self.on_the_road.insert(task.id(), subject);
        }
    }

    fn joined(&mut self, joined: Result<(Id, (Errand, Visited)), JoinError>, patience: Patience) {
        match joined {
            Ok((task, (errand, visited))) => {
                self.on_the_road.remove(&task);
                self.plan_wake(&errand.subject, &visited, patience);
                self.remember(visited);
            }
            Err(error) => {
                if let Some(subject) = self.on_the_road.remove(&error.id()) {
                    let visited = panicked(&subject);
                    self.watcher.visited(&subject, &visited);
                    self.remember(visited);
                }
            }
        }
    }

    fn plan_wake(&mut self, subject: &Subject, visited: &Visited, patience: Patience) {
        let (Some(rotation), Some(Rest::Wait { until, .. })) = (&visited.rotation, &visited.rest) else {
            return;
        };
        if patience.covers(*until, self.world().clock.now()) {
            self.wakes.insert(subject.clone(), (*until, rotation.id()));
        }
    }

    fn remember(&mut self, visited: Visited) {
        self.found.insert((visited.vendor.clone(), visited.iam_user.clone()), visited);
    }
}

/// Whether a pass would visit this user; of a path, only AWS knows, and it was there when its rotation began.
fn is_ours(world: &World, subject: &Subject) -> bool {
    let enabled = world.settings.vendors.get(&subject.vendor).is_some_and(|vendor| vendor.enabled);
    enabled
        && access(world, subject).is_some_and(|access| {
            let listed = match &access.users {
                Users::Named(users) => users.contains(&subject.iam_user),
                Users::Path(_) => true,
            };
            access.account == subject.account && listed
        })
}

/// The one place where a panic ends: that vendor waits for the next pass, the others never know.
fn panicked(subject: &Subject) -> Visited {
    let sentence = format!(
        "a defect in keyround ended the visit to {}; the journal says where its rotation stands, and the next pass \
         goes on from there",
        subject.vendor
    );
    Visited::broken(subject, sentence)
}
