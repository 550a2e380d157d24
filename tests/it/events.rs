//! Stored events stay readable: `tests/events/v1.jsonl` holds a line of each kind as the first version of the
//! format wrote it. Lines are added to it, and never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keyround::adapters::journal::{decode, encode};
use keyround::core::ids::{AccessKeyId, Subject};
use keyround::core::rotation::{
    Beginning, Doubt, EffectKind, Event, Half, Halves, IncidentMode, Intent, KeyMetadata, KeyStatus,
    KeyUsage, Plan, Refusal, RefusalCode, RemovalReason, UseEvidence, VendorAnswer, Verification, Windows,
};
use keyround::core::time::Timestamp;

const V1: &str = include_str!("../events/v1.jsonl");

#[test]
fn stored_events_of_version_1_decode_and_encode_unchanged() {
    let (lines, events) = (V1.lines().collect::<Vec<_>>(), one_of_each());
    for (line, event) in lines.iter().zip(&events) {
        assert_eq!(decode(line).as_ref(), Ok(event), "{line}");
        assert_eq!(encode(event), *line);
    }
    assert_eq!(lines.len(), events.len());
}

#[test]
fn the_version_1_samples_cover_every_kind_of_event() {
    let kinds: BTreeSet<usize> = one_of_each().iter().map(kind).collect();
    assert_eq!(kinds, (0..22).collect());
    let names: BTreeSet<&str> = one_of_each().iter().map(Event::name).collect();
    assert_eq!(names.len(), kinds.len());
}

#[test]
fn a_stored_event_has_the_name_and_time_that_are_shown() {
    for (line, event) in V1.lines().zip(one_of_each()) {
        let stored: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(stored["event"], event.name());
        assert_eq!(stored["at"], event.at().to_string());
        assert_eq!(stored["v"], 1);
    }
}

#[test]
fn every_refusal_code_is_stored_as_it_is_shown() {
    let codes = RefusalCode::ALL;
    for code in codes {
        assert_eq!(serde_json::to_value(code).expect("a word"), code.as_str());
    }
    assert_eq!(BTreeSet::from(codes).len(), codes.len());
}

#[test]
fn key_usage_is_stored_with_cloudtrail_evidence_only_if_there_is_any() {
    let witness = UseEvidence {
        event_id: "6f0f2d1c".to_owned(),
        at: at(5),
        service: "sts".to_owned(),
        call: "GetCallerIdentity".to_owned(),
        by: "arn:aws:iam::111122223333:user/vendor-acme".to_owned(),
        address: "203.0.113.7".to_owned(),
        agent: "aws-cli/2.31".to_owned(),
    };
    let read = |usage| Event::UsageRead { usage: BTreeMap::from([(new(), usage)]), at: at(9) };
    let seen = read(KeyUsage::Never.witnessed(witness));
    let line = encode(&seen);
    assert_eq!(decode(&line), Ok(seen));
    assert!(line.contains(r#""witness":{"event_id":"6f0f2d1c","at":"#), "{line}");
    let unseen =
        read(KeyUsage::Used { last_used_at: at(5), service: "sts".to_owned(), region: None, witness: None });
    assert!(!encode(&unseen).contains("witness"));
}

#[test]
fn the_halves_that_a_vendor_holds_are_stored_only_if_known() {
    let halves = Halves { id: Half::New, secret: Half::Old };
    let doubt = Doubt { pairs: vec![halves], ..doubt(None) };
    let event = Event::Unanswered { doing: EffectKind::Deliver, doubt, at: at(9) };
    let line = encode(&event);
    assert!(line.contains(r#""pairs":[{"id":"new","secret":"old"}]"#), "{line}");
    assert_eq!(decode(&line), Ok(event));
    let whole = Event::Unanswered { doing: EffectKind::Deliver, doubt: self::doubt(None), at: at(9) };
    assert!(!encode(&whole).contains("pairs"));
}

#[test]
fn the_answer_of_a_vendor_is_stored_only_if_there_is_one() {
    let said = VendorAnswer {
        method: "PUT".to_owned(),
        path: Some("/v1/keys".to_owned()),
        status: 403,
        words: Some("quota exceeded".to_owned()),
    };
    let refusal = Refusal { said: Some(Box::new(said)), ..refusal(RefusalCode::VendorRefused) };
    let event = Event::Refused { doing: EffectKind::Deliver, refusal, at: at(9) };
    let line = encode(&event);
    let expected = r#""said":{"method":"PUT","path":"/v1/keys","status":403,"words":"quota exceeded"}"#;
    assert!(line.contains(expected), "{line}");
    assert_eq!(decode(&line), Ok(event.clone()));
    assert!(event.in_words().contains("(PUT /v1/keys: \"quota exceeded\")"), "{}", event.in_words());
    let unsaid = Event::Refused {
        doing: EffectKind::Deliver,
        refusal: self::refusal(RefusalCode::NotSent),
        at: at(9),
    };
    assert!(!encode(&unsaid).contains(r#""said":"#));
}

#[test]
fn an_unknown_field_of_a_stored_event_is_ignored() {
    let line = r#"{"v":1,"event":"probed","region":"eu-west-1","at":"2026-11-23T03:00:17Z"}"#;
    let at = "2026-11-23T03:00:17Z".parse().expect("a time");
    assert_eq!(decode(line), Ok(Event::Probed { at }));
}

/// A number for each kind of event. A new kind does not compile here until a developer has added its line.
fn kind(event: &Event) -> usize {
    match event {
        Event::Started { .. } => 0,
        Event::Intended { .. } => 1,
        Event::Listed { .. } => 2,
        Event::Created { .. } => 3,
        Event::Probed { .. } => 4,
        Event::Delivered { .. } => 5,
        Event::Verified { .. } => 6,
        Event::UsageRead { .. } => 7,
        Event::Deactivated { .. } => 8,
        Event::Reactivated { .. } => 9,
        Event::Deleted { .. } => 10,
        Event::Refused { .. } => 11,
        Event::Unanswered { .. } => 12,
        Event::Held { .. } => 13,
        Event::Resumed { .. } => 14,
        Event::ReactivationAsked { .. } => 15,
        Event::Abandoned { .. } => 16,
        Event::Revealed { .. } => 17,
        Event::Acknowledged { .. } => 18,
        Event::IncidentDeclared { .. } => 19,
        Event::IssueAsked { .. } => 20,
        Event::OffboardAsked { .. } => 21,
    }
}

/// Each variant, each variant of the values in it, and each optional field with and without a value.
fn one_of_each() -> Vec<Event> {
    let mut events = vec![
        started(None, Plan::default()),
        started(Some("production"), unusual_plan()),
        Event::Listed { keys: Vec::new(), at: at(2) },
        Event::Listed { keys: every_status(), at: at(3) },
        Event::Created { key: new(), at: at(4), request_id: None },
        Event::Created { key: new(), at: at(5), request_id: Some(request_id()) },
        Event::Probed { at: at(6) },
        Event::Delivered { at: at(7) },
        Event::Verified { by: Verification::Asked, at: at(8) },
        Event::Verified { by: Verification::Acceptance, at: at(9) },
        Event::UsageRead { usage: every_usage(), at: at(10) },
        Event::Deactivated { at: at(11), request_id: None },
        Event::Deactivated { at: at(12), request_id: Some(request_id()) },
        Event::Reactivated { at: at(13) },
        Event::Deleted { at: at(14), request_id: None },
        Event::Deleted { at: at(15), request_id: Some(request_id()) },
        Event::Unanswered { doing: EffectKind::Create, doubt: doubt(None), at: at(16) },
        Event::Unanswered { doing: EffectKind::Deliver, doubt: doubt(Some(30)), at: at(17) },
        Event::Held { until: None, by: by(), why: "a freeze".to_owned(), at: at(18) },
        Event::Held { until: Some(at(86_400)), by: by(), why: "a freeze".to_owned(), at: at(19) },
        Event::Resumed { by: by(), at: at(20) },
        Event::ReactivationAsked {
            by: by(),
            why: "the vendor's \"nightly\" job".to_owned(),
            exposed: false,
            at: at(21),
        },
        Event::Abandoned { by: by(), why: "the vendor is gone – för immer".to_owned(), at: at(22) },
    ];
    events.extend(every_intent().into_iter().map(|intent| Event::Intended { intent, at: at(23) }));
    events.extend(RefusalCode::ALL.into_iter().map(|code| refused(EffectKind::Deliver, code)));
    events.extend(every_doing().into_iter().map(|doing| refused(doing, RefusalCode::Other)));
    events.extend(of_a_hand_over());
    events.extend(of_an_incident());
    events.extend(of_an_issue());
    events.extend(of_an_offboarding());
    events
}

/// The events that were added for deliveries by hand, after the others.
fn of_a_hand_over() -> [Event; 4] {
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".to_owned();
    let why = "the terminal was closed".to_owned();
    [
        started(None, Plan { by_hand: true, ..Plan::default() }),
        Event::Revealed { by: by(), why: None, recipient: None, at: at(25) },
        Event::Revealed { by: by(), why: Some(why), recipient: Some(recipient), at: at(26) },
        Event::Acknowledged { by: by(), at: at(27) },
    ]
}

fn of_an_incident() -> [Event; 5] {
    let declared = |mode, key, cut_only, seconds| Event::IncidentDeclared {
        mode,
        key,
        cut_only,
        by: by(),
        why: "the key was in a public repository".to_owned(),
        at: at(seconds),
    };
    let why = "it was a test key".to_owned();
    let intent = Intent::Deactivate { key: old(), because: RemovalReason::Exposed };
    [
        declared(IncidentMode::ReplaceFirst, old(), false, 28),
        declared(IncidentMode::CutFirst, other(), true, 29),
        declared(IncidentMode::CutAndHold, new(), false, 30),
        Event::Intended { intent, at: at(31) },
        Event::ReactivationAsked { by: by(), why, exposed: true, at: at(32) },
    ]
}

fn of_an_issue() -> [Event; 2] {
    let asked = |account_id| {
        let Event::Started { subject, .. } = started(None, Plan::default()) else { panic!("it is started") };
        Event::IssueAsked { subject, plan: Plan::default(), account_id, by: by(), at: at(33) }
    };
    [asked(None), asked(Some("111122223333".parse().expect("an account")))]
}

fn of_an_offboarding() -> [Event; 4] {
    let Event::Started { subject, .. } = started(None, Plan::default()) else { panic!("it is started") };
    let account_id = Some("111122223333".parse().expect("an account"));
    let begins = Some(Box::new(Beginning { subject, plan: Plan::default(), account_id }));
    let asked = |begins, keys| Event::OffboardAsked {
        begins,
        keys,
        by: by(),
        why: "the contract ended".to_owned(),
        at: at(34),
    };
    let because = || RemovalReason::Offboarded;
    [
        asked(begins, every_status()),
        asked(None, Vec::new()),
        Event::Intended { intent: Intent::Deactivate { key: old(), because: because() }, at: at(35) },
        Event::Intended { intent: Intent::Delete { key: old(), because: because() }, at: at(36) },
    ]
}

fn refused(doing: EffectKind, code: RefusalCode) -> Event {
    Event::Refused { doing, refusal: refusal(code), at: at(24) }
}

fn every_doing() -> [EffectKind; 9] {
    [
        EffectKind::List,
        EffectKind::Create,
        EffectKind::Probe,
        EffectKind::Deliver,
        EffectKind::Verify,
        EffectKind::ReadUsage,
        EffectKind::Deactivate,
        EffectKind::Reactivate,
        EffectKind::Delete,
    ]
}

fn started(account: Option<&str>, plan: Plan) -> Event {
    let subject = Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: account.map(|name| name.parse().expect("an account")),
        iam_user: "vendor-acme".parse().expect("a user"),
    };
    Event::Started {
        subject,
        old: old(),
        old_created_at: at(0),
        reason: "too_old".to_owned(),
        plan,
        account_id: None,
        at: at(1),
    }
}

fn unusual_plan() -> Plan {
    let windows =
        ["Mon-Fri 09:00-17:00", "Sat,Sun 22:00-06:00"].map(|window| window.parse().expect("a window"));
    Plan {
        soak: Duration::from_secs(1),
        require_use: false,
        quiet_for: Duration::ZERO,
        cool: Duration::from_secs(2),
        prove_successes: 1,
        prove_every: Duration::from_secs(3),
        doubt_window: Duration::from_secs(4),
        can_ask_vendor: true,
        by_hand: false,
        windows: Windows::new(chrono_tz::Europe::Berlin, windows.to_vec()),
    }
}

fn every_status() -> Vec<KeyMetadata> {
    [(old(), KeyStatus::Active), (new(), KeyStatus::Inactive), (other(), KeyStatus::Expired)]
        .map(|(id, status)| KeyMetadata { id, status, created_at: at(0) })
        .to_vec()
}

fn every_usage() -> BTreeMap<AccessKeyId, KeyUsage> {
    let used = KeyUsage::Used { last_used_at: at(0), service: "s3".to_owned(), region: None, witness: None };
    BTreeMap::from([(old(), used), (new(), KeyUsage::Never), (other(), KeyUsage::Gone)])
}

fn every_intent() -> [Intent; 7] {
    let superseded = || RemovalReason::Superseded { by: new(), verified_at: at(9) };
    [
        Intent::Create,
        Intent::Deliver { key: new(), round: 1 },
        Intent::Deactivate { key: old(), because: superseded() },
        Intent::Deactivate { key: new(), because: RemovalReason::NeverOffered },
        Intent::Reactivate { key: old() },
        Intent::Delete { key: old(), because: superseded() },
        Intent::Delete { key: new(), because: RemovalReason::NeverOffered },
    ]
}

fn refusal(code: RefusalCode) -> Refusal {
    let retry_after = (code == RefusalCode::Throttled).then(|| Duration::from_mins(2));
    Refusal {
        code,
        sentence: "the vendor said no".to_owned(),
        retry_after,
        nothing_sent: false,
        pairs: Vec::new(),
        said: None,
    }
}

fn doubt(retry_after_secs: Option<u64>) -> Doubt {
    let retry_after = retry_after_secs.map(Duration::from_secs);
    Doubt { sentence: "no answer in 20s".to_owned(), retry_after, pairs: Vec::new(), said: None }
}

fn at(seconds: u64) -> Timestamp {
    "2026-11-23T03:00:00Z".parse::<Timestamp>().expect("a time") + Duration::from_secs(seconds)
}

fn by() -> String {
    "alex@ops-1".to_owned()
}

fn request_id() -> String {
    "7a62c49f-347e-4fc4-9331-6e8eEXAMPLE".to_owned()
}

fn old() -> AccessKeyId {
    "AKIAOLD0000000000001".parse().expect("a key id")
}

fn new() -> AccessKeyId {
    "AKIANEW0000000000001".parse().expect("a key id")
}

fn other() -> AccessKeyId {
    "AKIAOTHER00000000001".parse().expect("a key id")
}
