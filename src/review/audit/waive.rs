//! What is accepted: each waiver has a reason and an end, and neither is forgotten.

use super::{Facts, Finding, Waived, Waiver};
use crate::review::audit::rules;

/// Marks what is accepted. Gives findings on the waivers themselves: those that have ended, and those
/// that are of no use.
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

/// What the waiver is about, as an ARN if it says one.
fn subject(waiver: &Waiver, facts: &Facts) -> String {
    if waiver.subject.starts_with("arn:") { waiver.subject.clone() } else { facts.account_arn() }
}
