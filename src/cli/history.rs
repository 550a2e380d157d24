//! `history` and `history verify`: what was done, when, by whom; and that nobody changed it since.

use std::path::Path;

use serde::Serialize;

use crate::cli::args::{self, Format, HistoryCommand};
use crate::cli::exit::{Code, Ended};
use crate::cli::layout::{self, table};
use crate::cli::{Screen, setup};
use crate::journal::Mode;
use crate::ports::{Journal, Recorded};
use crate::rotation::{Because, Event, Intent, Verification};
use crate::time::Timestamp;

#[derive(Serialize)]
struct Row<'a> {
    position: u64,
    at: Timestamp,
    rotation: String,
    number: u64,
    writer: &'a str,
    event: &'a Event,
    hash: &'a str,
}

#[derive(Serialize)]
struct Verified {
    ok: bool,
    events: u64,
    head: String,
}

pub(crate) async fn history(config: Option<&Path>, asked: args::History, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let journal = setup::journal_alone(&settings, Mode::Read).await?;
    if let Some(HistoryCommand::Verify) = asked.command {
        return verify(journal.as_ref(), screen).await;
    }
    let rows = journal.history(asked.vendor.as_ref(), asked.since.unwrap_or(Timestamp::EPOCH)).await?;
    if rows.is_empty() {
        // A vendor that left the configuration keeps its history; one that was never there has none.
        setup::known(&settings, asked.vendor.as_slice())?;
    }
    match screen.format {
        Format::Json => screen.show_json(&rows.iter().map(Row::new).collect::<Vec<_>>()),
        Format::Table => {
            let header = ["AT", "ROTATION", "EVENT", "WRITER", "WHAT"];
            screen.show(&table(&header, rows.iter().map(line).collect(), screen.columns));
        }
    }
    Ok(Code::Fine)
}

async fn verify(journal: &dyn Journal, screen: &Screen) -> Ended {
    let (events, head) = journal.verify_history().await?;
    match screen.format {
        Format::Json => screen.show_json(&Verified { ok: true, events, head }),
        Format::Table => screen.show(&format!("{events} events, each fits the one before it; head {head}")),
    }
    Ok(Code::Fine)
}

impl<'a> Row<'a> {
    fn new(recorded: &'a Recorded) -> Row<'a> {
        Row {
            position: recorded.position,
            at: recorded.event.at(),
            rotation: recorded.rotation.to_string(),
            number: recorded.number,
            writer: &recorded.writer,
            event: &recorded.event,
            hash: &recorded.hash,
        }
    }
}

fn line(recorded: &Recorded) -> layout::Row {
    let cells = vec![
        recorded.event.at().to_string(),
        recorded.rotation.to_string(),
        recorded.event.name().to_owned(),
        recorded.writer.clone(),
    ];
    layout::Row { cells, sentence: in_words(&recorded.event) }
}

/// What an event says, beyond its name.
pub(crate) fn in_words(event: &Event) -> String {
    let with_request = |what: &str, id: &Option<String>| match id {
        Some(id) => format!("{what} (request {id})"),
        None => what.to_owned(),
    };
    match event {
        Event::Started { subject, old, reason, .. } => {
            format!("{}: {old} of {} is to be replaced: {reason}", subject.vendor, subject.iam_user)
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
        Event::Acknowledged { by, .. } => format!("the vendor has the new key, says {by}"),
        Event::Verified { by: Verification::Asked, .. } => {
            "the vendor says that the new key is in force".to_owned()
        }
        Event::Verified { by: Verification::Acceptance, .. } => "the vendor cannot be asked".to_owned(),
        Event::UsageRead { usage, .. } => usage
            .iter()
            .map(|(key, usage)| format!("{key} {}", usage_in_words(usage)))
            .collect::<Vec<_>>()
            .join(", "),
        Event::Deactivated { request_id, .. } => with_request("Inactive", request_id),
        Event::Reactivated { .. } => "the old key is Active again".to_owned(),
        Event::Deleted { request_id, .. } => with_request("deleted", request_id),
        Event::Refused { doing, refusal, .. } => {
            format!("{}: {} ({})", doing.in_words(), refusal.sentence, refusal.code.as_str())
        }
        Event::Unanswered { doing, doubt, .. } => format!("{}: {}", doing.in_words(), doubt.sentence),
        Event::Held { by, why, .. }
        | Event::ReactivationAsked { by, why, .. }
        | Event::Abandoned { by, why, .. } => {
            format!("by {by}: {why}")
        }
        Event::Resumed { by, .. } => format!("by {by}"),
    }
}

fn usage_in_words(usage: &crate::rotation::KeyUsage) -> String {
    use crate::rotation::KeyUsage;
    match usage {
        KeyUsage::Never => "never used".to_owned(),
        KeyUsage::Used { last_used_at, service } => format!("used at {last_used_at} for {service}"),
        KeyUsage::Gone => "gone".to_owned(),
    }
}

fn intent_in_words(intent: &Intent) -> String {
    let why = |because: &Because| match because {
        Because::Superseded { by, verified_at } => format!("superseded by {by}, verified at {verified_at}"),
        Because::NeverOffered => "nobody was ever offered it".to_owned(),
    };
    match intent {
        Intent::Create => "to make a new key".to_owned(),
        Intent::Deliver { key, round } => format!("to deliver {key} (delivery {round})"),
        Intent::Deactivate { key, because } => format!("to set {key} Inactive: {}", why(because)),
        Intent::Reactivate { key } => format!("to set {key} Active again"),
        Intent::Delete { key, because } => format!("to delete {key}: {}", why(because)),
    }
}
