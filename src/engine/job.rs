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

/// The longest wait that `rotate` without `--wait` waits out: long enough for the propagation of a new key and for a
/// first retry. Longer waits are left to the next pass.
const SHORT_WAIT: Duration = Duration::from_mins(1);

/// What a pass is asked to cover.
#[derive(Clone, Debug, Default)]
pub struct PassRequest {
    /// The vendors; empty means all.
    pub vendors: Vec<VendorName>,
    /// Rotate each key, whether it is due or not.
    pub force: bool,
    /// Only these rotations under way, instead of a pass; empty means the users of the vendors above.
    pub rotations: BTreeSet<RotationId>,
}

impl PassRequest {
    pub(super) fn is_for(&self, vendor: &VendorName) -> bool {
        self.vendors.is_empty() || self.vendors.contains(vendor)
    }
}

/// How long a wait may be that a pass waits out instead of leaving it to the next pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WaitMode {
    /// At most one minute.
    Short,
    /// Any wait that time alone can end, however long.
    Unlimited,
}

impl WaitMode {
    pub(super) fn covers(self, until: Timestamp, why: &Waiting, now: Timestamp) -> bool {
        // Only the vendor decides when it uses its key, so short patience does not wait for that.
        let is_short = until.since(now) <= SHORT_WAIT && !matches!(why, Waiting::Use { .. });
        until < Timestamp::NEVER && !why.is_for_person() && (self == WaitMode::Unlimited || is_short)
    }
}

/// When the engine makes passes.
#[derive(Clone, Debug)]
pub enum Cadence {
    /// One pass now. The engine returns when nothing is left that this patience waits for.
    Once(PassRequest, WaitMode),
    /// By `[schedule]`, until stopped. Passes that were missed are made up by one pass.
    Scheduled,
}

/// A rotation that is to be reconciled again at a certain time.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) at: Timestamp,
    pub(super) call: TargetUser,
}

/// The work of one task.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// Ask AWS for the users of this vendor.
    List(VendorName),
    /// Reconcile this user. `forced`: replace its key whether it is due or not.
    Visit { call: TargetUser, forced: bool },
}

impl Job {
    /// Whether both jobs are about the same IAM user, or list the same vendor. Two such jobs never run at the same
    /// time.
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

/// The result of a job.
pub(super) enum JobResult {
    Listed(VendorTargets),
    UserReport(Box<UserReport>),
}

/// Runs one job.
pub(super) async fn run(
    world: World,
    job: Job,
    stop: CancellationToken,
    watcher: Arc<dyn Watcher>,
) -> JobResult {
    match job {
        Job::Visit { call, forced } => {
            let user_report = reconcile(&world, &call, forced, &stop, watcher.as_ref()).await;
            JobResult::UserReport(Box::new(user_report))
        }
        Job::List(vendor) => JobResult::Listed(match world.settings.vendors.get(&vendor) {
            Some(vendor) => targets(&world, vendor).await,
            None => VendorTargets::Users(Vec::new()),
        }),
    }
}

/// The report on a job that panicked. The panic ends here: this vendor waits for the next pass, and the others are not
/// affected.
pub(super) fn panicked(vendor: VendorName, iam_user: Option<IamUserName>) -> UserReport {
    let sentence = format!(
        "a defect in keyround ended the work on {vendor}; its rotations are in the journal, and the next pass \
         continues from there"
    );
    UserReport::broken(vendor, iam_user, "defect", sentence)
}

/// Returns after this time, or never if there is no pulse.
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
    fn a_single_pass_waits_up_to_a_minute_and_not_for_vendors_or_operators() {
        let now = Timestamp::from_unix(1_800_000_000);
        let covers = |patience: WaitMode, seconds, why: &Waiting| {
            patience.covers(now + Duration::from_secs(seconds), why, now)
        };
        assert!(covers(WaitMode::Short, 60, &Waiting::Soak) && !covers(WaitMode::Short, 61, &Waiting::Soak));
        assert!(covers(WaitMode::Unlimited, 61, &Waiting::Soak));
        assert!(
            !covers(WaitMode::Short, 1, &Waiting::Use { old_used_at: None })
                && covers(WaitMode::Unlimited, 1, &Waiting::Use { old_used_at: None })
        );
        let reveal = Waiting::Reveal { since: now, days: 0 };
        let hold = Waiting::Held { by: "alex".to_owned(), why: "a freeze".to_owned() };
        for patience in [WaitMode::Short, WaitMode::Unlimited] {
            assert!(!covers(patience, 1, &reveal));
            assert!(!patience.covers(Timestamp::NEVER, &hold, now), "no time ends it");
            assert!(!patience.covers(Timestamp::NEVER, &Waiting::Soak, now), "and no wait is without end");
        }
        assert!(!WaitMode::Short.covers(Timestamp::NEVER, &hold, Timestamp::NEVER));
    }

    #[test]
    fn the_users_of_a_vendor_are_listed_by_one_job_at_a_time() {
        let list = |vendor: &str| Job::List(vendor.parse().expect("a vendor"));
        assert!(list("acme").meets(&list("acme")));
        assert!(!list("acme").meets(&list("initech")));
    }
}
