//! Which users a pass reconciles, each once, and what it reports of the others.

use keyround::core::rotation::{Doubt, EffectKind, Refusal};
use keyround::engine::{Pass, entry_after};

use super::*;

const BY_PATH: &str = "[vendor.fleet]\npath = \"/vendors/\"\n[[vendor.fleet.deliver]]\nkind = \"webhook\"\n\
                       url = \"https://hooks.example/fleet\"\nsecret = \"env:SECRET\"\n";

#[tokio::test]
async fn a_pass_for_one_vendor_reconciles_no_other_vendor() {
    let house = House::new(HASTE, &["chosen", "other"]);
    let found = by_name(house.asked(&["chosen"], false).await);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["chosen"]);
    assert_eq!(house.deliveries.taken(), ["chosen"]);
}

#[tokio::test]
async fn a_key_that_is_not_due_is_rotated_only_with_force() {
    let house = House::young(HASTE, &["acme"]);
    assert_eq!(by_name(house.asked(&[], false).await)["acme"].verdict.reason, "fresh");
    assert_eq!(house.deliveries.taken(), [""; 0]);
    assert_eq!(by_name(house.asked(&[], true).await)["acme"].verdict.reason, "rotated");
}

#[tokio::test(start_paused = true)]
async fn a_pass_does_not_wait_for_a_held_rotation() {
    let house = House::new(&HASTE.replace("soak = \"0s\"", "soak = \"1h\""), &["acme"]);
    house.once(WaitMode::Short).await;
    let at = house.stage.now();
    house
        .pull("acme", Event::Held { until: None, by: "alex".to_owned(), why: "a freeze".to_owned(), at })
        .await;
    let found = tokio::time::timeout(DAY, house.once(WaitMode::Unlimited)).await.expect("it ends");
    assert_eq!(by_name(found)["acme"].verdict.state, State::Held);
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_being_reconciled_is_not_delivered_to_again() {
    let house = House::new(HASTE, &["slow"]);
    house.configure(&load(&toml(HASTE, &["slow"]).replace("0 * * * *", "* * * * *").replace("5m", "0s")));
    house.is("slow", How::TakesSecs(250));
    let world = World { clock: Arc::new(house.paused_clock()), ..house.world() };
    let (_newest, worlds) = watch::channel(world);
    let mut engine = Engine::new(worlds, house.stop.clone(), Arc::clone(&house.watcher) as _);
    let work = engine.work(&Cadence::Scheduled);
    tokio::time::timeout(Duration::from_mins(10), work).await.expect_err("it works until it is stopped");
    assert_eq!(house.deliveries.taken(), ["slow"]);
}

#[tokio::test]
async fn users_found_by_path_are_listed_once_per_pass_and_rotated() {
    let house = House::new(HASTE, &["a", "b"]);
    house.configure(&load(&format!("[defaults]\n{HASTE}\n{BY_PATH}")));
    let found = house.once(WaitMode::Short).await;
    let users: Vec<&str> = found
        .iter()
        .flat_map(|user_report| &user_report.iam_user)
        .map(keyround::core::ids::IamUserName::as_str)
        .collect();
    assert_eq!(users, ["user-a", "user-b"]);
    assert!(found.iter().all(|user_report| user_report.verdict.reason == "rotated"), "{found:?}");
    assert_eq!(house.stage.calls()["ListUsers"], 1);
    let seen = status(&house.world(), &[]).await.expect("a journal");
    assert_eq!(
        seen.iter().map(|user_report| user_report.verdict.state).collect::<Vec<_>>(),
        [State::Ok, State::Ok]
    );
}

#[tokio::test]
async fn a_pass_ends_after_all_users_found_by_path_were_reconciled() {
    let house = House::young(HASTE, &["a", "b"]);
    house.configure(&load(&format!("[defaults]\n{HASTE}\n{BY_PATH}")));
    let passes = Arc::new(Passes::default());
    let (_newest, worlds) = watch::channel(house.world());
    let mut engine = Engine::new(worlds, house.stop.clone(), Arc::clone(&passes) as _);
    for ask in [
        PassRequest::default(),
        PassRequest {
            vendors: vec!["fleet".parse().expect("a name")],
            force: false,
            ..PassRequest::default()
        },
    ] {
        engine.work(&Cadence::Once(ask, WaitMode::Short)).await.expect("a journal");
    }
    let told = passes.0.lock().expect("what was told").clone();
    let pass = |end| ["a pass begins", "fleet is listed", "user-a", "user-b", end].map(str::to_owned);
    let (all, asked) = (pass("all were found: user-a user-b"), pass("some were found: user-a user-b"));
    assert_eq!(told, [all, asked].concat());
}

/// What a watcher gets about passes. Reports of users that are reconciled in parallel are sorted.
#[derive(Default)]
struct Passes(Mutex<Vec<String>>);

impl Passes {
    fn note(&self, what: String) {
        self.0.lock().expect("what was told").push(what);
    }
}

impl Watcher for Passes {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn reconciled(&self, subject: &Subject, _visited: &UserReport) {
        self.note(subject.iam_user.to_string());
        let mut told = self.0.lock().expect("what was told");
        let visits = told.iter().rposition(|what| !what.starts_with("user-")).map_or(0, |last| last + 1);
        told[visits..].sort();
    }

    fn pass_begins(&self) {
        self.note("a pass begins".to_owned());
    }

    fn pass_ended(&self, pass: &Pass) {
        let users: Vec<_> =
            pass.found.iter().flat_map(|found| &found.iam_user).map(ToString::to_string).collect();
        let how = if pass.whole { "all" } else { "some" };
        self.note(format!("{how} were found: {}", users.join(" ")));
    }

    fn listed(&self, vendor: &VendorName) {
        self.note(format!("{vendor} is listed"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_for_a_removed_vendor_reports_it_and_ends() {
    let house = House::new(&HASTE.replace("soak = \"0s\"", "soak = \"1h\""), &["gone", "here"]);
    house.once(WaitMode::Short).await;
    house.configure(&settings(HASTE, &["here"]));
    let found = tokio::time::timeout(DAY, house.asked(&["gone"], false)).await.expect("it ends");
    assert_eq!(by_name(found)["gone"].verdict.reason, "orphaned");
}

#[tokio::test]
async fn a_renamed_and_disabled_vendor_is_reported_under_its_new_name() {
    let house = House::new(HASTE, &["before"]);
    house.is("before", How::Panics);
    house.once(WaitMode::Short).await;
    let role = "[vendor.role]\nrole_arn = \"arn:aws:iam::111122223333:role/vendor\"\n\
                vendor_account_id = \"444455556666\"\n";
    let off = toml(HASTE, &["before"]).replace("vendor.before", "vendor.after");
    let off = off.replace("[[vendor", "enabled = false\n[[vendor");
    house.configure(&load(&format!("{off}{role}")));
    let told = |found: Vec<UserReport>| {
        let rows =
            found.into_iter().map(|user_report| (user_report.vendor.to_string(), user_report.verdict.reason));
        rows.collect::<Vec<_>>()
    };
    let expect = [("after".to_owned(), "disabled"), ("role".to_owned(), "assumes_role")];
    assert_eq!(told(house.once(WaitMode::Short).await), expect);
    assert_eq!(told(status(&house.world(), &[]).await.expect("a journal")), expect);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_without_further_ticks_ends_at_once() {
    let house = House::young(HASTE, &["acme"]);
    house.configure(&load(&toml(HASTE, &["acme"]).replace("0 * * * *", "0 0 3 1 1 * 2020")));
    let now = house.stage.now();
    house.scheduled(now + DAY).await;
    assert_eq!(house.stage.now(), now);
}

#[tokio::test]
async fn a_secret_is_kept_until_it_is_delivered_and_erased_after_the_rotation() {
    let house = House::new(HASTE, &["acme"]);
    house.is("acme", How::Panics);
    house.once(WaitMode::Short).await;
    let rotation = house.rotation("acme").await.rotation;
    assert!(house.journal.secret(rotation).await.expect("a journal").is_some(), "it is delivered once more");
    house.is("acme", How::Accepts);
    house.once(WaitMode::Short).await;
    assert_eq!(house.journal.secret(rotation).await.expect("a journal"), None);
}

#[tokio::test]
async fn status_shows_a_rotation_whether_or_not_its_keys_can_be_listed() {
    let house = House::new(&HASTE.replace("soak = \"0s\"", "soak = \"1h\""), &["acme"]);
    house.once(WaitMode::Short).await;
    let nobody = subject("nobody");
    let old = house.old_key("acme");
    let Event::Started { old_created_at, reason, plan, at, .. } = started(&subject("acme"), &house) else {
        panic!("it starts")
    };
    let begun = Event::Started {
        subject: nobody.clone(),
        old: old.clone(),
        old_created_at,
        reason,
        plan,
        account_id: None,
        at,
    };
    let id = RotationId::new(&nobody, &old, at);
    house.has_written(id, &[begun]).await;
    house.configure(&settings(HASTE, &["acme", "nobody"]));
    let seen = by_name(status(&house.world(), &[]).await.expect("a journal"));
    let (acme, nobody) = (&seen["acme"], &seen["nobody"]);
    assert_eq!((acme.keys.len(), acme.usage.len(), acme.failed), (2, 2, false));
    assert!(acme.rotation.is_some() && acme.account_id.is_some());
    assert_eq!((nobody.verdict.state, nobody.verdict.reason), (State::Stuck, "no_such_user"));
    assert!(nobody.rotation.is_some() && nobody.failed);
}

#[tokio::test]
async fn a_user_counts_as_failed_after_refusals_or_when_it_is_stuck() {
    let house = House::new(&HASTE.replace("soak = \"0s\"", "soak = \"1h\""), &["acme"]);
    let found = by_name(house.once(WaitMode::Short).await);
    assert!(!found["acme"].failed, "it soaks");
    let at = house.stage.now();
    let doubt = Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
    house.pull("acme", Event::Unanswered { doing: EffectKind::ReadUsage, doubt, at }).await;
    let refusal = Refusal {
        code: RefusalCode::Throttled,
        sentence: "slow down".to_owned(),
        retry_after: None,
        nothing_sent: false,
        pairs: Vec::new(),
        said: None,
    };
    for _ in 0..3 {
        let refusal = refusal.clone();
        house.pull("acme", Event::Refused { doing: EffectKind::ReadUsage, refusal, at }).await;
    }
    let found = by_name(house.once(WaitMode::Short).await);
    assert!(found["acme"].failed, "{:?}", found["acme"].rest);
    house.is("gone", How::Gone);
    house.configure(&settings(HASTE, &["gone"]));
    drop(house.stage.hand_out_key(&subject("gone"), at.minus(120 * DAY)));
    assert!(by_name(house.once(WaitMode::Short).await)["gone"].failed, "it is stuck");
}

#[tokio::test]
async fn a_preview_lists_steps_and_checks_and_creates_no_key() {
    let house = House::new(HASTE, &["due"]);
    drop(house.stage.hand_out_key(&subject("young"), half_past().minus(DAY)));
    house.configure(&settings(HASTE, &["due", "young"]));
    let previews = keyround::engine::preview(&house.world(), &[], false, false).await.expect("a journal");
    let [due, young] = &previews[..] else { panic!("{previews:?}") };
    assert_eq!((due.user_report.vendor.as_str(), young.user_report.vendor.as_str()), ("due", "young"));
    assert_eq!(due.steps.first().map(String::as_str), Some("create a new access key (sent once)"));
    assert_eq!(due.steps.last().map(String::as_str), Some("delete the old key"));
    let checks = due.preflight.iter().map(|check| (check.check.as_str(), check.ok)).collect::<Vec<_>>();
    assert_eq!(checks, [("slot", true), ("rights", true)]);
    assert!(young.steps.is_empty() && young.preflight.is_empty());
    let thorough = keyround::engine::preview(&house.world(), &[], false, true).await.expect("a journal");
    assert!(thorough[1].steps.is_empty() && thorough[1].preflight.len() == 2);
    let forced = keyround::engine::preview(&house.world(), &[], true, false).await.expect("a journal");
    assert!(!forced[1].steps.is_empty());
    drop(house.stage.hand_out_key(&subject("young"), half_past().minus(DAY)));
    let full = keyround::engine::preview(&house.world(), &[], false, true).await.expect("a journal");
    assert_eq!((full[1].preflight[0].check.as_str(), full[1].preflight[0].ok), ("slot", false));
    let chosen = ["young".parse().expect("a name")];
    let one = keyround::engine::preview(&house.world(), &chosen, false, false).await.expect("a journal");
    assert_eq!(one.len(), 1);
    assert_eq!(house.stage.calls().get("CreateAccessKey"), None);
    assert_eq!(house.deliveries.taken(), [""; 0]);
}

#[test]
fn the_listed_steps_of_a_rotation_follow_its_plan() {
    let stages = |plan: &keyround::core::rotation::Plan, deliveries| {
        let steps = keyround::engine::steps(plan, deliveries);
        steps.into_iter().map(|step| (step.stage, step.what)).collect::<Vec<_>>()
    };
    let whole =
        keyround::core::rotation::Plan { can_ask_vendor: true, ..keyround::core::rotation::Plan::default() };
    let told = stages(&whole, 2);
    assert_eq!(told.len(), 10);
    assert_eq!(told[2], ("deliver", "deliver it to the vendor in 2 steps".to_owned()));
    assert_eq!(told[3], ("verify", "ask the vendor which key is in force".to_owned()));
    assert_eq!(told[6], ("soak", "wait until the old key has been unused for 1d".to_owned()));
    let bare = keyround::core::rotation::Plan { require_use: false, quiet_for: Duration::ZERO, ..whole };
    let told = stages(&keyround::core::rotation::Plan { can_ask_vendor: false, ..bare }, 1);
    assert_eq!(told.len(), 7);
    assert_eq!(told[2].1, "deliver it to the vendor in 1 step");
}

impl House {
    pub(super) async fn asked(&self, vendors: &[&str], force: bool) -> Vec<UserReport> {
        let (_newest, worlds) = watch::channel(self.world());
        let mut engine = Engine::new(worlds, self.stop.clone(), Arc::clone(&self.watcher) as _);
        let vendors = vendors.iter().map(|name| name.parse().expect("a name")).collect();
        engine
            .work(&Cadence::Once(PassRequest { vendors, force, ..PassRequest::default() }, WaitMode::Short))
            .await
            .expect("a journal")
    }

    /// Appends an event to the vendor's rotation, as an operator command or another process would.
    pub(super) async fn pull(&self, vendor: &str, event: Event) {
        let id = self.rotation(vendor).await.rotation;
        let events = self.journal.read(id).await.expect("a journal");
        let mut rotation = Rotation::replay(id, &events).expect("a legal journal");
        let entry = entry_after(&mut rotation, &event, None).expect("it follows");
        self.journal.append(entry).await.expect("a journal");
    }
}
