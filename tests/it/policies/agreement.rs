//! Compares keyround's policy lint with another lint, parliament, on the corpus and on policies of AWS's own.
//!
//! `tests/policies/agreement.txt` lists each difference and which lint is right. A difference without an
//! explanation fails the test.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::corpus::{check_golden, findings, policies};
use crate::support::python;

/// The topics that both can find: our codes, and their issues.
const TOPICS: [(&str, &[&str], &[&str]); 9] = [
    ("no policy", &["KR500"], &["MALFORMED", "MALFORMED_JSON", "INVALID_ARN", "EXCEPTION"]),
    ("privilege escalation", &["KR501", "KR509"], &["PRIVILEGE_ESCALATION"]),
    (
        "changes of rights",
        &["KR501", "KR502", "KR503", "KR504", "KR506"],
        &["PERMISSIONS_MANAGEMENT_ACTIONS"],
    ),
    ("credentials given out", &["KR501", "KR504", "KR505"], &["CREDENTIALS_EXPOSURE"]),
    ("resources not named", &["KR510"], &["RESOURCE_STAR", "RESOURCE_EFFECTIVELY_STAR"]),
    ("all resources but some", &["KR508"], &["NOTRESOURCE_WITH_ALLOW"]),
    ("unknown actions", &["KR511"], &["UNKNOWN_ACTION", "UNKNOWN_PREFIX"]),
    ("old language", &["KR512"], &["NO_VERSION", "OLD_VERSION", "INVALID_VERSION"]),
    ("resource of another kind", &[], &["RESOURCE_MISMATCH"]),
];

/// For each kind of difference: which lint finds something, and why it is or is not right.
const EXPLAINED: [(&str, Side, &str); 14] = [
    (
        "no policy",
        Side::Ours,
        "IAM refuses it from a customer: JSON with commas, empty lists, or more than 10,240 characters, which only AWS's own have",
    ),
    (
        "no policy",
        Side::Theirs,
        "a trust policy has no Resource, which parliament does not know: it is a policy",
    ),
    (
        "privilege escalation",
        Side::Ours,
        "both lists are right; ours knows ways that parliament's lacks, and weighs one bucket's * as *",
    ),
    (
        "privilege escalation",
        Side::Theirs,
        "a key for nobody but oneself gives no more rights; parliament does not weigh ${aws:username}",
    ),
    (
        "changes of rights",
        Side::Ours,
        "we accuse every iam: action and every wildcard on changes, not only AWS's level Permissions management",
    ),
    (
        "changes of rights",
        Side::Theirs,
        "an action of AWS's level Permissions management outside of IAM that is named, not matched: the vendor asked for it by name",
    ),
    ("credentials given out", Side::Ours, "we accuse every iam: action, also those that give nothing out"),
    (
        "credentials given out",
        Side::Theirs,
        "an action whose answer is a credential is the purpose of a login; a role or token that is named is meant",
    ),
    (
        "resources not named",
        Side::Ours,
        "actions that AWS has since learned to hold to resources; parliament's table is of April 2025",
    ),
    (
        "resources not named",
        Side::Theirs,
        "parliament also accuses actions that only list, what a condition narrows, services that our table lacks, and what we call NotAction or no JSON",
    ),
    ("unknown actions", Side::Ours, "names that AWS has since taken back, or never had"),
    (
        "unknown actions",
        Side::Theirs,
        "a service or an action that our table lacks, which is said as such: who may be right is not accused",
    ),
    ("old language", Side::Ours, "parliament does not read it as a policy at all"),
    (
        "resource of another kind",
        Side::Theirs,
        "a resource that no action of the statement takes gives nothing; we do not judge it",
    ),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Ours,
    Theirs,
}

/// Some of AWS's own managed policies, read from moto, which contains them.
const MANAGED: [&str; 40] = [
    "SecurityAudit",
    "ViewOnlyAccess",
    "ReadOnlyAccess",
    "AmazonSQSReadOnlyAccess",
    "PowerUserAccess",
    "AmazonS3ReadOnlyAccess",
    "AmazonS3FullAccess",
    "AmazonEC2ReadOnlyAccess",
    "AmazonEC2FullAccess",
    "AWSBillingReadOnlyAccess",
    "Billing",
    "CloudWatchReadOnlyAccess",
    "CloudWatchLogsReadOnlyAccess",
    "CloudWatchFullAccess",
    "IAMReadOnlyAccess",
    "IAMFullAccess",
    "AmazonSQSFullAccess",
    "AmazonSNSReadOnlyAccess",
    "AmazonKinesisReadOnlyAccess",
    "AWSCloudTrail_ReadOnlyAccess",
    "AWSCloudTrail_FullAccess",
    "AWSLambda_FullAccess",
    "AWSLambda_ReadOnlyAccess",
    "AmazonRDSReadOnlyAccess",
    "DatabaseAdministrator",
    "SupportUser",
    "SystemAdministrator",
    "NetworkAdministrator",
    "DataScientist",
    "AmazonSSMReadOnlyAccess",
    "AWSOrganizationsReadOnlyAccess",
    "AmazonEC2ContainerRegistryPowerUser",
    "ResourceGroupsandTagEditorReadOnlyAccess",
    "AmazonDynamoDBReadOnlyAccess",
    "AmazonAthenaFullAccess",
    "AWSSupportAccess",
    "SecretsManagerReadWrite",
    "AmazonRoute53ReadOnlyAccess",
    "CloudFrontReadOnlyAccess",
    "AWSPriceListServiceFullAccess",
];

#[test]
fn each_difference_from_the_parliament_lint_is_explained() {
    let mut policies = policies();
    let managed = ask(&json!({ "managed": MANAGED.as_slice() }));
    let managed: BTreeMap<String, String> = serde_json::from_value(managed).expect("texts");
    policies.extend(managed.into_iter().map(|(name, text)| (format!("aws-{name}"), text)));
    assert!(policies.len() >= 50, "{}", policies.len());
    let theirs: BTreeMap<String, Vec<String>> =
        serde_json::from_value(ask(&json!(policies))).expect("lists of issues");
    let (mut both, mut neither, mut differences) = (0, 0, String::new());
    for (name, found) in findings(&policies) {
        let codes: Vec<&str> = found.iter().filter_map(|finding| finding["code"].as_str()).collect();
        for (topic, our_codes, their_issues) in TOPICS {
            let ours = codes.iter().any(|code| our_codes.contains(code));
            let their = theirs[&name].iter().any(|issue| their_issues.contains(&issue.as_str()));
            let side = match (ours, their) {
                (true, false) => Side::Ours,
                (false, true) => Side::Theirs,
                (true, true) => {
                    both += 1;
                    continue;
                }
                (false, false) => {
                    neither += 1;
                    continue;
                }
            };
            let why =
                EXPLAINED.iter().find(|(of, who, _)| *of == topic && *who == side).map(|(_, _, why)| *why);
            let why = why.unwrap_or_else(|| {
                panic!("{name}: {topic}: only {side:?} finds it: {codes:?}, {:?}", theirs[&name])
            });
            writeln!(differences, "{name}: {topic}: only {side:?}: {why}").expect("memory");
        }
    }
    let differing = differences.lines().count();
    let head = format!(
        "policies: {}; by topic, both find it: {both}, neither: {neither}, one of the two: {differing}\n",
        policies.len()
    );
    print!("{head}");
    check_golden("tests/policies/agreement.txt", &format!("{head}{differences}"));
}

fn ask(question: &Value) -> Value {
    let answer = python::ask("parliament_lint.py", question).expect("parliament answers");
    serde_json::from_str(&answer).expect("JSON")
}
