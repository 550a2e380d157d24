//! The whole program in simulation: engine, machine, journal, schedule, templates and retries, for months, under
//! every kind of fault at once, from one seed: such a run is a *play*. Proves the promises of `src/lib.rs` ("What
//! always holds") for all of these together; [`checks`] holds the checkers.
//!
//! Only the far ends are simulated: IAM with replicas that lag, vendors with their habits, a disk, a clock, and
//! people. Time is tokio's paused clock, so a day takes only as long as its events. All chance comes from the seed,
//! so a seed that breaks something breaks it each time:
//!
//! ```text
//! KEYROUND_SEED=4711 cargo test --locked --test it simulation::a_seed -- --ignored --nocapture
//! KEYROUND_SEEDS=100000 cargo test --release --locked --test it simulation::a_campaign -- --ignored --nocapture
//! ```
//!
//! A storm of weeks with faults is followed by a calm month, in which operators do what the program's messages tell
//! them. After that every vendor must work with the one key that is left, and no rotation may be stuck.
//!
//! [`Mistake`] seeds plausible mistakes, to prove that the checkers work: they must catch each of them.

mod campaign;
mod cast;
mod checks;
mod cloud;
mod consumers;
mod dice;
mod faults;
mod ledger;
mod people;
mod readers;
mod sentences;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyround::adapters::delivery::{ConfiguredVendors, Transports};
use keyround::adapters::rehearsal::{RehearsalWorld, StandInVendors};
use keyround::alerting::Alerts;
use keyround::config::Settings;
use keyround::core::ids::Subject;
use keyround::core::rotation::{Event, Rotation};
use keyround::core::schedule::State as KeyState;
use keyround::core::time::Timestamp;
use keyround::engine::{Cadence, Engine, PassRequest, UserReport, WaitMode, Watcher, Watchers, World};
use keyround::ports::{Journal, JournalError};
use keyround::status::StatusStore;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use campaign::{Played, run_seeds};
use cast::{Cast, consumers};
use cloud::{Maker, SimAccounts, User};
use consumers::{SimEgress, SimSecrets};
use dice::Dice;
use faults::Weather;
use ledger::SimJournal;
use readers::{Glasses, SimSpare, routing};
use world::{Sim, SimClock};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const CALM: Duration = Duration::from_hours(24 * 30);
/// Long, because months are played; `run` looks for operator commands each second.
const OPERATOR_COMMANDS_EVERY: Duration = Duration::from_hours(1);
/// Enough for every test run to notice a common mistake. The campaign gives the certainty.
const SEEDS_EVERYDAY: u64 = 60;
const SEEDS_IN_CAMPAIGN: u64 = 2000;
/// A seeded mistake must be seen within this many seeds.
const SEEDS_FOR_MISTAKE: u64 = 400;

#[test]
fn no_simulated_fault_breaks_a_vendor() {
    run_seeds(0, SEEDS_EVERYDAY).expect_sound();
}

#[test]
#[ignore = "a campaign of minutes: KEYROUND_SEEDS seeds, 2,000 without it"]
fn a_campaign_of_seeds_breaks_no_vendor_and_sees_each_fault_in_each_stage() {
    let campaign = run_seeds(0, from_environment("KEYROUND_SEEDS").unwrap_or(SEEDS_IN_CAMPAIGN));
    campaign.print_table();
    campaign.expect_sound();
    campaign.expect_whole_table();
}

#[test]
#[ignore = "for a seed that broke something: KEYROUND_SEED names it, and its story is told"]
fn a_seed_from_the_environment_breaks_no_vendor() {
    let played = play(from_environment("KEYROUND_SEED").unwrap_or_default(), Mistake::None);
    println!("{}", played.story.lines().join("\n"));
    assert_eq!(played.broken, None);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        let (once, again) = (play(seed, Mistake::None), play(seed, Mistake::None));
        assert_eq!(once.trace_hash, again.trace_hash, "seed {seed}");
    }
}

#[test]
#[ignore = "minutes: each seeded mistake, or those that KEYROUND_MISTAKE names, over as many seeds as it takes"]
fn each_seeded_mistake_is_seen() {
    let mut unseen = Vec::new();
    let only = std::env::var("KEYROUND_MISTAKE").ok();
    let is_wanted =
        |mistake: &Mistake| only.as_ref().is_none_or(|only| only.contains(&format!("{mistake:?}")));
    for mistake in Mistake::ALL.into_iter().filter(is_wanted) {
        let caught = (0..SEEDS_FOR_MISTAKE).find_map(|seed| Some((seed, play(seed, mistake).broken?)));
        let Some((seed, why)) = caught else {
            unseen.push(mistake);
            continue;
        };
        println!("{mistake:?}: within {} seeds: {why}", seed + 1);
    }
    assert!(unseen.is_empty(), "not seen: {unseen:?}");
}

/// Mistakes that a program like this could plausibly make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mistake {
    None,
    /// The SDK's own retry is left on for CreateAccessKey.
    SdkRetriesCreate,
    /// A lost answer of AWS is treated as a refusal.
    SilenceIsRefusal,
    /// A listing that failed is treated as "no keys".
    NoListingIsNoKeys,
    /// Our own probe is treated as the vendor's use.
    ProbeIsUse,
    /// A last-used reading that shows a use is treated as no use.
    UseIsOverlooked,
    /// The old key's use is overlooked, however late it was.
    OldUseIsOverlooked,
    /// The new key is delivered without a proof that AWS knows it.
    ProofIsSkipped,
    /// Whichever key the vendor names, it is treated as the new one.
    YesToEverything,
    /// The gates of the soak are left out, and the vendor is not asked.
    GatesAreSkipped,
    /// The old key is deleted as soon as it is Inactive.
    NothingCools,
    /// The call that sets a key Inactive is not made.
    InactiveIsNotSent,
    /// With both slots taken, the older key is deleted to make room.
    DeletesOtherAtQuota,
    /// An unanswered request to set a key Inactive is repeated, however long ago the vendor was seen to be ready.
    DoubtNeverEnds,
    /// The sealed secret stays in the journal.
    SecretIsKept,
    /// What a sink received is not remembered after the process ends.
    NothingIsRemembered,
    /// That a delivery to a sink is about to be attempted is not remembered before the attempt.
    DoubtIsNotRemembered,
    /// A sink does not receive that an alert is resolved.
    EndIsNotTold,
    /// The alerts do not see the trouble that a reconcile found.
    TroubleIsOverlooked,
    /// An alert says that the old key is Active again while UpdateAccessKey fails.
    ActiveIsSaidTooEarly,
    /// The sentence of a soaking rotation claims that both keys are Active, whatever others did to them.
    BothAreSaidActive,
    /// No alert is sent for a user without an Active key.
    NoKeyIsNoTrouble,
    /// No alert is sent for a rotation that has been on hold for a day.
    HoldIsNotTold,
}

impl Mistake {
    const ALL: [Mistake; 22] = [
        Mistake::SdkRetriesCreate,
        Mistake::SilenceIsRefusal,
        Mistake::NoListingIsNoKeys,
        Mistake::ProbeIsUse,
        Mistake::UseIsOverlooked,
        Mistake::OldUseIsOverlooked,
        Mistake::ProofIsSkipped,
        Mistake::YesToEverything,
        Mistake::GatesAreSkipped,
        Mistake::NothingCools,
        Mistake::InactiveIsNotSent,
        Mistake::DeletesOtherAtQuota,
        Mistake::DoubtNeverEnds,
        Mistake::SecretIsKept,
        Mistake::NothingIsRemembered,
        Mistake::DoubtIsNotRemembered,
        Mistake::EndIsNotTold,
        Mistake::TroubleIsOverlooked,
        Mistake::ActiveIsSaidTooEarly,
        Mistake::BothAreSaidActive,
        Mistake::NoKeyIsNoTrouble,
        Mistake::HoldIsNotTold,
    ];
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// All parts of one play.
struct Theatre {
    sim: Sim,
    journal: SimJournal,
    cast: Mutex<Cast>,
    /// The engine's world as of the last configuration change, and the channel by which a running engine gets a new
    /// one.
    world: Mutex<World>,
    newest: Mutex<Option<watch::Sender<World>>>,
    stop: Mutex<CancellationToken>,
}

fn play(seed: u64, mistake: Mistake) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime is made of memory").block_on(async {
        let mut dice = Dice::new(seed);
        let (storm, calm) = (dice.span(25 * DAY, 60 * DAY), CALM);
        let theatre = Arc::new(Theatre::new(dice, mistake));
        let meddling = tokio::spawn({
            let theatre = Arc::clone(&theatre);
            async move { theatre.meddle().await }
        });
        let mending = tokio::spawn({
            let theatre = Arc::clone(&theatre);
            async move { theatre.mend().await }
        });
        theatre.act(storm).await;
        meddling.abort();
        let calm_since = theatre.sim.true_now();
        theatre.clear_up();
        theatre.act(calm).await;
        mending.abort();
        theatre.curtain(calm_since, storm + calm).await
    })
}

impl Theatre {
    fn new(mut dice: Dice, mistake: Mistake) -> Theatre {
        let cast = Cast::new(&mut dice, mistake);
        let weather = Weather::new(&mut dice);
        let consumers = consumers(&cast, &mut dice);
        let epoch = "2026-01-05T00:00:00Z".parse().expect("a time");
        let sim = Sim::new(dice, weather, mistake, epoch);
        let mut state = sim.lock();
        state.cools = cast.cools();
        for (name, consumer) in consumers {
            let lag_max =
                state.dice.one_of(&[Duration::from_secs(2), Duration::from_secs(15), Duration::from_mins(2)]);
            let usage_lag = state.dice.one_of(&[Duration::ZERO, Duration::from_mins(20), 4 * HOUR]);
            let trail_lag = state.dice.one_of(&[None, None, Some(Duration::from_mins(5))]);
            let user = User {
                name: name.clone(),
                keys: Vec::new(),
                consumer,
                lag_max,
                usage_lag,
                trail_lag,
                listed_at: epoch,
                usage_read_at: epoch,
                doubts: Vec::new(),
                denied_until: Timestamp::EPOCH,
            };
            state.users.insert(name.clone(), user);
            let age = state.dice.span(DAY, cast.max_age());
            let id = state.make_key(&name, Maker::First, epoch.minus(age));
            let secret = state.key(&name, &id).expect("just made").secret.clone();
            state.take(&name, (Some(id.to_string()), Some(secret)));
        }
        drop(state);
        let journal = SimJournal::new(sim.clone());
        let world = Mutex::new(world(&sim, &journal, cast.settings()));
        let cast = Mutex::new(cast);
        Theatre { sim, journal, cast, world, newest: Mutex::default(), stop: Mutex::default() }
    }

    /// Reloads the configuration: in a running program, and for the next start.
    fn reload(&self, cast: &Cast) {
        let world = world(&self.sim, &self.journal, cast.settings());
        self.sim.lock().configure(cast.cools());
        *self.world.lock().expect("no play panicked with it") = world.clone();
        if let Some(newest) = self.newest.lock().expect("no play panicked with it").as_ref() {
            newest.send_replace(world);
        }
    }

    /// Runs the program for this long, and starts it again whenever it is killed, stopped, or fails.
    async fn act(&self, span: Duration) {
        let end = tokio::time::Instant::now() + span;
        let by_timer = self.sim.lock().dice.per_mille(250);
        while tokio::time::Instant::now() < end && self.sim.lock().broken.is_none() {
            let world = self.world.lock().expect("no play panicked with it").clone();
            let (newest, worlds) = watch::channel(world);
            *self.newest.lock().expect("no play panicked with it") = Some(newest);
            let stop = CancellationToken::new();
            *self.stop.lock().expect("no play panicked with it") = stop.clone();
            tokio::select! {
                biased;
                () = self.sim.crashed.notified() => {
                    let mut state = self.sim.lock();
                    state.note("killed".to_owned());
                    state.process_died();
                }
                () = tokio::time::sleep_until(end) => self.sim.lock().process_died(),
                worked = self.run(worlds, stop, by_timer) => {
                    let how = worked.map_or_else(|error| error.to_string(), |()| "stopped".to_owned());
                    self.sim.lock().note(how);
                }
            }
            let pause = self.pause(by_timer);
            self.sim.pass(pause).await;
        }
    }

    /// One life of the process: the engine, and the alerts beside it, wired as in `run` and `rotate`.
    async fn run(
        &self,
        worlds: watch::Receiver<World>,
        stop: CancellationToken,
        by_timer: bool,
    ) -> Result<(), JournalError> {
        let status_store = Arc::new(StatusStore::default());
        let (_keep, routing) = watch::channel(routing(&self.sim));
        let spare = Arc::new(SimSpare(self.sim.clone()));
        let mut alerts = Alerts::new(worlds.clone(), routing, Arc::clone(&status_store), spare);
        let glasses = Arc::new(Glasses { sim: self.sim.clone(), status_store });
        let watchers = Watchers(vec![Arc::new(Audience(self.sim.clone())), glasses]);
        let engine = Engine::new(worlds, stop.clone(), Arc::new(watchers));
        let mut engine = engine.noticing_operator_commands(OPERATOR_COMMANDS_EVERY);
        let worked = if by_timer {
            alerts.recall().await;
            let worked = engine.work(&Cadence::Once(PassRequest::default(), WaitMode::Short)).await;
            if worked.is_ok() && !stop.is_cancelled() {
                alerts.tell().await;
            }
            worked
        } else {
            let silence = CancellationToken::new();
            let working = async {
                let worked = engine.work(&Cadence::Scheduled).await;
                silence.cancel();
                worked
            };
            tokio::join!(working, alerts.work(&silence)).0
        };
        if let Err(error) = &worked {
            alerts.tell_of_journal(error).await;
        }
        worked.map(drop)
    }

    fn pause(&self, by_timer: bool) -> Duration {
        let mut state = self.sim.lock();
        match (by_timer, state.weather.is_calm) {
            (true, _) => Duration::from_hours(3),
            (false, true) => Duration::from_secs(30),
            (false, false) => state.dice.span(Duration::from_secs(1), 12 * HOUR),
        }
    }

    /// Ends the storm: the configuration is as at the start, the disk has room, and the clock is right.
    fn clear_up(&self) {
        let mut cast = self.cast.lock().expect("no play panicked with it");
        cast.restore();
        self.sim.lock().weather = Weather::fair();
        self.sim.step_clock(0);
        self.reload(&cast);
    }

    async fn curtain(&self, calm_since: Timestamp, span: Duration) -> Played {
        let history = self.journal.verify_history().await;
        let cast = self.cast.lock().expect("no play panicked with it").clone();
        let mut state = self.sim.lock();
        if let Err(error) = history {
            state.break_with(error.to_string());
        }
        if state.broken.is_none() {
            state.check_at_rest(&cast, calm_since);
            state.check_news();
        }
        Played {
            broken: state.broken.clone(),
            story: state.take_story(),
            trace_hash: state.trace_hash(),
            rotations: state.rotations.len() as u64,
            days: span.as_secs() / DAY.as_secs(),
            calls_a_day_max: state.calls_a_day_max,
            pair_calls_a_day_max: state.pair_calls_a_day_max,
            known_limit_met: state.known_limit_met,
            seen: std::mem::take(&mut state.seen),
        }
    }
}

fn world(sim: &Sim, journal: &SimJournal, settings: Arc<Settings>) -> World {
    // No vendor of this cast has a secret store as its target, or a command.
    let nobody = StandInVendors::new(RehearsalWorld::new(sim.true_now(), BTreeMap::new()), &BTreeMap::new());
    let ways = Transports {
        egress: Arc::new(SimEgress(sim.clone())),
        secret_stores: Arc::new(nobody.clone()),
        programs: Arc::new(nobody),
    };
    let vendors = ConfiguredVendors::new(&settings.vendors, ways, Arc::new(SimSecrets));
    World {
        clock: Arc::new(SimClock(sim.clone())),
        journal: Arc::new(journal.clone()),
        accounts: Arc::new(SimAccounts(sim.clone())),
        vendors: Arc::new(vendors),
        starts: Arc::default(),
        settings,
    }
}

/// A watcher that checks what the program reports of each reconcile.
struct Audience(Sim);

impl Watcher for Audience {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn reconciled(&self, subject: &Subject, user_report: &UserReport) {
        let mut state = self.0.lock();
        state.mark_code(user_report.verdict.reason);
        let user = &subject.iam_user;
        state.check_nothing_left_over(user);
        state.judge_visit(user, user_report);
        match user_report.verdict.sentence.contains("ask the vendor whether it uses the new key") {
            true => drop(state.told_to_ask.insert(user.clone())),
            false => drop(state.told_to_ask.remove(user)),
        }
        if state.place(user) == "stuck"
            && !matches!(user_report.verdict.state, KeyState::Stuck | KeyState::Unmanaged)
        {
            let told = user_report.verdict.reason;
            state.break_with(format!("{user} is stuck, and the visit says {told}"));
        }
    }
}
