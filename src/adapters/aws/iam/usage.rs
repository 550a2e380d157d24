//! What a vendor uses, and from where its keys are used. Only the vendors in the configuration are looked up at AWS.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use aws_sdk_iam::types::{AccessAdvisorUsageGranularityType, JobStatusType, ServiceLastAccessed};
use serde::Deserialize;
use tokio::time::Instant;

use crate::adapters::aws::iam::client::{AwsIam, PAGES_MAX, endless, incomplete, next_marker};
use crate::adapters::aws::iam::survey::{Gaps, is_asked};
use crate::adapters::aws::refusal::Call;
use crate::core::ids::AccessKeyId;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Scope};
use crate::review::audit::facts::{Facts, Origin, ServiceUse};

const JOB_ASKED_MAX: u32 = 30;
const JOB_ASKED_EVERY: Duration = Duration::from_secs(1);
/// The minimum time between two look-ups. CloudTrail allows two a second, shared by all callers in the account and
/// region.
const LOOKED_UP_EVERY: Duration = Duration::from_millis(500);

/// The fields that keyround reads from a CloudTrail event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventText {
    #[serde(rename = "sourceIPAddress")]
    pub(super) source_ip_address: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) user_identity: Option<UserIdentity>,
    pub(super) error_code: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct UserIdentity {
    pub(super) arn: Option<String>,
}

impl AwsIam {
    /// Asks which services each vendor's user and role has used. The first fault is recorded as a gap, and ends the
    /// asking.
    pub(super) async fn ask_usage(&self, facts: &mut Facts, scope: &Scope, gaps: &mut Gaps) {
        let users = facts.users.iter_mut().filter(|user| is_asked(user, scope));
        let users = users.map(|user| (user.arn.clone(), &mut user.used));
        let roles = facts.roles.iter_mut().filter(|role| scope.roles.contains(&role.arn));
        let roles = roles.map(|role| (role.arn.clone(), &mut role.used));
        for (arn, used) in users.chain(roles) {
            match self.services_used(&arn).await {
                Ok(services) => *used = Some(services),
                Err(fault) => return gaps.add("what vendors use", &fault),
            }
        }
    }

    /// Asks from where each vendor's keys were used in the last 90 days, by the management events of this region.
    pub(super) async fn ask_origins(&self, facts: &mut Facts, scope: &Scope, gaps: &mut Gaps) {
        for user in facts.users.iter_mut().filter(|user| is_asked(user, scope)) {
            for key in &mut user.keys {
                match self.origins(&key.id).await {
                    Ok(origins) => key.origins = Some(origins),
                    Err(fault) => return gaps.add("from where keys are used", &fault),
                }
            }
        }
    }

    async fn services_used(&self, arn: &str) -> Answer<Vec<ServiceUse>> {
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "GenerateServiceLastAccessedDetails", arn.to_owned());
        let granularity = AccessAdvisorUsageGranularityType::ActionLevel;
        let request = iam.generate_service_last_accessed_details().arn(arn).granularity(granularity);
        let job = self.perform(&call, || request.clone().send()).await?;
        let job = job.job_id.ok_or_else(|| incomplete(&call))?;
        let call = Call::by_rotator("iam", "GetServiceLastAccessedDetails", arn.to_owned());
        let (mut services, mut marker, mut asked) = (Vec::new(), None, 0);
        for _ in 0..PAGES_MAX {
            let request = iam.get_service_last_accessed_details().job_id(&job).set_marker(marker.clone());
            let page = self.perform(&call, || request.clone().send()).await?;
            match page.job_status {
                JobStatusType::Completed => {}
                JobStatusType::InProgress if asked < JOB_ASKED_MAX => {
                    asked += 1;
                    tokio::time::sleep(JOB_ASKED_EVERY).await;
                    continue;
                }
                _ => return Err(Fault::unknown(format!("{call} came to no end"))),
            }
            services.extend(page.services_last_accessed.into_iter().map(service_use));
            marker = next_marker(&call, page.is_truncated, marker.as_ref(), page.marker)?;
            if marker.is_none() {
                return Ok(services);
            }
        }
        Err(endless(&call))
    }

    async fn origins(&self, key: &AccessKeyId) -> Answer<BTreeSet<Origin>> {
        let texts = self.look_up(key).await?.into_iter().filter_map(|event| event.cloud_trail_event);
        let read = texts.filter_map(|text| serde_json::from_str::<EventText>(&text).ok());
        let origin = |text: EventText| {
            Some(Origin { address: text.source_ip_address?, agent: text.user_agent.unwrap_or_default() })
        };
        Ok(read.filter_map(origin).collect())
    }

    /// The newest management events of this region that the key signed, at most fifty. Waits for its turn first.
    pub(super) async fn look_up(&self, key: &AccessKeyId) -> Answer<Vec<Event>> {
        let client = &self.clients().await?.cloudtrail;
        let call = Call::by_rotator("cloudtrail", "LookupEvents", format!("key {key}"));
        let attribute = LookupAttribute::builder()
            .attribute_key(LookupAttributeKey::AccessKeyId)
            .attribute_value(key.as_str())
            .build()
            .map_err(|_| incomplete(&call))?;
        {
            let mut turn_at = self.look_up_at.lock().await;
            tokio::time::sleep_until(*turn_at).await;
            *turn_at = Instant::now() + LOOKED_UP_EVERY;
        }
        let request = client.lookup_events().lookup_attributes(attribute);
        // One page holds the fifty newest events, which is enough to see who uses a key.
        let page = self.perform(&call, || request.clone().send()).await?;
        Ok(page.events.unwrap_or_default())
    }
}

fn service_use(service: ServiceLastAccessed) -> ServiceUse {
    let time = |at: Option<aws_smithy_types::DateTime>| at.map(|at| Timestamp::from_unix(at.secs()));
    let actions = service.tracked_actions_last_accessed.unwrap_or_default();
    let actions =
        actions.into_iter().filter_map(|action| Some((action.action_name?, time(action.last_accessed_time))));
    ServiceUse {
        service: service.service_namespace,
        last_used_at: time(service.last_authenticated),
        actions: actions.collect(),
    }
}
