//! The rotator's policies for few and for many users, in four partitions: each fits where it is attached, another
//! lint finds nothing but what a rotator needs, and an independent engine denies a needed call without each statement.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ACCOUNT, written};
use crate::support::policy_engine::verdicts;
use crate::support::python;

const PARTITIONS: [(&str, &str); 4] = [
    ("aws", "us-east-1"),
    ("aws-cn", "cn-north-1"),
    ("aws-us-gov", "us-gov-west-1"),
    ("aws-iso", "us-iso-east-1"),
];
const USERS: [usize; 4] = [1, 50, 150, 300];
const MANAGED_CHARACTERS: usize = 6144;
/// Of many users, every twelfth one and the last one are checked.
const SAMPLE: usize = 12;
/// The issues that parliament reports for a principal that may create keys for named users, which is a rotator's
/// purpose.
const OF_ITS_CALLING: [&str; 3] =
    ["CREDENTIALS_EXPOSURE", "PERMISSIONS_MANAGEMENT_ACTIONS", "PRIVILEGE_ESCALATION"];
const CALLS: [&str; 6] = [
    "iam:ListAccessKeys",
    "iam:CreateAccessKey",
    "iam:UpdateAccessKey",
    "iam:DeleteAccessKey",
    "iam:GetAccessKeyLastUsed",
    "iam:GetUser",
];

fn configuration(region: &str, users: usize) -> String {
    let vendor = |number: usize| {
        format!(
            "[vendor.v{number:03}]\niam_user = \"svc-partner-integration-{number:03}\"\n[[vendor.v{number:03}.deliver]]\nkind = \"manual\"\ninstructions = \"x\"\n"
        )
    };
    let vendors: String = (0..users).map(vendor).collect();
    format!("[aws]\nregion = \"{region}\"\n[account.own]\nid = \"{ACCOUNT}\"\n{vendors}")
}

/// The policies for each partition and number of users, by a name that contains both.
fn generated() -> BTreeMap<String, (String, usize, Vec<Value>)> {
    let mut all = BTreeMap::new();
    for (partition, region) in PARTITIONS {
        for users in USERS {
            let policies = match written(&configuration(region, users), &["rotator"]) {
                Value::Array(list) => list,
                one => vec![one],
            };
            all.insert(format!("{partition} {users}"), (partition.to_owned(), users, policies));
        }
    }
    all
}

fn needed(partition: &str, users: usize) -> Vec<Value> {
    let request = |action: &str, resource: String| json!({ "action": action, "resource": resource, "account": ACCOUNT });
    let arn = |name: &str| format!("arn:{partition}:iam::{ACCOUNT}:{name}");
    let asked = (0..users).filter(|number| number % SAMPLE == 0 || *number + 1 == users);
    let of_user = |number: usize| {
        let user = arn(&format!("user/svc-partner-integration-{number:03}"));
        CALLS.map(|action| request(action, user.clone()))
    };
    let mut needed: Vec<Value> = asked.flat_map(of_user).collect();
    needed.push(request("iam:SimulatePrincipalPolicy", arn("user/rotator")));
    needed.push(request("iam:SimulatePrincipalPolicy", arn("role/rotator")));
    needed
}

#[test]
fn policies_for_many_users_fit_the_size_limits_and_pass_parliament() {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (name, (_, users, policies)) in generated() {
        let sizes: Vec<usize> = policies.iter().map(|policy| policy.to_string().len()).collect();
        println!("{name} users: {sizes:?} characters");
        assert!(sizes.iter().all(|size| *size <= MANAGED_CHARACTERS), "{name}: {sizes:?}");
        assert!(policies.len() <= 10, "{name}: a role takes ten managed policies: {}", policies.len());
        let named: usize = policies
            .iter()
            .flat_map(|policy| policy["Statement"].as_array().expect("statements"))
            .filter(|statement| statement["Effect"] == "Allow" && statement["Sid"] == "RotateKeys")
            .map(|statement| statement["Resource"].as_array().expect("a list").len())
            .sum();
        assert_eq!(named, users, "{name}: each user is named once");
        for (number, policy) in policies.iter().enumerate() {
            texts.insert(format!("{name} policy {number}"), policy.to_string());
        }
    }
    let answer = python::ask("parliament_lint.py", &json!(texts)).expect("parliament answers");
    let issues: BTreeMap<String, Vec<String>> = serde_json::from_str(&answer).expect("lists of issues");
    for (name, found) in issues {
        let others: Vec<&String> =
            found.iter().filter(|issue| !OF_ITS_CALLING.contains(&issue.as_str())).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}

#[test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
fn every_allow_statement_of_a_policy_for_many_users_is_needed() {
    let (mut cases, mut expect) = (Vec::new(), Vec::new());
    for (name, (partition, users, policies)) in generated() {
        let requests = needed(&partition, users);
        cases.push(json!({ "policies": policies, "boundary": null, "requests": requests }));
        expect.push((name.clone(), None));
        for (number, policy) in policies.iter().enumerate() {
            let statements = policy["Statement"].as_array().expect("statements");
            for (at, statement) in statements.iter().enumerate() {
                if statement["Effect"] != "Allow" {
                    continue;
                }
                let mut fewer = policies.clone();
                fewer[number]["Statement"].as_array_mut().expect("statements").remove(at);
                fewer.retain(|policy| policy["Statement"].as_array().is_some_and(|list| !list.is_empty()));
                cases.push(json!({ "policies": fewer, "boundary": null, "requests": requests }));
                expect.push((name.clone(), Some(format!("policy {number}: {}", statement["Sid"]))));
            }
        }
    }
    let answers = verdicts(&cases);
    let mut asked = 0;
    for ((name, without), answers) in expect.iter().zip(&answers) {
        asked += answers.len();
        let is_denied = answers.iter().any(|answer| answer != "Allowed");
        match without {
            None => assert!(!is_denied, "{name}: {answers:?}"),
            Some(what) => assert!(is_denied, "{name}: {what} is not needed"),
        }
    }
    println!("{} configurations and {} without a statement, {asked} calls asked", 16, expect.len() - 16);
}
