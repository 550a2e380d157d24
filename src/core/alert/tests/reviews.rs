//! The alerts that a review raises.

use super::*;
use crate::review::audit::rules::{ROOT_KEYS, ROOT_USED, TABLE};
use crate::review::audit::{self, AccountReview, Finding, Review, Waived};
use crate::review::policy::{Rule, Severity};

fn reviewed(findings: &[Finding], is_whole: bool) -> ActiveAlerts {
    let review = Review { findings: findings.to_vec(), scorecard: Vec::new(), ranking: Vec::new() };
    let reviewed = AccountReview { account: None, review, is_whole };
    ActiveAlerts::default().with_review(&audit::findings(&[reviewed], now()))
}

fn rule(severity: Severity) -> &'static Rule {
    let mut rules = TABLE.into_iter().filter(|rule| rule.severity == severity && rule.code != ROOT_KEYS.code);
    rules.next().expect("a rule of each severity")
}

fn of(vendor: &str, severity: Severity) -> Finding {
    Finding::new(rule(severity), format!("vendor/{vendor}"), "it is so").of(Some(&name(vendor)))
}

fn root() -> Finding {
    Finding::new(&ROOT_KEYS, "arn:aws:iam::111122223333:root", "root has keys")
}

#[test]
fn severe_findings_raise_one_alert_per_vendor_and_a_separate_root_alert() {
    let findings =
        [root(), of("acme", Severity::High), of("acme", Severity::Critical), of("zeta", Severity::Medium)];
    let active = reviewed(&findings, true);
    let alerts: Vec<&Alert> = active.firing().collect();
    let words: Vec<_> = alerts.iter().map(|alert| (alert.key().0.clone(), alert.reason.as_str())).collect();
    let worst = rule(Severity::Critical).code;
    assert_eq!(words, [("audit/acme".to_owned(), worst), ("root-key".to_owned(), ROOT_KEYS.code)]);
    let fix = rule(Severity::Critical).fix;
    assert_eq!(alerts[0].sentence, format!("it is so; to mend it: {fix}; and 1 more: `keyround audit`"));
    assert_eq!(
        ROOT_USED.severity.max(Severity::High),
        Severity::High,
        "root's use is no alert of root's keys"
    );
}

#[test]
fn a_waived_finding_raises_no_alert() {
    let waived = Waived { reason: "the vendor leaves".to_owned(), until: now() + HOUR };
    let finding = Finding { waived: Some(waived), ..of("acme", Severity::Critical) };
    assert_eq!(words(&reviewed(&[finding], true)), [""; 0]);
}

#[test]
fn a_finding_alert_is_resolved_only_by_a_complete_review() {
    let mut route = Route::new(Style::Messages, &["root-key", "audit"]);
    let mut hears = |active: &ActiveAlerts, at| {
        let notifications = decide(&route.policy, &route.memory, active, &[], at);
        route.take(&notifications, at);
        short(&notifications)
    };
    let found = reviewed(&[root(), of("acme", Severity::High)], true);
    assert_eq!(hears(&found, now()), ["+audit/acme", "+root-key/"]);
    assert_eq!(hears(&active(&[], true, now()), now() + HOUR), [""; 0], "nobody reviewed");
    assert_eq!(hears(&reviewed(&[], false), now() + HOUR), [""; 0], "something could not be read");
    assert_eq!(hears(&reviewed(&[root()], true), now() + HOUR), ["-audit/acme"]);
    assert_eq!(hears(&reviewed(&[], true), now() + HOUR * 2), ["-root-key/"]);
}
