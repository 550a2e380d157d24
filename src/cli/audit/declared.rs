//! What the configuration says of one account, in the words of the review.

use crate::audit::declared::Care;
use crate::audit::known::known;
use crate::audit::{Declared, DeclaredVendor, Given};
use crate::config::Settings;
use crate::config::settings::{Access, KeyAccess, Users, VendorSettings};
use crate::ids::{AccountId, AccountName};
use crate::ports::{Known, Scope};

/// What the configuration says of this account: of the vendors under its name, and under any other
/// name that means the same account.
pub(crate) fn declared(
    settings: &Settings,
    id: &AccountId,
    name: Option<&AccountName>,
    in_flight: &[Known],
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
                Given::Role { role_arn, vendor_account_id }
            }
            Access::Key(_) | Access::Role { .. } => continue,
        };
        declared.vendors.push(declared_vendor(vendor, given));
    }
    let here = in_flight.iter().filter(|known| is_here(known.subject.account.as_ref()));
    declared.rotating = here.map(|known| known.subject.iam_user.clone()).collect();
    declared
}

fn declared_vendor(vendor: &VendorSettings, given: Given) -> DeclaredVendor {
    DeclaredVendor {
        name: vendor.name.clone(),
        given,
        actions: vendor.needs.actions.clone(),
        known: known(&[vendor.name.as_str()]),
    }
}

fn keys(access: &KeyAccess) -> Given {
    let (users, path) = match &access.users {
        Users::Named(users) => (users.clone(), None),
        Users::Path(path) => (Vec::new(), Some(path.clone())),
    };
    let care = Care { soak: access.plan.soak, cool: access.plan.cool, verified: !access.verify.is_empty() };
    Given::Keys { users, path, ages: access.ages, care }
}

/// What a review of this account looks at closely.
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

/// The account that a role is in, by its name; `None`: that of the ambient credentials.
pub(crate) fn account_of(settings: &Settings, role_arn: &str) -> Option<AccountName> {
    let id = of_account(role_arn);
    let found =
        settings.accounts.iter().find(|(_, account)| account.id.as_ref().map(AccountId::as_str) == id);
    found.map(|(name, _)| name.clone())
}

fn of_account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}
