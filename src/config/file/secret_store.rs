//! Reads `kind = "secrets-manager"` and `kind = "ssm"`: the place at AWS, and the content that is written there.

use std::collections::BTreeMap;

use super::body;
use super::reader::{self, Section, Text};
use super::report::Mistake;
use super::sections::not_empty;
use super::steps::Recipe;
use super::template::{self, Scope};
use super::vendor;
use crate::config::settings::{Content, Place, SecretStoreStep, Vault};

/// The default of `fields`: the names that AWS itself uses for the two halves of the pair.
const FIELDS: [(&str, &str); 2] =
    [("access_key_id", "{{ access_key_id }}"), ("secret_access_key", "{{ secret_access_key }}")];

pub(super) fn secrets_manager(
    mut section: Section<'_>,
    recipe: &Recipe<'_>,
    scope: &Scope,
) -> Option<SecretStoreStep> {
    let id = name(&mut section, "id", "the secret's name or ARN; keyround does not create it");
    finish(section, id, recipe, scope, |id| Vault::SecretsManager { id })
}

pub(super) fn ssm(mut section: Section<'_>, recipe: &Recipe<'_>, scope: &Scope) -> Option<SecretStoreStep> {
    let name = name(&mut section, "name", "the parameter's name, such as /vendors/acme/aws");
    finish(section, name, recipe, scope, |name| Vault::ParameterStore { name })
}

fn name<'a>(section: &mut Section<'a>, key: &'static str, hint: &str) -> Option<Text<'a>> {
    let entry = section.required(key, hint)?;
    let text = reader::string(section.report, key, entry.value)?;
    not_empty(section.report, text).map(|_| text)
}

fn finish(
    mut section: Section<'_>,
    name: Option<Text<'_>>,
    recipe: &Recipe<'_>,
    scope: &Scope,
    vault: fn(String) -> Vault,
) -> Option<SecretStoreStep> {
    let said_account = section.place_of("account").is_some();
    let account = vendor::account(&mut section, recipe.accounts);
    let said_region = section.string("region").and_then(|text| not_empty(section.report, text));
    let content = content(&mut section, scope);
    section.finish();
    if said_account && account.is_none() {
        return None;
    }
    let name = name?.text.to_owned();
    let region = said_region.or_else(|| region_of_arn(&name));
    let account = account.or_else(|| recipe.account.cloned());
    Some(SecretStoreStep { place: Place { vault: vault(name), account, region }, content: content? })
}

/// The region in an ARN such as `arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme`; `None`: it is no ARN
/// or has no region.
fn region_of_arn(name: &str) -> Option<String> {
    let mut parts = name.split(':');
    let is_arn = parts.next() == Some("arn");
    parts.nth(2).filter(|region| is_arn && !region.is_empty()).map(str::to_owned)
}

/// Reads the content: at most one of `fields`, `json` and `body`. Without any of them, it is [`FIELDS`].
fn content(step: &mut Section<'_>, scope: &Scope) -> Option<Content> {
    let ways = ["fields", "json", "body"];
    let mut said: Vec<_> = ways.into_iter().filter_map(|way| step.entry(way)).collect();
    said.sort_by_key(|entry| entry.key_span.start);
    for more in said.iter().skip(1) {
        let mistake = Mistake::new(more.key_span, format!("{} does not go with {}", more.key, said[0].key));
        step.report
            .add(mistake.hint("fields changes a part of the secret, and json or body replaces all of it"));
    }
    let contents: Vec<Option<Content>> = said
        .iter()
        .map(|entry| match entry.key {
            "fields" => fields(step, scope).map(Content::Fields),
            "json" => body::json(step.report, entry.value, scope).map(Content::Json),
            _ => body::template_of(step.report, entry.key, entry.value, scope).map(Content::Text),
        })
        .collect();
    match contents.into_iter().next() {
        Some(said) => said,
        None => Some(Content::Fields(FIELDS.map(|(name, value)| (name.to_owned(), value.to_owned())).into())),
    }
}

fn fields(step: &mut Section<'_>, scope: &Scope) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    let entries = step.named("fields", "fields");
    if let (Some(place), true) = (step.place_of("fields"), entries.is_empty()) {
        let hint = "such as fields = { access_key_id = \"{{ access_key_id }}\" }";
        step.report.add(Mistake::new(place, "fields is empty").hint(hint));
        return None;
    }
    for entry in entries {
        let Some(text) = reader::unseen_string(step.report, entry.key, entry.value) else { continue };
        template::check(step.report, text, scope);
        fields.insert(entry.key.to_owned(), text.text.to_owned());
    }
    Some(fields)
}
