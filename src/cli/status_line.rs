//! The state of the service in one line: the number of vendors, the next pass, and the users that need attention.

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

/// How many users of each state are named; the others are counted.
const NAMED_MAX: usize = 3;
/// A time that is nearer than this is shown without its date.
const TODAY: Duration = Duration::from_hours(24);

/// The state from which the status line is made.
#[derive(Default)]
pub(crate) struct ServiceStatus {
    settings: Option<Arc<Settings>>,
    now: Option<Timestamp>,
    next_pass: Option<Timestamp>,
    /// How many users are being reconciled.
    visits: usize,
    /// Whether the engine ends when those reconciles end.
    stopping: bool,
    /// Since when the configuration file has mistakes and the previous configuration is in force.
    pub(crate) bad_since: Option<Timestamp>,
    users: BTreeMap<Who, User>,
    unlisted: BTreeSet<VendorName>,
}

/// A user whose key needs attention or is being rotated.
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
    /// Takes over the state of the engine's loop, and forgets users and vendors that left the configuration.
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

    /// A part such as `2 overdue (acme, globex)`; `None` if no user is in this state.
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

    /// The vendor's name. If the vendor has several users, the name of the user too.
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

    /// A time such as `03:17 UTC`, with the date unless it is within the next 24 hours.
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
        // `until` is when the rotation is looked at next, not the end of the hold.
        Waiting::IncidentHeld { .. } | Waiting::HeldWhileInactive { .. } => {
            return How::Held { until: Timestamp::NEVER };
        }
        Waiting::Soak
        | Waiting::Cool
        | Waiting::Window
        | Waiting::Discard { .. }
        | Waiting::Offboarded { .. }
        | Waiting::GivenBack => "until",
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
