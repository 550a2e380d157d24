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
    /// A role that is assumed with a token of its own identity provider (`OpenID` Connect).
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

/// What vendors' users are called, before and behind the vendor's name.
pub(super) const DECORATIONS: [&str; 8] =
    ["vendor", "user", "iam", "svc", "service", "saas", "thirdparty", "key"];
/// Words that stand for other things too: `spot-instances` is nobody's name. They are a vendor's name alone.
const EVERYDAY: [&str; 4] = ["atlas", "elastic", "segment", "spot"];

/// Whether a user is called after the vendor: `vendor-acme` or `svc-acme-key` after `acme`.
#[must_use]
pub(super) fn is_user_of(user: &str, vendor: &str) -> bool {
    let words = |name: &str| -> Vec<String> {
        let lower = name.to_ascii_lowercase();
        let words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
        words.filter(|word| !DECORATIONS.contains(word) && !word.is_empty()).map(str::to_owned).collect()
    };
    let (user, vendor) = (words(user), words(vendor));
    !vendor.is_empty() && user == vendor
}

/// The vendor that one of these names is of: a name of the configuration, a preset, a user.
#[must_use]
pub fn known(names: &[&str]) -> Option<&'static KnownVendor> {
    names.iter().find_map(|name| {
        let lower = name.to_ascii_lowercase();
        let words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !DECORATIONS.contains(word)).collect();
        let is_named = |vendor: &&KnownVendor| {
            words.contains(&vendor.word) && (words.len() == 1 || !EVERYDAY.contains(&vendor.word))
        };
        KNOWN.iter().find(is_named)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_after_its_vendor() {
        for user in ["acme", "vendor-acme", "svc-Acme-key", "acme_user"] {
            assert!(is_user_of(user, "acme"), "{user}");
        }
        for user in ["acme-billing", "vendor", "acmeish", ""] {
            assert!(!is_user_of(user, "acme"), "{user}");
        }
    }

    #[test]
    fn a_vendor_is_recognised_by_a_word_of_its_name() {
        let title = |name: &str| known(&[name]).map(|vendor| vendor.title);
        assert_eq!(title("vendor-datadog"), Some("Datadog"));
        assert_eq!(title("fastly-s3"), Some("Fastly"));
        assert_eq!(title("spotless-cleaning"), None, "a part of a word is not the word");
        assert_eq!(title("vendor-spot"), Some("Spot"));
        assert_eq!(title("spot-instances"), None, "and an everyday word is not always a name");
    }
}
