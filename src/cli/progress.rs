//! Who watches the driver: the log, a progress display on a terminal, and a notebook of the steps.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::history::in_words;
use crate::driver::{Rest, Visited, Watcher};
use crate::ids::{IamUserName, Subject, VendorName};
use crate::rotation::{Event, Rotation};

/// Logs what happens, remembers it, and shows it on a terminal.
pub(crate) struct Reporter {
    bars: Option<MultiProgress>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    bars: BTreeMap<Subject, ProgressBar>,
    steps: BTreeMap<(VendorName, IamUserName), Vec<String>>,
}

impl Reporter {
    pub(crate) fn new(progress: bool) -> Reporter {
        Reporter { bars: progress.then(MultiProgress::new), notes: Mutex::default() }
    }

    /// The steps that were taken for one user, in words.
    pub(crate) fn steps(&self, vendor: &VendorName, iam_user: &IamUserName) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.steps.get(&(vendor.clone(), iam_user.clone())).cloned().unwrap_or_default()
    }

    fn show(&self, notes: &mut Notes, subject: &Subject, message: String) {
        let Some(bars) = &self.bars else { return };
        let bar = notes.bars.entry(subject.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix:<16} {wide_msg}");
            let bar = bars.add(ProgressBar::new_spinner()).with_prefix(subject.vendor.to_string());
            style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
        });
        bar.set_message(message);
        bar.tick();
    }
}

impl Watcher for Reporter {
    fn appended(&self, rotation: &Rotation, event: &Event) {
        let subject = rotation.subject();
        log(rotation, event);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(event, Event::Intended { .. }) {
            let key = (subject.vendor.clone(), subject.iam_user.clone());
            notes.steps.entry(key).or_default().push(format!("{}: {}", event.name(), in_words(event)));
        }
        self.show(&mut notes, subject, format!("{}: {}", rotation.stage().name(), in_words(event)));
    }

    fn visited(&self, subject: &Subject, visited: &Visited) {
        let sentence = &visited.verdict.sentence;
        let (vendor, reason) = (&subject.vendor, visited.verdict.reason);
        match (&visited.error, &visited.rest) {
            (Some(error), _) => tracing::error!(vendor.name = %vendor, "{error}"),
            (None, Some(Rest::Stuck(_))) => {
                tracing::error!(vendor.name = %vendor, reason, "{vendor} is stuck: {sentence}");
            }
            (None, _) if visited.failed => {
                tracing::warn!(vendor.name = %vendor, reason, "{vendor}: {sentence}");
            }
            (None, _) => tracing::debug!(vendor.name = %vendor, reason, "{vendor}: {sentence}"),
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        self.show(&mut notes, subject, format!("{}: {sentence}", visited.verdict.state));
        if let (Some(bar), Some(Rest::Ended(_) | Rest::Stuck(_))) = (notes.bars.get(subject), &visited.rest) {
            bar.abandon();
        }
    }
}

/// INFO: the stage changed. WARN: an operator may want to look. Everything else is for the curious.
fn log(rotation: &Rotation, event: &Event) {
    let vendor = &rotation.subject().vendor;
    let (id, stage, what) = (rotation.id(), rotation.stage().name(), in_words(event));
    let name = event.name();
    match event {
        Event::Refused { .. } | Event::Unanswered { .. } => {
            tracing::warn!(vendor.name = %vendor, rotation.id = %id, rotation.stage = stage, "{vendor}: {what}");
        }
        Event::Started { .. }
        | Event::Created { .. }
        | Event::Delivered { .. }
        | Event::Verified { .. }
        | Event::Deactivated { .. }
        | Event::Reactivated { .. }
        | Event::Deleted { .. }
        | Event::Held { .. }
        | Event::Resumed { .. }
        | Event::ReactivationAsked { .. }
        | Event::Abandoned { .. } => {
            tracing::info!(vendor.name = %vendor, rotation.id = %id, rotation.stage = stage, "{vendor}: {name}: {what}");
        }
        Event::Intended { .. } | Event::Listed { .. } | Event::Probed { .. } | Event::UsageRead { .. } => {
            tracing::debug!(vendor.name = %vendor, rotation.id = %id, rotation.stage = stage, "{vendor}: {name}: {what}");
        }
    }
}
