//! Vendors and users with a fault, each beside nine without one.

use std::collections::BTreeMap;

use super::*;
use crate::support::moto::Rule;

/// The bound on resident memory. A process that read a gigabyte would need ten times as much.
const PEAK_KIB_MAX: u64 = 100 * 1024;

fn nine_good(emulator: &Emulator) -> Vec<Member> {
    let kinds = KINDS.iter().cycle().take(9).enumerate();
    kinds.map(|(index, kind)| Member::new(emulator, &format!("good-{index}"), *kind, OLD_DAYS)).collect()
}

/// A vendor that gives the same answer to each attempt.
fn misbehaving(emulator: &Emulator, name: &str, answer: &Answer) -> Member {
    // A webhook is accepted by its status alone, so a body matters only for a vendor of another kind.
    let kind = if matches!(answer, Answer::Floods) { Kind::TwoSteps } else { Kind::Webhook };
    let member = Member { kind, ..Member::new(emulator, name, Kind::Webhook, OLD_DAYS) };
    member.vendor.script(std::iter::repeat_n(answer.clone(), 20));
    member
}

#[test]
fn a_failing_vendor_keeps_both_keys_and_stops_no_other_vendor() {
    let (emulator, elsewhere) = (Emulator::start(), Vendor::start());
    let redirect = Answer::status(307).header("location", &elsewhere.url("/aws"));
    let bad = [
        ("answers-500", Answer::status(500), "answered 500"),
        ("answers-404", Answer::status(404), "answered 404"),
        ("gone", Answer::status(410), "answered 410"),
        ("redirects", redirect, "redirects are not followed"),
        ("garbles", Answer::Garbage, "did not answer in HTTP"),
        ("floods", Answer::Floods, "not with the JSON that was expected"),
        ("is-silent", Answer::Hangs, "did not answer within 1s"),
    ];
    let sentences: BTreeMap<&str, &str> = bad.iter().map(|(name, _, words)| (*name, *words)).collect();
    let bad: Vec<Member> = bad.iter().map(|(name, answer, _)| misbehaving(&emulator, name, answer)).collect();
    let good = nine_good(&emulator);
    let all: Vec<&Member> = bad.iter().chain(&good).collect();
    let program = program(&emulator, &all);
    let ran = program.run(&["rotate", "-vv", "--format", "json"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let shown = ran.json();
    for member in &bad {
        println!("{}: {}", member.name, sentence(&shown, &member.name));
    }
    for member in &bad {
        member.assert_both_keys_work(&emulator);
        let expected = if member.name == "gone" { "stuck" } else { "wait" };
        assert_eq!(row(&shown, &member.name)["action"], expected, "{}", member.name);
        let sentence = sentence(&shown, &member.name);
        assert!(sentence.contains(sentences[member.name.as_str()]), "{sentence}");
        let safe = ["no key was taken away", "no key is touched"];
        assert!(safe.iter().any(|words| sentence.contains(words)), "{sentence}");
        assert_eq!(member.held(), member.old, "{}", member.name);
        assert_one_message(member);
    }
    for member in &good {
        member.assert_rotated(&emulator);
    }
    let users: Vec<String> = bad.iter().map(arn).collect();
    assert_eq!(who_signs(&emulator, &bad.iter().map(|member| member.old.clone()).collect::<Vec<_>>()), users);
    assert_eq!(elsewhere.connections(), 0);
    let flooded_bytes = bad.iter().map(|member| member.vendor.flooded_bytes()).sum::<u64>();
    println!("a body of a gigabyte: {flooded_bytes} bytes taken, {} KiB resident at most", ran.peak_kib);
    assert!((1..PEAK_KIB_MAX).contains(&ran.peak_kib));
    assert_eq!(row(&program.json(1, &["status"]), "gone")["state"], "stuck");
    program.assert_no_secret_was_seen(&emulator);
}

/// However often the message was sent, it had one webhook id.
fn assert_one_message(member: &Member) {
    let requests = member.vendor.requests();
    let ids: BTreeSet<_> = requests.iter().map(|request| request.headers.get("webhook-id")).collect();
    assert_eq!(ids.len(), 1, "{}: {ids:?}", member.name);
    let attempts = if member.name == "gone" { 1 } else { 3 };
    assert_eq!(requests.len(), attempts, "{}", member.name);
}

#[test]
fn a_user_with_a_problem_is_reported_and_left_unchanged() {
    let emulator = Emulator::start();
    let member = |name: &str| Member::new(&emulator, name, Kind::Webhook, OLD_DAYS);
    let two_keys = member("two-keys");
    let absent = Member { user: "vendor-abesnt".to_owned(), ..member("absent") };
    let (unlistable, uncreatable) = (member("unlistable"), member("uncreatable"));
    emulator.seed_second_key(&two_keys.user, 200.0);
    for (member, action) in [(&unlistable, "iam:ListAccessKeys"), (&uncreatable, "iam:CreateAccessKey")] {
        emulator.order(&Rule::error(action, 403, "AccessDenied").about(&member.user).times(u32::MAX));
    }
    let good = nine_good(&emulator);
    let bad = [&two_keys, &absent, &unlistable, &uncreatable];
    let all: Vec<&Member> = bad.into_iter().chain(&good).collect();
    let program = program(&emulator, &all);
    let shown = program.json(1, &["rotate", "-vv"]);
    let expected = [
        ("two-keys", "stuck", "no_free_slot", "has a second access key"),
        ("absent", "stuck", "no_such_user", "correct the name"),
        ("unlistable", "stuck", "access_denied", "allow the rotator iam:ListAccessKeys"),
        ("uncreatable", "wait", "backoff", "iam:CreateAccessKey"),
    ];
    for (name, action, reason, words) in expected {
        let (row, sentence) = (row(&shown, name), sentence(&shown, name));
        println!("{name}: {sentence}");
        assert_eq!((&row["action"], &row["reason"]), (&json!(action), &json!(reason)), "{name}: {sentence}");
        assert!(sentence.contains(words), "{sentence}");
    }
    for member in bad {
        member.assert_untouched(&emulator);
        // Before CreateAccessKey is sent, the program only checks that the vendor can be reached, and sends no request.
        assert_eq!(member.vendor.requests().len(), 0, "{}", member.name);
    }
    for member in &good {
        member.assert_rotated(&emulator);
    }
    program.assert_no_secret_was_seen(&emulator);
}
