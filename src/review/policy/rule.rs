//! What a rule is, for policies and for whole accounts: a code, how bad, why, what to do, by which book.

use std::fmt;
use std::str::FromStr;

/// How bad a finding is. The words are those of AWS Security Hub.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// To be put in order at some time.
    Low,
    /// To be put in order soon.
    Medium,
    /// Somebody who gets hold of the credentials can do harm that nobody meant to allow.
    High,
    /// Somebody who gets hold of the credentials owns the account.
    Critical,
}

impl Severity {
    /// All, the mildest first.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The word.
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

/// Where a rule comes from. Numbers are cited, texts are ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reference {
    /// A control of the CIS AWS Foundations Benchmark: its number in 7.0.0 and in 6.0.0, where it has one.
    Cis {
        /// In 7.0.0.
        v7: Option<&'static str>,
        /// In 6.0.0.
        v6: Option<&'static str>,
    },
    /// A control of AWS Foundational Security Best Practices 1.0.0.
    Fsbp(&'static str),
    /// A page of the AWS documentation, by its name under `docs.aws.amazon.com/IAM/latest/UserGuide/`.
    Iam(&'static str),
    /// "Giving AWS Credentials to Third-Party Services", Skeddly, 2016: the heading.
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

/// One rule. Its code is public and never means anything else.
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
    /// What to do where no finding says it better.
    pub fix: &'static str,
    /// By which book.
    pub references: &'static [Reference],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_read_as_they_are_written_and_ordered() {
        for severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
        }
        assert!(Severity::ALL.is_sorted());
        assert!("High".parse::<Severity>().is_err());
    }
}
