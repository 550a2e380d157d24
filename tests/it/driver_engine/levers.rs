//! What is checked before a key is created, and how soon an operator command takes effect while the engine works.

use super::*;

#[tokio::test]
async fn a_failed_preflight_is_reported_before_a_key_is_created() {
    let house = House::new(HASTE, &["acme", "good"]);
    house.is("acme", How::Unfit);
    let found = by_name(house.once(WaitMode::Short).await);
    let acme = &found["acme"];
    assert_eq!(
        (acme.verdict.state, acme.verdict.reason, acme.failed),
        (State::Stuck, "preflight_failed", true)
    );
    let sentence = &acme.verdict.sentence;
    assert!(sentence.contains("step 1: secret: credential:acme is not there"), "{sentence}");
    assert_eq!(found["good"].verdict.reason, "rotated", "the other vendors go on");
    assert_eq!(house.stage.calls()["CreateAccessKey"], 1);
    let name: VendorName = "acme".parse().expect("a name");
    assert!(house.journal.rotations(Some(&name)).await.expect("a journal").is_empty());
    house.is("acme", How::Accepts);
    let found = by_name(house.once(WaitMode::Short).await);
    assert_eq!(found["acme"].verdict.reason, "rotated", "and the next pass tries again");
}

#[tokio::test(start_paused = true)]
async fn a_reactivate_command_takes_effect_within_seconds_between_passes() {
    let house = House::new(&HASTE.replace("cool = \"0s\"", "cool = \"7d\""), &["acme"]);
    house.once(WaitMode::Short).await;
    let events = house.events("acme").await;
    assert_eq!(events.last().map(Event::name), Some("deactivated"));
    let now = house.stage.now();
    house.journal.record_tick(now).await.expect("a journal");
    let clock = house.paused_clock();
    let (_newest, worlds) = watch::channel(World { clock: Arc::new(clock.clone()), ..house.world() });
    let engine = Engine::new(worlds, house.stop.clone(), Arc::clone(&house.watcher) as _);
    let mut engine = engine.noticing_operator_commands(Duration::from_secs(1));
    let lever = async {
        clock.sleep_until(now + Duration::from_secs(100)).await;
        let (by, why) = ("alex".to_owned(), "a test".to_owned());
        let event = Event::ReactivationAsked { by, why, exposed: false, at: clock.now() };
        let rotation = house.rotation("acme").await.rotation;
        let number = house.events("acme").await.len() as u64 + 1;
        let entry = Entry { rotation, number, event: &event, secret: SecretChange::Keep, ends: false };
        house.journal.append(entry).await.expect("a journal");
        clock.sleep_until(now + Duration::from_secs(110)).await;
        house.stop.cancel();
    };
    let (worked, ()) = tokio::join!(engine.work(&Cadence::Scheduled), lever);
    worked.expect("a journal");
    let asked = house.time_of("acme", "reactivation_asked").await;
    let reactivated = house.time_of("acme", "reactivated").await;
    assert!(reactivated.since(asked) <= Duration::from_secs(2), "{:?}", reactivated.since(asked));
}
