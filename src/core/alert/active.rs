//! The active alerts: what is wrong now, according to the verdicts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::core::alert::clock::ClockReading;
use crate::core::alert::condition::{Condition, Topic};
use crate::core::alert::exposure::ExposureReading;
use crate::core::alert::findings::Findings;
use crate::core::alert::keys::{Working, active_at, of_hold, of_keys, of_use_after_incident, working};
use crate::core::ids::{AccountName, IamUserName, RotationId, VendorName};
use crate::core::rotation::{KeyMetadata, KeyState, KeyStatus, KeyUsage, Rotation, Stage};
use crate::core::schedule::{State, Verdict, old_key_counts};
use crate::core::time::Timestamp;

/// A step that has failed this often in a row is an alert. The first two waits, 5 s and 30 s, are for failures that
/// pass by themselves.
const FAILURES_MIN: u32 = 3;
/// The reason codes of a verdict which say only that AWS gave no answer.
const SILENCES: [&str; 2] = ["not_sent", "unanswered"];
/// The reason codes of a verdict on a reconcile that an error of the journal ended.
const JOURNAL: [&str; 2] = ["journal", "journal_unavailable"];

/// What identifies an alert for as long as it lasts: its topic or condition, its account, its vendor and its user.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertKey(pub(super) String);

impl AlertKey {
    /// The key as text. Sinks tell alerts apart by it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A problem of a user, a vendor, an account or keyround itself that is active now.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What kind of problem it is.
    pub condition: Condition,
    /// The vendor; `None`: the alert is about keyround itself or the account.
    pub vendor: Option<VendorName>,
    /// The vendor's IAM user; `None`: the alert is not about a single user.
    pub iam_user: Option<IamUserName>,
    /// The account, by its name in the configuration; `None`: that of the ambient credentials, or none.
    pub account: Option<AccountName>,
    /// Whom to ask about the vendor, from the configuration.
    pub owner: Option<String>,
    /// The reason code, as in `status`.
    pub reason: String,
    /// What failed, what is safe, what to do: the sentence of `status`.
    pub sentence: String,
    /// The user's rotation, if there is one.
    pub rotation: Option<RotationId>,
    /// When the problem began, as far as that is known.
    pub since: Timestamp,
}

impl Alert {
    /// An alert about keyround itself.
    #[must_use]
    pub fn of_house(condition: Condition, reason: &str, sentence: String, since: Timestamp) -> Alert {
        Alert {
            condition,
            vendor: None,
            iam_user: None,
            account: None,
            owner: None,
            reason: reason.to_owned(),
            sentence,
            rotation: None,
            since,
        }
    }

    /// The alert's key by topic. It stays the same while the alert gets worse or better.
    #[must_use]
    pub fn key(&self) -> AlertKey {
        AlertKey(self.path(self.condition.topic().as_str()))
    }

    /// The alert's key by condition, for sinks that treat a worse condition as another alert.
    #[must_use]
    pub fn incident(&self) -> AlertKey {
        AlertKey(self.path(self.condition.as_str()))
    }

    fn path(&self, first: &str) -> String {
        let account = self.account.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        let vendor = self.vendor.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        let user = self.iam_user.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        format!("{first}{account}{vendor}{user}")
    }
}

/// The result of one reconcile of a user, or of a vendor that has no user to reconcile.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The vendor that was reconciled.
    pub vendor: &'a VendorName,
    /// The vendor's IAM user; `None`: a role, a vendor that is switched off, or a path that could not be listed.
    pub iam_user: Option<&'a IamUserName>,
    /// The user's account, by its name in the configuration; `None`: that of the ambient credentials.
    pub account: Option<&'a AccountName>,
    /// Whom to ask about the vendor, from the configuration.
    pub owner: Option<&'a str>,
    /// The verdict on the user.
    pub verdict: &'a Verdict,
    /// The verdict's sentence, with the operator command that helps.
    pub sentence: String,
    /// The rotation that is, or just was, under way.
    pub rotation: Option<&'a Rotation>,
    /// Whether the reconcile failed.
    pub failed: bool,
    /// The user's keys, as far as this reconcile listed them.
    pub keys: &'a [KeyMetadata],
    /// When this reconcile listed the keys; `None`: it did not.
    pub keys_listed_at: Option<Timestamp>,
    /// This reconcile asked for the keys and got no answer, so what the journal knows of them is too old.
    pub keys_unanswered: bool,
    /// What this reconcile read of the use of the rotation's exposed key; `None`: no key of it is exposed, or AWS did not
    /// answer.
    pub exposed_use: Option<&'a KeyUsage>,
    /// Since when the verdict has been the same, as far as this process has seen.
    pub since: Timestamp,
}

impl Seen<'_> {
    fn is_silent(&self) -> bool {
        self.rotation.is_none() && SILENCES.contains(&self.verdict.reason)
    }

    /// Whether the age of the user's key could be judged.
    fn is_judged(&self) -> bool {
        self.verdict.due_at.is_some() || self.verdict.state != State::Stuck
    }

    pub(super) fn alert(&self, condition: Condition, since: Timestamp) -> Alert {
        Alert {
            condition,
            vendor: Some(self.vendor.clone()),
            iam_user: self.iam_user.cloned(),
            account: self.account.cloned(),
            owner: self.owner.map(str::to_owned),
            reason: self.verdict.reason.to_owned(),
            sentence: self.sentence.clone(),
            rotation: self.rotation.map(Rotation::id),
            since,
        }
    }
}

/// The active alerts, and what is known well enough to resolve an alert that is not among them.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says of another thing whether it is known")]
pub struct ActiveAlerts {
    pub(super) firing: BTreeMap<AlertKey, Alert>,
    known: BTreeMap<(VendorName, Option<IamUserName>), String>,
    /// The users of `known` for which it is not known whether they have an Active key now, and the newest time at which
    /// the journal knows one of their keys Active.
    keys_unknown: BTreeMap<(VendorName, Option<IamUserName>), Option<Timestamp>>,
    /// The users of `known` whose exposed key's last use AWS did not tell.
    exposed_use_unknown: BTreeSet<(VendorName, Option<IamUserName>)>,
    /// The users of `known` whose key's age could not be judged.
    unjudged: BTreeSet<(VendorName, Option<IamUserName>)>,
    unknown: BTreeSet<VendorName>,
    whole: bool,
    reviewed: bool,
    aws_answers: bool,
    journal_works: bool,
    /// The accounts whose clock was compared with this machine's and agrees with it.
    agreeing_clocks: BTreeSet<Option<AccountName>>,
    /// The users of which AWS said that they have no quarantine.
    unexposed: BTreeSet<(VendorName, IamUserName)>,
    /// The configuration does not ask for quarantines any more.
    exposure_is_off: bool,
}

/// The active alerts, according to the newest result for each user.
///
/// `whole`: a full pass has finished, so a user that is not in `seen` does not exist. Before that, a user for which AWS
/// gave no answer is not judged, because AWS may not have been asked yet for the other users of the pass.
#[must_use]
pub fn active(seen: &[Seen<'_>], whole: bool, now: Timestamp) -> ActiveAlerts {
    // Before a full pass has finished, a user may be left whose reconcile an error of the journal ends.
    let mut active = ActiveAlerts { whole, journal_works: whole, ..ActiveAlerts::default() };
    let silent = seen.iter().filter(|seen| seen.is_silent());
    let asked = seen.iter().filter(|seen| seen.rotation.is_none() && has_key(seen.verdict.state));
    let nobody_answers =
        whole && silent.clone().count() > 0 && silent.clone().count() == asked.clone().count();
    active.aws_answers = asked.clone().count() > silent.clone().count();
    if let Some(first) = silent.clone().next().filter(|_| nobody_answers) {
        let count = silent.count();
        let sentence = format!("AWS did not answer for any of {count} vendors' users: {}", first.sentence);
        let since = seen.iter().filter(|seen| seen.is_silent()).map(|seen| seen.since).min();
        let since = since.unwrap_or(now);
        active.raise(Alert::of_house(Condition::Aws, first.verdict.reason, sentence, since));
    }
    for seen in seen {
        let is_journal = JOURNAL.contains(&seen.verdict.reason);
        let is_unknown = is_journal || (seen.is_silent() && (nobody_answers || !whole));
        if is_journal {
            let (reason, sentence) = (seen.verdict.reason, seen.sentence.clone());
            active.raise(Alert::of_house(Condition::Journal, reason, sentence, seen.since));
            // A listing needs no journal. Without one, nothing is known of the keys, and this raises nothing.
            if let Some(alert) = of_keys(seen) {
                active.raise(alert);
            }
        }
        if is_unknown || (seen.iam_user.is_none() && seen.failed) {
            active.unknown.insert(seen.vendor.clone());
        }
        if !is_unknown {
            let place = (seen.vendor.clone(), seen.iam_user.cloned());
            let may_have_keys = has_key(seen.verdict.state) || seen.rotation.is_some();
            if working(seen) == Working::NotChecked && may_have_keys {
                active.keys_unknown.insert(place.clone(), active_at(seen));
            }
            let is_exposed = seen.rotation.is_some_and(|rotation| rotation.incident().is_some());
            if is_exposed && seen.exposed_use.is_none() {
                active.exposed_use_unknown.insert(place.clone());
            }
            if !seen.is_judged() {
                active.unjudged.insert(place.clone());
            }
            active.known.insert(place, seen.sentence.clone());
            for alert in alerts(seen, now) {
                active.raise(alert);
            }
        }
    }
    active
}

pub(super) fn has_key(state: State) -> bool {
    !matches!(state, State::Role | State::Unmanaged)
}

fn alerts(seen: &Seen<'_>, now: Timestamp) -> impl Iterator<Item = Alert> {
    let alerts = [
        of_age(seen, now),
        of_rotation(seen),
        of_reactivation(seen),
        of_keys(seen),
        of_hold(seen, now),
        of_halves(seen),
        of_use_after_incident(seen),
    ];
    alerts.into_iter().flatten()
}

/// The alert about the age of the user's key. A rotation that is stuck or held does not suppress it: the old key's age
/// counts until the key is set Inactive.
fn of_age(seen: &Seen<'_>, now: Timestamp) -> Option<Alert> {
    let verdict = seen.verdict;
    let by_date = || {
        let counts = seen.rotation.is_none_or(|rotation| old_key_counts(rotation.stage()));
        let is_past = |date: Option<Timestamp>| date.filter(|date| now >= *date && counts);
        let overdue = is_past(verdict.overdue_at).map(|since| (Condition::Overdue, since));
        overdue.or_else(|| is_past(verdict.due_at).map(|since| (Condition::Due, since)))
    };
    let (condition, since) = match verdict.state {
        State::Warning => (Condition::Warning, seen.since),
        State::Due => (Condition::Due, verdict.due_at.unwrap_or(now)),
        State::Overdue => (Condition::Overdue, verdict.overdue_at.unwrap_or(now)),
        State::Stuck | State::Held => by_date()?,
        State::Ok | State::Rotating | State::Unmanaged | State::Role => return None,
    };
    Some(seen.alert(condition, since))
}

fn of_rotation(seen: &Seen<'_>) -> Option<Alert> {
    let since = seen.rotation.map_or(seen.since, Rotation::since);
    let is_orphan = seen.verdict.state == State::Unmanaged && seen.failed;
    if seen.verdict.state == State::Stuck || is_orphan {
        return Some(seen.alert(Condition::Stuck, since));
    }
    // A step fails until it succeeds, also while its next attempt is under way. In any other state no attempt is made,
    // so nothing fails.
    let is_tried = matches!(seen.verdict.state, State::Rotating | State::Overdue);
    let is_failing = is_tried && seen.rotation?.failures() >= FAILURES_MIN;
    let since = seen.rotation.and_then(Rotation::failing_since).unwrap_or(since);
    is_failing.then(|| seen.alert(Condition::Failed, since))
}

/// The alert from the moment the vendor goes back to the old key until that key is Inactive again or the rotation has
/// finished. A rotation that is stuck has an alert of its own.
fn of_reactivation(seen: &Seen<'_>) -> Option<Alert> {
    let rotation = seen.rotation?;
    let went_back = match rotation.stage() {
        Stage::Restore { .. } => true,
        Stage::Soak { .. } | Stage::Deliver { .. } | Stage::HandOver { .. } | Stage::Verify { .. } => {
            rotation.reactivations() > 0
        }
        Stage::Survey
        | Stage::Create { .. }
        | Stage::Suspect { .. }
        | Stage::Discard { .. }
        | Stage::Prove { .. }
        | Stage::Offboard { .. }
        | Stage::Clear { .. }
        | Stage::Cool { .. }
        | Stage::Done { .. }
        | Stage::Stuck { .. }
        | Stage::Abandoned => false,
    };
    if !went_back {
        return None;
    }
    let (vendor, old) = (seen.vendor, rotation.old()?);
    let known = rotation.known_keys().get(old);
    let what = match known {
        Some(known) if known.state == KeyState::Is(KeyStatus::Active) => {
            format!("which was Active at {}", known.at)
        }
        _ => "which is being set Active and may still be Inactive".to_owned(),
    };
    let sentence = format!(
        "the vendor {vendor} went back to the old key {old} or stopped answering; keyround gives back that key, {what}; \
             ask the vendor; {}",
        seen.sentence
    );
    Some(Alert { sentence, ..seen.alert(Condition::Reactivated, rotation.since()) })
}

/// The alert from the first write of a pair that was not completed until both values are written.
fn of_halves(seen: &Seen<'_>) -> Option<Alert> {
    let rotation = seen.rotation?;
    let words = rotation.half_written()?;
    let since = rotation.failing_since().unwrap_or(rotation.since());
    let sentence = format!(
        "{words}; keyround goes on writing the new pair, and sets no key Inactive before it is whole; if the vendor keeps \
         refusing it, write one whole pair there by hand; {}",
        seen.sentence
    );
    Some(Alert { sentence, ..seen.alert(Condition::HalfWritten, since) })
}

impl ActiveAlerts {
    /// Only this alert. Nothing is known about anything else, so nothing else is resolved.
    #[must_use]
    pub fn only(alert: Alert) -> ActiveAlerts {
        let mut active = ActiveAlerts::default();
        active.raise(alert);
        active
    }

    /// Only the alerts about what keyround itself needs: the journal, the seal key, AWS and the clock. Nothing is known
    /// about anything else, so nothing else is resolved.
    #[must_use]
    pub fn of_house(&self) -> ActiveAlerts {
        let mut active = ActiveAlerts::default();
        let topics = [Topic::Journal, Topic::SealKey, Topic::Aws, Topic::Clock];
        let of_house = self.firing().filter(|alert| topics.contains(&alert.condition.topic()));
        of_house.for_each(|alert| active.raise(alert.clone()));
        active
    }

    /// The same alerts, without the knowledge that the journal works: no alert about the journal or the seal key is
    /// resolved.
    #[must_use]
    pub fn without_journal(&self) -> ActiveAlerts {
        ActiveAlerts { journal_works: false, ..self.clone() }
    }

    /// The active alerts.
    pub fn firing(&self) -> impl Iterator<Item = &Alert> {
        self.firing.values()
    }

    /// Adds an alert. It replaces an active one with the same key.
    pub fn raise(&mut self, alert: Alert) {
        self.firing.insert(alert.key(), alert);
    }

    /// The same alerts, with the findings of a review.
    #[must_use]
    pub fn with_review(mut self, findings: &Findings) -> ActiveAlerts {
        findings.alerts.iter().for_each(|alert| self.raise(alert.clone()));
        ActiveAlerts { reviewed: findings.is_whole, ..self }
    }

    /// The same alerts, with the results of the clock comparisons.
    #[must_use]
    pub fn with_clocks<'a>(mut self, readings: impl IntoIterator<Item = &'a ClockReading>) -> ActiveAlerts {
        for reading in readings {
            match reading.alert() {
                Some(alert) => self.raise(alert),
                None => drop(self.agreeing_clocks.insert(reading.account.clone())),
            }
        }
        self
    }

    /// The same, with what AWS said of quarantines; `is_on`: the configuration asks for it.
    #[must_use]
    pub fn with_exposures(mut self, readings: &[ExposureReading], is_on: bool) -> ActiveAlerts {
        for reading in readings {
            reading.exposed.iter().for_each(|exposure| self.raise(exposure.alert()));
            let clear =
                reading.clear.iter().map(|subject| (subject.vendor.clone(), subject.iam_user.clone()));
            self.unexposed.extend(clear);
        }
        ActiveAlerts { exposure_is_off: !is_on, ..self }
    }

    /// The end of a quarantine: AWS says so, or nobody asks about this user any more.
    fn end_of_exposure(&self, told: &Alert) -> Option<String> {
        if self.exposure_is_off {
            return Some("the configuration has no [exposure] any more, so this is not asked".to_owned());
        }
        let (vendor, user) = (told.vendor.clone()?, told.iam_user.clone()?);
        let is_gone = self.whole && !self.unknown.contains(&vendor);
        let place = (vendor.clone(), Some(user.clone()));
        if self.unexposed.contains(&(vendor, user)) {
            return Some("the quarantine policy is not attached to the user any more".to_owned());
        }
        (is_gone && !self.known.contains_key(&place))
            .then(|| "the configuration does not name it any more".to_owned())
    }

    /// Whether the user may still be without an Active key, because its keys were not listed since the alert, and no
    /// key of it was set Active. The configuration may name the user under another vendor by now.
    fn may_lack_a_key(&self, told: &Alert, place: &(VendorName, Option<IamUserName>)) -> bool {
        let is_same = |other: &(VendorName, Option<IamUserName>)| match self.known.contains_key(place) {
            true => other == place,
            false => other.1 == place.1,
        };
        let mut unknown = self.keys_unknown.iter().filter(|(other, _)| is_same(other));
        unknown.any(|(_, active_at)| active_at.is_none_or(|at| at <= told.since))
    }

    fn end_of_users(&self, told: &Alert, vendor: &VendorName) -> Option<String> {
        let place = (vendor.clone(), told.iam_user.clone());
        let is_open = match told.condition.topic() {
            Topic::NoWorkingKey => self.may_lack_a_key(told, &place),
            Topic::Age => self.unjudged.contains(&place),
            Topic::UsedAfterIncident => self.exposed_use_unknown.contains(&place),
            _ => false,
        };
        match self.known.get(&place) {
            _ if is_open => None,
            Some(sentence) => Some(sentence.clone()),
            None if self.whole && !self.unknown.contains(vendor) => {
                Some("the configuration does not name it any more".to_owned())
            }
            None => None,
        }
    }

    /// The sentence with which an alert is resolved, also if it only got less severe; `None`: it is active, or it is
    /// not known whether it is.
    pub(super) fn end_of(&self, told: &Alert) -> Option<String> {
        if let Some(firing) = self.firing.get(&told.key()) {
            // An alert that got worse is not resolved, even if the sink's route does not include the worse condition.
            return (firing.condition < told.condition).then(|| firing.sentence.clone());
        }
        let over = |known: bool, sentence: &str| known.then(|| sentence.to_owned());
        match told.condition.topic() {
            Topic::Age
            | Topic::Rotation
            | Topic::Reactivated
            | Topic::News
            | Topic::NoWorkingKey
            | Topic::HalfWritten
            | Topic::Held
            | Topic::UsedAfterIncident => match &told.vendor {
                Some(vendor) => self.end_of_users(told, vendor),
                None => over(true, "there is nothing left of it"),
            },
            Topic::Aws => over(self.aws_answers, "AWS answers again"),
            Topic::Journal => over(self.journal_works, "the journal is read and written again"),
            Topic::SealKey => over(self.journal_works, "the seal key is read again"),
            Topic::RootKey | Topic::Audit => over(self.reviewed, "the review does not find it any more"),
            Topic::Exposed => self.end_of_exposure(told),
            Topic::Clock => {
                let agrees = self.agreeing_clocks.contains(&told.account);
                over(agrees, "this machine's clock agrees with that of AWS again")
            }
        }
    }
}
