//! The review of an account: every practice for giving credentials to third parties, as a check.
//!
//! [`facts`] are gathered once, by an adapter; [`rules`] are pure functions over them and over what the
//! configuration says ([`declared`]); the [`scorecard`] says for each vendor which practices it meets.
//!
//! **Invariant:** a rule accuses only by evidence, and the evidence is in its finding. What could not
//! be read is a finding of its own, never silence.
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
pub use declared::{Declared, DeclaredVendor, Given, Waiver};
pub use facts::Facts;
pub use ranking::Ranked;
pub use scorecard::Score;
pub use summary::{AccountReview, Summary};

use crate::core::ids::VendorName;
use crate::core::time::Timestamp;
use crate::review::policy::{Rule, Severity};

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What it is about: an ARN, or `vendor/NAME` for what the configuration says of a vendor.
    pub subject: String,
    /// What tells two findings of one rule on one subject apart: a policy, a key. Often empty.
    pub detail: String,
    /// Whose it is.
    pub vendor: Option<VendorName>,
    /// What exactly was found, as a sentence.
    pub sentence: String,
    /// What to do: a command to paste, or a sentence.
    pub fix: String,
    /// What shows it.
    pub evidence: BTreeMap<&'static str, Value>,
    /// Why it is accepted, and until when.
    pub waived: Option<Waived>,
}

/// A finding that somebody has accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waived {
    /// Why.
    pub reason: String,
    /// The first moment at which it is not accepted any more.
    pub until: Timestamp,
}

impl Finding {
    /// A finding whose fix is the rule's own.
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

    /// Whose it is.
    #[must_use]
    pub fn of(self, vendor: Option<&VendorName>) -> Finding {
        Finding { vendor: vendor.cloned(), ..self }
    }

    /// A better fix than the rule's own.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Finding {
        Finding { fix: fix.into(), ..self }
    }

    /// What tells it apart.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Finding {
        Finding { detail: detail.into(), ..self }
    }

    /// One piece of evidence.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Finding {
        self.evidence.insert(name, value.into());
        self
    }

    /// The same in every run, as long as it is the same finding.
    #[must_use]
    pub fn id(&self) -> String {
        let detail = if self.detail.is_empty() { String::new() } else { format!("/{}", self.detail) };
        format!("{}/{}{detail}", self.rule.code, self.subject)
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.rule.severity
    }
}

/// What a review gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// One for each vendor, by name.
    pub scorecard: Vec<Score>,
    /// The active keys, the most urgent first.
    pub ranking: Vec<Ranked>,
}

/// Judges an account.
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
