//! The machine's decisions one by one, and the exact time at which each of them changes. The crash matrix runs through
//! millions of states and checks what must never happen; these tests check when the machine does something, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use super::samples::*;
use super::*;
use crate::core::time::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

// Replaying.

#[test]
fn a_replay_that_does_not_begin_with_started_is_refused() {
    let refused = |events: &[Event]| Rotation::replay(id(), events).expect_err("no beginning");
    let none = |event| IllegalEvent { id: id(), number: 1, stage: "none", event };
    assert_eq!(refused(&[]), none("nothing"));
    assert_eq!(refused(&[listed(1)]), none("listed"));
}

#[test]
fn an_illegal_event_is_reported_with_its_number_and_stage() {
    let events = [started(Plan::default()), listed(1), Event::Delivered { at: at(2) }];
    let refused = Rotation::replay(id(), &events).expect_err("nothing to deliver");
    assert_eq!(refused, IllegalEvent { id: id(), number: 3, stage: "create", event: "delivered" });
}

#[test]
fn a_rotation_keeps_the_values_of_its_start() {
    let rotation = rotation(asking(), &[listed(1)]);
    assert_eq!((rotation.id(), rotation.events()), (id(), 2));
    assert_eq!((rotation.old(), rotation.old_created_at()), (Some(&key('A')), Some(at(-100 * DAY))));
    assert_eq!((rotation.started_at(), rotation.since()), (at(0), at(1)));
    assert_eq!(rotation.subject(), &subject());
    assert_eq!(rotation.plan(), &asking());
}

// Waiting.

#[test]
fn a_hold_lasts_until_its_end_and_an_open_hold_does_not_end() {
    let held = |until| {
        let held = Event::Held { until, by: "alex".to_owned(), why: "a freeze".to_owned(), at: at(1) };
        rotation(Plan::default(), &[held])
    };
    let why = || Waiting::Held { by: "alex".to_owned(), why: "a freeze".to_owned() };
    let for_a_while = held(Some(at(500)));
    check(&for_a_while, 499, &Next::Wait { until: at(500), why: why() });
    check(&for_a_while, 500, &Next::Perform(Effect::ListKeys));
    check(&held(None), 400 * DAY, &Next::Wait { until: Timestamp::NEVER, why: why() });
}

#[test]
fn a_failed_step_waits_with_its_reason_and_a_resume_ends_the_wait() {
    let mut rotation = rotation(Plan::default(), &[refused(EffectKind::List, RefusalCode::AccessDenied, 10)]);
    let why = Waiting::Backoff { failures: 1, sentence: "access_denied".to_owned() };
    check(&rotation, 14, &Next::Wait { until: at(15), why });
    check(&rotation, 15, &Next::Perform(Effect::ListKeys));
    happen(&mut rotation, &refused(EffectKind::List, RefusalCode::AccessDenied, 15)).expect("legal");
    let why = Waiting::Backoff { failures: 2, sentence: "access_denied".to_owned() };
    check(&rotation, 16, &Next::Wait { until: at(45), why });
    happen(&mut rotation, &Event::Resumed { by: "alex".to_owned(), at: at(17) }).expect("legal");
    check(&rotation, 17, &Next::Perform(Effect::ListKeys));
}

#[test]
fn a_retry_after_is_observed_after_refused_and_unanswered_calls() {
    let refusal = Refusal {
        code: RefusalCode::Throttled,
        sentence: "slow down".to_owned(),
        retry_after: Some(Duration::from_mins(2)),
        nothing_sent: false,
        pairs: Vec::new(),
        said: None,
    };
    let doubt = Doubt {
        sentence: "no answer".to_owned(),
        retry_after: Some(Duration::from_mins(3)),
        pairs: Vec::new(),
        said: None,
    };
    let after = |event| rotation(Plan::default(), &[event]).next(at(11));
    let no = after(Event::Refused { doing: EffectKind::List, refusal, at: at(10) });
    assert!(matches!(no, Next::Wait { until, .. } if until == at(10 + 2 * MINUTE)), "{no:?}");
    let silence = after(Event::Unanswered { doing: EffectKind::List, doubt, at: at(10) });
    assert!(matches!(silence, Next::Wait { until, .. } if until == at(10 + 3 * MINUTE)), "{silence:?}");
}

// Making a key.

#[test]
fn a_key_listing_allows_a_create_for_five_minutes() {
    let surveyed = rotation(Plan::default(), &[listed(1)]);
    check(&surveyed, 1 + 5 * MINUTE, &Next::Perform(Effect::CreateKey));
    check(&surveyed, 2 + 5 * MINUTE, &Next::Perform(Effect::ListKeys));
}

#[test]
fn keys_are_listed_one_minute_after_an_unanswered_create() {
    let intended = Event::Intended { intent: Intent::Create, at: at(2) };
    let killed = rotation(Plan::default(), &[listed(1), intended.clone()]);
    check(&killed, 61, &Next::Wait { until: at(62), why: Waiting::Doubt });
    check(&killed, 62, &Next::Perform(Effect::ListKeys));
    let unanswered = rotation(Plan::default(), &[listed(1), intended, unanswered(EffectKind::Create, 20)]);
    check(&unanswered, 79, &Next::Wait { until: at(80), why: Waiting::Doubt });
    check(&unanswered, 80, &Next::Perform(Effect::ListKeys));
}

#[test]
fn keys_are_listed_again_a_minute_after_the_key_quota_is_reached() {
    let full = refused(EffectKind::Create, RefusalCode::LimitExceeded, 10);
    let rotation = rotation(Plan::default(), &[listed(1), full]);
    assert_eq!(rotation.stage(), &Stage::Survey);
    let why = Waiting::Backoff { failures: 1, sentence: "limit_exceeded".to_owned() };
    check(&rotation, 69, &Next::Wait { until: at(70), why });
    check(&rotation, 70, &Next::Perform(Effect::ListKeys));
}

#[test]
fn a_rotation_is_stuck_unless_the_old_key_exists_and_is_active() {
    let after = |keys| rotation(Plan::default(), &[Event::Listed { keys, at: at(1) }]);
    check(&after(vec![]), 1, &Next::Stuck(Blocker::OldKeyGone { key: key('A') }));
    for status in [KeyStatus::Inactive, KeyStatus::Expired] {
        let keys = vec![KeyMetadata { status, ..metadata('A', -100 * DAY) }];
        check(&after(keys), 1, &Next::Stuck(Blocker::OldKeyNotActive { key: key('A') }));
    }
}

#[test]
fn a_second_key_is_suspect_only_if_created_near_an_unanswered_create() {
    let found = |created_at| {
        let rotation = rotation(
            Plan::default(),
            &[
                listed(1),
                Event::Intended { intent: Intent::Create, at: at(1000) },
                unanswered(EffectKind::Create, 1020),
                Event::Listed {
                    keys: vec![metadata('A', -100 * DAY), metadata('X', created_at)],
                    at: at(1090),
                },
            ],
        );
        rotation.stage().clone()
    };
    let suspect = Stage::Suspect { key: key('X') };
    // The clocks of AWS and of this machine may differ by fifteen minutes, and the request may be under way for a
    // minute.
    assert_eq!(found(1000 - 900), suspect);
    assert_eq!(found(1020 + 60 + 900), suspect);
    for strange in [1000 - 901, 1020 + 60 + 901] {
        assert_eq!(found(strange).name(), "stuck", "made at {strange}");
    }
}

#[test]
fn two_unanswered_creates_form_one_long_doubt_window() {
    let intended = |seconds| Event::Intended { intent: Intent::Create, at: at(seconds) };
    let doubts = [
        listed(1),
        intended(1000),
        unanswered(EffectKind::Create, 1020),
        listed(1100),
        intended(5000),
        unanswered(EffectKind::Create, 5020),
    ];
    for created_at in [800, 5300] {
        let mut rotation = rotation(Plan::default(), &doubts);
        let keys = vec![metadata('A', -100 * DAY), metadata('X', created_at)];
        happen(&mut rotation, &Event::Listed { keys, at: at(5400) }).expect("legal");
        assert_eq!(rotation.stage(), &Stage::Suspect { key: key('X') }, "made at {created_at}");
    }
}

#[test]
fn a_suspect_key_is_discarded_only_if_it_was_never_used() {
    let suspected = |usage| {
        let rotation = rotation(
            Plan::default(),
            &[
                listed(1),
                Event::Intended { intent: Intent::Create, at: at(2) },
                Event::Listed { keys: vec![metadata('A', -100 * DAY), metadata('X', 3)], at: at(70) },
                Event::UsageRead { usage: BTreeMap::from([(key('X'), usage)]), at: at(71) },
            ],
        );
        rotation.stage().clone()
    };
    assert_eq!(
        suspected(KeyUsage::Never),
        Stage::Discard {
            key: key('X'),
            known: Discarding { read_at: Some(at(71)), ..Discarding::default() }
        }
    );
    assert_eq!(suspected(KeyUsage::Gone), Stage::Survey);
    assert_eq!(suspected(used(72, "s3")).name(), "stuck");
}

#[test]
fn keys_are_listed_at_once_after_a_lost_key_is_discarded() {
    let rotation = rotation(
        Plan::default(),
        &[
            listed(1),
            Event::Intended { intent: Intent::Create, at: at(2) },
            Event::Listed { keys: vec![metadata('A', -100 * DAY), metadata('X', 3)], at: at(70) },
            Event::UsageRead { usage: BTreeMap::from([(key('X'), KeyUsage::Never)]), at: at(71) },
            Event::Deactivated { at: at(72), request_id: None },
            Event::Deleted { at: at(73), request_id: None },
        ],
    );
    check(&rotation, 73, &Next::Perform(Effect::ListKeys));
}

// Proving the new key.

#[test]
fn the_new_key_must_pass_consecutive_probes_after_a_first_wait() {
    let mut rotation = rotation(Plan::default(), &[listed(1), created(2)]);
    let probe = Next::Perform(Effect::Probe { key: key('B') });
    check(&rotation, 7, &Next::Wait { until: at(8), why: Waiting::Propagation });
    check(&rotation, 8, &probe);
    let slip = |doing, seconds| {
        [refused(doing, RefusalCode::NotUsable, seconds), refused(doing, RefusalCode::Other, seconds)]
            .into_iter()
            .chain([unanswered(doing, seconds)])
    };
    for slip in slip(EffectKind::Probe, 100) {
        for seconds in [10, 20] {
            happen(&mut rotation, &Event::Probed { at: at(seconds) }).expect("legal");
        }
        happen(&mut rotation, &slip).expect("legal");
        assert_eq!(rotation.stage().name(), "prove");
    }
    for (seconds, stage) in [(200, "prove"), (206, "prove"), (212, "deliver")] {
        happen(&mut rotation, &Event::Probed { at: at(seconds) }).expect("legal");
        assert_eq!(rotation.stage().name(), stage, "after {seconds} s");
    }
}

#[test]
fn an_unusable_new_key_is_probed_every_five_seconds_a_hundred_times() {
    let hasty = Plan { prove_every: Duration::ZERO, ..Plan::default() };
    let mut rotation = rotation(hasty, &[listed(1), created(2)]);
    let not_yet = |count: i64| refused(EffectKind::Probe, RefusalCode::NotUsable, count * 10);
    for count in 1..100 {
        happen(&mut rotation, &not_yet(count)).expect("legal");
        check(&rotation, count * 10, &Next::Wait { until: at(count * 10 + 5), why: Waiting::Propagation });
    }
    happen(&mut rotation, &not_yet(100)).expect("legal");
    check(&rotation, 1000, &Next::Stuck(Blocker::NewKeyNeverWorked { key: key('B') }));
    assert!(rotation.needs_secret(), "it may be resumed");
    happen(&mut rotation, &Event::Resumed { by: "alex".to_owned(), at: at(2000) }).expect("legal");
    happen(&mut rotation, &not_yet(201)).expect("legal");
    assert_eq!(rotation.stage().name(), "prove", "it is counted anew");
}

// Delivering the new key.

#[test]
fn each_delivery_is_verified_three_times_before_it_is_repeated() {
    let mut rotation = rotation(asking(), &[listed(1), created(2), Event::Probed { at: at(3) }]);
    let (mut now, mut deliveries) = (10, 0);
    let blocker = loop {
        deliveries += 1;
        let deliver = Effect::Deliver { key: key('B'), round: deliveries };
        check(&rotation, now, &Next::Perform(deliver));
        happen(&mut rotation, &Event::Delivered { at: at(now) }).expect("legal");
        for _ in 0..3 {
            assert_eq!(rotation.stage().name(), "verify");
            assert!(rotation.failures() + 1 >= deliveries, "it has not helped before, and may not now");
            happen(&mut rotation, &refused(EffectKind::Verify, RefusalCode::NotInForce, now)).expect("legal");
        }
        now = match rotation.next(at(now)) {
            Next::Stuck(blocker) => break blocker,
            Next::Wait { until, why } => {
                let sentence = "not_in_force".to_owned();
                assert_eq!(why, Waiting::Backoff { failures: deliveries, sentence });
                until.unix_seconds() - at(0).unix_seconds()
            }
            other => panic!("{other:?}"),
        };
    };
    assert_eq!((deliveries, blocker), (10, Blocker::VendorKeepsOldKey { deliveries: 10 }));
    // All waits of Standard Webhooks except the last one: fifty hours.
    assert!((50 * HOUR..52 * HOUR).contains(&now), "{now}");
    happen(&mut rotation, &Event::Resumed { by: "alex".to_owned(), at: at(now) }).expect("legal");
    check(&rotation, now, &Next::Perform(Effect::Deliver { key: key('B'), round: 11 }));
    happen(&mut rotation, &Event::Delivered { at: at(now) }).expect("legal");
    assert_eq!(rotation.failures(), 10);
    happen(&mut rotation, &verified(now)).expect("legal");
    assert_eq!(rotation.failures(), 0, "the vendor names the new key");
}

#[test]
fn each_delivery_attempt_is_recorded_and_keeps_the_first_offer_time() {
    let intent = Intent::Deliver { key: key('B'), round: 1 };
    let events = [listed(1), created(2), Event::Probed { at: at(3) }, Event::Intended { intent, at: at(4) }];
    let rotation = rotation(asking(), &events);
    let deliver = |round| Effect::Deliver { key: key('B'), round };
    let again = Intent::Deliver { key: key('B'), round: 1 };
    assert_eq!(rotation.intend(&deliver(1), at(5)), Some(Event::Intended { intent: again, at: at(5) }));
    let intent = Intent::Deliver { key: key('B'), round: 2 };
    assert_eq!(rotation.intend(&deliver(2), at(5)), Some(Event::Intended { intent, at: at(5) }));
    assert_eq!(rotation.intend(&Effect::ListKeys, at(5)), None, "it only reads");
    assert_eq!(rotation.offered_at(), Some(at(4)));
}

#[test]
fn no_such_key_counts_as_gone_only_for_a_key_that_was_never_offered() {
    let rotation = soaking(Plan::default());
    let evidence = || Evidence::new(RemovalReason::NeverOffered);
    let deactivate = Effect::Deactivate { key: key('A'), evidence: evidence() };
    let delete = Effect::Delete { key: key('A'), evidence: evidence() };
    let settled =
        |effect: &Effect, code| rotation.settle(effect, Outcome::Refused(refusal(code)), at(9)).name();
    for effect in [&deactivate, &delete] {
        assert_eq!(settled(effect, RefusalCode::NoSuchKey), "refused", "the user may be gone");
        assert_eq!(settled(effect, RefusalCode::AccessDenied), "refused");
    }
    let given_up = Event::Abandoned { by: "alex".to_owned(), why: "gone".to_owned(), at: at(5) };
    let discarding = after(samples::rotation(asking(), &[listed(1), created(2)]), &[given_up]);
    let gone =
        |effect| discarding.settle(effect, Outcome::Refused(refusal(RefusalCode::NoSuchKey)), at(9)).name();
    assert_eq!((gone(&deactivate), gone(&delete)), ("deactivated", "deleted"));
    assert_eq!(settled(&Effect::Reactivate { key: key('A') }, RefusalCode::NoSuchKey), "refused");
}

// Soaking.

#[test]
fn usage_is_not_read_before_the_soak_can_end() {
    let read = Next::Perform(Effect::ReadUsage { keys: vec![key('A'), key('B')] });
    let with_quiet = soaking(Plan::default());
    let soaked = 11 + 15 * MINUTE + DAY;
    check(&with_quiet, soaked - 1, &Next::Wait { until: at(soaked), why: Waiting::Soak });
    check(&with_quiet, soaked, &read);
    let without = soaking(Plan { quiet_for: Duration::ZERO, ..Plan::default() });
    check(&without, 12 + DAY - 1, &Next::Wait { until: at(12 + DAY), why: Waiting::Soak });
    check(&without, 12 + DAY, &read);
}

#[test]
fn usage_is_read_again_soon_at_first_and_hourly_later() {
    let hasty = || Plan { soak: Duration::ZERO, quiet_for: Duration::ZERO, ..Plan::default() };
    for (read_at, again_at) in [(14, 19), (112, 162), (12 + 2 * HOUR, 12 + 3 * HOUR), (DAY, DAY + HOUR)] {
        let rotation = read(soaking(hasty()), (used(0, "s3"), KeyUsage::Never), read_at);
        check(
            &rotation,
            again_at - 1,
            &Next::Wait { until: at(again_at), why: Waiting::Use { old_used_at: None } },
        );
        let again = Effect::ReadUsage { keys: vec![key('A'), key('B')] };
        check(&rotation, again_at, &Next::Perform(again));
    }
}

/// Found in a simulation: the vendor restored a backup, and a late write left it with the halves of two pairs. The half
/// that a verification can ask for is the new key's.
#[test]
fn a_use_of_the_new_key_before_a_later_use_of_the_old_key_is_ignored() {
    let passed = Next::Perform(Effect::ListKeys);
    let Next::Wait { why, .. } = after_use(used(41, "s3"), used(40, "s3")) else {
        panic!("it is not retired")
    };
    assert_eq!(why, Waiting::Use { old_used_at: Some(at(41)) });
    assert_eq!(after_use(used(40, "s3"), used(40, "s3")), passed, "as recorded, they are equal");
    assert_eq!(after_use(used(39, "s3"), used(40, "s3")), passed);
    assert_eq!(after_use(KeyUsage::Never, used(40, "s3")), passed);
    let probed_later = seen(used(50, "sts"), 40, "s3");
    assert_ne!(after_use(used(45, "s3"), probed_later), passed, "our probe is no use");
    let unasked = Plan { require_use: false, ..used_once() };
    assert_eq!(soaking(unasked).next(at(DAY + 100)), passed);
}

#[test]
fn a_probe_does_not_count_as_a_use_by_the_vendor() {
    let is_seen = |usage| after_use(KeyUsage::Never, usage) == Next::Perform(Effect::ListKeys);
    // The last probe is at 10, and it hides later uses for 15 minutes.
    assert!(!is_seen(used(10, "sts")) && !is_seen(used(10 + 15 * MINUTE, "sts")));
    assert!(is_seen(used(11 + 15 * MINUTE, "sts")));
    assert!(is_seen(used(11, "s3")) && is_seen(used(-5, "s3")), "AWS's clock may be behind");
    assert!(!is_seen(KeyUsage::Never));
}

#[test]
fn the_old_key_must_be_unused_for_quiet_for_plus_the_report_delay() {
    let read_at = 3 * DAY;
    let after = |last_used| {
        let rotation = read(soaking(Plan::default()), (used(last_used, "ec2"), used(2 * DAY, "s3")), read_at);
        rotation.next(at(read_at))
    };
    let latest = read_at - DAY - 15 * MINUTE;
    assert_eq!(after(latest), Next::Perform(Effect::ListKeys));
    let why = Waiting::Quiet { last_used_at: at(latest + 1), service: "ec2".to_owned() };
    assert_eq!(after(latest + 1), Next::Wait { until: at(read_at + 1), why });
}

#[test]
fn evidence_is_valid_for_fifteen_minutes() {
    let read_at = 3 * DAY;
    let rotation = read(soaking(Plan::default()), (used(0, "s3"), used(DAY, "s3")), read_at);
    let retire = Effect::Deactivate {
        key: key('A'),
        evidence: Evidence::new(RemovalReason::Superseded { by: key('B'), verified_at: at(12) }),
    };
    let next = after_a_look(&rotation, KeyStatus::Active, read_at + 15 * MINUTE);
    assert_eq!(next, Next::Perform(retire));
    let again = Effect::ReadUsage { keys: vec![key('A'), key('B')] };
    check(&rotation, read_at + 15 * MINUTE + 1, &Next::Perform(again));
    let asked = soaking(Plan { can_ask_vendor: true, ..ungated() });
    let asked_at = 12;
    let next = after_a_look(&asked, KeyStatus::Active, asked_at + 15 * MINUTE);
    assert_eq!(next, Next::Perform(retired_by(asked_at)));
    check(&asked, asked_at + 15 * MINUTE + 1, &Next::Perform(Effect::Verify { key: key('B') }));
}

#[test]
fn a_listing_precedes_deactivate_and_delete_and_is_valid_for_a_minute() {
    let name = |rotation: &Rotation, seconds| match rotation.next(at(seconds)) {
        Next::Perform(effect) => effect.name(),
        other => panic!("{other:?}"),
    };
    let soaking = looked(&soaking(ungated()), KeyStatus::Active, DAY);
    let cooling = read(cooling(ungated()), (KeyUsage::Never, KeyUsage::Never), 30 * DAY);
    let cooling = looked(&cooling, KeyStatus::Inactive, 30 * DAY);
    for (rotation, listed_at, end) in
        [(soaking, DAY, "UpdateAccessKey Inactive"), (cooling, 30 * DAY, "DeleteAccessKey")]
    {
        assert_eq!(name(&rotation, listed_at), end);
        assert_eq!(name(&rotation, listed_at + MINUTE), end);
        assert_eq!(name(&rotation, listed_at + MINUTE + 1), "ListAccessKeys");
        assert_eq!(name(&rotation, listed_at - 1), "ListAccessKeys", "a clock was ahead");
    }
}

#[test]
fn an_old_key_is_deactivated_only_in_its_window() {
    // 2027-01-15T08:00:00Z, a Friday.
    let windows = Windows::new(chrono_tz::UTC, vec!["Fri 09:00-10:00".parse().expect("a window")]);
    let rotation = soaking(Plan { windows, ..ungated() });
    check(&rotation, HOUR - 1, &Next::Wait { until: at(HOUR), why: Waiting::Window });
    assert_eq!(after_a_look(&rotation, KeyStatus::Active, HOUR), Next::Perform(retired_by(12)));
    check(&rotation, 2 * HOUR, &Next::Wait { until: at(7 * DAY + HOUR), why: Waiting::Window });
}

#[test]
fn an_unconfirmed_deactivation_is_repeated_regardless_of_the_gates() {
    let mut rotation = in_doubt_of_deactivating();
    happen(&mut rotation, &unanswered(EffectKind::Deactivate, 30)).expect("legal");
    assert_eq!(after_a_look(&rotation, KeyStatus::Inactive, 35), Next::Perform(retired_by(12)));
    happen(&mut rotation, &refused(EffectKind::List, RefusalCode::Throttled, 36)).expect("legal");
    assert_eq!(after_a_look(&rotation, KeyStatus::Inactive, 80), Next::Perform(retired_by(12)));
    // The refusal of this attempt says nothing about the attempt before it.
    happen(&mut rotation, &refused(EffectKind::Deactivate, RefusalCode::AccessDenied, 81)).expect("legal");
    let again_at = 81 + 5 * MINUTE;
    assert_eq!(after_a_look(&rotation, KeyStatus::Inactive, again_at), Next::Perform(retired_by(12)));
}

#[test]
fn a_refusal_settles_only_the_attempt_that_it_answers() {
    let soaked = at(11 + 15 * MINUTE + DAY);
    let refusal = refused(EffectKind::Deactivate, RefusalCode::NotSent, 60);
    let settled = after(in_doubt_of_deactivating(), std::slice::from_ref(&refusal));
    check(&settled, DAY, &Next::Wait { until: soaked, why: Waiting::Soak });
    let again = |seconds| {
        let intent = in_doubt_of_deactivating().intend(&retired_by(12), at(seconds));
        intent.expect("another try")
    };
    // Either the answer was lost, or the process ended before the answer was recorded.
    for first in [vec![unanswered(EffectKind::Deactivate, 50), again(55)], vec![again(55)]] {
        let in_doubt = after(in_doubt_of_deactivating(), &[first, vec![refusal.clone()]].concat());
        let trouble = after(in_doubt, &[refused(EffectKind::Verify, RefusalCode::NotInForce, 70)]);
        check(&trouble, 70, &Next::Perform(Effect::Reactivate { key: key('A') }));
    }
}

/// A pending deletion would delete the key after it was set Active again.
#[test]
fn an_old_key_with_an_unsettled_delete_cannot_be_reactivated() {
    let asked = Event::ReactivationAsked {
        by: "somebody".to_owned(),
        why: "a test".to_owned(),
        exposed: false,
        at: at(0),
    };
    let cooled = 100 + 7 * DAY;
    let rotation = read(after(cooling(asking()), &[verified(cooled)]), used_lately(cooled), cooled);
    let rotation = looked(&rotation, KeyStatus::Inactive, cooled);
    let Next::Perform(delete) = rotation.next(at(cooled)) else { panic!("{:?}", rotation.next(at(cooled))) };
    let try_it = |rotation: &Rotation, seconds| rotation.intend(&delete, at(seconds)).expect("another try");
    let once = after(rotation.clone(), &[try_it(&rotation, cooled)]);
    let refusal = refused(EffectKind::Delete, RefusalCode::NotSent, cooled + 40);
    let mut not_sent = after(once.clone(), std::slice::from_ref(&refusal));
    assert!(not_sent.apply(&asked).is_ok(), "it never arrived, and was the only one");
    let twice = after(once, &[unanswered(EffectKind::Delete, cooled + 30)]);
    let twice = after(twice.clone(), &[try_it(&twice, cooled + 40), refusal]);
    assert!(twice.clone().apply(&asked).is_err());
    let settled = cooled + 40 + 15 * MINUTE;
    let mut early = looked(&twice, KeyStatus::Inactive, settled - 1);
    assert!(early.apply(&asked).is_err(), "it may still be under way");
    let mut settled = looked(&twice, KeyStatus::Inactive, settled);
    assert!(settled.apply(&asked).is_ok(), "it never arrived");
}

/// The conditions for taking the key away were checked days ago, and may have changed since.
#[test]
fn an_unsent_deactivation_must_pass_the_gates_again() {
    let settled = 20 + 15 * MINUTE;
    let soaked = at(11 + 15 * MINUTE + DAY);
    let asked = |seconds| {
        let mut rotation = in_doubt_of_deactivating();
        happen(&mut rotation, &verified(seconds)).expect("legal");
        rotation
    };
    let repeated = after_a_look(&asked(settled - 1), KeyStatus::Active, settled - 1);
    assert_eq!(repeated, Next::Perform(retired_by(settled - 1)), "it may still be under way");
    let inactive = after_a_look(&asked(settled), KeyStatus::Inactive, settled);
    assert_eq!(inactive, Next::Perform(retired_by(settled)), "it was sent");
    let active = after_a_look(&asked(settled), KeyStatus::Active, settled);
    assert_eq!(active, Next::Wait { until: soaked, why: Waiting::Soak });
    // An attempt without an answer may have been under way until then, whenever it was intended.
    let mut tried = asked(settled);
    tried.apply(&unanswered(EffectKind::Deactivate, settled)).expect("legal");
    let later = settled + 4 * MINUTE;
    assert_eq!(after_a_look(&tried, KeyStatus::Active, later), Next::Perform(retired_by(settled)));
    let settled = settled + 15 * MINUTE;
    assert_eq!(
        after_a_look(&tried, KeyStatus::Active, settled),
        Next::Wait { until: soaked, why: Waiting::Soak }
    );
}

/// A listing shows the result of the last attempt only if the journal knows when that attempt was made.
#[test]
fn each_deactivation_attempt_is_recorded_with_its_time() {
    let mut rotation = in_doubt_of_deactivating();
    let effect = retired_by(12);
    assert_eq!(rotation.intend(&effect, at(20)), None);
    let again = rotation.intend(&effect, at(25)).expect("another try");
    happen(&mut rotation, &again).expect("legal");
    assert_eq!(rotation.intend(&effect, at(25)), None);
    happen(&mut rotation, &verified(24 + 5 * MINUTE)).expect("legal");
    let next = after_a_look(&rotation, KeyStatus::Active, 24 + 5 * MINUTE);
    assert_eq!(next, Next::Perform(retired_by(24 + 5 * MINUTE)), "the second may still be under way");
}

#[test]
fn a_lost_new_key_reactivates_an_old_key_with_a_pending_deactivation() {
    let inactive = KeyMetadata { status: KeyStatus::Inactive, ..metadata('B', 2) };
    for of_new in [None, Some(inactive)] {
        for of_old in [KeyStatus::Active, KeyStatus::Inactive] {
            let old = KeyMetadata { status: of_old, ..metadata('A', -100 * DAY) };
            let keys = std::iter::once(old).chain(of_new.clone()).collect::<Vec<_>>();
            let look = Event::Listed { keys, at: at(10 + 15 * MINUTE) };
            let after = |mut rotation: Rotation| {
                happen(&mut rotation, &look).expect("legal");
                rotation.next(at(10 + 15 * MINUTE))
            };
            let in_doubt = after(in_doubt_of_deactivating());
            assert_eq!(
                in_doubt,
                Next::Perform(Effect::Reactivate { key: key('A') }),
                "{of_new:?} {of_old:?}"
            );
            let known = after(soaking(asking()));
            assert!(matches!(known, Next::Stuck(_)), "nobody took the old one away: {known:?}");
        }
    }
}

#[test]
fn a_verification_does_not_settle_a_pending_deactivation() {
    let mut rotation = in_doubt_of_deactivating();
    happen(&mut rotation, &verified(30)).expect("legal");
    let rotation = read(rotation, (KeyUsage::Never, KeyUsage::Never), 31);
    let next = after_a_look(&rotation, KeyStatus::Inactive, 40);
    assert_eq!(next, Next::Perform(retired_by(30)), "whatever the gates say");
}

#[test]
fn a_failed_verify_reactivates_an_old_key_with_a_pending_deactivation() {
    let trouble = [
        vec![refused(EffectKind::Verify, RefusalCode::NotInForce, 30)],
        (30..35).map(|seconds| unanswered(EffectKind::Verify, seconds)).collect(),
    ];
    for events in trouble {
        let in_doubt = after(in_doubt_of_deactivating(), &events);
        check(&in_doubt, 40, &Next::Perform(Effect::Reactivate { key: key('A') }));
        assert_eq!(after(soaking(asking()), &events).stage().name(), "soak", "both keys are Active");
    }
}

#[test]
fn a_deleted_new_key_makes_the_rotation_stuck() {
    let rotation = read(soaking(Plan::default()), (used(0, "s3"), KeyUsage::Gone), 3 * DAY);
    check(&rotation, 3 * DAY, &Next::Stuck(Blocker::NewKeyGone { key: key('B') }));
}

// Cooling.

/// The times of the first questions, in seconds after the old key was set Inactive, and the effect with which they
/// begin.
fn questions(plan: Plan, count: usize) -> (Vec<i64>, Option<EffectKind>) {
    let (mut rotation, mut due, mut first) = (cooling(plan), Vec::new(), None);
    for _ in 0..count {
        let now = due.last().copied().unwrap_or(100);
        let Next::Wait { until, why: Waiting::Cool } = rotation.next(at(now)) else {
            panic!("{:?}", rotation.next(at(now)))
        };
        let seconds = until.unix_seconds() - at(0).unix_seconds();
        due.push(seconds);
        let Next::Perform(effect) = rotation.next(until) else { panic!("nothing at {seconds}") };
        first.get_or_insert(effect.doing());
        happen(&mut rotation, &verified(seconds)).expect("legal");
        rotation = looked(&rotation, KeyStatus::Inactive, seconds);
    }
    (due.into_iter().map(|seconds| seconds - 100).collect(), first)
}

#[test]
fn checks_during_cool_come_soon_at_first_and_less_often_later() {
    let soon = [5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 24 * HOUR, 45 * HOUR];
    let asked = questions(Plan { can_ask_vendor: true, ..ungated() }, soon.len());
    assert_eq!(asked, (soon.to_vec(), Some(EffectKind::Verify)));
    let listed = questions(ungated(), soon.len());
    assert_eq!(listed, (soon.to_vec(), Some(EffectKind::List)), "who cannot be asked has its keys looked at");
    let short = Plan { cool: Duration::from_hours(4), ..ungated() };
    assert_eq!(questions(short, 5).0, [5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 4 * HOUR]);
}

#[test]
fn verify_usage_and_listing_come_before_the_delete_of_the_old_key() {
    let plan = Plan { can_ask_vendor: true, cool: Duration::from_hours(2), ..ungated() };
    let mut rotation = cooling(plan);
    let (cooled, ask) = (100 + 2 * HOUR, Next::Perform(Effect::Verify { key: key('B') }));
    check(&rotation, cooled, &ask);
    happen(&mut rotation, &verified(cooled)).expect("legal");
    check(&rotation, cooled, &Next::Perform(Effect::ReadUsage { keys: vec![key('A'), key('B')] }));
    let rotation = read(rotation, used_lately(cooled), cooled);
    let Next::Perform(last) = after_a_look(&rotation, KeyStatus::Inactive, cooled + 15 * MINUTE) else {
        panic!("{:?}", rotation.stage())
    };
    assert_eq!(last.name(), "DeleteAccessKey");
    check(&rotation, cooled + 15 * MINUTE + 1, &ask);
}

#[test]
fn a_use_of_the_old_key_during_cool_restarts_the_cool_stage() {
    let rotation = cooling(ungated());
    let cooled = 100 + 7 * DAY;
    let used_again = read(rotation, (used(3 * DAY, "s3"), used(6 * DAY, "s3")), cooled);
    assert_eq!(used_again.cooled_anew(), Some(at(3 * DAY)));
    check(&used_again, cooled, &Next::Wait { until: at(cooled + 5 * MINUTE), why: Waiting::Cool });
    let again = read(
        looked(&used_again, KeyStatus::Inactive, cooled + 7 * DAY),
        used_lately(cooled + 7 * DAY),
        cooled + 7 * DAY,
    );
    let looked = looked(&again, KeyStatus::Inactive, cooled + 7 * DAY);
    let Next::Perform(last) = looked.next(at(cooled + 7 * DAY)) else { panic!("{:?}", looked.stage()) };
    assert_eq!(last.name(), "DeleteAccessKey");
}

#[test]
fn an_unused_new_key_delays_the_delete_of_the_old_key() {
    let plan = Plan { can_ask_vendor: true, require_use: true, ..ungated() };
    let cooled = 100 + 7 * DAY;
    let rotation = after(cooling(plan), &[verified(cooled)]);
    let unused = read(rotation, (used(0, "s3"), used(50, "s3")), cooled);
    check(&unused, cooled, &Next::Perform(Effect::ListKeys));
    let unused = looked(&unused, KeyStatus::Inactive, cooled);
    let why = Waiting::UseAfterRetirement { since: at(100) };
    check(&unused, cooled, &Next::Wait { until: at(cooled + 21 * HOUR), why });
    assert!(
        matches!(unused.next(at(cooled + 21 * HOUR)), Next::Perform(effect) if effect.doing() != EffectKind::Delete)
    );
}

#[test]
fn without_verify_an_unused_new_key_reactivates_the_old_key_in_cool() {
    let plan = Plan { require_use: true, ..ungated() };
    let soaked = read(soaking(plan), (used(0, "s3"), used(60, "s3")), 90);
    let mut rotation = retire(soaked, 100);
    for seconds in [5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR] {
        rotation = looked(&rotation, KeyStatus::Inactive, 100 + seconds);
    }
    let silent = 100 + 20 * HOUR;
    check(&rotation, silent - 1, &Next::Wait { until: at(silent), why: Waiting::Cool });
    check(&rotation, silent, &Next::Perform(Effect::ReadUsage { keys: vec![key('A'), key('B')] }));
    let in_use = read(rotation.clone(), (used(0, "s3"), used(100 + 19 * HOUR, "s3")), silent);
    assert_eq!(in_use.stage().name(), "cool");
    let silence = read(rotation, (used(0, "s3"), used(60, "s3")), silent);
    check(&silence, silent, &Next::Perform(Effect::Reactivate { key: key('A') }));
}

#[test]
fn two_missing_keys_in_cool_make_the_rotation_stuck() {
    let gone = after(cooling(ungated()), &[Event::Listed { keys: Vec::new(), at: at(HOUR) }]);
    let Next::Stuck(blocker) = gone.next(at(HOUR)) else { panic!("{:?}", gone.stage()) };
    assert_eq!(blocker.code(), "no_key_left");
}

#[test]
fn a_refused_reactivation_is_retried_each_minute() {
    let asked_for = Event::ReactivationAsked {
        by: "alex".to_owned(),
        why: "a job".to_owned(),
        exposed: false,
        at: at(200),
    };
    let mut rotation = after(cooling(ungated()), &[asked_for]);
    let mut now = 200;
    for _ in 0..1000 {
        now += 60;
        check(&rotation, now, &Next::Perform(Effect::Reactivate { key: key('A') }));
        happen(&mut rotation, &refused(EffectKind::Reactivate, RefusalCode::AccessDenied, now))
            .expect("legal");
    }
}

#[test]
fn a_hold_in_cool_blocks_the_delete_and_not_verify_or_reactivation() {
    let held = Event::Held { until: None, by: "alex".to_owned(), why: "a freeze".to_owned(), at: at(200) };
    let rotation = after(cooling(Plan { can_ask_vendor: true, ..ungated() }), &[held]);
    check(&rotation, 100 + 5 * MINUTE, &Next::Perform(Effect::Verify { key: key('B') }));
    let late = 100 + 30 * DAY;
    let looked = looked(&after(rotation.clone(), &[verified(late)]), KeyStatus::Inactive, late);
    assert!(matches!(looked.next(at(late)), Next::Wait { why: Waiting::HeldWhileInactive { .. }, .. }));
    let trouble = after(rotation, &[refused(EffectKind::Verify, RefusalCode::NotInForce, late)]);
    check(&trouble, late, &Next::Perform(Effect::Reactivate { key: key('A') }));
}

/// The journal was restored from a backup: it says that no vendor was offered the key, and a vendor works with it.
#[test]
fn a_hold_never_keeps_a_discarded_key_inactive_while_it_is_in_use() {
    let by = || "alex".to_owned();
    let held = Event::Held { until: None, by: by(), why: "a freeze".to_owned(), at: at(1002) };
    let given_up = Event::Abandoned { by: by(), why: "gone".to_owned(), at: at(1000) };
    let usage =
        |seconds| Event::UsageRead { usage: BTreeMap::from([(key('B'), KeyUsage::Never)]), at: at(seconds) };
    let probed = [listed(1), created(2), Event::Probed { at: at(3) }, given_up, usage(1000)];
    let unused = looked(&after(rotation(asking(), &probed), &[]), KeyStatus::Active, 1000);
    let intent = Intent::Deactivate { key: key('B'), because: RemovalReason::NeverOffered };
    let steps = [
        Event::Intended { intent, at: at(1001) },
        held,
        Event::Deactivated { at: at(1001), request_id: None },
    ];
    // The hold begins while the request is under way, and after its answer.
    for order in [[0, 1, 2], [0, 2, 1]] {
        let rotation = after(unused.clone(), &order.map(|step| steps[step].clone()));
        let (soon, late) = (1001 + HOUR, 1001 + 30 * DAY);
        check(&rotation, soon, &Next::Perform(Effect::ReadUsage { keys: vec![key('B')] }));
        let in_use = read(rotation.clone(), (used(0, "s3"), used(990, "s3")), soon);
        check(&in_use, soon, &Next::Perform(Effect::Reactivate { key: key('B') }));
        // Without a use, nothing is deleted under the hold, and an old reading proves nothing when it ends.
        let quiet = looked(&after(rotation, &[usage(soon)]), KeyStatus::Active, soon);
        assert!(matches!(quiet.next(at(soon)), Next::Wait { why: Waiting::HeldWhileInactive { .. }, .. }));
        let resumed = after(quiet, &[Event::Resumed { by: by(), at: at(late) }]);
        check(&resumed, late, &Next::Perform(Effect::ReadUsage { keys: vec![key('B')] }));
    }
    // A request without an answer may have arrived, so the use is looked for then too.
    let doubtful = read(after(unused, &steps[..2]), (used(0, "s3"), used(990, "s3")), 1100);
    check(&doubtful, 1100, &Next::Perform(Effect::Reactivate { key: key('B') }));
}

#[test]
fn a_clock_that_was_ahead_neither_freezes_nor_shortens_a_wait() {
    let mut rotation = cooling(ungated());
    // The clock was 30 days ahead when the old key was set Inactive.
    rotation.since = at(30 * DAY);
    check(&rotation, 200, &Next::Perform(Effect::ListKeys));
    let anchored = looked(&rotation, KeyStatus::Inactive, 200);
    assert_eq!(anchored.since(), at(200));
    check(&anchored, 200, &Next::Wait { until: at(200 + 5 * MINUTE), why: Waiting::Cool });
}

#[test]
fn a_clock_that_was_behind_does_not_shorten_a_wait() {
    let behind = refused(EffectKind::List, RefusalCode::Other, -3 * DAY);
    let rotation = after(cooling(Plan { cool: Duration::from_hours(24), ..ungated() }), &[behind]);
    assert_eq!(rotation.since(), at(-3 * DAY));
    let anchored = looked(&rotation, KeyStatus::Inactive, 5 * HOUR);
    assert_eq!(anchored.since(), at(100), "the clock was set right: the first date counts again");
    let Next::Wait { until, .. } = anchored.next(at(5 * HOUR)) else {
        panic!("{:?}", anchored.next(at(5 * HOUR)))
    };
    assert!(until > at(5 * HOUR), "{until}");
}

#[test]
fn a_used_key_is_not_discarded_and_an_unsent_delivery_is_no_offer() {
    let probed = [listed(1), created(2), Event::Probed { at: at(3) }];
    let intent = Intent::Deliver { key: key('B'), round: 1 };
    let unsent = Refusal { nothing_sent: true, ..refusal(RefusalCode::Misconfigured) };
    let unsent = Event::Refused { doing: EffectKind::Deliver, refusal: unsent, at: at(5) };
    let given_up = Event::Abandoned { by: "alex".to_owned(), why: "gone".to_owned(), at: at(1000) };
    let intended = |seconds| Event::Intended { intent: intent.clone(), at: at(seconds) };
    let once = after(rotation(asking(), &probed), &[intended(4), unsent.clone(), given_up.clone()]);
    assert!(matches!(once.stage(), Stage::Discard { .. }), "nobody was offered it");
    // An earlier attempt was cut short, and may have sent the key.
    let twice = after(rotation(asking(), &probed), &[intended(4), intended(5), unsent, given_up]);
    assert_eq!(twice.stage(), &Stage::Abandoned);
    let usage = |seen| Event::UsageRead { usage: BTreeMap::from([(key('B'), seen)]), at: at(1000) };
    let used_key = after(once.clone(), &[usage(used(900, "s3"))]);
    let Next::Stuck(blocker) = used_key.next(at(1000)) else { panic!("{:?}", used_key.stage()) };
    assert_eq!(blocker.code(), "not_discarded");
    let unused = looked(&after(once, &[usage(KeyUsage::Never)]), KeyStatus::Active, 1000);
    let inactive = retire(unused, 1001);
    let why = Waiting::Discard { key: key('B') };
    check(&inactive, 1001, &Next::Wait { until: at(1001 + HOUR), why });
    let late = read(inactive, (used(0, "s3"), used(990, "s3")), 1001 + HOUR);
    check(&late, 1001 + HOUR, &Next::Perform(Effect::Reactivate { key: key('B') }));
}

#[test]
fn an_unrecorded_probe_does_not_count_as_a_use_by_a_vendor() {
    let given_up = Event::Abandoned { by: "alex".to_owned(), why: "a mistake".to_owned(), at: at(100) };
    let rotation = after(rotation(asking(), &[listed(1), created(2)]), &[given_up]);
    let usage = |seen| Event::UsageRead { usage: BTreeMap::from([(key('B'), seen)]), at: at(200) };
    let probed = after(rotation.clone(), &[usage(used(8, "sts"))]);
    check(&probed, 200, &Next::Perform(Effect::ListKeys));
    assert!(matches!(after(rotation, &[usage(used(8, "s3"))]).next(at(200)), Next::Stuck(_)));
}

#[test]
fn an_effect_without_a_recorded_intent_is_refused() {
    let forged = Event::Deactivated { at: at(HOUR), request_id: None };
    assert!(soaking(ungated()).apply(&forged).is_err());
    let forged = Event::Deleted { at: at(30 * DAY), request_id: None };
    assert!(cooling(ungated()).apply(&forged).is_err());
}

/// What AWS records for a vendor that works with the new key.
fn used_lately(seconds: i64) -> (KeyUsage, KeyUsage) {
    (used(0, "s3"), used(seconds - HOUR, "s3"))
}

#[test]
fn only_uses_after_a_reactivation_count() {
    let plan = Plan { require_use: true, ..ungated() };
    let asked_for = Event::ReactivationAsked {
        by: "alex".to_owned(),
        why: "a job".to_owned(),
        exposed: false,
        at: at(2000),
    };
    let back = |last_used| {
        let mut rotation = cooling(plan.clone());
        happen(&mut rotation, &asked_for).expect("legal");
        check(&rotation, 2000, &Next::Perform(Effect::Reactivate { key: key('A') }));
        happen(&mut rotation, &Event::Reactivated { at: at(2001) }).expect("legal");
        // A request to set the old key Inactive may be under way for this long.
        check(&rotation, 2900, &Next::Wait { until: at(2901), why: Waiting::Soak });
        check(&rotation, 2901, &Next::Perform(Effect::ListKeys));
        let rotation = looked(&rotation, KeyStatus::Active, 2901);
        read(rotation, (used(0, "s3"), used(last_used, "s3")), 2910).next(at(2910))
    };
    assert!(matches!(back(2000), Next::Wait { why: Waiting::Use { old_used_at: None }, .. }));
    assert_eq!(back(2001), Next::Perform(retired_by(2001)));
}

#[test]
fn a_third_reactivation_followed_by_a_refusal_makes_a_rotation_stuck() {
    let plan = Plan { can_ask_vendor: true, ..ungated() };
    let mut rotation = cooling(plan);
    for time in 1..=3 {
        let begun = time * DAY;
        happen(&mut rotation, &refused(EffectKind::Verify, RefusalCode::NotInForce, begun)).expect("legal");
        happen(&mut rotation, &Event::Reactivated { at: at(begun + 1) }).expect("legal");
        let mut denied = rotation.clone();
        denied.apply(&refused(EffectKind::Verify, RefusalCode::NotInForce, begun + 2)).expect("legal");
        assert_eq!(denied.stage().name(), if time < 3 { "soak" } else { "stuck" }, "time {time}");
        happen(&mut rotation, &verified(begun + 10)).expect("legal");
        happen(&mut rotation, &Event::Deactivated { at: at(begun + 11), request_id: None }).expect("legal");
    }
}

#[test]
fn a_reactivation_of_a_missing_old_key_makes_the_rotation_stuck() {
    let mut rotation = cooling(ungated());
    let asked_for = Event::ReactivationAsked {
        by: "alex".to_owned(),
        why: "a job".to_owned(),
        exposed: false,
        at: at(200),
    };
    happen(&mut rotation, &asked_for).expect("legal");
    for (try_, seconds) in [(1, 201), (2, 210)] {
        happen(&mut rotation, &refused(EffectKind::Reactivate, RefusalCode::NoSuchKey, seconds))
            .expect("legal");
        assert!(matches!(rotation.next(at(seconds)), Next::Wait { .. }), "answer {try_} may be late");
    }
    happen(&mut rotation, &refused(EffectKind::Reactivate, RefusalCode::NoSuchKey, 250)).expect("legal");
    check(&rotation, 250, &Next::Stuck(Blocker::OldKeyGone { key: key('A') }));
}

#[test]
fn the_stage_names_the_new_key_from_its_creation_on() {
    let named = |rotation: &Rotation| rotation.stage().new_key().cloned();
    assert_eq!(named(&rotation(asking(), &[listed(1)])), None);
    assert_eq!(named(&rotation(asking(), &[listed(1), created(2)])), Some(key('B')));
    assert_eq!(named(&soaking(asking())), Some(key('B')));
    let stuck = read(soaking(Plan::default()), (used(0, "s3"), KeyUsage::Gone), 3 * DAY);
    assert_eq!((stuck.stage().name(), named(&stuck)), ("stuck", Some(key('B'))));
}

// Abandoning.

#[test]
fn an_abandoned_rotation_ends_at_once_or_discards_its_own_key_first() {
    let give_up = |plan: Plan, events: &[Event]| {
        let mut rotation = rotation(plan, events);
        let given_up = Event::Abandoned { by: "alex".to_owned(), why: "gone".to_owned(), at: at(1000) };
        happen(&mut rotation, &given_up).expect("legal");
        rotation.stage().clone()
    };
    let discard = Stage::Discard { key: key('B'), known: Discarding::default() };
    let probed = [listed(1), created(2), Event::Probed { at: at(3) }];
    assert_eq!(give_up(asking(), &[]), Stage::Abandoned);
    assert_eq!(give_up(asking(), &[listed(1)]), Stage::Abandoned);
    assert_eq!(give_up(asking(), &probed[..2]), discard);
    assert_eq!(give_up(asking(), &probed), discard);
    let offer = Event::Intended { intent: Intent::Deliver { key: key('B'), round: 1 }, at: at(4) };
    let offered: Vec<Event> = probed.into_iter().chain([offer]).collect();
    assert_eq!(give_up(asking(), &offered), Stage::Abandoned, "whoever was offered it may use it");
    let doubtful = [listed(1), Event::Intended { intent: Intent::Create, at: at(2) }];
    assert_eq!(give_up(asking(), &doubtful), Stage::Survey, "a key may turn up");
}

#[test]
fn an_abandon_after_an_unanswered_create_waits_for_one_listing() {
    let mut doubtful = rotation(
        Plan::default(),
        &[
            listed(1),
            Event::Intended { intent: Intent::Create, at: at(2) },
            unanswered(EffectKind::Create, 20),
            Event::Abandoned { by: "alex".to_owned(), why: "gone".to_owned(), at: at(30) },
        ],
    );
    let believable = 20 + 15 * MINUTE;
    check(&doubtful, believable - 1, &Next::Wait { until: at(believable), why: Waiting::Doubt });
    check(&doubtful, believable, &Next::Perform(Effect::ListKeys));
    let found = |others: &[KeyMetadata]| {
        let keys = [&[metadata('A', -100 * DAY)], others].concat();
        let mut rotation = doubtful.clone();
        happen(&mut rotation, &Event::Listed { keys, at: at(believable) }).expect("legal");
        rotation.stage().clone()
    };
    assert_eq!(found(&[]), Stage::Abandoned);
    assert_eq!(found(&[metadata('X', -DAY)]), Stage::Abandoned, "a stranger's key is nothing to wait for");
    assert_eq!(found(&[metadata('X', 10)]), Stage::Suspect { key: key('X') });
    // A listing that was refused is repeated after its own wait, even if an operator resumes the rotation before.
    doubtful.apply(&refused(EffectKind::List, RefusalCode::Throttled, believable)).expect("legal");
    doubtful.apply(&Event::Resumed { by: "alex".to_owned(), at: at(believable + 1) }).expect("legal");
    check(&doubtful, believable + 1, &Next::Wait { until: at(believable + 5), why: Waiting::Doubt });
}

#[test]
fn a_reactivation_is_refused_after_the_intent_to_delete() {
    let asked_for = Event::ReactivationAsked {
        by: "alex".to_owned(),
        why: "a job".to_owned(),
        exposed: false,
        at: at(8 * DAY),
    };
    let mut rotation = cooling(ungated());
    rotation.clone().apply(&asked_for).expect("it is Inactive and there");
    let because = RemovalReason::Superseded { by: key('B'), verified_at: at(12) };
    let intent = Intent::Delete { key: key('A'), because };
    happen(&mut rotation, &Event::Intended { intent, at: at(8 * DAY) }).expect("legal");
    happen(&mut rotation, &asked_for).expect_err("the deletion may be under way");
}

#[test]
fn a_finished_rotation_refuses_abandon_and_reactivation() {
    let mut done = cooling(ungated());
    happen(&mut done, &Event::Deleted { at: at(8 * DAY), request_id: None }).expect("legal");
    check(&done, 9 * DAY, &Next::Ended(Ending::Done));
    let given_up = Event::Abandoned { by: "alex".to_owned(), why: "gone".to_owned(), at: at(9 * DAY) };
    let asked_for = Event::ReactivationAsked {
        by: "alex".to_owned(),
        why: "a job".to_owned(),
        exposed: false,
        at: at(9 * DAY),
    };
    for lever in [given_up, asked_for] {
        done.clone().apply(&lever).expect_err("it is over");
    }
}

#[test]
fn the_secret_is_kept_from_the_creation_until_the_vendor_is_verified() {
    let events = [
        listed(1),
        created(2),
        Event::Probed { at: at(3) },
        Event::Delivered { at: at(4) },
        verified(5),
        Event::Deactivated { at: at(6), request_id: None },
    ];
    let needed: Vec<bool> =
        (0..=events.len()).map(|count| rotation(asking(), &events[..count]).needs_secret()).collect();
    assert_eq!(needed, [false, false, true, true, true, false, false]);
}

// The hand-over by a person.

#[test]
fn a_pending_reveal_gives_a_reminder_once_a_day() {
    let made = by_hand(&[]);
    let reveal = |days| Waiting::Reveal { since: at(10), days };
    check(&made, 10, &Next::Wait { until: at(10 + DAY), why: reveal(0) });
    check(&made, 9 + DAY, &Next::Wait { until: at(10 + DAY), why: reveal(0) });
    check(&made, 10 + DAY, &Next::Wait { until: at(10 + 2 * DAY), why: reveal(1) });
    check(&made, 10 + 3 * DAY, &Next::Wait { until: at(10 + 4 * DAY), why: reveal(3) });
    assert_eq!(made.hand_over(at(10 + DAY)), Some(reveal(1)));
}

#[test]
fn usage_is_read_while_a_hand_over_is_pending() {
    let shown = Event::Revealed { by: "alex".to_owned(), why: None, recipient: None, at: at(HOUR) };
    let revealed = by_hand(&[shown]);
    let why = |days| Waiting::HandOver { revealed_at: at(HOUR), days };
    let Next::Wait { until, why: waiting } = revealed.next(at(HOUR)) else { panic!("a look comes later") };
    assert_eq!(waiting, why(0));
    assert_eq!(revealed.next(until), Next::Perform(Effect::ReadUsage { keys: vec![key('B')] }));
    assert_eq!(revealed.hand_over(until), Some(why(0)), "also when a look is due");
    assert_eq!(revealed.hand_over(at(HOUR + DAY)), Some(why(1)));
    assert_eq!(soaking(Plan::default()).hand_over(at(DAY)), None);
}

// Another listing of the keys.

#[test]
fn a_missing_new_key_counts_as_gone_only_after_listings_have_settled() {
    let settled = 10 + i64::try_from(listing::LISTING_SETTLES.as_secs()).expect("minutes");
    let after = |seconds| {
        let mut rotation = soaking(ungated());
        happen(&mut rotation, &listed(seconds)).expect("legal");
        rotation.stage().name()
    };
    assert_eq!((after(settled - 1), after(settled)), ("soak", "stuck"));
}

#[test]
fn an_active_old_key_in_cool_counts_only_after_listings_have_settled() {
    let settled = 100 + i64::try_from(listing::LISTING_SETTLES.as_secs()).expect("minutes");
    let after = |seconds| looked(&cooling(asking_nobody()), KeyStatus::Active, seconds).stage().name();
    assert_eq!((after(101), after(settled - 1), after(settled)), ("cool", "cool", "soak"));
}

#[test]
fn an_old_key_found_active_in_cool_counts_as_a_reactivation() {
    let cooling = cooling(Plan { require_use: true, ..ungated() });
    assert_eq!(cooling.reactivations(), 0);
    let back = looked(&cooling, KeyStatus::Active, HOUR);
    assert_eq!((back.stage().name(), back.reactivations()), ("soak", 1));
    let twice = looked(&retire(back.clone(), 2 * HOUR), KeyStatus::Active, 3 * HOUR);
    assert_eq!(twice.reactivations(), 2);
    // A use before the reactivation proves nothing.
    let read_at = HOUR + 301;
    let after = |used_at| {
        let looked = looked(&back, KeyStatus::Active, read_at - 1);
        read(looked, (used(0, "s3"), used(used_at, "s3")), read_at).next(at(read_at))
    };
    assert!(matches!(after(HOUR - 1), Next::Wait { why: Waiting::Use { old_used_at: None }, .. }));
    assert_eq!(after(HOUR), Next::Perform(retired_by(HOUR)));
}

#[test]
fn a_new_key_that_another_person_took_away_is_named_with_what_happened_to_it() {
    let inactive_old = KeyMetadata { status: KeyStatus::Inactive, ..metadata('A', -9000) };
    let new_as = |status| KeyMetadata { status, ..metadata('B', 2) };
    for (keys, what) in [
        (vec![inactive_old.clone()], "was deleted"),
        (vec![inactive_old.clone(), new_as(KeyStatus::Inactive)], "was set Inactive"),
        (vec![inactive_old, new_as(KeyStatus::Expired)], "expired"),
    ] {
        let mut rotation = cooling(asking_nobody());
        happen(&mut rotation, &Event::Listed { keys, at: at(HOUR) }).expect("legal");
        assert!(matches!(rotation.stage(), Stage::Restore { .. }));
        let sentence = format!("the new key {} {what} outside keyround", key('B'));
        assert_eq!(rotation.last_fault(), Some(sentence.as_str()));
    }
}

#[test]
fn a_stuck_rotation_records_the_stage_in_which_it_resumes() {
    let stuck = rotation(asking(), &[Event::Listed { keys: Vec::new(), at: at(1) }]);
    assert_eq!((stuck.stage().name(), stuck.stage().resumes_in()), ("stuck", Some("survey")));
    assert_eq!(soaking(ungated()).stage().resumes_in(), None);
}

#[test]
fn an_inactive_old_key_in_soak_is_restored_only_after_a_reactivation() {
    let is_wanted_back = |rotation: &Rotation| {
        matches!(looked(rotation, KeyStatus::Inactive, DAY).stage(), Stage::Restore { .. })
    };
    assert!(!is_wanted_back(&soaking(ungated())), "somebody set it Inactive before it was retired");
    let mut restored = cooling(ungated());
    for event in [
        Event::ReactivationAsked {
            by: "alex".to_owned(),
            why: "an outage".to_owned(),
            exposed: false,
            at: at(200),
        },
        Event::Reactivated { at: at(201) },
    ] {
        happen(&mut restored, &event).expect("legal");
    }
    assert!(is_wanted_back(&restored), "a late request undid it");
    let Effect::Deactivate { key, evidence } = retired_by(12) else { panic!("it deactivates") };
    let intent = Intent::Deactivate { key, because: evidence.because().clone() };
    restored.apply(&Event::Intended { intent, at: at(HOUR) }).expect("legal");
    assert!(!is_wanted_back(&restored), "it is being retired again");
}

// Who used a key.

#[test]
fn a_cloudtrail_event_separates_a_vendor_use_from_a_probe() {
    let is_seen = |usage| after_use(KeyUsage::Never, usage) == Next::Perform(Effect::ListKeys);
    assert!(!is_seen(used(10, "sts")));
    assert!(is_seen(seen(used(10, "sts"), 40, "sts")));
    assert!(
        is_seen(seen(used(10, "sts"), 5, "ec2")),
        "IAM's record is our probe, later than the vendor's use"
    );
    assert!(is_seen(seen(KeyUsage::Never, 40, "sts")));
    assert!(!is_seen(seen(KeyUsage::Gone, 40, "sts")));
}

#[test]
fn a_cloudtrail_event_before_a_reactivation_does_not_count() {
    let asked_for = Event::ReactivationAsked {
        by: "alex".to_owned(),
        why: "a job".to_owned(),
        exposed: false,
        at: at(2000),
    };
    let back = |seen_at| {
        let mut rotation = cooling(Plan { require_use: true, ..ungated() });
        for event in [asked_for.clone(), Event::Reactivated { at: at(2001) }] {
            happen(&mut rotation, &event).expect("legal");
        }
        let rotation = looked(&rotation, KeyStatus::Active, 2301);
        let new = seen(used(1990, "s3"), seen_at, "sqs");
        read(rotation, (used(0, "s3"), new), 2310).next(at(2310))
    };
    assert!(matches!(back(2000), Next::Wait { why: Waiting::Use { old_used_at: None }, .. }));
    assert_eq!(back(2001), Next::Perform(retired_by(2001)));
}

#[test]
fn an_sts_call_after_a_reveal_does_not_complete_a_hand_over() {
    let shown = Event::Revealed { by: "alex".to_owned(), why: None, recipient: None, at: at(HOUR) };
    let after = |new| {
        let mut rotation = by_hand(std::slice::from_ref(&shown));
        let usage = BTreeMap::from([(key('B'), new)]);
        happen(&mut rotation, &Event::UsageRead { usage, at: at(2 * HOUR) }).expect("legal");
        rotation.stage().name()
    };
    assert_eq!(after(seen(used(10, "sts"), HOUR + 5, "sts")), "deliver");
    assert_eq!(after(seen(used(10, "sts"), HOUR + 5, "sqs")), "verify");
}

#[test]
fn a_cloudtrail_event_never_makes_the_last_use_of_a_key_earlier() {
    let last_used = |usage| match usage {
        KeyUsage::Used { last_used_at, service, .. } => Some((last_used_at, service)),
        KeyUsage::Never | KeyUsage::Gone => None,
    };
    let two_days = 2 * DAY;
    for (recorded, expect) in [
        (KeyUsage::Never, Some((at(two_days), "sqs".to_owned()))),
        (used(DAY, "s3"), Some((at(two_days), "sqs".to_owned()))),
        (used(two_days, "s3"), Some((at(two_days), "s3".to_owned()))),
        (used(3 * DAY, "s3"), Some((at(3 * DAY), "s3".to_owned()))),
        (KeyUsage::Gone, None),
    ] {
        assert_eq!(last_used(seen(recorded, two_days, "sqs")), expect);
    }
    let old = seen(used(DAY, "ec2"), two_days, "sqs");
    let waiting =
        read(soaking(Plan::default()), (old, used(two_days, "s3")), two_days + 1).next(at(two_days + 1));
    let why = Waiting::Quiet { last_used_at: at(two_days), service: "sqs".to_owned() };
    assert_eq!(waiting, Next::Wait { until: at(3 * DAY + 15 * MINUTE), why });
}

#[test]
fn the_caller_is_shown_with_the_use_that_cloudtrail_recorded() {
    let by = "(ListQueues) by arn:aws:iam::111122223333:user/vendor-acme, from 203.0.113.7 with aws-cli/2.31 \
              (CloudTrail event e-1)";
    let latest = seen(used(10, "sts"), 40, "sqs").in_words();
    assert_eq!(latest, format!("used at 2027-01-15T08:00:40Z for sqs {by}"));
    let earlier = seen(used(50, "sts"), 40, "sqs").in_words();
    let both = "used at 2027-01-15T08:00:50Z for sts, and seen at 2027-01-15T08:00:40Z for sqs";
    assert_eq!(earlier, format!("{both} {by}"));
    assert_eq!(used(50, "sts").in_words(), "used at 2027-01-15T08:00:50Z for sts");
}

// Events in words.

#[test]
fn the_text_of_an_event_gives_its_details() {
    let (by, why) = (|| "alex".to_owned(), || "a freeze".to_owned());
    let superseded = || RemovalReason::Superseded { by: key('B'), verified_at: at(12) };
    let usage = BTreeMap::from([(key('A'), KeyUsage::Never), (key('B'), used(10, "s3"))]);
    for (event, words) in [
        (started(Plan::default()), format!("acme: {} of vendor-acme is to be replaced: too_old", key('A'))),
        (Event::Intended { intent: Intent::Create, at: at(0) }, "to make a new key".to_owned()),
        (
            Event::Intended { intent: Intent::Delete { key: key('A'), because: superseded() }, at: at(0) },
            format!("to delete {}: replaced by {}, as known at 2027-01-15T08:00:12Z", key('A'), key('B')),
        ),
        (
            Event::Intended {
                intent: Intent::Deactivate { key: key('B'), because: RemovalReason::NeverOffered },
                at: at(0),
            },
            format!("to set {} Inactive: it was never offered to the vendor", key('B')),
        ),
        (
            Event::Deleted { at: at(0), request_id: Some("r-1".to_owned()) },
            "deleted (request r-1)".to_owned(),
        ),
        (
            Event::UsageRead { usage, at: at(20) },
            format!("{} never used, {} used at 2027-01-15T08:00:10Z for s3", key('A'), key('B')),
        ),
        (
            Event::Revealed { by: by(), why: Some(why()), recipient: Some("age1x".to_owned()), at: at(0) },
            "the new key is shown to alex, encrypted to age1x, again: a freeze".to_owned(),
        ),
        (unanswered(EffectKind::Deliver, 0), "delivering the new key: no answer".to_owned()),
        (Event::Held { until: None, by: by(), why: why(), at: at(0) }, "by alex: a freeze".to_owned()),
    ] {
        assert_eq!(event.in_words(), words);
    }
}

#[test]
fn external_text_is_one_bounded_line_of_plain_characters() {
    assert_eq!(UseEvidence::plain("aws-cli/2.31\n\u{1b}[31m \u{202e}x~"), "aws-cli/2.31[31m x~");
    assert_eq!(UseEvidence::plain(&"x".repeat(200)), "x".repeat(160));
}

fn verified(seconds: i64) -> Event {
    Event::Verified { by: Verification::Asked, at: at(seconds) }
}

fn refusal(code: RefusalCode) -> Refusal {
    Refusal {
        code,
        sentence: code.as_str().to_owned(),
        retry_after: None,
        nothing_sent: false,
        pairs: Vec::new(),
        said: None,
    }
}

fn refused(doing: EffectKind, code: RefusalCode, seconds: i64) -> Event {
    Event::Refused { doing, refusal: refusal(code), at: at(seconds) }
}

fn unanswered(doing: EffectKind, seconds: i64) -> Event {
    let doubt = Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
    Event::Unanswered { doing, doubt, at: at(seconds) }
}

fn used(seconds: i64, service: &str) -> KeyUsage {
    KeyUsage::Used { last_used_at: at(seconds), service: service.to_owned(), region: None, witness: None }
}

/// A use that IAM recorded, combined with a call that CloudTrail recorded.
fn seen(recorded: KeyUsage, seconds: i64, service: &str) -> KeyUsage {
    recorded.witnessed(UseEvidence {
        event_id: "e-1".to_owned(),
        at: at(seconds),
        service: service.to_owned(),
        call: "ListQueues".to_owned(),
        by: "arn:aws:iam::111122223333:user/vendor-acme".to_owned(),
        address: "203.0.113.7".to_owned(),
        agent: "aws-cli/2.31".to_owned(),
    })
}

/// A plan whose only wait is the cooling time.
fn ungated() -> Plan {
    Plan { soak: Duration::ZERO, require_use: false, quiet_for: Duration::ZERO, ..asking_nobody() }
}

fn used_once() -> Plan {
    Plan { quiet_for: Duration::ZERO, ..Plan::default() }
}

fn asking_nobody() -> Plan {
    Plan { prove_successes: 1, prove_every: Duration::ZERO, ..Plan::default() }
}

fn asking() -> Plan {
    Plan { can_ask_vendor: true, ..asking_nobody() }
}

/// A rotation in its soak: probed at 10, accepted at 11, verified at 12.
fn soaking(plan: Plan) -> Rotation {
    let probes = (0..plan.prove_successes).map(|_| Event::Probed { at: at(10) });
    let begin = [listed(1), created(2)].into_iter().chain(probes);
    let events: Vec<Event> = begin.chain([Event::Delivered { at: at(11) }, verified(12)]).collect();
    rotation(plan, &events)
}

/// A rotation whose new key a person hands over. The key may be shown from 10 on.
fn by_hand(events: &[Event]) -> Rotation {
    let begin = [listed(1), created(2), Event::Probed { at: at(10) }];
    rotation(Plan { by_hand: true, ..asking_nobody() }, &[&begin, events].concat())
}

/// A soaking rotation with a pending request from 20 to set the old key Inactive, a day before the gates allow it.
fn in_doubt_of_deactivating() -> Rotation {
    let Effect::Deactivate { key, evidence } = retired_by(12) else { panic!("it deactivates") };
    let intent = Intent::Deactivate { key, because: evidence.because().clone() };
    let mut rotation = soaking(asking());
    happen(&mut rotation, &Event::Intended { intent, at: at(20) }).expect("legal");
    rotation
}

/// A rotation in its cooling time: probed at 10, accepted at 11, verified at 12, the old key set Inactive at 100.
fn cooling(plan: Plan) -> Rotation {
    retire(soaking(plan), 100)
}

fn retire(mut rotation: Rotation, seconds: i64) -> Rotation {
    happen(&mut rotation, &Event::Deactivated { at: at(seconds), request_id: None }).expect("legal");
    rotation
}

fn read(mut rotation: Rotation, (old, new): (KeyUsage, KeyUsage), seconds: i64) -> Rotation {
    let usage = BTreeMap::from([(key('A'), old), (key('B'), new)]);
    happen(&mut rotation, &Event::UsageRead { usage, at: at(seconds) }).expect("legal");
    rotation
}

/// What follows these uses in the soak, if the new key must have been used and the old one need not be quiet.
fn after_use(of_old: KeyUsage, of_new: KeyUsage) -> Next {
    read(soaking(used_once()), (of_old, of_new), DAY + 100).next(at(DAY + 100))
}

fn after(mut rotation: Rotation, events: &[Event]) -> Rotation {
    for event in events {
        rotation.apply(event).expect("legal");
    }
    rotation
}

fn looked(rotation: &Rotation, old: KeyStatus, seconds: i64) -> Rotation {
    let old = KeyMetadata { status: old, ..metadata('A', -100 * DAY) };
    let mut rotation = rotation.clone();
    happen(&mut rotation, &Event::Listed { keys: vec![old, metadata('B', 2)], at: at(seconds) })
        .expect("legal");
    rotation
}

/// What follows a listing that shows the old key in this state. The listing must be the only step that is left.
#[track_caller]
fn after_a_look(rotation: &Rotation, old: KeyStatus, seconds: i64) -> Next {
    check(rotation, seconds, &Next::Perform(Effect::ListKeys));
    looked(rotation, old, seconds).next(at(seconds))
}

fn retired_by(verified_at: i64) -> Effect {
    let because = RemovalReason::Superseded { by: key('B'), verified_at: at(verified_at) };
    Effect::Deactivate { key: key('A'), evidence: Evidence::new(because) }
}

#[track_caller]
fn check(rotation: &Rotation, seconds: i64, expect: &Next) {
    assert_eq!(rotation.next(at(seconds)), *expect);
}
