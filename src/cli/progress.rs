//! A watcher of the engine: logs events, shows progress on a terminal, and keeps the steps of each rotation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::history::in_words;
use crate::cli::terminal::shown;
use crate::core::ids::{IamUserName, RotationId, Subject, VendorName, Who};
use crate::core::rotation::{Event, RefusalCode, Rotation, Stage, Waiting};
use crate::core::schedule::State;
use crate::engine::{Rest, UserReport, Watcher, rotation_span};

/// Logs what happens, keeps the steps of each rotation, and shows progress on a terminal.
pub(crate) struct Reporter {
    bars: Option<MultiProgress>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    bars: BTreeMap<Who, ProgressBar>,
    steps: BTreeMap<RotationId, Vec<String>>,
    /// The reason of each user's last trouble, so that it is logged once and not at every pass. The reason is compared
    /// and not the sentence, because a sentence contains a request id that differs each time.
    troubles: BTreeMap<Who, &'static str>,
    /// The same for vendors whose users could not be listed.
    unlisted: BTreeMap<VendorName, &'static str>,
}

impl Reporter {
    pub(crate) fn new(progress: bool) -> Reporter {
        Reporter { bars: progress.then(MultiProgress::new), notes: Mutex::default() }
    }

    /// The steps that were taken in one rotation, in words.
    pub(crate) fn steps(&self, rotation: RotationId) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.steps.get(&rotation).cloned().unwrap_or_default()
    }

    fn show(&self, notes: &mut Notes, subject: &Subject, message: &str) {
        let Some(bars) = &self.bars else { return };
        let bar = notes.bars.entry(subject.who()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix:<16} {wide_msg}");
            let bar = bars.add(ProgressBar::new_spinner()).with_prefix(subject.vendor.to_string());
            style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
        });
        bar.set_message(shown(message).into_owned());
        bar.tick();
    }
}

impl Watcher for Reporter {
    fn appended(&self, rotation: &Rotation, event: &Event) {
        let subject = rotation.subject();
        log(rotation, event);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(event, Event::Intended { .. }) {
            let step = format!("{}: {}", event.name(), in_words(event));
            notes.steps.entry(rotation.id()).or_default().push(step);
        }
        self.show(&mut notes, subject, &format!("{}: {}", rotation.stage().name(), in_words(event)));
    }

    fn reconciled(&self, subject: &Subject, user_report: &UserReport) {
        let sentence = user_report.sentence();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match trouble(user_report) {
            None => notes.troubles.remove(&subject.who()),
            Some(_) => notes.troubles.insert(subject.who(), user_report.verdict.reason),
        };
        let is_news = known != Some(user_report.verdict.reason);
        log_reconcile(user_report, &sentence, trouble(user_report).filter(|_| is_news));
        self.show(&mut notes, subject, &format!("{}: {sentence}", user_report.verdict.state));
        if let (Some(bar), Some(Rest::Ended(_) | Rest::Stuck(_))) =
            (notes.bars.get(&subject.who()), &user_report.rest)
        {
            bar.abandon();
        }
    }

    fn unlisted(&self, user_report: &UserReport) {
        let (vendor, sentence) = (&user_report.vendor, &user_report.verdict.sentence);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = user_report.verdict.reason;
        let is_news = notes.unlisted.insert(vendor.clone(), reason) != Some(reason);
        log_reconcile(user_report, sentence, trouble(user_report).filter(|_| is_news));
    }

    fn listed(&self, vendor: &VendorName) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).unlisted.remove(vendor);
    }
}

/// How severe the result of a reconcile is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Audience {
    /// An operator may want to look.
    Warning,
    /// A person must act.
    Error,
}

/// The trouble to log after a reconcile, if any. A failed step of a rotation is not included: it was logged when it
/// failed.
fn trouble(user_report: &UserReport) -> Option<Audience> {
    match &user_report.rest {
        _ if user_report.error.is_some() => Some(Audience::Error),
        Some(Rest::Stuck(_)) => Some(Audience::Error),
        // This includes a rotation that was not driven.
        None if user_report.failed
            || user_report.rotation.is_some()
            || user_report.verdict.state == State::Stuck =>
        {
            Some(Audience::Warning)
        }
        // The sentence counts the days, so the person who has to act is reminded once a day.
        Some(Rest::Wait { why: Waiting::Reveal { .. } | Waiting::HandOver { .. }, .. }) => {
            Some(Audience::Warning)
        }
        Some(Rest::Wait { .. } | Rest::Ended(_) | Rest::Stopped) | None => None,
    }
}

fn log_reconcile(user_report: &UserReport, sentence: &str, trouble: Option<Audience>) {
    let (vendor, state, reason) =
        (&user_report.vendor, user_report.verdict.state, user_report.verdict.reason);
    let of_rotation = user_report.rotation.as_ref().map(|rotation| rotation_span(vendor, rotation.id()));
    let span = of_rotation.unwrap_or_else(|| tracing::error_span!("visit", vendor.name = %vendor));
    span.in_scope(|| match trouble {
        Some(Audience::Error) => tracing::error!(reason, "{vendor} is {state}: {sentence}"),
        Some(Audience::Warning) => tracing::warn!(reason, "{vendor} is {state}: {sentence}"),
        None => tracing::debug!(reason, "{vendor} is {state}: {sentence}"),
    });
}

/// Logs an event. INFO: the stage changed, or an operator command was given. WARN: a step failed. DEBUG: everything
/// else.
fn log(rotation: &Rotation, event: &Event) {
    let (vendor, user) = (&rotation.subject().vendor, &rotation.subject().iam_user);
    let stage = rotation.stage().name();
    let line = format!("{vendor}: {}", in_a_line(event, user));
    match event {
        Event::Refused { refusal, .. } if refusal.code == RefusalCode::NotUsable => {
            // AWS does not accept any new key in its first seconds.
            tracing::debug!(rotation.stage = stage, "{line}");
        }
        Event::Refused { .. } | Event::Unanswered { .. } => {
            tracing::warn!(rotation.stage = stage, "{line}");
        }
        Event::Probed { .. } if matches!(rotation.stage(), Stage::Prove { .. }) => {
            tracing::debug!(rotation.stage = stage, "{line}");
        }
        Event::Verified { .. } if rotation.since() != event.at() => {
            tracing::debug!(rotation.stage = stage, "{line}");
        }
        Event::Started { .. }
        | Event::IssueAsked { .. }
        | Event::OffboardAsked { .. }
        | Event::Created { .. }
        | Event::Probed { .. }
        | Event::Delivered { .. }
        | Event::Revealed { .. }
        | Event::Acknowledged { .. }
        | Event::Verified { .. }
        | Event::Deactivated { .. }
        | Event::Reactivated { .. }
        | Event::Deleted { .. }
        | Event::Held { .. }
        | Event::Resumed { .. }
        | Event::ReactivationAsked { .. }
        | Event::IncidentDeclared { .. }
        | Event::Abandoned { .. } => {
            tracing::info!(rotation.stage = stage, "{line}");
        }
        Event::Intended { .. } | Event::Listed { .. } | Event::UsageRead { .. } => {
            tracing::debug!(rotation.stage = stage, "{line}");
        }
    }
}

/// The event as a line that is understandable without the line before it.
fn in_a_line(event: &Event, user: &IamUserName) -> String {
    let what = in_words(event);
    match event {
        Event::Started { old, reason, .. } => {
            format!("a rotation begins: the key {old} of user {user} is to be replaced, {reason}")
        }
        Event::IssueAsked { .. } => format!("a rotation begins: {what}"),
        Event::OffboardAsked { .. } => format!("offboarding of user {user}: {what}"),
        Event::Intended { .. } => format!("about {what}"),
        Event::Listed { .. } => format!("the keys of user {user}: {what}"),
        Event::Created { .. } => format!("created a new key for user {user}: {what}"),
        Event::Deactivated { .. } => format!("a key of user {user} was set {what}"),
        Event::Deleted { .. } => format!("a key of user {user} was {what}"),
        Event::Held { .. } => format!("held {what}"),
        Event::Resumed { .. } => format!("resumed {what}"),
        Event::ReactivationAsked { .. } => format!("reactivation requested {what}"),
        Event::IncidentDeclared { .. } => format!("incident declared for user {user}: {what}"),
        Event::Abandoned { .. } => format!("abandoned {what}"),
        Event::Probed { .. }
        | Event::Delivered { .. }
        | Event::Revealed { .. }
        | Event::Acknowledged { .. }
        | Event::Verified { .. }
        | Event::UsageRead { .. }
        | Event::Reactivated { .. }
        | Event::Refused { .. }
        | Event::Unanswered { .. } => what,
    }
}
