//! The controls that auditors ask about, and the rules that belong to each.
//!
//! The rules cite the CIS benchmark themselves. PCI DSS and SOC 2 name no rule for access keys: the mapping here is
//! our reading of which findings an auditor would raise under them. PCI DSS 4.0.1 names no number of days in 8.6.3:
//! the frequency is that of the entity's own targeted risk analysis, which here is the vendor's `max_age`.

use super::{Finding, rules};
use crate::review::policy::{Reference, lint};

/// A control, and the number of findings that belong to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Control {
    /// The name and version of the framework.
    pub framework: &'static str,
    /// The control's number in the framework.
    pub number: &'static str,
    /// The codes of the rules that belong to it, in order.
    pub codes: Vec<&'static str>,
    /// The number of findings of these rules without a waiver.
    pub open: usize,
    /// The number of findings of these rules with a waiver.
    pub waived: usize,
}

const CIS: &str = "CIS AWS Foundations Benchmark 7.0.0";
const MAPPED: [(&str, &str, &[&str]); 4] = [
    ("PCI DSS 4.0.1", "8.6.3", &["KR401", "KR705"]),
    (
        "SOC 2",
        "CC6.1",
        &[
            "KR101", "KR102", "KR103", "KR104", "KR105", "KR201", "KR202", "KR301", "KR302", "KR303",
            "KR304", "KR305", "KR306", "KR307", "KR309", "KR310", "KR401", "KR705",
        ],
    ),
    ("SOC 2", "CC6.2", &["KR402", "KR403", "KR404", "KR405", "KR406", "KR407"]),
    (
        "SOC 2",
        "CC6.3",
        &[
            "KR501", "KR502", "KR503", "KR504", "KR505", "KR506", "KR507", "KR508", "KR509", "KR510",
            "KR520", "KR521", "KR522",
        ],
    ),
];

/// All controls, with the numbers of these findings that belong to each.
#[must_use]
pub fn controls(findings: &[&Finding]) -> Vec<Control> {
    let mut controls: Vec<Control> = Vec::new();
    for rule in rules::TABLE.into_iter().chain(lint::RULES) {
        for reference in rule.references {
            let Reference::Cis { v7: Some(number), .. } = reference else { continue };
            match controls.iter_mut().find(|control| control.number == *number) {
                Some(control) => control.codes.push(rule.code),
                None => controls.push(Control::new(CIS, number, vec![rule.code])),
            }
        }
    }
    // The parts are compared as numbers, so that 2.12 comes after 2.4.
    let key =
        |number: &str| number.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    controls.sort_by_key(|control| key(control.number));
    controls.extend(MAPPED.map(|(framework, number, codes)| Control::new(framework, number, codes.to_vec())));
    for control in &mut controls {
        let bears = |finding: &&Finding| control.codes.contains(&finding.rule.code);
        let (waived, open): (Vec<_>, Vec<_>) =
            findings.iter().copied().filter(bears).partition(|finding| finding.waived.is_some());
        (control.open, control.waived) = (open.len(), waived.len());
    }
    controls
}

impl Control {
    fn new(framework: &'static str, number: &'static str, codes: Vec<&'static str>) -> Control {
        Control { framework, number, codes, open: 0, waived: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mapped_code_is_a_rule_and_findings_count_for_their_controls() {
        for (_, _, codes) in MAPPED {
            for code in codes {
                assert!(rules::by_code(code).is_some(), "{code}");
            }
        }
        let old = Finding::new(&rules::TOO_OLD, "arn:aws:iam::111122223333:user/x", "it is old");
        let counted = controls(&[&old]);
        let open = |number: &str| counted.iter().find(|one| one.number == number).map(|one| one.open);
        assert_eq!(open("8.6.3"), Some(1));
        assert_eq!(open("2.12"), Some(1), "CIS 7.0.0 2.12 is cited by the rule");
        assert_eq!(open("CC6.1"), Some(1));
        assert_eq!(open("CC6.3"), Some(0));
    }
}
