//! The page: the status as HTML, for an operator in a hurry, and as one file for an auditor.
//!
//! The server renders it, so it works without JavaScript. It is self-contained, so it loads nothing from elsewhere.
//!
//! **Invariant:** the template engine escapes every value except the built-in style sheet. The page's
//! `Content-Security-Policy` lets no script run and nothing load, whatever text a name contains.

mod risks;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minijinja::Environment;
use minijinja::value::{Serde, Value};
use serde::Serialize;

use crate::core::time::{Timestamp, in_words};
use crate::ports::overview::{HistoryLine, Overview, VendorStatus};
use crate::review::audit::{self, Finding, Ranked, Review, Score, Summary};
use crate::review::policy::Severity;
use risks::{ControlRow, KeyRow};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// The browser reloads the page after this many seconds.
const REFRESH_SECS: u32 = 60;
/// The stages in the order in which a rotation passes them. `retire` and `delete` are not among them: they are the last
/// effects of `soak` and `cool`.
const STAGES: [&str; 7] = ["create", "prove", "deliver", "verify", "soak", "cool", "done"];
/// The distance between two beads in the drawing of a rotation. `BEAD_EDGE` is the distance from its edge to the first
/// bead.
const BEAD_STEP: usize = 22;
const BEAD_EDGE: usize = 7;
/// The order of the rows, by state: states that need a person come first.
const ORDER: [&str; 9] =
    ["stuck", "overdue", "due", "held", "rotating", "warning", "ok", "unmanaged", "role"];

/// The text in place of the scorecard while there is no review.
const UNREVIEWED: &str = "The accounts were not reviewed since keyround was started. `keyround audit` or `keyround report --audit` \
                          does it now; an alert that names `audit` in its `on` has it done once a day, and shown here.";

/// What a report shows in addition to the page.
#[derive(Clone, Debug)]
pub struct Period {
    /// The start of the period.
    pub from: Timestamp,
    /// The end of the period.
    pub to: Timestamp,
    /// How many events the whole history has. The hash of each was recomputed.
    pub events: u64,
    /// The hash of the last event.
    pub head: String,
    /// The events of the period, oldest first.
    pub history: Vec<HistoryLine>,
    /// The review of each account; empty if none was asked for.
    pub reviews: Vec<Review>,
}

/// The `Content-Security-Policy` of the page: it allows the page's own style sheet, and nothing else.
#[must_use]
pub fn policy() -> String {
    let hash = BASE64.encode(digest(&SHA256, STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// The page for this overview.
#[must_use]
pub fn page(overview: &Overview) -> String {
    let mut view = View::new(overview);
    view.refresh = Some(REFRESH_SECS);
    let pass = |label: &str, at: Option<Timestamp>| at.map(|at| Time::new(label, at));
    let times = [pass("last pass", overview.last_pass_at), pass("next pass", overview.next_pass_at)];
    view.times = times.into_iter().flatten().collect();
    view.times.push(Time::new("as of", overview.status.generated_at));
    match &overview.review {
        Some(review) => {
            view.scorecard = Some(review.scorecard.iter().map(VendorMarks::new).collect());
            view.counts = Some(Counts::new(review));
        }
        None => view.unreviewed = pieces(UNREVIEWED),
    }
    view.rendered()
}

/// The page as a report for a period, with evidence from the history and with the reviews.
#[must_use]
pub fn report(overview: &Overview, period: &Period) -> String {
    let mut view = View::new(overview);
    "keyround report".clone_into(&mut view.heading);
    view.title = format!("keyround report, {} to {}", day(period.from), day(period.to));
    view.policy = Some(policy());
    view.times = vec![Time::new("made at", overview.status.generated_at)];
    view.history_title = "What was done in the period";
    view.history = period.history.iter().map(Line::new).collect();
    let mut writers: Vec<&str> = period.history.iter().map(|line| line.writer.as_str()).collect();
    writers.sort_unstable();
    writers.dedup();
    let writers = if writers.is_empty() { "nobody".to_owned() } else { writers.join(", ") };
    view.evidence = Some(Evidence {
        from: period.from,
        to: period.to,
        events: period.events,
        head: period.head.clone(),
        writers,
    });
    if !period.reviews.is_empty() {
        let reviews = &period.reviews;
        view.scorecard =
            Some(reviews.iter().flat_map(|review| &review.scorecard).map(VendorMarks::new).collect());
        let findings: Vec<&Finding> = reviews.iter().flat_map(|review| &review.findings).collect();
        view.findings = Some(findings.iter().copied().map(Found::new).collect());
        view.controls = Some(audit::controls(&findings).iter().map(ControlRow::new).collect());
        let mut ranked: Vec<&Ranked> = reviews.iter().flat_map(|review| &review.ranking).collect();
        ranked.sort_by_key(|key| std::cmp::Reverse(key.points));
        view.ranking = Some(ranked.into_iter().map(KeyRow::new).collect());
    }
    view.head = None;
    view.rendered()
}

#[derive(Serialize)]
struct View {
    title: String,
    heading: String,
    summary: String,
    style: &'static str,
    policy: Option<String>,
    refresh: Option<u32>,
    times: Vec<Time>,
    unready: Vec<String>,
    needs: Vec<Row>,
    rows: Vec<Row>,
    empty: &'static str,
    history_title: &'static str,
    history: Vec<Line>,
    evidence: Option<Evidence>,
    unreviewed: Vec<Piece>,
    scorecard: Option<Vec<VendorMarks>>,
    counts: Option<Counts>,
    findings: Option<Vec<Found>>,
    controls: Option<Vec<ControlRow>>,
    ranking: Option<Vec<KeyRow>>,
    head: Option<Head>,
    version: &'static str,
}

/// A vendor's row in the scorecard of the review.
#[derive(Serialize)]
struct VendorMarks {
    vendor: String,
    score: u32,
    failed: String,
}

impl VendorMarks {
    fn new(score: &Score) -> VendorMarks {
        VendorMarks { vendor: score.vendor.to_string(), score: score.score, failed: score.failed.join(", ") }
    }
}

/// How many findings a review has, by severity, and when it was made.
#[derive(Serialize)]
struct Counts {
    made: Time,
    found: String,
}

impl Counts {
    fn new(review: &Summary) -> Counts {
        let count = |severity: Severity| {
            let count = review.open.get(&severity).copied().unwrap_or_default();
            format!("{severity}: {count}")
        };
        let counts: Vec<String> = Severity::ALL.into_iter().rev().map(count).collect();
        let found = format!("{}, waived: {}", counts.join(", "), review.waived);
        Counts { made: Time::new("Reviewed", review.at), found }
    }
}

/// A finding of the review, as the report shows it.
#[derive(Serialize)]
struct Found {
    severity: &'static str,
    code: &'static str,
    vendor: String,
    title: &'static str,
    sentence: String,
    fix: String,
    waived: Option<String>,
}

impl Found {
    fn new(finding: &Finding) -> Found {
        let waived = finding.waived.as_ref();
        Found {
            severity: finding.severity().as_str(),
            code: finding.rule.code,
            vendor: finding.vendor.as_ref().map(ToString::to_string).unwrap_or_default(),
            title: finding.rule.title,
            sentence: finding.sentence.clone(),
            fix: finding.fix.clone(),
            waived: waived.map(|waived| format!("accepted until {}: {}", waived.until, waived.reason)),
        }
    }
}

#[derive(Serialize)]
struct Time {
    label: String,
    at: Timestamp,
    shown: String,
}

#[derive(Serialize)]
struct Evidence {
    from: Timestamp,
    to: Timestamp,
    events: u64,
    head: String,
    writers: String,
}

#[derive(Serialize)]
struct Head {
    position: u64,
    hash: String,
}

#[derive(Clone, Serialize)]
struct Row {
    vendor: String,
    iam_user: Option<String>,
    user_line: String,
    owner: Option<String>,
    state: &'static str,
    shape: &'static str,
    sentence: Vec<Piece>,
    bar: Option<Bar>,
    life: Option<RotationTimeline>,
}

/// The age of a key compared with its limit, in thousandths of the bar's length.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Bar {
    fill: u64,
    limit: u64,
    text: String,
    label: String,
}

/// A rotation, drawn as beads on a thread: one bead for each of [`STAGES`].
#[derive(Clone, Serialize)]
struct RotationTimeline {
    beads: Vec<Bead>,
    reached: Option<usize>,
    text: Vec<Piece>,
    label: String,
}

#[derive(Clone, Serialize)]
struct Bead {
    name: &'static str,
    tense: &'static str,
    x: usize,
}

#[derive(Serialize)]
struct Line {
    at: Timestamp,
    shown: String,
    vendor: String,
    event: &'static str,
    sentence: Vec<Piece>,
    writer: String,
    position: u64,
    hash: String,
}

/// A part of a sentence that is shown in one way.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct Piece {
    /// `code`: a command to type. `whole`: text that is not broken over two lines. Empty: plain text.
    kind: &'static str,
    text: String,
}

impl View {
    fn new(overview: &Overview) -> View {
        let now = overview.status.generated_at;
        let mut rows: Vec<Row> = overview.status.vendors.iter().map(|vendor| Row::new(vendor, now)).collect();
        rows.sort_by(|a, b| {
            (rank(a.state), &a.vendor, &a.iam_user).cmp(&(rank(b.state), &b.vendor, &b.iam_user))
        });
        let needs: Vec<Row> =
            rows.iter().filter(|row| ["stuck", "overdue"].contains(&row.state)).cloned().collect();
        // These rows are shown in full in the section above, so their sentence is not repeated here.
        for row in rows.iter_mut().filter(|row| ["stuck", "overdue"].contains(&row.state)) {
            row.sentence.clear();
        }
        let title = match needs.len() {
            0 => "keyround".to_owned(),
            count => format!("({count}) keyround"),
        };
        let head = overview.history.first();
        View {
            title,
            heading: "keyround".to_owned(),
            summary: summary(&rows),
            style: STYLE,
            policy: None,
            refresh: None,
            times: Vec::new(),
            unready: overview.unready.clone(),
            needs,
            empty: "No vendor was looked at yet: the first pass fills this table.",
            rows,
            history_title: "Lately",
            history: overview.history.iter().map(Line::new).collect(),
            evidence: None,
            unreviewed: Vec::new(),
            scorecard: None,
            controls: None,
            ranking: None,
            counts: None,
            findings: None,
            head: head.map(|head| Head { position: head.position, hash: head.hash.clone() }),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    fn rendered(&self) -> String {
        let mut environment = Environment::new();
        environment
            .add_template("page.html", TEMPLATE)
            .expect("the template is a template: a test renders it");
        let template = environment.get_template("page.html").expect("it was just added");
        template.render(Value::from(Serde(self))).expect("all that the template speaks of is in the view")
    }
}

fn rank(state: &str) -> usize {
    ORDER.iter().position(|other| *other == state).unwrap_or(ORDER.len())
}

fn summary(rows: &[Row]) -> String {
    let count = |state: &str| rows.iter().filter(|row| row.state == state).count();
    let counted = ORDER.iter().map(|state| (count(state), *state)).filter(|(count, _)| *count > 0);
    let parts: Vec<String> = counted.map(|(count, state)| format!("{count} {state}")).collect();
    let mut vendors: Vec<&str> = rows.iter().map(|row| row.vendor.as_str()).collect();
    vendors.dedup();
    vendors.sort_unstable();
    vendors.dedup();
    match (vendors.len(), parts.is_empty()) {
        (0, _) | (_, true) => "no vendors yet".to_owned(),
        (1, false) => format!("1 vendor: {}", parts.join(", ")),
        (vendors, false) => format!("{vendors} vendors: {}", parts.join(", ")),
    }
}

impl Row {
    fn new(vendor: &VendorStatus, now: Timestamp) -> Row {
        let user = vendor.iam_user.clone();
        let account = vendor.account_id.as_ref().map(|id| format!(" in {id}")).unwrap_or_default();
        let user_line = user.as_ref().map(|user| format!("{user}{account}")).unwrap_or_default();
        Row {
            vendor: vendor.vendor.clone(),
            iam_user: user,
            user_line,
            owner: vendor.owner.clone(),
            state: vendor.state,
            shape: shape(vendor.state),
            sentence: pieces(&vendor.sentence),
            bar: bar(vendor, now),
            life: life(vendor, now),
        }
    }
}

/// The shape of a state's symbol. It repeats what the colour says, for readers who cannot tell the colours apart.
fn shape(state: &str) -> &'static str {
    match state {
        "stuck" => "square",
        "overdue" | "due" => "triangle",
        "held" => "bars",
        "rotating" | "unmanaged" | "role" => "ring",
        _ => "disc",
    }
}

/// The bar of a key's age. The limit is at four fifths of the bar, or further left when the key is older than the whole
/// bar.
fn bar(vendor: &VendorStatus, now: Timestamp) -> Option<Bar> {
    let (key, max_age) = (vendor.judged()?, vendor.max_age?);
    let (age, max) = (now.since(key.created_at).as_secs(), max_age.as_secs().max(1));
    let whole = (max + max / 4).max(age).max(1);
    let part = |secs: u64| secs.saturating_mul(1000) / whole;
    let text = format!("{} of {}", days(age), days(max));
    let label = format!("the key is {} old, its limit is {}", days(age), days(max));
    Some(Bar { fill: part(age).max(8), limit: part(max).min(996), text, label })
}

fn days(secs: u64) -> String {
    match secs / 86_400 {
        0 => in_words(std::time::Duration::from_secs(secs)),
        days => format!("{days} d"),
    }
}

fn life(vendor: &VendorStatus, now: Timestamp) -> Option<RotationTimeline> {
    let rotation = vendor.rotation.as_ref()?;
    let stage = rotation.resumes_in.unwrap_or(rotation.stage);
    // A survey ends as soon as it begins, so it has no bead of its own and shows as the first one.
    let here = STAGES.iter().position(|name| *name == stage).unwrap_or(0);
    let tense = |at: usize| match at.cmp(&here) {
        std::cmp::Ordering::Less => "past",
        std::cmp::Ordering::Equal => "now",
        std::cmp::Ordering::Greater => "next",
    };
    let beads = STAGES.iter().enumerate();
    let beads =
        beads.map(|(at, name)| Bead { name, tense: tense(at), x: BEAD_EDGE + at * BEAD_STEP }).collect();
    let since = in_words(now.since(rotation.since));
    let stuck = if rotation.resumes_in.is_some() { "stuck in " } else { "" };
    let mut text = vec![Piece { kind: "", text: format!("{stuck}{stage} for {since}") }];
    if let Some(at) = rotation.next_at.filter(|at| *at > now) {
        text.push(Piece { kind: "", text: ", next step ".to_owned() });
        text.push(Piece { kind: "whole", text: shown(at) });
    }
    let in_words: String = text.iter().map(|piece| piece.text.as_str()).collect();
    let label = format!("stage {} of {}: {in_words}", here + 1, STAGES.len());
    Some(RotationTimeline { beads, reached: (here > 0).then_some(BEAD_EDGE + here * BEAD_STEP), text, label })
}

/// Splits a sentence for display: text between backticks becomes code, and a time stays in one piece, because a time
/// that is broken at a hyphen is hard to read.
fn pieces(sentence: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (place, part) in sentence.split('`').enumerate() {
        if place % 2 == 1 {
            pieces.push(Piece { kind: "code", text: part.to_owned() });
            continue;
        }
        for word in part.split_inclusive(' ') {
            let is_time = word.get(..20).is_some_and(|time| time.parse::<Timestamp>().is_ok());
            if let Some(last) = pieces.last_mut().filter(|last| !is_time && last.kind.is_empty()) {
                last.text.push_str(word);
            } else {
                let kind = if is_time { "whole" } else { "" };
                pieces.push(Piece { kind, text: word.to_owned() });
            }
        }
    }
    pieces
}

impl Line {
    fn new(happening: &HistoryLine) -> Line {
        Line {
            at: happening.at,
            shown: shown(happening.at),
            vendor: happening.vendor.clone(),
            event: happening.event,
            sentence: pieces(&happening.sentence),
            writer: happening.writer.clone(),
            position: happening.position,
            hash: happening.hash.clone(),
        }
    }
}

impl Time {
    fn new(label: &str, at: Timestamp) -> Time {
        Time { label: label.to_owned(), at, shown: shown(at) }
    }
}

/// Formats a time as in `2026-11-23 03:17 UTC`.
fn shown(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.get(..5).unwrap_or_default())
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests;
