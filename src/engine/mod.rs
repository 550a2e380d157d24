//! The engine: reconciles every user with its plan, and records each effect and its outcome.
//!
//! `targets` lists whom a pass covers. `reconcile` looks at one IAM user: it drives the rotation that is under way, or
//! judges the user's keys and begins one. `drive` takes one rotation as far as it can go now, and `perform` carries out
//! one effect. `scheduler` reconciles all users side by side and keeps the timers; `slots` bounds how many run at once;
//! `job` says what a pass is asked for; `notice` reads what an operator appended to the journal meanwhile. `preview` says
//! what a pass would do. `incident` declares keys exposed.
//!
//! What the engine sees it gives to [`Watcher`]s. It knows nothing of status, alerts or the command line.
//!
//! **Invariant:** recovery is the same code as the first run: before each effect the rotation is replayed from the
//! journal. There is no other state that could be wrong after a crash.
//!
//! **Invariant:** one vendor's fault stays its own. Each reconcile is a task of its own; a panic in it is caught here,
//! and nowhere else.
//!
//! **Invariant:** nothing in here sleeps but the scheduler, between jobs.

mod clock;
mod drive;
mod incident;
mod job;
mod notice;
pub(crate) mod pass;
mod perform;
mod preview;
mod reconcile;
mod scheduler;
mod slots;
pub(crate) mod targets;

use std::sync::Arc;

use crate::config::Settings;
use crate::core::alert::ClockReading;
use crate::core::ids::{RotationId, Subject, VendorName};
use crate::core::rotation::{Event, Rotation};
use crate::core::time::Timestamp;
use crate::ports::{Accounts, Clock, Journal, Vendors};

pub use drive::{Rest, entry_after};
pub use incident::{Declaration, Meant, Scope, declare, meant, rotations_of};
pub use job::{Ask, Cadence, Patience};
pub use pass::Pass;
pub(crate) use preview::delivery_checks;
pub use preview::{Preview, Step, preview, steps};
pub use reconcile::{UserReport, status};
pub use scheduler::Engine;
pub use targets::owner;

/// What the driver works with. One of these lasts until the configuration is read again.
#[derive(Clone)]
pub struct World {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What happened so far.
    pub journal: Arc<dyn Journal>,
    /// AWS.
    pub accounts: Arc<dyn Accounts>,
    /// The vendors' own ways.
    pub vendors: Arc<dyn Vendors>,
}

/// Somebody who wants to know what happens while it happens: a progress display, a log.
pub trait Watcher: Send + Sync {
    /// An event was appended, and this is the rotation after it.
    fn appended(&self, rotation: &Rotation, event: &Event);
    /// A visit is over.
    fn reconciled(&self, subject: &Subject, user_report: &UserReport);
    /// Nobody can say in this pass who the users of a vendor are.
    fn unlisted(&self, _visited: &UserReport) {}
    /// A pass begins.
    fn pass_begins(&self) {}
    /// A pass is over: everybody was visited once. What is under way goes on.
    fn pass_ended(&self, _pass: &Pass) {}
    /// Our clock was compared with that of each account that has answered.
    fn clocks_compared(&self, _readings: &[ClockReading]) {}
    /// AWS said who the users of a vendor are.
    fn listed(&self, _vendor: &VendorName) {}
    /// The engine's loop came by, and everything that is due now was begun. A loop that hangs calls this no more.
    fn loop_passed(&self, _turn: &LoopStatus) {}
}

/// Several watchers, each told of everything.
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

/// What the engine knows each time its loop comes by.
#[derive(Clone, Debug)]
pub struct LoopStatus {
    /// The configuration that is in force.
    pub settings: Arc<Settings>,
    /// What time it is.
    pub now: Timestamp,
    /// When the next pass is due.
    pub next_pass: Timestamp,
    /// How many visits are under way.
    pub visits: usize,
    /// Whether nothing more is begun.
    pub stopping: bool,
}

/// What every line that is logged on behalf of one rotation carries, whoever logs it. It is an error's span because a
/// span of a lower level would be missing from the errors of a log that shows nothing else.
#[must_use]
pub fn rotation_span(vendor: &VendorName, id: RotationId) -> tracing::Span {
    tracing::error_span!("rotation", vendor.name = %vendor, rotation.id = %id)
}
