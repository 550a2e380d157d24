//! The rules for unique credentials: each user belongs to one vendor, and no person or other vendor uses it.

use std::collections::BTreeSet;

use super::{CONSOLE_PASSWORD, FOREIGN_PLACE, FOREIGN_SERVICE, NOT_CHECKED, PERSONS_USER, SHARED_USER};
use crate::review::audit::facts::{Facts, Key, Origin, Use, User};
use crate::review::audit::{Declared, DeclaredVendor, Finding};
use crate::review::policy::lint::in_words;
use crate::review::policy::{Pattern, actions, narrowing};

/// Services that every vendor may call: a program calls `sts` to learn its own identity.
const HARMLESS: [&str; 1] = ["sts"];
/// The names under which IAM records a use, where they differ from the prefix of the actions: the name of the
/// endpoint, or the one that requests are signed with.
const USE_NAMES: &str = include_str!("use_names.txt");

pub(super) fn judge(facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let mut found = Vec::new();
    for user in &facts.users {
        found.extend(shared(user, declared));
    }
    for (vendor, user) in declared.vendor_users(facts) {
        found.extend(person(user, vendor));
        found.extend(user.keys.iter().filter_map(|key| foreign_service(user, key, vendor, declared)));
        found.extend(user.keys.iter().filter_map(|key| foreign_place(user, key, vendor, declared, facts)));
    }
    found
}

/// A configuration that names one user twice is refused. But only the account shows that a user under one vendor's
/// path is a user that another vendor names.
fn shared(user: &User, declared: &Declared) -> Option<Finding> {
    let vendors: Vec<String> = declared.claimants(user).map(|vendor| vendor.name.to_string()).collect();
    let name = &user.name;
    let sentence = format!("the user {name} is claimed by the vendors {}", in_words(&vendors));
    (vendors.len() > 1).then(|| {
        let first = declared.vendor_of(user).map(|vendor| &vendor.name);
        Finding::new(&SHARED_USER, &user.arn, sentence)
            .of(first)
            .with("vendors", vendors)
            .with("path", user.path.clone())
    })
}

fn person(user: &User, vendor: &DeclaredVendor) -> Option<Finding> {
    let console = user.console;
    let signs_in = console.last_used_at.is_some() || console.mfa;
    let name = &user.name;
    let finding = match console.last_used_at {
        _ if !console.password => return None,
        Some(at) => {
            Finding::new(&PERSONS_USER, &user.arn, format!("there was a console sign-in as {name} at {at}"))
                .with("password_last_used", at.to_string())
        }
        None if signs_in => Finding::new(
            &PERSONS_USER,
            &user.arn,
            format!("the user {name} has a password and a second factor"),
        ),
        None => {
            let fix = format!("aws iam delete-login-profile --user-name {name}");
            let sentence = format!("the user {name} has an unused console password");
            Finding::new(&CONSOLE_PASSWORD, &user.arn, sentence).fix(fix)
        }
    };
    Some(finding.of(Some(&vendor.name)).with("mfa_active", console.mfa))
}

fn foreign_service(user: &User, key: &Key, vendor: &DeclaredVendor, declared: &Declared) -> Option<Finding> {
    let Use { at, service, region } = key.last_use.as_ref()?;
    let service = prefix(service.as_ref()?);
    let has = |vendor: &DeclaredVendor| {
        vendor.services().iter().any(|declared| Pattern::new(declared).matches(&service))
    };
    if vendor.actions.is_empty() || has(vendor) || HARMLESS.contains(&service.as_str()) {
        return None;
    }
    if !actions::knows(&service) {
        let sentence = format!(
            "{} of {} was last used for {service:?}: which actions that stands for is not known, so it was not compared with what the vendor declares",
            key.id, vendor.name
        );
        let finding = Finding::new(&NOT_CHECKED, &user.arn, sentence).of(Some(&vendor.name));
        let fix = format!("ask {} whether it uses {service}", vendor.name);
        return Some(finding.detail(key.id.as_str()).fix(fix).with("what", service));
    }
    let others = declared.vendors.iter().filter(|other| other.name != vendor.name && has(other));
    let others: Vec<String> = others.map(|other| other.name.to_string()).collect();
    let hint = match others.as_slice() {
        [] => "which no vendor declares".to_owned(),
        names => format!("which is what {} does", in_words(names)),
    };
    let (id, name) = (&key.id, &vendor.name);
    let finding = Finding::new(
        &FOREIGN_SERVICE,
        &user.arn,
        format!("{id} of {name} was last used for {service}, {hint}"),
    );
    let finding = finding
        .of(Some(name))
        .detail(id.as_str())
        .fix(format!("ask {name}; if it was not {name}, rotate the key now: {}", vendor.rotate(true)));
    let finding = finding
        .with("access_key_id", id.as_str())
        .with("service", service)
        .with("last_used_at", at.to_string());
    Some(finding.with("region", region.clone()).with("vendors_that_declare_it", others))
}

fn foreign_place(
    user: &User,
    key: &Key,
    vendor: &DeclaredVendor,
    declared: &Declared,
    facts: &Facts,
) -> Option<Finding> {
    let addresses = |key: &Key| -> BTreeSet<String> {
        let outside = key.origins.iter().flatten().filter(|origin| is_outside(origin));
        outside.map(|origin| origin.address.clone()).collect()
    };
    let own = addresses(key);
    let others = declared.vendor_users(facts).filter(|(other, _)| other.name != vendor.name);
    let shared = others.flat_map(|(other, user)| user.keys.iter().map(move |key| (other, key)));
    let (other, address) = shared.into_iter().find_map(|(other, theirs)| {
        let theirs = addresses(theirs);
        own.iter().find(|address| theirs.contains(*address)).map(|address| (other, address.clone()))
    })?;
    let rotate = match (vendor.enabled, other.enabled) {
        (true, true) => format!("`keyround rotate {} {} --force`", vendor.name, other.name),
        _ => format!("{} and {}", vendor.rotate(true), other.rotate(true)),
    };
    let (id, name, other) = (&key.id, &vendor.name, &other.name);
    let sentence = format!("{id} of {name} is used from {address}, and so is the key of {other}");
    let fix = format!("ask {name} and {other}; if it was neither, {rotate}");
    let finding =
        Finding::new(&FOREIGN_PLACE, &user.arn, sentence).of(Some(name)).detail(id.as_str()).fix(fix);
    Some(
        finding
            .with("access_key_id", id.as_str())
            .with("address", address)
            .with("other_vendor", other.as_str()),
    )
}

/// The prefix of the actions of this service.
fn prefix(recorded: &str) -> String {
    let name = recorded.to_ascii_lowercase();
    let rows = USE_NAMES.lines().filter_map(|line| line.split_once(' '));
    let other = rows.into_iter().find(|(recorded, _)| *recorded == name);
    other.map_or(name, |(_, prefix)| prefix.to_owned())
}

/// Whether the call came from an address. Calls by AWS's own services show a name instead.
fn is_outside(origin: &Origin) -> bool {
    narrowing::is_address(&origin.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_service_name_maps_to_an_action_prefix() {
        for (name, expect) in
            [("ses-smtp", "ses"), ("Monitoring", "cloudwatch"), ("s3", "s3"), ("tagging", "tag")]
        {
            assert_eq!(prefix(name), expect);
        }
        let rows = USE_NAMES.lines().filter(|line| !line.starts_with('#'));
        for (name, prefix) in rows.filter_map(|line| line.split_once(' ')) {
            assert!(actions::knows(prefix) && !actions::knows(name), "{name} {prefix}");
        }
    }
}
