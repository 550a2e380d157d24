//! The policy evaluator, compared with an independent policy engine on generated policies and requests.
//!
//! `KEYROUND_POLICY_CASES=5000` makes the campaign longer: each case is a principal with one or two policies and
//! perhaps a boundary, and ten requests. The generator has a fixed seed, so that a case is the same each time.

use std::collections::BTreeMap;

use keyround::review::policy::rights::{Context, Verdict};
use keyround::review::policy::{Document, Rights};
use serde_json::{Value, json};

use super::ACCOUNT;
use crate::support::campaign::Dice;
use crate::support::policy_engine::verdicts;

const CASES: usize = 1000;
const REQUESTS: usize = 10;

/// Actions, each with resources on which it can be requested.
const ACTIONS: [(&str, &[&str]); 8] = [
    ("s3:GetObject", &["arn:aws:s3:::logs/a/b", "arn:aws:s3:::Logs/a", "arn:aws:s3:::other/x"]),
    ("s3:PutObject", &["arn:aws:s3:::logs/a/b", "arn:aws:s3:::other/x"]),
    ("s3:ListBucket", &["arn:aws:s3:::logs", "arn:aws:s3:::other"]),
    ("iam:PassRole", &["arn:aws:iam::111122223333:role/app", "arn:aws:iam::111122223333:role/path/admin"]),
    ("iam:CreateAccessKey", &["arn:aws:iam::111122223333:user/acme", "arn:aws:iam::111122223333:user/other"]),
    (
        "sqs:SendMessage",
        &["arn:aws:sqs:eu-west-1:111122223333:acme", "arn:aws:sqs:us-east-1:111122223333:acme"],
    ),
    ("ec2:DescribeInstances", &["*"]),
    ("iam:ListUsers", &["*"]),
];
const ACTION_PATTERNS: [&str; 14] = [
    "*",
    "s3:*",
    "s3:Get*",
    "S3:getobject",
    "s3:?etObject",
    "s3:*Object",
    "s3:PutObject",
    "s3:ListBucket",
    "iam:*",
    "iam:PassRole",
    "iam:Create*",
    "iam:List*",
    "sqs:SendMessage",
    "ec2:Describe*",
];
const RESOURCE_PATTERNS: [&str; 17] = [
    "*",
    "arn:aws:s3:::logs/*",
    "arn:aws:s3:::logs",
    "arn:aws:s3:::l*",
    "arn:aws:s3:::*/a/?",
    "arn:aws:s3:::*",
    "arn:aws:iam::111122223333:role/*",
    "arn:aws:iam::*:role/app",
    "arn:aws:iam::*:user/*",
    "arn:aws:iam::111122223333:user/acm?",
    "arn:aws:iam::111122223333:*",
    "arn:aws:iam::999988887777:role/*",
    "arn:aws:sqs:*:*:acme",
    "arn:aws:sqs:eu-west-1:111122223333:*",
    "arn:aws:sqs:eu-*:*:*",
    "arn:*:sqs:*:*:*",
    "arn:aws:sqs:*:111122223333:a*e",
];
const CONDITIONS: [&str; 18] = [
    r#"{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}"#,
    r#"{"StringNotEquals":{"aws:RequestedRegion":["eu-west-1","eu-west-2"]}}"#,
    r#"{"StringLike":{"aws:RequestedRegion":"eu-*"}}"#,
    r#"{"StringNotLike":{"aws:RequestedRegion":"eu-*"}}"#,
    r#"{"StringEqualsIgnoreCase":{"aws:RequestedRegion":"EU-WEST-1"}}"#,
    r#"{"StringEqualsIfExists":{"aws:RequestedRegion":"eu-west-1"}}"#,
    r#"{"Null":{"aws:RequestedRegion":"true"}}"#,
    r#"{"Null":{"aws:RequestedRegion":"false"}}"#,
    r#"{"Bool":{"aws:SecureTransport":"true"}}"#,
    r#"{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}"#,
    r#"{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","2001:db8::/32"]}}"#,
    r#"{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}"#,
    r#"{"DateLessThan":{"aws:CurrentTime":"2026-06-01T00:00:00Z"}}"#,
    r#"{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}"#,
    r#"{"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}"#,
    r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["a","b"]}}"#,
    r#"{"ForAllValues:StringLike":{"aws:TagKeys":["a*"]}}"#,
    r#"{"StringEquals":{"aws:RequestedRegion":"eu-west-1"},"Bool":{"aws:SecureTransport":"true"}}"#,
];

fn some<'a>(dice: &mut Dice, all: &[&'a str]) -> Vec<&'a str> {
    (0..=dice.below(2)).map(|_| dice.one_of(all)).collect()
}

fn statement(dice: &mut Dice) -> Value {
    let denies = dice.below(3) == 0;
    let mut statement = json!({ "Effect": if denies { "Deny" } else { "Allow" } });
    let action = if dice.below(6) == 0 { "NotAction" } else { "Action" };
    statement[action] = json!(some(dice, &ACTION_PATTERNS));
    let resource = if dice.below(6) == 0 { "NotResource" } else { "Resource" };
    statement[resource] = json!(some(dice, &RESOURCE_PATTERNS));
    if dice.below(3) == 0 {
        statement["Condition"] = serde_json::from_str(dice.one_of(&CONDITIONS)).expect("JSON");
    }
    statement
}

fn policy(dice: &mut Dice) -> Value {
    let statements: Vec<Value> = (0..=dice.below(4)).map(|_| statement(dice)).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn context(dice: &mut Dice) -> BTreeMap<&'static str, Value> {
    let mut context = BTreeMap::from([
        ("aws:SecureTransport", json!(dice.one_of(&["true", "true", "false"]))),
        (
            "aws:CurrentTime",
            json!(dice.one_of(&["2025-11-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-11-01T00:00:00Z"])),
        ),
        ("aws:SourceIp", json!(dice.one_of(&["203.0.113.7", "198.51.100.1", "2001:db8::1"]))),
    ]);
    if dice.below(3) > 0 {
        context.insert("aws:RequestedRegion", json!(dice.one_of(&["eu-west-1", "eu-west-3", "us-east-1"])));
    }
    if dice.below(2) > 0 {
        context.insert("aws:MultiFactorAuthPresent", json!(dice.one_of(&["true", "false"])));
        context.insert("aws:MultiFactorAuthAge", json!(dice.one_of(&["60", "3600", "86400"])));
    }
    if dice.below(2) > 0 {
        context.insert("aws:TagKeys", json!(some(dice, &["a", "b", "c", "ab"])));
    }
    context
}

fn case(dice: &mut Dice) -> Value {
    let policies: Vec<Value> = (0..=dice.below(2)).map(|_| policy(dice)).collect();
    let boundary = if dice.below(4) == 0 { policy(dice) } else { Value::Null };
    let requests: Vec<Value> = (0..REQUESTS)
        .map(|_| {
            let (action, resources) = dice.one_of(&ACTIONS);
            json!({ "action": action, "resource": dice.one_of(resources), "account": ACCOUNT, "context": context(dice) })
        })
        .collect();
    json!({ "policies": policies, "boundary": boundary, "requests": requests })
}

/// The answers of our evaluator to the requests of a case.
fn ours(case: &Value) -> Vec<&'static str> {
    let read = |policy: &Value| {
        Document::parse(&policy.to_string()).unwrap_or_else(|why| panic!("{why:?}: {policy:#}"))
    };
    let documents: Vec<Document> = case["policies"].as_array().expect("policies").iter().map(read).collect();
    let boundary = (!case["boundary"].is_null()).then(|| read(&case["boundary"]));
    let mut rights = Rights::of(&documents.iter().collect::<Vec<_>>());
    if let Some(boundary) = &boundary {
        rights = rights.within(boundary);
    }
    let requests = case["requests"].as_array().expect("requests").iter();
    let answer = |request: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let values = |value: &Value| match value.as_array() {
            Some(list) => list.iter().map(text).collect(),
            None => vec![text(value)],
        };
        let context: Context = request["context"]
            .as_object()
            .expect("keys")
            .iter()
            .map(|(key, value)| (key.to_lowercase(), values(value)))
            .collect();
        match rights.verdict(&text(&request["action"]), &text(&request["resource"]), &context) {
            Verdict::Allowed => "Allowed",
            Verdict::ImplicitlyDenied => "ImplicitlyDenied",
            Verdict::ExplicitlyDenied => "ExplicitlyDenied",
        }
    };
    requests.map(answer).collect()
}

#[test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
fn the_evaluator_agrees_with_another_policy_engine() {
    let count =
        std::env::var("KEYROUND_POLICY_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let mut dice = Dice(0x5eed_0019);
    let cases: Vec<Value> = (0..count).map(|_| case(&mut dice)).collect();
    let theirs = verdicts(&cases);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    for (number, (case, theirs)) in cases.iter().zip(&theirs).enumerate() {
        for ((ours, theirs), request) in
            ours(case).iter().zip(theirs).zip(case["requests"].as_array().expect("requests"))
        {
            *counts.entry(theirs.clone()).or_default() += 1;
            if ours != theirs {
                differences.push(format!(
                    "case {number}: ours {ours}, theirs {theirs}: {request}\n{:#}\nboundary {:#}",
                    case["policies"], case["boundary"]
                ));
            }
        }
    }
    println!("{count} principals, {} requests: {counts:?}", count * REQUESTS);
    assert!(differences.is_empty(), "{} differences, the first: {}", differences.len(), differences[0]);
    assert_eq!(counts.len(), 3, "each kind of answer is given: {counts:?}");
}
