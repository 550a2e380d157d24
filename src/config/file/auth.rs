//! Reads `auth = { … }`: exactly one way in which a request authenticates.

use super::address;
use super::reader::{self, Section, Text};
use super::report::{Mistake, Span};
use super::steps;
use super::template::{self, Scope};
use super::values::Plaintext;
use crate::config::SecretRef;
use crate::config::settings::Auth;

const WAYS: [&str; 5] = ["bearer", "basic", "header", "oauth2", "jwt"];

/// The way that is configured; `None`: there is none, or a mistake was reported.
pub(super) fn read(step: &mut Section<'_>, plaintext: Plaintext, scope: &Scope) -> Option<Auth> {
    let entry = step.entry("auth")?;
    if !entry.value.get_ref().is_table() {
        // The value may be the token itself, so reports do not show it.
        let mistake = Mistake::new(
            entry.span(),
            "auth must be a table that names an authentication method and refers to the secret",
        );
        step.report.add(mistake.hint("such as auth = { bearer = \"credential:acme-token\" }"));
        return None;
    }
    let mut section = reader::section(step.report, "auth", "auth".to_owned(), entry.value)?;
    let mut said: Vec<(Span, &'static str)> =
        WAYS.into_iter().filter_map(|way| Some((section.entry(way)?.key_span, way))).collect();
    said.sort_by_key(|(span, _)| span.start);
    if said.is_empty() {
        let mistake = Mistake::new(entry.span(), "auth names no authentication method");
        section.report.add(mistake.hint("one of bearer, basic, header, oauth2 and jwt"));
    }
    for (span, way) in said.iter().skip(1) {
        let mistake = Mistake::new(*span, format!("{way} does not go with {}", said[0].1));
        section.report.add(mistake.hint("auth has one of bearer, basic, header, oauth2 and jwt"));
    }
    // Every way that is written is read, so that a literal secret is found in any of them.
    let auths: Vec<_> = said.iter().map(|(_, way)| way_of(&mut section, way, plaintext, scope)).collect();
    section.finish();
    auths.into_iter().next().flatten()
}

fn way_of(section: &mut Section<'_>, way: &str, plaintext: Plaintext, scope: &Scope) -> Option<Auth> {
    match way {
        "bearer" => section.secret("bearer").map(Auth::Bearer),
        "basic" => section.section("basic", "basic".to_owned()).and_then(|section| basic(section, scope)),
        "header" => section.section("header", "header".to_owned()).and_then(header),
        "jwt" => section.section("jwt", "jwt".to_owned()).and_then(|section| jwt(section, scope)),
        _ => section
            .section("oauth2", "oauth2".to_owned())
            .and_then(|section| oauth2(section, plaintext, scope)),
    }
}

fn basic(mut section: Section<'_>, scope: &Scope) -> Option<Auth> {
    let user = required_template(&mut section, "user", "the user name itself, not a reference", scope);
    if let (Some(place), true) =
        (section.place_of("user"), user.as_deref().is_some_and(|user| user.parse::<SecretRef>().is_ok()))
    {
        let mistake =
            Mistake::new(place, "the user is sent as it is written here, so it cannot be a reference");
        let hint = "secrets = { user = \"…\" } in the step, and user = \"{{ secrets.user }}\" here";
        section.report.add(mistake.hint(hint));
    }
    let password = section.required("password", "a reference such as \"credential:acme-password\"");
    let password = password.and_then(|entry| reader::secret(section.report, entry.value));
    section.finish();
    Some(Auth::Basic { user: user?, password: password? })
}

fn header(mut section: Section<'_>) -> Option<Auth> {
    let name = required(&mut section, "name", "the header's name, such as X-Api-Key");
    if let Some(mistake) = name.and_then(|text| steps::judge_header(text.text, text.span)) {
        section.report.add(mistake);
    }
    let value = section.required("value", "a reference such as \"credential:acme-token\"");
    let value = value.and_then(|entry| reader::secret(section.report, entry.value));
    section.finish();
    Some(Auth::Header { name: name?.text.to_owned(), value: value? })
}

fn oauth2(mut section: Section<'_>, plaintext: Plaintext, scope: &Scope) -> Option<Auth> {
    let token_url = required(&mut section, "token_url", "the URL of the token endpoint").map(|text| {
        address::check(section.report, text, plaintext, scope);
        text.text.to_owned()
    });
    let client_id =
        required_template(&mut section, "client_id", "the client id itself, not a reference", scope);
    let client_secret = section.required("client_secret", "a reference such as \"credential:acme-client\"");
    let client_secret = client_secret.and_then(|entry| reader::secret(section.report, entry.value));
    let asked = section.string("scope").map(|text| text.text.to_owned());
    let audience = section.string("audience").map(|text| {
        template::check(section.report, text, scope);
        text.text.to_owned()
    });
    let in_body = section.string("credentials_in").map(|text| match text.text {
        "header" => false,
        "body" => true,
        other => {
            let message = format!("credentials_in cannot be {}", reader::quoted(other));
            section.report.add(Mistake::new(text.span, message).hint("\"header\" or \"body\""));
            false
        }
    });
    section.finish();
    Some(Auth::OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: asked,
        audience,
        in_body: in_body.unwrap_or(false),
    })
}

fn jwt(mut section: Section<'_>, scope: &Scope) -> Option<Auth> {
    let private_key = section.required("private_key", "a reference such as \"credential:acme-rsa-key\"");
    let private_key = private_key.and_then(|entry| reader::secret(section.report, entry.value));
    let with_fingerprint = Scope { has_fingerprint: true, ..scope.clone() };
    let issuer = required_template(
        &mut section,
        "issuer",
        "the issuer of the token, its claim iss",
        &with_fingerprint,
    );
    let subject = required_template(
        &mut section,
        "subject",
        "the subject of the token, its claim sub",
        &with_fingerprint,
    );
    section.finish();
    Some(Auth::Jwt { private_key: private_key?, issuer: issuer?, subject: subject? })
}

fn required_template(
    section: &mut Section<'_>,
    key: &'static str,
    hint: &str,
    scope: &Scope,
) -> Option<String> {
    let text = required(section, key, hint)?;
    template::check(section.report, text, scope);
    Some(text.text.to_owned())
}

fn required<'a>(section: &mut Section<'a>, key: &'static str, hint: &str) -> Option<Text<'a>> {
    let entry = section.required(key, hint)?;
    reader::string(section.report, key, entry.value)
}
