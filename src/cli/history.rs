//! `history` shows what was done, when and by whom; `history verify` checks that nobody has changed it since.

use std::path::Path;

use serde::Serialize;

use crate::adapters::journal::Mode;
use crate::cli::args::{self, Format, HistoryCommand};
use crate::cli::exit::{Code, Ended};
use crate::cli::layout::{self, table};
use crate::cli::{Screen, setup};
use crate::core::rotation::Event;
use crate::core::time::Timestamp;
use crate::ports::{Journal, Recorded};

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
    /// Whether the seal over the head was verified too, which takes the seal key.
    seal_checked: bool,
}

pub(crate) async fn history(config: Option<&Path>, asked: args::History, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let journal = setup::journal_alone(&settings, Mode::Read).await?;
    if let Some(HistoryCommand::Verify) = asked.command {
        return verify(journal.as_ref(), screen).await;
    }
    let rows = journal.history(asked.vendor.as_ref(), asked.since.unwrap_or(Timestamp::EPOCH)).await?;
    if rows.is_empty() {
        // A vendor that left the configuration keeps its history. A vendor without history must be in the
        // configuration, or it is a mistake.
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

pub(crate) async fn verify(journal: &dyn Journal, screen: &Screen) -> Ended {
    let (events, head) = journal.verify_history().await?;
    let seal_checked = journal.checks_seal();
    match screen.format {
        Format::Json => screen.show_json(&Verified { ok: true, events, head, seal_checked }),
        Format::Table => {
            let seal = match seal_checked {
                true => "the seal matches the seal key",
                false => "the seal is not checked, because the seal key cannot be read",
            };
            screen.show(&format!(
                "{events} events; each hash follows from the one before it; head {head}; {seal}"
            ));
        }
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

/// What an event says in addition to its name.
pub(crate) fn in_words(event: &Event) -> String {
    event.in_words()
}
