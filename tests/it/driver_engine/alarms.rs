//! The alerts beside the engine: what one notification combines, when none is sent, and what is sent at the end.

use std::sync::atomic::AtomicBool;

use keyround::alerting::{Alerts, Routing};
use keyround::core::alert::{Alert, Condition, DeliveryState, Item, Notification, Policy, Style};
use keyround::core::ids::SinkName;
use keyround::engine::Pass;
use keyround::ports::{FallbackStore, Heartbeat, JournalError, Reviewer, Route, Sink};
use keyround::review::audit::AccountReview;
use keyround::status::StatusStore;

use super::ailing::Ailing;
use super::*;

#[tokio::test]
async fn an_unusable_journal_or_seal_key_is_alerted_but_one_in_use_is_not() {
    let said = || "the disk is gone".to_owned();
    for (error, told) in [
        (JournalError::Unavailable(said()), Some(Condition::Journal)),
        (JournalError::Unusable(said()), Some(Condition::Journal)),
        (JournalError::SealKey(said()), Some(Condition::SealKey)),
        (JournalError::InUse(said()), None),
    ] {
        let mut crew = Crew::new(&House::new(HASTE, &["acme"]));
        crew.alerts.tell_of_journal(&error).await;
        let heard = crew.heard();
        let conditions: Vec<_> = heard.iter().flatten().map(|(_, alert)| alert.condition).collect();
        assert_eq!(conditions, told.into_iter().collect::<Vec<_>>(), "{error}");
        assert!(heard.iter().flatten().all(|(_, alert)| alert.sentence.contains("no key is touched")));
    }
}

#[tokio::test]
async fn a_heartbeat_is_sent_once_for_each_complete_pass() {
    let mut crew = Crew::new(&House::new(HASTE, &["acme"]));
    crew.alerts.tell().await;
    crew.alerts.finish().await;
    assert_eq!(crew.heart.beats.load(Ordering::SeqCst), 0, "no pass was made");
    crew.heart.is_out.store(true, Ordering::SeqCst);
    for passes in 1..3 {
        crew.passes(true, &[]);
        crew.alerts.tell().await;
        crew.alerts.tell().await;
        crew.alerts.finish().await;
        assert_eq!(crew.heart.beats.load(Ordering::SeqCst), passes);
    }
    crew.passes(false, &[]);
    crew.alerts.tell().await;
    crew.alerts.finish().await;
    assert_eq!(crew.heart.beats.load(Ordering::SeqCst), 2, "not everybody was looked at");
}

#[tokio::test(start_paused = true)]
async fn the_alerts_of_one_pass_are_sent_together_once_it_has_ended() {
    let house = House::new(HASTE, &["acme", "zeta"]);
    let seen = status(&house.world(), &[]).await.expect("a journal");
    let world = World { clock: Arc::new(house.paused_clock()), ..house.world() };
    let Crew { alerts, status_store, ear: told, .. } = Crew::on(&house, world);
    let work = AtWork::begin(alerts);
    let wait = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    wait(1).await;
    status_store.pass_begins();
    for user_report in &seen {
        status_store.reconciled(&subject(user_report.vendor.as_str()), user_report);
        wait(20).await;
    }
    assert!(told.heard().is_empty(), "the pass is not over");
    status_store.pass_ended(&Pass::of_a_moment(house.stage.now(), true, seen));
    wait(4).await;
    let users = |heard: &[Heard]| heard.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(users(&told.heard()), [2], "one message about both");

    status_store.pass_ended(&Pass::of_a_moment(house.stage.now(), true, Vec::new()));
    wait(1).await;
    assert_eq!(users(&told.heard()), [2], "more may happen in this moment");
    wait(3).await;
    assert_eq!(users(&told.heard()), [2, 2], "it is over");
    work.end().await;
}

#[tokio::test]
async fn a_sink_state_that_cannot_be_read_is_not_overwritten() {
    let house = House::new(HASTE, &["acme"]);
    let journal = Arc::new(Ailing::beside(&house));
    let sink: SinkName = "mail".parse().expect("a name");
    let before = DeliveryState::new(7);
    house.journal.remember_sink(&sink, &before).await.expect("a journal");
    let mut crew = Crew::on(&house, World { journal: Arc::clone(&journal) as _, ..house.world() });
    for is_forgetful in [true, false] {
        journal.is_forgetful.store(is_forgetful, Ordering::SeqCst);
        crew.alerts.tell().await;
        let kept = house.journal.sink_memory(&sink).await.expect("a journal");
        assert_eq!(kept.as_ref(), Some(&before), "{is_forgetful}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_journal_is_not_read_after_the_alert_task_has_ended() {
    let house = House::new(HASTE, &["acme"]);
    let journal = Arc::new(Ailing::beside(&house));
    journal.is_slow.store(true, Ordering::SeqCst);
    let clock = Arc::new(house.paused_clock());
    let crew = Crew::on(&house, World { clock, journal: Arc::clone(&journal) as _, ..house.world() });
    crew.passes(true, &[]);
    let work = AtWork::begin(crew.alerts);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let heads = || [&journal.heads.0, &journal.heads.1].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(heads(), [1, 0], "the end of the history is being read");
    work.end().await;
    assert_eq!(heads(), [1, 1], "the answer was waited for");
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(heads(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn alerts_do_not_wait_for_the_end_of_a_hanging_pass() {
    let house = House::new(HASTE, &["acme"]);
    let seen = status(&house.world(), &[]).await.expect("a journal");
    let world = World { clock: Arc::new(house.paused_clock()), ..house.world() };
    let Crew { alerts, status_store, ear: told, .. } = Crew::on(&house, world);
    let work = AtWork::begin(alerts);
    tokio::time::sleep(Duration::from_secs(1)).await;
    status_store.pass_begins();
    status_store.reconciled(&subject("acme"), &seen[0]);
    tokio::time::sleep(Duration::from_secs(115)).await;
    assert!(told.heard().is_empty());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(told.heard().len(), 1, "somebody in it is overdue");
    work.end().await;
}

#[tokio::test]
async fn an_alert_is_resolved_only_after_a_complete_pass() {
    let house = House::new(HASTE, &["acme"]);
    let seen = status(&house.world(), &[]).await.expect("a journal");
    let mut crew = Crew::new(&house);
    crew.passes(true, &seen);
    crew.alerts.tell().await;
    assert_eq!(crew.heard().len(), 1);

    let mut next = Crew::new(&house);
    next.alerts.tell().await;
    next.status_store.pass_begins();
    next.alerts.tell().await;
    assert!(next.heard().is_empty(), "the process has just begun");
    next.passes(true, &[]);
    next.status_store.pass_begins();
    next.alerts.tell().await;
    assert!(next.heard().is_empty(), "another pass is being made");
    next.passes(true, &[]);
    next.alerts.tell().await;
    assert!(matches!(next.heard()[..], [ref heard] if heard.len() == 1 && heard[0].0 == "over"));
}

#[tokio::test]
async fn an_alert_names_the_configured_account_without_a_rotation() {
    let house = House::new(HASTE, &["acme"]);
    let seen = status(&house.world(), &[]).await.expect("a journal");
    let account = "[account.production]\nid = \"111122223333\"\nrole_arn = \"arn:aws:iam::111122223333:role/keyround\"\n";
    let vendor = toml(HASTE, &["acme"]).replace("[vendor.acme]", "[vendor.acme]\naccount = \"production\"");
    house.configure(&load(&format!("{account}{vendor}")));
    let mut crew = Crew::new(&house);
    crew.passes(true, &seen);
    crew.alerts.tell().await;
    let heard = crew.heard();
    let accounts: Vec<_> = heard.iter().flatten().map(|(_, alert)| alert.account.clone()).collect();
    assert_eq!(accounts, [Some("production".parse().expect("a name"))]);
}

#[tokio::test(start_paused = true)]
async fn the_accounts_are_audited_daily_only_if_a_sink_wants_audit_alerts() {
    for (wanted, expected) in [(Condition::Audit, [1, 1, 2]), (Condition::Overdue, [0, 0, 0])] {
        let house = House::young(HASTE, &["acme"]);
        let world = World { clock: Arc::new(house.paused_clock()), ..house.world() };
        let crew = Crew::wanting([wanted], &house, world);
        let reviewer = Arc::<Refused>::default();
        let work = AtWork::begin(crew.alerts.with_reviewer(Arc::clone(&reviewer) as _));
        let mut counted = Vec::new();
        for hours in [1, 22, 2] {
            tokio::time::sleep(Duration::from_hours(hours)).await;
            counted.push(reviewer.0.load(Ordering::SeqCst));
            // A review that is refused today is refused tomorrow too, so it counts as made, also for the next process.
            let memory =
                house.journal.sink_memory(&"mail".parse().expect("a name")).await.expect("a journal");
            let is_remembered = memory.expect("it is there").reviewed_at > Timestamp::EPOCH;
            assert_eq!(is_remembered, wanted == Condition::Audit);
        }
        assert_eq!(counted, expected, "{wanted}");
        work.end().await;
    }
}

/// The alerts of a house, with the sink and the heartbeat that record what they get.
struct Crew {
    alerts: Alerts,
    status_store: Arc<StatusStore>,
    ear: Arc<Ear>,
    heart: Arc<Heart>,
    at: Timestamp,
    _worlds: watch::Sender<World>,
    _tellers: watch::Sender<Routing>,
}

impl Crew {
    fn new(house: &House) -> Crew {
        Crew::on(house, house.world())
    }

    fn on(house: &House, world: World) -> Crew {
        Crew::wanting([Condition::Overdue, Condition::Journal, Condition::SealKey], house, world)
    }

    fn wanting<const N: usize>(on: [Condition; N], house: &House, world: World) -> Crew {
        let (status_store, ear, heart) =
            (Arc::<StatusStore>::default(), Arc::<Ear>::default(), Arc::<Heart>::default());
        let policy = Policy { on: on.into(), repeat: DAY, style: Style::Messages };
        let route = Route { name: "mail".parse().expect("a name"), policy, sink: Arc::clone(&ear) as _ };
        let routing = Routing { routes: vec![route], heartbeat: Some(Arc::clone(&heart) as _) };
        let ((worlds_kept, worlds), (tellers_kept, routing)) =
            (watch::channel(world), watch::channel(routing));
        Crew {
            alerts: Alerts::new(worlds, routing, Arc::clone(&status_store), Arc::new(NoSpare)),
            status_store,
            ear,
            heart,
            at: house.stage.now(),
            _worlds: worlds_kept,
            _tellers: tellers_kept,
        }
    }

    fn passes(&self, whole: bool, found: &[UserReport]) {
        self.status_store.pass_ended(&Pass::of_a_moment(self.at, whole, found.to_vec()));
    }

    fn heard(&self) -> Vec<Heard> {
        self.ear.heard()
    }
}

/// The alerts while they work, until they are stopped.
struct AtWork {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl AtWork {
    fn begin(mut alerts: Alerts) -> AtWork {
        let stop = CancellationToken::new();
        let told = stop.clone();
        AtWork { stop, task: tokio::spawn(async move { alerts.work(&told).await }) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("it ends");
    }
}

/// One notification: its alerts, and whether each one is firing or resolved.
type Heard = Vec<(&'static str, Alert)>;

#[derive(Default)]
struct Ear(Mutex<Vec<Heard>>);

impl Ear {
    fn heard(&self) -> Vec<Heard> {
        self.0.lock().expect("what was heard").clone()
    }
}

#[async_trait]
impl Sink for Ear {
    async fn tell(
        &self,
        notification: &Notification,
        _now: Timestamp,
        _holds_until: Timestamp,
    ) -> Answer<()> {
        let heard = notification.items.iter().map(|item| match item {
            Item::Firing { alert, .. } => ("firing", alert.clone()),
            Item::Over { alert, .. } => ("over", alert.clone()),
            other => panic!("{other:?}"),
        });
        self.0.lock().expect("what was heard").push(heard.collect());
        Ok(())
    }

    async fn probe(&self) -> Answer<String> {
        Ok("there".to_owned())
    }
}

#[derive(Default)]
struct Heart {
    beats: AtomicUsize,
    /// Whether the next heartbeat fails.
    is_out: AtomicBool,
}

#[async_trait]
impl Heartbeat for Heart {
    async fn beat(&self, head: Option<&(u64, String)>) -> Answer<()> {
        assert!(head.is_some_and(|(_, hash)| hash.len() == 64), "somebody else keeps the head");
        tokio::task::yield_now().await;
        if self.is_out.swap(false, Ordering::SeqCst) {
            return Err(Fault::unknown("no answer".to_owned()));
        }
        self.beats.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn probe(&self) -> Answer<String> {
        Ok("there".to_owned())
    }
}

/// A reviewer without the permission to review anything.
#[derive(Default)]
struct Refused(AtomicUsize);

#[async_trait]
impl Reviewer for Refused {
    async fn review(&self, _settings: &Settings, _journal: &dyn Journal) -> Answer<Vec<AccountReview>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(Fault::refused(RefusalCode::AccessDenied, "no"))
    }
}

struct NoSpare;

impl FallbackStore for NoSpare {
    fn read(&self) -> BTreeMap<SinkName, keyround::core::alert::DeliveryState> {
        BTreeMap::new()
    }

    fn write(&self, _memories: &BTreeMap<SinkName, keyround::core::alert::DeliveryState>) {}
}
