//! Parses and judges single values: durations, URLs, JSON pointers, time zones, names.

use std::net::IpAddr;
use std::time::Duration;

use chrono_tz::Tz;
use url::{Host, Url};

use super::reader::{Text, quoted};
use super::report::{Mistake, Report, Span};
use super::zones;
use crate::core::time::in_words;

/// The longest duration: ten years. Whoever writes a longer one means never, and the sum of two such durations is
/// still a valid date.
const DURATION_MAX: Duration = Duration::from_hours(3650 * 24);
/// The longest name that is compared with known names for a hint, in characters.
const COMPARED_CHARS_MAX: usize = 64;

/// What is wrong with a value, and a hint for what would be right.
pub(super) type Wrong = (String, String);

pub(super) fn duration(text: &str, least: Duration) -> Result<Duration, Wrong> {
    let hint = "write it like 90d, 36h, 15m, 30s or 1d12h".to_owned();
    let Ok(span) = humantime::parse_duration(text) else {
        return Err((format!("{} is not a duration", quoted(text)), hint));
    };
    if span.subsec_nanos() != 0 {
        return Err((format!("{} is not a whole number of seconds", quoted(text)), hint));
    }
    if span < least {
        return Err((format!("{} is too short", quoted(text)), format!("at least {}", in_words(least))));
    }
    if span > DURATION_MAX {
        return Err((format!("{} is too long", quoted(text)), format!("at most {}", in_words(DURATION_MAX))));
    }
    Ok(span)
}

/// The known name that a misspelt one probably means; `None`: no name is close enough.
pub(super) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if wrong.chars().count() > COMPARED_CHARS_MAX {
        return None;
    }
    let wrong = wrong.to_lowercase().replace('-', "_");
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase().replace('-', "_"));
    let (distance, name) = names.map(|name| (distance(name), name)).min()?;
    (distance <= 1.max(wrong.len().min(name.len()) / 3)).then_some(name)
}

pub(super) fn timezone(report: &Report<'_>, text: Text<'_>) -> Option<Tz> {
    match zones::zone(text.text) {
        Ok((zone, warning)) => {
            if let Some(warning) = warning {
                report.warn(format!("[schedule]: {warning}"));
            }
            Some(zone)
        }
        Err(hint) => {
            let message = format!("{} is not a time zone", quoted(text.text));
            report.add(Mistake::new(text.span, message).hint(hint));
            None
        }
    }
}

/// The account in the ARN of a role, such as `arn:aws:iam::111122223333:role/name`. An ARN of anything else is a
/// mistake.
pub(super) fn role_account(report: &Report<'_>, arn: Text<'_>) -> Option<String> {
    let parts: Vec<&str> = arn.text.splitn(6, ':').collect();
    let account = match parts.as_slice() {
        ["arn", partition, "iam", "", account, resource] => {
            let name = resource.strip_prefix("role/").unwrap_or_default();
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
            (partition.starts_with("aws") && digits && !name.is_empty() && plain(arn.text))
                .then(|| (*account).to_owned())
        }
        _ => None,
    };
    if account.is_none() {
        let message = format!("{} is not the ARN of a role", quoted(arn.text));
        report.add(Mistake::new(arn.span, message).hint("such as arn:aws:iam::111122223333:role/keyround"));
    }
    account
}

/// An RFC 6901 pointer to a part of a document. The pointer to the whole document, `""`, is a mistake here.
pub(super) fn pointer(report: &Report<'_>, text: Text<'_>) -> Option<String> {
    let tail_of_each_tilde = text.text.split('~').skip(1);
    let escaped = tail_of_each_tilde.into_iter().all(|tail| tail.starts_with(['0', '1']));
    if text.text.starts_with('/') && escaped {
        return Some(text.text.to_owned());
    }
    let message = format!("{} is not a JSON pointer", quoted(text.text));
    report.add(
        Mistake::new(text.span, message)
            .hint("such as /data/access_key_id; ~ is written ~0 and / is written ~1"),
    );
    None
}

/// Whether the name is an HTTP field name (RFC 9110, section 5.6.2) of at most 128 characters.
pub(super) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(token)
}

pub(super) fn is_identifier(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether `http://` to a host that is not this machine is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plaintext {
    Allowed,
    Refused { hint: &'static str },
}

/// Judges a URL when the file is read, so that it is not refused at the first rotation only.
pub(super) fn address(report: &Report<'_>, text: Text<'_>, plaintext: Plaintext) -> Option<String> {
    clear_address(report, text.span);
    match judge_address(text.text, plaintext) {
        Ok(()) => Some(text.text.to_owned()),
        Err((message, hint)) => {
            report.add(Mistake::new(text.span, message).hint(hint));
            None
        }
    }
}

/// Lets reports show a URL up to its question mark. One with an `@` is hidden, because a user and password may
/// stand before it.
pub(super) fn clear_address(report: &Report<'_>, span: Span) {
    let raw = report.raw(span);
    if raw.contains('@') {
        report.hide(span);
    }
    let end = span.start + raw.find('?').unwrap_or(raw.len());
    report.clear(Span { start: span.start, end });
}

fn judge_address(text: &str, plaintext: Plaintext) -> Result<(), Wrong> {
    let wrong = |message: &str, hint: &str| Err((message.to_owned(), hint.to_owned()));
    let Ok(url) = Url::parse(text) else {
        return wrong("this is not a URL", "such as https://api.example.com/v1/keys");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("the URL is neither https nor http", "such as https://api.example.com/v1/keys");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(
            "the URL holds a user or a password",
            "say auth = { basic = { user = …, password = … } }",
        );
    }
    match (url.scheme(), plaintext) {
        ("http", Plaintext::Refused { hint }) if !url.host().is_some_and(|host| is_loopback(&host)) => {
            wrong("secrets would go over the network in clear: http to a host that is not loopback", hint)
        }
        _ => Ok(()),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

/// Judges the literal text before the first expression of a URL.
pub(super) fn judge_prefix(literal: &str, plaintext: Plaintext) -> Result<(), Wrong> {
    let Some((scheme, rest)) = literal.split_once("://") else {
        // The scheme is a part of the expression, so it can be judged only when the request is sent.
        let begun = ["", "http", "https"].contains(&literal);
        let hint = "it begins with https://, or with an expression".to_owned();
        return if begun { Ok(()) } else { Err(("this is not the start of a URL".to_owned(), hint)) };
    };
    if rest.contains(['/', '?', '#']) {
        return judge_address(literal, plaintext);
    }
    // The expression is in the host or the port, so the host can be any.
    let user = rest.rfind('@').map_or("", |at| &rest[..=at]);
    judge_address(&format!("{scheme}://{user}unknown.invalid"), plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Plaintext = Plaintext::Refused { hint: "" };

    #[test]
    fn the_nearest_name_is_suggested_for_a_misspelt_one() {
        let names = || ["max_age", "soak", "secret", "iam_users"].into_iter();
        assert_eq!(nearest("max-age", names()), Some("max_age"));
        assert_eq!(nearest("secrt", names()), Some("secret"));
        assert_eq!(nearest("Soak", names()), Some("soak"));
        assert_eq!(nearest("windows", names()), None);
        assert_eq!(nearest(&"x".repeat(1000), names()), None);
    }

    #[test]
    fn durations_have_bounds() {
        let day = Duration::from_hours(24);
        assert_eq!(duration("1d12h", Duration::ZERO), Ok(day + day / 2));
        assert_eq!(duration("0s", Duration::ZERO), Ok(Duration::ZERO));
        for bad in ["", "90", "-1d", "1.5s", "500ms", "90 dayz", "4000d", "0s", "99999999999999999999d"] {
            assert!(duration(bad, Duration::from_secs(1)).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_urls_are_refused_outside_loopback_unless_allowed() {
        for good in ["https://a.example/x", "http://127.0.0.1:5000", "http://[::1]/", "http://localhost/x"] {
            assert_eq!(judge_address(good, REFUSED), Ok(()), "{good}");
        }
        for bad in [
            "http://a.example",
            "http://127.0.0.1.example",
            "ftp://a.example",
            "a.example",
            "https://u:p@a.example",
        ] {
            assert!(judge_address(bad, REFUSED).is_err(), "{bad}");
        }
        assert_eq!(judge_address("http://a.example", Plaintext::Allowed), Ok(()));
    }

    #[test]
    fn a_url_template_is_judged_by_its_text_before_the_first_expression() {
        for good in ["", "https://", "https://api.example/", "https://eu-", "http://127.0.0.1:8080/"] {
            assert_eq!(judge_prefix(good, REFUSED), Ok(()), "{good}");
        }
        for bad in [
            "http://",
            "http://127.0.0.1",
            "http://a.example/",
            "/v1/",
            "ftp://x/",
            "https://u:p@a.example/",
            "https://u:p@",
        ] {
            assert!(judge_prefix(bad, REFUSED).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_headers_and_variables_are_checked() {
        assert!(is_header_name("X-Api-Key") && !is_header_name("X Api") && !is_header_name(""));
        assert!(is_identifier("_site2") && !is_identifier("2site") && !is_identifier("a-b"));
    }
}
