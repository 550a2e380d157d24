//! The permissions that the rotator needs in one account, derived from the configuration.

use std::collections::BTreeSet;

use crate::config::settings::{
    Access, Auth, DeliverStep, HttpStep, KeyAccess, Param, SecretStoreStep, Users, Vault, VerifyStep,
};
use crate::config::{SecretRef, Settings};
use crate::core::ids::{AccountName, IamUserName};
use crate::review::audit::Facts;
use crate::review::policy::generate::Needs;

/// The needs of the identity that works in this account. `None` means the ambient identity, which also reads the
/// secrets and assumes the roles in the other accounts.
pub(super) fn of(
    settings: &Settings,
    account: Option<&AccountName>,
    facts: Option<&Facts>,
    reviews: bool,
) -> Needs {
    let mut needs = Needs {
        partition: partition(settings),
        region: settings.aws.region.clone(),
        asks_rights: true,
        reviews,
        ..Needs::default()
    };
    let named = account.and_then(|name| settings.accounts.get(name));
    let ambient = || settings.accounts.values().find(|account| account.role_arn.is_none());
    let known = match account {
        Some(_) => named.and_then(|account| account.id.clone()),
        None => ambient().and_then(|account| account.id.clone()),
    };
    needs.asks_cloudtrail = match named {
        Some(named) => named.cloudtrail.unwrap_or(settings.aws.cloudtrail),
        None => settings.aws.cloudtrail || ambient().is_some_and(|account| account.cloudtrail == Some(true)),
    };
    needs.account = facts.map(|facts| facts.account_id.clone()).or(known);
    let is_here = |of: Option<&AccountName>| match (of, account) {
        (Some(of), Some(name)) => of == name,
        // An account without a role is the account of the ambient credentials.
        (Some(of), None) => !is_entered(settings, of),
        (None, name) => name.is_none(),
    };
    for access in settings.vendors.values().filter_map(|vendor| key_access(&vendor.access)) {
        if is_here(access.account.as_ref()) {
            take_users(&mut needs, access, facts);
        }
        for step in
            access.deliver.iter().filter_map(secret_store).filter(|step| is_here(step.place.account.as_ref()))
        {
            let region = step.place.region.clone();
            match &step.place.vault {
                Vault::SecretsManager { id } => drop(needs.secret_drops.insert((region, id.clone()))),
                Vault::ParameterStore { name } => drop(needs.parameter_drops.insert((region, name.clone()))),
            }
        }
    }
    let has_users = !needs.users.is_empty() || !needs.paths.is_empty();
    needs.asks_exposure = settings.exposure.is_some() && has_users;
    if account.is_none() {
        needs.roles = settings.accounts.values().filter_map(|account| account.role_arn.clone()).collect();
        for reference in secrets(settings) {
            match reference {
                SecretRef::SecretsManager { id, .. } => drop(needs.secrets.insert(id.clone())),
                SecretRef::Ssm(name) => drop(needs.parameters.insert(name.clone())),
                SecretRef::Env(_) | SecretRef::File(_) | SecretRef::Credential(_) => {}
            }
        }
    }
    needs
}

/// Whether the rotator assumes a role in this account.
pub(super) fn is_entered(settings: &Settings, name: &AccountName) -> bool {
    settings.accounts.get(name).is_some_and(|account| account.role_arn.is_some())
}

/// The prefix of the regions of each partition, from botocore's `partitions.json`.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
];

/// The partition of the configured region, else of a role ARN in the configuration, else of the region in the
/// environment, else `aws`.
pub(super) fn partition(settings: &Settings) -> String {
    let of_region = |region: &str| {
        let found = PARTITIONS.iter().find(|(begins, _)| region.starts_with(begins));
        found.map_or("aws", |(_, partition)| *partition).to_owned()
    };
    let of_roles = || {
        let accounts = settings.accounts.values().filter_map(|account| account.role_arn.as_deref());
        let vendors = settings.vendors.values().filter_map(|vendor| match &vendor.access {
            Access::Role { role_arn, .. } => Some(role_arn.as_str()),
            Access::Key(_) => None,
        });
        accounts.chain(vendors).find_map(|arn| arn.split(':').nth(1)).map(str::to_owned)
    };
    let of_environment = || {
        let names = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
        names.filter_map(|name| std::env::var(name).ok()).find(|region| !region.is_empty())
    };
    let configured = settings.aws.region.as_deref().map(of_region);
    configured
        .or_else(of_roles)
        .or_else(|| of_environment().map(|region| of_region(&region)))
        .unwrap_or_else(|| "aws".to_owned())
}

fn key_access(access: &Access) -> Option<&KeyAccess> {
    match access {
        Access::Key(access) => Some(access),
        Access::Role { .. } => None,
    }
}

fn secret_store(step: &DeliverStep) -> Option<&SecretStoreStep> {
    match step {
        DeliverStep::SecretStore(step) => Some(step),
        DeliverStep::Webhook(_) | DeliverStep::Http(_) | DeliverStep::Command(_) | DeliverStep::Manual(_) => {
            None
        }
    }
}

fn take_users(needs: &mut Needs, access: &KeyAccess, facts: Option<&Facts>) {
    match &access.users {
        Users::Named(users) => needs.users.extend(users.iter().map(|user| with_path(user, facts))),
        Users::Path(path) => drop(needs.paths.insert(path.clone())),
    }
}

/// The user as in its ARN, such as `vendors/vendor-acme`. Without facts from IAM, the name alone.
fn with_path(user: &IamUserName, facts: Option<&Facts>) -> String {
    let found = facts.and_then(|facts| facts.user(user));
    let resource = found.and_then(|user| user.arn.split_once(":user/").map(|(_, name)| name.to_owned()));
    resource.unwrap_or_else(|| user.to_string())
}

/// All secret references in the configuration.
fn secrets(settings: &Settings) -> BTreeSet<&SecretRef> {
    let mut found: BTreeSet<&SecretRef> = settings.journal.seal_key.iter().collect();
    for access in settings.vendors.values().filter_map(|vendor| key_access(&vendor.access)) {
        for step in &access.deliver {
            match step {
                DeliverStep::Webhook(step) => found.extend(&step.secrets),
                DeliverStep::Http(step) => found.extend(of_request(step)),
                DeliverStep::SecretStore(_) | DeliverStep::Command(_) | DeliverStep::Manual(_) => {}
            }
        }
        for step in &access.verify {
            match step {
                VerifyStep::Http(step) => found.extend(of_request(step)),
                VerifyStep::Command(_) => {}
            }
        }
        found.extend(access.probe.iter().flat_map(of_request));
    }
    found
}

/// The secrets of a request: its authentication, and the secret parameters of its preset.
fn of_request(step: &HttpStep) -> impl Iterator<Item = &SecretRef> {
    let shows = step.auth.as_ref().map(|auth| match auth {
        Auth::Bearer(secret)
        | Auth::Basic { password: secret, .. }
        | Auth::Header { value: secret, .. }
        | Auth::OAuth2 { client_secret: secret, .. }
        | Auth::Jwt { private_key: secret, .. } => secret,
    });
    let given = step.params.values().filter_map(|param| match param {
        Param::Secret(secret) => Some(secret),
        Param::Text(_) | Param::Number(_) | Param::Flag(_) | Param::Texts(_) => None,
    });
    shows.into_iter().chain(given)
}
