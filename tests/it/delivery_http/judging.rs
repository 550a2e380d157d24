//! `expect` templates that fail on an answer, samples that `expect` does not accept, and masked values that must
//! not be sent back.

use std::collections::BTreeMap;

use keyround::config::settings::{AnswerPlace, Body, Capture, Expect, HttpStep};
use keyround::core::rotation::{RefusalCode, Verification};
use keyround::ports::Fault;
use serde_json::json;

use super::{Secrets, captures, delivery, http, http_step, new_secret, offer, refused, texts, unknown};
use crate::support::vendor::{Answer, Vendor};

fn judging(that: &str) -> Expect {
    Expect { that: Some(that.to_owned()), ..Expect::default() }
}

#[tokio::test]
async fn a_template_that_fails_on_an_answer_is_a_configuration_error() {
    let vendor = Vendor::start();
    let answer = || Answer::json(200, &json!({ "access_key_id": "AKIANEW0000000000001", "data": {} }));
    let failing = [
        ("{{ answer.acess_key_id == access_key_id }}", "answer.acess_key_id"),
        ("{{ answer.data.key.id == access_key_id }}", "answer.data.key.id"),
        ("{{ answer.items | length > 0 }}", "answer.items"),
        ("{{ answer.items | default([]) | length > 0 and answer.other.x }}", "answer.other.x"),
    ];
    for (that, missing) in failing {
        let asking = HttpStep { expect: judging(that), ..http_step("GET", &vendor.url("/which")) };
        let put = HttpStep { expect: judging(that), ..http_step("PUT", &vendor.url("/keys")) };
        let acme = delivery(vec![http(asking.clone()), http(put.clone())], Some(asking), Secrets::default());
        // An answer that `expect` cannot judge says nothing about the vendor, neither for the delivery nor for the
        // verification.
        vendor.script([answer()]);
        let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::Misconfigured);
        assert!(refusal.nothing_sent && refusal.sentence.contains(missing), "{that}: {refusal:?}");
        vendor.script([answer()]);
        let fault = acme.verify(&offer()).await.expect_err("it cannot be judged");
        let is_ours = matches!(&fault, Fault::Refused(no) if no.code == RefusalCode::Misconfigured);
        assert!(is_ours && fault.sentence().contains("expect.that"), "{that}: {fault:?}");
        // A request that may have changed something is not called refused.
        vendor.script([answer()]);
        let acme = delivery(vec![http(put)], None, Secrets::default());
        let sentence = unknown(acme.deliver(&offer(), &new_secret()).await);
        assert!(
            sentence.contains(missing) && sentence.contains("correct the template"),
            "{that}: {sentence}"
        );
    }
    let allowing = [
        "{{ answer.acess_key_id is defined and answer.acess_key_id == access_key_id }}",
        "{{ answer.data is not defined or answer.data.key is defined }}",
        "{{ answer.items | default([]) | length > 0 }}",
        "{{ (answer.data.key | default('')) == access_key_id }}",
    ];
    for that in allowing {
        let asking = HttpStep { expect: judging(that), ..http_step("GET", &vendor.url("/which")) };
        let acme = delivery(vec![http(asking)], None, Secrets::default());
        vendor.script([answer()]);
        refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::VendorRefused);
    }
}

#[tokio::test]
async fn preflight_reports_a_sample_that_its_own_expect_rejects() {
    let vendor = Vendor::start();
    let step = |that: &str, sample| HttpStep {
        expect: judging(that),
        sample: Some(sample),
        capture: captures([("id", "/id")]),
        ..http_step("PUT", &vendor.url("/keys"))
    };
    let good = json!({ "id": "7", "key": "{{ access_key_id }}" });
    for (that, sample, says) in [
        ("{{ answer.key == access_key_id }}", good.clone(), ""),
        ("{{ answer.kez == access_key_id }}", good.clone(), "answer.kez"),
        ("{{ answer.key == 'x' }}", good, "does not meet the step's own expect"),
        ("{{ answer.key == access_key_id }}", json!({ "key": "{{ access_key_id }}" }), "no value at \"/id\""),
    ] {
        let acme = delivery(vec![http(step(that, sample))], None, Secrets::default());
        let checks = acme.preflight(&offer()).await;
        let failed: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
        match (&failed[..], says) {
            ([], "") => {}
            ([failed], _) => {
                assert_eq!(failed.check, "step 1: sample");
                assert!(failed.sentence.contains(says), "{that}: {}", failed.sentence);
            }
            other => panic!("{that}: {other:?}"),
        }
    }
    assert_eq!(vendor.requests().len(), 0);
}

#[tokio::test]
async fn a_body_that_would_send_a_masked_value_back_is_refused() {
    let vendor = Vendor::start();
    let stored = json!({ "name": "s3", "key": "AKIAOLD0000000000001", "other": { "password": "********" } });
    let reading = || HttpStep {
        capture: BTreeMap::from([(
            "item".to_owned(),
            Capture { place: AnswerPlace::Document(String::new()), default: None },
        )]),
        ..http_step("GET", &vendor.url("/item"))
    };
    let raw = |template: &str| Body::Json(json!({ "$json": template }));
    let refused_bodies = [
        raw("{{ dict(captured.item, key=access_key_id) | tojson }}"),
        Body::Json(json!({ "all": { "$json": "{{ captured.item.other | tojson }}" } })),
        Body::Json(json!({ "password": "{{ captured.item.other.password }}" })),
        Body::Text("<password>{{ captured.item.other.password }}</password>".to_owned()),
        Body::Text("{{ captured.item | tojson | b64encode }}".to_owned()),
        Body::Form(texts([("password", "{{ captured.item.other.password | urlencode }}")])),
        Body::Edit {
            document: "item".to_owned(),
            set: BTreeMap::from([("/key".to_owned(), json!("{{ access_key_id }}"))]),
            remove: Vec::new(),
        },
        Body::Edit {
            document: "item".to_owned(),
            set: BTreeMap::from([(
                "/other".to_owned(),
                json!({ "$json": "{{ captured.item.other | tojson }}" }),
            )]),
            remove: Vec::new(),
        },
    ];
    for body in refused_bodies {
        let before = vendor.requests().len();
        let put = HttpStep { body: body.clone(), ..http_step("PUT", &vendor.url("/item")) };
        let acme = delivery(vec![http(reading()), http(put)], None, Secrets::default());
        vendor.script([Answer::json(200, &stored)]);
        let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::Misconfigured);
        assert!(refusal.nothing_sent && refusal.sentence.contains("masks a value"), "{body:?}: {refusal:?}");
        assert_eq!(vendor.requests().len(), before + 1, "{body:?}: only the question was sent");
    }
    let sent_bodies = [
        raw("{{ dict(captured.item, key=access_key_id, other={'password': secret_access_key}) | tojson }}"),
        Body::Json(
            json!({ "name": "{{ captured.item.name }}", "key": "{{ access_key_id }}", "password": "********" }),
        ),
        Body::Json(json!({ "has": "{{ captured.item.other.password is defined }}" })),
        Body::Edit {
            document: "item".to_owned(),
            set: BTreeMap::from([("/other/password".to_owned(), json!("{{ secret_access_key }}"))]),
            remove: Vec::new(),
        },
    ];
    for body in sent_bodies {
        let put = HttpStep { body: body.clone(), ..http_step("PUT", &vendor.url("/item")) };
        let acme = delivery(vec![http(reading()), http(put)], None, Secrets::default());
        vendor.script([Answer::json(200, &stored)]);
        assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()), "{body:?}");
        assert_eq!(acme.verify(&offer()).await, Ok(Verification::Acceptance));
    }
}
