//! Each answer that a vendor can give, and the outcome that follows from it.

use std::net::TcpListener;
use std::time::Duration;

use keyround::config::settings::{DeliverStep, WebhookStep};
use keyround::core::rotation::RefusalCode;
use keyround::ports::Fault;
use rustls::RootCertStore;

use super::{
    IMPATIENT, SIGNING_SECRET, Secrets, delivery, delivery_trusting, new_secret, offer, refused, unknown,
    webhook, webhook_step,
};
use crate::support::authority::{Authority, Validity, self_signed_server};
use crate::support::vendor::{Answer, Vendor};

#[tokio::test]
async fn any_2xx_is_acceptance() {
    let vendor = Vendor::start();
    vendor.script([200, 201, 202, 204, 299].map(Answer::status));
    let acme = webhook(&vendor.url("/"));
    for _ in 0..5 {
        assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (vendor, elsewhere) = (Vendor::start(), Vendor::start());
    let statuses = [301, 302, 303, 307, 308];
    vendor.script(statuses.map(|status| Answer::status(status).header("location", &elsewhere.url("/"))));
    let acme = webhook(&vendor.url("/"));
    for status in statuses {
        let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::VendorRefused);
        assert_eq!(refusal.sentence, format!("127.0.0.1 answered {status}: redirects are not followed"));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_4xx_is_a_refusal_a_5xx_is_unknown_and_a_410_means_vendor_gone() {
    let vendor = Vendor::start();
    let acme = webhook(&vendor.url("/"));
    for status in [400, 401, 403, 404, 409, 422, 425] {
        vendor.script([Answer::status(status)]);
        let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::VendorRefused);
        assert_eq!(refusal.sentence, format!("127.0.0.1 answered {status}"));
    }
    vendor.script([Answer::status(410)]);
    refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::VendorGone);
    for status in [408, 500, 502, 503, 504] {
        vendor.script([Answer::status(status)]);
        assert_eq!(
            unknown(acme.deliver(&offer(), &new_secret()).await),
            format!("127.0.0.1 answered {status}")
        );
    }
}

#[tokio::test]
async fn the_retry_after_header_is_read_as_seconds_or_as_a_date() {
    let vendor = Vendor::start();
    let acme = webhook(&vendor.url("/"));
    let in_an_hour = (offer().now + Duration::from_hours(1)).to_chrono();
    let date = in_an_hour.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    vendor.script([
        Answer::status(429).header("retry-after", "120"),
        Answer::status(503).header("Retry-After", &date),
    ]);
    let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::VendorRefused);
    assert_eq!(refusal.retry_after, Some(Duration::from_mins(2)));
    match acme.deliver(&offer(), &new_secret()).await {
        Err(Fault::Unknown(doubt)) => {
            let wait = doubt.retry_after.expect("a wait");
            assert!(wait > Duration::from_mins(59) && wait <= Duration::from_hours(1), "{wait:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_missing_or_broken_answer_makes_the_outcome_unknown() {
    let vendor = Vendor::start();
    vendor.script([Answer::Hangs, Answer::Drips, Answer::Closes, Answer::Garbage]);
    let step = WebhookStep { timeout: IMPATIENT, ..webhook_step(&vendor.url("/")) };
    let secrets = Secrets::of(&[("env:SIGNING", SIGNING_SECRET)]);
    let acme = delivery(vec![DeliverStep::Webhook(step)], None, secrets);
    let late = "127.0.0.1 did not answer within ";
    let broken = "127.0.0.1 broke the connection off or did not answer in HTTP";
    for expected in [late, late, broken, broken] {
        let sentence = unknown(acme.deliver(&offer(), &new_secret()).await);
        assert!(sentence.starts_with(expected), "{sentence}");
    }
    assert_eq!(vendor.requests().len(), 4);
}

#[tokio::test]
async fn an_oversized_response_body_is_not_read_to_its_end() {
    let vendor = Vendor::start();
    vendor.script([Answer::Floods]);
    assert_eq!(webhook(&vendor.url("/")).deliver(&offer(), &new_secret()).await, Ok(()));
    // The bytes that were written and not read are in the buffers of the two sockets.
    assert!(vendor.flooded_bytes() < 64 << 20, "{}", vendor.flooded_bytes());
}

#[tokio::test]
async fn a_200_status_counts_even_if_its_body_is_cut_off() {
    let vendor = Vendor::start();
    vendor.script([Answer::Cuts("{\"accepted\":".to_owned())]);
    assert_eq!(webhook(&vendor.url("/")).deliver(&offer(), &new_secret()).await, Ok(()));
}

#[tokio::test]
async fn a_failed_connection_or_lookup_counts_as_not_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let refusal = refused(
        webhook(&format!("http://{closed}/")).deliver(&offer(), &new_secret()).await,
        RefusalCode::NotSent,
    );
    let expected =
        "127.0.0.1 cannot be connected to; check the url, and whether a firewall lets this machine out";
    assert_eq!(refusal.sentence, expected);

    let nowhere = webhook("https://hooks.acme.invalid/");
    let refusal = refused(nowhere.deliver(&offer(), &new_secret()).await, RefusalCode::NotSent);
    let expected =
        "the name hooks.acme.invalid does not resolve; check the url, and this machine's name servers";
    assert_eq!(refusal.sentence, expected);
}

#[tokio::test]
async fn a_server_with_a_bad_certificate_is_sent_no_request() {
    let authority = Authority::new();
    for (server, roots, problem) in [
        (authority.server("localhost", Validity::Expired), authority.roots(), "has expired"),
        (authority.server("other.example", Validity::Current), authority.roots(), "is for another host"),
        (
            authority.server("localhost", Validity::Current),
            RootCertStore::empty(),
            "is not from a certificate authority that this machine trusts",
        ),
        (
            self_signed_server("localhost"),
            authority.roots(),
            "is not from a certificate authority that this machine trusts",
        ),
    ] {
        let vendor = Vendor::start_tls(server);
        let acme = trusting(roots, &vendor.url("/"));
        let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::NotSent);
        let expected = format!("localhost is not trusted: its certificate {problem}; ");
        assert!(refusal.sentence.starts_with(&expected), "{}", refusal.sentence);
        assert_eq!(vendor.requests().len(), 0);
        let found = acme.preflight(&offer()).await;
        assert!(found.iter().any(|check| !check.ok && check.sentence == refusal.sentence), "{found:?}");
    }
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_is_delivered_to() {
    let authority = Authority::new();
    let vendor = Vendor::start_tls(authority.server("localhost", Validity::Current));
    let acme = trusting(authority.roots(), &vendor.url("/"));
    assert!(acme.preflight(&offer()).await.iter().all(|check| check.ok));
    assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));
    assert_eq!(vendor.requests().len(), 1);
}

#[tokio::test]
async fn a_server_without_tls_is_sent_no_request_to_an_https_url() {
    let vendor = Vendor::start();
    let url = vendor.url("/").replace("http://", "https://");
    let refusal = refused(webhook(&url).deliver(&offer(), &new_secret()).await, RefusalCode::NotSent);
    assert!(refusal.sentence.starts_with("127.0.0.1 "), "{}", refusal.sentence);
    assert_eq!(vendor.requests().len(), 0);
}

#[tokio::test]
async fn plain_http_to_another_host_requires_allow_plaintext() {
    let refusal = refused(
        webhook("http://hooks.acme.invalid/").deliver(&offer(), &new_secret()).await,
        RefusalCode::Misconfigured,
    );
    assert!(refusal.sentence.contains("allow_plaintext"), "{}", refusal.sentence);
    let step = WebhookStep { allow_plaintext: true, ..webhook_step("http://hooks.acme.invalid/") };
    let secrets = Secrets::of(&[("env:SIGNING", SIGNING_SECRET)]);
    let acme = delivery(vec![DeliverStep::Webhook(step)], None, secrets);
    refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::NotSent);
}

fn trusting(roots: RootCertStore, url: &str) -> std::sync::Arc<dyn keyround::ports::Delivery> {
    let secrets = Secrets::of(&[("env:SIGNING", SIGNING_SECRET)]);
    delivery_trusting(roots, vec![DeliverStep::Webhook(webhook_step(url))], None, secrets)
}
