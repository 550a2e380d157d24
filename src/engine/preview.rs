//! What a pass would do, without doing any of it: for `rotate --dry-run` and `check --online`.

use futures_util::stream::{self, StreamExt};

use crate::core::ids::{AccessKeyId, AccountId, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::{AtVendor, KeyMetadata, Plan};
use crate::core::schedule::Action;
use crate::core::time::{Timestamp, in_words};
use crate::engine::World;
use crate::engine::reconcile::{UserReport, look_at};
use crate::engine::starts::{PACED, mark_waiting};
use crate::engine::targets::{TargetUser, everybody};
use crate::ports::{Answer, Check, JournalError, Offer};

/// What a pass would do for one IAM user.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The user's keys, verdict and rotation, as listed now.
    pub user_report: UserReport,
    /// What a rotation would do, in sentences and in order; empty when none would begin.
    pub steps: Vec<String>,
    /// Whether a rotation could succeed: permissions, a free key slot, the checks of the delivery. Empty where nothing
    /// was checked.
    pub preflight: Vec<Check>,
}

/// Looks at each user of these vendors (an empty slice means all) and tells what a pass would do. It only reads.
///
/// `thorough`: the preflight is also made where no rotation would begin.
///
/// # Errors
///
/// The journal cannot be read.
pub async fn preview(
    world: &World,
    vendors: &[VendorName],
    forced: bool,
    thorough: bool,
) -> Result<Vec<Preview>, JournalError> {
    let (calls, others) = everybody(world, vendors).await?;
    let without_steps = |user_report| Preview { user_report, steps: Vec::new(), preflight: Vec::new() };
    let mut previews: Vec<Preview> = others.into_iter().map(without_steps).collect();
    let looks = stream::iter(calls).map(|call| preview_one(world, call, forced, thorough));
    previews.extend(looks.buffered(world.settings.concurrency).collect::<Vec<_>>().await);
    previews.sort_by(|a, b| {
        (&a.user_report.vendor, &a.user_report.iam_user)
            .cmp(&(&b.user_report.vendor, &b.user_report.iam_user))
    });
    if !forced {
        mark_waiting(world, previews.iter_mut().map(|preview| &mut preview.user_report)).await?;
        let waits = |preview: &&mut Preview| preview.user_report.verdict.reason == PACED;
        previews.iter_mut().filter(waits).for_each(|preview| preview.steps.clear());
    }
    Ok(previews)
}

async fn preview_one(world: &World, call: TargetUser, forced: bool, thorough: bool) -> Preview {
    let user_report = look_at(world, &call, forced).await;
    let subject = &call.subject;
    let mut preview = Preview { user_report, steps: Vec::new(), preflight: Vec::new() };
    let judged =
        preview.user_report.keys.iter().find(|key| Some(&key.id) == preview.user_report.verdict.old.as_ref());
    let starts = matches!(preview.user_report.verdict.action, Action::Start { .. });
    if let Some(old) = judged.cloned().filter(|_| starts || thorough) {
        preview.preflight = preflight(world, subject, &old, &preview.user_report).await;
    }
    if starts && let Some(access) = crate::engine::reconcile::access(world, subject) {
        let life = steps(&access.plan, access.deliver.len());
        preview.steps = life.into_iter().map(|step| step.what).collect();
    }
    preview
}

async fn preflight(
    world: &World,
    subject: &Subject,
    old: &KeyMetadata,
    user_report: &UserReport,
) -> Vec<Check> {
    let mut checks = vec![slot(user_report), rights(world, subject).await];
    let account_id = match world.accounts.iam(subject.account.as_ref()).account_id().await {
        Ok(account_id) => account_id,
        Err(fault) => {
            checks.push(Check::found("account", Err(fault.sentence().to_owned())));
            return checks;
        }
    };
    checks.extend(delivery_checks(world, subject, Some(&old.id), account_id).await);
    checks
}

/// Checks what can be checked of a delivery before there is a key. Changes nothing at the vendor.
pub(crate) async fn delivery_checks(
    world: &World,
    subject: &Subject,
    old: Option<&AccessKeyId>,
    account_id: AccountId,
) -> Vec<Check> {
    let now = world.clock.now();
    let offer = Offer {
        rotation: RotationId::of_issue(subject, now),
        round: 1,
        subject: subject.clone(),
        account_id,
        access_key_id: placeholder_key(),
        old_access_key_id: old.cloned(),
        offered_at: now,
        old_valid_until: Timestamp::NEVER,
        at_vendor: if old.is_some() { AtVendor::old() } else { AtVendor::unknown() },
        now,
    };
    match world.vendors.delivery(&subject.vendor) {
        Some(delivery) => delivery.preflight(&offer).await,
        None => Vec::new(),
    }
}

/// Stands for the key that does not exist yet, so that the templates of a delivery can be rendered.
fn placeholder_key() -> AccessKeyId {
    "AKIA0000000000000000".parse().expect("twenty letters and digits are an access key id")
}

fn slot(user_report: &UserReport) -> Check {
    let ok = user_report.keys.len() < 2;
    let found = match ok {
        true => Ok("one of the user's two key slots is free".to_owned()),
        false => Err("the user has two access keys already: AWS would refuse a third".to_owned()),
    };
    Check::found("slot", found)
}

async fn rights(world: &World, subject: &Subject) -> Check {
    let missing = world.accounts.iam(subject.account.as_ref()).missing_rights(&subject.iam_user).await;
    rights_check(missing, &subject.iam_user)
}

fn rights_check(missing: Answer<Option<Vec<String>>>, user: &IamUserName) -> Check {
    let found = match missing {
        Ok(None) => {
            let why = "keyround has no right to simulate its own policies (iam:GetUser, iam:SimulatePrincipalPolicy)";
            return Check::not_checked("rights", why);
        }
        Ok(Some(missing)) if missing.is_empty() => {
            Ok("the policy simulation finds no missing right".to_owned())
        }
        Ok(Some(missing)) => Err(format!("the rotator lacks {} on user {user}", missing.join(", "))),
        Err(fault) => Err(fault.sentence().to_owned()),
    };
    Check::found("rights", found)
}

/// One step in the course of a rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// The stage that it belongs to.
    pub stage: &'static str,
    /// What is done, or waited for, as a sentence.
    pub what: String,
}

/// All steps of a rotation with this plan, in order. `deliveries`: how many steps the delivery has.
#[must_use]
pub fn steps(plan: &Plan, deliveries: usize) -> Vec<Step> {
    let step = |stage, what: &str| Step { stage, what: what.to_owned() };
    let times = if deliveries == 1 { "1 step".to_owned() } else { format!("{deliveries} steps") };
    let prove = format!(
        "prove it: {} GetCallerIdentity in a row, {} apart",
        plan.prove_successes,
        in_words(plan.prove_every)
    );
    let mut steps = vec![step("create", "create a new access key (sent once)"), step("prove", &prove)];
    if plan.by_hand {
        steps.push(step("deliver", "wait until somebody was shown it: `keyround reveal VENDOR`, once"));
        steps.push(step("deliver", "wait until the vendor has it: `keyround ack VENDOR`, or a use is seen"));
    } else {
        steps.push(step("deliver", &format!("deliver it to the vendor in {times}")));
    }
    if plan.can_ask_vendor {
        steps.push(step("verify", "ask the vendor which key is in force"));
    }
    steps.push(step("soak", &format!("let both keys work for at least {}", in_words(plan.soak))));
    if plan.requires_use() {
        steps.push(step("soak", "wait until IAM has seen the new key in use"));
    }
    if !plan.quiet_for.is_zero() {
        let quiet = in_words(plan.quiet_for);
        steps.push(step("soak", &format!("wait until the old key has been unused for {quiet}")));
    }
    steps.push(step("soak", "set the old key Inactive"));
    let cool = in_words(plan.cool);
    steps.push(step("cool", &format!("cool for {cool}: until then the old key can be brought back")));
    steps.push(step("cool", "delete the old key"));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Fault;

    #[test]
    fn missing_rights_and_failed_simulations_fail_the_rights_check() {
        let user: IamUserName = "user-a".parse().expect("a user");
        let check = |missing| {
            let check = rights_check(missing, &user);
            (check.ok, check.checked, check.sentence)
        };
        let simulated = "the policy simulation finds no missing right".to_owned();
        assert_eq!(check(Ok(Some(Vec::new()))), (true, true, simulated));
        let (ok, checked, why) = check(Ok(None));
        assert!(ok && !checked && why.contains("iam:SimulatePrincipalPolicy"), "{why}");
        let lacks = "the rotator lacks iam:CreateAccessKey, iam:DeleteAccessKey on user user-a".to_owned();
        let missing = ["iam:CreateAccessKey", "iam:DeleteAccessKey"].map(str::to_owned);
        assert_eq!(check(Ok(Some(missing.to_vec()))), (false, true, lacks));
        assert_eq!(check(Err(Fault::unknown("no answer".to_owned()))), (false, true, "no answer".to_owned()));
    }
}
