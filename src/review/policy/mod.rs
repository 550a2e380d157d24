//! IAM policies: read as types, judged by a table of rules, and written as small as they can be.
//!
//! [`document`] reads a policy and keeps where everything stands; [`lint`] judges it; [`generate`] and
//! [`trust`] write policies. [`actions`] is what is known of AWS's actions, and [`escalation`] of the
//! ways in which rights become more rights; [`rights`] says what a principal may do, and every rule asks it;
//! [`narrowing`] knows when `*` is not everybody, and [`provider`] when
//! an identity provider is.
//!
//! **Invariant:** what [`generate`] and [`trust`] write has no finding of [`lint`].
//!
//! **Invariant:** what is not known is said, not guessed: an action of a service that the table lacks
//! is judged by its name alone.

pub mod actions;
pub mod address;
pub mod document;
pub mod escalation;
pub mod generate;
pub mod lint;
pub mod narrowing;
pub mod provider;
pub mod rights;
pub mod rule;
pub mod trust;

pub use document::{Condition, Document, Effect, Mistake, Pattern, Place, Span, Spanned, Statement};
pub use lint::{Found, Purpose, lint};
pub use rights::Rights;
pub use rule::{Reference, Rule, Severity};
