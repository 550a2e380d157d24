//! What a rule for policies or accounts consists of: a code, a severity, the reason, the fix, and its sources.

use std::fmt;
use std::str::FromStr;

/// How bad a finding is. The words are those of AWS Security Hub.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// To be fixed at some time.
    Low,
    /// To be fixed soon.
    Medium,
    /// Whoever gets hold of the credentials can do harm that was not meant to be allowed.
    High,
    /// Whoever gets hold of the credentials controls the account.
    Critical,
}

impl Severity {
    /// All severities, the mildest first.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The severity as a word in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Severity, String> {
        let found = Severity::ALL.into_iter().find(|severity| severity.as_str() == text);
        found.ok_or_else(|| "one of info, low, medium, high, critical".to_owned())
    }
}

/// The source of a rule. Control numbers are cited; the wording is keyround's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reference {
    /// A control of the CIS AWS Foundations Benchmark, by its number in 7.0.0 and in 6.0.0, where it has one.
    Cis {
        /// The number in 7.0.0.
        v7: Option<&'static str>,
        /// The number in 6.0.0.
        v6: Option<&'static str>,
    },
    /// A control of AWS Foundational Security Best Practices 1.0.0.
    Fsbp(&'static str),
    /// A page of the AWS documentation, by its name under `docs.aws.amazon.com/IAM/latest/UserGuide/`.
    Iam(&'static str),
    /// "Giving AWS Credentials to Third-Party Services", Skeddly, 2016, by its heading.
    ThirdParty(&'static str),
    /// Another publication.
    Paper(&'static str),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Cis { v7: Some(v7), v6: Some(v6) } => {
                write!(f, "CIS AWS Foundations Benchmark 7.0.0 control {v7} (6.0.0: {v6})")
            }
            Reference::Cis { v7: Some(v7), v6: None } => {
                write!(f, "CIS AWS Foundations Benchmark 7.0.0 control {v7}")
            }
            Reference::Cis { v7: None, v6 } => {
                let v6 = v6.unwrap_or("-");
                write!(f, "CIS AWS Foundations Benchmark 6.0.0 control {v6} (not in 7.0.0)")
            }
            Reference::Fsbp(control) => {
                write!(f, "AWS Foundational Security Best Practices 1.0.0 {control}")
            }
            Reference::Iam(page) => {
                write!(f, "https://docs.aws.amazon.com/IAM/latest/UserGuide/{page}.html")
            }
            Reference::ThirdParty(heading) => {
                write!(f, "Giving AWS Credentials to Third-Party Services (Skeddly, 2016): {heading}")
            }
            Reference::Paper(title) => f.write_str(title),
        }
    }
}

/// One rule. Its code is public, and the meaning of a code never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// `KR` and three digits.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why that is wrong.
    pub why: &'static str,
    /// What to do, for findings without a more specific fix.
    pub fix: &'static str,
    /// The standards and publications that demand it.
    pub references: &'static [Reference],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_round_trip_through_text_and_are_ordered() {
        for severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
        }
        assert!(Severity::ALL.is_sorted());
        assert!("High".parse::<Severity>().is_err());
    }
}
