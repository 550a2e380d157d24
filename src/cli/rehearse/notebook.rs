//! Records what happens in a rehearsal, and simulates the vendor: it starts to use each key that was delivered to it.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::adapters::rehearsal::{Exchange, RehearsalWorld, StandInVendors};
use crate::cli::history::in_words;
use crate::core::ids::Subject;
use crate::core::rotation::{Event, Rotation, Waiting};
use crate::core::time::Timestamp;
use crate::engine::{Rest, UserReport, Watcher};

/// One entry of the record.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// The verdict on the user changed.
    Verdict { at: Timestamp, state: &'static str, sentence: String },
    /// An event was appended.
    Event { at: Timestamp, name: &'static str, words: String },
    /// A request to the vendor, and the reply to it.
    Exchange(Exchange),
}

impl Note {
    pub(super) fn at(&self) -> Timestamp {
        match self {
            Note::Verdict { at, .. } | Note::Event { at, .. } => *at,
            Note::Exchange(exchange) => exchange.at,
        }
    }
}

#[derive(Default)]
struct Pages {
    notes: Vec<Note>,
    reason: Option<&'static str>,
    ended: bool,
    waits_for_person: bool,
    /// Cancelled to end the current scene, which is one run of the engine.
    curtain: CancellationToken,
}

pub(super) struct Notebook {
    stage: RehearsalWorld,
    stand_ins: StandInVendors,
    pages: Mutex<Pages>,
}

impl Notebook {
    pub(super) fn new(stage: RehearsalWorld, stand_ins: StandInVendors) -> Notebook {
        Notebook { stage, stand_ins, pages: Mutex::default() }
    }

    /// Begins a scene: a run of the engine that ends when `curtain` is cancelled.
    pub(super) fn begin_rehearsal(&self, curtain: CancellationToken) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        (pages.curtain, pages.waits_for_person) = (curtain, false);
    }

    /// Whether the scene ended because a person has to act.
    pub(super) fn waits_for_person(&self) -> bool {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).waits_for_person
    }

    /// The entries in order, and whether the rotation ended.
    pub(super) fn read(&self) -> (Vec<Note>, bool) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        (pages.notes.clone(), pages.ended)
    }
}

impl Watcher for Notebook {
    fn appended(&self, rotation: &Rotation, event: &Event) {
        let is_given = matches!(event, Event::Delivered { .. } | Event::Acknowledged { .. });
        if let (true, Some(key)) = (is_given, rotation.stage().new_key()) {
            self.stage.vendor_takes_up(rotation.subject(), key);
        }
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.notes.extend(self.stand_ins.take_exchanges().into_iter().map(Note::Exchange));
        if matches!(event, Event::Intended { .. } | Event::Listed { .. }) {
            return;
        }
        pages.notes.push(Note::Event { at: event.at(), name: event.name(), words: in_words(event) });
    }

    fn reconciled(&self, _subject: &Subject, user_report: &UserReport) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = &user_report.verdict;
        if pages.reason != Some(verdict.reason) {
            pages.reason = Some(verdict.reason);
            let (at, state) = (self.stage.now(), verdict.state.as_str());
            pages.notes.push(Note::Verdict { at, state, sentence: verdict.sentence.clone() });
        }
        match &user_report.rest {
            Some(Rest::Ended(_)) => pages.ended = true,
            Some(Rest::Stuck(_)) => {}
            Some(Rest::Wait { why: Waiting::Reveal { .. }, .. }) => pages.waits_for_person = true,
            Some(Rest::Wait { .. } | Rest::Stopped) | None => return,
        }
        pages.curtain.cancel();
    }
}
