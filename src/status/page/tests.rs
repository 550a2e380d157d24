//! Tests of what the page shows, and that no value in it becomes markup.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::ports::overview::{Key, RotationStatus, Status};

const EVIL: &str = "<script>alert(1)</script>\"onload='x";

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

fn vendor(name: &str, state: &'static str, age_days: u64) -> VendorStatus {
    let created_at = now().minus(Duration::from_hours(24 * age_days));
    let key = Key {
        access_key_id: "AKIAOLD0000000000001".to_owned(),
        status: "Active",
        created_at,
        age_days,
        last_used_at: None,
        role: "old",
    };
    VendorStatus {
        vendor: name.to_owned(),
        account_id: Some("111122223333".to_owned()),
        iam_user: Some(format!("vendor-{name}")),
        state,
        reason: "reason",
        sentence: format!("the sentence of {name}"),
        exposed: None,
        due_at: None,
        overdue_at: None,
        keys: vec![key],
        rotation: None,
        owner: None,
        max_age: Some(Duration::from_hours(24 * 90)),
    }
}

fn soaking(vendor: VendorStatus) -> VendorStatus {
    let rotation = RotationStatus {
        id: "018f".to_owned(),
        stage: "soak",
        since: now().minus(Duration::from_hours(7)),
        next_at: Some(now() + Duration::from_hours(17)),
        old_access_key_id: None,
        new_access_key_id: None,
        mode: "routine",
        vendor_holds: "unknown",
        resumes_in: None,
    };
    VendorStatus { rotation: Some(rotation), ..vendor }
}

fn overview(vendors: Vec<VendorStatus>) -> Overview {
    Overview {
        status: Status { generated_at: now(), vendors },
        last_pass_at: Some(now()),
        next_pass_at: Some(now() + Duration::from_hours(1)),
        history: Vec::new(),
        rotations: BTreeMap::new(),
        deliveries: BTreeMap::new(),
        unready: Vec::new(),
        review: None,
        clock_offsets: std::collections::BTreeMap::new(),
    }
}

#[test]
fn urgent_vendors_come_first_on_the_page_with_their_sentence() {
    let vendors =
        vec![vendor("fine", "ok", 3), soaking(vendor("busy", "rotating", 91)), vendor("bad", "stuck", 97)];
    let page = page(&overview(vendors));
    assert!(page.contains("<title>(1) keyround</title>"));
    assert!(page.contains("3 vendors: 1 stuck, 1 rotating, 1 ok"), "{page}");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in the page"));
    assert!(
        place("the sentence of bad") < place("<b>busy</b>") && place("<b>busy</b>") < place("<b>fine</b>")
    );
    assert!(page.contains("97 d of 90 d") && page.contains("the key is 97 d old, its limit is 90 d"));
    assert!(page.contains("stage 5 of 7: soak for 7h, next step 2026-11-24 05:00 UTC"));
    assert!(page.contains("http-equiv=\"refresh\"") && !page.contains("<script"));
}

#[test]
fn an_empty_page_and_a_page_without_problems_have_their_own_text() {
    assert!(page(&overview(Vec::new())).contains("No vendor was looked at yet"));
    assert!(page(&overview(vec![vendor("fine", "ok", 3)])).contains("Nothing needs you."));
}

#[test]
fn markup_in_names_and_sentences_is_escaped() {
    let mut evil = vendor(EVIL, "stuck", 1);
    evil.sentence = EVIL.to_owned();
    evil.owner = Some(EVIL.to_owned());
    let mut overview = overview(vec![evil]);
    overview.unready = vec![EVIL.to_owned()];
    let page = page(&overview);
    assert!(!page.contains("<script") && !page.contains("\"onload"), "{page}");
    assert!(page.contains("&lt;script&gt;"));
}

#[test]
fn the_content_security_policy_allows_only_the_style_of_the_page() {
    let hash = BASE64.encode(digest(&SHA256, STYLE.as_bytes()));
    assert!(policy().starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}'")));
    let page = page(&overview(vec![soaking(vendor("busy", "rotating", 91))]));
    let style =
        page.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).expect("a style");
    assert_eq!(style.0, STYLE, "what is hashed is what is there");
    for forbidden in ["style=\"", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden} would be blocked or fetched");
    }
}

#[test]
fn a_bar_has_its_limit_at_four_fifths_until_the_key_is_older_than_the_bar() {
    let bar_of = |days| bar(&vendor("a", "ok", days), now()).map(|bar| (bar.fill, bar.limit));
    assert_eq!(bar_of(0), Some((8, 800)));
    assert_eq!(bar_of(45), Some((400, 800)));
    assert_eq!(bar_of(90), Some((800, 800)));
    assert_eq!(bar_of(180), Some((1000, 500)));
    assert_eq!(bar_of(9000), Some((1000, 10)));
}

#[test]
fn a_report_has_the_evidence_and_no_refresh() {
    let happening = HistoryLine {
        at: now(),
        vendor: "acme".to_owned(),
        rotation: "018f".to_owned(),
        event: "created",
        sentence: "AKIANEW0000000000001 (request 7f3a)".to_owned(),
        writer: "host:42".to_owned(),
        hash: "ab".repeat(32),
        position: 7,
    };
    let (from, to) = (now().minus(Duration::from_hours(24)), now());
    let period =
        Period { from, to, events: 9, head: "cd".repeat(32), history: vec![happening], reviews: Vec::new() };
    let report = report(&overview(vec![vendor("acme", "ok", 3)]), &period);
    for text in [
        "request 7f3a",
        "host:42",
        &"ab".repeat(32),
        &"cd".repeat(32),
        "9 events in all",
        "Content-Security-Policy",
    ] {
        assert!(report.contains(text), "{text} is not in the report");
    }
    assert!(!report.contains("http-equiv=\"refresh\""));
}

#[test]
fn commands_and_times_in_a_sentence_are_separate_pieces() {
    let told = pieces("stuck since 2026-11-23T11:00:00Z; to go on: `keyround resume acme`, or wait");
    let told: Vec<(&str, &str)> = told.iter().map(|piece| (piece.kind, piece.text.as_str())).collect();
    assert_eq!(
        told,
        [
            ("", "stuck since "),
            ("whole", "2026-11-23T11:00:00Z; "),
            ("", "to go on: "),
            ("code", "keyround resume acme"),
            ("", ", or wait"),
        ]
    );
    assert_eq!(pieces(""), []);
    let said = |text: &str| pieces(text).iter().map(|piece| piece.text.clone()).collect::<String>();
    for text in ["`", "a`b", "é2026-11-23T11:00:00Z", "``", "2026-11-23T11:00:00é"] {
        assert_eq!(said(text), text.replace('`', ""));
    }
}

#[test]
fn the_page_shows_each_vendor_score_and_the_date_of_the_review() {
    let review = reviewed([("acme", 100, &[]), ("lax", 50, &["least privilege", "unique credentials"])]);
    let page = page(&Overview { review: Some(review), ..overview(vec![vendor("acme", "ok", 3)]) });
    for row in [
        "<b>acme</b></td><td>100 %</td><td class=\"what\"></td>",
        "<b>lax</b></td><td>50 %</td><td class=\"what\">least privilege, unique credentials</td>",
        "Reviewed <time datetime=\"2026-11-23T07:00:00Z\">2026-11-23 07:00 UTC</time>; findings: \
         critical: 1, high: 0, medium: 0, low: 3, info: 0, waived: 2;",
    ] {
        assert!(page.contains(row), "{row} is not in {page}");
    }
    assert!(!page.contains("were not reviewed") && !page.contains("<h2>Findings"), "{page}");
}

#[test]
fn without_a_review_the_page_names_the_command_and_a_report_omits_it() {
    let overview = overview(vec![vendor("acme", "ok", 3)]);
    let page = page(&overview);
    let how = "<code>keyround audit</code> or <code>keyround report --audit</code> does it now; an alert that names \
               <code>audit</code> in its <code>on</code>";
    assert!(page.contains(how) && !page.contains("Reviewed") && !page.contains("Not met"), "{page}");
    let (from, to) = (now().minus(Duration::from_hours(24)), now());
    let period =
        Period { from, to, events: 0, head: String::new(), history: Vec::new(), reviews: Vec::new() };
    assert!(!report(&overview, &period).contains("Scorecard"));
}

#[test]
fn markup_in_a_scorecard_is_escaped() {
    let review = reviewed([("acme", 0, &[EVIL]), ("lax", 0, &[EVIL])]);
    let page = page(&Overview { review: Some(review), ..overview(Vec::new()) });
    assert!(!page.contains("<script") && page.matches("&lt;script&gt;").count() == 2, "{page}");
}

fn reviewed(vendors: [(&str, u32, &[&'static str]); 2]) -> Summary {
    let score = |(vendor, score, failed): (&str, u32, &[&'static str])| Score {
        vendor: vendor.parse().expect("a name"),
        score,
        passed: Vec::new(),
        failed: failed.to_vec(),
    };
    Summary {
        at: now().minus(Duration::from_hours(5)),
        scorecard: vendors.map(score).to_vec(),
        open: BTreeMap::from([(Severity::Critical, 1), (Severity::Low, 3)]),
        waived: 2,
    }
}
