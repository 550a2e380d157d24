//! What a pass is asked for, how long it waits, and the jobs that it consists of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::core::ids::{IamUserName, RotationId, VendorName};
use crate::core::rotation::Waiting;
use crate::core::time::Timestamp;
use crate::engine::reconcile::{UserReport, reconcile};
use crate::engine::targets::{TargetUser, VendorTargets, targets};
use crate::engine::{Watcher, World};

/// A wait that `rotate` without `--wait` still waits out: the propagation of a new key, a first
/// retry. Longer ones are left to the next pass.
const SHORT_WAIT: Duration = Duration::from_mins(1);

/// What a pass is asked to look at.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// These vendors; empty: all.
    pub vendors: Vec<VendorName>,
    /// Rotate whether due or not.
    pub force: bool,
    /// These rotations under way and nothing else; empty: whoever the vendors have.
    pub rotations: BTreeSet<RotationId>,
}

impl Ask {
    pub(super) fn is_for(&self, vendor: &VendorName) -> bool {
        self.vendors.is_empty() || self.vendors.contains(vendor)
    }
}

/// How long a wait is waited out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// A minute at most.
    Short,
    /// As long as time alone can end it.
    Unlimited,
}

impl Patience {
    pub(super) fn covers(self, until: Timestamp, why: &Waiting, now: Timestamp) -> bool {
        // When a vendor uses its key is the vendor's own affair: no single pass waits for that.
        let is_short = until.since(now) <= SHORT_WAIT && !matches!(why, Waiting::Use { .. });
        until < Timestamp::NEVER && !why.is_for_person() && (self == Patience::Unlimited || is_short)
    }
}

/// When passes are made.
#[derive(Clone, Debug)]
pub enum Cadence {
    /// One, now; then the end, when nothing is left to wait for.
    Once(Ask, Patience),
    /// By `[schedule]`, until told to stop. A pass that was missed is made up once.
    Scheduled,
}

/// What one task does.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// Ask AWS for the users of this vendor.
    List(VendorName),
    /// Visit this user.
    Visit { call: TargetUser, forced: bool },
}

impl Job {
    /// Whether both are about the same IAM user, or list the same vendor. Two such jobs never run at the same time.
    pub(super) fn meets(&self, other: &Job) -> bool {
        match (self, other) {
            (Job::List(mine), Job::List(other)) => mine == other,
            (Job::Visit { call: mine, .. }, Job::Visit { call: other, .. }) => {
                mine.subject.who() == other.subject.who()
            }
            (Job::List(_), Job::Visit { .. }) | (Job::Visit { .. }, Job::List(_)) => false,
        }
    }
}

/// What a task comes back with.
pub(super) enum Back {
    Listed(VendorTargets),
    UserReport(Box<UserReport>),
}

/// One task's work.
pub(super) async fn run(world: World, job: Job, stop: CancellationToken, watcher: Arc<dyn Watcher>) -> Back {
    match job {
        Job::Visit { call, forced } => {
            let user_report = reconcile(&world, &call, forced, &stop, watcher.as_ref()).await;
            Back::UserReport(Box::new(user_report))
        }
        Job::List(vendor) => Back::Listed(match world.settings.vendors.get(&vendor) {
            Some(vendor) => targets(&world, vendor).await,
            None => VendorTargets::Users(Vec::new()),
        }),
    }
}

/// The one place where a panic ends: that vendor waits for the next pass, the others never know.
pub(super) fn panicked(vendor: VendorName, iam_user: Option<IamUserName>) -> UserReport {
    let sentence = format!(
        "a defect in keyround ended the work on {vendor}; its rotations are in the journal, and the next pass \
         continues from there"
    );
    UserReport::broken(vendor, iam_user, "defect", sentence)
}

/// Returns after this long; never where nobody asked for it.
pub(super) async fn pulse(every: Option<Duration>) {
    match every {
        Some(every) => tokio::time::sleep(every).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_pass_waits_out_a_minute_and_never_a_person_or_a_vendor() {
        let now = Timestamp::from_unix(1_800_000_000);
        let covers = |patience: Patience, seconds, why: &Waiting| {
            patience.covers(now + Duration::from_secs(seconds), why, now)
        };
        assert!(covers(Patience::Short, 60, &Waiting::Soak) && !covers(Patience::Short, 61, &Waiting::Soak));
        assert!(covers(Patience::Unlimited, 61, &Waiting::Soak));
        assert!(
            !covers(Patience::Short, 1, &Waiting::Use { old_used_at: None })
                && covers(Patience::Unlimited, 1, &Waiting::Use { old_used_at: None })
        );
        let reveal = Waiting::Reveal { since: now, days: 0 };
        let hold = Waiting::Held { by: "alex".to_owned(), why: "a freeze".to_owned() };
        for patience in [Patience::Short, Patience::Unlimited] {
            assert!(!covers(patience, 1, &reveal));
            assert!(!patience.covers(Timestamp::NEVER, &hold, now), "no time ends it");
            assert!(!patience.covers(Timestamp::NEVER, &Waiting::Soak, now), "and no wait is without end");
        }
        assert!(!Patience::Short.covers(Timestamp::NEVER, &hold, Timestamp::NEVER));
    }

    #[test]
    fn a_vendor_is_asked_for_its_users_once_at_a_time() {
        let list = |vendor: &str| Job::List(vendor.parse().expect("a vendor"));
        assert!(list("acme").meets(&list("acme")));
        assert!(!list("acme").meets(&list("initech")));
    }
}
