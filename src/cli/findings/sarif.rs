//! SARIF 2.1.0, which code scanning reads: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::audit::Finding;
use crate::ids::AccountId;
use crate::policy::{Place, Rule, Severity};

/// One result.
pub(crate) struct Result {
    pub(crate) rule: &'static Rule,
    pub(crate) sentence: String,
    /// The file, and where in it, for what was found in a file.
    pub(crate) place: Option<(String, Place, Place)>,
    /// What it is about, for what was found in an account.
    pub(crate) subject: Option<String>,
    /// What makes it the same finding in the next run.
    pub(crate) fingerprint: Option<String>,
    /// Why it is accepted, and until when.
    pub(crate) waived: Option<String>,
}

/// The findings of accounts as results: they have no place in a file, only a subject.
pub(crate) fn of_accounts(findings: &BTreeMap<&AccountId, &[Finding]>) -> Vec<Result> {
    let result = |account: &AccountId, finding: &Finding| Result {
        rule: finding.rule,
        sentence: format!("{}. To do: {}", finding.sentence, finding.fix),
        place: None,
        subject: Some(finding.subject.clone()),
        fingerprint: Some(format!("{account}/{}", finding.id())),
        waived: finding.waived.as_ref().map(|waived| format!("{} (until {})", waived.reason, waived.until)),
    };
    findings.iter().flat_map(|(account, found)| found.iter().map(move |one| result(account, one))).collect()
}

/// The whole log.
pub(crate) fn log(results: &[Result]) -> Value {
    let mut rules: Vec<&Rule> = results.iter().map(|result| result.rule).collect();
    rules.sort_by_key(|rule| rule.code);
    rules.dedup();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "keyround",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| described(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results.iter().map(|result| shown(result, &rules)).collect::<Vec<_>>(),
        }],
    })
}

fn described(rule: &Rule) -> Value {
    let references: Vec<String> = rule.references.iter().map(ToString::to_string).collect();
    json!({
        "id": rule.code,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": rule.why },
        "help": { "text": format!("{}\n\n{}", rule.fix, references.join("\n")) },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "security-severity": security_severity(rule.severity), "tags": ["security"] },
    })
}

fn shown(result: &Result, rules: &[&Rule]) -> Value {
    let mut shown = json!({
        "ruleId": result.rule.code,
        "ruleIndex": rules.iter().position(|rule| rule.code == result.rule.code),
        "level": level(result.rule.severity),
        "message": { "text": result.sentence },
        "locations": [location(result)],
    });
    if let Some(fingerprint) = &result.fingerprint {
        shown["partialFingerprints"] = json!({ "keyround/v1": fingerprint });
    }
    if let Some(reason) = &result.waived {
        shown["suppressions"] =
            json!([{ "kind": "external", "status": "accepted", "justification": reason }]);
    }
    shown
}

fn location(result: &Result) -> Value {
    let mut location = json!({});
    if let Some((file, start, end)) = &result.place {
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": uri(file) },
            "region": {
                "startLine": start.line, "startColumn": start.column,
                "endLine": end.line, "endColumn": end.column,
            },
        });
    }
    if let Some(subject) = &result.subject {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": subject, "kind": "resource" }]);
    }
    location
}

/// A path as a relative reference, RFC 3986 4.2.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encoded = path.bytes().map(|byte| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    let encoded: String = encoded.collect();
    if encoded.starts_with('/') { format!("file://{encoded}") } else { encoded }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Low | Severity::Medium => "warning",
        Severity::High | Severity::Critical => "error",
    }
}

/// GitHub's scale: over 9.0 is critical, 7.0 to 8.9 high, 4.0 to 6.9 medium, 0.1 to 3.9 low.
fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "0.0",
        Severity::Low => "2.0",
        Severity::Medium => "5.0",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("policies/a b.json"), "policies/a%20b.json");
        assert_eq!(uri("/tmp/x.json"), "file:///tmp/x.json");
    }
}
