//! The known ways in which a few rights become all rights.
//!
//! The list follows "AWS IAM Privilege Escalation: Methods and Mitigation" (Spencer Gietzen, Rhino
//! Security Labs, 2018 and later) and "IAM Vulnerable" (Seth Art, Bishop Fox, 2021). `iam:PassRole`
//! and `sts:AssumeRole` alone have rules of their own.

use super::{Document, Effect, Pattern, Spanned, Statement};

/// A way: whoever has one action of each step has them all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Way {
    /// What happens, in a few words.
    pub name: &'static str,
    /// The steps, each with the actions that will do.
    pub steps: &'static [&'static [&'static str]],
}

const PASS: &[&str] = &["iam:PassRole"];
/// What gives more rights only when it is done to another user: one's own key has one's own rights.
const ON_OTHERS: [&str; 5] = [
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:UpdateLoginProfile",
    "iam:CreateVirtualMFADevice",
    "iam:EnableMFADevice",
];

const fn way(name: &'static str, steps: &'static [&'static [&'static str]]) -> Way {
    Way { name, steps }
}

/// The ways.
pub const WAYS: [Way; 39] = [
    way("writes a new version of a policy that it has", &[&["iam:CreatePolicyVersion"]]),
    way("takes an older, wider version of a policy into force", &[&["iam:SetDefaultPolicyVersion"]]),
    way("makes a key for another user", &[&["iam:CreateAccessKey"]]),
    way("sets a console password for another user", &[&["iam:CreateLoginProfile"]]),
    way("changes the console password of another user", &[&["iam:UpdateLoginProfile"]]),
    way("attaches any policy to itself", &[&["iam:AttachUserPolicy"]]),
    way("attaches any policy to a group it is in", &[&["iam:AttachGroupPolicy"]]),
    way("attaches any policy to a role it can assume", &[&["iam:AttachRolePolicy"], &["sts:AssumeRole"]]),
    way("writes a policy of its own into itself", &[&["iam:PutUserPolicy"]]),
    way("writes a policy of its own into a group", &[&["iam:PutGroupPolicy"]]),
    way("writes a policy of its own into a role", &[&["iam:PutRolePolicy"], &["sts:AssumeRole"]]),
    way("joins a group of administrators", &[&["iam:AddUserToGroup"]]),
    way("lets itself assume any role", &[&["iam:UpdateAssumeRolePolicy"], &["sts:AssumeRole"]]),
    way(
        "takes away the boundary of its rights",
        &[&["iam:DeleteUserPermissionsBoundary", "iam:PutUserPermissionsBoundary"]],
    ),
    way("resets a hardware token", &[&["iam:CreateVirtualMFADevice"], &["iam:EnableMFADevice"]]),
    way("starts a machine with any role", &[PASS, &["ec2:RunInstances"]]),
    way(
        "gives a running machine any role",
        &[PASS, &["ec2:AssociateIamInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation"]],
    ),
    way("asks for a machine with any role", &[PASS, &["ec2:RequestSpotInstances", "ec2:RequestSpotFleet"]]),
    way(
        "makes a launch template with any role",
        &[
            PASS,
            &["ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion"],
            &["autoscaling:CreateAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup"],
        ],
    ),
    way(
        "makes a function with any role and runs it",
        &[
            PASS,
            &["lambda:CreateFunction"],
            &[
                "lambda:InvokeFunction",
                "lambda:CreateEventSourceMapping",
                "lambda:AddPermission",
                "lambda:CreateFunctionUrlConfig",
            ],
        ],
    ),
    way("changes the code of a function that has a role", &[&["lambda:UpdateFunctionCode"]]),
    way("slips a layer under a function that has a role", &[&["lambda:UpdateFunctionConfiguration"]]),
    way(
        "makes a Glue endpoint or job with any role",
        &[PASS, &["glue:CreateDevEndpoint", "glue:CreateJob", "glue:UpdateJob"]],
    ),
    way("puts its own key on a Glue endpoint", &[&["glue:UpdateDevEndpoint"]]),
    way(
        "makes a stack with any role",
        &[
            PASS,
            &["cloudformation:CreateStack", "cloudformation:UpdateStack", "cloudformation:CreateChangeSet"],
        ],
    ),
    way(
        "makes a data pipeline with any role",
        &[PASS, &["datapipeline:CreatePipeline"], &["datapipeline:PutPipelineDefinition"]],
    ),
    way(
        "builds with any role",
        &[
            PASS,
            &["codebuild:CreateProject", "codebuild:UpdateProject"],
            &["codebuild:StartBuild", "codebuild:StartBuildBatch"],
        ],
    ),
    way(
        "runs a task with any role",
        &[
            PASS,
            &["ecs:RegisterTaskDefinition"],
            &["ecs:RunTask", "ecs:StartTask", "ecs:CreateService", "ecs:UpdateService"],
        ],
    ),
    way(
        "makes a notebook or a job with any role",
        &[
            PASS,
            &[
                "sagemaker:CreateNotebookInstance",
                "sagemaker:CreateTrainingJob",
                "sagemaker:CreateProcessingJob",
            ],
        ],
    ),
    way("opens a notebook that has a role", &[&["sagemaker:CreatePresignedNotebookInstanceUrl"]]),
    way(
        "makes a state machine with any role",
        &[PASS, &["states:CreateStateMachine", "states:UpdateStateMachine"], &["states:StartExecution"]],
    ),
    way("runs commands on machines that have roles", &[&["ssm:SendCommand", "ssm:StartSession"]]),
    way(
        "changes what a machine that has a role runs when it starts",
        &[&["ec2:ModifyInstanceAttribute"], &["ec2:StopInstances"], &["ec2:StartInstances"]],
    ),
    way("opens a shell in a container that has a role", &[&["ecs:ExecuteCommand"]]),
    way("runs a job with any role", &[PASS, &["batch:RegisterJobDefinition"], &["batch:SubmitJob"]]),
    way(
        "runs a service of App Runner with any role",
        &[PASS, &["apprunner:CreateService", "apprunner:UpdateService"]],
    ),
    way(
        "makes stacks in other accounts with any role",
        &[
            PASS,
            &["cloudformation:CreateStackSet", "cloudformation:UpdateStackSet"],
            &["cloudformation:CreateStackInstances", "cloudformation:UpdateStackInstances"],
        ],
    ),
    way(
        "widens a permission set of IAM Identity Center",
        &[
            &[
                "sso:PutInlinePolicyToPermissionSet",
                "sso:AttachManagedPolicyToPermissionSet",
                "sso:AttachCustomerManagedPolicyReferenceToPermissionSet",
            ],
            &["sso:ProvisionPermissionSet"],
        ],
    ),
    way(
        "makes a CodeStar project, which comes with an administrator",
        &[&["codestar:CreateProject", "codestar:CreateProjectFromTemplate"]],
    ),
];

/// A way that is open, and the actions that open it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Open {
    /// Which.
    pub way: Way,
    /// One action of each step.
    pub with: Vec<&'static str>,
}

/// The ways that are open to somebody who has all of these policies.
///
/// Conditions are not weighed: a way that is open under a condition is open. A Deny closes a way only
/// without conditions and for all resources.
#[must_use]
pub fn open(documents: &[&Document]) -> Vec<Open> {
    let steps = |way: &Way| {
        let granted =
            |step: &&[&'static str]| step.iter().find(|action| is_granted(documents, action)).copied();
        way.steps.iter().map(granted).collect::<Option<Vec<_>>>()
    };
    WAYS.iter().filter_map(|way| Some(Open { way: *way, with: steps(way)? })).collect()
}

/// Whether the policies allow this action on anything that it can be about.
#[must_use]
pub fn is_granted(documents: &[&Document], action: &str) -> bool {
    let statements = || documents.iter().flat_map(|document| &document.statements);
    let all = |one: &Statement| one.resources.as_ref().is_none_or(|list| list.everything().is_some());
    let denies = |one: &Statement| one.effect == Effect::Deny && one.conditions.is_empty() && all(one);
    statements().any(|one| allows(one, action))
        && !statements().any(|one| denies(one) && one.actions.covers(action))
}

/// Whether this statement allows the action on anything that it can be about.
#[must_use]
pub fn allows(statement: &Statement, action: &str) -> bool {
    let service = action.split_once(':').map_or(action, |(service, _)| service);
    let granted = statement.effect == Effect::Allow && statement.actions.covers(action);
    granted && statement.touches(service) && !(ON_OTHERS.contains(&action) && is_about_itself(statement))
}

/// Whether all that the statement is about is whoever calls.
fn is_about_itself(statement: &Statement) -> bool {
    let is_itself =
        |item: &Spanned<Pattern>| item.value.as_str().to_ascii_lowercase().ends_with("/${aws:username}");
    statement.resources.as_ref().is_some_and(|list| !list.negated && list.items.iter().all(is_itself))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(text: &str) -> Vec<&'static str> {
        let document = Document::parse(text).expect("a policy");
        open(&[&document]).into_iter().map(|open| open.way.name).collect()
    }

    fn allow(actions: &str) -> String {
        format!(r#"{{"Statement": {{"Effect": "Allow", "Action": [{actions}], "Resource": "*"}}}}"#)
    }

    #[test]
    fn each_way_opens_with_its_actions_and_stays_shut_when_one_is_missing() {
        for way in WAYS {
            for missing in 0..=way.steps.len() {
                let steps = way.steps.iter().enumerate().filter(|(number, _)| *number != missing);
                let actions: Vec<String> = steps.map(|(_, step)| format!("{:?}", step[0])).collect();
                if actions.is_empty() {
                    continue;
                }
                let is_open = ways(&allow(&actions.join(", "))).contains(&way.name);
                assert_eq!(is_open, missing == way.steps.len(), "{} without step {missing}", way.name);
            }
        }
    }

    #[test]
    fn wildcards_open_what_they_match_and_a_deny_shuts_it() {
        assert_eq!(ways(&allow("\"*\"")).len(), WAYS.len());
        assert!(ways(&allow("\"iam:*LoginProfile\"")).contains(&"sets a console password for another user"));
        let denied = r#"{"Statement": [{"Effect": "Allow", "Action": "iam:Create*", "Resource": "*"},
            {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}"#;
        assert!(ways(denied).is_empty());
        let elsewhere = r#"{"Statement": [{"Effect": "Allow", "Action": "iam:CreateAccessKey", "Resource": "*"},
            {"Effect": "Deny", "Action": "iam:*", "NotResource": "arn:aws:iam::111122223333:user/admin"}]}"#;
        assert_eq!(ways(elsewhere).len(), 1, "one user is left");
        let not = r#"{"Statement": {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}}"#;
        assert_eq!(ways(not).len(), WAYS.len());
    }

    #[test]
    fn a_key_for_oneself_gives_no_more_rights_and_a_policy_for_oneself_does() {
        let own = |action: &str| {
            let own = "arn:aws:iam::*:user/${aws:username}";
            ways(&format!(
                r#"{{"Statement": {{"Effect": "Allow", "Action": "{action}", "Resource": "{own}"}}}}"#
            ))
        };
        assert!(own("iam:CreateAccessKey").is_empty() && own("iam:*LoginProfile").is_empty());
        assert_eq!(own("iam:PutUserPolicy"), ["writes a policy of its own into itself"]);
    }
}
