//! What `status` and the status page show of a user and of the history, without asking AWS.

use keyround::core::ids::AccessKeyId;
use keyround::core::rotation::{Intent, KeyMetadata, KeyStatus, RemovalReason, Verification};
use keyround::engine::Pass;
use keyround::ports::Shown;
use keyround::ports::overview::{OutcomeCounts, Overview, VendorStatus};
use keyround::status::{StatusStore, StatusView};

use super::*;

const OTHER: &str = "AKIASOMEBODYELSES000";

#[tokio::test]
async fn status_shows_the_keys_of_the_rotation_and_the_other_listed_keys() {
    for (soak, stage, expected) in [
        ("1h", Some("soak"), &["other Active", "old Active", "new Active"][..]),
        ("0s", None, &["other Active", "old Active"]),
    ] {
        let house = House::new(&HASTE.replace("soak = \"0s\"", &format!("soak = \"{soak}\"")), &["acme"]);
        let old = house.old_key("acme");
        let mut found = house.once(WaitMode::Short).await;
        // A listing from an earlier time: the rotation knows the state of its own two keys better.
        let listed = [old, OTHER.parse().expect("a key"), house.old_key("acme")];
        let of_before = |id| KeyMetadata { id, status: KeyStatus::Expired, created_at: house.stage.now() };
        found[0].keys = listed.map(of_before).into();
        found[0].keys[1].status = KeyStatus::Active;
        let overview = shown(&house, &found).await;
        let status = &overview.status.vendors[0];
        assert_eq!(status.rotation.as_ref().map(|rotation| rotation.stage), stage);
        assert_eq!(roles(status), expected, "{stage:?}");
        let made = house.time_of("acme", "created").await;
        let newest = status.keys.last().expect("a key");
        assert_eq!(
            (newest.created_at, newest.access_key_id.as_str()),
            (made, house.old_key("acme").as_str())
        );
    }
}

#[tokio::test]
async fn rotations_and_deliveries_are_counted_by_outcome() {
    let house = House::new(HASTE, &["acme", "gone"]);
    house.is("gone", How::Gone);
    house.once(WaitMode::Short).await;
    let count = |counts: &BTreeMap<OutcomeCounts, u64>, vendor: &str, outcome: &'static str| {
        counts.get(&OutcomeCounts { vendor: vendor.to_owned(), outcome }).copied().unwrap_or_default()
    };
    let overview = shown(&house, &[]).await;
    assert_eq!(count(&overview.rotations, "acme", "done"), 1);
    assert_eq!(count(&overview.deliveries, "acme", "accepted"), 1);
    assert_eq!(count(&overview.deliveries, "gone", "refused"), 1);
    assert_eq!((overview.rotations.len(), overview.deliveries.len()), (1, 2));
}

#[tokio::test]
async fn a_rotation_is_counted_when_it_is_done_or_abandoned_and_not_before() {
    let house = House::new(HASTE, &["acme", "given-up", "giving-up"]);
    let at = house.stage.now();
    let new: AccessKeyId = OTHER.parse().expect("a key");
    let active = |id| KeyMetadata { id, status: KeyStatus::Active, created_at: at };
    let begun = |vendor: &str| {
        let listed = Event::Listed { keys: vec![active(house.old_key(vendor))], at };
        vec![
            started(&subject(vendor), &house),
            listed,
            Event::Intended { intent: Intent::Create, at },
            Event::Created { key: new.clone(), at, request_id: None },
        ]
    };
    let intended = |intent| Event::Intended { intent, at };
    let because = || RemovalReason::NeverOffered;
    let deactivated = |key: AccessKeyId| {
        let intent = Intent::Deactivate { key, because: because() };
        [intended(intent), Event::Deactivated { at, request_id: None }]
    };
    let deliver = intended(Intent::Deliver { key: new.clone(), round: 1 });
    let abandoned = Event::Abandoned { by: "alex".to_owned(), why: "a mistake".to_owned(), at };
    let somebody_was_faster = [
        vec![Event::Probed { at }; 3],
        vec![deliver, Event::Delivered { at }, Event::Verified { by: Verification::Asked, at }],
        deactivated(house.old_key("acme")).to_vec(),
        vec![Event::Listed { keys: vec![active(new.clone())], at }],
    ];
    // An abandoned rotation has not finished while it still discards its own new key.
    let giving_up = [&[abandoned][..], &deactivated(new.clone())].concat();
    let delete = intended(Intent::Delete { key: new.clone(), because: because() });
    let given_up = [&giving_up[..], &[delete, Event::Deleted { at, request_id: None }]].concat();
    for (vendor, rest) in
        [("acme", somebody_was_faster.concat()), ("given-up", given_up), ("giving-up", giving_up)]
    {
        let id = RotationId::new(&subject(vendor), &house.old_key(vendor), at);
        house.has_written(id, &[begun(vendor), rest].concat()).await;
    }
    let counted = shown(&house, &[]).await.rotations;
    let counted: Vec<_> =
        counted.iter().map(|(tally, count)| (&*tally.vendor, tally.outcome, *count)).collect();
    assert_eq!(counted, [("acme", "done", 1), ("given-up", "abandoned", 1)]);
}

#[tokio::test]
async fn owner_and_account_come_from_the_configuration_if_otherwise_unknown() {
    let house = House::young(HASTE, &["acme"]);
    let account = "[account.production]\nid = \"111122223333\"\nrole_arn = \"arn:aws:iam::111122223333:role/keyround\"\n";
    let owned = |name: &str| format!("[vendor.{name}]\nowner = \"{name}@example.com\"");
    let acme = toml(HASTE, &["acme"])
        .replace("[vendor.acme]", &format!("{}\naccount = \"production\"", owned("acme")));
    let role = format!(
        "{}\nrole_arn = \"arn:aws:iam::111122223333:role/vendor\"\nvendor_account_id = \"444455556666\"\n",
        owned("role")
    );
    let seen = status(&house.world(), &[]).await.expect("a journal");
    house.configure(&load(&format!("{account}{acme}{role}")));
    let roles = status(&house.world(), &["role".parse().expect("a name")]).await.expect("a journal");
    let unasked = seen.into_iter().map(|user_report| UserReport { account_id: None, ..user_report });
    let overview = shown(&house, &unasked.chain(roles).collect::<Vec<_>>()).await;
    let rows = overview.status.vendors.iter().map(|row| (row.owner.as_deref(), row.account_id.as_deref()));
    let expected = [(Some("acme@example.com"), Some("111122223333")), (Some("role@example.com"), None)];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    assert_eq!(overview.status.vendors[0].max_age, Some(90 * DAY));
}

#[tokio::test]
async fn a_stuck_rotation_is_reported_with_the_command_to_continue() {
    let house = House::new(HASTE, &["gone", "taken"]);
    house.is("gone", How::Gone);
    house.asked(&["gone"], false).await;
    let taken = subject("taken");
    let id = RotationId::new(&taken, &house.old_key("taken"), house.stage.now());
    let events = [started(&taken, &house), Event::Listed { keys: Vec::new(), at: house.stage.now() }];
    house.has_written(id, &events).await;
    let found = status(&house.world(), &[]).await.expect("a journal");
    let told: Vec<_> =
        found.iter().map(|user_report| (user_report.verdict.reason, user_report.sentence())).collect();
    let [(gone, go_on), (taken, give_up)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((*gone, *taken), ("vendor_gone", "old_key_gone"));
    assert!(go_on.ends_with("; to go on: `keyround resume gone`"), "{go_on}");
    assert!(give_up.ends_with("; to go on: `keyround abandon taken --why REASON`"), "{give_up}");
}

#[tokio::test]
async fn a_pending_manual_delivery_is_reported_with_its_next_command() {
    let house = House::new(HASTE, &["acme"]);
    let by_hand = "[vendor.acme]\niam_user = \"user-acme\"\n[[vendor.acme.deliver]]\nkind = \"manual\"\n\
                   instructions = \"Log in.\"\n";
    house.configure(&load(&format!("[defaults]\n{HASTE}{by_hand}")));
    let found = house.once(WaitMode::Short).await;
    assert!(found[0].sentence().ends_with("; to go on: `keyround reveal acme`"), "{}", found[0].sentence());
    let (by, at) = ("alex".to_owned(), house.stage.now());
    house.pull("acme", Event::Revealed { by, recipient: None, why: None, at }).await;
    let found = house.once(WaitMode::Short).await;
    assert!(found[0].sentence().ends_with("; to go on: `keyround ack acme`"), "{}", found[0].sentence());
}

/// The overview after a full pass that found these users.
async fn shown(house: &House, found: &[UserReport]) -> Overview {
    let status_store = Arc::new(StatusStore::default());
    status_store.pass_ended(&Pass::of_a_moment(house.stage.now(), true, found.to_vec()));
    let (_newest, worlds) = watch::channel(house.world());
    StatusView::new(worlds, status_store).overview().await
}

fn roles(status: &VendorStatus) -> Vec<String> {
    status.keys.iter().map(|key| format!("{} {}", key.role, key.status)).collect()
}
