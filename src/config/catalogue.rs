//! The presets that come with the program: one file of data for each, and what they say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::config::file;

/// How much of a preset a program that is not ours has checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// Its requests are validated against the vendor's own API description.
    OpenApi,
    /// It was written from the vendor's documentation, and is tested against that.
    Docs,
}

impl Evidence {
    /// As it stands in a preset.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Evidence::OpenApi => "openapi",
            Evidence::Docs => "docs",
        }
    }
}

/// What a preset says of itself.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Such as `fastly-s3`.
    pub name: String,
    /// What it is for, in a line.
    pub title: String,
    /// How it was checked.
    pub evidence: Evidence,
    /// What can be read back, R1 to R5: the key id, the pair, a time or version, a masked tail, nothing.
    pub read_back: String,
    /// Where the vendor documents it.
    pub source: String,
    /// What one has to know.
    pub notes: Vec<String>,
    /// The IAM actions that the vendor publishes as those it needs.
    pub permissions: Vec<String>,
    /// In the order of the file.
    pub parameters: Vec<Parameter>,
    /// Whether the vendor can be asked which key is in force.
    pub can_verify: bool,
    /// Whether it has a harmless question.
    pub can_probe: bool,
}

/// What a preset is to be told.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name in `params`.
    pub name: String,
    /// What it is, for people.
    pub doc: String,
    /// Whether it is a secret, which is referred to.
    pub secret: bool,
    /// What it is made of.
    pub kind: ParameterKind,
    /// Whether it must be given.
    pub required: bool,
    /// What it is when it is not given, as it would be written.
    pub default: Option<String>,
    /// What it may be; empty: anything.
    pub choices: Vec<String>,
    /// A value for a configuration to paste, as it would be written.
    pub example: String,
}

/// What the value of a parameter is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParameterKind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// Yes or no.
    Flag,
    /// A list of texts.
    Texts,
}

impl ParameterKind {
    /// As it stands in a preset.
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
    /// A vendor's section that uses this preset, to be pasted and filled in.
    #[must_use]
    pub fn configuration(&self) -> String {
        let name = &self.name;
        let parameters = self.parameter_lines();
        format!(
            "[vendor.{name}]\niam_user = \"vendor-{name}\"\n\n[[vendor.{name}.deliver]]\nkind = \"preset\"\npreset = \"{name}\"\n\n[vendor.{name}.deliver.params]\n{parameters}"
        )
    }

    /// A line for each parameter, with an example and its meaning. Optional parameters are comments.
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
        // The other lines are prose, and links to documentation that another firm may host.
        let of_requests = |line: &&str| {
            ["url", "default", "example", "choices"].iter().any(|key| line.trim_start().starts_with(key))
        };
        let is_of_host = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
        let words =
            text.lines().filter(of_requests).flat_map(|line| line.split(|letter| !is_of_host(letter)));
        words.filter_map(domain).collect()
    }
}

/// The last two labels of a host name; `None` for a word that is no host name, or is nobody's.
fn domain(word: &str) -> Option<String> {
    const TOP_LABELS: [&str; 5] = ["com", "io", "net", "app", "org"];
    const NO_VENDORS: [&str; 4] = ["example", "amazonaws", "params", "parameters"];
    let mut labels = word.rsplit('.');
    let top = labels.next().filter(|top| TOP_LABELS.contains(top))?;
    let label = labels.next().filter(|label| !label.is_empty() && !NO_VENDORS.contains(label))?;
    Some(format!("{label}.{top}"))
}

/// Every preset that comes with the program, by name.
///
/// # Panics
///
/// Never: that each of them can be read is tested.
#[must_use]
pub fn catalogue() -> Vec<Preset> {
    file::built_in_presets()
}

/// The presets' texts by name. A new file is a new line here; a test compares the two.
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
