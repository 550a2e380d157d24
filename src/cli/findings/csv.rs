//! Comma-separated values, RFC 4180, for spreadsheets.

use std::collections::BTreeMap;

use crate::core::ids::AccountId;
use crate::review::audit::Finding;

const HEADER: [&str; 11] = [
    "account_id",
    "code",
    "severity",
    "vendor",
    "subject",
    "title",
    "sentence",
    "fix",
    "references",
    "waived_until",
    "waived_reason",
];

pub(crate) fn table(findings: &BTreeMap<&AccountId, &[Finding]>) -> String {
    let line = |cells: &[String]| cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",");
    let mut lines = vec![HEADER.join(",")];
    for (account, findings) in findings {
        lines.extend(findings.iter().map(|finding| line(&row(account, finding))));
    }
    lines.join("\r\n")
}

fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn row(account: &AccountId, finding: &Finding) -> [String; 11] {
    let references: Vec<String> = finding.rule.references.iter().map(ToString::to_string).collect();
    let waived = finding.waived.as_ref();
    [
        account.to_string(),
        finding.rule.code.to_owned(),
        finding.severity().to_string(),
        finding.vendor.as_ref().map(ToString::to_string).unwrap_or_default(),
        harmless(&finding.subject),
        finding.rule.title.to_owned(),
        harmless(&finding.sentence),
        harmless(&finding.fix),
        references.join("; "),
        waived.map(|waived| waived.until.to_string()).unwrap_or_default(),
        waived.map(|waived| harmless(&waived.reason)).unwrap_or_default(),
    ]
}

/// Puts an apostrophe before a text that a spreadsheet would take for a formula: anybody may have chosen the names in
/// an account.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cell_with_a_comma_or_a_quote_is_quoted() {
        assert_eq!(super::cell("plain"), "plain");
        assert_eq!(super::cell("a, \"b\""), "\"a, \"\"b\"\"\"");
    }

    #[test]
    fn a_cell_that_starts_with_an_equals_sign_is_escaped() {
        assert_eq!(super::harmless("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(super::harmless("arn:aws:iam::1:user/=x"), "arn:aws:iam::1:user/=x");
    }
}
