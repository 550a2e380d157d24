//! The rules for CloudTrail: it records every call in every region, and the records can be verified.

use super::{DELIVERY_FAILS, NO_MANAGEMENT_EVENTS, NO_TRAIL, NO_VALIDATION, NOT_LOGGING};
use crate::review::audit::facts::{Facts, Trail};
use crate::review::audit::{Declared, Finding};

pub(super) fn judge(facts: &Facts, _: &Declared) -> Vec<Finding> {
    let Some(trails) = &facts.trails else { return Vec::new() };
    let mut found: Vec<Finding> = trails.iter().flat_map(judge_trail).collect();
    let names: Vec<String> = trails.iter().map(|trail| trail.arn.clone()).collect();
    let everywhere: Vec<&Trail> = trails.iter().filter(|trail| trail.multi_region).collect();
    if everywhere.is_empty() {
        let sentence = match trails.len() {
            0 => "the account has no trail".to_owned(),
            count => format!("none of the account's trails ({count}) records every region"),
        };
        found.push(Finding::new(&NO_TRAIL, facts.account_arn(), sentence).with("trails", names));
    } else if everywhere.iter().all(|trail| trail.management_events == Some(false)) {
        let sentence = "the trails of every region leave management events out, or reads or writes of them";
        found.push(Finding::new(&NO_MANAGEMENT_EVENTS, facts.account_arn(), sentence).with("trails", names));
    }
    found
}

fn judge_trail(trail: &Trail) -> Vec<Finding> {
    let arn = &trail.arn;
    let mut found = Vec::new();
    if trail.logging == Some(false) {
        let fix = format!("aws cloudtrail start-logging --name {arn}");
        found.push(Finding::new(&NOT_LOGGING, arn, format!("the trail {arn} is switched off")).fix(fix));
    }
    if !trail.log_validation {
        let fix = format!("aws cloudtrail update-trail --name {arn} --enable-log-file-validation");
        let sentence = format!("the trail {arn} writes no digest files");
        found.push(Finding::new(&NO_VALIDATION, arn, sentence).fix(fix));
    }
    if let Some(error) = &trail.delivery_error {
        let sentence = format!("the trail {arn} could not write to its bucket: {error}");
        found.push(Finding::new(&DELIVERY_FAILS, arn, sentence).with("latest_delivery_error", error.clone()));
    }
    found
}
