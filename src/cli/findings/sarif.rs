//! SARIF 2.1.0, which code scanning reads: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::Settings;
use crate::core::ids::{AccountId, VendorName};
use crate::review::audit::Finding;
use crate::review::policy::{Place, Rule, Severity};

/// One SARIF result.
pub(crate) struct Result {
    pub(crate) rule: &'static Rule,
    pub(crate) sentence: String,
    /// The file, and the start and the end of the place in it.
    pub(crate) place: (String, Place, Place),
    /// The ARN or name of the resource, for a finding in an account.
    pub(crate) subject: Option<String>,
    /// Identifies the same finding in the next run.
    pub(crate) fingerprint: Option<String>,
    /// Why the finding is accepted, and until when.
    pub(crate) waived: Option<String>,
}

/// Where the findings of accounts are placed: in the configuration or a fragment that it includes, at the section of the
/// vendor. Code scanning takes no result without a place in a file.
pub(crate) struct Configuration<'s> {
    path: &'s Path,
    settings: &'s Settings,
    /// The number of characters on the first line.
    first_columns: usize,
}

impl<'s> Configuration<'s> {
    /// Reads the file again, for its first line. One that is gone has a first line all the same.
    pub(crate) fn read(path: &'s Path, settings: &'s Settings) -> Configuration<'s> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let first_columns = text.lines().next().unwrap_or_default().chars().count();
        Configuration { path, settings, first_columns }
    }

    /// The line of the vendor's section; the first of the configuration, where there is none.
    fn place(&self, vendor: Option<&VendorName>) -> (String, Place, Place) {
        let written = vendor.and_then(|vendor| Some(&self.settings.vendors.get(vendor)?.written));
        let (file, line, columns) = match written {
            Some(written) => (self.name(Path::new(&*written.file)), written.line, written.columns),
            None => (in_repository(self.path), 1, self.first_columns),
        };
        (file, Place { line, column: 1 }, Place { line, column: 1 + columns })
    }

    /// The path of the configuration or of a fragment, as [`in_repository`]; a fragment is named from the folder of the
    /// configuration on.
    fn name(&self, path: &Path) -> String {
        let beside = |path: &'s Path| path.parent().unwrap_or(Path::new(""));
        let configuration = in_repository(self.path);
        match path.strip_prefix(beside(self.path)) {
            Ok(fragment) if path.is_absolute() => {
                let folder = Path::new(&configuration).parent().unwrap_or(Path::new(""));
                folder.join(fragment).display().to_string()
            }
            _ => in_repository(path),
        }
    }
}

/// The path as in the repository that holds the file: relative to the current directory. For a file elsewhere, only its
/// name, which is the same on every machine.
pub(crate) fn in_repository(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let relative = match path.is_absolute() {
        false => Some(path),
        true => path.strip_prefix(&here).ok(),
    };
    let name = || path.file_name().map_or(path, Path::new);
    relative.unwrap_or_else(name).display().to_string()
}

/// The findings of accounts as SARIF results.
pub(crate) fn of_accounts(
    findings: &BTreeMap<&AccountId, &[Finding]>,
    configuration: &Configuration<'_>,
) -> Vec<Result> {
    let result = |account: &AccountId, finding: &Finding| Result {
        rule: finding.rule,
        sentence: format!("{}. To do: {}", finding.sentence, finding.fix),
        place: configuration.place(finding.vendor.as_ref()),
        subject: Some(finding.subject.clone()),
        fingerprint: Some(format!("{account}/{}", finding.id())),
        waived: finding.waived.as_ref().map(|waived| format!("{} (until {})", waived.reason, waived.until)),
    };
    findings.iter().flat_map(|(account, found)| found.iter().map(move |one| result(account, one))).collect()
}

/// The whole SARIF log.
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
    let (file, start, end) = &result.place;
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(file) },
            "region": {
                "startLine": start.line, "startColumn": start.column,
                "endLine": end.line, "endColumn": end.column,
            },
        },
    });
    if let Some(subject) = &result.subject {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": subject, "kind": "resource" }]);
    }
    location
}

/// A path as a relative reference (RFC 3986, section 4.2).
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
    fn a_path_becomes_a_uri_reference() {
        assert_eq!(uri("policies/a b.json"), "policies/a%20b.json");
        assert_eq!(uri("/tmp/x.json"), "file:///tmp/x.json");
    }

    #[test]
    fn a_finding_points_to_the_section_of_its_vendor() {
        let role = "role_arn = \"arn:aws:iam::111122223333:role/v\"\n";
        let fragment = format!("# theirs\n[vendor.globex]\n{role}");
        let text = format!("include = [\"d/*\"]\n[vendor.acme-2]\n{role}[vendor.\"acme\"] # ours\n{role}");
        let inline = format!("{text}[vendor]\ninitech = {{ {} }}\n", role.trim());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rotation.toml");
        std::fs::create_dir(folder.path().join("d")).expect("a folder");
        std::fs::write(folder.path().join("d/globex.toml"), fragment).expect("written");
        std::fs::write(&path, inline).expect("written");
        let settings = crate::config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let configuration = Configuration::read(&path, &settings);
        let place = |name: &str| configuration.place(name.parse().ok().as_ref());
        let at = |line, column| Place { line, column };
        assert_eq!(place("acme"), ("rotation.toml".to_owned(), at(4, 1), at(4, 23)));
        assert_eq!(place("globex"), ("d/globex.toml".to_owned(), at(2, 1), at(2, 16)));
        assert_eq!((place("acme-2").1.line, place("initech").1.line, place("other").1.line), (2, 7, 1));
        let gone = Configuration::read(Path::new("/nonexistent/x.toml"), &settings);
        assert_eq!(gone.place(None).2, at(1, 1));
    }

    #[test]
    fn a_file_outside_the_repository_is_named_without_its_directory() {
        assert_eq!(in_repository(Path::new("policies/x.json")), "policies/x.json");
        assert_eq!(in_repository(Path::new("/nonexistent/etc/rotation.toml")), "rotation.toml");
        let here = std::env::current_dir().expect("there is one");
        assert_eq!(in_repository(&here.join("a/b.json")), "a/b.json");
    }
}
