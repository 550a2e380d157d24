//! The review of an account: checks for each practice that is advised for credentials of third parties.
//!
//! An adapter gathers the [`facts`] once; the [`rules`] are pure functions over these facts and over what the
//! configuration declares ([`declared`]); the [`scorecard`] lists for each vendor which practices it meets.
//!
//! **Invariant:** a rule reports only what its evidence shows, and the finding holds the evidence. What could not
//! be read is a finding of its own and is never left out.
//!
//! **Invariant:** the same facts give the same findings, in the same order.

mod alerts;
mod controls;
pub mod declared;
pub mod draft;
pub mod facts;
pub mod known;
pub mod proposal;
mod ranking;
pub mod rules;
mod scorecard;
mod summary;
mod waive;

use std::collections::BTreeMap;

use serde_json::Value;

pub use alerts::findings;
pub use controls::{Control, controls};
pub use declared::{Declared, DeclaredVendor, GivenAccess, Waiver};
pub use facts::Facts;
pub use ranking::Ranked;
pub use scorecard::Score;
pub use summary::{AccountReview, Summary};

use crate::core::ids::VendorName;
use crate::core::time::Timestamp;
use crate::review::policy::{Rule, Severity};

/// One finding of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule that reports it.
    pub rule: &'static Rule,
    /// The subject: an ARN, or `vendor/NAME` if the finding is about a vendor's configuration.
    pub subject: String,
    /// Distinguishes findings of one rule on one subject, for example by policy or key. Often empty.
    pub detail: String,
    /// The vendor that the finding belongs to, if there is one.
    pub vendor: Option<VendorName>,
    /// What exactly was found, as a sentence.
    pub sentence: String,
    /// What to do: a command to paste, or a sentence.
    pub fix: String,
    /// The facts that show it, by name, for programs.
    pub evidence: BTreeMap<&'static str, Value>,
    /// The waiver that accepts it, if there is one.
    pub waived: Option<Waived>,
}

/// The waiver of an accepted finding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waived {
    /// The reason why the finding is accepted.
    pub reason: String,
    /// The first moment at which the waiver no longer applies.
    pub until: Timestamp,
}

impl Finding {
    /// A finding with the fix that its rule has.
    #[must_use]
    pub fn new(rule: &'static Rule, subject: impl Into<String>, sentence: impl Into<String>) -> Finding {
        Finding {
            rule,
            subject: subject.into(),
            detail: String::new(),
            vendor: None,
            sentence: sentence.into(),
            fix: rule.fix.to_owned(),
            evidence: BTreeMap::new(),
            waived: None,
        }
    }

    /// Sets the vendor that the finding belongs to.
    #[must_use]
    pub fn of(self, vendor: Option<&VendorName>) -> Finding {
        Finding { vendor: vendor.cloned(), ..self }
    }

    /// Replaces the rule's fix by a more specific one.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Finding {
        Finding { fix: fix.into(), ..self }
    }

    /// Sets what distinguishes it from other findings of the rule on the subject.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Finding {
        Finding { detail: detail.into(), ..self }
    }

    /// Adds one piece of evidence.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Finding {
        self.evidence.insert(name, value.into());
        self
    }

    /// Identifies the finding across runs: the code, the subject and the detail, separated by slashes.
    #[must_use]
    pub fn id(&self) -> String {
        let detail = if self.detail.is_empty() { String::new() } else { format!("/{}", self.detail) };
        format!("{}/{}{detail}", self.rule.code, self.subject)
    }

    /// The severity of its rule.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.rule.severity
    }
}

/// The result of a review.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// The findings, the most severe first.
    pub findings: Vec<Finding>,
    /// One score for each vendor, sorted by vendor name.
    pub scorecard: Vec<Score>,
    /// The active keys, the most urgent first.
    pub ranking: Vec<Ranked>,
}

/// Reviews one account.
#[must_use]
pub fn review(facts: &Facts, declared: &Declared) -> Review {
    let mut findings: Vec<Finding> = rules::judge(facts, declared);
    let on_waivers = waive::apply(&mut findings, &declared.waivers, facts);
    findings.extend(on_waivers);
    findings.sort_by(|a, b| {
        let order = |one: &Finding| (one.rule.code, one.id(), one.sentence.clone());
        b.severity().cmp(&a.severity()).then_with(|| order(a).cmp(&order(b)))
    });
    let scorecard = scorecard::of(&findings, declared);
    let ranking = ranking::of(facts, declared, &findings);
    Review { findings, scorecard, ranking }
}
