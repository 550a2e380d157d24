//! The driver: performs what the machine asks for, and writes down what came of it.
//!
//! `drive` takes one rotation as far as it can go now. `visit` looks at one IAM user: it drives the
//! rotation that is under way, or judges the user's keys and begins one. `roster` says whom there is
//! to visit. `engine` visits all of them, side by side, and knows when to come back; `job` says what a pass is asked for,
//! and `notice` what an operator appended to the journal while it worked.
//!
//! Beside the engine stand those who watch it: the `lookout` remembers what was seen last, `alerts` tells of it, and the
//! `observatory` shows it. Each is made of what the visits saw and of the journal, and none is waited for.
//!
//! **Invariant:** carrying on is starting: before each effect the rotation is replayed from the
//! journal. There is no other state that could be wrong after a crash.
//!
//! **Invariant:** one vendor's trouble is its own. Each visit is a task of its own; a panic in it
//! is caught here, and nowhere else.
//!
//! **Invariant:** nothing in here sleeps but the engine, between visits.

mod alerts;
mod clock;
mod drive;
mod engine;
mod incident;
mod job;
mod lookout;
mod notice;
mod observatory;
mod pass;
mod perform;
mod preview;
mod review;
mod roster;
mod slots;
mod teller;
mod visit;

use std::sync::Arc;

use crate::alert::ClockReading;
use crate::config::Settings;
use crate::ids::{RotationId, Subject, VendorName};
use crate::ports::{Accounts, Clock, Journal, Vendors};
use crate::rotation::{Event, Rotation};
use crate::time::Timestamp;

pub use alerts::{Alerts, Tellers, of_journal};
pub use drive::{Rest, entry_after};
pub use engine::Engine;
pub use incident::{Declaration, Meant, Scope, declare, meant, rotations_of};
pub use job::{Ask, Cadence, Patience};
pub use lookout::{Lookout, Sight};
pub use observatory::{Observatory, status_of};
pub use pass::Pass;
pub(crate) use preview::delivery_checks;
pub use preview::{Preview, Step, preview, steps};
pub use roster::owner;
pub use teller::Teller;
pub use visit::{Visited, status};

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
    fn visited(&self, subject: &Subject, visited: &Visited);
    /// Nobody can say in this pass who the users of a vendor are.
    fn unlisted(&self, _visited: &Visited) {}
    /// A pass begins.
    fn pass_begins(&self) {}
    /// A pass is over: everybody was visited once. What is under way goes on.
    fn pass_ended(&self, _pass: &Pass) {}
    /// Our clock was compared with that of each account that has answered.
    fn clocks_compared(&self, _readings: &[ClockReading]) {}
    /// AWS said who the users of a vendor are.
    fn listed(&self, _vendor: &VendorName) {}
    /// The engine's loop came by, and everything that is due now was begun. A loop that hangs calls this no more.
    fn turned(&self, _turn: &Turn) {}
}

/// Several watchers, each told of everything.
pub struct Watchers(pub Vec<Arc<dyn Watcher>>);

impl Watcher for Watchers {
    fn appended(&self, rotation: &Rotation, event: &Event) {
        self.0.iter().for_each(|watcher| watcher.appended(rotation, event));
    }

    fn visited(&self, subject: &Subject, visited: &Visited) {
        self.0.iter().for_each(|watcher| watcher.visited(subject, visited));
    }

    fn unlisted(&self, visited: &Visited) {
        self.0.iter().for_each(|watcher| watcher.unlisted(visited));
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

    fn turned(&self, turn: &Turn) {
        self.0.iter().for_each(|watcher| watcher.turned(turn));
    }
}

/// What the engine knows each time its loop comes by.
#[derive(Clone, Debug)]
pub struct Turn {
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
