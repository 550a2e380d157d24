//! OCSF 1.4.0, one Compliance Finding (class 2003) for each finding: <https://schema.ocsf.io/1.4.0/classes/compliance_finding>.

use serde_json::{Value, json};

use crate::cli::audit::Reviewed;
use crate::review::audit::{Facts, Finding};
use crate::review::policy::Severity;

const CATEGORY: u32 = 2;
const CLASS: u32 = 2003;
/// The activity Create: the finding exists now.
const ACTIVITY: u32 = 1;

pub(crate) fn events(reviewed: &[Reviewed]) -> Vec<Value> {
    let of_account =
        |one: &Reviewed| one.review.findings.iter().map(|found| event(&one.facts, found)).collect::<Vec<_>>();
    reviewed.iter().flat_map(of_account).collect()
}

fn event(facts: &Facts, finding: &Finding) -> Value {
    let millis = facts.at.unix_seconds() * 1000;
    let (severity_id, severity) = severity(finding.severity());
    let references: Vec<String> = finding.rule.references.iter().map(ToString::to_string).collect();
    let mut event = json!({
        "activity_id": ACTIVITY, "activity_name": "Create",
        "category_uid": CATEGORY, "category_name": "Findings",
        "class_uid": CLASS, "class_name": "Compliance Finding",
        "type_uid": CLASS * 100 + ACTIVITY, "type_name": "Compliance Finding: Create",
        "time": millis,
        "severity_id": severity_id, "severity": severity,
        "status_id": 1, "status": "New",
        "message": finding.sentence,
        "metadata": {
            "version": "1.4.0",
            "product": { "name": "keyround", "vendor_name": "keyround", "version": env!("CARGO_PKG_VERSION") },
            "event_code": finding.rule.code,
            "profiles": ["cloud"],
        },
        "cloud": {
            "provider": "AWS",
            "account": { "uid": facts.account_id, "type": "AWS Account", "type_id": 10 },
        },
        "finding_info": {
            "uid": format!("{}/{}", facts.account_id, finding.id()),
            "title": finding.rule.title,
            "desc": finding.rule.why,
            "created_time": millis,
        },
        "compliance": {
            "control": finding.rule.code,
            "standards": ["keyround"],
            "requirements": references,
            "status_id": 3, "status": "Fail",
        },
        "remediation": { "desc": finding.fix },
        "resources": [{ "uid": finding.subject, "cloud_partition": facts.partition() }],
        "unmapped": { "vendor": finding.vendor, "evidence": finding.evidence },
    });
    if let Some(waived) = &finding.waived {
        event["status_id"] = json!(3);
        event["status"] = json!("Suppressed");
        event["status_detail"] = json!(format!("accepted until {}: {}", waived.until, waived.reason));
    }
    event
}

fn severity(severity: Severity) -> (u32, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}
