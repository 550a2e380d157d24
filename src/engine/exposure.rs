//! `[exposure]`: asks AWS which IAM users it has quarantined.
//!
//! When AWS finds an access key in public, it attaches one of three policies to the key's user, within a minute or two.
//! ListEntitiesForPolicy names the users with such a policy: one question for each policy and account, however many
//! users there are.
//!
//! **Invariant:** a user counts as not quarantined only if AWS answered for all three policies.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::settings::{Access, Users};
use crate::core::alert::{Response, exposed_in_words};
use crate::core::ids::{AccountName, IamUserName, Subject};
use crate::engine::{UserReport, World};
use crate::ports::{Answer, Check, Fault};
use crate::review::policy::QUARANTINE_POLICIES;

/// The quarantined users of one account, each with its quarantine policies. The key is the user's name in lower case,
/// because IAM does not distinguish user names by case.
pub(crate) type Quarantined = BTreeMap<String, Vec<String>>;

/// Asks AWS for the quarantined users of one account: three calls, one for each policy, unless AWS splits an answer
/// into pages.
///
/// # Errors
///
/// AWS refused or did not answer one of the calls. Then nothing is known about any user of the account.
pub(crate) async fn ask(world: &World, account: Option<&AccountName>) -> Answer<Quarantined> {
    let iam = world.accounts.iam(account);
    let mut quarantined = Quarantined::new();
    for policy in QUARANTINE_POLICIES {
        for user in iam.users_with_policy(policy).await? {
            quarantined.entry(user.as_str().to_lowercase()).or_default().push(policy.to_owned());
        }
    }
    Ok(quarantined)
}

/// The accounts of all enabled vendors with keys, each with the users that are known without another listing. An
/// account that has two names in the configuration appears once, unless AWS did not tell its ID.
///
/// `report`: the newest reports, which name the users of vendors that are configured with a path.
pub(crate) async fn watched<'v>(
    world: &World,
    report: impl Iterator<Item = &'v UserReport>,
) -> Vec<(Option<AccountName>, Vec<Subject>)> {
    let mut names: BTreeMap<Option<AccountName>, BTreeSet<Subject>> = BTreeMap::new();
    for vendor in world.settings.vendors.values().filter(|vendor| vendor.enabled) {
        let Access::Key(access) = &vendor.access else { continue };
        let subjects = names.entry(access.account.clone()).or_default();
        if let Users::Named(users) = &access.users {
            let subject = |user: &IamUserName| Subject {
                vendor: vendor.name.clone(),
                account: access.account.clone(),
                iam_user: user.clone(),
            };
            subjects.extend(users.iter().map(subject));
        }
    }
    for report in report {
        let vendor = world.settings.vendors.get(&report.vendor).filter(|vendor| vendor.enabled);
        let access = vendor.and_then(|vendor| match &vendor.access {
            Access::Key(access) => Some(access),
            Access::Role { .. } => None,
        });
        if let (Some(access), Some(user)) = (access, &report.iam_user)
            && matches!(access.users, Users::Path(_))
        {
            let (vendor, account) = (report.vendor.clone(), access.account.clone());
            let subject = Subject { vendor, account: account.clone(), iam_user: user.clone() };
            names.entry(account).or_default().insert(subject);
        }
    }
    // Two names may mean the same account. AWS is asked about it once.
    let mut accounts: Vec<(Option<AccountName>, Vec<Subject>)> = Vec::new();
    let mut places = BTreeMap::new();
    for (name, subjects) in names {
        let id = world.accounts.iam(name.as_ref()).account_id().await.ok();
        if let Some(place) = id.as_ref().and_then(|id| places.get(id)) {
            let (_, known): &mut (_, Vec<Subject>) = &mut accounts[*place];
            known.extend(subjects);
            continue;
        }
        id.map(|id| places.insert(id, accounts.len()));
        accounts.push((name, subjects.into_iter().collect()));
    }
    accounts
}

/// Asks AWS now, for commands that only read, and adds to each report the quarantine policies of its user. Without
/// `[exposure]` it asks nothing, and reports of an account that cannot be asked stay as they are.
pub(super) async fn look(world: &World, found: &mut [UserReport]) {
    if world.settings.exposure.is_none() {
        return;
    }
    for (account, subjects) in watched(world, found.iter()).await {
        match ask(world, account.as_ref()).await {
            Ok(quarantined) => {
                for report in found.iter_mut() {
                    let Some(user) = &report.iam_user else { continue };
                    let is_here =
                        |subject: &Subject| subject.vendor == report.vendor && subject.iam_user == *user;
                    if subjects.iter().any(is_here) {
                        let policies = quarantined.get(&user.as_str().to_lowercase());
                        report.exposure = Some(policies.cloned().unwrap_or_default());
                    }
                }
            }
            Err(fault) => warn_not_checked(account.as_ref(), &fault),
        }
    }
}

/// One check for each account: it fails if AWS does not answer the question, or has quarantined a user that the
/// configuration names. Empty without `[exposure]`.
pub async fn exposure_checks(world: &World) -> Vec<Check> {
    let mut checks = Vec::new();
    if world.settings.exposure.is_none() {
        return checks;
    }
    for (account, subjects) in watched(world, std::iter::empty()).await {
        let check = account.as_ref().map_or_else(|| "exposure".to_owned(), |name| format!("exposure {name}"));
        let found = match ask(world, account.as_ref()).await {
            Err(fault) => Err(fault.sentence().to_owned()),
            Ok(quarantined) => {
                let exposed = subjects.iter().filter_map(|subject| {
                    let policies = quarantined.get(&subject.iam_user.as_str().to_lowercase())?;
                    let Subject { vendor, iam_user, .. } = subject;
                    Some(exposed_in_words(vendor, iam_user, policies, &Response::ByHand))
                });
                match exposed.collect::<Vec<_>>() {
                    none if none.is_empty() => {
                        Ok("AWS has quarantined no user that the configuration names".to_owned())
                    }
                    exposed => Err(exposed.join("; ")),
                }
            }
        };
        checks.push(Check::found(check, found));
    }
    checks
}

/// Logs that AWS could not be asked about this account.
pub(crate) fn warn_not_checked(account: Option<&AccountName>, fault: &Fault) {
    let of = account.map(|name| format!(" of the account {name}")).unwrap_or_default();
    tracing::warn!(
        "[exposure]: whether AWS has quarantined users{of} is not checked: {}; rotations continue",
        fault.sentence()
    );
}
