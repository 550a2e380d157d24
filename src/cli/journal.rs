//! `journal verify` verifies the history; `journal rekey` changes the key that the journal is sealed with.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::adapters::aws::AwsSession;
use crate::adapters::journal::{self, Mode, OldKey, Rekeyed};
use crate::adapters::secrets::Secrets;
use crate::cli::args::{Format, JournalCommand};
use crate::cli::exit::{Code, Ended};
use crate::cli::{Screen, history, setup};
use crate::config::{SecretRef, Settings};

#[derive(Serialize)]
struct Shown<'a> {
    ok: bool,
    events: u64,
    resealed: usize,
    discarded: Vec<Discarded<'a>>,
    key_file: Option<String>,
}

#[derive(Serialize)]
struct Discarded<'a> {
    rotation: &'a str,
    vendor: &'a str,
}

pub(crate) async fn journal(config: Option<&Path>, command: JournalCommand, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    match command {
        JournalCommand::Verify => {
            let journal = setup::journal_alone(&settings, Mode::Read).await?;
            history::verify(journal.as_ref(), screen).await
        }
        JournalCommand::Rekey { from, lost } => rekey(&settings, from, lost, screen).await,
    }
}

async fn rekey(settings: &Settings, from: Option<SecretRef>, lost: bool, screen: &Screen) -> Ended {
    let secrets = Secrets::new(&Arc::new(AwsSession::new(&settings.aws)));
    let new = match &settings.journal.seal_key {
        Some(reference) => Some(setup::seal_key(reference, &secrets).await?),
        None => None,
    };
    let old = match from {
        _ if lost => OldKey::Lost,
        Some(reference) => OldKey::Given(setup::seal_key(&reference, &secrets).await?),
        None => OldKey::Beside,
    };
    let done = journal::rekey(&settings.journal.path, old, new).await?;
    match screen.format {
        Format::Json => screen.show_json(&Shown::new(&done)),
        Format::Table => screen.show(&in_words(&done, settings)),
    }
    Ok(Code::Fine)
}

impl Shown<'_> {
    fn new(done: &Rekeyed) -> Shown<'_> {
        let discarded = done.discarded.iter().map(|(rotation, vendor)| Discarded { rotation, vendor });
        let key_file = done.key_file.as_ref().map(|path| path.display().to_string());
        Shown {
            ok: true,
            events: done.events,
            resealed: done.resealed,
            discarded: discarded.collect(),
            key_file,
        }
    }
}

fn in_words(done: &Rekeyed, settings: &Settings) -> String {
    let key = match (&done.key_file, &settings.journal.seal_key) {
        (Some(path), _) => format!("the new key in {}", path.display()),
        (None, Some(reference)) => format!("the key {reference}"),
        (None, None) => "the new key".to_owned(),
    };
    let mut lines = vec![format!(
        "The journal is sealed with {key}; all {} events are kept, and {} secrets were sealed anew.",
        done.events, done.resealed
    )];
    for (rotation, vendor) in &done.discarded {
        lines.push(format!(
            "{vendor}: the secret of the new key of rotation {rotation} is discarded, and neither key is touched. If the \
             vendor accepted the new key, the rotation goes on; else run `keyround abandon {vendor}`."
        ));
    }
    lines.push(
        "Keep a copy of the seal key apart from the journal; a backup from before needs the key before."
            .to_owned(),
    );
    lines.join("\n")
}
