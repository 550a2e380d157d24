//! Vendors that are known to accept something in place of an access key, and what each accepts.
//!
//! Only what a vendor's own documentation or API description says is listed here.

/// What a vendor accepts in place of an access key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Instead {
    /// A role that the vendor's account assumes.
    Role {
        /// The API call with which the vendor generates the external id, if it has one.
        external_id: Option<&'static str>,
    },
    /// A role that is assumed with a token of the vendor's own identity provider (`OpenID` Connect).
    WebIdentity,
}

/// A vendor that is known to accept something in place of an access key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KnownVendor {
    /// The words that identify the vendor in a name: these words, adjacent and in this order.
    pub words: &'static [&'static str],
    /// The vendor's name, for people.
    pub title: &'static str,
    /// What it accepts in place of an access key.
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

/// All known vendors. A vendor with two spellings is listed twice.
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

/// Words beside the vendor's name in the name of its user, such as `svc` in `svc-acme-key`.
pub(super) const DECORATIONS: [&str; 8] =
    ["vendor", "user", "iam", "svc", "service", "saas", "thirdparty", "key"];
/// Words that also have another meaning, or name a product that many firms host themselves: `spot-instances`,
/// `grafana-cloudwatch`. They identify a vendor only when they are the whole name.
const EVERYDAY: [&str; 5] = ["atlas", "elastic", "grafana", "segment", "spot"];

/// Whether the user's name is the vendor's, apart from decorations: `vendor-acme` and `svc-acme-key` for `acme`.
#[must_use]
pub(super) fn is_user_of(user: &str, vendor: &str) -> bool {
    let (user, vendor) = (words(user), words(vendor));
    !vendor.is_empty() && user == vendor
}

/// The words of a name in lower case, without [`DECORATIONS`].
pub(super) fn words(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !DECORATIONS.contains(word) && !word.is_empty()).map(str::to_owned).collect()
}

/// Whether the words occur in the name, adjacent and in this order.
pub(super) fn stand_in<W: AsRef<str>>(words: &[W], name: &[String]) -> bool {
    let is_here = |part: &[String]| part.iter().zip(words).all(|(one, other)| one == other.as_ref());
    !words.is_empty() && name.windows(words.len()).any(is_here)
}

/// The known vendor that one of these names belongs to. A name may be that of a vendor section, a preset or a user.
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
    fn a_user_name_matches_its_vendor_with_common_prefixes_and_suffixes() {
        for user in ["acme", "vendor-acme", "svc-Acme-key", "acme_user"] {
            assert!(is_user_of(user, "acme"), "{user}");
        }
        for user in ["acme-billing", "vendor", "acmeish", ""] {
            assert!(!is_user_of(user, "acme"), "{user}");
        }
    }

    #[test]
    fn a_vendor_is_recognised_by_a_whole_word_of_the_user_name() {
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
