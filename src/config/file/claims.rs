//! Who was given which IAM user. Credentials are unique per vendor: when two vendors hold one
//! user's key, rotating it for the one cuts off the other.

use std::collections::HashMap;

use super::reader::quoted;
use super::report::{Mistake, Report, Span};

const UNIQUE: &str = "credentials are unique per vendor: give each its own IAM user";

/// What one vendor says is its own.
pub(super) struct Claim {
    pub(super) vendor: String,
    /// The account's id where it is known, else the name it has in the file.
    pub(super) account: String,
    pub(super) what: Claimed,
    pub(super) span: Span,
}

/// A user, or all users under an IAM path.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Claimed {
    /// In lower case: IAM keeps two users apart by more than the case of their names.
    User(String),
    Path(String),
}

/// Reports every claim that somebody else made before, or that lies in a path that somebody claims.
pub(super) fn check(report: &Report<'_>, mut claims: Vec<Claim>) {
    claims.sort_by_key(|claim| claim.span.start);
    let mut first: HashMap<(&str, &Claimed), &Claim> = HashMap::new();
    for claim in &claims {
        let earlier = *first.entry((&claim.account, &claim.what)).or_insert(claim);
        if !std::ptr::eq(earlier, claim) {
            report.add(twice(earlier, claim));
        }
    }
    for claim in &claims {
        for outer in outer_paths(&claim.what) {
            if let Some(other) = first.get(&(claim.account.as_str(), &outer)) {
                report.add(overlap(other, claim));
            }
        }
    }
}

/// `/a/b/` lies in `/a/`.
fn outer_paths(what: &Claimed) -> Vec<Claimed> {
    let Claimed::Path(path) = what else { return Vec::new() };
    let ends = path.match_indices('/').map(|(at, _)| at + 1).filter(|end| *end < path.len());
    ends.map(|end| Claimed::Path(path[..end].to_owned())).collect()
}

fn twice(earlier: &Claim, claim: &Claim) -> Mistake {
    let what = match &claim.what {
        Claimed::User(user) => format!("the IAM user {user}"),
        Claimed::Path(path) => format!("the IAM path {path}"),
    };
    if earlier.vendor == claim.vendor {
        return Mistake::new(claim.span, format!("{what} is named twice"))
            .elsewhere(earlier.span, "first here");
    }
    let message = format!("{what} belongs to the vendor {} already", quoted(&earlier.vendor));
    Mistake::new(claim.span, message).elsewhere(earlier.span, "first claimed here").hint(UNIQUE)
}

fn overlap(outer: &Claim, inner: &Claim) -> Mistake {
    let (earlier, later) = if outer.span.start < inner.span.start { (outer, inner) } else { (inner, outer) };
    let message = format!("this path overlaps with one of the vendor {}", quoted(&earlier.vendor));
    Mistake::new(later.span, message).elsewhere(earlier.span, "first claimed here").hint(UNIQUE)
}
