//! The privilege escalation paths, compared with the lists that they come from: each policy of IAM Vulnerable with
//! such a path has a finding, and none of its policies without one has.
//!
//! The names are those of the files of BishopFox/iam-vulnerable (MIT licence, Copyright 2021 Bishop Fox), and the
//! actions and resources are those of its policies.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::corpus::findings;

/// The policies with an escalation path: the file, and the actions, all on `*`.
const OPEN: [(&str, &[&str]); 30] = [
    ("privesc1-CreateNewPolicyVersion", &["iam:CreatePolicyVersion"]),
    ("privesc2-SetExistingDefaultPolicyVersion", &["iam:SetDefaultPolicyVersion"]),
    (
        "privesc3-CreateEC2WithExistingIP",
        &[
            "iam:PassRole",
            "ec2:DescribeInstances",
            "ec2:RunInstances",
            "ec2:CreateKeyPair",
            "ec2:AssociateIamInstanceProfile",
        ],
    ),
    ("privesc4-CreateAccessKey", &["iam:CreateAccessKey"]),
    ("privesc5-CreateLoginProfile", &["iam:CreateLoginProfile"]),
    ("privesc6-UpdateLoginProfile", &["iam:UpdateLoginProfile"]),
    ("privesc7-AttachUserPolicy", &["iam:AttachUserPolicy"]),
    ("privesc8-AttachGroupPolicy", &["iam:AttachGroupPolicy"]),
    ("privesc9-AttachRolePolicy", &["iam:AttachRolePolicy"]),
    ("privesc10-PutUserPolicy", &["iam:PutUserPolicy"]),
    ("privesc11-PutGroupPolicy", &["iam:PutGroupPolicy"]),
    ("privesc12-PutRolePolicy", &["iam:PutRolePolicy"]),
    ("privesc13-AddUserToGroup", &["iam:AddUserToGroup"]),
    ("privesc14-UpdatingAssumeRolePolicy", &["iam:UpdateAssumeRolePolicy", "sts:AssumeRole"]),
    (
        "privesc15-PassExistingRoleToNewLambdaThenInvoke",
        &["iam:PassRole", "lambda:CreateFunction", "lambda:InvokeFunction"],
    ),
    (
        "privesc16-PassRoleToNewLambdaThenTriggerWithNewDynamo",
        &["lambda:CreateFunction", "iam:PassRole", "lambda:CreateEventSourceMapping"],
    ),
    (
        "privesc17-EditExistingLambdaFunctionWithRole",
        &["lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"],
    ),
    (
        "privesc18-PassExistingRoleToNewGlueDevEndpoint",
        &["glue:CreateDevEndpoint", "glue:GetDevEndpoint", "iam:PassRole"],
    ),
    ("privesc19-UpdateExistingGlueDevEndpoint", &["glue:UpdateDevEndpoint", "glue:GetDevEndpoint"]),
    (
        "privesc20-PassExistingRoleToCloudFormation",
        &["iam:PassRole", "cloudformation:CreateStack", "cloudformation:DescribeStacks"],
    ),
    (
        "privesc21-PassExistingRoleToNewDataPipeline",
        &[
            "iam:PassRole",
            "datapipeline:CreatePipeline",
            "datapipeline:PutPipelineDefinition",
            "datapipeline:ActivatePipeline",
        ],
    ),
    ("privesc-cloudFormationUpdateStack", &["cloudformation:UpdateStack", "cloudformation:DescribeStacks"]),
    (
        "privesc-codeBuildCreateProjectPassRole",
        &["codebuild:CreateProject", "codebuild:StartBuild", "iam:PassRole", "iam:ListRoles"],
    ),
    ("privesc-ec2InstanceConnect", &["ec2:DescribeInstances", "ec2-instance-connect:SendSSHPublicKey"]),
    (
        "privesc-sageMakerCreateNotebookPassRole",
        &["sagemaker:CreateNotebookInstance", "sagemaker:CreatePresignedNotebookInstanceUrl", "iam:PassRole"],
    ),
    (
        "privesc-sageMakerCreatePresignedNotebookURL",
        &["sagemaker:CreatePresignedNotebookInstanceUrl", "sagemaker:ListNotebookInstances"],
    ),
    ("privesc-sageMakerCreateProcessingJob", &["sagemaker:CreateProcessingJob", "iam:PassRole"]),
    ("privesc-sageMakerCreateTrainingJob", &["sagemaker:CreateTrainingJob", "iam:PassRole"]),
    ("privesc-ssmSendCommand", &["ec2:DescribeInstances", "ssm:listCommands", "ssm:sendCommand"]),
    ("privesc-ssmStartSession", &["ec2:DescribeInstances", "ssm:StartSession", "ssm:ResumeSession"]),
];

fn statement(effect: &str, actions: &[&str]) -> Value {
    json!({ "Effect": effect, "Action": actions, "Resource": "*" })
}

fn policy(statements: &[Value]) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn codes(policies: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let code = |finding: &Value| finding["code"].as_str().expect("a code").to_owned();
    findings(policies).into_iter().map(|(name, found)| (name, found.iter().map(code).collect())).collect()
}

#[test]
fn each_escalation_path_of_iam_vulnerable_is_found_unless_denied() {
    let mut policies = BTreeMap::new();
    for (name, actions) in OPEN {
        policies.insert(name.to_owned(), policy(&[statement("Allow", actions)]));
        for action in actions {
            let denied = [statement("Allow", actions), statement("Deny", &[action])];
            policies.insert(format!("{name}.without.{}", action.replace(':', "-")), policy(&denied));
        }
        let denied = [statement("Allow", actions), statement("Deny", actions)];
        policies.insert(format!("{name}.denied"), policy(&denied));
        let elsewhere = json!({ "Effect": "Allow", "Action": actions, "Resource": "arn:aws:s3:::bucket/*" });
        policies.insert(format!("{name}.elsewhere"), policy(&[elsewhere]));
    }
    let found = codes(&policies);
    for (name, codes) in &found {
        let is_found = codes.iter().any(|code| code == "KR509");
        if name.ends_with(".denied") {
            assert_eq!(codes, &Vec::<String>::new(), "{name}");
        } else if name.ends_with(".elsewhere") {
            assert!(!is_found, "{name}: {codes:?}");
        } else if !name.contains(".without.") {
            assert!(is_found, "{name}: {codes:?}");
        } else if OPEN
            .iter()
            .any(|(open, actions)| name.starts_with(&format!("{open}.")) && actions.len() == 1)
        {
            assert!(!is_found, "{name}: {codes:?}");
        }
    }
    let open = found.iter().filter(|(name, _)| !name.contains('.')).count();
    println!(
        "{open} policies with a way, all found; {} variants with a Deny or on a bucket",
        found.len() - open
    );
}

#[test]
fn only_real_escalation_paths_of_iam_vulnerable_are_reported() {
    let on = |effect: &str, action: &str, resource: &str, condition: Value| json!({ "Effect": effect, "Action": action, "Resource": resource, "Condition": condition });
    let issued = |operator: &str| json!({ operator: { "aws:TokenIssueTime": "2020-01-01T00:00:01Z" } });
    let open = "iam:CreatePolicyVersion";
    let policies: BTreeMap<String, String> = [
        ("fp1-allow-and-deny-same-policy", vec![statement("Allow", &["iam:*"]), statement("Deny", &["iam:*"])]),
        ("fp2-allow-and-deny", vec![statement("Allow", &["*"]), statement("Deny", &["*"])]),
        ("fp3-deny", vec![statement("Deny", &["iam:*"])]),
        ("fp4-NonExploitableResourceConstraint", vec![on("Allow", open, "arn:aws:iam::aws:policy/fp4-*", json!({}))]),
        ("fp5-NonExploitableConditionConstraint", vec![on("Allow", open, "*", issued("DateLessThan"))]),
        ("fn2-ExploitableResourceConstraint", vec![on("Allow", open, "arn:aws:iam::*:policy/fn2-*", json!({}))]),
        ("fn3-ExploitableConditionConstraint", vec![on("Allow", open, "*", issued("DateGreaterThan"))]),
        (
            "fn4-ExploitableNotAction",
            vec![json!({ "Effect": "Allow", "NotAction": ["iam:Update*", "iam:Create*", "iam:Attach*"], "Resource": "*" })],
        ),
    ]
    .into_iter()
    .map(|(name, statements)| (name.to_owned(), policy(&statements)))
    .collect();
    for (name, codes) in codes(&policies) {
        let is_found = codes.iter().any(|code| code == "KR509" || code == "KR501");
        assert_eq!(is_found, name.starts_with("fn"), "{name}: {codes:?}");
        assert!(name.starts_with("fn") || codes.is_empty(), "{name}: {codes:?}");
    }
}
