//! Events in words, for readers of a history.

use crate::core::rotation::event::{Event, Intent, RemovalReason, Verification};

impl Event {
    /// What the event says beyond its name. The text is the same in a history, in a log and on the page.
    #[must_use]
    pub fn in_words(&self) -> String {
        in_words(self)
    }
}

fn in_words(event: &Event) -> String {
    let with_request = |what: &str, id: &Option<String>| match id {
        Some(id) => format!("{what} (request {id})"),
        None => what.to_owned(),
    };
    match event {
        Event::Started { subject, old, reason, .. } => {
            format!("{}: {old} of {} is to be replaced: {reason}", subject.vendor, subject.iam_user)
        }
        Event::IssueAsked { subject, by, .. } => {
            format!("{}: {} is to get a key, and none is replaced, by {by}", subject.vendor, subject.iam_user)
        }
        Event::OffboardAsked { keys, by, why, .. } => {
            let keys = keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>().join(" and ");
            let keys = if keys.is_empty() { "each key of the user".to_owned() } else { keys };
            format!("{keys} is set Inactive, and deleted after the cooling time, by {by}: {why}")
        }
        Event::Intended { intent, .. } => intent_in_words(intent),
        Event::Listed { keys, .. } => {
            keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>().join(", ")
        }
        Event::Created { key, request_id, .. } => with_request(key.as_str(), request_id),
        Event::Probed { .. } => "AWS knows the new key".to_owned(),
        Event::Delivered { .. } => "the vendor accepted the new key".to_owned(),
        Event::Revealed { by, why, recipient, .. } => {
            let to = recipient.as_ref().map(|to| format!(", encrypted to {to}")).unwrap_or_default();
            let why = why.as_ref().map(|why| format!(", again: {why}")).unwrap_or_default();
            format!("the new key is shown to {by}{to}{why}")
        }
        Event::Acknowledged { by, .. } => format!("{by} confirmed that the vendor has the new key"),
        Event::Verified { by: Verification::Asked, .. } => {
            "the vendor reports that the new key is in force".to_owned()
        }
        Event::Verified { by: Verification::Acceptance, .. } => {
            "not verified: this vendor has no check".to_owned()
        }
        Event::UsageRead { usage, .. } => usage
            .iter()
            .map(|(key, usage)| format!("{key} {}", usage.in_words()))
            .collect::<Vec<_>>()
            .join(", "),
        Event::Deactivated { request_id, .. } => with_request("Inactive", request_id),
        Event::Reactivated { .. } => "the old key was set Active again".to_owned(),
        Event::Deleted { request_id, .. } => with_request("deleted", request_id),
        Event::Refused { doing, refusal, .. } => {
            format!("{}: {} ({})", doing.in_words(), refusal.in_words(), refusal.code.as_str())
        }
        Event::Unanswered { doing, doubt, .. } => format!("{}: {}", doing.in_words(), doubt.in_words()),
        Event::IncidentDeclared { mode, key, cut_only, by, why, .. } => {
            let end = if *cut_only { ", not replaced" } else { "" };
            format!("{key} is exposed ({}{end}), by {by}: {why}", mode.as_str())
        }
        Event::ReactivationAsked { by, why, exposed: true, .. } => {
            format!("although it is exposed, by {by}: {why}")
        }
        Event::Held { by, why, .. }
        | Event::ReactivationAsked { by, why, .. }
        | Event::Abandoned { by, why, .. } => {
            format!("by {by}: {why}")
        }
        Event::Resumed { by, .. } => format!("by {by}"),
    }
}

fn intent_in_words(intent: &Intent) -> String {
    let why = |because: &RemovalReason| match because {
        RemovalReason::Superseded { by, verified_at } => {
            format!("replaced by {by}, as known at {verified_at}")
        }
        RemovalReason::NeverOffered => "it was never offered to the vendor".to_owned(),
        RemovalReason::Exposed => "it is exposed".to_owned(),
        RemovalReason::Offboarded => "the vendor is offboarded".to_owned(),
    };
    match intent {
        Intent::Create => "to make a new key".to_owned(),
        Intent::Deliver { key, round } => format!("to deliver {key} (delivery {round})"),
        Intent::Deactivate { key, because } => format!("to set {key} Inactive: {}", why(because)),
        Intent::Reactivate { key } => format!("to set {key} Active again"),
        Intent::Delete { key, because } => format!("to delete {key}: {}", why(because)),
    }
}
