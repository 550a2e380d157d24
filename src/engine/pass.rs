//! One pass, from the list of its users until each of them was reconciled once.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{IamUserName, VendorName, Who};
use crate::core::time::Timestamp;
use crate::engine::UserReport;

/// One pass that has ended.
#[derive(Clone, Debug)]
pub struct Pass {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether it covered every vendor, and not only some that were asked for.
    pub whole: bool,
    /// The report on each user, and on each vendor without one.
    pub found: Vec<UserReport>,
    /// When the next pass is due; `None` if none is planned.
    pub next_at: Option<Timestamp>,
}

impl Pass {
    /// A pass that began and ended at the same time, with no next pass.
    #[must_use]
    pub fn of_a_moment(at: Timestamp, whole: bool, found: Vec<UserReport>) -> Pass {
        Pass { began_at: at, ended_at: at, whole, found, next_at: None }
    }
}

/// A vendor, and its user if it has one. There is one report for each place.
pub(crate) type Place = (VendorName, Option<IamUserName>);

pub(crate) fn place(user_report: &UserReport) -> Place {
    (user_report.vendor.clone(), user_report.iam_user.clone())
}

/// The pass that is under way.
pub(super) struct PassUnderWay {
    began_at: Timestamp,
    whole: bool,
    found: BTreeSet<Place>,
    /// The users that were not reconciled yet.
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

    /// Whether each user was reconciled once, whatever its rotation waits for after that.
    pub(super) fn is_over(&self) -> bool {
        self.awaited.is_empty()
    }

    /// The ended pass, with the reports of `known` that belong to it. `next_tick`: when the next pass is due.
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
    fn a_pass_records_the_time_of_the_next_pass_if_there_is_one() {
        let (now, next) = (Timestamp::from_unix(10), Timestamp::from_unix(20));
        let ended = |next| PassUnderWay::new(now, true).ended(&BTreeMap::new(), next, now).next_at;
        assert_eq!(ended(next), Some(next));
        assert_eq!(ended(Timestamp::NEVER), None);
    }
}
