//! Checks that each IAM user belongs to one vendor. Credentials are unique per vendor: if two vendors hold the key
//! of one user, rotating it for one cuts off the other.

use std::collections::HashMap;

use super::reader::quoted;
use super::report::{At, Mistake, Report};

const UNIQUE: &str = "credentials are unique per vendor: give each its own IAM user";

/// A user or path that one vendor's section names as its own.
pub(super) struct Claim<'a> {
    /// The report of the file that the claim is in.
    pub(super) report: &'a Report<'a>,
    pub(super) vendor: String,
    /// The account's id if it is known, or else its name in the file.
    pub(super) account: String,
    pub(super) what: Claimed,
    pub(super) at: At,
}

/// A user, or all users under an IAM path.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Claimed {
    /// The name in lower case, because IAM does not allow two users whose names differ only in case.
    User(String),
    Path(String),
}

/// Reports every claim that another one repeats, and every path that lies within a claimed path.
pub(super) fn check(mut claims: Vec<Claim<'_>>) {
    claims.sort_by_key(|claim| claim.at);
    let mut first: HashMap<(&str, &Claimed), &Claim<'_>> = HashMap::new();
    for claim in &claims {
        let earlier = *first.entry((&claim.account, &claim.what)).or_insert(claim);
        if !std::ptr::eq(earlier, claim) {
            claim.report.add(twice(earlier, claim));
        }
    }
    for claim in &claims {
        for outer in outer_paths(&claim.what) {
            if let Some(other) = first.get(&(claim.account.as_str(), &outer)) {
                claim.report.add(overlap(other, claim));
            }
        }
    }
}

/// The paths that contain this one: `/a/` for `/a/b/`. None for a user.
fn outer_paths(what: &Claimed) -> Vec<Claimed> {
    let Claimed::Path(path) = what else { return Vec::new() };
    let ends = path.match_indices('/').map(|(at, _)| at + 1).filter(|end| *end < path.len());
    ends.map(|end| Claimed::Path(path[..end].to_owned())).collect()
}

fn twice(earlier: &Claim<'_>, claim: &Claim<'_>) -> Mistake {
    let what = match &claim.what {
        Claimed::User(user) => format!("the IAM user {user}"),
        Claimed::Path(path) => format!("the IAM path {path}"),
    };
    if earlier.vendor == claim.vendor {
        return Mistake::at(claim.at, format!("{what} is named twice"))
            .elsewhere_at(earlier.at, "first here");
    }
    let message = format!("{what} belongs to the vendor {} already", quoted(&earlier.vendor));
    Mistake::at(claim.at, message).elsewhere_at(earlier.at, "first claimed here").hint(UNIQUE)
}

fn overlap(outer: &Claim<'_>, inner: &Claim<'_>) -> Mistake {
    let (earlier, later) = if outer.at < inner.at { (outer, inner) } else { (inner, outer) };
    let message = format!("this path overlaps with one of the vendor {}", quoted(&earlier.vendor));
    Mistake::at(later.at, message).elsewhere_at(earlier.at, "first claimed here").hint(UNIQUE)
}
