//! The engine: which users it reconciles when, how many in parallel, and that a failure of one vendor does not
//! affect the others. Proves promise 8 of `src/lib.rs` ("What always holds").
//!
//! The far ends are the stand-ins of the rehearsal, and each test makes the deliveries succeed or fail as it needs.
//! Time is tokio's paused clock, or the rehearsal's clock, which jumps, so no test waits in real time.

mod ailing;
mod alarms;
mod levers;
mod passes;
mod pulse;
mod shown;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use keyround::adapters::journal::MemoryJournal;
use keyround::adapters::rehearsal::{JumpingClock, RehearsalWorld, StandInAccounts};
use keyround::config::{self, Settings};
use keyround::core::ids::{RotationId, Subject, VendorName};
use keyround::core::rotation::{Event, RefusalCode, Rotation, Verification};
use keyround::core::schedule::{State, jitter_for};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::engine::{
    Cadence, Engine, PassRequest, Rest, UserReport, WaitMode, Watcher, World, preview, status,
};
use keyround::ports::{
    Answer, Check, Clock, Delivery, Entry, Fault, Journal, KnownRotation, Offer, SecretChange, Vendors,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_hours(24);
const HASTE: &str = "soak = \"0s\"\nquiet_for = \"0s\"\ncool = \"0s\"\nrequire_use = false\nprove_every = \"0s\"\n\
                     prove_successes = 1\n";

// A vendor in trouble affects no other vendor.

#[tokio::test(start_paused = true)]
async fn no_more_users_are_reconciled_at_once_than_concurrency_allows() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let house = House::new(&format!("{HASTE}concurrency = 2\n"), &names);
    house.all_are(&How::TakesSecs(20));
    let found = house.once_on(house.paused_clock(), WaitMode::Unlimited).await.expect("a journal");
    assert_eq!(house.deliveries.most_at_once.load(Ordering::SeqCst), 2);
    assert_eq!(found.len(), names.len());
    assert!(found.iter().all(|user_report| matches!(user_report.rest, Some(Rest::Ended(_)))), "{found:?}");
}

#[tokio::test]
async fn the_first_rotation_goes_alone_until_it_is_verified() {
    let house = House::new(&format!("{HASTE}first = 1\n"), &["a", "b", "c"]);
    house.all_are(&How::Panics);
    for _ in 0..2 {
        let found = house.once(WaitMode::Short).await;
        let waiting: Vec<_> = found.iter().filter(|found| found.verdict.reason == "paced").collect();
        assert_eq!((found.len(), waiting.len()), (3, 2), "{found:?}");
        let sentence = &waiting[0].verdict.sentence;
        assert!(
            sentence.contains("no rotation in the journal has been verified yet; under way: "),
            "{sentence}"
        );
        assert!(waiting[0].verdict.due_at.is_some() && !waiting[0].failed);
    }
    assert_eq!(house.stage.calls()["CreateAccessKey"], 1);
    let previews = preview(&house.world(), &[], false, false).await.expect("a journal");
    assert!(previews.iter().all(|preview| preview.steps.is_empty()), "a dry run shows that none would begin");

    house.all_are(&How::Accepts);
    house.pass(DAY);
    let found = house.once(WaitMode::Unlimited).await;
    let rotated = found.iter().filter(|found| found.verdict.reason == "rotated").count();
    assert!(rotated >= 1, "{found:?}");
    let found = house.once(WaitMode::Unlimited).await;
    assert!(found.iter().all(|found| found.verdict.reason != "paced"), "one is verified: {found:?}");
    assert_eq!(house.stage.calls()["CreateAccessKey"], 3);
}

#[tokio::test]
async fn so_many_rotations_begin_within_a_day_as_the_configuration_allows() {
    let house = House::new(&format!("{HASTE}per_day = 2\n"), &["a", "b", "c", "d", "e"]);
    let previews = preview(&house.world(), &[], false, false).await.expect("a journal");
    assert_eq!(previews.iter().filter(|preview| !preview.steps.is_empty()).count(), 2);
    let mut created = Vec::new();
    for _ in 0..3 {
        for _ in 0..2 {
            house.once(WaitMode::Unlimited).await;
        }
        created.push(house.stage.calls()["CreateAccessKey"]);
        house.pass(DAY);
    }
    assert_eq!(created, [2, 4, 5]);
}

#[tokio::test]
async fn a_forced_rotation_does_not_wait_for_another_day() {
    let house = House::new(&format!("{HASTE}per_day = 1\n"), &["a", "b"]);
    house.once(WaitMode::Unlimited).await;
    assert_eq!(house.stage.calls()["CreateAccessKey"], 1);
    let force = PassRequest { force: true, ..PassRequest::default() };
    let (_newest, worlds) = watch::channel(house.world());
    let mut engine = Engine::new(worlds, house.stop.clone(), Arc::clone(&house.watcher) as _);
    engine.work(&Cadence::Once(force, WaitMode::Unlimited)).await.expect("a journal");
    assert_eq!(house.stage.calls()["CreateAccessKey"], 3);
}

#[tokio::test]
async fn a_panic_fails_one_vendor_and_the_next_pass_resumes_its_rotation() {
    let house = House::new(HASTE, &["bad", "good"]);
    house.is("bad", How::Panics);
    let found = by_name(house.once(WaitMode::Short).await);
    let (bad, good) = (&found["bad"], &found["good"]);
    assert_eq!((bad.verdict.reason, bad.verdict.state, bad.failed), ("defect", State::Stuck, true));
    let sentence = "a defect in keyround ended the work on bad; its rotations are in the journal, and the next \
                    pass continues from there";
    assert_eq!(bad.error.as_deref(), Some(sentence));
    assert_eq!(good.verdict.reason, "rotated");
    assert_eq!(house.watcher.reasons("bad").last(), Some(&"defect"), "the watcher is told of it");
    house.is("bad", How::Accepts);
    let found = by_name(house.once(WaitMode::Short).await);
    assert_eq!(found["bad"].verdict.reason, "rotated");
    assert_eq!(house.stage.calls()["CreateAccessKey"], 2, "the key that was there is used");
    assert_eq!(house.stage.outage(), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_vendor_does_not_delay_another_vendor() {
    let house =
        House::new(&HASTE.replace("prove_every = \"0s\"", "prove_every = \"6s\""), &["quick", "slow"]);
    house.is("slow", How::TakesSecs(250));
    let begun = house.stage.now();
    house.once_on(house.paused_clock(), WaitMode::Unlimited).await.expect("a journal");
    let quick = house.time_of("quick", "deleted").await.since(begun);
    let slow = house.time_of("slow", "delivered").await.since(begun);
    assert!(quick < Duration::from_mins(1), "the quick vendor took {quick:?}");
    assert!(slow >= Duration::from_secs(250), "the slow vendor took {slow:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_delays_no_vendor_of_another_host() {
    let hanging = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let names = [&hanging[..], &["quick"]].concat();
    let house = House::new(HASTE, &names);
    let moved = toml(HASTE, &names).replace("https://hooks.example/quick", "https://quick.example/keys");
    house.configure(&load(&moved));
    house.all_are(&How::TakesSecs(100));
    house.is("quick", How::Accepts);
    let begun = house.stage.now();
    let found = house.once_on(house.paused_clock(), WaitMode::Unlimited).await.expect("a journal");
    let quick = house.time_of("quick", "deleted").await.since(begun);
    assert!(quick < Duration::from_mins(1), "eight vendors of another host delay it by {quick:?}");
    assert_eq!(
        house.deliveries.most_at_once.load(Ordering::SeqCst),
        7,
        "six to one host, and one to the other"
    );
    assert_eq!(found.len(), names.len(), "and each of the eight has its turn");
}

#[tokio::test]
async fn an_unreplayable_rotation_affects_only_its_own_vendor() {
    let house = House::new(HASTE, &["poisoned", "sound"]);
    let subject = subject("poisoned");
    let started = started(&subject, &house);
    let id = RotationId::new(&subject, &house.old_key("poisoned"), house.stage.now());
    let impossible = Event::Deleted { at: house.stage.now(), request_id: None };
    house.has_written(id, &[started, impossible]).await;
    let seen = by_name(status(&house.world(), &[]).await.expect("a journal"));
    assert_eq!(seen["poisoned"].verdict.reason, "journal");
    assert_eq!(seen["sound"].verdict.state, State::Overdue);
    let found = by_name(house.once(WaitMode::Short).await);
    assert_eq!(found["sound"].verdict.reason, "rotated");
    let sentence = &found["poisoned"].verdict.sentence;
    assert!(sentence.contains("event 2 (deleted) cannot follow in stage survey"), "{sentence}");
}

#[tokio::test]
async fn a_reconcile_that_starts_a_rotation_reports_the_keys_it_listed() {
    let house = House::new(&HASTE.replace("prove_every = \"0s\"", "prove_every = \"1h\""), &["acme"]);
    let old = house.old_key("acme");
    let found = by_name(house.once(WaitMode::Short).await);
    assert_eq!(found["acme"].verdict.reason, "propagation", "the visit that began it is the only one");
    let listed: Vec<_> = found["acme"].keys.iter().map(|key| key.id.clone()).collect();
    assert_eq!(listed, [old]);
}

// When passes run, and which waits they leave to the next pass.

#[tokio::test]
async fn a_stop_lets_an_effect_finish_and_begins_no_other() {
    let house = House::new(&format!("{HASTE}concurrency = 1\n"), &["first", "second"]);
    house.is("first", How::Stops(house.stop.clone()));
    let found = by_name(house.once(WaitMode::Short).await);
    assert_eq!(found["first"].rest, Some(Rest::Stopped));
    assert_eq!(found["first"].rotation.as_ref().map(|rotation| rotation.stage().name()), Some("verify"));
    assert_eq!(house.events("first").await.last().map(Event::name), Some("delivered"));
    assert_eq!(house.deliveries.taken(), ["first"]);
    assert_eq!(house.stage.calls().get("UpdateAccessKey"), None);
}

#[tokio::test]
async fn a_pass_waits_out_short_waits_and_leaves_long_ones_to_the_next_pass() {
    let settings = HASTE
        .replace("soak = \"0s\"", "soak = \"1h\"")
        .replace("prove_every = \"0s\"", "prove_every = \"6s\"");
    let house = House::new(&settings, &["acme"]);
    let begun = house.stage.now();
    let found = by_name(house.once(WaitMode::Short).await);
    assert!(matches!(found["acme"].rest, Some(Rest::Wait { .. })), "{:?}", found["acme"].rest);
    assert_eq!(found["acme"].verdict.reason, "soaking");
    let taken = house.stage.now().since(begun);
    assert!(taken >= Duration::from_secs(6) && taken < Duration::from_mins(2), "{taken:?}");
    let found = by_name(house.once(WaitMode::Unlimited).await);
    assert_eq!(found["acme"].verdict.reason, "rotated");
    let soaked = house.time_of("acme", "deactivated").await.since(house.time_of("acme", "verified").await);
    assert_eq!(soaked, Duration::from_hours(1), "a wake is taken at its time");
}

#[tokio::test]
async fn a_pass_without_a_time_limit_ends_when_a_rotation_is_stuck() {
    let house = House::new(HASTE, &["acme"]);
    house.is("acme", How::Gone);
    let found = by_name(house.once(WaitMode::Unlimited).await);
    assert_eq!((found["acme"].verdict.state, found["acme"].verdict.reason), (State::Stuck, "vendor_gone"));
}

#[tokio::test(start_paused = true)]
async fn a_window_between_two_scheduled_passes_is_used() {
    let house = House::new(&format!("{HASTE}windows = [\"Mon-Fri 09:30-09:40\"]\n"), &["acme"]);
    let end = house.stage.now() + 4 * DAY;
    house.scheduled(end).await;
    assert_eq!(house.events("acme").await.last().map(Event::name), Some("deleted"));
    let lists = house.stage.calls()["ListAccessKeys"];
    assert!(lists <= 4 * 24 + 4, "a pass an hour, and a look when the window opens: {lists}");
}

#[tokio::test(start_paused = true)]
async fn one_pass_makes_up_for_all_missed_ticks() {
    let house = House::young(HASTE, &["acme"]);
    let now = house.stage.now();
    house.journal.record_tick(now.minus(10 * DAY)).await.expect("a journal");
    house.scheduled(now + Duration::from_mins(29)).await;
    assert_eq!(house.stage.calls()["ListAccessKeys"], 1);
    assert_eq!(house.journal.last_tick().await.expect("a journal"), Some(now));
    house.scheduled(now + Duration::from_mins(36)).await;
    assert_eq!(house.stage.calls()["ListAccessKeys"], 2, "and the next one is at its own time");
}

#[tokio::test(start_paused = true)]
async fn a_last_tick_in_the_future_does_not_delay_the_next_pass() {
    let house = House::young(HASTE, &["acme"]);
    let now = house.stage.now();
    house.journal.record_tick(now + 365 * DAY).await.expect("a journal");
    house.scheduled(now + Duration::from_hours(1)).await;
    assert_eq!(house.stage.calls()["ListAccessKeys"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_during_the_jitter_does_not_lose_the_tick() {
    let house = House::young(HASTE, &["acme"]);
    let jitter = Duration::from_mins(5);
    let hours = (1..).map(|hour| half_past() + Duration::from_mins(30) + hour * Duration::from_hours(1));
    let tick = hours.into_iter().find(|tick| jitter_for(*tick, jitter, "pass") > Duration::from_mins(1));
    let tick = tick.expect("one of the ticks has a jitter");
    house.journal.record_tick(tick.minus(Duration::from_secs(1))).await.expect("a journal");
    let clock = house.paused_clock();
    clock.sleep_until(tick.minus(Duration::from_secs(1))).await;
    let world = World { clock: Arc::new(clock.clone()), ..house.world() };
    let (newest, worlds) = watch::channel(world.clone());
    let mut engine = Engine::new(worlds, house.stop.clone(), Arc::clone(&house.watcher) as _);
    let reload = async {
        clock.sleep_until(tick + Duration::from_secs(5)).await;
        newest.send_replace(world);
        clock.sleep_until(tick + Duration::from_mins(10)).await;
        house.stop.cancel();
    };
    let (worked, ()) = tokio::join!(engine.work(&Cadence::Scheduled), reload);
    worked.expect("a journal");
    assert_eq!(house.stage.calls()["ListAccessKeys"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_in_flight_continues_at_start_and_not_at_the_next_tick() {
    let house = House::new(HASTE, &["acme"]);
    house.is("acme", How::Panics);
    house.once(WaitMode::Short).await;
    house.is("acme", How::Accepts);
    let now = house.stage.now();
    house.journal.record_tick(now).await.expect("a journal");
    house.scheduled(now + Duration::from_mins(1)).await;
    assert_eq!(house.journal.last_tick().await.expect("a journal"), Some(now), "no tick was due");
    assert_eq!(house.events("acme").await.last().map(Event::name), Some("deleted"));
}

// What happens to a rotation whose vendor is renamed, switched off or removed in the configuration.

#[tokio::test]
async fn the_rotation_of_a_removed_vendor_is_reported_and_not_advanced() {
    let house = House::new(&HASTE.replace("soak = \"0s\"", "soak = \"1h\""), &["gone", "here"]);
    house.once(WaitMode::Short).await;
    let before = house.events("gone").await;
    house.configure(&settings(HASTE, &["here"]));
    house.pass(Duration::from_hours(2));
    for _ in 0..2 {
        let found = by_name(house.once(WaitMode::Unlimited).await);
        let gone = &found["gone"];
        assert_eq!((gone.verdict.state, gone.verdict.reason), (State::Unmanaged, "orphaned"));
        assert!(gone.failed && gone.rotation.is_some());
        assert!(
            gone.verdict.sentence.contains("put the vendor back, or abandon the rotation"),
            "{}",
            gone.verdict.sentence
        );
        assert_eq!(house.events("gone").await, before);
    }
    let seen = by_name(status(&house.world(), &[]).await.expect("a journal"));
    assert_eq!((seen["gone"].verdict.reason, seen["here"].verdict.state), ("orphaned", State::Ok));
    let told = house.watcher.reasons("gone").into_iter().filter(|reason| *reason == "orphaned").count();
    assert_eq!(told, 2, "each pass tells the watcher");
    house.configure(&settings(HASTE, &["gone", "here"]));
    let found = by_name(house.once(WaitMode::Unlimited).await);
    assert_eq!(found["gone"].verdict.reason, "rotated");
    assert_eq!(house.stage.outage(), None);
}

#[tokio::test]
async fn the_rotation_of_a_disabled_vendor_pauses_until_it_is_enabled() {
    let house = House::new(&HASTE.replace("soak = \"0s\"", "soak = \"1h\""), &["acme"]);
    house.once(WaitMode::Short).await;
    let before = house.events("acme").await;
    house.configure(&load(&toml(HASTE, &["acme"]).replace("[[vendor", "enabled = false\n[[vendor")));
    house.pass(Duration::from_hours(2));
    let found = house.once(WaitMode::Unlimited).await;
    let [acme] = &found[..] else { panic!("one row, and not one more for the vendor: {found:?}") };
    assert_eq!((acme.verdict.state, acme.verdict.reason, acme.failed), (State::Unmanaged, "disabled", false));
    assert!(acme.verdict.sentence.contains("is not over, but the configuration says `enabled = false`"));
    assert_eq!(house.events("acme").await, before);
    let seen = status(&house.world(), &["acme".parse().expect("a name")]).await.expect("a journal");
    assert_eq!(seen.len(), 1);
    assert!(seen[0].rotation.is_some());
    house.configure(&settings(HASTE, &["acme"]));
    assert_eq!(by_name(house.once(WaitMode::Unlimited).await)["acme"].verdict.reason, "rotated");
}

#[tokio::test]
async fn a_renamed_vendor_is_delivered_to_by_the_steps_of_its_new_name() {
    let house = House::new(HASTE, &["before"]);
    house.is("before", How::Panics);
    house.once(WaitMode::Short).await;
    house.configure(&load(&toml(HASTE, &["before"]).replace("vendor.before", "vendor.after")));
    let found = by_name(house.once(WaitMode::Unlimited).await);
    assert_eq!(found.len(), 1);
    assert_eq!(found["after"].verdict.reason, "rotated");
    assert_eq!(house.deliveries.taken(), ["before", "after"]);
    assert_eq!(house.stage.calls()["CreateAccessKey"], 1);
    assert_eq!(house.stage.outage(), None);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_rotation_of_a_renamed_vendor_wakes_under_the_new_name() {
    let house = House::new(&HASTE.replace("soak = \"0s\"", "soak = \"10m\""), &["before", "stays"]);
    // The next pass is on the hour, so what happens before that happens because the engine woke for the rotation.
    let clock = Arc::new(house.clock(half_past() + Duration::from_mins(25)));
    let world = World { clock, ..house.world() };
    let toml = toml(HASTE, &["before", "stays"]).replace("vendor.before", "vendor.after");
    let changed = World { settings: Arc::new(load(&toml)), ..world.clone() };
    let (newest, worlds) = watch::channel(world);
    let mut engine = Engine::new(worlds, house.stop.clone(), Arc::clone(&house.watcher) as _);
    house.deliveries.on_delivery(move || drop(newest.send_replace(changed.clone())));
    let worked = tokio::time::timeout(DAY, engine.work(&Cadence::Scheduled)).await;
    assert!(worked.is_err(), "it works until it is stopped");
    assert_eq!(house.watcher.reasons("after"), ["rotated"]);
    assert_eq!(house.watcher.reasons("stays").last(), Some(&"rotated"));
}

// The house: the simulated environment of these tests.

/// How a vendor reacts to a delivery.
#[derive(Clone)]
enum How {
    Accepts,
    TakesSecs(u64),
    Panics,
    Gone,
    Unfit,
    Stops(CancellationToken),
}

type OnDelivery = Box<dyn Fn() + Send + Sync>;

struct Deliveries {
    stage: RehearsalWorld,
    how: Mutex<BTreeMap<VendorName, How>>,
    taken: Mutex<Vec<String>>,
    now: AtomicUsize,
    most_at_once: AtomicUsize,
    on_delivery: Mutex<Option<OnDelivery>>,
}

impl Deliveries {
    fn taken(&self) -> Vec<String> {
        self.taken.lock().expect("the deliveries").clone()
    }

    fn on_delivery(&self, act: impl Fn() + Send + Sync + 'static) {
        *self.on_delivery.lock().expect("the act") = Some(Box::new(act));
    }
}

struct AllVendors(Arc<Deliveries>);

impl Vendors for AllVendors {
    fn delivery(&self, vendor: &VendorName) -> Option<Arc<dyn Delivery>> {
        Some(Arc::new(One { deliveries: Arc::clone(&self.0), vendor: vendor.clone() }))
    }
}

struct One {
    deliveries: Arc<Deliveries>,
    vendor: VendorName,
}

#[async_trait]
impl Delivery for One {
    async fn deliver(&self, offer: &Offer, _secret: &Secret) -> Answer<()> {
        let deliveries = &self.deliveries;
        assert_eq!(offer.subject.vendor, self.vendor, "the offer names the vendor that has the user");
        deliveries.taken.lock().expect("the deliveries").push(self.vendor.to_string());
        if let Some(act) = &*deliveries.on_delivery.lock().expect("the act") {
            act();
        }
        let now = deliveries.now.fetch_add(1, Ordering::SeqCst) + 1;
        deliveries.most_at_once.fetch_max(now, Ordering::SeqCst);
        let how = deliveries.how.lock().expect("the manners").get(&self.vendor).cloned();
        match how.unwrap_or(How::Accepts) {
            How::Accepts | How::Unfit => {}
            How::TakesSecs(secs) => tokio::time::sleep(Duration::from_secs(secs)).await,
            How::Panics => panic!("a defect of a test"),
            How::Gone => return Err(Fault::refused(RefusalCode::VendorGone, "the address is gone")),
            How::Stops(stop) => stop.cancel(),
        }
        deliveries.now.fetch_sub(1, Ordering::SeqCst);
        deliveries.stage.vendor_takes_up(&offer.subject, &offer.access_key_id);
        Ok(())
    }

    async fn verify(&self, _offer: &Offer) -> Answer<Verification> {
        Ok(Verification::Acceptance)
    }

    async fn preflight(&self, _offer: &Offer) -> Vec<Check> {
        let how = self.deliveries.how.lock().expect("the manners").get(&self.vendor).cloned();
        let is_unfit = matches!(how, Some(How::Unfit));
        let sentence = "credential:acme is not there".to_owned();
        is_unfit.then(|| Check::found("step 1: secret".to_owned(), Err(sentence))).into_iter().collect()
    }
}

#[derive(Default)]
struct Visits(Mutex<Vec<(String, &'static str)>>);

impl Visits {
    /// The verdict of each reconcile of that vendor.
    fn reasons(&self, vendor: &str) -> Vec<&'static str> {
        let visits = self.0.lock().expect("the visits");
        visits.iter().filter(|(name, _)| name == vendor).map(|(_, reason)| *reason).collect()
    }
}

impl Watcher for Visits {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn reconciled(&self, subject: &Subject, user_report: &UserReport) {
        self.0.lock().expect("the visits").push((subject.vendor.to_string(), user_report.verdict.reason));
    }
}

/// A paused tokio clock. It advances by itself when every task sleeps, and moves the rehearsal's clock with it.
#[derive(Clone)]
struct PausedClock {
    stage: JumpingClock,
    from: Timestamp,
    at: tokio::time::Instant,
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let now = self.from + Duration::from_secs(self.at.elapsed().as_secs());
        self.stage.sleep_until(now).now_or_never().expect("the stage jumps");
        now
    }

    async fn sleep_until(&self, until: Timestamp) {
        tokio::time::sleep(until.since(self.now())).await;
    }
}

struct House {
    stage: RehearsalWorld,
    settings: Mutex<Arc<Settings>>,
    journal: Arc<MemoryJournal>,
    deliveries: Arc<Deliveries>,
    watcher: Arc<Visits>,
    stop: CancellationToken,
}

impl House {
    /// Gives each vendor a key that is due and overdue.
    fn new(defaults: &str, vendors: &[&str]) -> House {
        House::with_keys_of(120 * DAY, defaults, vendors)
    }

    /// Gives each vendor a key that is not due.
    fn young(defaults: &str, vendors: &[&str]) -> House {
        House::with_keys_of(DAY, defaults, vendors)
    }

    fn with_keys_of(age: Duration, defaults: &str, vendors: &[&str]) -> House {
        let stage = RehearsalWorld::new(half_past(), BTreeMap::new());
        for name in vendors {
            let _key = stage.hand_out_key(&subject(name), half_past().minus(age));
        }
        let deliveries = Arc::new(Deliveries {
            stage: stage.clone(),
            how: Mutex::default(),
            taken: Mutex::default(),
            now: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            on_delivery: Mutex::default(),
        });
        House {
            stage,
            settings: Mutex::new(Arc::new(settings(defaults, vendors))),
            journal: Arc::new(MemoryJournal::default()),
            deliveries,
            watcher: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    fn configure(&self, settings: &Settings) {
        *self.settings.lock().expect("the settings") = Arc::new(settings.clone());
    }

    fn is(&self, vendor: &str, how: How) {
        self.deliveries.how.lock().expect("the manners").insert(vendor.parse().expect("a name"), how);
    }

    fn all_are(&self, how: &How) {
        let names: Vec<VendorName> =
            self.settings.lock().expect("the settings").vendors.keys().cloned().collect();
        for name in names {
            self.is(name.as_str(), how.clone());
        }
    }

    fn clock(&self, end: Timestamp) -> JumpingClock {
        JumpingClock::new(self.stage.clone(), end, CancellationToken::new())
    }

    fn paused_clock(&self) -> PausedClock {
        let (stage, from) = (self.clock(Timestamp::NEVER), self.stage.now());
        PausedClock { stage, from, at: tokio::time::Instant::now() }
    }

    fn pass(&self, span: Duration) {
        let clock = self.clock(Timestamp::NEVER);
        clock.sleep_until(self.stage.now() + span).now_or_never().expect("the clock jumps");
    }

    fn world(&self) -> World {
        World {
            settings: Arc::clone(&self.settings.lock().expect("the settings")),
            clock: Arc::new(self.clock(Timestamp::NEVER)),
            journal: Arc::clone(&self.journal) as _,
            accounts: Arc::new(StandInAccounts(self.stage.clone())),
            vendors: Arc::new(AllVendors(Arc::clone(&self.deliveries))),
            starts: Arc::default(),
        }
    }

    async fn once(&self, patience: WaitMode) -> Vec<UserReport> {
        self.once_on(self.clock(Timestamp::NEVER), patience).await.expect("a journal")
    }

    async fn once_on(
        &self,
        clock: impl Clock + 'static,
        patience: WaitMode,
    ) -> Result<Vec<UserReport>, keyround::ports::JournalError> {
        let (_newest, worlds) = watch::channel(World { clock: Arc::new(clock), ..self.world() });
        let mut engine = Engine::new(worlds, self.stop.clone(), Arc::clone(&self.watcher) as _);
        engine.work(&Cadence::Once(PassRequest::default(), patience)).await
    }

    /// Runs by schedule until that time, at which the clock stops.
    async fn scheduled(&self, end: Timestamp) {
        let (_newest, worlds) = watch::channel(World { clock: Arc::new(self.clock(end)), ..self.world() });
        let mut engine = Engine::new(worlds, self.stop.clone(), Arc::clone(&self.watcher) as _);
        let worked = tokio::time::timeout(DAY, engine.work(&Cadence::Scheduled)).await;
        assert!(worked.is_err(), "it works until it is stopped");
    }

    /// Writes these events to the journal as one rotation.
    async fn has_written(&self, rotation: RotationId, events: &[Event]) {
        for (number, event) in (1..).zip(events) {
            let entry = Entry { rotation, number, event, secret: SecretChange::Keep, ends: false };
            self.journal.append(entry).await.expect("a journal");
        }
    }

    async fn rotation(&self, vendor: &str) -> KnownRotation {
        let name: VendorName = vendor.parse().expect("a name");
        let known = self.journal.rotations(Some(&name)).await.expect("a journal");
        known.into_iter().next_back().expect("a rotation")
    }

    async fn events(&self, vendor: &str) -> Vec<Event> {
        self.journal.read(self.rotation(vendor).await.rotation).await.expect("a journal")
    }

    async fn time_of(&self, vendor: &str, event: &str) -> Timestamp {
        let events = self.events(vendor).await;
        events.iter().find(|known| known.name() == event).expect("that happened").at()
    }

    fn old_key(&self, vendor: &str) -> keyround::core::ids::AccessKeyId {
        self.stage.held(&subject(vendor)).parse().expect("a key")
    }
}

fn half_past() -> Timestamp {
    "2026-11-23T03:30:00Z".parse().expect("a time")
}

fn subject(vendor: &str) -> Subject {
    let iam_user = format!("user-{vendor}").parse().expect("a user");
    Subject { vendor: vendor.parse().expect("a name"), account: None, iam_user }
}

fn started(subject: &Subject, house: &House) -> Event {
    Event::Started {
        subject: subject.clone(),
        old: house.old_key(subject.vendor.as_str()),
        old_created_at: house.stage.now().minus(120 * DAY),
        reason: "too_old".to_owned(),
        plan: keyround::core::rotation::Plan::default(),
        account_id: None,
        at: house.stage.now(),
    }
}

fn toml(defaults: &str, vendors: &[&str]) -> String {
    let vendor = |name: &&str| {
        format!(
            "[vendor.{name}]\niam_user = \"user-{name}\"\n[[vendor.{name}.deliver]]\nkind = \"webhook\"\n\
             url = \"https://hooks.example/{name}\"\nsecret = \"env:SECRET\"\n"
        )
    };
    let vendors: String = vendors.iter().map(vendor).collect();
    format!("[schedule]\ncron = \"0 * * * *\"\njitter = \"5m\"\n[defaults]\n{defaults}\n{vendors}")
}

fn settings(defaults: &str, vendors: &[&str]) -> Settings {
    load(&toml(defaults, vendors))
}

fn load(toml: &str) -> Settings {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rotation.toml");
    std::fs::write(&path, toml).expect("the folder can be written");
    config::load(&path).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

fn by_name(found: Vec<UserReport>) -> BTreeMap<String, UserReport> {
    found.into_iter().map(|user_report| (user_report.vendor.to_string(), user_report)).collect()
}
