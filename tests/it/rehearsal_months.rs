//! The scheduler as `run` uses it, for months, in the simulated world of the rehearsal, under a clock that jumps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyround::adapters::delivery::{ConfiguredVendors, Transports};
use keyround::adapters::journal::MemoryJournal;
use keyround::adapters::rehearsal::{
    JumpingClock, PlaceholderSecrets, RehearsalWorld, StandInAccounts, StandInVendors,
};
use keyround::config::settings::{Access, Users};
use keyround::config::{self, Environment, Settings};
use keyround::core::ids::Subject;
use keyround::core::rotation::{Event, Rotation};
use keyround::core::time::Timestamp;
use keyround::engine::{Cadence, Engine, UserReport, Watcher, World};
use keyround::ports::Journal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_hours(24);
const VENDORS: usize = 20;
const MONTHS_5: Duration = Duration::from_hours(24 * 150);

#[tokio::test]
async fn in_five_months_no_vendor_lacks_a_key_and_no_key_is_too_old() {
    five_months("*/15 * * * *", 4 * 24 * 150).await;
}

#[tokio::test]
#[ignore = "a campaign of a minute or two: a pass every minute for five months, 216,000 passes"]
async fn with_a_pass_a_minute_no_vendor_lacks_a_key_and_no_key_is_too_old() {
    five_months("* * * * *", 60 * 24 * 150).await;
}

/// Plays twenty vendors, with keys between 0 and 83 days old at the start.
async fn five_months(cron: &str, passes: u64) {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let play = play(&configuration(cron), begin, begin + MONTHS_5).await;

    assert_eq!(play.stage.outage(), None);
    let too_old = 90 * DAY + 3 * DAY;
    assert!(play.oldest < too_old, "a key became {:?} old", play.oldest);
    let (done, in_flight) = play.rotations().await;
    assert!(done >= VENDORS, "only {done} rotations in five months");
    assert_eq!(play.stage.keys_per_user().iter().sum::<usize>(), VENDORS + in_flight, "a key is left over");

    let calls = play.stage.calls();
    let oldest = play.oldest.as_secs() / 86_400;
    println!(
        "{passes} passes, {done} rotations, the oldest Active key was {oldest} days old, calls {calls:?}"
    );
    let started = (done + in_flight) as u64;
    assert!(calls["ListAccessKeys"] <= (passes + 2) * VENDORS as u64);
    assert_eq!(calls["CreateAccessKey"], started);
    assert!(
        calls["GetCallerIdentity"] <= 4 * started,
        "one while AWS does not know the key yet, three in a row"
    );
    assert!(
        calls["GetAccessKeyLastUsed"] <= 2 * (2 + 8) * started,
        "both keys before each of the two changes, and every 20 hours of the week in which the old key cools"
    );
    assert!(calls["UpdateAccessKey"] <= started && calls["DeleteAccessKey"] <= started);
}

#[tokio::test]
async fn with_inactive_by_no_key_is_active_at_ninety_days() {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let days_200 = 200 * DAY;
    let mut oldest = Vec::new();
    for windows in ["", "windows = [\"Mon-Fri 09:00-17:00\"]"] {
        for age in ["inactive_by", "max_age"] {
            let settings = configured("0 * * * *", &format!("{age} = \"90d\"\n{windows}"));
            let play = play(&settings, begin, begin + days_200).await;
            assert_eq!(play.stage.outage(), None);
            assert!(play.rotations().await.0 >= 2 * VENDORS - 5, "most keys are replaced twice");
            oldest.push((age, windows, play.oldest));
        }
    }
    println!("the oldest Active key, by what was asked for: {oldest:?}");
    for (age, windows, oldest) in oldest {
        assert_eq!(oldest >= 90 * DAY, age == "max_age", "{age} {windows}: a key was Active at {oldest:?}");
    }
}

#[tokio::test]
async fn a_rehearsed_month_is_the_same_each_time() {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let settings = configuration("17 * * * *");
    let (first, second) =
        (play(&settings, begin, begin + 31 * DAY).await, play(&settings, begin, begin + 31 * DAY).await);
    assert!(!first.trace().is_empty());
    assert_eq!(first.trace(), second.trace());
}

struct Play {
    stage: RehearsalWorld,
    journal: Arc<MemoryJournal>,
    oldest: Duration,
    trace: Arc<Trace>,
}

impl Play {
    async fn rotations(&self) -> (usize, usize) {
        let all = self.journal.rotations(None).await.expect("the journal is in memory");
        let in_flight = all.iter().filter(|known| !known.ended).count();
        (all.len() - in_flight, in_flight)
    }

    fn trace(&self) -> String {
        self.trace.lines.lock().expect("no test panicked with it").clone()
    }
}

/// A watcher that plays the vendors' part, and records what it sees.
struct Trace {
    stage: RehearsalWorld,
    oldest_secs: AtomicU64,
    lines: Mutex<String>,
}

impl Watcher for Trace {
    fn appended(&self, rotation: &Rotation, event: &Event) {
        if let (Event::Delivered { .. }, Some(key)) = (event, rotation.stage().new_key()) {
            self.stage.vendor_takes_up(rotation.subject(), key);
        }
        let mut lines = self.lines.lock().expect("no test panicked with it");
        writeln!(lines, "{} {} {}", event.at(), rotation.id(), event.name()).expect("memory takes it");
    }

    fn reconciled(&self, _subject: &Subject, _visited: &UserReport) {
        self.oldest_secs.fetch_max(self.stage.oldest_active_age().as_secs(), Ordering::Relaxed);
    }
}

async fn play(settings: &Settings, begin: Timestamp, end: Timestamp) -> Play {
    let stage = RehearsalWorld::new(begin, BTreeMap::new());
    for (number, vendor) in settings.vendors.values().enumerate() {
        let Access::Key(access) = &vendor.access else { panic!("all of them have keys") };
        let Users::Named(users) = &access.users else { panic!("all of them are named") };
        let subject = Subject { vendor: vendor.name.clone(), account: None, iam_user: users[0].clone() };
        let age = DAY * u32::try_from(number * 88 / VENDORS).expect("small");
        drop(stage.hand_out_key(&subject, begin.minus(age)));
    }
    let curtain = CancellationToken::new();
    let stand_ins = StandInVendors::new(stage.clone(), &settings.vendors);
    let secrets = PlaceholderSecrets::new(&settings.vendors);
    let journal = Arc::new(MemoryJournal::default());
    let world = World {
        settings: Arc::new(settings.clone()),
        clock: Arc::new(JumpingClock::new(stage.clone(), end, curtain.clone())),
        journal: Arc::clone(&journal) as _,
        accounts: Arc::new(StandInAccounts(stage.clone())),
        starts: Arc::default(),
        vendors: Arc::new(ConfiguredVendors::new(
            &settings.vendors,
            Transports {
                egress: Arc::new(stand_ins.clone()),
                secret_stores: Arc::new(stand_ins.clone()),
                programs: Arc::new(stand_ins.clone()),
            },
            Arc::new(secrets),
        )),
    };
    let trace =
        Arc::new(Trace { stage: stage.clone(), oldest_secs: AtomicU64::new(0), lines: Mutex::default() });
    let (_keep, worlds) = watch::channel(world);
    let mut engine = Engine::new(worlds, curtain, Arc::clone(&trace) as _);
    engine.work(&Cadence::Scheduled).await.expect("the journal is in memory");
    drop(stand_ins.take_exchanges());
    let oldest = Duration::from_secs(trace.oldest_secs.load(Ordering::Relaxed));
    Play { stage, journal, oldest, trace }
}

fn configuration(cron: &str) -> Settings {
    configured(cron, "")
}

/// The configuration, with these lines in `[defaults]`.
fn configured(cron: &str, defaults: &str) -> Settings {
    let mut text = format!("[schedule]\ncron = \"{cron}\"\njitter = \"0s\"\n[defaults]\n{defaults}\n");
    for number in 0..VENDORS {
        write!(
            text,
            "[vendor.v{number}]\niam_user = \"vendor-{number}\"\n[[vendor.v{number}.deliver]]\nkind = \"webhook\"\n\
             url = \"https://v{number}.example/\"\nsecret = \"env:WEBHOOK\"\n"
        )
        .expect("memory takes it");
        if number % 2 == 0 {
            write!(
                text,
                "[vendor.v{number}.verify]\nurl = \"https://v{number}.example/key\"\n\
                 expect = {{ pointer = \"/id\", equals = \"{{{{ access_key_id }}}}\" }}\n"
            )
            .expect("memory takes it");
        }
    }
    let environment = Environment { state_directory: Some(PathBuf::from("/nowhere")) };
    config::parse("months.toml", &text, &environment).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}
