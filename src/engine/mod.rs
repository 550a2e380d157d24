//! The engine: reconciles every user with its plan, and records each effect and its outcome.
//!
//! `targets` lists the IAM users that a pass covers. `reconcile` looks at one IAM user: it drives the rotation that is
//! under way, or judges the user's keys and begins one. `drive` takes one rotation as far as it can go now, and
//! `perform` carries out one effect. `scheduler` reconciles all users side by side and keeps the timers; `slots` bounds
//! how many run at once; `starts` bounds how many begin; `job` defines what a pass is asked for; `notice` reads what an operator appended to the
//! journal meanwhile; `clock` compares this machine's clock with AWS's before an effect that depends on it. `preview`
//! tells what a pass would do. `incident` declares keys exposed. `listing` looks at keys outside a rotation's steps.
//!
//! The engine reports what it sees to [`Watcher`]s. It does not import status, alerting or the command line.
//!
//! **Invariant:** recovery is the same code as the first run: before each effect the rotation is replayed from the
//! journal. There is no other state that could be wrong after a crash.
//!
//! **Invariant:** one vendor's fault stays its own. Each reconcile is a task of its own; the scheduler catches a panic
//! in it, and no other code does.
//!
//! **Invariant:** nothing in the engine sleeps except the scheduler, between jobs.

mod clock;
mod drive;
pub(crate) mod exposure;
mod incident;
mod issue;
mod job;
mod listing;
mod notice;
mod offboard;
pub(crate) mod pass;
mod perform;
mod preview;
mod reconcile;
mod scheduler;
mod slots;
mod starts;
pub(crate) mod targets;

use std::sync::Arc;

use crate::config::Settings;
use crate::core::alert::ClockReading;
use crate::core::ids::{RotationId, Subject, VendorName};
use crate::core::rotation::{Event, Rotation};
use crate::core::time::Timestamp;
use crate::ports::{Accounts, Clock, Journal, Vendors};

pub use drive::{Rest, entry_after};
pub use exposure::exposure_checks;
pub use incident::{Declaration, Meant, Scope, declare, meant, rotations_of};
pub use issue::{Issue, Issued, issue};
pub use job::{Cadence, PassRequest, WaitMode};
pub use offboard::{Leaver, Offboard, leavers, offboard};
pub use pass::Pass;
pub(crate) use preview::delivery_checks;
pub use preview::{Preview, Step, preview, steps};
pub use reconcile::{UserReport, status};
pub use scheduler::Engine;
pub use starts::Starts;
pub use targets::{ATTEMPTS_MAX, owner};

/// What the engine works with: the configuration and the ports. It is replaced as a whole when the configuration is
/// read again.
#[derive(Clone)]
pub struct World {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// The clock that the engine reads and waits on.
    pub clock: Arc<dyn Clock>,
    /// The events of every rotation, and the sealed secrets of new keys.
    pub journal: Arc<dyn Journal>,
    /// IAM and STS of each account.
    pub accounts: Arc<dyn Accounts>,
    /// How each vendor is sent a key, and asked which key it has.
    pub vendors: Arc<dyn Vendors>,
    /// The turn to begin a rotation. It is shared by everything that drives rotations in this process.
    pub starts: Arc<Starts>,
}

/// Receives what the engine does, while it does it: a progress display, a log, the status store.
pub trait Watcher: Send + Sync {
    /// An event was appended to the journal; `rotation` is the rotation after it.
    fn appended(&self, rotation: &Rotation, event: &Event);
    /// The reconcile of a user ended with this report.
    fn reconciled(&self, subject: &Subject, user_report: &UserReport);
    /// The users of a vendor are not known in this pass, because they could not be listed.
    fn unlisted(&self, _visited: &UserReport) {}
    /// A pass begins.
    fn pass_begins(&self) {}
    /// A pass ended: each user was reconciled once. Rotations under way continue.
    fn pass_ended(&self, _pass: &Pass) {}
    /// This machine's clock was compared with the time of each AWS account that has answered.
    fn clocks_compared(&self, _readings: &[ClockReading]) {}
    /// AWS listed the users of a vendor.
    fn listed(&self, _vendor: &VendorName) {}
    /// The engine's loop completed a turn and started every job that is due now. A loop that hangs does not call this
    /// any more.
    fn loop_passed(&self, _turn: &LoopStatus) {}
}

/// Several watchers, each of which receives every call.
pub struct Watchers(pub Vec<Arc<dyn Watcher>>);

impl Watcher for Watchers {
    fn appended(&self, rotation: &Rotation, event: &Event) {
        self.0.iter().for_each(|watcher| watcher.appended(rotation, event));
    }

    fn reconciled(&self, subject: &Subject, user_report: &UserReport) {
        self.0.iter().for_each(|watcher| watcher.reconciled(subject, user_report));
    }

    fn unlisted(&self, user_report: &UserReport) {
        self.0.iter().for_each(|watcher| watcher.unlisted(user_report));
    }

    fn pass_begins(&self) {
        self.0.iter().for_each(|watcher| watcher.pass_begins());
    }

    fn pass_ended(&self, pass: &Pass) {
        self.0.iter().for_each(|watcher| watcher.pass_ended(pass));
    }

    fn listed(&self, vendor: &VendorName) {
        self.0.iter().for_each(|watcher| watcher.listed(vendor));
    }

    fn clocks_compared(&self, readings: &[ClockReading]) {
        self.0.iter().for_each(|watcher| watcher.clocks_compared(readings));
    }

    fn loop_passed(&self, turn: &LoopStatus) {
        self.0.iter().for_each(|watcher| watcher.loop_passed(turn));
    }
}

/// The state of the engine each time its loop completes a turn.
#[derive(Clone, Debug)]
pub struct LoopStatus {
    /// The configuration that is in force.
    pub settings: Arc<Settings>,
    /// The time of this turn.
    pub now: Timestamp,
    /// When the next pass is due.
    pub next_pass: Timestamp,
    /// How many jobs are under way: reconciles of users, and listings of a vendor's users.
    pub visits: usize,
    /// Whether the engine is stopping and starts nothing more.
    pub stopping: bool,
}

/// The span of every log line about one rotation, whichever module writes it. Its level is error, because a span of a
/// lower level would be missing from the errors of a log that shows nothing else.
#[must_use]
pub fn rotation_span(vendor: &VendorName, id: RotationId) -> tracing::Span {
    tracing::error_span!("rotation", vendor.name = %vendor, rotation.id = %id)
}
