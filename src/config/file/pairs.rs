//! Judges recipes that write the id and the secret of a pair in two requests.

use super::reader::Section;
use super::report::Mistake;
use super::template::SECRET_VARIABLES;
use crate::config::settings::{DeliverStep, HttpStep, Writes};

/// The half of a pair that a request carries.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Carries {
    Id,
    Secret,
    Other,
}

/// Checks that each step that writes the id is followed by one that writes the secret. If only the latter is marked
/// with `writes`, the step that writes the id is found and marked.
pub(super) fn judge(vendor: &Section<'_>, name: &str, steps: &mut [DeliverStep]) {
    let mut ids: Vec<usize> = Vec::new();
    for index in 0..steps.len() {
        match writes(&steps[index]) {
            Some(Writes::Id) => ids.push(index),
            Some(Writes::Secret) if ids.pop().is_some() => {}
            Some(Writes::Secret) => mark_id_before(&mut steps[..index]),
            None => {}
        }
    }
    if !ids.is_empty() {
        let message = "no step writes the secret after the step that writes the id";
        let hint =
            "a vendor with a new id and an old secret cannot work: write the id first, then the secret";
        vendor.report.add(Mistake::new(vendor.span, message).hint(hint));
    }
    let carries = |wanted: Carries| steps.iter().any(|step| unmarked(step) == Some(wanted));
    let one_carries_both = steps.iter().any(|step| matches!(step, DeliverStep::Http(step) if is_whole(step)));
    if carries(Carries::Id) && carries(Carries::Secret) && !one_carries_both {
        vendor.report.warn(format!(
            "vendor {name} gets the id and the secret in two requests, and neither says so: say writes = \"id\" in the first and \
             writes = \"secret\" in the second, so that a refused secret takes the id back"
        ));
    }
}

fn writes(step: &DeliverStep) -> Option<Writes> {
    match step {
        DeliverStep::Http(step) => step.writes,
        DeliverStep::Webhook(_)
        | DeliverStep::SecretStore(_)
        | DeliverStep::Command(_)
        | DeliverStep::Manual(_) => None,
    }
}

/// Marks the nearest changing step before the one that writes the secret, if it carries the id alone.
fn mark_id_before(steps: &mut [DeliverStep]) {
    let nearest = steps.iter_mut().rev().find_map(|step| match step {
        DeliverStep::Http(step) if step.changes => Some(step),
        _ => None,
    });
    if let Some(step) = nearest.filter(|step| step.writes.is_none() && carries(step) == Carries::Id) {
        step.writes = Some(Writes::Id);
    }
}

/// What a request carries that changes something and is not marked with `writes`.
fn unmarked(step: &DeliverStep) -> Option<Carries> {
    match step {
        DeliverStep::Http(step) if step.changes && step.writes.is_none() => Some(carries(step)),
        _ => None,
    }
}

fn carries(step: &HttpStep) -> Carries {
    match (speaks_of(step, "access_key_id"), carries_secret(step)) {
        (true, false) => Carries::Id,
        (false, true) => Carries::Secret,
        (true, true) | (false, false) => Carries::Other,
    }
}

fn is_whole(step: &HttpStep) -> bool {
    let is_file = || speaks_of(step, "credentials_file") || speaks_of(step, "credentials_json");
    (speaks_of(step, "access_key_id") && carries_secret(step)) || is_file()
}

fn carries_secret(step: &HttpStep) -> bool {
    SECRET_VARIABLES.into_iter().any(|name| speaks_of(step, name))
}

/// Whether the sent request depends on this variable.
fn speaks_of(step: &HttpStep, name: &str) -> bool {
    let sent = format!("{} {:?} {:?}", step.url, step.headers, step.body);
    let is_name = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    sent.match_indices(name).any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|before| sent.as_bytes().get(before)).copied();
        let after = sent.as_bytes().get(at + name.len()).copied();
        !is_name(before) && !is_name(after)
    })
}
