//! Generated policies: each needed call is allowed, each other one is denied, and no part of a policy could be left
//! out.

use serde_json::{Value, json};

use super::{ACCOUNT, policy, written};
use crate::support::policy_engine::{Request, allows};

const CONFIGURATION: &str = r#"
[aws]
region = "eu-west-1"
cloudtrail = true

[account.own]
id = "111122223333"

[account.other]
id = "999988887777"
role_arn = "arn:aws:iam::999988887777:role/keyround"

[vendor.acme]
iam_user = "vendor-acme"
actions = ["s3:PutObject", "s3:GetBucketLocation", "ec2:DescribeInstances", "sqs:SendMessage"]
resources = ["arn:aws:s3:::acme-logs", "arn:aws:s3:::acme-logs/*", "arn:aws:sqs:eu-west-1:111122223333:acme"]
[[vendor.acme.deliver]]
kind = "webhook"
url = "https://acme.example/keys"
secret = "secretsmanager:acme-webhook"

[vendor.many]
path = "/vendors/many/"
[[vendor.many.deliver]]
kind = "http"
method = "PUT"
url = "https://many.example/keys"
auth = { bearer = "ssm:/many/token" }
json = { id = "{{ access_key_id }}", secret = "{{ secret_access_key }}" }

[vendor.far]
account = "other"
iam_user = "vendor-far"
[[vendor.far.deliver]]
kind = "webhook"
url = "https://far.example/keys"
secret = "env:FAR"

[vendor.greedy]
iam_user = "vendor-greedy"
actions = ["s3:*"]
[[vendor.greedy.deliver]]
kind = "webhook"
url = "https://greedy.example/keys"
secret = "env:GREEDY"

[vendor.silent]
iam_user = "vendor-silent"
[[vendor.silent.deliver]]
kind = "webhook"
url = "https://silent.example/keys"
secret = "env:SILENT"

[vendor.roly]
role_arn = "arn:aws:iam::111122223333:role/vendor-roly"
vendor_account_id = "444455556666"
"#;

fn arn(resource: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:{resource}")
}

/// The calls that the rotator makes with this configuration, according to the code that makes them.
fn needed() -> Vec<Request> {
    let mut needed = Vec::new();
    let users =
        ["user/vendor-acme", "user/vendors/many/one", "user/vendor-greedy", "user/vendor-silent"].map(arn);
    for user in &users {
        for action in ["List", "Create", "Update", "Delete"] {
            let action = format!("iam:{action}AccessKey{}", if action == "List" { "s" } else { "" });
            needed.push(Request::new(&action, user));
        }
        needed.push(Request::new("iam:GetAccessKeyLastUsed", user));
        needed.push(Request::new("iam:GetUser", user));
    }
    needed.push(Request::new("iam:SimulatePrincipalPolicy", &arn("user/rotator")));
    needed.push(Request::new("iam:SimulatePrincipalPolicy", &arn("role/rotator")));
    needed.push(Request::new("iam:ListUsers", "*"));
    needed.push(Request::new("cloudtrail:LookupEvents", "*"));
    needed.push(Request::new("secretsmanager:GetSecretValue", &secret("acme-webhook-AbCdEf")));
    let parameter = format!("arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/many/token");
    needed.push(Request::new("ssm:GetParameter", &parameter));
    needed
}

fn secret(name: &str) -> String {
    format!("arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:{name}")
}

/// The further calls that a review makes.
fn reviewed() -> Vec<Request> {
    let trail = format!("arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/all");
    let mut needed = vec![
        Request::new("cloudtrail:DescribeTrails", "*"),
        Request::new("cloudtrail:GetEventSelectors", &trail),
        Request::new("cloudtrail:GetTrailStatus", &trail),
        Request::new("iam:GenerateServiceLastAccessedDetails", &arn("user/vendor-acme")),
        Request::new("iam:GenerateServiceLastAccessedDetails", &arn("role/vendor-roly")),
        Request::new("iam:ListAccessKeys", &arn("user/somebody")),
    ];
    let account = [
        "GenerateCredentialReport",
        "GetAccountAuthorizationDetails",
        "GetAccountSummary",
        "GetCredentialReport",
        "GetServiceLastAccessedDetails",
    ];
    needed.extend(account.iter().map(|name| Request::new(&format!("iam:{name}"), "*")));
    needed
}

fn forbidden() -> Vec<Request> {
    vec![
        Request::new("iam:CreateAccessKey", &arn("user/admin")),
        Request::new("iam:CreateAccessKey", &arn("user/vendor-acme-2")),
        Request::new("iam:DeleteAccessKey", &arn("user/vendors/other/one")),
        Request::new("iam:UpdateAccessKey", &arn("user/vendor-far")),
        Request::new("iam:AttachUserPolicy", &arn("user/vendor-acme")),
        Request::new("iam:PutUserPolicy", &arn("user/vendor-acme")),
        Request::new("iam:CreateUser", &arn("user/vendors/many/two")),
        Request::new("secretsmanager:GetSecretValue", &secret("acme-webhook-2-AbCdEf")),
        Request::new("secretsmanager:PutSecretValue", &secret("acme-webhook-AbCdEf")),
    ]
}

#[test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
fn the_rotator_policy_allows_needed_calls_and_denies_forbidden_ones() {
    let policy = written(CONFIGURATION, &["rotator"]);
    check_exact(&policy, &needed(), &[forbidden(), reviewed_only()].concat());
}

#[test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
fn the_rotator_policy_with_review_also_allows_audit_reads() {
    let policy = written(CONFIGURATION, &["rotator", "--review"]);
    check_exact(&policy, &[needed(), reviewed()].concat(), &forbidden());
}

#[test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
fn the_rotator_policy_of_another_account_covers_only_its_users() {
    let policy = written(CONFIGURATION, &["rotator", "--account", "other"]);
    let user = "arn:aws:iam::999988887777:user/vendor-far";
    let allowed = [Request::new("iam:CreateAccessKey", user), Request::new("iam:ListAccessKeys", user)];
    assert_eq!(allows("999988887777", std::slice::from_ref(&policy), &allowed), [true, true]);
    let other = Request::new("iam:CreateAccessKey", "arn:aws:iam::999988887777:user/vendor-acme");
    assert_eq!(allows("999988887777", &[policy], &[other]), [false]);
}

#[test]
fn the_rotator_policy_allows_assuming_only_the_configured_roles() {
    let policy = written(CONFIGURATION, &["rotator"]);
    let statement =
        statements(&policy).into_iter().find(|one| one["Sid"] == "EnterAccounts").expect("a statement");
    assert_eq!(statement["Action"], json!(["sts:AssumeRole"]));
    assert_eq!(statement["Resource"], json!(["arn:aws:iam::999988887777:role/keyround"]));
}

#[test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
fn the_rotator_policy_denies_even_an_administrator_other_users_keys() {
    let admin =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let policy = written(CONFIGURATION, &["rotator"]);
    let others = ["Create", "Update", "Delete"]
        .map(|verb| Request::new(&format!("iam:{verb}AccessKey"), &arn("user/admin")));
    assert_eq!(allows(ACCOUNT, std::slice::from_ref(&admin), &others), [true; 3]);
    assert_eq!(allows(ACCOUNT, &[admin, policy], &others), [false; 3]);
}

#[test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
fn a_vendor_policy_allows_only_the_declared_actions_and_resources() {
    let policy = written(CONFIGURATION, &["vendor", "acme"]);
    let needed = [
        Request::new("s3:PutObject", "arn:aws:s3:::acme-logs/2026/x"),
        Request::new("s3:GetBucketLocation", "arn:aws:s3:::acme-logs"),
        Request::new("ec2:DescribeInstances", "*"),
        Request::new("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:acme"),
    ];
    let forbidden = [
        Request::new("s3:PutObject", "arn:aws:s3:::other/x"),
        Request::new("s3:DeleteObject", "arn:aws:s3:::acme-logs/2026/x"),
        Request::new(
            "ec2:TerminateInstances",
            "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0",
        ),
        Request::new("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:other"),
    ];
    check_exact(&policy, &needed, &forbidden);
}

#[test]
fn a_vendor_policy_with_wildcard_or_no_actions_is_not_written() {
    let (text, why) = policy(CONFIGURATION, 1, &["vendor", "greedy"]);
    assert_eq!(text, "");
    assert!(why.contains("KR502") && why.contains("s3:*"), "{why}");
    let (_, why) = policy(CONFIGURATION, 64, &["vendor", "silent"]);
    assert!(why.contains("names no actions that it needs"), "{why}");
}

#[test]
fn a_trust_policy_requires_the_external_id() {
    let id = "7d1b9c1e-0a35-4a5b-9a93-2f5c7e1f9d20";
    let policy = written(CONFIGURATION, &["trust", "roly", "--external-id", id]);
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Principal"]["AWS"], "arn:aws:iam::444455556666:root");
    assert_eq!(statement["Condition"]["StringEquals"]["sts:ExternalId"], id);
    let suggested = || written(CONFIGURATION, &["trust", "roly"])["Statement"][0]["Condition"].clone();
    assert_ne!(suggested(), suggested());
    let (_, why) = super::policy(CONFIGURATION, 64, &["trust", "acme"]);
    assert!(why.contains("the account of acme is not known"), "{why}");
}

/// Asserts that the policy is sufficient, tight and minimal: without any action, resource or Allow, a needed call
/// is denied.
#[track_caller]
fn check_exact(policy: &Value, needed: &[Request], forbidden: &[Request]) {
    let may = |policy: &Value, requests: &[Request]| allows(ACCOUNT, std::slice::from_ref(policy), requests);
    for (request, allowed) in needed.iter().zip(may(policy, needed)) {
        assert!(allowed, "{request:?} is denied by {policy:#}");
    }
    for (request, allowed) in forbidden.iter().zip(may(policy, forbidden)) {
        assert!(!allowed, "{request:?} is allowed by {policy:#}");
    }
    let mut pieces = 0;
    for (what, smaller) in without_a_piece(policy) {
        pieces += 1;
        assert!(may(&smaller, needed).contains(&false), "{what} is not needed in {policy:#}");
    }
    println!(
        "{pieces} pieces, each of them needed; {} calls allowed, {} denied",
        needed.len(),
        forbidden.len()
    );
}

/// Each policy with one action or one whole statement less. `EnterAccounts` is left out, because another account
/// decides about it and it has a test of its own; resources in lists for several actions are the vendor's.
fn without_a_piece(policy: &Value) -> Vec<(String, Value)> {
    let mut smaller = Vec::new();
    for (number, statement) in statements(policy).iter().enumerate() {
        if statement["Effect"] != "Allow" || statement["Sid"] == "EnterAccounts" {
            continue;
        }
        let sid = statement["Sid"].as_str().unwrap_or_default();
        let mut without = policy.clone();
        without["Statement"].as_array_mut().expect("statements").remove(number);
        smaller.push((sid.to_owned(), without));
        for member in ["Action", "Resource"] {
            let items = statement[member].as_array().expect("a list");
            for (at, item) in items.iter().enumerate().filter(|_| items.len() > 1) {
                let mut without = policy.clone();
                without["Statement"][number][member].as_array_mut().expect("a list").remove(at);
                smaller.push((format!("{sid}: {item}"), without));
            }
        }
    }
    smaller
}

fn statements(policy: &Value) -> Vec<Value> {
    policy["Statement"].as_array().expect("statements").clone()
}

/// The calls that only a rotator with the review permissions may make.
fn reviewed_only() -> Vec<Request> {
    let mut requests = reviewed();
    requests.retain(|request| !request.resource.contains("user/vendor-acme"));
    requests
}
