//! The advice for a key at this moment, and the ranking of keys.

use std::time::Duration;

use crate::core::rotation::KeyStatus;
use crate::core::schedule::Ages;
use crate::core::time::Timestamp;
use crate::review::audit::declared::RotationPractice;
use crate::review::audit::facts::{Console, Facts, Key, Root, Use, User};
use crate::review::audit::{Declared, DeclaredVendor, Finding, GivenAccess, Review, review};

const NOW: u64 = 20_000;
const OLD: &str = "AKIAIOSFODNN7OLDOLD1";
const NEW: &str = "AKIAIOSFODNN7NEWNEW1";

fn day(number: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(number * 86_400).expect("a day of this century"))
}

fn key(id: &str, age_days: u64, used_days_ago: Option<u64>, status: KeyStatus) -> Key {
    let last_use =
        used_days_ago.map(|ago| Use { at: day(NOW - ago), service: Some("s3".to_owned()), region: None });
    let id = id.parse().expect("an id");
    Key { id, status, created_at: day(NOW - age_days), last_use, origins: None }
}

fn user(name: &str, keys: Vec<Key>) -> User {
    User {
        name: name.parse().expect("a name"),
        arn: format!("arn:aws:iam::111122223333:user/{name}"),
        path: "/".to_owned(),
        created_at: day(0),
        console: Console::default(),
        keys,
        policies: Vec::new(),
        boundary: None,
        used: None,
    }
}

fn facts(users: Vec<User>) -> Facts {
    Facts {
        account_id: "111122223333".parse().expect("an account"),
        caller: "arn:aws:iam::111122223333:user/reviewer".to_owned(),
        at: day(NOW),
        root: Root::default(),
        users,
        roles: Vec::new(),
        trails: None,
        gaps: Vec::new(),
    }
}

fn with_keys(name: &str, user: &str) -> DeclaredVendor {
    let days = |number: u64| Duration::from_secs(number * 86_400);
    DeclaredVendor {
        name: name.parse().expect("a name"),
        enabled: true,
        given: GivenAccess::Keys {
            users: vec![user.parse().expect("a name")],
            path: None,
            ages: Ages { max_age: days(90), warn_before: days(7), overdue_after: days(7), deadline: None },
            care: RotationPractice { soak: days(1), cool: days(7), verified: true },
        },
        actions: Vec::new(),
        known: None,
    }
}

fn declared(vendors: Vec<DeclaredVendor>) -> Declared {
    Declared { vendors, ..Declared::default() }
}

fn of_keys(review: &Review) -> Vec<&Finding> {
    review.findings.iter().filter(|finding| finding.rule.code.starts_with("KR4")).collect()
}

/// An old key that is no longer used, and a key that was never used: the advice for both would be to deactivate
/// them.
fn idle() -> Facts {
    let keys = vec![key(OLD, 400, Some(200), KeyStatus::Active), key(NEW, 60, None, KeyStatus::Active)];
    facts(vec![user("svc", keys)])
}

#[test]
fn a_finding_on_a_rotating_user_advises_no_key_command() {
    let mut declared = declared(vec![with_keys("acme", "svc")]);
    let fixes = |declared: &Declared| -> Vec<String> {
        of_keys(&review(&idle(), declared)).iter().map(|finding| finding.fix.clone()).collect()
    };
    assert!(fixes(&declared).iter().any(|fix| fix.contains("--status Inactive")), "nothing is under way");
    declared.rotating.insert("svc".parse().expect("a name"));
    for fix in fixes(&declared) {
        assert!(!fix.contains("aws iam") && !fix.contains("keyround rotate"), "{fix}");
        assert!(fix.contains("keyround status acme"), "{fix}");
    }
}

#[test]
fn a_key_created_by_keyround_gets_no_manual_fix_command() {
    let mut declared = declared(vec![with_keys("acme", "svc")]);
    declared.made.insert(NEW.parse().expect("an id"));
    for finding in of_keys(&review(&idle(), &declared)) {
        let is_command_on_it = finding.fix.contains("aws iam") && finding.fix.contains(NEW);
        assert!(!is_command_on_it, "{}: {}", finding.rule.code, finding.fix);
        let is_about_both = finding.rule.code == "KR404";
        assert!(
            !(is_about_both && finding.fix.contains("aws iam")),
            "the vendor may hold either: {}",
            finding.fix
        );
    }
    let expired = facts(vec![user("svc", vec![key(NEW, 60, None, KeyStatus::Expired)])]);
    assert!(!of_keys(&review(&expired, &declared))[0].fix.contains("delete-access-key"));
}

#[test]
fn the_fix_for_a_disabled_vendor_starts_with_enabling_it() {
    let mut vendor = with_keys("acme", "svc");
    let old = || facts(vec![user("svc", vec![key(OLD, 400, Some(1), KeyStatus::Active)])]);
    let fix =
        |vendor: &DeclaredVendor| of_keys(&review(&old(), &declared(vec![vendor.clone()])))[0].fix.clone();
    assert_eq!(fix(&vendor), "keyround rotate acme");
    vendor.enabled = false;
    assert!(fix(&vendor).starts_with("set enabled = true"), "{}", fix(&vendor));
}

#[test]
fn a_key_beside_a_role_fails_the_scorecard_of_the_vendor() {
    let mut vendor = with_keys("acme", "svc");
    vendor.given = GivenAccess::Role {
        role_arn: "arn:aws:iam::111122223333:role/acme".to_owned(),
        vendor_account_id: None,
    };
    let score = |user_name: &str, by_journal: bool| {
        let mut declared = declared(vec![vendor.clone()]);
        if by_journal {
            declared.rotated_for.insert("svc".parse().expect("a name"), "acme".parse().expect("a name"));
        }
        let facts = facts(vec![user(user_name, vec![key(OLD, 10, Some(1), KeyStatus::Active)])]);
        review(&facts, &declared).scorecard.remove(0).failed
    };
    assert!(score("svc", true).contains(&"no key beside the role"), "the journal knows whose it was");
    assert!(score("vendor-acme", false).contains(&"no key beside the role"), "and so does its name");
    assert!(!score("somebody", false).contains(&"no key beside the role"));
}

#[test]
fn the_oldest_key_in_use_is_ranked_first() {
    let one = |name: &str, id: &str, age, used| user(name, vec![key(id, age, used, KeyStatus::Active)]);
    let users = vec![
        one("young", "AKIAIOSFODNN7YOUNG11", 10, Some(1)),
        one("idle", "AKIAIOSFODNN7IDLEID1", 400, Some(100)),
        one("old", OLD, 400, Some(1)),
        user("off", vec![key(NEW, 400, Some(1), KeyStatus::Inactive)]),
    ];
    let ranking = review(&facts(users), &declared(Vec::new())).ranking;
    let names: Vec<&str> = ranking.iter().map(|ranked| ranked.user.as_str()).collect();
    assert_eq!(names, ["old", "idle", "young"]);
    assert_eq!(ranking[0].points, 444 * 2, "{:?}", ranking[0]);
    assert!(ranking[0].why().contains("not checked"));
}
