//! Collects the facts for a review with as few calls as possible.
//!
//! The calls are one account summary, one credential report, the authorization details, a key list for each user that
//! has keys, and three CloudTrail calls. A caller that may not read the trails still gets the rest: what is missing is
//! a gap in the facts. Without the authorization details there is nothing to review.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudtrail::types as cloudtrail;
use aws_sdk_iam::types::{
    AttachedPermissionsBoundary, AttachedPolicy, GroupDetail, PolicyDetail, ReportStateType, RoleDetail,
    SummaryKeyType, UserDetail,
};
use percent_encoding::percent_decode_str;

use crate::adapters::aws::iam::client::{AwsIam, PAGES_MAX, endless, incomplete, next_marker};
use crate::adapters::aws::iam::report::{self, Report};
use crate::adapters::aws::refusal::Call;
use crate::core::ids::IamUserName;
use crate::core::rotation::{KeyMetadata, KeyUsage};
use crate::core::time::Timestamp;
use crate::ports::{Answer, Fault, Iam as _, Scope, Survey};
use crate::review::audit::facts::{Attached, AttachedBy, Facts, Gap, Key, Role, Root, Trail, Use, User};
use crate::review::policy::Document;

/// IAM makes a report within seconds, for an account of any size.
const REPORT_ASKED_MAX: u32 = 30;
const REPORT_ASKED_EVERY: Duration = Duration::from_secs(2);
/// The path of service-linked roles. Only AWS's own services can change or assume these.
const SERVICE_LINKED: &str = "/aws-service-role/";

#[async_trait]
impl Survey for AwsIam {
    async fn facts(&self, scope: &Scope, now: Timestamp) -> Answer<Facts> {
        let caller = self.caller().await?;
        let details = self.details().await?;
        let mut gaps = Gaps::default();
        let has_keys = gaps.note("the account's summary", self.root_has_keys().await);
        let report = gaps.note("the credential report", self.report().await).unwrap_or_default();
        let mut of_trails = Gaps::default();
        let trails = gaps.note("CloudTrail", self.trails(&mut of_trails).await);
        gaps.0.extend(of_trails.0);
        let last_used_at = report.root.as_ref().and_then(report::Row::last_used_at);
        let mut facts = Facts {
            account_id: caller.account_id,
            caller: caller.arn,
            at: now,
            root: Root { has_keys: has_keys.or_else(|| Some(report.root.as_ref()?.has_key())), last_used_at },
            users: details.users(&report),
            roles: details.roles(),
            trails,
            gaps: Vec::new(),
        };
        for user in &mut facts.users {
            let row = report.users.get(&user.name.as_str().to_lowercase());
            if is_asked(user, scope) || row.is_none_or(report::Row::has_key) {
                let keys = self.keys(&user.name, row).await;
                user.keys = gaps.note(&format!("the keys of {}", user.name), keys).unwrap_or_default();
            }
        }
        if scope.usage {
            self.ask_usage(&mut facts, scope, &mut gaps).await;
        }
        if scope.origins {
            self.ask_origins(&mut facts, scope, &mut gaps).await;
        }
        facts.gaps = gaps.0;
        Ok(facts)
    }
}

/// Whether the review reads this user in detail, because its scope names the user or the path.
pub(super) fn is_asked(user: &User, scope: &Scope) -> bool {
    scope.users.contains(&user.name) || scope.paths.iter().any(|path| user.path.starts_with(path.as_str()))
}

/// The facts that could not be read so far.
#[derive(Default)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    /// Returns the value of an answer; a fault is recorded as a gap.
    pub(super) fn note<T>(&mut self, what: &str, answer: Answer<T>) -> Option<T> {
        answer.map_err(|fault| self.add(what, &fault)).ok()
    }

    pub(super) fn add(&mut self, what: &str, fault: &Fault) {
        self.0.push(Gap { what: what.to_owned(), sentence: fault.sentence().to_owned() });
    }
}

impl AwsIam {
    async fn root_has_keys(&self) -> Answer<bool> {
        let call = Call::by_rotator("iam", "GetAccountSummary", String::new());
        let iam = &self.clients().await?.iam;
        let answer = self.perform(&call, || iam.get_account_summary().send()).await?;
        let summary = answer.summary_map.ok_or_else(|| incomplete(&call))?;
        let keys = summary.get(&SummaryKeyType::AccountAccessKeysPresent);
        keys.map(|count| *count > 0).ok_or_else(|| incomplete(&call))
    }

    async fn report(&self) -> Answer<Report> {
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "GenerateCredentialReport", String::new());
        let mut asked = 0;
        loop {
            let answer = self.perform(&call, || iam.generate_credential_report().send()).await?;
            asked += 1;
            match answer.state {
                Some(ReportStateType::Complete) => break,
                _ if asked >= REPORT_ASKED_MAX => {
                    return Err(Fault::unknown("IAM has not made the credential report within a minute"));
                }
                _ => tokio::time::sleep(REPORT_ASKED_EVERY).await,
            }
        }
        let call = Call::by_rotator("iam", "GetCredentialReport", String::new());
        let answer = self.perform(&call, || iam.get_credential_report().send()).await?;
        let content = answer.content.ok_or_else(|| incomplete(&call))?;
        report::read(content.as_ref()).ok_or_else(|| incomplete(&call))
    }

    /// The user's keys. If there is one key, its last use is taken from the report. If there are two, the report does
    /// not say which of them is which.
    async fn keys(&self, user: &IamUserName, row: Option<&report::Row>) -> Answer<Vec<Key>> {
        let listed = crate::ports::Iam::list_keys(self, user).await?;
        let slots = row.map(|row| &row.slots);
        let mut keys = Vec::new();
        for KeyMetadata { id, status, created_at } in &listed {
            let from_report = slots.filter(|_| listed.len() == 1).and_then(|slots| {
                let seen = slots.iter().filter_map(|slot| slot.last_use.clone());
                // A use from before the key was created belongs to an earlier key in the same slot.
                seen.filter(|last| last.at >= *created_at).max_by_key(|last| last.at)
            });
            let last_use = match from_report {
                Some(last_use) => Some(last_use),
                None => match crate::ports::Iam::recorded_usage(self, id).await? {
                    KeyUsage::Used { last_used_at, service, .. } => {
                        Some(Use { at: last_used_at, service: Some(service), region: None })
                    }
                    KeyUsage::Never | KeyUsage::Gone => None,
                },
            };
            let (id, status, created_at) = (id.clone(), *status, *created_at);
            keys.push(Key { id, status, created_at, last_use, origins: None });
        }
        Ok(keys)
    }

    async fn trails(&self, gaps: &mut Gaps) -> Answer<Vec<Trail>> {
        let client = &self.clients().await?.cloudtrail;
        let call = Call::by_rotator("cloudtrail", "DescribeTrails", String::new());
        let request = client.describe_trails().include_shadow_trails(true);
        let answer = self.perform(&call, || request.clone().send()).await?;
        let mut trails = Vec::new();
        for trail in answer.trail_list.unwrap_or_default() {
            let arn = trail.trail_arn.ok_or_else(|| incomplete(&call))?;
            let about = |operation| Call::by_rotator("cloudtrail", operation, arn.clone());
            let call = about("GetTrailStatus");
            let status = self.perform(&call, || client.get_trail_status().name(&arn).send()).await;
            let status = gaps.note(&arn, status);
            let call = about("GetEventSelectors");
            let selectors =
                self.perform(&call, || client.get_event_selectors().trail_name(&arn).send()).await;
            // Member accounts see that an organization trail exists, but not what it selects.
            let selectors = gaps.note(&arn, selectors);
            let error = status.as_ref().and_then(|status| status.latest_delivery_error.clone());
            trails.push(Trail {
                multi_region: trail.is_multi_region_trail.unwrap_or_default(),
                log_validation: trail.log_file_validation_enabled.unwrap_or_default(),
                logging: status.and_then(|status| status.is_logging),
                delivery_error: error.filter(|error| !error.is_empty()),
                management_events: selectors.map(|selectors| {
                    let basic = selectors.event_selectors.unwrap_or_default();
                    let advanced = selectors.advanced_event_selectors.unwrap_or_default();
                    basic.iter().any(records_all) || advanced.iter().any(records_all_advanced)
                }),
                arn,
            });
        }
        Ok(trails)
    }

    async fn details(&self) -> Answer<Details> {
        let iam = &self.clients().await?.iam;
        let call = Call::by_rotator("iam", "GetAccountAuthorizationDetails", String::new());
        let (mut details, mut marker) = (Details::default(), None);
        for _ in 0..PAGES_MAX {
            let request = iam.get_account_authorization_details().set_marker(marker.clone());
            let page = self.perform(&call, || request.clone().send()).await?;
            details.users.extend(page.user_detail_list.unwrap_or_default());
            details.groups.extend(page.group_detail_list.unwrap_or_default());
            details.roles.extend(page.role_detail_list.unwrap_or_default());
            for policy in page.policies.unwrap_or_default() {
                let versions = policy.policy_version_list.unwrap_or_default();
                let text = versions.into_iter().find(|version| version.is_default_version);
                let text = text.and_then(|version| version.document).map(|text| decoded(&text));
                details.managed.extend(policy.arn.zip(text));
            }
            marker = next_marker(&call, page.is_truncated, marker.as_ref(), page.marker)?;
            if marker.is_none() {
                return Ok(details);
            }
        }
        Err(endless(&call))
    }
}

fn records_all(selector: &cloudtrail::EventSelector) -> bool {
    selector.include_management_events == Some(true)
        && selector.read_write_type == Some(cloudtrail::ReadWriteType::All)
        && selector.exclude_management_event_sources.iter().flatten().all(|source| is_bulk(source))
}

/// Whether the selector is `eventCategory = Management` and excludes at most the bulk sources.
fn records_all_advanced(selector: &cloudtrail::AdvancedEventSelector) -> bool {
    let is_category = |field: &cloudtrail::AdvancedFieldSelector| {
        field.field == "eventCategory" && field.equals.as_deref() == Some(&["Management".to_owned()])
    };
    let leaves_out_bulk = |field: &cloudtrail::AdvancedFieldSelector| {
        let others = [&field.equals, &field.starts_with, &field.ends_with, &field.not_starts_with];
        field.field == "eventSource"
            && field.not_equals.iter().flatten().all(|source| is_bulk(source))
            && field.not_ends_with.is_none()
            && others.iter().all(|list| list.is_none())
    };
    let (category, rest): (Vec<_>, Vec<_>) =
        selector.field_selectors.iter().partition(|field| is_category(field));
    category.len() == 1 && rest.into_iter().all(leaves_out_bulk)
}

/// The two sources that CloudTrail itself offers to exclude because of their volume. They contain no use of a key
/// against IAM, STS or any other service that a rule asks for.
fn is_bulk(source: &str) -> bool {
    ["kms.amazonaws.com", "rdsdata.amazonaws.com"].contains(&source)
}

/// Decodes an IAM document, which is percent-encoded (RFC 3986). Text that is not encoded stays as it is.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// All pages of the authorization details together.
#[derive(Default)]
struct Details {
    users: Vec<UserDetail>,
    groups: Vec<GroupDetail>,
    roles: Vec<RoleDetail>,
    /// The documents of managed policies, by ARN.
    managed: BTreeMap<String, String>,
}

impl Details {
    /// The users, sorted by name. A user without a name, ARN or creation date is left out; AWS always sends these.
    fn users(&self, report: &Report) -> Vec<User> {
        let mut users: Vec<User> = self.users.iter().filter_map(|user| self.user(user, report)).collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    fn user(&self, user: &UserDetail, report: &Report) -> Option<User> {
        let name: IamUserName = user.user_name.as_ref()?.parse().ok()?;
        let mut policies = inline(user.user_policy_list.as_deref().unwrap_or_default());
        policies.extend(self.attached(user.attached_managed_policies.as_deref().unwrap_or_default()));
        for group in user.group_list.iter().flatten() {
            policies.extend(self.of_group(group));
        }
        let row = report.users.get(&name.as_str().to_lowercase());
        Some(User {
            arn: user.arn.clone()?,
            path: user.path.clone().unwrap_or_else(|| "/".to_owned()),
            created_at: Timestamp::from_unix(user.create_date.as_ref()?.secs()),
            console: row.map(|row| row.console).unwrap_or_default(),
            keys: Vec::new(),
            policies,
            boundary: self.boundary(user.permissions_boundary.as_ref()),
            used: None,
            name,
        })
    }

    fn roles(&self) -> Vec<Role> {
        let mut roles: Vec<Role> = self.roles.iter().filter_map(|role| self.role(role)).collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        roles
    }

    fn role(&self, role: &RoleDetail) -> Option<Role> {
        if role.path.as_ref().is_some_and(|path| path.starts_with(SERVICE_LINKED)) {
            return None;
        }
        let mut policies = inline(role.role_policy_list.as_deref().unwrap_or_default());
        policies.extend(self.attached(role.attached_managed_policies.as_deref().unwrap_or_default()));
        let trust = decoded(role.assume_role_policy_document.as_deref().unwrap_or_default());
        let (name, arn) = (role.role_name.clone()?, role.arn.clone()?);
        let boundary = self.boundary(role.permissions_boundary.as_ref());
        Some(Role { name, arn, trust: Document::read(&trust).0, policies, boundary, used: None })
    }

    fn of_group(&self, name: &str) -> Vec<Attached> {
        let group = self.groups.iter().find(|group| group.group_name.as_deref() == Some(name));
        let Some(group) = group else { return Vec::new() };
        let mut policies = inline(group.group_policy_list.as_deref().unwrap_or_default());
        policies.extend(self.attached(group.attached_managed_policies.as_deref().unwrap_or_default()));
        for policy in &mut policies {
            policy.via = AttachedBy::Group { group: name.to_owned() };
        }
        policies
    }

    /// The permissions boundary, if AWS sent its document. A boundary that cannot be read is not counted as a limit.
    fn boundary(&self, boundary: Option<&AttachedPermissionsBoundary>) -> Option<Attached> {
        let arn = boundary?.permissions_boundary_arn.clone()?;
        let text = self.managed.get(&arn)?.clone();
        Some(Attached::new(&arn.clone(), AttachedBy::Managed { arn }, text))
    }

    fn attached(&self, policies: &[AttachedPolicy]) -> Vec<Attached> {
        let attached = policies.iter().filter_map(|policy| {
            let (name, arn) = (policy.policy_name.clone()?, policy.policy_arn.clone()?);
            // Without a document the text is empty: a policy that cannot be read, which the review reports as such.
            let text = self.managed.get(&arn).cloned().unwrap_or_default();
            Some(Attached::new(&name, AttachedBy::Managed { arn }, text))
        });
        attached.collect()
    }
}

fn inline(policies: &[PolicyDetail]) -> Vec<Attached> {
    let attached = policies.iter().filter_map(|policy| {
        let text = decoded(policy.policy_document.as_deref()?);
        Some(Attached::new(policy.policy_name.as_deref()?, AttachedBy::Inline, text))
    });
    attached.collect()
}
