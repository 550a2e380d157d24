//! `journal verify` verifies the history; `journal rekey` changes the key that the journal is sealed with; `journal copy`
//! copies the journal into an empty place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::adapters::aws::AwsSession;
use crate::adapters::journal::{self, Copied, Mode, OldKey, Place, Rekeyed};
use crate::adapters::secrets::Secrets;
use crate::cli::args::{Format, JournalCommand};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, history, setup};
use crate::config::{BadJournalUrl, JournalUrl, SecretRef, Settings};
use crate::ports::SecretSource;

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
        JournalCommand::Copy { to } => copy(&settings, &to, screen).await,
    }
}

/// The result of `journal copy`, as JSON.
#[derive(Serialize)]
struct ShownCopy<'a> {
    ok: bool,
    events: u64,
    secrets: usize,
    head: &'a str,
}

async fn copy(settings: &Settings, to: &str, screen: &Screen) -> Ended {
    let secrets = Secrets::new(&Arc::new(AwsSession::new(&settings.aws)));
    let target = target(to)?;
    let from = match &settings.journal.database {
        Some(database) => Place::Database(setup::database_url(database, &secrets).await?),
        None => Place::File(settings.journal.path.clone()),
    };
    let seal_key = match &settings.journal.seal_key {
        Some(reference) => Some(setup::seal_key(reference, &secrets).await?),
        None => None,
    };
    let copied = journal::copy(&from, &place(&target, &secrets).await?, seal_key).await?;
    let Copied { events, head, secrets } = &copied;
    if screen.format == Format::Json {
        screen.show_json(&ShownCopy { ok: true, events: *events, secrets: *secrets, head });
        return Ok(Code::Fine);
    }
    let mut lines = vec![format!(
        "The journal is copied: {events} events and {secrets} sealed secrets. The copy was verified; its head is {head}."
    )];
    let key = match &settings.journal.seal_key {
        Some(_) => "keep [journal] seal_key".to_owned(),
        None => format!(
            "set [journal] seal_key to the key of this journal, file:{}",
            settings.journal.path.with_file_name("seal.key").display()
        ),
    };
    lines.push(format!(
        "To use the copy, set [journal] url to it and {key}. Do not run keyround with the old journal after that: the two \
         would rotate the same keys without each other's events."
    ));
    screen.show(&lines.join("\n"));
    Ok(Code::Fine)
}

/// Reads the value of `--to`. It is not repeated in the failure, because it may have a password.
fn target(to: &str) -> Result<JournalUrl, Failure> {
    let wrong = |bad: BadJournalUrl, hint: &str| {
        Err(Failure::new(Code::Usage, format!("--to: {bad}; nothing was copied")).hinted(hint))
    };
    match to.parse() {
        Ok(url) => Ok(url),
        Err(BadJournalUrl::Unknown) if !to.is_empty() => {
            let path = to.strip_prefix("sqlite:").unwrap_or(to);
            match path.contains("://") || path.is_empty() || path.ends_with('/') {
                true => wrong(BadJournalUrl::Unknown, "such as postgres://keyround@db.example/keyround"),
                false => Ok(JournalUrl::File(PathBuf::from(path))),
            }
        }
        Err(bad @ BadJournalUrl::Password) => wrong(
            bad,
            "other users can see a command line: put the URL in a file or a variable, and write file:/path or env:NAME",
        ),
        Err(bad) => {
            wrong(bad, "such as postgres://keyround@db.example/keyround, or the path of a SQLite file")
        }
    }
}

async fn place(url: &JournalUrl, secrets: &dyn SecretSource) -> Result<Place, Failure> {
    Ok(match url {
        JournalUrl::File(path) => Place::File(path.clone()),
        JournalUrl::Database(database) => Place::Database(setup::database_url(database, secrets).await?),
    })
}

async fn rekey(settings: &Settings, from: Option<SecretRef>, lost: bool, screen: &Screen) -> Ended {
    if settings.journal.database.is_some() {
        let message =
            "keyround cannot change the seal key of a journal in PostgreSQL yet; nothing was changed";
        return Err(Failure::new(Code::Failed, message).hinted(
            "copy the journal to a SQLite file with `keyround journal copy`, run `journal rekey` with that file, and copy it into \
             an empty database",
        ));
    }
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
