//! Presets that write the id and the secret in two requests, with each write refused, unanswered, or to a name that
//! does not exist.

use std::collections::BTreeSet;
use std::time::Duration;

use keyround::config::catalogue::{Preset, catalogue};
use keyround::config::settings::{DeliverStep, Writes};
use keyround::core::rotation::{
    AtVendor, Doubt, EffectKind, Event, Half, Halves, Intent, KeyMetadata, KeyStatus, Plan, Rotation,
};
use keyround::core::secret::Secret;
use keyround::ports::{Fault, Offer};
use serde_json::Value;

use super::conversation::Conversation;
use super::{NEW_SECRET, conversation, key_access, offer, set_up, settings};

/// The presets of this kind in the catalogue, with their conversations.
fn pairs() -> Vec<(Preset, Conversation)> {
    let has_pair = |preset: &Preset| {
        let settings = settings(preset, &conversation(&preset.name));
        let mut steps = key_access(&settings).deliver.iter();
        steps.any(|step| matches!(step, DeliverStep::Http(step) if step.writes == Some(Writes::Secret)))
    };
    let pairs = catalogue().into_iter().filter(has_pair);
    pairs.map(|preset| (preset.clone(), conversation(&preset.name))).collect()
}

/// The name of this value at the vendor, by the parameter of the preset.
fn named(preset: &Preset, conversation: &Conversation, parameter: &str) -> String {
    let said = conversation.params.get(parameter).and_then(Value::as_str).map(str::to_owned);
    let default = || {
        let parameter = preset.parameters.iter().find(|one| one.name == parameter).expect("the parameter");
        parameter.default.clone().expect("a default").trim_matches('"').to_owned()
    };
    said.unwrap_or_else(default)
}

#[test]
fn sixteen_presets_write_the_id_before_the_secret() {
    let names: BTreeSet<String> = pairs().into_iter().map(|(preset, _)| preset.name).collect();
    assert_eq!(names.len(), 16, "{names:?}");
    for (preset, conversation) in pairs() {
        let settings = settings(&preset, &conversation);
        let written = key_access(&settings).deliver.iter().filter_map(|step| match step {
            DeliverStep::Http(step) => step.writes,
            _ => None,
        });
        assert_eq!(written.collect::<Vec<_>>(), [Writes::Id, Writes::Secret], "{}", preset.name);
    }
}

#[tokio::test]
async fn a_missing_secret_name_is_found_before_anything_is_written() {
    for (preset, conversation) in pairs() {
        for parameter in ["id_name", "secret_name"] {
            let name = named(&preset, &conversation, parameter);
            let (vendor, acme) = set_up(&preset, &conversation);
            vendor.hide(&name);
            vendor.remember();
            let fault =
                acme.deliver(&offer(0), &Secret::from(NEW_SECRET)).await.expect_err("it is not there");
            let Fault::Refused(refusal) = &fault else { panic!("{}: {fault:?}", preset.name) };
            assert!(refusal.nothing_sent, "{} {name}: {refusal:?}", preset.name);
            let methods: BTreeSet<String> =
                vendor.messages().iter().map(|message| message.method.clone()).collect();
            assert_eq!(methods, BTreeSet::from(["GET".to_owned()]), "{} {name}", preset.name);
            assert_eq!(vendor.state_that_stays(), vendor.remembered(), "{} {name}", preset.name);
        }
    }
}

#[tokio::test]
async fn missing_secret_names_are_created_if_create_is_configured() {
    let creates = |preset: &Preset| preset.parameters.iter().any(|parameter| parameter.name == "create");
    let mut names = Vec::new();
    for (preset, mut conversation) in pairs().into_iter().filter(|(preset, _)| creates(preset)) {
        conversation.params.insert("create".to_owned(), Value::Bool(true));
        let (vendor, acme) = set_up(&preset, &conversation);
        vendor.hide(&named(&preset, &conversation, "id_name"));
        vendor.hide(&named(&preset, &conversation, "secret_name"));
        assert_eq!(acme.deliver(&offer(0), &Secret::from(NEW_SECRET)).await, Ok(()), "{}", preset.name);
        names.push(preset.name);
    }
    let expected = ["circleci", "circleci-context", "databricks", "github-actions", "github-actions-org"];
    assert_eq!(names, expected);
}

/// The writes that were made, in order: whose half each one carried, and the result of the delivery.
async fn writes_with(
    (preset, conversation): &(Preset, Conversation),
    at_vendor: AtVendor,
    refused: &[(usize, u16)],
) -> (Vec<Half>, Result<(), Fault>) {
    let (vendor, acme) = set_up(preset, conversation);
    for (write, status) in refused {
        vendor.refuse_write(*write, *status);
    }
    let offer = Offer { at_vendor, ..offer(0) };
    let done = acme.deliver(&offer, &Secret::from(NEW_SECRET)).await;
    (vendor.ids_written(), done)
}

#[tokio::test]
async fn a_refused_secret_restores_the_old_id_and_a_refused_id_ends_the_pair() {
    for pair in pairs() {
        let name = &pair.0.name;
        let (written, done) = writes_with(&pair, AtVendor::old(), &[(0, 403)]).await;
        let Err(Fault::Refused(refusal)) = done else { panic!("{name}: {done:?}") };
        assert!(refusal.nothing_sent && refusal.pairs == [Halves::OLD], "{name}: {refusal:?}");
        assert_eq!(written.len(), 1, "{name}: nothing follows a refused id");
        for status in [403, 404, 429] {
            let (written, done) = writes_with(&pair, AtVendor::old(), &[(1, status)]).await;
            let Err(Fault::Refused(refusal)) = done else { panic!("{name}: {done:?}") };
            assert!(!refusal.nothing_sent && refusal.pairs == [Halves::OLD], "{name}: {refusal:?}");
            assert!(refusal.sentence.contains("the old id was written back"), "{name}: {}", refusal.sentence);
            assert_eq!(written.len(), 3, "{name}: id, secret, id");
        }
        let (_, done) = writes_with(&pair, AtVendor::old(), &[(1, 403), (2, 403)]).await;
        let Err(Fault::Unknown(doubt)) = done else { panic!("{name}: {done:?}") };
        assert_eq!(doubt.pairs, [Halves { id: Half::New, secret: Half::Old }], "{name}");
        let words = "the vendor holds the new id and the old secret";
        assert!(doubt.sentence.contains(words), "{name}: {}", doubt.sentence);
    }
}

#[tokio::test]
async fn an_unanswered_secret_write_is_repeated_and_the_new_id_is_kept() {
    for pair in pairs() {
        let name = &pair.0.name;
        let (written, done) = writes_with(&pair, AtVendor::old(), &[(1, 503), (2, 503)]).await;
        assert!(done == Ok(()) && written.len() == 4, "{name}: {done:?} {written:?}");
        let (written, done) = writes_with(&pair, AtVendor::old(), &[(1, 503), (2, 403)]).await;
        let Err(Fault::Unknown(doubt)) = done else { panic!("{name}: {done:?}") };
        assert_eq!(doubt.pairs, [Halves { id: Half::New, secret: Half::Unknown }], "{name}");
        assert_eq!(written.len(), 3, "{name}: the first write of the secret may have been done");
    }
}

/// The state of a vendor whose one pair was left with the new id and the old secret.
fn half_written() -> AtVendor {
    let offer = offer(0);
    let at = |seconds: u64| offer.offered_at + Duration::from_secs(seconds);
    let old = offer.old_access_key_id.clone().expect("it replaces one");
    let listed = KeyMetadata { id: old.clone(), status: KeyStatus::Active, created_at: at(0) };
    let key = offer.access_key_id.clone();
    let half = Halves { id: Half::New, secret: Half::Old };
    let doubt = Doubt { sentence: "no".to_owned(), retry_after: None, pairs: vec![half], said: None };
    let events = [
        Event::Started {
            subject: offer.subject.clone(),
            old,
            old_created_at: at(0),
            reason: "too_old".to_owned(),
            plan: Plan { prove_successes: 1, ..Plan::default() },
            account_id: None,
            at: at(1),
        },
        Event::Listed { keys: vec![listed], at: at(2) },
        Event::Intended { intent: Intent::Create, at: at(3) },
        Event::Created { key: key.clone(), at: at(4), request_id: None },
        Event::Probed { at: at(5) },
        Event::Intended { intent: Intent::Deliver { key, round: 1 }, at: at(6) },
        Event::Unanswered { doing: EffectKind::Deliver, doubt, at: at(7) },
    ];
    let rotation = Rotation::replay(offer.rotation, &events).expect("a legal past");
    rotation.at_vendor().clone()
}

/// The secret is written before every other change, but a request that reads what that write changed still follows it.
#[tokio::test]
async fn a_half_written_pair_is_completed_by_the_next_attempt() {
    for pair in pairs() {
        let (written, done) = writes_with(&pair, half_written(), &[]).await;
        assert!(done == Ok(()) && written.len() == 2, "{}: {done:?} {written:?}", pair.0.name);
    }
}
