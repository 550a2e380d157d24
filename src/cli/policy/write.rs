//! `policy rotator`, `policy vendor`, `policy trust`: write the policy to standard output, and remarks for the operator
//! to standard error.

use std::path::Path;
use std::sync::Arc;

use super::needs;
use crate::adapters::aws::AwsSession;
use crate::adapters::aws::iam::AwsAccounts;
use crate::cli::args;
use crate::cli::audit::{JournalKeys, declared, facts, scope};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::config::settings::{Access, VendorSettings};
use crate::core::ids::{AccountName, VendorName};
use crate::core::time::Timestamp;
use crate::ports::Scope;
use crate::review::audit::facts::ServiceUse;
use crate::review::audit::{Declared, Facts};
use crate::review::policy::document::MANAGED_CHARACTERS;
use crate::review::policy::generate::{self, Written};
use crate::review::policy::lint::{Purpose, in_words};
use crate::review::policy::{Pattern, actions, trust as trusts};

/// An action that was used within this many days counts as used.
const USED_WITHIN_DAYS: u64 = 90;

pub(super) async fn rotator(config: Option<&Path>, asked: &args::Rotator, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let account = asked.account.as_ref();
    if let Some(name) = account
        && !settings.accounts.contains_key(name)
    {
        return Err(Failure::new(Code::Usage, format!("there is no [account.{name}] in the configuration")));
    }
    if asked.trust {
        return rotator_trust(&settings, asked, screen);
    }
    let facts = match asked.online {
        true => Some(account_facts(&settings, account, &Scope::default()).await?),
        false => None,
    };
    let needs = needs::of(&settings, account, facts.as_ref(), asked.review);
    if needs.users.is_empty() && needs.paths.is_empty() && needs.roles.is_empty() {
        tracing::warn!(
            "there is nothing to rotate in this account, and no role in another account to assume"
        );
    }
    for name in
        settings.accounts.keys().filter(|name| account.is_none() && needs::is_entered(&settings, name))
    {
        tracing::info!(
            "its role in the account {name} needs another: keyround policy rotator --account {name}"
        );
    }
    if facts.is_none() && !needs.users.is_empty() {
        tracing::info!("users are taken to have no path; --online asks IAM");
    }
    write_rotator(&generate::rotator(&needs), screen)
}

/// Writes one policy, or a JSON list of several if the permissions do not fit into one managed policy.
fn write_rotator(whole: &Written, screen: &Screen) -> Ended {
    let split = generate::split(whole);
    if let Some(users) = split.left_out {
        tracing::warn!(
            "the Deny for the keys of all other users is left out: it would name {users} users in one policy, and \
             IAM takes {} characters; put the users under one path (`path` in their sections) to have it",
            thousands(MANAGED_CHARACTERS)
        );
    }
    if let [one] = split.policies.as_slice() {
        return write(one, Purpose::Rotator, screen);
    }
    for policy in &split.policies {
        refuse_loose(policy, Purpose::Rotator)?;
    }
    let count = split.policies.len();
    tracing::warn!(
        "the rights need {count} managed policies, written as a list: IAM takes {} characters in each; attach all \
         of them to the role",
        thousands(MANAGED_CHARACTERS)
    );
    if count > POLICIES_OF_A_ROLE {
        tracing::warn!(
            "IAM attaches {POLICIES_OF_A_ROLE} managed policies to a role unless its quota is raised; put the \
             users under one path (`path` in their sections)"
        );
    }
    let texts: Vec<String> = split.policies.iter().map(Written::to_json).collect();
    screen.show(&format!("[\n{}\n]", texts.join(",\n")));
    Ok(Code::Fine)
}

/// How many managed policies IAM attaches to a role unless its quota is raised.
const POLICIES_OF_A_ROLE: usize = 10;

/// A number with a thousands separator: `6,144`.
fn thousands(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

/// Writes the trust policy of the rotator's role in another account. The policy trusts the account that the rotator
/// comes from.
fn rotator_trust(settings: &Settings, asked: &args::Rotator, screen: &Screen) -> Ended {
    let usage = |message: &str, hint: &str| Err(Failure::new(Code::Usage, message).hinted(hint));
    let named = asked.account.as_ref().and_then(|name| settings.accounts.get(name));
    let Some((account, role_arn)) = named.and_then(|account| Some((account, account.role_arn.as_ref()?)))
    else {
        return usage(
            "only a role in another account has a trust policy",
            "--account NAME, with role_arn in [account.NAME]",
        );
    };
    let mut ambient = settings.accounts.values().filter(|account| account.role_arn.is_none());
    let Some(from) = asked.from_account.clone().or_else(|| ambient.find_map(|account| account.id.clone()))
    else {
        return usage(
            "the account that the rotator comes from is not known",
            "--from-account ID, or an [account.NAME] with its id and without a role_arn",
        );
    };
    let partition = role_arn.split(':').nth(1).unwrap_or("aws");
    if account.external_id.is_none() {
        tracing::info!(
            "every principal that may call sts:AssumeRole in the account {from} can assume this role; external_id in its \
             section makes it demand one"
        );
    }
    let policy = trusts::rotator_policy(partition, &from, account.external_id.as_deref());
    write(&policy, Purpose::Rotator, screen)
}

pub(super) async fn vendor(config: Option<&Path>, asked: &args::ForVendor, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let vendor = one_vendor(&settings, &asked.vendor)?;
    let allowed = match asked.from {
        args::From::Declared => vendor.needs.actions.clone(),
        args::From::Used => used(&settings, vendor).await?,
    };
    if allowed.is_empty() {
        let failure = Failure::new(Code::Usage, format!("{} names no actions that it needs", vendor.name));
        return Err(failure.hinted(format!(
            "actions = [\"s3:PutObject\"] in [vendor.{}], or --from used for what IAM has seen",
            vendor.name
        )));
    }
    write(&generate::vendor(&allowed, &vendor.needs.resources), Purpose::ThirdParty, screen)
}

pub(super) fn trust(config: Option<&Path>, asked: &args::Trust, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let vendor = one_vendor(&settings, &asked.vendor)?;
    let (partition, declared) = match &vendor.access {
        Access::Role { role_arn, vendor_account_id } => {
            (role_arn.split(':').nth(1), vendor_account_id.clone())
        }
        Access::Key(_) => (None, None),
    };
    let Some(account) = asked.vendor_account.clone().or(declared) else {
        let failure = Failure::new(Code::Usage, format!("the account of {} is not known", vendor.name));
        let hint =
            "--vendor-account ID, or vendor_account_id beside role_arn; ask the vendor for its account";
        return Err(failure.hinted(hint));
    };
    let external_id = asked.external_id.clone().unwrap_or_else(|| {
        tracing::warn!(
            "the external id is a suggestion: a vendor should make one itself, another for each customer; use \
             that with --external-id"
        );
        suggestion()
    });
    if trusts::is_guessable(&external_id) {
        tracing::warn!("this external id is easy to guess (KR306)");
    }
    let partition = partition.map_or_else(|| needs::partition(&settings), str::to_owned);
    write(&trusts::policy(&partition, &account, &external_id), Purpose::ThirdParty, screen)
}

/// Writes a policy. Fails if the lint finds a fault with it.
fn write(policy: &Written, purpose: Purpose, screen: &Screen) -> Ended {
    refuse_loose(policy, purpose)?;
    let characters = policy.size();
    if characters > MANAGED_CHARACTERS {
        tracing::warn!(
            "the policy has {characters} characters without white space, and a managed policy takes {}",
            thousands(MANAGED_CHARACTERS)
        );
    }
    screen.show(&policy.to_json());
    Ok(Code::Fine)
}

fn refuse_loose(policy: &Written, purpose: Purpose) -> Result<(), Failure> {
    let found = policy.lint(purpose);
    let Some(worst) = found.iter().max_by_key(|found| found.rule.severity) else { return Ok(()) };
    let all: Vec<String> =
        found.iter().map(|found| format!("{} {}", found.rule.code, found.sentence)).collect();
    let message = format!("no policy was written, because it would grant too much: {}", in_words(&all));
    Err(Failure::new(Code::Failed, message).hinted(worst.rule.fix))
}

fn one_vendor<'s>(settings: &'s Settings, name: &VendorName) -> Result<&'s VendorSettings, Failure> {
    setup::known(settings, std::slice::from_ref(name))?;
    Ok(settings.vendors.get(name).expect("it was looked for just now"))
}

async fn account_facts(
    settings: &Settings,
    account: Option<&AccountName>,
    scope: &Scope,
) -> Result<Facts, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    let accounts = AwsAccounts::connect(&session, &settings.accounts);
    facts(&accounts, account, scope).await
}

/// The actions that the vendor's users or role have used, according to IAM.
async fn used(settings: &Settings, vendor: &VendorSettings) -> Result<Vec<Pattern>, Failure> {
    let account = match &vendor.access {
        Access::Key(access) => access.account.clone(),
        Access::Role { role_arn, .. } => crate::cli::audit::account_of(settings, role_arn),
    };
    let mut scope = scope(settings, account.as_ref());
    scope.usage = true;
    let facts = account_facts(settings, account.as_ref(), &scope).await?;
    let declared: Declared = declared(settings, &facts.account_id, account.as_ref(), &JournalKeys::default());
    let of_users = declared.vendor_users(&facts).filter(|(owner, _)| owner.name == vendor.name);
    let of_users = of_users.filter_map(|(_, user)| user.used.as_ref());
    let of_roles = declared.vendor_roles(&facts).filter(|(owner, _)| owner.name == vendor.name);
    let of_roles = of_roles.filter_map(|(_, role)| role.used.as_ref());
    let services: Vec<&ServiceUse> = of_users.chain(of_roles).flatten().collect();
    for gap in &facts.gaps {
        tracing::warn!("{} could not be read: {}", gap.what, gap.sentence);
    }
    let mut allowed = Vec::new();
    for service in services {
        allowed.extend(used_actions(service, facts.at));
    }
    allowed.sort();
    allowed.dedup();
    Ok(allowed)
}

/// The actions of a service that were used recently. If AWS does not track the actions of a service, it is only known
/// that the service was used.
fn used_actions(service: &ServiceUse, now: Timestamp) -> Vec<Pattern> {
    let lately = |at: &Option<Timestamp>| at.is_some_and(|at| now.days_since(at) < USED_WITHIN_DAYS);
    if !lately(&service.last_used_at) {
        return Vec::new();
    }
    let seen = service.actions.iter().filter(|(_, at)| lately(at));
    let seen: Vec<Pattern> =
        seen.map(|(name, _)| Pattern::new(&format!("{}:{name}", service.service))).collect();
    if seen.is_empty() {
        let unseen = if actions::knows(&service.service) { "its data events" } else { "its actions" };
        tracing::warn!(
            "{} was used, and IAM does not keep {unseen} apart: ask the vendor which it needs",
            service.service
        );
    }
    seen
}

/// A random external id that nobody can guess.
fn suggestion() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    uuid::Uuid::new_v8(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_external_ids_differ_and_are_not_guessable() {
        let (one, other) = (suggestion(), suggestion());
        assert_ne!(one, other);
        assert!(!trusts::is_guessable(&one), "{one}");
    }
}
