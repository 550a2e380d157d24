//! AWS Security Finding Format, for `aws securityhub batch-import-findings --findings file://…`.
//!
//! A finding has the same Id in every run, so that an import updates it and does not add it again.

use serde_json::{Value, json};

use super::cut;
use crate::cli::audit::Reviewed;
use crate::review::audit::{Facts, Finding};
use crate::review::policy::Severity;

/// The region of the findings if none is configured, because a finding needs one.
const REGION_OF_LAST_RESORT: &str = "us-east-1";

/// The maximum number of findings in one import call.
const BATCH: usize = 100;

/// The findings in lists that each fit into one import call; one empty list if there are no findings.
pub(crate) fn batches(reviewed: &[Reviewed], region: Option<&str>) -> Vec<Vec<Value>> {
    let all = findings(reviewed, region);
    if all.is_empty() { vec![all] } else { all.chunks(BATCH).map(<[Value]>::to_vec).collect() }
}

fn findings(reviewed: &[Reviewed], region: Option<&str>) -> Vec<Value> {
    let region = region.unwrap_or(REGION_OF_LAST_RESORT);
    let of_account = |one: &Reviewed| {
        one.review.findings.iter().map(|found| finding(&one.facts, found, region)).collect::<Vec<_>>()
    };
    reviewed.iter().flat_map(of_account).collect()
}

fn finding(facts: &Facts, finding: &Finding, region: &str) -> Value {
    let (account, partition) = (&facts.account_id, facts.partition());
    let at = facts.at.to_string();
    let mut product = json!({
        "keyround/Code": finding.rule.code,
        "keyround/Evidence": cut(&Value::from_iter(finding.evidence.clone()).to_string(), 1024),
    });
    if let Some(vendor) = &finding.vendor {
        product["keyround/Vendor"] = json!(vendor);
    }
    let references: Vec<String> = finding.rule.references.iter().map(ToString::to_string).collect();
    let mut shown = json!({
        "SchemaVersion": "2018-10-08",
        "Id": cut(&format!("keyround/{account}/{}", finding.id()), 512),
        "ProductArn": format!("arn:{partition}:securityhub:{region}:{account}:product/{account}/default"),
        "ProductName": "keyround",
        "GeneratorId": format!("keyround/{}", finding.rule.code),
        "AwsAccountId": account,
        "Types": ["Software and Configuration Checks/AWS Security Best Practices"],
        "CreatedAt": at,
        "UpdatedAt": at,
        "Severity": { "Label": label(finding.severity()) },
        "Title": cut(finding.rule.title, 256),
        "Description": cut(&format!("{}: {}", finding.sentence, finding.rule.why), 1024),
        "Remediation": { "Recommendation": { "Text": cut(&finding.fix, 512) } },
        "ProductFields": product,
        "Resources": [resource(finding, partition, region)],
        "Compliance": { "Status": "FAILED", "RelatedRequirements": references.iter().map(|text| cut(text, 64)).collect::<Vec<_>>() },
        "Workflow": { "Status": "NEW" },
        "RecordState": "ACTIVE",
    });
    if let Some(waived) = &finding.waived {
        shown["Workflow"] = json!({ "Status": "SUPPRESSED" });
        let text = format!("accepted until {}: {}", waived.until, waived.reason);
        shown["Note"] = json!({ "Text": cut(&text, 512), "UpdatedBy": "keyround", "UpdatedAt": at });
    }
    shown
}

fn resource(finding: &Finding, partition: &str, region: &str) -> Value {
    let subject = finding.subject.as_str();
    let kind = match subject {
        _ if subject.contains(":user/") => "AwsIamUser",
        _ if subject.contains(":role/") => "AwsIamRole",
        _ if subject.contains(":trail/") => "AwsCloudTrailTrail",
        _ if subject.ends_with(":root") => "AwsAccount",
        _ => "Other",
    };
    let id = match kind {
        "Other" => format!("keyround/{subject}"),
        _ => subject.to_owned(),
    };
    json!({ "Type": kind, "Id": cut(&id, 512), "Partition": partition, "Region": region })
}

fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "INFORMATIONAL",
        Severity::Low => "LOW",
        Severity::Medium => "MEDIUM",
        Severity::High => "HIGH",
        Severity::Critical => "CRITICAL",
    }
}
