//! IAM policies: parsed into types, judged by a table of rules, and generated as narrow as possible.
//!
//! [`document`] parses a policy and records the byte range of each part; [`lint`] judges it; [`generate`] and
//! [`trust`] write policies. [`actions`] is the table of AWS's actions, and [`escalation`] lists the known ways to
//! turn a few rights into more rights. [`rights`] computes what a principal may do, and every rule uses it.
//! [`narrowing`] decides whether a condition restricts the principal `*`, and [`provider`] whether a role admits
//! every token of an identity provider.
//!
//! **Invariant:** what [`generate`] and [`trust`] write has no finding of [`lint`].
//!
//! **Invariant:** what is not known is reported, not guessed: an action of a service that the table lacks is judged
//! by its name alone.

pub mod actions;
pub mod address;
pub mod document;
pub mod escalation;
pub mod generate;
pub mod lint;
pub mod narrowing;
pub mod provider;
pub mod quarantine;
pub mod rights;
pub mod rule;
pub mod trust;

pub use document::{Condition, Document, Effect, Mistake, Pattern, Place, Span, Spanned, Statement};
pub use lint::{Found, Purpose, lint};
pub use quarantine::{QUARANTINE_POLICIES, is_quarantine};
pub use rights::Rights;
pub use rule::{Reference, Rule, Severity};
