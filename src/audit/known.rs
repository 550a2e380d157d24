//! Vendors that are known to need no key, and what each takes in place of one.
//!
//! Only what a vendor's own documentation or API description says is in here.

/// What a vendor takes in place of an access key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Instead {
    /// A role that the vendor's account assumes.
    Role {
        /// How the vendor is asked for the external id that it makes, where it has a way.
        external_id: Option<&'static str>,
    },
    /// A role that is assumed with a token of its own identity provider (OpenID Connect).
    WebIdentity,
}

/// What is known of a vendor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KnownVendor {
    /// The word by which its name is recognised.
    pub word: &'static str,
    /// Its name.
    pub title: &'static str,
    /// What it takes.
    pub instead: Instead,
}

const fn role(word: &'static str, title: &'static str, external_id: Option<&'static str>) -> KnownVendor {
    KnownVendor { word, title, instead: Instead::Role { external_id } }
}

const fn token(word: &'static str, title: &'static str) -> KnownVendor {
    KnownVendor { word, title, instead: Instead::WebIdentity }
}

/// All of them.
pub const KNOWN: [KnownVendor; 22] = [
    role(
        "skeddly",
        "Skeddly",
        Some("GET https://api.skeddly.com/api/Credentials/GenerateAmazonIamRoleExternalId"),
    ),
    role(
        "datadog",
        "Datadog",
        Some("POST https://api.datadoghq.com/api/v2/integration/aws/generate_new_external_id"),
    ),
    role("spot", "Spot", Some("POST https://api.spotinst.io/setup/credentials/aws/externalId")),
    role("spotinst", "Spot", Some("POST https://api.spotinst.io/setup/credentials/aws/externalId")),
    role("fastly", "Fastly", None),
    role("fivetran", "Fivetran", None),
    role("atlas", "MongoDB Atlas", None),
    role("grafana", "Grafana Cloud", None),
    role("sumo", "Sumo Logic", None),
    role("sumologic", "Sumo Logic", None),
    role("newrelic", "New Relic", None),
    role("segment", "Segment", None),
    role("databricks", "Databricks", None),
    role("snowflake", "Snowflake", None),
    role("elastic", "Elastic", None),
    token("github", "GitHub Actions"),
    token("gitlab", "GitLab CI"),
    token("circleci", "CircleCI"),
    token("bitbucket", "Bitbucket Pipelines"),
    token("buildkite", "Buildkite"),
    token("terraform", "HCP Terraform"),
    token("azure", "Azure DevOps"),
];

/// The vendor that one of these names is of: a name of the configuration, a preset, a user.
#[must_use]
pub fn known(names: &[&str]) -> Option<&'static KnownVendor> {
    let words = |name: &&str| {
        let lower = name.to_ascii_lowercase();
        lower.split(|letter: char| !letter.is_ascii_alphanumeric()).map(str::to_owned).collect::<Vec<_>>()
    };
    let words: Vec<String> = names.iter().flat_map(words).collect();
    KNOWN.iter().find(|vendor| words.iter().any(|word| word == vendor.word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_is_recognised_by_a_word_of_its_name() {
        let title = |name: &str| known(&[name]).map(|vendor| vendor.title);
        assert_eq!(title("vendor-datadog"), Some("Datadog"));
        assert_eq!(title("fastly-s3"), Some("Fastly"));
        assert_eq!(title("spotless-cleaning"), None, "a part of a word is not the word");
    }
}
