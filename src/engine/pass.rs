//! One pass, from the roll call until everybody was visited once.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{IamUserName, VendorName, Who};
use crate::core::time::Timestamp;
use crate::engine::UserReport;

/// One pass that is over.
#[derive(Clone, Debug)]
pub struct Pass {
    /// When it began.
    pub began_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
    /// Whether every vendor was looked at, and not only some that were asked for.
    pub whole: bool,
    /// What was found.
    pub found: Vec<UserReport>,
    /// When the next one is due, if one is.
    pub next_at: Option<Timestamp>,
}

impl Pass {
    /// One that took no time, after which none is due.
    #[must_use]
    pub fn of_a_moment(at: Timestamp, whole: bool, found: Vec<UserReport>) -> Pass {
        Pass { began_at: at, ended_at: at, whole, found, next_at: None }
    }
}

/// A vendor, and its user if it has one: what there is one finding of.
pub(crate) type Place = (VendorName, Option<IamUserName>);

pub(crate) fn place(user_report: &UserReport) -> Place {
    (user_report.vendor.clone(), user_report.iam_user.clone())
}

/// The pass that is being made.
pub(super) struct PassUnderWay {
    began_at: Timestamp,
    whole: bool,
    found: BTreeSet<Place>,
    /// Who was not visited yet.
    awaited: BTreeSet<Who>,
}

impl PassUnderWay {
    pub(super) fn new(began_at: Timestamp, whole: bool) -> PassUnderWay {
        PassUnderWay { began_at, whole, found: BTreeSet::new(), awaited: BTreeSet::new() }
    }

    pub(super) fn awaits(&mut self, who: Who) {
        self.awaited.insert(who);
    }

    pub(super) fn is_back(&mut self, who: &Who) {
        self.awaited.remove(who);
    }

    pub(super) fn found(&mut self, user_report: &UserReport) {
        self.found.insert(place(user_report));
    }

    /// Whether everybody was visited once, whatever goes on after that.
    pub(super) fn is_over(&self) -> bool {
        self.awaited.is_empty()
    }

    /// The pass, of all that is known; `next_tick`: when the next one is due.
    pub(super) fn ended(
        self,
        known: &BTreeMap<Place, UserReport>,
        next_tick: Timestamp,
        ended_at: Timestamp,
    ) -> Pass {
        Pass {
            began_at: self.began_at,
            ended_at,
            whole: self.whole,
            found: self.found.iter().filter_map(|place| known.get(place)).cloned().collect(),
            next_at: Some(next_tick).filter(|next| *next < Timestamp::NEVER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_says_when_the_next_one_is_if_there_is_one() {
        let (now, next) = (Timestamp::from_unix(10), Timestamp::from_unix(20));
        let ended = |next| PassUnderWay::new(now, true).ended(&BTreeMap::new(), next, now).next_at;
        assert_eq!(ended(next), Some(next));
        assert_eq!(ended(Timestamp::NEVER), None);
    }
}
