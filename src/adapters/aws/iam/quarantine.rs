//! Lists the IAM users that have a given AWS managed policy, such as a quarantine policy.

use aws_sdk_iam::operation::list_entities_for_policy::{
    ListEntitiesForPolicyError, ListEntitiesForPolicyOutput,
};
use aws_sdk_iam::types::EntityType;

use super::client::{AwsIam, PAGES_MAX, endless, incomplete, next_marker};
use crate::adapters::aws::refusal::Call;
use crate::core::ids::IamUserName;
use crate::ports::{Answer, Iam as _};

impl AwsIam {
    /// The users that have the AWS managed policy of this name; none if AWS has no such policy in this partition. Reads
    /// every page of ListEntitiesForPolicy, and fails if AWS does not answer for one of them.
    pub(super) async fn list_users_with_policy(&self, policy: &str) -> Answer<Vec<IamUserName>> {
        let caller = self.caller().await?.arn;
        let partition = caller.split(':').nth(1).unwrap_or("aws");
        let arn = format!("arn:{partition}:iam::aws:policy/{policy}");
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "ListEntitiesForPolicy", format!("policy {policy}"));
        let (mut users, mut marker) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let request = iam.list_entities_for_policy().policy_arn(&arn).entity_filter(EntityType::User);
            let request = request.set_marker(marker.clone());
            let sending = || async {
                match request.clone().send().await {
                    Err(error) if error.as_service_error().is_some_and(is_absent) => {
                        Ok(ListEntitiesForPolicyOutput::builder().build())
                    }
                    answer => answer,
                }
            };
            let page = self.perform(&call, sending).await?;
            for user in page.policy_users.unwrap_or_default() {
                let name = user.user_name.and_then(|name| name.parse().ok());
                users.push(name.ok_or_else(|| incomplete(&call))?);
            }
            marker = next_marker(&call, page.is_truncated, marker.as_ref(), page.marker)?;
            if marker.is_none() {
                return Ok(users);
            }
        }
        Err(endless(&call))
    }
}

/// Whether AWS has no such policy in this partition. Not every partition has each quarantine policy.
fn is_absent(error: &ListEntitiesForPolicyError) -> bool {
    error.is_no_such_entity_exception()
}
