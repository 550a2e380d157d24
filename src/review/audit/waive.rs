//! Applies waivers to findings, and reports the waivers that have ended or match nothing.

use super::{Facts, Finding, Waived, Waiver};
use crate::review::audit::rules;

/// Marks the findings that waivers accept. Returns findings about the waivers themselves: those that have ended and
/// still match something, and those that match nothing.
pub(super) fn apply(findings: &mut [Finding], waivers: &[Waiver], facts: &Facts) -> Vec<Finding> {
    let mut more = Vec::new();
    for waiver in waivers {
        let mut used = false;
        for finding in findings.iter_mut().filter(|finding| is_meant(waiver, finding)) {
            used = true;
            if facts.at < waiver.until {
                let (reason, until) = (waiver.reason.clone(), waiver.until);
                finding.waived = Some(Waived { reason, until });
            }
        }
        let about = |rule, sentence: String| {
            Finding::new(rule, subject(waiver, facts), sentence)
                .detail(waiver.rule.clone())
                .with("reason", waiver.reason.clone())
                .with("until", waiver.until.to_string())
        };
        let Waiver { rule, subject, reason, until } = waiver;
        if used && facts.at >= *until {
            let sentence = format!("the waiver of {rule} for {subject} ended at {until}: {reason}");
            more.push(about(&rules::WAIVER_ENDED, sentence));
        } else if !used {
            let sentence = format!("the waiver of {rule} for {subject} waives nothing: {reason}");
            more.push(about(&rules::WAIVER_UNUSED, sentence));
        }
    }
    more
}

fn is_meant(waiver: &Waiver, finding: &Finding) -> bool {
    let name = finding.subject.rsplit(['/', ':']).next().unwrap_or_default();
    finding.rule.code == waiver.rule && (finding.subject == waiver.subject || name == waiver.subject)
}

/// The subject of a finding about a waiver: the waiver's own subject if that is an ARN, and else the account.
fn subject(waiver: &Waiver, facts: &Facts) -> String {
    if waiver.subject.starts_with("arn:") { waiver.subject.clone() } else { facts.account_arn() }
}
