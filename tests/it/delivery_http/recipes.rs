//! HTTP steps: the request is what the templates produce, and the answer must meet `expect`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyround::config::settings::{Auth, Body, DeliverStep, Expect, HttpStep};
use keyround::core::rotation::RefusalCode;
use serde_json::json;

use super::{
    NEW_KEY, NEW_SECRET, OLD_KEY, Secrets, captures, delivery, expecting, http, http_step, new_secret, offer,
    reference, refused, texts, unknown,
};
use crate::support::vendor::{Answer, Vendor};
use crate::support::webhook_reference;

#[tokio::test]
async fn a_json_body_is_a_document_whose_strings_are_templates() {
    let vendor = Vendor::start();
    let mut step = http_step("PATCH", &vendor.url("/accounts/{{ account_id }}?old={{ old_access_key_id }}"));
    step.headers = texts([("X-Rotation", "{{ vendor }}-{{ iam_user }}")]);
    step.body = Body::Json(json!({
        "type": "account", "version": 2, "on": true, "none": null,
        "keys": [{"access_key_id": "{{ access_key_id }}", "secret_access_key": "{{ secret_access_key }}"}],
        "quoted \"name\"": "\"{{ access_key_id }}\"",
    }));
    assert_eq!(deliver(vec![http(step)], &[]).await, Ok(()));

    let [message] = &vendor.requests()[..] else { panic!("one request") };
    assert_eq!(message.method, "PATCH");
    assert_eq!(message.path, format!("/accounts/111122223333?old={OLD_KEY}"));
    assert_eq!(message.headers["content-type"], "application/json");
    assert_eq!(message.headers["x-rotation"], "acme-vendor-acme");
    assert_eq!(
        message.json(),
        json!({
            "type": "account", "version": 2, "on": true, "none": null,
            "keys": [{"access_key_id": NEW_KEY, "secret_access_key": NEW_SECRET}],
            "quoted \"name\"": format!("\"{NEW_KEY}\""),
        })
    );
    assert_eq!(vendor.held().map(|pair| pair.secret_access_key).as_deref(), Some(NEW_SECRET));
}

#[tokio::test]
async fn form_and_text_bodies_have_the_right_encoding_and_content_type() {
    let vendor = Vendor::start();
    let mut form = http_step("PUT", &vendor.url("/form"));
    form.body =
        Body::Form(texts([("access_key", "{{ access_key_id }}"), ("secret key", "{{ secret_access_key }}")]));
    let mut text = http_step("PUT", &vendor.url("/text"));
    text.headers = texts([("Content-Type", "text/xml")]);
    text.body = Body::Text("<key>{{ secret_access_key }}</key>".to_owned());
    let empty = http_step("POST", &vendor.url("/activate"));
    assert_eq!(deliver(vec![http(form), http(text), http(empty)], &[]).await, Ok(()));

    let [form, text, empty] = &vendor.requests()[..] else { panic!("three requests") };
    assert_eq!(form.headers["content-type"], "application/x-www-form-urlencoded");
    let encoded = "wJalrXUtnFEMI%2FK7MDENG%2BbPxRfiCYEXAMPLEKEY";
    assert_eq!(form.body, format!("access_key={NEW_KEY}&secret+key={encoded}"));
    assert_eq!(text.headers["content-type"], "text/xml");
    assert_eq!(text.body, format!("<key>{NEW_SECRET}</key>"));
    assert_eq!((empty.method.as_str(), empty.body.as_str()), ("POST", ""));
}

#[tokio::test]
async fn libsodium_opens_a_box_sealed_to_a_captured_public_key() {
    let vendor = Vendor::start();
    let owner = crypto_box::SecretKey::from([7; 32]);
    let public_key = BASE64.encode(owner.public_key().as_bytes());
    vendor.script([Answer::json(200, &json!({"key_id": 568_250_167, "key": public_key}))]);
    let mut first = http_step("GET", &vendor.url("/actions/secrets/public-key"));
    first.capture = captures([("key_id", "/key_id"), ("key", "/key")]);
    let mut second = http_step("PUT", &vendor.url("/actions/secrets/AWS_SECRET_ACCESS_KEY"));
    second.body = Body::Json(json!({
        "encrypted_value": "{{ secret_access_key | sealed_box(captured.key) }}", "key_id": "{{ captured.key_id }}",
    }));
    assert_eq!(deliver(vec![http(first), http(second)], &[]).await, Ok(()));

    let sent = vendor.requests()[1].json();
    assert_eq!(sent["key_id"], "568250167");
    let question = json!({
        "check": "sealed_box", "secret_key": BASE64.encode(owner.to_bytes()), "sealed": sent["encrypted_value"],
    });
    assert_eq!(webhook_reference::ask(&question).as_deref(), Ok(NEW_SECRET));
}

#[tokio::test]
async fn bearer_basic_and_header_auth_are_sent_with_the_request() {
    let vendor = Vendor::start();
    let user = "user".to_owned();
    let steps = [
        Auth::Bearer(reference("env:TOKEN")),
        Auth::Basic { user, password: reference("env:PASSWORD") },
        Auth::Header { name: "Fastly-Key".to_owned(), value: reference("env:TOKEN") },
    ]
    .map(|auth| http(HttpStep { auth: Some(auth), ..http_step("PUT", &vendor.url("/")) }));
    let secrets = [("env:TOKEN", "t0ken"), ("env:PASSWORD", "pass:word")];
    assert_eq!(deliver(steps.to_vec(), &secrets).await, Ok(()));

    let [bearer, basic, header] = &vendor.requests()[..] else { panic!("three requests") };
    assert_eq!(bearer.headers["authorization"], "Bearer t0ken");
    assert_eq!(basic.headers["authorization"], format!("Basic {}", BASE64.encode("user:pass:word")));
    assert_eq!(header.headers["fastly-key"], "t0ken");
    assert!(!header.headers.contains_key("authorization"));
}

#[tokio::test]
async fn an_oauth2_token_is_fetched_for_each_delivery() {
    let (vendor, tokens) = (Vendor::start(), Vendor::start());
    let token = |text: &str| {
        Answer::json(200, &json!({"access_token": text, "token_type": "Bearer", "expires_in": 9}))
    };
    tokens.script([token("first"), token("second")]);
    let steps = vec![http(with_oauth2(&vendor, &tokens))];
    for _ in 0..2 {
        assert_eq!(deliver(steps.clone(), &[("env:CLIENT", "s/cret")]).await, Ok(()));
    }
    let sent: Vec<_> =
        vendor.requests().iter().map(|message| message.headers["authorization"].clone()).collect();
    assert_eq!(sent, ["Bearer first", "Bearer second"]);
    let asked = &tokens.requests()[0];
    assert_eq!(asked.body, "grant_type=client_credentials&scope=keys%3Awrite");
    assert_eq!(asked.headers["authorization"], format!("Basic {}", BASE64.encode("key+round:s%2Fcret")));
}

#[tokio::test]
async fn without_an_oauth2_token_nothing_is_delivered() {
    let (vendor, tokens) = (Vendor::start(), Vendor::start());
    for (answer, code) in [
        (Answer::status(401), RefusalCode::VendorRefused),
        (Answer::status(410), RefusalCode::VendorRefused),
        (Answer::status(302), RefusalCode::VendorRefused),
        (Answer::status(500), RefusalCode::NotSent),
        (Answer::Closes, RefusalCode::NotSent),
        (Answer::Floods, RefusalCode::NotSent),
        (Answer::json(200, &json!({"access_token": "canary", "token_type": "mac"})), RefusalCode::NotSent),
        (Answer::json(200, &json!({"error": "canary"})), RefusalCode::NotSent),
    ] {
        tokens.script([answer]);
        let done = deliver(vec![http(with_oauth2(&vendor, &tokens))], &[("env:CLIENT", "c")]).await;
        let refusal = refused(done, code);
        assert!(
            refusal.sentence.starts_with("no token was received, so nothing was sent: 127.0.0.1 "),
            "{refusal:?}"
        );
    }
    assert_eq!(vendor.connections(), 0);
}

#[tokio::test]
async fn a_200_whose_body_fails_the_expectation_is_not_accepted() {
    let vendor = Vendor::start();
    let mut step = http_step("PATCH", &vendor.url("/"));
    step.expect.place = expecting("/data/setup_status", None).place;
    step.expect.equals = Some("connected".to_owned());
    vendor.script([
        Answer::json(200, &json!({"data": {"setup_status": "connected"}})),
        Answer::json(200, &json!({"data": {"setup_status": "canary"}})),
        Answer::json(200, &json!({"approval": "canary"})),
    ]);
    let steps = vec![http(step)];
    assert_eq!(deliver(steps.clone(), &[]).await, Ok(()));
    let refusal = refused(deliver(steps.clone(), &[]).await, RefusalCode::VendorRefused);
    let expected =
        "127.0.0.1 answered 200, but its answer has another value at \"/data/setup_status\" than expected";
    assert_eq!(refusal.sentence, expected);
    let refusal = refused(deliver(steps.clone(), &[]).await, RefusalCode::VendorRefused);
    let expected = "127.0.0.1 answered 200, but its answer has no value at \"/data/setup_status\"";
    assert_eq!(refusal.sentence, expected);
    for answer in [Answer::status(200), Answer::Cuts("{\"data\":".to_owned()), Answer::Floods] {
        vendor.script([answer]);
        let sentence = unknown(deliver(steps.clone(), &[]).await);
        assert_eq!(sentence, "127.0.0.1 answered 200, but not with the JSON that was expected");
    }
}

#[tokio::test]
async fn a_missing_captured_value_is_a_refusal_and_later_steps_do_not_run() {
    let vendor = Vendor::start();
    vendor.script([Answer::json(200, &json!({"version": {"number": 7}}))]);
    let first =
        HttpStep { capture: captures([("version", "/version")]), ..http_step("POST", &vendor.url("/clone")) };
    let second = http_step("PUT", &vendor.url("/version/{{ captured.version }}"));
    let done = deliver(vec![http(first), http(second)], &[]).await;
    let refusal = refused(done, RefusalCode::VendorRefused);
    let expected = "step 1 of 2: 127.0.0.1 answered 200, but its answer has no value at \"/version\"";
    assert_eq!(refusal.sentence, expected);
    assert_eq!(vendor.requests().len(), 1);
}

#[tokio::test]
async fn captured_values_are_read_anew_in_the_next_delivery() {
    let vendor = Vendor::start();
    let answer = |version: u32| Answer::json(200, &json!({ "version": version }));
    vendor.script([answer(7), Answer::status(500), answer(8), Answer::status(200)]);
    let first =
        HttpStep { capture: captures([("version", "/version")]), ..http_step("POST", &vendor.url("/clone")) };
    let second = http_step("PUT", &vendor.url("/version/{{ captured.version }}"));
    let acme = delivery(vec![http(first), http(second)], None, Secrets::default());
    let sentence = unknown(acme.deliver(&offer(), &new_secret()).await);
    assert_eq!(sentence, "step 2 of 2: 127.0.0.1 answered 500");
    assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));
    let paths: Vec<_> = vendor.requests().into_iter().map(|message| message.path).collect();
    assert_eq!(paths, ["/clone", "/version/7", "/clone", "/version/8"]);
}

#[tokio::test]
async fn a_refusal_after_an_accepted_change_makes_the_outcome_unknown() {
    let vendor = Vendor::start();
    let step = |method, path| http(http_step(method, &vendor.url(path)));
    let steps = vec![step("GET", "/first"), step("PUT", "/id"), step("PUT", "/secret")];
    let ok = || Answer::status(200);
    vendor.script([ok(), Answer::status(403)]);
    let refusal = refused(deliver(steps.clone(), &[]).await, RefusalCode::VendorRefused);
    assert_eq!(refusal.sentence, "step 2 of 3: 127.0.0.1 answered 403");
    vendor.script([ok(), ok(), Answer::status(403)]);
    let sentence = unknown(deliver(steps.clone(), &[]).await);
    assert_eq!(sentence, "step 3 of 3: 127.0.0.1 answered 403, after earlier steps were accepted");
    vendor.script([ok(), ok(), Answer::status(410)]);
    refused(deliver(steps, &[]).await, RefusalCode::VendorGone);
}

#[tokio::test]
async fn a_request_on_a_broken_kept_alive_connection_is_not_repeated() {
    let vendor = Vendor::start();
    vendor.script([Answer::status(200), Answer::Closes]);
    let acme = delivery(vec![http(http_step("PUT", &vendor.url("/")))], None, Secrets::default());
    assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));
    unknown(acme.deliver(&offer(), &new_secret()).await);
    assert_eq!((vendor.requests().len(), vendor.connections()), (2, 1));
}

#[tokio::test]
async fn an_expected_status_is_accepted_and_another_2xx_is_unknown() {
    let vendor = Vendor::start();
    let expect = Expect { status: vec![201, 204], ..Expect::default() };
    let steps = vec![http(HttpStep { expect, ..http_step("PUT", &vendor.url("/")) })];
    vendor.script([Answer::status(201), Answer::status(204), Answer::status(202)]);
    assert_eq!(deliver(steps.clone(), &[]).await, Ok(()));
    assert_eq!(deliver(steps.clone(), &[]).await, Ok(()));
    unknown(deliver(steps, &[]).await);
}

#[tokio::test]
async fn a_captured_value_cannot_add_a_header_or_change_the_host() {
    let vendor = Vendor::start();
    vendor.script(vec![Answer::json(200, &json!({"value": "a\r\nx-evil: 1"})); 3]);
    let first = HttpStep { capture: captures([("value", "/value")]), ..http_step("GET", &vendor.url("/")) };
    let with_header = HttpStep {
        headers: texts([("x-value", "{{ captured.value }}")]),
        ..http_step("PUT", &vendor.url("/"))
    };
    for (second, problem) in [
        (with_header, "the header x-value would contain more than printable ASCII"),
        (
            http_step("PUT", &vendor.url("/{{ captured.value }}")),
            "contains white space or control characters",
        ),
        (http_step("PUT", "http://{{ vendor }}@127.0.0.1/"), "names a user or a password"),
    ] {
        let done = deliver(vec![http(first.clone()), http(second)], &[]).await;
        let refusal = refused(done, RefusalCode::Misconfigured);
        assert!(refusal.sentence.contains(problem), "{}", refusal.sentence);
    }
    let elsewhere = "the host of the address depends on a secret, on an answer or on the key; it has to stand in the recipe";
    for template in
        ["https://{{ captured.value[0] }}.acme.invalid/", "http://127.0.0.{{ captured.value | length }}/"]
    {
        vendor.script([Answer::json(200, &json!({"value": "evil"}))]);
        let done = deliver(vec![http(first.clone()), http(http_step("PUT", template))], &[]).await;
        let refusal = refused(done, RefusalCode::Misconfigured);
        assert_eq!(refusal.sentence, format!("step 2 of 2: {elsewhere}"));
    }
    let secrets = [("env:TOKEN", "a\nx-evil: 1")];
    let step =
        HttpStep { auth: Some(Auth::Bearer(reference("env:TOKEN"))), ..http_step("PUT", &vendor.url("/")) };
    refused(deliver(vec![http(step)], &secrets).await, RefusalCode::Misconfigured);
    assert!(vendor.requests().iter().all(|message| !message.headers.contains_key("x-evil")));
}

fn with_oauth2(vendor: &Vendor, tokens: &Vendor) -> HttpStep {
    let auth = Auth::OAuth2 {
        token_url: tokens.url("/token"),
        client_id: "key round".to_owned(),
        client_secret: reference("env:CLIENT"),
        scope: Some("keys:write".to_owned()),
        audience: None,
        in_body: false,
    };
    HttpStep { auth: Some(auth), ..http_step("PUT", &vendor.url("/")) }
}

async fn deliver(steps: Vec<DeliverStep>, secrets: &[(&str, &str)]) -> keyround::ports::Answer<()> {
    delivery(steps, None, Secrets::of(secrets)).deliver(&offer(), &new_secret()).await
}

#[tokio::test]
async fn a_captured_value_cannot_change_the_structure_of_a_url() {
    let plain = "/v1/{{ captured.value }}/keys?id={{ captured.value }}";
    let encoded = "/v1/{{ captured.value | urlencode }}/keys?id={{ captured.value | urlencode }}";
    for (value, template, path) in [
        ("7", plain, Some("/v1/7/keys?id=7")),
        ("a-b_c.d", plain, Some("/v1/a-b_c.d/keys?id=a-b_c.d")),
        ("a/b", encoded, Some("/v1/a%2Fb/keys?id=a%2Fb")),
        ("a&b=c#d?", encoded, Some("/v1/a%26b%3Dc%23d%3F/keys?id=a%26b%3Dc%23d%3F")),
        ("a/b", plain, None),
        ("../../admin", plain, None),
        ("%2e%2e", plain, None),
        ("..\\..", plain, None),
        ("1&admin=true", plain, None),
        ("1?admin=true", plain, None),
        ("1#", plain, None),
        ("..", plain, None),
        ("..", encoded, None),
    ] {
        let vendor = Vendor::start();
        let first =
            HttpStep { capture: captures([("value", "/value")]), ..http_step("GET", &vendor.url("/")) };
        vendor.script([Answer::json(200, &json!({ "value": value })), Answer::status(200)]);
        let steps = vec![http(first), http(http_step("PUT", &vendor.url(template)))];
        let done = deliver(steps, &[]).await;
        vendor.script([]);
        let sent: Vec<_> = vendor.requests().into_iter().skip(1).map(|message| message.path).collect();
        if let Some(path) = path {
            assert_eq!((done, sent), (Ok(()), vec![path.to_owned()]), "{value} {template}");
        } else {
            assert_eq!(sent, Vec::<String>::new(), "{value} {template}");
            let refusal = refused(done, RefusalCode::Misconfigured);
            assert!(refusal.sentence.contains("would change the path"), "{}", refusal.sentence);
        }
    }
}

#[tokio::test]
async fn a_step_sends_its_referenced_secrets_and_fails_if_one_is_missing() {
    let vendor = Vendor::start();
    let secrets = BTreeMap::from([
        ("app_key".to_owned(), reference("env:APP")),
        ("org".to_owned(), reference("env:ORG")),
    ]);
    let mut step = http_step("PUT", &vendor.url("/orgs/{{ secrets.org | urlencode }}"));
    step.headers = texts([("DD-APPLICATION-KEY", "{{ secrets.app_key }}")]);
    step.body = Body::Json(json!({ "key": "{{ secrets.app_key }}", "pair": "{{ secret_access_key }}" }));
    step.secrets = secrets.into();
    let known = [("env:APP", "app-key-1"), ("env:ORG", "a/b")];
    assert_eq!(deliver(vec![http(step.clone())], &known).await, Ok(()));
    let [message] = &vendor.requests()[..] else { panic!("one request") };
    assert_eq!(message.path, "/orgs/a%2Fb");
    assert_eq!(message.headers["dd-application-key"], "app-key-1");
    assert_eq!(message.json(), json!({ "key": "app-key-1", "pair": NEW_SECRET }));
    // A secret that cannot be read is found before anything is sent.
    let refusal = refused(deliver(vec![http(step)], &known[..1]).await, RefusalCode::Misconfigured);
    assert!(refusal.sentence.contains("env:ORG") && refusal.nothing_sent, "{}", refusal.sentence);
    assert_eq!(vendor.requests().len(), 1);
}

#[tokio::test]
async fn a_token_url_whose_host_comes_from_an_answer_is_refused() {
    let (vendor, elsewhere) = (Vendor::start(), Vendor::start());
    let first = HttpStep { capture: captures([("h", "/h")]), ..http_step("GET", &vendor.url("/")) };
    for token_url in ["{{ captured.h }}", "{{ captured.h }}/token"] {
        vendor.script([Answer::json(200, &json!({ "h": elsewhere.url("/token") }))]);
        let auth = Auth::OAuth2 {
            token_url: token_url.to_owned(),
            client_id: "keyround".to_owned(),
            client_secret: reference("env:CLIENT"),
            scope: None,
            audience: None,
            in_body: true,
        };
        let second = HttpStep { auth: Some(auth), ..http_step("PUT", &vendor.url("/")) };
        let done = deliver(vec![http(first.clone()), http(second)], &[("env:CLIENT", "client-secret")]).await;
        let refusal = refused(done, RefusalCode::Misconfigured);
        assert!(refusal.sentence.contains("token_url cannot be used: the host"), "{}", refusal.sentence);
    }
    assert_eq!(elsewhere.requests().len(), 0);
}
