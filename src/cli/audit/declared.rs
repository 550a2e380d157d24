//! The part of the configuration that concerns one account, in the types of the review.

use std::collections::BTreeSet;

use crate::config::Settings;
use crate::config::settings::{Access, KeyAccess, Users, VendorSettings};
use crate::core::ids::{AccessKeyId, AccountId, AccountName};
use crate::core::rotation::Event;
use crate::core::time::Timestamp;
use crate::ports::{Journal, JournalError, KnownRotation, Scope};
use crate::review::audit::declared::RotationPractice;
use crate::review::audit::known::known;
use crate::review::audit::{Declared, DeclaredVendor, GivenAccess};

/// What the journal records about users and their keys.
#[derive(Default)]
pub(crate) struct JournalKeys {
    rotations: Vec<KnownRotation>,
    made: BTreeSet<AccessKeyId>,
}

impl JournalKeys {
    /// Reads all rotations, and the keys that keyround created, from the journal.
    pub(crate) async fn read(journal: &dyn Journal) -> Result<JournalKeys, JournalError> {
        let history = journal.history(None, Timestamp::EPOCH).await?;
        let made = history.into_iter().filter_map(|recorded| match recorded.event {
            Event::Created { key, .. } => Some(key),
            _ => None,
        });
        Ok(JournalKeys { made: made.collect(), rotations: journal.rotations(None).await? })
    }
}

/// The configuration of this account: the vendors under its name, and under any other name with the same account id.
pub(crate) fn declared(
    settings: &Settings,
    id: &AccountId,
    name: Option<&AccountName>,
    journalled: &JournalKeys,
) -> Declared {
    let is_here = |other: Option<&AccountName>| {
        let of = other.and_then(|other| settings.accounts.get(other));
        other == name || of.is_some_and(|account| account.id.as_ref() == Some(id))
    };
    let mut declared = Declared {
        own_accounts: settings.accounts.values().filter_map(|account| account.id.clone()).collect(),
        alert_sinks: Some(settings.alerts.len()),
        waivers: settings.waivers.clone(),
        ..Declared::default()
    };
    for vendor in settings.vendors.values() {
        let given = match &vendor.access {
            Access::Key(access) if is_here(access.account.as_ref()) => keys(access),
            Access::Role { role_arn, vendor_account_id } if of_account(role_arn) == Some(id.as_str()) => {
                let (role_arn, vendor_account_id) = (role_arn.clone(), vendor_account_id.clone());
                GivenAccess::Role { role_arn, vendor_account_id }
            }
            Access::Key(_) | Access::Role { .. } => continue,
        };
        declared.vendors.push(declared_vendor(vendor, given));
    }
    let of_here = |known: &&KnownRotation| is_here(known.subject.account.as_ref());
    for known in journalled.rotations.iter().filter(of_here) {
        let user = known.subject.iam_user.clone();
        if !known.ended {
            declared.rotating.insert(user.clone());
        }
        declared.rotated_for.insert(user, known.subject.vendor.clone());
    }
    declared.made.clone_from(&journalled.made);
    declared
}

fn declared_vendor(vendor: &VendorSettings, given: GivenAccess) -> DeclaredVendor {
    DeclaredVendor {
        name: vendor.name.clone(),
        enabled: vendor.enabled,
        given,
        actions: vendor.needs.actions.clone(),
        known: known(&[vendor.name.as_str()]),
    }
}

fn keys(access: &KeyAccess) -> GivenAccess {
    let (users, path) = match &access.users {
        Users::Named(users) => (users.clone(), None),
        Users::Path(path) => (Vec::new(), Some(path.clone())),
    };
    let care = RotationPractice {
        soak: access.plan.soak,
        cool: access.plan.cool,
        verified: !access.verify.is_empty(),
    };
    GivenAccess::Keys { users, path, ages: access.ages, care }
}

/// The users, paths and roles that a review of this account reads in detail.
pub(crate) fn scope(settings: &Settings, name: Option<&AccountName>) -> Scope {
    let mut scope = Scope::default();
    for vendor in settings.vendors.values() {
        match &vendor.access {
            Access::Key(access) if access.account.as_ref() == name => match &access.users {
                Users::Named(users) => scope.users.extend(users.iter().cloned()),
                Users::Path(path) => drop(scope.paths.insert(path.clone())),
            },
            Access::Role { role_arn, .. } => drop(scope.roles.insert(role_arn.clone())),
            Access::Key(_) => {}
        }
    }
    scope
}

/// The configured name of the account that a role is in. `None`, the ambient account, if no configured account has its
/// id.
pub(crate) fn account_of(settings: &Settings, role_arn: &str) -> Option<AccountName> {
    let id = of_account(role_arn);
    let found =
        settings.accounts.iter().find(|(_, account)| account.id.as_ref().map(AccountId::as_str) == id);
    found.map(|(name, _)| name.clone())
}

fn of_account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}
