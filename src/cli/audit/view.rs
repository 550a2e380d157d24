//! The JSON output of `audit`, on whose fields other programs rely, and its table.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Reviewed;
use crate::cli::layout::{Row, table};
use crate::core::time::Timestamp;
use crate::review::audit::{Finding, Ranked, Score, Waived};
use crate::review::policy::Severity;

/// How many keys the table shows; the JSON output has all of them.
const RANKED_IN_TABLE: usize = 10;

#[derive(Serialize)]
pub(super) struct AuditView {
    generated_at: Option<Timestamp>,
    account_id: Option<String>,
    findings: Vec<FindingView>,
    scorecard: Vec<ScoreView>,
    /// The Active keys, the most urgent first.
    ranking: Vec<RankedView>,
}

#[derive(Serialize)]
struct FindingView {
    code: &'static str,
    severity: &'static str,
    account_id: String,
    subject: String,
    vendor: Option<String>,
    title: &'static str,
    sentence: String,
    why: &'static str,
    fix: String,
    evidence: BTreeMap<&'static str, Value>,
    references: Vec<String>,
    /// Why the finding is accepted, and until when.
    waived: Option<WaivedView>,
}

#[derive(Serialize)]
struct WaivedView {
    reason: String,
    until: Timestamp,
}

/// A ranked key. Its points are the product of its age, use, power and origin.
#[derive(Serialize)]
struct RankedView {
    points: u64,
    account_id: String,
    access_key_id: String,
    iam_user: String,
    vendor: Option<String>,
    age_days: u64,
    age: u64,
    used: u64,
    power: u64,
    origin: u64,
    /// Whether CloudTrail was asked for origins. If it was not, `origin` is 1.
    origin_checked: bool,
    why: String,
}

#[derive(Serialize)]
struct ScoreView {
    vendor: String,
    score: u32,
    passed: Vec<&'static str>,
    failed: Vec<&'static str>,
}

impl AuditView {
    pub(super) fn new(reviewed: &[Reviewed]) -> AuditView {
        let first = reviewed.first().map(|one| &one.facts);
        let of_account = |one: &Reviewed| {
            let id = one.facts.account_id.to_string();
            one.review.findings.iter().map(move |finding| FindingView::new(&id, finding)).collect::<Vec<_>>()
        };
        AuditView {
            generated_at: first.map(|facts| facts.at),
            account_id: first.map(|facts| facts.account_id.to_string()),
            findings: reviewed.iter().flat_map(of_account).collect(),
            scorecard: reviewed
                .iter()
                .flat_map(|one| one.review.scorecard.iter().map(ScoreView::new))
                .collect(),
            ranking: ranking(reviewed),
        }
    }

    pub(super) fn as_table(&self, columns: Option<usize>) -> String {
        let mut parts = Vec::new();
        let (open, waived): (Vec<&FindingView>, Vec<&FindingView>) =
            self.findings.iter().partition(|finding| finding.waived.is_none());
        if !open.is_empty() {
            let rows = open.iter().map(|finding| finding.row()).collect();
            parts.push(table(&["SEVERITY", "CODE", "VENDOR", "WHAT"], rows, columns));
        }
        if !waived.is_empty() {
            let rows = waived.iter().map(|finding| finding.waived_row()).collect();
            parts.push(table(&["WAIVED", "CODE", "VENDOR", "WHAT"], rows, columns));
        }
        if !self.scorecard.is_empty() {
            let rows = self.scorecard.iter().map(ScoreView::row).collect();
            parts.push(table(&["VENDOR", "SCORE", "PRACTICES NOT MET"], rows, columns));
        }
        if self.ranking.len() > 1 {
            let rows = self.ranking.iter().take(RANKED_IN_TABLE).map(RankedView::row).collect();
            parts.push(table(&["KEYS FIRST", "USER", "VENDOR", "POINTS"], rows, columns));
        }
        let count = |severity: Severity| {
            let count = open.iter().filter(|finding| finding.severity == severity.as_str()).count();
            format!("{severity}: {count}")
        };
        let counts: Vec<String> = Severity::ALL.into_iter().rev().map(count).collect();
        parts.push(format!("{}, waived: {}", counts.join(", "), waived.len()));
        parts.join("\n\n")
    }
}

impl FindingView {
    fn new(account_id: &str, finding: &Finding) -> FindingView {
        let waived = finding
            .waived
            .as_ref()
            .map(|Waived { reason, until }| WaivedView { reason: reason.clone(), until: *until });
        FindingView {
            code: finding.rule.code,
            severity: finding.severity().as_str(),
            account_id: account_id.to_owned(),
            subject: finding.subject.clone(),
            vendor: finding.vendor.as_ref().map(ToString::to_string),
            title: finding.rule.title,
            sentence: finding.sentence.clone(),
            why: finding.rule.why,
            fix: finding.fix.clone(),
            evidence: finding.evidence.clone(),
            references: finding.rule.references.iter().map(ToString::to_string).collect(),
            waived,
        }
    }

    fn cells(&self, first: String) -> Vec<String> {
        let vendor = self.vendor.clone().unwrap_or_else(crate::cli::view::dash);
        vec![first, self.code.to_owned(), vendor]
    }

    fn row(&self) -> Row {
        let sentence = format!("{}: {}. To do: {}", self.title, self.sentence, self.fix);
        Row { cells: self.cells(self.severity.to_owned()), sentence }
    }

    fn waived_row(&self) -> Row {
        let (reason, until) = self
            .waived
            .as_ref()
            .map_or(("", Timestamp::EPOCH), |waived| (waived.reason.as_str(), waived.until));
        let sentence = format!("{}: {}. Accepted until {until}: {reason}", self.title, self.sentence);
        Row { cells: self.cells(self.severity.to_owned()), sentence }
    }
}

/// The keys of all accounts in one list, most points first.
fn ranking(reviewed: &[Reviewed]) -> Vec<RankedView> {
    let of_account = |one: &Reviewed| {
        let account = one.facts.account_id.to_string();
        one.review.ranking.iter().map(|ranked| RankedView::new(&account, ranked)).collect::<Vec<_>>()
    };
    let mut all: Vec<RankedView> = reviewed.iter().flat_map(of_account).collect();
    all.sort_by_key(|ranked| std::cmp::Reverse(ranked.points));
    all
}

impl RankedView {
    fn new(account_id: &str, ranked: &Ranked) -> RankedView {
        RankedView {
            points: ranked.points,
            account_id: account_id.to_owned(),
            access_key_id: ranked.key.to_string(),
            iam_user: ranked.user.to_string(),
            vendor: ranked.vendor.as_ref().map(ToString::to_string),
            age_days: ranked.age_days,
            age: ranked.age,
            used: ranked.used,
            power: ranked.power,
            origin: ranked.origin,
            origin_checked: ranked.origin_checked,
            why: ranked.why(),
        }
    }

    fn row(&self) -> Row {
        let vendor = self.vendor.clone().unwrap_or_else(crate::cli::view::dash);
        let sentence = format!("{} = {}", self.points, self.why);
        Row { cells: vec![self.access_key_id.clone(), self.iam_user.clone(), vendor], sentence }
    }
}

impl ScoreView {
    fn new(score: &Score) -> ScoreView {
        let Score { vendor, score, passed, failed } = score;
        ScoreView {
            vendor: vendor.to_string(),
            score: *score,
            passed: passed.clone(),
            failed: failed.clone(),
        }
    }

    fn row(&self) -> Row {
        let failed = if self.failed.is_empty() { "-".to_owned() } else { self.failed.join(", ") };
        Row { cells: vec![self.vendor.clone(), format!("{} %", self.score)], sentence: failed }
    }
}
