//! The world of one play: true time, and everything outside the program, behind one lock.
//!
//! The adapters of the play ([`super::cloud`], [`super::consumers`], [`super::ledger`]) serve the program;
//! strangers and operators ([`super::people`]) act beside it. [`super::checks`] checks every change.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use keyround::core::ids::{AccessKeyId, IamUserName, RotationId};
use keyround::core::rotation::{Rotation, Stage};
use keyround::core::time::Timestamp;
use keyround::ports::Clock;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Mistake;
use super::cloud::User;
use super::dice::Dice;
use super::faults::{Fault, Seen, Weather};
use super::readers::Readers;

pub(super) struct State {
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) mistake: Mistake,
    /// The error of the program's clock, in seconds.
    pub(super) clock_off_secs: i64,
    /// Each error of the program's clock, and the time from which it had that error.
    clock_history: Vec<(Timestamp, i64)>,
    pub(super) users: BTreeMap<IamUserName, User>,
    pub(super) keys_made: u32,
    /// Every rotation as its journal has it.
    pub(super) rotations: BTreeMap<RotationId, Rotation>,
    /// Users whose last reconcile said that the vendor should be asked whether it uses the new key.
    pub(super) told_to_ask: BTreeSet<IamUserName>,
    /// The hold on each user's rotation, as its journal has it: its start, and its end if it has one.
    pub(super) holds: BTreeMap<IamUserName, (Timestamp, Option<Timestamp>)>,
    /// The journal cannot be written before this time.
    pub(super) disk_full_until: Timestamp,
    /// The configured cooling time of each user's old key.
    pub(super) cools: BTreeMap<IamUserName, Duration>,
    /// The previous cooling times, and when they were replaced.
    pub(super) cools_before: (BTreeMap<IamUserName, Duration>, Timestamp),
    /// The cooling time when each user's newest rotation began. No key that was offered may be deleted sooner.
    pub(super) cools_begun: BTreeMap<IamUserName, Duration>,
    /// The keys about which an operator must decide, because the program was not sure that they are unused.
    pub(super) undecided: BTreeMap<IamUserName, AccessKeyId>,
    pub(super) readers: Readers,
    pub(super) seen: Seen,
    pub(super) broken: Option<String>,
    /// How many keys of strangers were treated as ours, in the way that docs/security.md names as a limit.
    pub(super) known_limit_met: u32,
    /// The calls of the newest day for each user, apart for deliveries that may have to complete a pair.
    calls: BTreeMap<(IamUserName, bool), (u64, u32)>,
    pub(super) calls_a_day_max: u32,
    pub(super) pair_calls_a_day_max: u32,
    trace: Vec<(Timestamp, String)>,
    trace_hash: DefaultHasher,
    epoch: Timestamp,
    origin: Instant,
}

/// The trace of a play.
pub(super) struct Story(Vec<(Timestamp, String)>);

impl Story {
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(at, what)| format!("{at} {what}")).collect()
    }
}

/// The handle to the world, shared by everything in a play.
#[derive(Clone)]
pub(super) struct Sim {
    state: Arc<Mutex<State>>,
    pub(super) crashed: Arc<Notify>,
    clock_moved: Arc<Notify>,
}

impl Sim {
    pub(super) fn new(dice: Dice, weather: Weather, mistake: Mistake, epoch: Timestamp) -> Sim {
        // The receivers have a generator of their own, so that sending alerts changes nothing else in the play.
        let readers = Readers::new(dice.fork());
        let state = State {
            dice,
            weather,
            mistake,
            clock_off_secs: 0,
            clock_history: vec![(epoch, 0)],
            users: BTreeMap::new(),
            keys_made: 0,
            rotations: BTreeMap::new(),
            told_to_ask: BTreeSet::new(),
            holds: BTreeMap::new(),
            disk_full_until: Timestamp::EPOCH,
            cools: BTreeMap::new(),
            cools_before: (BTreeMap::new(), Timestamp::EPOCH),
            cools_begun: BTreeMap::new(),
            undecided: BTreeMap::new(),
            readers,
            seen: Seen::default(),
            broken: None,
            known_limit_met: 0,
            calls: BTreeMap::new(),
            calls_a_day_max: 0,
            pair_calls_a_day_max: 0,
            trace: Vec::new(),
            trace_hash: DefaultHasher::new(),
            epoch,
            origin: Instant::now(),
        };
        Sim { state: Arc::new(Mutex::new(state)), crashed: Arc::default(), clock_moved: Arc::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no play panicked with it")
    }

    pub(super) async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// The process is killed here: the call never returns.
    pub(super) async fn die<T>(&self) -> T {
        self.crashed.notify_one();
        std::future::pending().await
    }

    /// Sets the program's clock to another error.
    pub(super) fn step_clock(&self, off_secs: i64) {
        let mut state = self.lock();
        state.clock_off_secs = off_secs;
        let now = state.now();
        state.clock_history.push((now, off_secs));
        state.readers.clock_was_set();
        state.note(format!("the clock is {off_secs}s off"));
        drop(state);
        self.clock_moved.notify_waiters();
    }

    pub(super) fn true_now(&self) -> Timestamp {
        self.lock().now()
    }
}

impl State {
    /// The true time, which IAM, the vendors and the strangers go by.
    pub(super) fn now(&self) -> Timestamp {
        self.epoch + self.origin.elapsed()
    }

    /// The time that the program's clock shows.
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp::from_unix(self.now().unix_seconds() + self.clock_off_secs)
    }

    /// The true times at which the program's clock showed this time: several where it was set back, none where it
    /// was set forward.
    pub(super) fn true_times(&self, shown: Timestamp) -> Vec<Timestamp> {
        let ends = self.clock_history.iter().skip(1).map(|(from, _)| *from).chain([Timestamp::NEVER]);
        let segments = self.clock_history.iter().zip(ends);
        let when = segments.filter_map(|((from, off), until)| {
            let at = Timestamp::from_unix(shown.unix_seconds() - off);
            (at >= *from && at <= until).then_some(at)
        });
        when.collect()
    }

    pub(super) fn note(&mut self, what: String) {
        let at = self.now();
        (at, &what).hash(&mut self.trace_hash);
        self.trace.push((at, what));
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace_hash.finish()
    }

    pub(super) fn take_story(&mut self) -> Story {
        Story(std::mem::take(&mut self.trace))
    }

    pub(super) fn break_with(&mut self, why: String) {
        self.note(format!("BROKEN: {why}"));
        self.broken.get_or_insert(why);
    }

    /// The configuration was reloaded.
    pub(super) fn configure(&mut self, cools: BTreeMap<IamUserName, Duration>) {
        let before = std::mem::replace(&mut self.cools, cools);
        self.cools_before = (before, self.now());
    }

    /// The configured cooling time. For minutes after a change, the shorter of the old and the new one counts.
    pub(super) fn cool_of(&self, user: &IamUserName) -> Duration {
        let cool = self.cools.get(user).copied().unwrap_or_default();
        let (before, changed_at) = &self.cools_before;
        let is_new = self.now().since(*changed_at) < Duration::from_mins(10);
        before.get(user).filter(|_| is_new).map_or(cool, |before| cool.min(*before))
    }

    pub(super) fn is_disk_full(&self) -> bool {
        self.now() < self.disk_full_until && !self.weather.is_calm
    }

    pub(super) fn user(&mut self, name: &IamUserName) -> &mut User {
        self.users.get_mut(name).expect("the cast is fixed")
    }

    /// The rotation of this user that is not finished.
    pub(super) fn in_flight(&self, user: &IamUserName) -> Option<&Rotation> {
        self.rotations
            .values()
            .rev()
            .find(|rotation| rotation.subject().iam_user == *user && !is_over(rotation.stage()))
    }

    /// The stage of this user's rotation, with the inner stages told apart, or `idle`.
    pub(super) fn place(&self, user: &IamUserName) -> &'static str {
        self.in_flight(user).map_or("idle", |rotation| place(rotation.stage()))
    }

    pub(super) fn mark(&mut self, user: &IamUserName, fault: Fault) {
        let place = self.place(user);
        *self.seen.faults.entry((place, fault)).or_default() += 1;
        self.note(format!("{user} in {place}: {fault:?}"));
    }

    pub(super) fn mark_code(&mut self, code: &str) {
        match self.seen.codes.get_mut(code) {
            Some(times) => *times += 1,
            None => drop(self.seen.codes.insert(code.to_owned(), 1)),
        }
    }

    /// Draws a fault for a call, and records it.
    pub(super) fn strike(&mut self, user: &IamUserName, faults: &[Fault]) -> Option<Fault> {
        let State { weather, dice, .. } = self;
        let fault = weather.pick(faults, dice)?;
        self.mark(user, fault);
        Some(fault)
    }

    /// Draws whether the process is killed as it records what a sink received, or is about to receive.
    pub(super) fn strike_at_memory(&mut self) -> Option<Fault> {
        let State { weather, dice, .. } = self;
        weather.pick(&[Fault::KilledBefore, Fault::KilledAfter], dice)
    }

    /// Counts a call for the bound on calls a day.
    pub(super) fn count_call(&mut self, user: &IamUserName) {
        let day = self.now().unix_seconds().unsigned_abs() / 86_400;
        // While a vendor has no working key, each minute takes a listing and an attempt, however long that lasts,
        // so these calls are not bounded.
        if self.place(user) == "restore" {
            return;
        }
        // Such a vendor may hold one half of the new pair. Until it holds both, each five minutes take a listing and a
        // delivery, however long that lasts, so these calls have a bound of their own.
        let completes_pair = self.place(user) == "deliver" && self.user(user).consumer.takes_halves;
        let counted = self.calls.entry((user.clone(), completes_pair)).or_default();
        *counted = if counted.0 == day { (day, counted.1 + 1) } else { (day, 1) };
        let max = if completes_pair { &mut self.pair_calls_a_day_max } else { &mut self.calls_a_day_max };
        *max = counted.1.max(*max);
    }

    pub(super) fn new_key_id(&mut self) -> AccessKeyId {
        self.keys_made += 1;
        format!("AKIASIMULATED{:07}", self.keys_made).parse().expect("an access key id")
    }
}

fn is_over(stage: &Stage) -> bool {
    matches!(stage, Stage::Done { .. } | Stage::Abandoned)
}

fn place(stage: &Stage) -> &'static str {
    match stage {
        Stage::Suspect { .. } => "suspect",
        Stage::Discard { .. } => "discard",
        Stage::Restore { .. } => "restore",
        Stage::Survey => "create",
        other => other.name(),
    }
}

/// The program's clock, which can be wrong and can be set.
pub(super) struct SimClock(pub(super) Sim);

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.lock().clock()
    }

    async fn sleep_until(&self, until: Timestamp) {
        loop {
            let moved = self.0.clock_moved.notified();
            let left = until.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                biased;
                () = moved => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}
