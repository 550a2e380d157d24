//! Which permissions the rotator lacks, found out without changing anything.
//!
//! Only a policy simulation can tell, and not every rotator may run one. Without it, the permissions are not checked,
//! and the first real call shows a missing one.

use aws_sdk_iam::types::{EvaluationResult, PolicyEvaluationDecisionType};

use crate::adapters::aws::iam::client::AwsIam;
use crate::adapters::aws::refusal::Call;
use crate::core::ids::IamUserName;
use crate::ports::{Answer, Iam as _};

/// The IAM actions that a rotation calls.
const ACTIONS: [&str; 5] = [
    "iam:ListAccessKeys",
    "iam:CreateAccessKey",
    "iam:UpdateAccessKey",
    "iam:DeleteAccessKey",
    "iam:GetAccessKeyLastUsed",
];

impl AwsIam {
    pub(super) async fn simulate_rights(&self, user: &IamUserName) -> Answer<Option<Vec<String>>> {
        let Some(principal) = principal(&self.caller().await?.arn) else { return Ok(None) };
        let Ok(results) = self.simulate(&principal, user).await else { return Ok(None) };
        Ok(Some(results.into_iter().filter(is_certain_no).map(|result| result.eval_action_name).collect()))
    }

    async fn simulate(&self, principal: &str, user: &IamUserName) -> Answer<Vec<EvaluationResult>> {
        let iam = &self.clients().await?.iam;
        // Permissions are usually granted on a path, which only the user's ARN shows.
        let call = Call::by_rotator("iam", "GetUser", format!("user {user}"));
        let user = self.perform(&call, || iam.get_user().user_name(user.as_str()).send()).await?;
        let arn = user.user.map(|user| user.arn).unwrap_or_default();
        let look_up = self.asks_cloudtrail().then_some("cloudtrail:LookupEvents");
        let actions = ACTIONS.into_iter().chain(look_up);
        let call = Call::by_rotator("iam", "SimulatePrincipalPolicy", String::new());
        let request = iam
            .simulate_principal_policy()
            .policy_source_arn(principal)
            .resource_arns(arn)
            .set_action_names(Some(actions.map(str::to_owned).collect()));
        let sending = || request.clone().customize().config_override(super::client::once()).send();
        let answer = self.perform(&call, sending).await?;
        Ok(answer.evaluation_results.unwrap_or_default())
    }
}

/// Whether the action is denied for certain: the decision does not depend on a context value that the simulation
/// lacked.
fn is_certain_no(result: &EvaluationResult) -> bool {
    result.eval_decision != PolicyEvaluationDecisionType::Allowed
        && result.missing_context_values.as_ref().is_none_or(Vec::is_empty)
}

/// The ARN of the user or role whose policies decide. A role session is judged by its role. `None` for other
/// identities, such as root, which needs no permissions.
fn principal(arn: &str) -> Option<String> {
    let (head, name) = arn.split_once(":assumed-role/").unwrap_or((arn, ""));
    if let Some((role, _session)) = name.split_once('/') {
        return Some(format!("{}:role/{role}", head.replacen(":sts:", ":iam:", 1)));
    }
    (arn.contains(":iam:") && arn.contains(":user/")).then(|| arn.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_principal_of_a_session_is_its_role_and_a_user_is_its_own() {
        let role = "arn:aws:sts::111122223333:assumed-role/rotator/keyround";
        assert_eq!(principal(role).as_deref(), Some("arn:aws:iam::111122223333:role/rotator"));
        let user = "arn:aws:iam::111122223333:user/rotator";
        assert_eq!(principal(user).as_deref(), Some(user));
        assert_eq!(principal("arn:aws:iam::111122223333:root"), None);
        assert_eq!(principal("arn:aws:sts::111122223333:federated-user/x"), None);
    }
}
