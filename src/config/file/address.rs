//! Judges URLs that are templates: the configuration decides where a request goes, and no response does.
//!
//! **Invariant:** scheme, host and port are literal, or come from parameters of a preset that are not secret.

use super::literal;
use super::reader::Text;
use super::report::{Mistake, Report};
use super::template::{self, Scope};
use super::values::{self, Plaintext};

/// Judges the URL of a request, or of the server that issues a token for one.
pub(super) fn check(report: &Report<'_>, text: Text<'_>, plaintext: Plaintext, scope: &Scope) {
    template::check(report, text, scope);
    literal::judge_text(report, text, scope);
    let Some((before, ..)) = template::next_expression(text.text) else {
        values::address(report, text, plaintext);
        return;
    };
    values::clear_address(report, text.span);
    if let Err((message, hint)) = values::judge_prefix(before, plaintext) {
        report.add(Mistake::new(text.span, message).hint(hint));
    }
    let (origin, rest) = split(text.text);
    if let Some(what) = moving(report, origin) {
        let mistake = Mistake::new(text.span, format!("the host of the URL depends on {what}"));
        report.add(mistake.hint("write scheme, host and port here, or take them from params: a key is never sent to an address from anywhere else"));
    } else if let Some(why) = unclear(origin) {
        let mistake = Mistake::new(text.span, why);
        report.add(mistake.hint("such as https://api.example.com/v1/keys/{{ captured.id | urlencode }}"));
    }
    if let Some(word) = unencoded(rest) {
        let mistake = Mistake::new(
            text.span,
            format!("{word} is not encoded in the URL, so it could lead to another path"),
        );
        report.add(mistake.hint(format!("write {{{{ {word} | urlencode }}}}")));
    }
}

/// Splits a URL after host and port. A slash, a question mark or a hash within an expression does not end the host.
fn split(template: &str) -> (&str, &str) {
    let masked = template::with_expressions_replaced(template, |bytes| "x".repeat(bytes));
    let scheme = masked.find("://").filter(|at| !masked[..*at].contains(['/', '?', '#', '\\']));
    let start = scheme.map_or(0, |at| at + "://".len());
    let end = masked[start..].find(['/', '?', '#', '\\']).map_or(masked.len(), |at| start + at);
    template.split_at(end)
}

/// The variable, or the kind of expression, on which the host depends although it may not; `None`: there is none.
fn moving(report: &Report<'_>, origin: &str) -> Option<String> {
    for expression in template::expressions(origin) {
        let Some(names) = template::names_in(expression) else {
            return Some("a block; write {{ params.a if params.b else params.c }}".to_owned());
        };
        let is_fixed = |name: &&String| name.starts_with("params.") && report.secret_param(name).is_none();
        if let Some(name) = names.iter().find(|name| !is_fixed(name)) {
            return Some(name.clone());
        }
    }
    None
}

/// The reason why the literal text before the path does not clearly name one host; `None`: it does.
fn unclear(origin: &str) -> Option<&'static str> {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    if host.is_empty() {
        return Some("the URL names no host");
    }
    let literal = template::with_expressions_replaced(origin, |_| String::new());
    if literal.contains('@') {
        return Some("the URL holds a user or a password");
    }
    literal
        .contains(|letter: char| letter.is_whitespace() || letter.is_control())
        .then_some("the URL contains white space or control characters")
}

/// The first variable after the host that holds a captured value or a secret and is not encoded with `urlencode`.
fn unencoded(rest: &str) -> Option<String> {
    for expression in template::expressions(rest) {
        let names = template::names_in(expression).unwrap_or_default();
        let foreign = ["captured", "secrets", "secret_access_key", "credentials_file", "credentials_json"];
        let is_foreign = |name: &&String| foreign.contains(&name.split('.').next().unwrap_or_default());
        if let Some(name) = names.iter().find(is_foreign).filter(|_| !expression.contains("urlencode")) {
            return Some(name.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, parse};

    fn judged(step: &str) -> Result<(), String> {
        let text = format!(
            "[vendor.acme]\niam_user = \"acme\"\n\
             [[vendor.acme.deliver]]\nkind = \"http\"\nurl = \"https://a.example/\"\ncapture = {{ h = \"/h\" }}\n\
             [[vendor.acme.deliver]]\nkind = \"http\"\nsecrets = {{ s = \"env:S\" }}\n{step}"
        );
        parse("rotation.toml", &text, &Environment::default())
            .map(drop)
            .map_err(|mistakes| mistakes.render(false))
    }

    #[test]
    fn template_expressions_in_the_scheme_host_or_port_of_a_url_are_refused() {
        for url in [
            "{{ captured.h }}",
            "{{ captured.h }}/v1",
            "https://{{ captured.h }}/v1",
            "https://{{ captured.h | urlencode }}/v1",
            "https://{{ captured['h'] }}/v1",
            "https://{{ secrets.s }}.a.example/",
            "https://{{ secret_access_key }}/",
            "https://{{ vendor }}.a.example/",
            "https://{{ account_id }}.a.example/",
            "https://a.example:{{ captured.h }}/",
            "https://a.example{{ captured.h }}",
            "https://a{{ captured.h | urlencode }}",
            "{% if captured.h %}https://a.example{% else %}https://b.example{% endif %}/",
            "{{ 'https://' ~ captured.h ~ '/x' }}",
            "{% set x = captured.h %}https://{{ x }}/",
            "https://{# / #}{{ captured.h }}/",
            "https://a.example@{{ captured.h }}/",
            "https:\\\\\\\\{{ captured.h | urlencode }}/",
            "https:///{{ captured.h | urlencode }}/",
            "https://\\\\{{ captured.h | urlencode }}/",
        ] {
            let said = judged(&format!("url = \"{url}\"")).expect_err(url);
            assert!(!said.contains("env:S") || said.contains("URL"), "{url}: {said}");
            let token = format!(
                "url = \"https://a.example/\"\nauth = {{ oauth2 = {{ token_url = \"{url}\", client_id = \"x\", client_secret = \"env:S\" }} }}"
            );
            judged(&token).expect_err(url);
        }
    }

    #[test]
    fn captured_values_and_secrets_in_a_url_must_be_encoded() {
        for url in ["https://a.example/{{ captured.h }}", "https://a.example/x?y={{ secrets.s }}"] {
            let said = judged(&format!("url = \"{url}\"")).expect_err(url);
            assert!(said.contains("| urlencode"), "{said}");
        }
        for url in [
            "https://a.example/{{ captured.h | urlencode }}/x?y={{ secrets.s | urlencode }}",
            "https://a.example/{{ iam_user }}?a={{ account_id }}",
            "https://a.example/{{ ('a/' ~ (captured.h | urlencode)) if captured.h else 'b' }}",
            "http://127.0.0.1:8080/{{ captured.h | urlencode }}",
        ] {
            judged(&format!("url = \"{url}\"")).unwrap_or_else(|said| panic!("{url}: {said}"));
        }
    }

    #[test]
    fn a_header_that_keyround_sets_itself_cannot_carry_a_secret() {
        for name in ["Content-Length", "Host", "Transfer-Encoding", "Connection"] {
            let step = format!(
                "url = \"https://a.example/\"\nauth = {{ header = {{ name = \"{name}\", value = \"env:S\" }} }}"
            );
            let said = judged(&step).expect_err(name);
            assert!(said.contains("keyround sets itself"), "{said}");
        }
    }
}
