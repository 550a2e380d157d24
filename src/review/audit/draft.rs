//! Drafts a first configuration from the facts of an account: one section for each user with a key and for each
//! role that admits another account, with the reasons why it may or may not be a vendor's.
//!
//! **Invariant:** a draft is a valid configuration that rotates nothing: each vendor with a key is disabled until a
//! person has configured how keys are delivered to it.
//!
//! **Invariant:** each guess is marked as a guess, with its reason beside it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::facts::{Facts, Key, Role, User};
use super::known::{DECORATIONS, Instead, KnownVendor, known};
use super::proposal::{Proposal, proposed};
use crate::core::rotation::KeyStatus;
use crate::core::time::days_in_words;
use crate::review::policy::trust::{self, Trusted};

const NAME_LETTERS_MAX: usize = 64;

const HEAD: &str = "\
# Drafted by `keyround init` from what was found in the account. Nothing is rotated before somebody has
# read it: each vendor is switched off. For each:
#   1. is it a vendor's? Take the section out if it is a person's or your own program's.
#   2. say in deliver how the vendor is given a key, and in verify how it is asked which one it has;
#   3. enabled = true, then `keyround check --online`, `keyround rehearse`, `keyround rotate --dry-run`.
";

/// The text of the draft. A user whose name fits a preset of the catalogue gets that preset as delivery.
#[must_use]
pub fn draft(facts: &Facts, region: Option<&str>, catalogue: &[Proposal]) -> String {
    let mut text = HEAD.to_owned();
    if let Some(region) = region {
        put(&mut text, &format!("\n[aws]\nregion = {region:?}\n"));
    }
    put(&mut text, &format!("\n[account.this]\nid = \"{}\"\n", facts.account_id));
    let mut names = BTreeSet::new();
    for user in facts.users.iter().filter(|user| !user.keys.is_empty() && user.arn != facts.caller) {
        of_user(&mut text, user, facts, catalogue, &mut names);
    }
    for role in &facts.roles {
        of_role(&mut text, role, facts, &mut names);
    }
    for gap in &facts.gaps {
        put(
            &mut text,
            &format!(
                "\n# {} could not be read, so this draft may lack something: {}\n",
                gap.what,
                plain(&gap.sentence)
            ),
        );
    }
    text
}

fn put(text: &mut String, more: &str) {
    write!(text, "{more}").expect("memory can be written to");
}

fn of_user(
    text: &mut String,
    user: &User,
    facts: &Facts,
    catalogue: &[Proposal],
    names: &mut BTreeSet<String>,
) {
    let vendor = known(&[user.name.as_str()]);
    let presets = proposed(user.name.as_str(), catalogue);
    let name = unique(&vendor_name(user.name.as_str()), names);
    put(text, "\n");
    for line in reasons(user, vendor, &presets, facts) {
        put(text, &format!("# {}\n", plain(&line)));
    }
    let body = format!(
        "[vendor.{name}]\naccount = \"this\"\niam_user = {user:?}\nenabled = false\n{delivery}",
        user = user.name.as_str(),
        delivery = delivery(&name, presets.first().copied()),
    );
    // A user with a console password is a person's, whatever its name, and a user without an active key has nothing
    // to rotate: in both cases the section is written as a comment.
    let waits = user.console.password || !has_active_key(user);
    for line in body.lines() {
        put(text, &if waits { format!("# {line}\n") } else { format!("{line}\n") });
    }
}

/// The delivery section: the preset, or else a webhook whose address must be filled in.
fn delivery(name: &str, preset: Option<&Proposal>) -> String {
    match preset {
        Some(preset) => format!(
            "[[vendor.{name}.deliver]]\nkind = \"preset\"\npreset = \"{}\"\n[vendor.{name}.deliver.params]        \
                  # examples: replace them\n{}",
            preset.name, preset.parameter_lines
        ),
        None => format!(
            "[[vendor.{name}.deliver]]\nkind = \"webhook\"                        # a guess: how does it take \
             keys?\nurl = \"https://{name}.invalid/aws-keys\"    # nobody's: write the vendor's here\nsecret = \
             \"env:{variable}_WEBHOOK\"\n",
            variable = name.to_ascii_uppercase().replace('-', "_"),
        ),
    }
}

/// The comment lines above a section: the reasons why the user may or may not be a vendor's, and which vendor's.
fn reasons(user: &User, vendor: Option<&KnownVendor>, presets: &[&Proposal], facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    let name = &user.name;
    match (vendor, presets.first()) {
        (Some(KnownVendor { title, instead, .. }), _) => {
            let role = match instead {
                Instead::Role { .. } => "a role",
                Instead::WebIdentity => "a role with a token of its own identity",
            };
            lines.push(format!("{name}: of {title}, by its name. {title} takes {role}: better than any key"));
        }
        (None, Some(preset)) => lines.push(format!("{name}: of {}, by its name", preset.vendor())),
        (None, None) => {
            lines.push(format!("{name}: the owner is unknown; its name matches no preset"));
        }
    }
    lines.extend(
        presets
            .first()
            .map(|preset| format!("the preset {} fits by its name: {}", preset.name, preset.title)),
    );
    if let [_, others @ ..] = presets
        && !others.is_empty()
    {
        let others: Vec<&str> = others.iter().map(|preset| preset.name.as_str()).collect();
        lines.push(format!("other presets that fit: {} (keyround vendors show PRESET)", others.join(", ")));
    }
    if user.console.password {
        let signed_in =
            user.console.last_used_at.map_or("never used".to_owned(), |at| format!("used at {at}"));
        lines.push(format!(
            "a person's, probably: it has a console password ({signed_in}), so the section is a comment"
        ));
    }
    if !has_active_key(user) {
        lines.push("no key of it works: there is nothing to rotate, so the section is a comment".to_owned());
    }
    for key in &user.keys {
        lines.push(of_key(key, facts));
    }
    if user.keys.iter().filter(|key| key.status == KeyStatus::Active).count() > 1 {
        lines.push("two active keys: deactivate the unused one, or no rotation can begin".to_owned());
    }
    lines
}

fn of_key(key: &Key, facts: &Facts) -> String {
    let status = match key.status {
        KeyStatus::Active => "active",
        KeyStatus::Inactive => "inactive",
        KeyStatus::Expired => "expired",
    };
    let used = match &key.last_use {
        None => "never used".to_owned(),
        Some(last) => {
            let service =
                last.service.as_deref().map(|service| format!(" for {service}")).unwrap_or_default();
            let region = last.region.as_deref().map(|region| format!(" in {region}")).unwrap_or_default();
            format!("last used {} ago{service}{region}", days_in_words(facts.at.days_since(last.at)))
        }
    };
    let agents: BTreeSet<&str> = key.origins.iter().flatten().map(|origin| origin.agent.as_str()).collect();
    let by = match agents.len() {
        0 => String::new(),
        _ => format!(", by {}", agents.into_iter().collect::<Vec<_>>().join(", ")),
    };
    format!("{}: {status}, {} old, {used}{by}", key.id, days_in_words(facts.at.days_since(key.created_at)))
}

fn has_active_key(user: &User) -> bool {
    user.keys.iter().any(|key| key.status == KeyStatus::Active)
}

fn of_role(text: &mut String, role: &Role, facts: &Facts, names: &mut BTreeSet<String>) {
    let doors = role.trust.as_ref().map(trust::doors).unwrap_or_default();
    let accounts: BTreeSet<String> =
        doors.into_iter().flat_map(|door| door.trusted).filter_map(foreign(facts)).collect();
    let Some(account) = accounts.first() else { return };
    let name = unique(&vendor_name(&role.name), names);
    put(
        text,
        &format!(
            "\n# the role {} opens for the account {account}: a vendor's, or one of your own?\n",
            role.name
        ),
    );
    if accounts.len() > 1 {
        let all: Vec<&str> = accounts.iter().map(String::as_str).collect();
        put(text, &format!("# it opens for several accounts ({}); this is the first\n", all.join(", ")));
    }
    put(text, "# of your own: an [account.NAME] with its id in place of this\n");
    put(text, &format!("[vendor.{name}]\nrole_arn = {:?}\nvendor_account_id = \"{account}\"\n", role.arn));
}

fn foreign(facts: &Facts) -> impl Fn(Trusted) -> Option<String> + '_ {
    |trusted| match trusted {
        Trusted::Account(account) if account != facts.account_id.as_str() => Some(account),
        Trusted::Account(_)
        | Trusted::Anybody
        | Trusted::Service(_)
        | Trusted::Provider(_)
        | Trusted::Other(_) => None,
    }
}

/// The vendor's name in the name of a user or role: `acme` for `svc-acme-user`.
fn vendor_name(user: &str) -> String {
    let words = user.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    let of_vendor: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| !DECORATIONS.contains(word)).collect();
    let name = if of_vendor.is_empty() { words.join("-") } else { of_vendor.join("-") };
    // Four letters are left for the number that `unique` may append.
    if name.is_empty() { "unnamed".to_owned() } else { name.chars().take(NAME_LETTERS_MAX - 4).collect() }
}

fn unique(name: &str, names: &mut BTreeSet<String>) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !names.contains(name));
    let free = free.expect("there is always another number");
    names.insert(free.clone());
    free
}

/// Replaces control characters by blanks, because names in an account may hold them and a comment ends with its
/// line.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drafted_vendor_name_is_derived_from_its_user_and_unique() {
        assert_eq!(vendor_name("vendor-acme"), "acme");
        assert_eq!(vendor_name("svc.Fastly_logs@prod"), "fastly-logs-prod");
        assert_eq!(vendor_name("iam-user"), "iam-user");
        assert_eq!(vendor_name("=,@"), "unnamed");
        let mut names = BTreeSet::new();
        assert_eq!(
            [unique("a", &mut names), unique("a", &mut names), unique("a", &mut names)],
            ["a", "a-2", "a-3"]
        );
    }
}
