//! The catalogue of presets that are part of the program: one data file for each, and its description.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::config::file;

/// How the requests of a preset were checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// They are validated against the vendor's own API description.
    OpenApi,
    /// They were written from the vendor's documentation, and are tested against that.
    Docs,
}

impl Evidence {
    /// The word that a preset's file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Evidence::OpenApi => "openapi",
            Evidence::Docs => "docs",
        }
    }
}

/// The description of a preset, as its file gives it.
#[derive(Clone, Debug)]
pub struct Preset {
    /// The preset's name, such as `fastly-s3`.
    pub name: String,
    /// Its purpose, in one line.
    pub title: String,
    /// How its requests were checked.
    pub evidence: Evidence,
    /// What the vendor lets its customers read back, `R1` to `R5`: the key id, the pair, a time or version, a
    /// masked tail, or nothing.
    pub read_back: String,
    /// The vendor's documentation.
    pub source: String,
    /// Notes for whoever uses the preset.
    pub notes: Vec<String>,
    /// The IAM actions that the vendor's documentation says it needs.
    pub permissions: Vec<String>,
    /// The parameters, in the order of the file.
    pub parameters: Vec<Parameter>,
    /// Whether the vendor can be asked which key is in force.
    pub can_verify: bool,
    /// Whether it has a request without side effects that shows whether the vendor accepts our credentials.
    pub can_probe: bool,
}

/// A parameter of a preset.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in `params`.
    pub name: String,
    /// Its meaning, for people.
    pub doc: String,
    /// Whether it is a secret; then its value is a reference.
    pub secret: bool,
    /// The type of its value.
    pub kind: ParameterKind,
    /// Whether it must be given.
    pub required: bool,
    /// Its default value, as it would be written in the configuration.
    pub default: Option<String>,
    /// The values that it may have; empty: any value.
    pub choices: Vec<String>,
    /// An example value, as it would be written in the configuration.
    pub example: String,
}

/// The type of a parameter's value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParameterKind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// A boolean.
    Flag,
    /// A list of texts.
    Texts,
}

impl ParameterKind {
    /// The word that a preset's file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ParameterKind::Text => "text",
            ParameterKind::Number => "number",
            ParameterKind::Flag => "flag",
            ParameterKind::Texts => "texts",
        }
    }
}

impl Preset {
    /// A vendor section that uses this preset, for a user to paste and fill in.
    #[must_use]
    pub fn configuration(&self) -> String {
        let name = &self.name;
        let parameters = self.parameter_lines();
        format!(
            "[vendor.{name}]\niam_user = \"vendor-{name}\"\n\n[[vendor.{name}.deliver]]\nkind = \"preset\"\npreset = \"{name}\"\n\n[vendor.{name}.deliver.params]\n{parameters}"
        )
    }

    /// One line for each parameter, with an example and its meaning. Optional parameters are commented out.
    #[must_use]
    pub fn parameter_lines(&self) -> String {
        let mut text = String::new();
        for parameter in &self.parameters {
            let value =
                parameter.default.as_ref().filter(|_| !parameter.required).unwrap_or(&parameter.example);
            let comment = if parameter.required { "" } else { "# " };
            let line = format!("{comment}{} = {value}", parameter.name);
            writeln!(text, "{line:<40}  # {}", parameter.doc).expect("a string takes it");
        }
        text
    }

    /// The registrable domains of the hosts that the preset sends requests to, such as `circleci.com`. Empty for
    /// a product that each customer hosts.
    #[must_use]
    pub fn domains(&self) -> BTreeSet<String> {
        let text = texts().get(self.name.as_str()).copied().unwrap_or_default();
        // The other lines are prose, or link to documentation that another firm may host.
        let of_requests = |line: &&str| {
            ["url", "default", "example", "choices"].iter().any(|key| line.trim_start().starts_with(key))
        };
        let is_of_host = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
        let words =
            text.lines().filter(of_requests).flat_map(|line| line.split(|letter| !is_of_host(letter)));
        words.filter_map(domain).collect()
    }
}

/// The last two labels of a host name; `None`: the word is no host name, or its domain is not a vendor's.
fn domain(word: &str) -> Option<String> {
    const TOP_LABELS: [&str; 5] = ["com", "io", "net", "app", "org"];
    const NO_VENDORS: [&str; 4] = ["example", "amazonaws", "params", "parameters"];
    let mut labels = word.rsplit('.');
    let top = labels.next().filter(|top| TOP_LABELS.contains(top))?;
    let label = labels.next().filter(|label| !label.is_empty() && !NO_VENDORS.contains(label))?;
    Some(format!("{label}.{top}"))
}

/// Every preset of the catalogue, sorted by name.
///
/// # Panics
///
/// Never: a test reads each preset.
#[must_use]
pub fn catalogue() -> Vec<Preset> {
    file::built_in_presets()
}

/// The text of each preset, by name. Each file has a line in `TEXTS`; a test compares the two.
pub(super) fn texts() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from(TEXTS)
}

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../adapters/delivery/presets/", $name, ".toml")))),*]
    };
}

const TEXTS: [(&str, &str); 52] = presets![
    "airbyte",
    "airflow-connection",
    "auth0-ses",
    "awx-credential",
    "azure-devops",
    "azure-keyvault",
    "bitbucket",
    "bitbucket-deployment",
    "bitbucket-workspace",
    "buildkite",
    "circleci",
    "circleci-context",
    "cloudflare-sippy",
    "cloudflare-workers",
    "databricks",
    "datadog",
    "doppler",
    "elastic-cloud",
    "fastly-kinesis",
    "fastly-s3",
    "fivetran",
    "gitea-actions",
    "github-actions",
    "github-actions-org",
    "gitlab-ci",
    "gitlab-ci-group",
    "grafana",
    "heroku",
    "infisical",
    "jenkins-credential",
    "kafka-connect-s3",
    "kubernetes-secret",
    "mongodb-atlas",
    "netlify",
    "nexus-s3",
    "octopus",
    "onepassword-connect",
    "railway",
    "sentry-sqs",
    "skeddly",
    "snowflake-stage",
    "sumo-logic",
    "supabase-auth-smtp",
    "supabase-secrets",
    "terraform-cloud",
    "terraform-cloud-varset",
    "twilio",
    "vault-aws-auth",
    "vault-aws-root",
    "vault-kv2",
    "vercel",
    "zabbix-macros",
];
