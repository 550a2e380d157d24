//! Finds secrets that were written into the configuration: by the name of the field that holds one, and by their
//! format.
//!
//! **Invariant:** a value that is refused here is hidden from every report.

use minijinja::Environment;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::{Text, quoted};
use super::report::{Mistake, Report, Span};
use super::template::{self, Scope};

/// Endings of names of secrets. A name is compared in lower case, without separators and without a plural `s`.
const SECRET_ENDS: [&str; 22] = [
    "accesskey",
    "apikey",
    "appkey",
    "applicationkey",
    "authkey",
    "authorization",
    "cookie",
    "encryptionkey",
    "integrationkey",
    "jwt",
    "masterkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "routingkey",
    "secret",
    "secretkey",
    "sharedkey",
    "signingkey",
    "token",
];
/// Endings of names that are not secret, although they match [`SECRET_ENDS`].
const HARMLESS_ENDS: [&str; 5] = ["continuationtoken", "maxtoken", "nexttoken", "pagetoken", "setcookie"];
/// More endings for names of headers: vendors name the header for their keys after themselves, such as
/// `Fastly-Key`.
const SECRET_HEADER_ENDS: [&str; 5] = ["auth", "authentication", "credential", "key", "session"];
const HARMLESS_HEADER_ENDS: [&str; 2] = ["idempotencykey", "websocketkey"];
/// Values that are accepted in a field with the name of a secret.
const HARMLESS_VALUES: [&str; 8] = ["", "true", "false", "yes", "no", "null", "none", "undefined"];
/// Variables whose values come from elsewhere: a template that uses one holds no literal secret.
const SOURCES: [&str; 9] = [
    "secrets",
    "params",
    "captured",
    "secret_access_key",
    "credentials_file",
    "credentials_json",
    "access_key_id",
    "old_access_key_id",
    "public_key_sha256",
];
/// The longest literal word beside an expression that counts as the name of a scheme, such as `Bearer`. A longer
/// word counts as a secret.
const SCHEME_CHARS_MAX: usize = 20;
/// The shortest value in a longer text that may be a secret. A shorter one is taken for a word.
const VALUE_CHARS_MIN: usize = 4;
/// The tokens of well-known services: prefix, least length, and what messages call it.
const KNOWN_TOKENS: [(&str, usize, &str); 30] = [
    ("AGE-SECRET-KEY-", 50, "an age identity"),
    ("AIza", 35, "a Google API key"),
    ("SG.", 40, "a SendGrid key"),
    ("dckr_pat_", 25, "a Docker token"),
    ("dop_v1_", 40, "a DigitalOcean token"),
    ("dp.pt.", 30, "a Doppler token"),
    ("eyJ", 60, "a signed token (JWT)"),
    ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"),
    ("ghs_", 30, "a GitHub token"),
    ("ghu_", 30, "a GitHub token"),
    ("github_pat_", 40, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("glsa_", 30, "a Grafana token"),
    ("hvs.", 24, "a Vault token"),
    ("lin_api_", 30, "a Linear key"),
    ("npm_", 30, "an npm token"),
    ("pypi-", 40, "a PyPI token"),
    ("rk_live_", 20, "a Stripe key"),
    ("shpat_", 30, "a Shopify token"),
    ("sk_live_", 20, "a Stripe key"),
    ("sk_test_", 20, "a Stripe key"),
    ("sk-", 40, "an API key"),
    ("whsec_", 20, "a webhook secret"),
    ("whsk_", 20, "a webhook secret"),
    ("xapp-", 24, "a Slack token"),
    ("xoxb-", 24, "a Slack token"),
    ("xoxp-", 24, "a Slack token"),
    ("xoxs-", 24, "a Slack token"),
    ("ya29.", 30, "a Google token"),
];
const AWS_SECRET_CHARS: usize = 40;

/// Whether a field with this name holds a secret.
fn is_secret_name(name: &str, is_header: bool) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    let joined: String = letters.collect();
    let joined = joined.strip_suffix('s').unwrap_or(&joined);
    let ends = |list: &[&str]| list.iter().any(|end| joined.ends_with(end));
    if ends(&HARMLESS_ENDS) || (is_header && ends(&HARMLESS_HEADER_ENDS)) {
        return false;
    }
    ends(&SECRET_ENDS) || (is_header && ends(&SECRET_HEADER_ENDS))
}

/// The template without its expressions, and whether one of them uses a value from elsewhere.
fn without_expressions(template: &str) -> (String, bool) {
    let literal = template::with_expressions_replaced(template, |_| " ".to_owned());
    let names =
        Environment::new().template_from_str(template).map(|parsed| parsed.undeclared_variables(false));
    let brings = names.is_ok_and(|names| names.iter().any(|name| SOURCES.contains(&name.as_str())));
    (literal, brings)
}

/// Whether the value of a field with the name of a secret is a literal secret.
fn is_literal(template: &str) -> bool {
    let (literal, brings) = without_expressions(template);
    if !brings {
        return !HARMLESS_VALUES.contains(&template.trim().to_ascii_lowercase().as_str());
    }
    let words = literal.split(|letter: char| letter.is_whitespace() || "=:,;\"'".contains(letter));
    let is_long = |word: &str| {
        let has_digit = word.contains(|letter: char| letter.is_ascii_digit());
        word.len() > SCHEME_CHARS_MAX || (has_digit && word.len() >= 8)
    };
    words.into_iter().any(is_long)
}

/// The kind of token that the text holds, if it looks like a known one.
fn known_token(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_-.".contains(letter));
    let of_service = words.into_iter().find_map(|word| {
        let known =
            KNOWN_TOKENS.iter().find(|(start, least, _)| word.starts_with(start) && word.len() >= *least)?;
        Some(known.2)
    });
    of_service.or_else(|| {
        let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"/+".contains(letter));
        // In a URL, a secret without a slash is one segment of the path.
        let is_secret = |word: &str| is_aws_secret(word) || word.split('/').any(is_aws_secret);
        words.any(is_secret).then_some("an AWS secret access key")
    })
}

fn is_aws_secret(word: &str) -> bool {
    let has = |test: fn(&u8) -> bool| word.as_bytes().iter().any(test);
    word.len() == AWS_SECRET_CHARS
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        // A path has many short segments; a secret has few slashes.
        && word.matches('/').count() <= 3
}

fn refuse(report: &Report<'_>, span: Span, name: &str, scope: &Scope) {
    report.hide(span);
    let letters = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    let variable: String = letters.collect::<String>().to_ascii_lowercase();
    let variable = variable.trim_matches('_');
    let hint = match &scope.params {
        None if variable == "authorization" => "write auth = { bearer = \"credential:acme-token\" }, or headers with \"Scheme {{ secrets.token }}\"".to_owned(),
        Some(_) => format!(
            "make it a secret parameter: [parameters.{variable}] with secret = true, and \"{{{{ params.{variable} }}}}\" here"
        ),
        None => format!(
            "write secrets = {{ {variable} = \"credential:acme-{}\" }} in this step, and \"{{{{ secrets.{variable} }}}}\" here",
            variable.replace('_', "-")
        ),
    };
    let message = format!("{} holds a secret, which is never written in this file", quoted(name));
    report.add(Mistake::new(span, message).hint(hint));
}

/// Refuses a literal secret in a header or form field, recognised by the field's name.
pub(super) fn judge_field(report: &Report<'_>, name: &str, text: Text<'_>, scope: &Scope, is_header: bool) {
    if is_secret_name(name, is_header) && is_literal(text.text) {
        refuse(report, text.span, name, scope);
    }
}

/// Refuses a literal secret in a text that may hold pairs of name and value: a body, a query, a URL's query, an
/// argument.
pub(super) fn judge_text(report: &Report<'_>, text: Text<'_>, scope: &Scope) {
    if let Some(name) = pasted_pair(text.text, false) {
        refuse(report, text.span, name, scope);
    }
}

/// As [`judge_text`], for GraphQL, where `name: Name` declares a type: only a quoted value counts as a value.
pub(super) fn judge_query(report: &Report<'_>, text: Text<'_>, scope: &Scope) {
    if let Some(name) = pasted_pair(text.text, true) {
        refuse(report, text.span, name, scope);
    }
}

/// The name of the first pair in a text whose value is a literal secret, such as `token=…`, `"token": "…"` or
/// `<token>…`.
fn pasted_pair(text: &str, is_quoted: bool) -> Option<&str> {
    let marks = text.match_indices([':', '=', '>']);
    marks.into_iter().find_map(|(at, _)| {
        let before = text[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let name = &before[before.trim_end_matches(is_of_name).len()..];
        let after = text[at + 1..].trim_start_matches([' ', '\\', '\n', '\t']);
        let opened = after.strip_prefix(['"', '\'']);
        if is_quoted && opened.is_none() {
            return None;
        }
        let value = value_of(opened.unwrap_or(after), opened.is_some());
        let is_word = value.len() < VALUE_CHARS_MIN || value.starts_with(['/', '$', '-']);
        (is_secret_name(name, false) && !is_word && is_literal(value)).then_some(name)
    })
}

/// The value at the start of a text, up to the character that ends it. Expressions are kept whole.
fn value_of(text: &str, is_quoted: bool) -> &str {
    let ends = |letter: char| match is_quoted {
        true => "\"'\\".contains(letter),
        false => letter.is_whitespace() || "\"'&<>,;}\\#".contains(letter),
    };
    let mut end = 0;
    while end < text.len() {
        let rest = &text[end..];
        if rest.starts_with("{{") {
            end += rest.find("}}").map_or(rest.len(), |length| length + 2);
            continue;
        }
        let Some(letter) = rest.chars().next().filter(|letter| !ends(*letter)) else { break };
        end += letter.len_utf8();
    }
    &text[..end]
}

/// Refuses literal secrets in a JSON document, recognised by the names in it. In a list of pairs, the name is a
/// member beside the value.
pub(super) fn judge_json(report: &Report<'_>, name: &str, value: &Spanned<DeValue<'_>>, scope: &Scope) {
    match value.get_ref() {
        DeValue::String(text) => {
            let text = Text { text, span: value.span().into() };
            judge_field(report, name, text, scope, false);
        }
        DeValue::Integer(_) if is_secret_name(name, false) && !name.to_ascii_lowercase().ends_with('s') => {
            refuse(report, value.span().into(), name, scope);
        }
        DeValue::Array(list) => list.iter().for_each(|item| judge_json(report, name, item, scope)),
        DeValue::Table(table) => {
            let said = ["name", "key", "path", "field", "header", "variable"];
            let said = said.into_iter().find_map(|key| table.get(key)?.get_ref().as_str());
            let said = said.map(|name| name.rsplit('/').next().unwrap_or(name));
            for (key, member) in table {
                let key = key.get_ref().as_ref();
                let name = match key {
                    "value" | "val" | "content" | "data" => said.unwrap_or(key),
                    _ => key,
                };
                judge_json(report, name, member, scope);
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// Refuses literal secrets in the arguments of a program, which everybody on the machine can read.
pub(super) fn judge_argv(report: &Report<'_>, texts: &[Text<'_>]) {
    let pasted = |span: Span| {
        report.hide(span);
        let mistake = Mistake::new(span, "an argument holds a secret, which is never written in this file");
        report.add(
            mistake.hint("let the program read its own secrets, from a file that only its user can read"),
        );
    };
    for (index, text) in texts.iter().enumerate() {
        let flag = index.checked_sub(1).and_then(|before| texts.get(before)).map(|before| before.text);
        let flag = flag.filter(|flag| flag.starts_with('-') && !flag.contains('='));
        let is_value = !text.text.starts_with(['-', '/']) && !text.text.is_empty();
        let follows = flag.is_some_and(|flag| is_secret_name(flag, false)) && is_value;
        if follows || pasted_pair(text.text, false).is_some() {
            pasted(text.span);
        }
    }
}

/// Refuses every value in the file that has the format of a known token, whatever its field is called.
pub(super) fn judge_file(report: &Report<'_>, document: &DeTable<'_>) {
    for (_, value) in document {
        judge_value(report, value);
    }
}

fn judge_value(report: &Report<'_>, value: &Spanned<DeValue<'_>>) {
    let span: Span = value.span().into();
    match value.get_ref() {
        DeValue::String(text) => {
            if let Some(whose) = known_token(text).filter(|_| !report.has_mistake_at(span)) {
                report.hide(span);
                let message = format!("this looks like {whose}, and a secret is never written in this file");
                report.add(Mistake::new(span, message).hint(format!(
                    "refer to it where a secret is asked for: {}",
                    crate::config::secret_ref::FIVE_WAYS
                )));
            }
        }
        DeValue::Array(list) => list.iter().for_each(|item| judge_value(report, item)),
        DeValue::Table(table) => judge_file(report, table),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, parse};

    const CANARY: &str = "c4n4ry-hunter2";

    /// Parses a step with these lines; an error holds the mistakes as text.
    fn judged(lines: &str) -> Result<(), String> {
        let text = format!(
            "[vendor.acme]\niam_user = \"acme\"\n[[vendor.acme.deliver]]\nkind = \"http\"\nmethod = \"POST\"\n{lines}"
        );
        parse("rotation.toml", &text, &Environment::default())
            .map(drop)
            .map_err(|mistakes| mistakes.render(false))
    }

    fn with_url(lines: &str) -> Result<(), String> {
        judged(&format!("url = \"https://a.example/\"\n{lines}"))
    }

    #[track_caller]
    fn refused(lines: &str) {
        let text = lines.replace("CANARY", CANARY);
        let said = if text.contains("url =") { judged(&text) } else { with_url(&text) };
        let said = said.expect_err(lines);
        assert!(said.contains("never written in this file"), "{lines}: {said}");
        assert!(
            said.contains("{{ secrets.") || said.contains("refer to it") || said.contains("read its own"),
            "{said}"
        );
        assert!(!said.contains(CANARY), "{said}");
    }

    #[test]
    fn a_literal_secret_is_refused_in_every_place_of_a_request() {
        for lines in [
            "headers = { X-Api-Key = \"CANARY\" }",
            "headers = { DD-API-KEY = \"CANARY\", DD-APPLICATION-KEY = \"{{ secrets.a }}\" }\nsecrets = { a = \"env:A\" }",
            "headers = { Authorization = \"Bearer CANARY\" }",
            "headers = { Authorization = \"Bearer CANARY{{ vendor }}\" }",
            "headers = { Authorization = \"{{ 'CANARY' }}\" }",
            "headers = { Fastly-Key = \"CANARY\" }",
            "headers = { Cookie = \"sid=CANARY\" }",
            "json = { api_key = \"CANARY\" }",
            "json = { auth = { clientSecret = \"CANARY\" } }",
            "json = { tokens = [\"CANARY\"] }",
            "json = [{ name = \"API_TOKEN\", value = \"CANARY\" }]",
            "json = { password = 12345678 }",
            "json_patch = [{ op = \"replace\", path = \"/a/password\", value = \"CANARY\" }]",
            "merge_patch = { password = \"CANARY\" }",
            "form = { client_secret = \"CANARY\" }",
            "body = \"api_key=CANARY&x={{ secret_access_key }}\"",
            "body = '{\"password\": \"CANARY\"}'",
            "body = \"<Password>CANARY</Password>\"",
            "body = \"{\\\"token\\\":\\\"CANARY\\\"}\"",
            "url = \"https://a.example/?api_key=CANARY\"",
            "url = \"https://a.example/?x={{ vendor }}&token=CANARY\"",
            "graphql = { query = \"mutation { login(password: \\\"CANARY\\\") }\" }",
            "graphql = { query = \"mutation { x }\", variables = { token = \"CANARY\" } }",
        ] {
            refused(lines);
        }
    }

    #[test]
    fn a_value_in_the_form_of_a_secret_is_refused_in_a_request() {
        for token in [
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "xoxb-123456789012-123456789012-abcdefabcdef",
            "wJalrXUtnFEMIAK7MDENG3bPxRfiCYEXAMPLEKEY",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            for line in [
                format!("json = {{ note = \"{token}\" }}"),
                format!("headers = {{ X-Note = \"a {token}\" }}"),
                format!("url = \"https://a.example/{token}/x\""),
            ] {
                let said = if line.starts_with("url") { judged(&line) } else { with_url(&line) };
                let said = said.expect_err(&line);
                assert!(said.contains("this looks like") && !said.contains(token), "{said}");
            }
        }
    }

    #[test]
    fn values_that_are_not_secrets_are_accepted() {
        for lines in [
            "json = { access_key_id = \"{{ access_key_id }}\", secret_access_key = \"{{ secret_access_key }}\" }",
            "json = [{ key = \"AWS_DEFAULT_REGION\", value = \"us-east-1\" }]",
            "json = [{ key = \"AWS_SECRET_ACCESS_KEY\", value = \"{{ secret_access_key }}\" }]",
            "json = { token_type = \"bearer\", secret_name = \"aws-prod\", is_secret = true, max_tokens = 100 }",
            "json = { secret = \"true\", password = \"\" }",
            "headers = { Idempotency-Key = \"{{ rotation_id }}\", Accept = \"application/json\" }",
            "headers = { Authorization = \"Bearer {{ secrets.token }}\" }\nsecrets = { token = \"env:A\" }",
            "headers = { Authorization = \"GenieKey {{ secrets.token }}\" }\nsecrets = { token = \"env:A\" }",
            "body = \"token={{ secrets.token }}&note=see:below\"\nsecrets = { token = \"env:A\" }",
            "graphql = { query = \"mutation($token: String!, $password: String!) { x }\" }",
            "form = { grant_type = \"client_credentials\" }",
        ] {
            with_url(lines).unwrap_or_else(|said| panic!("{lines}: {said}"));
        }
    }

    #[test]
    fn a_secret_among_the_arguments_of_a_program_is_refused() {
        let command = |argv: &str| {
            let text = format!(
                "[vendor.acme]\niam_user = \"acme\"\ndeliver = [{{ kind = \"command\", argv = {argv} }}]"
            );
            parse("rotation.toml", &text, &Environment::default()).map(drop)
        };
        for argv in [
            "[\"/bin/x\", \"--token=c4n4ry-hunter2\"]",
            "[\"/bin/x\", \"--api-key\", \"c4n4ry-hunter2\"]",
            "[\"/bin/curl\", \"-H\", \"X-Api-Key: c4n4ry-hunter2\"]",
        ] {
            let said = command(argv).expect_err(argv).render(false);
            assert!(said.contains("never written in this file") && !said.contains(CANARY), "{said}");
        }
        for argv in
            ["[\"/bin/x\", \"--token-file\", \"/etc/x\"]", "[\"/bin/x\", \"--token=/etc/x\", \"acme\"]"]
        {
            command(argv).unwrap_or_else(|said| panic!("{}", said.render(false)));
        }
    }
}
