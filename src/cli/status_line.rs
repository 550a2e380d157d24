//! How things stand, in one line: how many vendors, when the next pass is, and who needs a look.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::config::settings::{Access, Users};
use crate::core::ids::{Subject, VendorName, Who};
use crate::core::rotation::{Event, Next, Rotation, Waiting};
use crate::core::schedule::State;
use crate::core::time::Timestamp;
use crate::engine::{LoopStatus, Rest, UserReport, owner};

/// So many are named of each kind; the others are counted.
const NAMED_MAX: usize = 3;
/// What is nearer than this is said by its time alone.
const TODAY: Duration = Duration::from_hours(24);

/// What is known of everybody now.
#[derive(Default)]
pub(crate) struct ServiceStatus {
    settings: Option<Arc<Settings>>,
    now: Option<Timestamp>,
    next_pass: Option<Timestamp>,
    /// How many visits are under way.
    visits: usize,
    /// Whether it ends when they are over.
    stopping: bool,
    /// Since when the file is bad, while an older reading of it is in force.
    pub(crate) bad_since: Option<Timestamp>,
    users: BTreeMap<Who, User>,
    unlisted: BTreeSet<VendorName>,
}

/// A user whose key is not simply in order.
struct User {
    subject: Subject,
    how: How,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum How {
    Due,
    Overdue,
    Rotating { stage: &'static str, wait: Option<Wait> },
    Held { until: Timestamp },
    Stuck,
}

/// What a rotation waits for, and until when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Wait {
    what: &'static str,
    until: Timestamp,
}

impl ServiceStatus {
    /// The engine's loop came by: what has left the configuration is forgotten.
    pub(crate) fn loop_passed(&mut self, turn: &LoopStatus) {
        self.now = Some(turn.now);
        self.next_pass = Some(turn.next_pass);
        self.visits = turn.visits;
        self.stopping = turn.stopping;
        let settings = &turn.settings;
        if self.settings.as_ref().is_some_and(|known| Arc::ptr_eq(known, settings)) {
            return;
        }
        self.users.retain(|_, user| match owner(settings, &user.subject) {
            Some(vendor) => {
                user.subject.vendor = vendor;
                true
            }
            None => false,
        });
        self.unlisted.retain(|vendor| has_path(settings, vendor));
        self.settings = Some(Arc::clone(settings));
    }

    pub(crate) fn appended(&mut self, rotation: &Rotation, event: &Event) {
        let began_as = rotation.subject();
        let vendor = self.settings.as_ref().and_then(|settings| owner(settings, began_as));
        let subject = Subject { vendor: vendor.unwrap_or(began_as.vendor.clone()), ..began_as.clone() };
        let how = match rotation.next(event.at()) {
            Next::Perform(_) => Some(How::Rotating { stage: rotation.stage().name(), wait: None }),
            Next::Wait { until, why } => Some(waiting(rotation, until, &why)),
            Next::Stuck(_) => Some(How::Stuck),
            Next::Ended(_) => None,
        };
        self.set(subject, how);
    }

    pub(crate) fn reconciled(&mut self, subject: &Subject, user_report: &UserReport) {
        let subject = Subject { vendor: user_report.vendor.clone(), ..subject.clone() };
        let how = match (user_report.verdict.state, &user_report.rotation, &user_report.rest) {
            (State::Stuck, _, _) => Some(How::Stuck),
            (_, Some(rotation), Some(Rest::Wait { until, why })) => Some(waiting(rotation, *until, why)),
            (State::Rotating, Some(rotation), _) => {
                Some(How::Rotating { stage: rotation.stage().name(), wait: None })
            }
            (State::Held, _, _) => Some(How::Held { until: Timestamp::NEVER }),
            (State::Due, _, _) => Some(How::Due),
            (State::Overdue, _, _) => Some(How::Overdue),
            (State::Ok | State::Warning | State::Rotating | State::Unmanaged | State::Role, _, _) => None,
        };
        self.set(subject, how);
    }

    pub(crate) fn unlisted(&mut self, vendor: &VendorName) {
        self.unlisted.insert(vendor.clone());
    }

    pub(crate) fn listed(&mut self, vendor: &VendorName) {
        self.unlisted.remove(vendor);
    }

    fn set(&mut self, subject: Subject, how: Option<How>) {
        match how {
            Some(how) => drop(self.users.insert(subject.who(), User { subject, how })),
            None => drop(self.users.remove(&subject.who())),
        }
    }

    /// `2 overdue (acme, globex)`, or nothing when there is none.
    fn kind(&self, word: &str, detail: impl Fn(How) -> Option<String>) -> Option<String> {
        let of_kind = self.users.values().filter_map(|user| {
            let detail = detail(user.how)?;
            let name = self.name(&user.subject);
            Some(if detail.is_empty() { name } else { format!("{name}: {detail}") })
        });
        let mut names: Vec<String> = of_kind.collect();
        if word == "stuck" {
            names.extend(self.unlisted.iter().map(ToString::to_string));
        }
        names.sort();
        let count = names.len();
        let more = count.saturating_sub(NAMED_MAX);
        names.truncate(NAMED_MAX);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        (count > 0).then(|| format!("{count} {word} ({})", names.join(", ")))
    }

    /// The vendor; with the user, where the vendor has several.
    fn name(&self, subject: &Subject) -> String {
        let vendors = self.settings.as_ref().map(|settings| &settings.vendors);
        let is_alone =
            match vendors.and_then(|vendors| vendors.get(&subject.vendor)).map(|vendor| &vendor.access) {
                Some(Access::Key(access)) => matches!(&access.users, Users::Named(users) if users.len() == 1),
                Some(Access::Role { .. }) | None => false,
            };
        match is_alone {
            true => subject.vendor.to_string(),
            false => format!("{}/{}", subject.vendor, subject.iam_user),
        }
    }

    /// `03:17 UTC`, with the day when it is not within a day.
    fn at(&self, at: Timestamp) -> String {
        let is_near = self.now.is_some_and(|now| at.since(now) < TODAY);
        let format = if is_near { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
        at.to_chrono().format(format).to_string()
    }

    fn rotating(&self, stage: &str, wait: Option<Wait>) -> String {
        match wait {
            None => stage.to_owned(),
            Some(Wait { what, until }) => format!("{stage} {what} {}", self.at(until)),
        }
    }
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vendors = self.settings.as_ref().map_or(0, |settings| settings.vendors.len());
        let vendors = counted(vendors, "vendor");
        let pass = match (self.stopping, self.next_pass) {
            (true, _) => Some("stopping".to_owned()),
            (false, Some(Timestamp::NEVER)) => Some("no next pass".to_owned()),
            (false, Some(at)) => Some(format!("next pass {}", self.at(at))),
            (false, None) => None,
        };
        let visits = (self.visits > 0).then(|| format!("{} under way", counted(self.visits, "visit")));
        let rotating = self.kind("rotating", |how| match how {
            How::Rotating { stage, wait } => Some(self.rotating(stage, wait)),
            How::Due | How::Overdue | How::Held { .. } | How::Stuck => None,
        });
        let held = self.kind("held", |how| match how {
            How::Held { until: Timestamp::NEVER } => Some(String::new()),
            How::Held { until } => Some(format!("until {}", self.at(until))),
            How::Due | How::Overdue | How::Rotating { .. } | How::Stuck => None,
        });
        let [due, overdue, stuck] = [("due", How::Due), ("overdue", How::Overdue), ("stuck", How::Stuck)]
            .map(|(word, kind)| self.kind(word, |how| (how == kind).then(String::new)));
        let bad = self.bad_since.map(|since| {
            let since = since.to_chrono().format("%Y-%m-%d %H:%M UTC");
            format!(
                "the configuration file had mistakes at {since}, and the previous configuration is in force"
            )
        });
        let parts = [Some(vendors), pass, visits, rotating, held, due, overdue, stuck, bad];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn waiting(rotation: &Rotation, until: Timestamp, why: &Waiting) -> How {
    let what = match why {
        Waiting::Held { .. } => return How::Held { until },
        // The next step is a look, and not the end of the hold.
        Waiting::IncidentHeld { .. } | Waiting::HeldWhileInactive { .. } => {
            return How::Held { until: Timestamp::NEVER };
        }
        Waiting::Soak | Waiting::Cool | Waiting::Window | Waiting::Discard { .. } => "until",
        Waiting::Propagation | Waiting::Backoff { .. } | Waiting::Doubt => "again at",
        Waiting::Reveal { .. } => "waits for `keyround reveal`; checked again at",
        Waiting::HandOver { .. } => "waits for `keyround ack`; checked again at",
        Waiting::Use { .. } | Waiting::UseAfterRetirement { .. } | Waiting::Quiet { .. } => {
            "looked at again at"
        }
        Waiting::Clock(_) => "waits until the machine's clock is right; checked again at",
    };
    How::Rotating { stage: rotation.stage().name(), wait: Some(Wait { what, until }) }
}

fn has_path(settings: &Settings, vendor: &VendorName) -> bool {
    match settings.vendors.get(vendor).map(|vendor| (&vendor.access, vendor.enabled)) {
        Some((Access::Key(access), true)) => matches!(access.users, Users::Path(_)),
        Some((Access::Key(_), false) | (Access::Role { .. }, _)) | None => false,
    }
}

#[cfg(test)]
mod tests;
