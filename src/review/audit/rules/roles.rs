//! The rules for roles: only the vendor's own account is admitted, by an external id of its own, and no key is used
//! where a role would do.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ANY_TOKEN, EXTERNAL_ID_GUESSABLE, EXTERNAL_ID_REUSED, KEY_NOT_ROLE, NO_EXTERNAL_ID, NO_SUCH_ROLE,
    TRUSTS_ANYBODY, TRUSTS_ITSELF, UNKNOWN_ACCOUNT, WRONG_ACCOUNT,
};
use crate::review::audit::facts::{Facts, Role};
use crate::review::audit::known::{Instead, KnownVendor};
use crate::review::audit::{Declared, DeclaredVendor, Finding, GivenAccess};
use crate::review::policy::lint::in_words;
use crate::review::policy::provider;
use crate::review::policy::trust::{self, ExternalIds, TrustGrant, Trusted};

pub(super) fn judge(facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        declared.vendors.iter().filter_map(|vendor| no_such_role(vendor, facts)).collect();
    found.extend(declared.vendor_users(facts).filter_map(|(vendor, user)| {
        let has_key = !user.keys.is_empty();
        has_key.then(|| key_not_role(vendor, vendor.known?, &user.arn, facts)).flatten()
    }));
    for role in &facts.roles {
        found.extend(judge_role(role, facts, declared));
        found.extend(any_token(role, declared));
    }
    found.extend(reused(facts, declared));
    found
}

fn doors(role: &Role) -> Vec<TrustGrant> {
    role.trust.as_ref().map(trust::doors).unwrap_or_default()
}

fn no_such_role(vendor: &DeclaredVendor, facts: &Facts) -> Option<Finding> {
    let GivenAccess::Role { role_arn, .. } = &vendor.given else { return None };
    let is_there = facts.roles.iter().any(|role| role.arn == *role_arn);
    let sentence = format!("the role {role_arn} of {} is not in the account", vendor.name);
    (!is_there).then(|| Finding::new(&NO_SUCH_ROLE, role_arn, sentence).of(Some(&vendor.name)))
}

fn key_not_role(vendor: &DeclaredVendor, known: &KnownVendor, user: &str, facts: &Facts) -> Option<Finding> {
    // GovCloud and China are partitions of their own: no role there can trust an account here.
    if facts.partition() != "aws" {
        return None;
    }
    let (name, title) = (&vendor.name, known.title);
    let (what, external_id, fix) = match known.instead {
        Instead::Role { external_id } => {
            let ask = match external_id {
                Some(endpoint) => format!("have {title} make the external id ({endpoint})"),
                None => format!("take the external id from {title}"),
            };
            let fix = format!(
                "{ask}; `keyround policy trust {name} --vendor-account ACCOUNT --external-id ID > trust.json`; aws iam create-role --role-name {name} --assume-role-policy-document file://trust.json; attach the user's policy to it, give {title} the ARN, write role_arn in place of iam_user"
            );
            ("a role", external_id, fix)
        }
        Instead::WebIdentity => {
            let fix = format!(
                "make an identity provider for {title} (aws iam create-open-id-connect-provider) and a role that trusts it for your organization's jobs only; then delete the key"
            );
            ("a role with a token of its own identity", None, fix)
        }
    };
    let sentence = format!("{title} takes {what} in place of a key");
    let finding = Finding::new(&KEY_NOT_ROLE, user, sentence).of(Some(name)).fix(fix);
    Some(finding.with("vendor_is", title).with("external_id_endpoint", external_id))
}

fn judge_role(role: &Role, facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let vendor = declared.vendor_of_role(role);
    let name = vendor.map(|vendor| &vendor.name);
    let finding =
        |rule, sentence: String| Finding::new(rule, &role.arn, sentence).of(name).fix(rewrite(role, vendor));
    let mut found = Vec::new();
    for door in doors(role) {
        let accounts: BTreeSet<&String> = door.trusted.iter().filter_map(account).collect();
        let is_own = |account: &&String| account.as_str() == facts.account_id.as_str();
        let is_known =
            |account: &&String| declared.own_accounts.iter().any(|own| own.as_str() == account.as_str());
        let foreign: Vec<&String> =
            accounts.iter().copied().filter(|one| !is_own(one) && !is_known(one)).collect();
        if door.trusted.contains(&Trusted::Anybody) {
            found.push(finding(
                &TRUSTS_ANYBODY,
                format!("the role {} can be assumed from every AWS account", role.name),
            ));
        }
        if let Some(vendor) = vendor {
            found.extend(judge_vendor_role(role, vendor, &door, &foreign));
            let others = own_callers(role, &door, facts);
            if !others.is_empty() {
                let whom = in_words(&others);
                let sentence = format!("the role {} of {} trusts {whom} too", role.name, vendor.name);
                found.push(finding(&TRUSTS_ITSELF, sentence).with("principals", others));
            }
        } else if !foreign.is_empty() {
            let names: Vec<String> = foreign.iter().map(|account| (*account).clone()).collect();
            let sentence = format!("the role {} trusts the account {}", role.name, in_words(&names));
            let asked = matches!(door.external_ids, ExternalIds::Exact(_));
            let finding = Finding::new(&UNKNOWN_ACCOUNT, &role.arn, sentence);
            found.push(finding.with("accounts", names).with("external_id_asked", asked));
        }
    }
    found
}

/// The callers from this account that the role admits, except the role itself: some vendors demand that a role may
/// assume itself.
fn own_callers(role: &Role, door: &TrustGrant, facts: &Facts) -> Vec<String> {
    let session = format!(":assumed-role/{}/", role.name);
    let is_itself = |arn: &str| arn == role.arn || arn.contains(":sts:") && arn.contains(&session);
    let own = door.callers.iter().filter(|caller| caller.account == facts.account_id.as_str());
    let others = own.filter_map(|caller| match caller.arn.as_deref() {
        None => Some("this account".to_owned()),
        Some(arn) => (!is_itself(arn)).then(|| arn.to_owned()),
    });
    let mut others: Vec<String> = others.collect();
    others.sort_unstable();
    others.dedup();
    others
}

/// Reports a trust that admits every token of an identity provider.
fn any_token(role: &Role, declared: &Declared) -> Vec<Finding> {
    let doors = role.trust.as_ref().map(provider::any_token).unwrap_or_default();
    let vendor = declared.vendor_of_role(role).map(|vendor| &vendor.name);
    let found = |door: &provider::AnyToken| {
        let fix = format!(
            "add to Condition: {}; then aws iam update-assume-role-policy --role-name {} --policy-document file://trust.json",
            door.wanted(),
            role.name
        );
        let sentence = format!("the role {}: {}", role.name, door.sentence());
        let finding = Finding::new(&ANY_TOKEN, &role.arn, sentence).of(vendor).fix(fix);
        finding
            .detail(&door.provider)
            .with("provider", door.provider.clone())
            .with("asked", door.asked.clone())
    };
    doors.iter().map(found).collect()
}

/// Checks one statement of the trust policy of a vendor's role.
fn judge_vendor_role(
    role: &Role,
    vendor: &DeclaredVendor,
    door: &TrustGrant,
    foreign: &[&String],
) -> Vec<Finding> {
    let GivenAccess::Role { vendor_account_id, .. } = &vendor.given else { return Vec::new() };
    let finding = |rule, sentence: String| {
        Finding::new(rule, &role.arn, sentence).of(Some(&vendor.name)).fix(rewrite(role, Some(vendor)))
    };
    let mut found = Vec::new();
    let is_wrong =
        |account: &&&String| vendor_account_id.as_ref().is_some_and(|own| own.as_str() != account.as_str());
    for account in foreign.iter().filter(is_wrong) {
        let expected = vendor_account_id.as_ref().map(ToString::to_string);
        let sentence = format!("the role {} of {} trusts the account {account}", role.name, vendor.name);
        found.push(
            finding(&WRONG_ACCOUNT, sentence)
                .with("account", account.as_str())
                .with("vendor_account_id", expected),
        );
    }
    let lets_accounts_in = !foreign.is_empty() || door.trusted.contains(&Trusted::Anybody);
    match &door.external_ids {
        _ if !lets_accounts_in => {}
        ExternalIds::Unasked => {
            let sentence = format!("the trust of {} does not ask for sts:ExternalId", role.name);
            found.push(finding(&NO_EXTERNAL_ID, sentence));
        }
        ExternalIds::Loose(operator) => {
            let sentence = format!(
                "the trust of {} compares sts:ExternalId with {operator}, which demands no one value",
                role.name
            );
            found.push(finding(&NO_EXTERNAL_ID, sentence).with("operator", operator.clone()));
        }
        ExternalIds::Exact(ids) => {
            for id in ids.iter().filter(|id| trust::is_guessable(id)) {
                let sentence = format!("the external id of {} is {id:?}", role.name);
                found.push(finding(&EXTERNAL_ID_GUESSABLE, sentence).with("external_id", id.clone()));
            }
        }
    }
    found
}

fn account(trusted: &Trusted) -> Option<&String> {
    match trusted {
        Trusted::Account(account) => Some(account),
        Trusted::Anybody | Trusted::Service(_) | Trusted::Provider(_) | Trusted::Other(_) => None,
    }
}

/// The commands that replace the role's trust policy by a correct one.
fn rewrite(role: &Role, vendor: Option<&DeclaredVendor>) -> String {
    let name = vendor.map_or("NAME", |vendor| vendor.name.as_str());
    format!(
        "keyround policy trust {name} --external-id ID > trust.json && aws iam update-assume-role-policy --role-name {} --policy-document file://trust.json",
        role.name
    )
}

/// Reports external ids that the roles of two vendors accept. The roles of one vendor may share an id.
fn reused(facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let mut users: BTreeMap<String, Vec<(&DeclaredVendor, &Role)>> = BTreeMap::new();
    for (vendor, role) in declared.vendor_roles(facts) {
        for door in doors(role) {
            if let ExternalIds::Exact(ids) = door.external_ids {
                for id in ids {
                    users.entry(id).or_default().push((vendor, role));
                }
            }
        }
    }
    let mut found = Vec::new();
    for (id, users) in users {
        let names: BTreeSet<String> = users.iter().map(|(vendor, _)| vendor.name.to_string()).collect();
        let names: Vec<String> = names.into_iter().collect();
        for (vendor, role) in users.iter().filter(|_| names.len() > 1) {
            let sentence =
                format!("the external id of {} opens the roles of {}", role.name, in_words(&names));
            let finding = Finding::new(&EXTERNAL_ID_REUSED, &role.arn, sentence).of(Some(&vendor.name));
            found.push(
                finding
                    .with("external_id", id.clone())
                    .with("vendors", names.clone())
                    .fix(rewrite(role, Some(vendor))),
            );
        }
    }
    found
}
