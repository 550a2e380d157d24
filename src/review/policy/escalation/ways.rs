//! The table of the known ways of privilege escalation, each with the publication that lists it.

use super::Source::{BishopFox, Cloudsplaining, Rhino};
use super::{EscalationPath, Source};

const fn way(
    name: &'static str,
    source: Source,
    steps: &'static [&'static [&'static str]],
) -> EscalationPath {
    EscalationPath { name, source, services: &[], steps }
}

/// A way in which a role is passed to one of these services.
const fn passing(
    name: &'static str,
    source: Source,
    services: &'static [&'static str],
    steps: &'static [&'static [&'static str]],
) -> EscalationPath {
    EscalationPath { name, source, services, steps }
}

const EC2: &[&str] = &["ec2.amazonaws.com"];
const LAMBDA: &[&str] = &["lambda.amazonaws.com"];
const GLUE: &[&str] = &["glue.amazonaws.com"];
const STACKS: &[&str] = &["cloudformation.amazonaws.com"];
const BUILDS: &[&str] = &["codebuild.amazonaws.com"];
const TASKS: &[&str] = &["ecs-tasks.amazonaws.com", "ecs.amazonaws.com"];
const NOTEBOOKS: &[&str] = &["sagemaker.amazonaws.com"];
const PASS: &[&str] = &["iam:PassRole"];

/// All ways.
pub const WAYS: [EscalationPath; 49] = [
    way("writes a new version of a policy that it has", Rhino, &[&["iam:CreatePolicyVersion"]]),
    way("takes an older, wider version of a policy into force", Rhino, &[&["iam:SetDefaultPolicyVersion"]]),
    way("makes a key for another user", Rhino, &[&["iam:CreateAccessKey"]]),
    way("sets a console password for another user", Rhino, &[&["iam:CreateLoginProfile"]]),
    way("changes the console password of another user", Rhino, &[&["iam:UpdateLoginProfile"]]),
    way("attaches any policy to itself", Rhino, &[&["iam:AttachUserPolicy"]]),
    way("attaches any policy to a group it is in", Rhino, &[&["iam:AttachGroupPolicy"]]),
    way("attaches any policy to a role that it has or can assume", Rhino, &[&["iam:AttachRolePolicy"]]),
    way("writes a policy of its own into itself", Rhino, &[&["iam:PutUserPolicy"]]),
    way("writes a policy of its own into a group", Rhino, &[&["iam:PutGroupPolicy"]]),
    way("writes a policy of its own into a role that it has or can assume", Rhino, &[&["iam:PutRolePolicy"]]),
    way("joins a group of administrators", Rhino, &[&["iam:AddUserToGroup"]]),
    way("lets itself assume any role", Rhino, &[&["iam:UpdateAssumeRolePolicy"]]),
    way(
        "takes away the boundary of its rights",
        Cloudsplaining,
        &[&[
            "iam:DeleteUserPermissionsBoundary",
            "iam:PutUserPermissionsBoundary",
            "iam:DeleteRolePermissionsBoundary",
            "iam:PutRolePermissionsBoundary",
        ]],
    ),
    way("resets a hardware token", Rhino, &[&["iam:CreateVirtualMFADevice"], &["iam:EnableMFADevice"]]),
    passing("starts a machine with any role", Rhino, EC2, &[PASS, &["ec2:RunInstances"]]),
    passing(
        "gives a running machine any role",
        Rhino,
        EC2,
        &[PASS, &["ec2:AssociateIamInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation"]],
    ),
    passing(
        "asks for a machine with any role",
        Cloudsplaining,
        &["ec2.amazonaws.com", "spotfleet.amazonaws.com"],
        &[PASS, &["ec2:RequestSpotInstances", "ec2:RequestSpotFleet"]],
    ),
    passing(
        "makes a launch template with any role",
        Rhino,
        EC2,
        &[
            PASS,
            &["ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion"],
            &["autoscaling:CreateAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup"],
        ],
    ),
    passing(
        "makes a launch configuration with any role",
        Rhino,
        EC2,
        &[
            PASS,
            &["autoscaling:CreateLaunchConfiguration"],
            &["autoscaling:CreateAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup"],
        ],
    ),
    way(
        "changes a launch template that has a role",
        Cloudsplaining,
        &[&["ec2:CreateLaunchTemplateVersion"], &["ec2:ModifyLaunchTemplate"]],
    ),
    passing(
        "makes a function with any role and runs it",
        Rhino,
        LAMBDA,
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
    way("changes the code of a function that has a role", Rhino, &[&["lambda:UpdateFunctionCode"]]),
    way("slips a layer under a function that has a role", Rhino, &[&["lambda:UpdateFunctionConfiguration"]]),
    passing(
        "makes a Glue endpoint or job with any role",
        Rhino,
        GLUE,
        &[PASS, &["glue:CreateDevEndpoint", "glue:CreateJob", "glue:UpdateJob"]],
    ),
    way("puts its own key on a Glue endpoint", Rhino, &[&["glue:UpdateDevEndpoint"]]),
    passing("makes a stack with any role", Rhino, STACKS, &[PASS, &["cloudformation:CreateStack"]]),
    way("changes a stack that has a role", BishopFox, &[&["cloudformation:UpdateStack"]]),
    way(
        "changes a stack that has a role by a change set",
        Cloudsplaining,
        &[&["cloudformation:CreateChangeSet"], &["cloudformation:ExecuteChangeSet"]],
    ),
    passing(
        "makes a data pipeline with any role",
        Rhino,
        &["datapipeline.amazonaws.com", "elasticmapreduce.amazonaws.com", "ec2.amazonaws.com"],
        &[PASS, &["datapipeline:CreatePipeline"], &["datapipeline:PutPipelineDefinition"]],
    ),
    passing(
        "builds with any role",
        BishopFox,
        BUILDS,
        &[
            PASS,
            &["codebuild:CreateProject", "codebuild:UpdateProject"],
            &["codebuild:StartBuild", "codebuild:StartBuildBatch"],
        ],
    ),
    passing(
        "runs a task with any role",
        Cloudsplaining,
        TASKS,
        &[
            PASS,
            &["ecs:RegisterTaskDefinition"],
            &["ecs:RunTask", "ecs:StartTask", "ecs:CreateService", "ecs:UpdateService"],
        ],
    ),
    passing(
        "makes a notebook or a job with any role",
        BishopFox,
        NOTEBOOKS,
        &[
            PASS,
            &[
                "sagemaker:CreateNotebookInstance",
                "sagemaker:CreateTrainingJob",
                "sagemaker:CreateProcessingJob",
            ],
        ],
    ),
    way("opens a notebook that has a role", BishopFox, &[&["sagemaker:CreatePresignedNotebookInstanceUrl"]]),
    way(
        "changes what a notebook that has a role runs when it starts",
        Cloudsplaining,
        &[
            &["sagemaker:CreateNotebookInstanceLifecycleConfig"],
            &["sagemaker:UpdateNotebookInstance"],
            &["sagemaker:StartNotebookInstance"],
        ],
    ),
    passing(
        "makes a state machine with any role",
        Cloudsplaining,
        &["states.amazonaws.com"],
        &[PASS, &["states:CreateStateMachine", "states:UpdateStateMachine"], &["states:StartExecution"]],
    ),
    way("runs commands on machines that have roles", BishopFox, &[&["ssm:SendCommand", "ssm:StartSession"]]),
    way(
        "logs in to machines that have roles with a key of its own",
        BishopFox,
        &[&["ec2-instance-connect:SendSSHPublicKey", "ec2-instance-connect:SendSerialConsoleSSHPublicKey"]],
    ),
    way(
        "changes what a machine that has a role runs when it starts",
        Cloudsplaining,
        &[&["ec2:ModifyInstanceAttribute"], &["ec2:StopInstances"], &["ec2:StartInstances"]],
    ),
    way("opens a shell in a container that has a role", Cloudsplaining, &[&["ecs:ExecuteCommand"]]),
    passing(
        "runs a job with any role",
        Cloudsplaining,
        &["ecs-tasks.amazonaws.com", "batch.amazonaws.com"],
        &[PASS, &["batch:RegisterJobDefinition"], &["batch:SubmitJob"]],
    ),
    passing(
        "runs a service of App Runner with any role",
        Cloudsplaining,
        &["tasks.apprunner.amazonaws.com", "build.apprunner.amazonaws.com"],
        &[PASS, &["apprunner:CreateService", "apprunner:UpdateService"]],
    ),
    passing(
        "makes stacks in other accounts with any role",
        Cloudsplaining,
        STACKS,
        &[PASS, &["cloudformation:CreateStackSet"], &["cloudformation:CreateStackInstances"]],
    ),
    passing(
        "changes stacks in other accounts with any role",
        Cloudsplaining,
        STACKS,
        &[PASS, &["cloudformation:UpdateStackSet"]],
    ),
    way(
        "widens a permission set of IAM Identity Center",
        Cloudsplaining,
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
        Rhino,
        &[&["codestar:CreateProject", "codestar:CreateProjectFromTemplate"]],
    ),
    way(
        "runs code in an interpreter of Bedrock that has a role",
        Cloudsplaining,
        &[&["bedrock-agentcore:StartCodeInterpreterSession"], &["bedrock-agentcore:InvokeCodeInterpreter"]],
    ),
    passing(
        "makes an interpreter of Bedrock with any role",
        Cloudsplaining,
        &["bedrock-agentcore.amazonaws.com"],
        &[PASS, &["bedrock-agentcore:CreateCodeInterpreter"], &["bedrock-agentcore:InvokeCodeInterpreter"]],
    ),
    passing(
        "gives an identity pool any role",
        Rhino,
        &["cognito-identity.amazonaws.com"],
        &[PASS, &["cognito-identity:SetIdentityPoolRoles"]],
    ),
];
