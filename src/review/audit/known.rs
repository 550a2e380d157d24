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
    /// The words by which its name is recognised: these, in this order, beside each other.
    pub words: &'static [&'static str],
    /// Its name.
    pub title: &'static str,
    /// What it takes.
    pub instead: Instead,
}

const fn role(
    words: &'static [&'static str],
    title: &'static str,
    external_id: Option<&'static str>,
) -> KnownVendor {
    KnownVendor { words, title, instead: Instead::Role { external_id } }
}

const fn token(words: &'static [&'static str], title: &'static str) -> KnownVendor {
    KnownVendor { words, title, instead: Instead::WebIdentity }
}

/// All of them.
pub const KNOWN: [KnownVendor; 23] = [
    role(
        &["skeddly"],
        "Skeddly",
        Some("GET https://api.skeddly.com/api/Credentials/GenerateAmazonIamRoleExternalId"),
    ),
    role(
        &["datadog"],
        "Datadog",
        Some("POST https://api.datadoghq.com/api/v2/integration/aws/generate_new_external_id"),
    ),
    role(&["spot"], "Spot", Some("POST https://api.spotinst.io/setup/credentials/aws/externalId")),
    role(&["spotinst"], "Spot", Some("POST https://api.spotinst.io/setup/credentials/aws/externalId")),
    role(&["fastly"], "Fastly", None),
    role(&["fivetran"], "Fivetran", None),
    role(&["atlas"], "MongoDB Atlas", None),
    role(&["grafana"], "Grafana Cloud", None),
    role(&["sumo"], "Sumo Logic", None),
    role(&["sumologic"], "Sumo Logic", None),
    role(&["newrelic"], "New Relic", None),
    role(&["segment"], "Segment", None),
    role(&["databricks"], "Databricks", None),
    role(&["snowflake"], "Snowflake", None),
    role(&["elastic"], "Elastic", None),
    token(&["github"], "GitHub Actions"),
    token(&["gitlab"], "GitLab CI"),
    token(&["circleci"], "CircleCI"),
    token(&["bitbucket"], "Bitbucket Pipelines"),
    token(&["buildkite"], "Buildkite"),
    token(&["hcp", "terraform"], "HCP Terraform"),
    token(&["terraform", "cloud"], "HCP Terraform"),
    token(&["azure", "devops"], "Azure DevOps"),
];

/// What vendors' users are called, before and behind the vendor's name.
pub(super) const DECORATIONS: [&str; 8] =
    ["vendor", "user", "iam", "svc", "service", "saas", "thirdparty", "key"];
/// Words that also mean something else, or a product that many firms host themselves: `spot-instances`,
/// `grafana-cloudwatch`. They name a vendor only when they are the whole name.
const EVERYDAY: [&str; 5] = ["atlas", "elastic", "grafana", "segment", "spot"];

/// Whether a user is called after the vendor: `vendor-acme` or `svc-acme-key` after `acme`.
#[must_use]
pub(super) fn is_user_of(user: &str, vendor: &str) -> bool {
    let (user, vendor) = (words(user), words(vendor));
    !vendor.is_empty() && user == vendor
}

/// The words of a name in small letters, without those that only say that it is a vendor's user.
pub(super) fn words(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !DECORATIONS.contains(word) && !word.is_empty()).map(str::to_owned).collect()
}

/// Whether these words stand in a name, in this order and beside each other.
pub(super) fn stand_in<W: AsRef<str>>(words: &[W], name: &[String]) -> bool {
    let is_here = |part: &[String]| part.iter().zip(words).all(|(one, other)| one == other.as_ref());
    !words.is_empty() && name.windows(words.len()).any(is_here)
}

/// The vendor that one of these names is of: a name of the configuration, a preset, a user.
#[must_use]
pub fn known(names: &[&str]) -> Option<&'static KnownVendor> {
    names.iter().find_map(|name| {
        let name = words(name);
        let is_everyday = |vendor: &KnownVendor| vendor.words.iter().all(|word| EVERYDAY.contains(word));
        let is_named = |vendor: &&KnownVendor| {
            stand_in(vendor.words, &name) && (name.len() == vendor.words.len() || !is_everyday(vendor))
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
        assert_eq!(title("svc-azure-devops"), Some("Azure DevOps"));
        assert_eq!(title("terraform_cloud"), Some("HCP Terraform"));
        for own in ["terraform-ci", "terraform", "azure-backup", "grafana-cloudwatch"] {
            assert_eq!(title(own), None, "{own} can be a firm's own program");
        }
    }
}
