//! `reveal`: shows the new key of a manual delivery, once, to the person who takes it to the vendor.
//!
//! **Invariant:** everything that can fail before the key is shown fails before the event `revealed` is appended, and
//! that event is appended before any part of the key is shown. So nobody can have seen a key that the journal counts as
//! unseen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::adapters::delivery::age;
use crate::adapters::journal::Mode;
use crate::cli::args::{Format, Reveal};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::login::operator;
use crate::cli::operator::of_vendor;
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::config::settings::{Access, DeliverStep};
use crate::core::ids::{AccessKeyId, IamUserName, VendorName};
use crate::core::rotation::{Event, Rotation, Stage};
use crate::core::secret::Secret;
use crate::core::time::SystemClock;
use crate::engine::{ATTEMPTS_MAX, entry_after};
use crate::ports::{Journal, JournalError, KnownRotation};

/// The new key pair, and what the person who delivers it must know.
#[derive(Serialize)]
struct Revealed<'a> {
    vendor: &'a VendorName,
    iam_user: &'a IamUserName,
    access_key_id: &'a AccessKeyId,
    secret_access_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_access_key_id: Option<&'a AccessKeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
}

pub(crate) async fn reveal(config: Option<&Path>, asked: Reveal, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let journal = setup::journal_alone(&settings, Mode::Operate).await?;
    let theirs = of_vendor(&settings, journal.in_flight().await?, &asked.vendor)?;
    let (known, rotation) = the_one(journal.as_ref(), theirs, &asked).await?;
    may_be_shown(&rotation, &asked)?;
    let opened = journal.secret(known.rotation).await?;
    let secret = opened.ok_or_else(|| {
        Failure::new(Code::Failed, "the journal holds no secret for the new key any more; nothing was shown")
    })?;
    let text = text(&settings, &rotation, &secret, &asked, screen)?;
    let file = asked.output.as_deref().map(private_file).transpose()?;
    if let Err(failure) = record(journal.as_ref(), &known, &asked).await {
        // The file is empty, and this command created it.
        asked.output.as_deref().map(fs::remove_file).transpose().ok();
        return Err(failure);
    }
    written(file, &text, screen).map_err(|error| {
        let message =
            format!("the journal records that the new key was shown, but it could not be shown: {error}");
        Failure::new(Code::Failed, message)
            .hinted(format!("`keyround reveal {} --again --why REASON` shows it again", asked.vendor))
    })?;
    if let (Some(path), Some(recipient)) = (&asked.output, &asked.recipient) {
        screen.show(&format!(
            "written to {}, encrypted to {recipient}\nwhen the vendor has the key: keyround ack {}",
            path.display(),
            asked.vendor
        ));
    }
    Ok(Code::Fine)
}

/// The rotation whose new key waits for manual delivery. Fails if there is none, or more than one.
async fn the_one(
    journal: &dyn Journal,
    theirs: Vec<KnownRotation>,
    asked: &Reveal,
) -> Result<(KnownRotation, Rotation), Failure> {
    let vendor = &asked.vendor;
    let mut waiting = Vec::new();
    for known in theirs {
        if asked.user.as_ref().is_some_and(|user| *user != known.subject.iam_user) {
            continue;
        }
        let rotation = replayed(journal, &known).await?;
        if matches!(rotation.stage(), Stage::HandOver { .. }) {
            waiting.push((known, rotation));
        }
    }
    let users: Vec<String> = waiting.iter().map(|(known, _)| known.subject.iam_user.to_string()).collect();
    match (waiting.pop(), users.len()) {
        (Some(one), 1) => Ok(one),
        (Some(_), _) => {
            let message = format!("{vendor} has more than one new key to deliver by hand; nothing was shown");
            Err(Failure::new(Code::Usage, message)
                .hinted(format!("choose one with --user: {}", users.join(", "))))
        }
        (None, _) => {
            let message = format!("{vendor} has no new key to deliver by hand; nothing was shown");
            Err(Failure::new(Code::Failed, message)
                .hinted(format!("`keyround explain {vendor}` shows the reason")))
        }
    }
}

async fn replayed(journal: &dyn Journal, known: &KnownRotation) -> Result<Rotation, Failure> {
    let events = journal.read(known.rotation).await?;
    let replayed = Rotation::replay(known.rotation, &events);
    replayed.map_err(|illegal| Failure::new(Code::Config, illegal.to_string()))
}

fn may_be_shown(rotation: &Rotation, asked: &Reveal) -> Result<(), Failure> {
    let Some(revealed_at) = rotation.revealed_at().filter(|_| !asked.again) else { return Ok(()) };
    let message = format!(
        "the new key was shown at {revealed_at} already, and is shown only once; nothing was shown now"
    );
    Err(Failure::new(Code::Failed, message).hinted(format!(
        "if it was lost on the way: `keyround reveal {} --again --why REASON`, which the history keeps",
        asked.vendor
    )))
}

/// The output: readable text, JSON, or JSON encrypted into an age file.
fn text(
    settings: &Settings,
    rotation: &Rotation,
    secret: &Secret,
    asked: &Reveal,
    screen: &Screen,
) -> Result<Secret, Failure> {
    let Some(access_key_id) = rotation.stage().new_key() else {
        return Err(Failure::new(Code::Failed, "there is no new key; nothing was shown"));
    };
    let revealed = Revealed {
        vendor: &asked.vendor,
        iam_user: &rotation.subject().iam_user,
        access_key_id,
        secret_access_key: secret.expose(),
        previous_access_key_id: rotation.old(),
        instructions: instructions(settings, &asked.vendor),
    };
    let unwritten = |_| Failure::new(Code::Failed, "the key could not be written as JSON; nothing was shown");
    let json = || serde_json::to_string_pretty(&revealed).map(Secret::new).map_err(unwritten);
    match (&asked.recipient, screen.format) {
        (Some(recipient), _) => {
            let file = age::encrypt(recipient, &json()?);
            let failed = |not| Failure::new(Code::Failed, format!("the new key: {not}; nothing was shown"));
            Ok(Secret::new(age::armored(&file.map_err(failed)?)))
        }
        (None, Format::Json) => json(),
        (None, Format::Table) => Ok(readable(&revealed)),
    }
}

fn readable(revealed: &Revealed<'_>) -> Secret {
    let Revealed { vendor, iam_user, access_key_id, secret_access_key, previous_access_key_id, .. } =
        revealed;
    let replaced = previous_access_key_id.map_or_else(
        || "It replaces no key.".to_owned(),
        |old| format!("It replaces {old}, which stays Active until the new one was seen in use."),
    );
    let instructions = revealed.instructions.map(|text| format!("\n{}\n", text.trim())).unwrap_or_default();
    Secret::new(format!(
        "{vendor}, IAM user {iam_user}: the new key, shown once\n\n  \
         access key id      {access_key_id}\n  \
         secret access key  {secret_access_key}\n\n\
         {replaced}\n{instructions}\n\
         When the vendor has it: keyround ack {vendor}\n"
    ))
}

fn instructions<'s>(settings: &'s Settings, vendor: &VendorName) -> Option<&'s str> {
    let Access::Key(access) = &settings.vendors.get(vendor)?.access else { return None };
    access.deliver.iter().find_map(|step| match step {
        DeliverStep::Manual(step) => step.instructions.as_deref(),
        DeliverStep::Webhook(_)
        | DeliverStep::Http(_)
        | DeliverStep::SecretStore(_)
        | DeliverStep::Command(_) => None,
    })
}

/// Creates a file that only its owner can read. Fails if the file exists.
fn private_file(path: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| {
        let message = format!("{} cannot be made: {}; nothing was shown", path.display(), error.kind());
        Failure::new(Code::Failed, message).hinted("name a file that does not exist yet")
    })
}

/// Appends the event that the key is shown, after checking that it may still be shown.
async fn record(journal: &dyn Journal, known: &KnownRotation, asked: &Reveal) -> Result<(), Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let mut rotation = replayed(journal, known).await?;
        may_be_shown(&rotation, asked)?;
        let event = Event::Revealed {
            by: operator(),
            why: asked.why.clone(),
            recipient: asked.recipient.as_ref().map(ToString::to_string),
            at: SystemClock.now(),
        };
        let moved_on = "the rotation changed meanwhile; nothing was shown";
        let entry = entry_after(&mut rotation, &event, None);
        let entry = entry.map_err(|_| Failure::new(Code::Failed, moved_on))?;
        match journal.append(entry).await {
            Err(JournalError::Conflict { .. }) => {}
            appended => return Ok(appended?),
        }
    }
    Err(Failure::new(
        Code::TryAgain,
        "the rotation changed during each attempt; nothing was shown; try again",
    ))
}

fn written(file: Option<File>, text: &Secret, screen: &Screen) -> io::Result<()> {
    let Some(mut file) = file else { return screen.show_secret(text) };
    let line = Zeroizing::new(format!("{}\n", text.expose().trim_end()));
    file.write_all(line.as_bytes())?;
    file.sync_all()
}
