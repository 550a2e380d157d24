//! Judges sentences: whatever the program says about the status of a key is compared with the simulated IAM, at the
//! time that the sentence names, or else at the moment at which it is given. Proves rule 5 of docs/style.md, that
//! every sentence is true.
//!
//! None of the program's own predicates is used: claims are parsed from the text, as a reader would read them.

use std::time::Duration;

use keyround::core::alert::{Item, Notification};
use keyround::core::ids::{AccessKeyId, IamUserName, RotationId};
use keyround::core::rotation::KeyStatus;
use keyround::core::time::Timestamp;
use keyround::engine::UserReport;

use super::Mistake;
use super::world::State;

/// How old a reading of AWS can be when the sentence is written, besides the lag of its replicas.
const READING: Duration = Duration::from_mins(2);
/// The words of a claim, and what they claim. The longer ones come first.
const WORDS: [(&str, Said); 17] = [
    ("which is Active again", Said::Status(KeyStatus::Active)),
    ("keys stay Active", Said::Status(KeyStatus::Active)),
    ("keys are Active", Said::Status(KeyStatus::Active)),
    ("works with either", Said::Status(KeyStatus::Active)),
    ("has a working key", Said::Status(KeyStatus::Active)),
    ("is Active", Said::Status(KeyStatus::Active)),
    ("stays Active", Said::Status(KeyStatus::Active)),
    ("was Active at", Said::Status(KeyStatus::Active)),
    ("(Active", Said::Status(KeyStatus::Active)),
    ("is Inactive", Said::Status(KeyStatus::Inactive)),
    ("stays Inactive", Said::Status(KeyStatus::Inactive)),
    ("was Inactive at", Said::Status(KeyStatus::Inactive)),
    ("(Inactive", Said::Status(KeyStatus::Inactive)),
    ("did not exist at", Said::Gone),
    ("is deleted", Said::Gone),
    ("was deleted", Said::Gone),
    ("does not exist", Said::Gone),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    Status(KeyStatus),
    Gone,
}

/// The keys that a claim is about.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Of {
    Key(AccessKeyId),
    Old,
    New,
    Both,
}

/// One claim about the status of keys, as a sentence makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Claim {
    of: Of,
    said: Said,
    /// The time that the claim names, if it names one.
    at: Option<Timestamp>,
    words: String,
}

/// Parses the claims of a sentence.
fn claims(sentence: &str) -> Vec<Claim> {
    let mut claims: Vec<Claim> = Vec::new();
    let mut read: Vec<std::ops::Range<usize>> = Vec::new();
    for (words, said) in WORDS {
        for (from, _) in sentence.match_indices(words) {
            if read.iter().any(|range| range.contains(&from)) {
                continue;
            }
            read.push(from..from + words.len());
            let (before, after) = (&sentence[..from], &sentence[from + words.len()..]);
            // Clauses with these words claim nothing about now.
            let clause = before.rsplit([';', ':']).next().unwrap_or(before);
            if ["until ", "whenever ", "each time "].iter().any(|word| clause.contains(word)) {
                continue;
            }
            // "No key was deleted" names no key.
            if clause.trim_end().ends_with("no key") {
                continue;
            }
            let Some(of) = subject(before, words) else { continue };
            let words = format!("…{}{words}{}", tail(before), head(after));
            claims.push(Claim { of, said, at: time_in(after), words });
        }
    }
    claims
}

/// The subject of a claim: the nearest key that the words before it name.
fn subject(before: &str, words: &str) -> Option<Of> {
    if words == "works with either" || words.starts_with("keys ") {
        return Some(Of::Both);
    }
    let named = |of: &str| before.rfind(of).map(|at| at + of.len());
    let by_id = before.rmatch_indices("AKIA").next().and_then(|(at, _)| {
        let id: String = before[at..].chars().take_while(char::is_ascii_alphanumeric).collect();
        Some((at + id.len(), Of::Key(id.parse().ok()?)))
    });
    let old = named("the old key").map(|at| (at, Of::Old));
    let new = named("the new key").map(|at| (at, Of::New));
    [by_id, old, new].into_iter().flatten().max_by_key(|(at, _)| *at).map(|(_, of)| of)
}

/// Parses the time right after the words, as in "at 2026-01-05T00:00:00Z".
fn time_in(after: &str) -> Option<Timestamp> {
    let text = after.trim_start();
    let text = text.strip_prefix("at ").unwrap_or(text);
    let end = text.find('Z')? + 1;
    text[..end].parse().ok()
}

fn tail(text: &str) -> &str {
    let from = text.char_indices().rev().nth(50).map_or(0, |(at, _)| at);
    &text[from..]
}

fn head(text: &str) -> &str {
    let end = text.char_indices().nth(30).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

impl State {
    /// Judges the sentence that `status` gives after a reconcile.
    pub(super) fn judge_visit(&mut self, user: &IamUserName, user_report: &UserReport) {
        let mut sentence = user_report.sentence();
        // An earlier version of the program wrote this, whatever others had done to the keys.
        if self.mistake == Mistake::BothAreSaidActive && user_report.verdict.reason == "soaking" {
            sentence.push_str("; both keys stay Active while it soaks");
        }
        let rotation = user_report.rotation.as_ref().map(keyround::core::rotation::Rotation::id);
        self.judge_sentence(user, rotation, &sentence, "status");
    }

    /// Judges the sentences of a notification.
    pub(super) fn judge_telling(&mut self, notification: &Notification) {
        for item in &notification.items {
            let (alert, sentence) = match item {
                Item::Firing { alert, .. } => (alert, &alert.sentence),
                Item::Over { alert, sentence } | Item::Recovered { alert, sentence } => (alert, sentence),
                Item::News(_) | Item::Test => continue,
            };
            let mut sentence = sentence.clone();
            let goes_back = alert.condition == keyround::core::alert::Condition::Reactivated;
            if self.mistake == Mistake::ActiveIsSaidTooEarly && goes_back {
                sentence.push_str("; the old key, which is Active again, so it works with either");
            }
            if let Some(user) = alert.iam_user.clone() {
                self.judge_sentence(&user, alert.rotation, &sentence, alert.condition.as_str());
            }
        }
    }

    fn judge_sentence(
        &mut self,
        user: &IamUserName,
        rotation: Option<RotationId>,
        sentence: &str,
        place: &str,
    ) {
        let rotation = rotation.and_then(|id| self.rotations.get(&id));
        let old = rotation.and_then(|rotation| rotation.old().cloned());
        let new = rotation.and_then(|rotation| rotation.stage().new_key().cloned());
        for claim in claims(sentence) {
            let keys: Vec<AccessKeyId> = match &claim.of {
                Of::Key(id) => vec![id.clone()],
                Of::Old => old.iter().cloned().collect(),
                Of::New => new.iter().cloned().collect(),
                Of::Both => old.iter().chain(&new).cloned().collect(),
            };
            self.seen.claims += 1;
            for key in keys {
                if !self.was_so(user, &key, claim.said, claim.at) {
                    let words = &claim.words;
                    self.break_with(format!("{place} of {user} says what is not so of {key}: {words}"));
                }
            }
        }
    }

    /// Whether a key had this status at that time by the program's clock, or, without a time, at some moment that
    /// AWS may show now.
    fn was_so(&self, user: &IamUserName, id: &AccessKeyId, said: Said, at: Option<Timestamp>) -> bool {
        let user = &self.users[user];
        let Some(key) = user.keys.iter().find(|key| key.id == *id) else { return true };
        let lag = user.lag_max + READING;
        let now = self.now();
        let moments = match at {
            Some(at) => self.true_times(at),
            None => vec![now],
        };
        let expected = match said {
            Said::Status(status) => Some(status),
            Said::Gone => None,
        };
        moments.iter().any(|moment| {
            let upto = (*moment + READING).min(now);
            key.had(expected, moment.minus(lag), upto)
        })
    }
}

#[test]
fn the_key_status_claims_of_a_sentence_are_recognised() {
    let id = "AKIASIMULATED0000001";
    let key = || Of::Key(id.parse().expect("a key id"));
    let (active, inactive) = (Said::Status(KeyStatus::Active), Said::Status(KeyStatus::Inactive));
    let at = "2026-01-05T00:00:00Z";
    for (sentence, expected) in [
        ("the vendor has the new key; both keys stay Active while it soaks", vec![(Of::Both, active, false)]),
        (
            "went back to the old key AKIASIMULATED0000001, which is Active again, so it works with either",
            vec![(key(), active, false), (Of::Both, active, false)],
        ),
        ("the old key is Inactive and can be set Active again", vec![(Of::Old, inactive, false)]),
        ("the user has only AKIASIMULATED0000001 (Inactive): nobody", vec![(key(), inactive, false)]),
        (&format!("{id} was Active at {at}, and more"), vec![(key(), active, true)]),
        (&format!("{id} did not exist at {at}"), vec![(key(), Said::Gone, true)]),
        ("the vendor accepted the new key; neither key is touched while it soaks", vec![]),
        ("the key is overdue and was not set Inactive yet", vec![]),
        ("which is being set Active and may still be Inactive", vec![]),
    ] {
        let claims = claims(sentence);
        let read: Vec<_> =
            claims.into_iter().map(|claim| (claim.of, claim.said, claim.at.is_some())).collect();
        assert_eq!(read, expected, "{sentence}");
    }
}
