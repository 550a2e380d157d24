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

use crate::driver::pass::{PassUnderWay, Place, place};
use crate::driver::roster::{
    Call, Claim, RollCall, Roster, call_for, claim, left_alone, must_be_listed, roster,
};
use crate::driver::visit::{Visited, visit};
use crate::driver::{Rest, Turn, Watcher, World};
use crate::ids::{IamUserName, Subject, VendorName, Who};
use crate::ports::JournalError;
use crate::rotation::{Rotation, Waiting};
use crate::schedule::{Action, jitter_for};
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

impl Ask {
    fn is_for(&self, vendor: &VendorName) -> bool {
        self.vendors.is_empty() || self.vendors.contains(vendor)
    }
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
    fn covers(self, until: Timestamp, why: &Waiting, now: Timestamp) -> bool {
        // When a vendor uses its key is the vendor's own affair: no single pass waits for that.
        let is_short = until.since(now) <= SHORT_WAIT && !matches!(why, Waiting::Use { .. });
        until < Timestamp::NEVER && !why.is_for_person() && (self == Patience::Unlimited || is_short)
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

/// Something to send a task for.
#[derive(Clone, Debug)]
enum Errand {
    /// Ask AWS for the users of this vendor.
    List(VendorName),
    /// Visit this user.
    Visit { call: Call, forced: bool },
}

impl Errand {
    /// Whether both go to the same place: nobody is visited twice at a time, under whatever name.
    fn meets(&self, other: &Errand) -> bool {
        match (self, other) {
            (Errand::List(mine), Errand::List(other)) => mine == other,
            (Errand::Visit { call: mine, .. }, Errand::Visit { call: other, .. }) => {
                mine.subject.who() == other.subject.who()
            }
            (Errand::List(_), Errand::Visit { .. }) | (Errand::Visit { .. }, Errand::List(_)) => false,
        }
    }
}

/// What a task comes back with.
enum Back {
    Listed(Roster),
    Visited(Box<Visited>),
}

/// A rotation that is to be looked at again.
#[derive(Debug)]
struct Wake {
    at: Timestamp,
    call: Call,
}

type Joined = Result<(Id, Back), JoinError>;

/// Visits users, and remembers what it found.
pub struct Engine {
    worlds: watch::Receiver<World>,
    stop: CancellationToken,
    watcher: Arc<dyn Watcher>,
    pulse: Option<Duration>,
    ready: VecDeque<Errand>,
    wakes: BTreeMap<Who, Wake>,
    running: JoinSet<Back>,
    on_the_road: HashMap<Id, Errand>,
    roll_call: RollCall,
    rosters: Vec<Roster>,
    forced: bool,
    calling: bool,
    found: BTreeMap<Place, Visited>,
    pass: Option<PassUnderWay>,
    last_tick: Option<Timestamp>,
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
            pulse: None,
            ready: VecDeque::new(),
            wakes: BTreeMap::new(),
            running: JoinSet::new(),
            on_the_road: HashMap::new(),
            roll_call: RollCall::default(),
            rosters: Vec::new(),
            forced: false,
            calling: false,
            found: BTreeMap::new(),
            pass: None,
            last_tick: None,
            next_tick: Timestamp::NEVER,
        }
    }

    /// Lets the loop come by at least this often, so that somebody can notice when it does not.
    #[must_use]
    pub fn with_pulse(self, pulse: Option<Duration>) -> Engine {
        Engine { pulse, ..self }
    }

    fn world(&self) -> World {
        self.worlds.borrow().clone()
    }

    /// Works until the cadence, or the stop, ends it. What is under way is let finish its effect,
    /// also when the journal fails.
    ///
    /// # Errors
    ///
    /// The journal is unusable or unavailable.
    pub async fn work(&mut self, cadence: &Cadence) -> Result<Vec<Visited>, JournalError> {
        let worked = self.work_until_over(cadence).await;
        if worked.is_err() {
            self.stop.cancel();
        }
        while !self.running.is_empty() {
            self.tell_watcher();
            tokio::select! {
                biased;
                Some(joined) = self.running.join_next_with_id() => self.take_back(joined, Patience::Short),
                () = pulse(self.pulse) => {}
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
                Patience::Unlimited
            }
        };
        while !self.stop.is_cancelled() {
            self.begin_ticks().await?;
            self.take_due_wakes();
            self.call_roll().await?;
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
        let idle = self.running.is_empty() && self.ready.is_empty() && self.wakes.is_empty();
        matches!(cadence, Cadence::Once(..)) && idle && !self.calling
    }

    fn tell_watcher(&self) {
        let world = self.world();
        self.watcher.turned(&Turn {
            now: world.clock.now(),
            settings: world.settings,
            next_pass: self.next_tick,
            visits: self.on_the_road.len(),
            stopping: self.stop.is_cancelled(),
        });
    }

    /// Waits for whatever comes first: a visit that ends, a time to be somewhere, a new world, the stop, the pulse.
    async fn turn(&mut self, patience: Patience) {
        let clock = self.world().clock;
        let first_wake = self.wakes.values().map(|wake| wake.at).min().unwrap_or(Timestamp::NEVER);
        let until = first_wake.min(self.next_tick);
        // A clock that jumps must not, while somebody is on the road.
        let may_sleep = until < Timestamp::NEVER && (self.running.is_empty() || !clock.jumps());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            Some(joined) = self.running.join_next_with_id(), if !self.running.is_empty() => {
                self.take_back(joined, patience);
            }
            Ok(()) = self.worlds.changed() => self.schedule_next_tick(),
            () = clock.sleep_until(until), if may_sleep => {}
            () = pulse(self.pulse) => {}
        }
    }

    /// Starting up is carrying on: what is under way is looked at now, whenever the next tick is. A
    /// tick that was missed is made up once, however many were.
    async fn take_up(&mut self) -> Result<(), JournalError> {
        let world = self.world();
        self.last_tick = world.journal.last_tick().await?;
        self.schedule_next_tick();
        for known in world.journal.in_flight().await? {
            if let Some(call) = call_for(&world.settings, &known) {
                self.line_up(Errand::Visit { call, forced: false });
            }
        }
        Ok(())
    }

    /// A tick is due at its time on the clock, and a pass begins up to the jitter later.
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

    async fn begin_ticks(&mut self) -> Result<(), JournalError> {
        let now = self.world().clock.now();
        if now < self.next_tick {
            return Ok(());
        }
        self.world().journal.record_tick(now).await?;
        self.last_tick = Some(now);
        self.begin_pass(&Ask::default()).await?;
        self.schedule_next_tick();
        Ok(())
    }

    /// A pass is over when everybody was visited once, whatever goes on after that.
    fn report_pass(&mut self) {
        if let Some(pass) = self.pass.take_if(|pass| !self.calling && pass.is_over()) {
            self.watcher.pass_ended(&pass.ended(&self.found, self.next_tick, self.world().clock.now()));
        }
    }

    fn line_up_for_pass(&mut self, call: Call, forced: bool) {
        if let Some(pass) = &mut self.pass {
            pass.awaits(call.subject.who());
        }
        self.line_up(Errand::Visit { call, forced });
    }

    /// Calls the roll of these vendors. Where AWS must be asked for the users, that is an errand of its
    /// own, so that a slow answer delays nobody else.
    async fn begin_pass(&mut self, ask: &Ask) -> Result<(), JournalError> {
        let world = self.world();
        self.roll_call = RollCall::new(&ask.vendors, Vec::new());
        (self.forced, self.calling) = (ask.force, true);
        self.pass = Some(PassUnderWay::new(world.clock.now(), ask.vendors.is_empty()));
        self.watcher.pass_begins();
        for vendor in world.settings.vendors.values().filter(|vendor| ask.is_for(&vendor.name)) {
            match must_be_listed(vendor) {
                true => self.line_up(Errand::List(vendor.name.clone())),
                false => self.rosters.push(roster(&world, vendor).await),
            }
        }
        self.call_roll().await
    }

    /// Puts an errand for each user of the rosters that are in in line. When all are in, the rotations
    /// that no roster claimed are carried on, or reported.
    async fn call_roll(&mut self) -> Result<(), JournalError> {
        let mut errands = self.ready.iter().chain(self.on_the_road.values());
        let is_listing = errands.any(|errand| matches!(errand, Errand::List(_)));
        if !self.calling || (is_listing && self.rosters.is_empty()) {
            return Ok(());
        }
        let world = self.world();
        // A rotation may have begun since the listing was sent for.
        self.roll_call.refresh(world.journal.in_flight().await?);
        for roster in std::mem::take(&mut self.rosters) {
            self.take_roster(roster);
        }
        if !is_listing {
            self.end_roll_call(&world).await;
        }
        Ok(())
    }

    fn take_roster(&mut self, roster: Roster) {
        match roster {
            Roster::Nobody(visited) => self.remember(*visited),
            Roster::Unlisted(visited) => {
                self.roll_call.without_roster(visited.vendor.clone());
                self.watcher.unlisted(&visited);
                self.remember(*visited);
            }
            Roster::Users(subjects) => {
                for call in self.roll_call.call(subjects) {
                    self.line_up_for_pass(call, self.forced);
                }
            }
        }
    }

    async fn end_roll_call(&mut self, world: &World) {
        self.calling = false;
        let (calls, nobodys) = self.roll_call.left_over(&world.settings);
        for call in calls {
            self.line_up_for_pass(call, false);
        }
        for (known, claim) in nobodys {
            let visited = left_alone(world, &known, &claim).await;
            self.wakes.remove(&known.subject.who());
            self.found.remove(&(visited.vendor.clone(), None));
            self.watcher.visited(&known.subject, &visited);
            self.remember(visited);
        }
    }

    fn line_up(&mut self, errand: Errand) {
        let busy = self.on_the_road.values().chain(&self.ready).any(|other| errand.meets(other));
        if busy {
            return;
        }
        if let Errand::Visit { call, .. } = &errand {
            self.wakes.remove(&call.subject.who());
        }
        self.ready.push_back(errand);
    }

    /// A rotation whose user nobody has any more is not woken; the next pass says so.
    fn take_due_wakes(&mut self) {
        let world = self.world();
        let now = world.clock.now();
        for (_, wake) in self.wakes.extract_if(.., |_, wake| wake.at <= now).collect::<Vec<_>>() {
            if let Claim::Vendor(vendor) = claim(&world.settings, &wake.call.subject) {
                let subject = Subject { vendor, ..wake.call.subject };
                self.line_up(Errand::Visit { call: Call { subject, ..wake.call }, forced: false });
            }
        }
    }

    fn send_out(&mut self) {
        let world = self.world();
        while self.running.len() < world.settings.concurrency {
            let Some(errand) = self.ready.pop_front() else { break };
            let (world, stop, watcher) = (world.clone(), self.stop.clone(), Arc::clone(&self.watcher));
            let task = self.running.spawn(run(world, errand.clone(), stop, watcher));
            self.on_the_road.insert(task.id(), errand);
        }
    }

    fn take_back(&mut self, joined: Joined, patience: Patience) {
        match joined {
            Ok((task, back)) => match (back, self.off_the_road(task)) {
                (Back::Listed(roster), errand) => {
                    if let (Some(Errand::List(vendor)), Roster::Users(_)) = (&errand, &roster) {
                        self.watcher.listed(vendor);
                    }
                    self.rosters.push(roster);
                }
                (Back::Visited(visited), Some(Errand::Visit { call, .. })) => {
                    self.take_visited(call.subject, *visited, patience);
                }
                (Back::Visited(_), Some(Errand::List(_)) | None) => {}
            },
            Err(error) => match self.off_the_road(error.id()) {
                Some(Errand::List(vendor)) => {
                    self.rosters.push(Roster::Unlisted(Box::new(panicked(vendor, None))));
                }
                Some(Errand::Visit { call: Call { subject, .. }, .. }) => {
                    let visited = panicked(subject.vendor.clone(), Some(subject.iam_user.clone()));
                    self.watcher.visited(&subject, &visited);
                    self.remember(visited);
                }
                None => {}
            },
        }
    }

    fn off_the_road(&mut self, task: Id) -> Option<Errand> {
        let errand = self.on_the_road.remove(&task);
        if let (Some(pass), Some(Errand::Visit { call, .. })) = (&mut self.pass, &errand) {
            pass.is_back(&call.subject.who());
        }
        errand
    }

    fn take_visited(&mut self, subject: Subject, visited: Visited, patience: Patience) {
        if let Some(at) = self.again_at(&visited, patience) {
            let rotation = visited.rotation.as_ref().map(Rotation::id);
            self.wakes.insert(subject.who(), Wake { at, call: Call { subject, rotation } });
        }
        self.remember(visited);
    }

    /// When a user is looked at before the next pass: when its rotation wants it, or when the window opens that a
    /// key is due for, as no pass may ever fall into that window.
    fn again_at(&self, visited: &Visited, patience: Patience) -> Option<Timestamp> {
        match (&visited.rest, &visited.verdict.action) {
            (Some(Rest::Wait { until, why }), _) => {
                patience.covers(*until, why, self.world().clock.now()).then_some(*until)
            }
            (None, Action::Wait { until }) => (self.next_tick < Timestamp::NEVER).then_some(*until),
            (Some(Rest::Stuck(_) | Rest::Ended(_) | Rest::Stopped), _)
            | (None, Action::Nothing | Action::Start { .. } | Action::Continue) => None,
        }
    }

    fn remember(&mut self, visited: Visited) {
        if let Some(pass) = &mut self.pass {
            pass.found(&visited);
        }
        self.found.insert(place(&visited), visited);
    }
}

async fn pulse(every: Option<Duration>) {
    match every {
        Some(every) => tokio::time::sleep(every).await,
        None => std::future::pending().await,
    }
}

/// One task's work.
async fn run(world: World, errand: Errand, stop: CancellationToken, watcher: Arc<dyn Watcher>) -> Back {
    match errand {
        Errand::Visit { call, forced } => {
            let visited = visit(&world, &call, forced, &stop, watcher.as_ref()).await;
            Back::Visited(Box::new(visited))
        }
        Errand::List(vendor) => Back::Listed(match world.settings.vendors.get(&vendor) {
            Some(vendor) => roster(&world, vendor).await,
            None => Roster::Users(Vec::new()),
        }),
    }
}

/// The one place where a panic ends: that vendor waits for the next pass, the others never know.
fn panicked(vendor: VendorName, iam_user: Option<IamUserName>) -> Visited {
    let sentence = format!(
        "a defect in keyround ended the visit to {vendor}; the journal says where its rotations stand, and the next pass \
         goes on from there"
    );
    Visited::broken(vendor, iam_user, "defect", sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_pass_waits_out_a_minute_and_never_a_person_or_a_vendor() {
        let now = Timestamp::from_unix(1_800_000_000);
        let covers = |patience: Patience, seconds, why: &Waiting| {
            patience.covers(now + Duration::from_secs(seconds), why, now)
        };
        assert!(covers(Patience::Short, 60, &Waiting::Soak) && !covers(Patience::Short, 61, &Waiting::Soak));
        assert!(covers(Patience::Unlimited, 61, &Waiting::Soak));
        assert!(
            !covers(Patience::Short, 1, &Waiting::Use { old_used_at: None })
                && covers(Patience::Unlimited, 1, &Waiting::Use { old_used_at: None })
        );
        let reveal = Waiting::Reveal { since: now, days: 0 };
        let hold = Waiting::Held { by: "alex".to_owned(), why: "a freeze".to_owned() };
        for patience in [Patience::Short, Patience::Unlimited] {
            assert!(!covers(patience, 1, &reveal));
            assert!(!patience.covers(Timestamp::NEVER, &hold, now), "no time ends it");
            assert!(!patience.covers(Timestamp::NEVER, &Waiting::Soak, now), "and no wait is without end");
        }
        assert!(!Patience::Short.covers(Timestamp::NEVER, &hold, Timestamp::NEVER));
    }

    #[test]
    fn a_vendor_is_asked_for_its_users_once_at_a_time() {
        let list = |vendor: &str| Errand::List(vendor.parse().expect("a vendor"));
        assert!(list("acme").meets(&list("acme")));
        assert!(!list("acme").meets(&list("initech")));
    }
}
