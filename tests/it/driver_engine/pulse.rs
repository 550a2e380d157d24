//! The engine's loop reports that it is alive, and a loop that hangs stops reporting.

use keyround::engine::{LoopStatus, Pass, Watchers};

use super::ailing::Ailing;
use super::*;

const PULSE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn the_engine_loop_pulses_while_a_vendor_is_slow_and_while_idle() {
    let house = House::new(HASTE, &["slow"]);
    house.is("slow", How::TakesSecs(250));
    let pulses = Arc::new(Pulses::default());
    run_for(&house, &house.journal, &pulses, Duration::from_mins(25)).await;
    assert_eq!(house.events("slow").await.last().map(Event::name), Some("deleted"));
    let turns = pulses.turns.lock().expect("the turns").clone();
    let busy = turns.iter().filter(|turn| turn.visits == 1).count();
    assert!((25..30).contains(&busy), "{busy}");
    assert!(turns.len() >= 150, "{}", turns.len());
    let gaps = turns.windows(2).map(|pair| pair[1].now.since(pair[0].now));
    assert!(gaps.max() <= Some(PULSE), "{turns:?}");
    let last = turns.last().expect("a turn");
    assert!(last.next_pass > half_past() && !last.stopping, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hung_engine_loop_stops_pulsing_while_a_reconcile_goes_on() {
    let house = House::new(HASTE, &["slow"]);
    // The next pass is due within the jitter after the full hour, while this reconcile is under way.
    house.is("slow", How::TakesSecs(290));
    let journal = Arc::new(Ailing::beside(&house));
    let pulses = Arc::new(Pulses::default());
    let tick = half_past() + Duration::from_mins(30);
    let due = tick + jitter_for(tick, Duration::from_mins(5), "pass");
    house.journal.record_tick(half_past()).await.expect("a journal");
    house.pass(due.minus(Duration::from_mins(1)).since(half_past()));
    journal.hangs.store(true, Ordering::SeqCst);
    let started = start_by_hand(&house).await;
    run_for(&house, &journal, &pulses, Duration::from_hours(1)).await;
    let turns = pulses.turns.lock().expect("the turns").clone();
    let last = turns.last().expect("a turn");
    assert!(last.now < due && due.since(last.now) <= PULSE && last.visits == 1, "{last:?}");
    let events = house.journal.read(started).await.expect("a journal");
    assert!(events.iter().any(|event| event.name() == "delivered"), "the visit went on: {events:?}");
}

/// Starts a rotation, so that it is under way when the engine begins.
async fn start_by_hand(house: &House) -> RotationId {
    let subject = subject("slow");
    let event = started(&subject, house);
    let id = RotationId::new(&subject, &house.old_key("slow"), house.stage.now());
    house.has_written(id, &[event]).await;
    id
}

#[tokio::test(start_paused = true)]
async fn the_engine_loop_pulses_while_a_stop_waits_for_a_reconcile() {
    let house = House::new(HASTE, &["slow"]);
    house.is("slow", How::TakesSecs(250));
    let pulses = Arc::new(Pulses::default());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        house.stop.cancel();
    };
    tokio::join!(stop, run_for(&house, &house.journal, &pulses, Duration::from_hours(1)));
    let turns = pulses.turns.lock().expect("the turns").clone();
    let stopping = turns.iter().filter(|turn| turn.stopping && turn.visits == 1).count();
    assert!((14..18).contains(&stopping), "{stopping}");
}

#[tokio::test]
async fn each_of_several_watchers_receives_every_callback() {
    let house = House::new(HASTE, &["acme"]);
    let user_report = house.once(WaitMode::Short).await.swap_remove(0);
    let rotation = user_report.rotation.clone().expect("it was rotated");
    let (subject, now) = (rotation.subject().clone(), house.stage.now());
    let pass = Pass::of_a_moment(now, true, vec![user_report.clone()]);
    let settings = Arc::clone(&*house.settings.lock().expect("the settings"));
    let turn = LoopStatus { settings, now, next_pass: now, visits: 0, stopping: false };
    let ears = [Arc::new(Ear::default()), Arc::new(Ear::default())];
    let all = Watchers(ears.iter().map(|ear| Arc::clone(ear) as Arc<dyn Watcher>).collect());
    all.appended(&rotation, &Event::Probed { at: now });
    all.reconciled(&subject, &user_report);
    all.unlisted(&user_report);
    all.pass_begins();
    all.pass_ended(&pass);
    all.listed(&subject.vendor);
    all.loop_passed(&turn);
    let everything = ["appended", "visited", "unlisted", "pass_begins", "pass_ended", "listed", "turned"];
    for ear in ears {
        assert_eq!(*ear.0.lock().expect("the ear"), everything);
    }
}

/// A watcher that records which of its methods were called.
#[derive(Default)]
struct Ear(Mutex<Vec<&'static str>>);

impl Ear {
    fn hears(&self, what: &'static str) {
        self.0.lock().expect("the ear").push(what);
    }
}

impl Watcher for Ear {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {
        self.hears("appended");
    }

    fn reconciled(&self, _subject: &Subject, _visited: &UserReport) {
        self.hears("visited");
    }

    fn unlisted(&self, _visited: &UserReport) {
        self.hears("unlisted");
    }

    fn pass_begins(&self) {
        self.hears("pass_begins");
    }

    fn pass_ended(&self, _pass: &Pass) {
        self.hears("pass_ended");
    }

    fn listed(&self, _vendor: &VendorName) {
        self.hears("listed");
    }

    fn loop_passed(&self, _turn: &LoopStatus) {
        self.hears("turned");
    }
}

async fn run_for(house: &House, journal: &Arc<impl Journal + 'static>, pulses: &Arc<Pulses>, span: Duration) {
    let clock = Arc::new(house.paused_clock());
    let world = World { clock, journal: Arc::clone(journal) as _, ..house.world() };
    let (_newest, worlds) = watch::channel(world);
    let engine = Engine::new(worlds, house.stop.clone(), Arc::clone(pulses) as _);
    let mut engine = engine.with_pulse(Some(PULSE));
    if let Ok(worked) = tokio::time::timeout(span, engine.work(&Cadence::Scheduled)).await {
        worked.expect("a journal");
    }
}

#[derive(Default)]
struct Pulses {
    turns: Mutex<Vec<LoopStatus>>,
}

impl Watcher for Pulses {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn reconciled(&self, _subject: &Subject, _visited: &UserReport) {}

    fn loop_passed(&self, turn: &LoopStatus) {
        self.turns.lock().expect("the turns").push(turn.clone());
    }
}
