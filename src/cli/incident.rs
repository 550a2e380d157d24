//! `keyround incident`: declares in the journal that access keys are exposed, and makes sure that keyround acts on it.
//!
//! If `keyround run` uses the journal, it acts on the declaration within seconds. In a mode that sets the exposed key
//! Inactive first, the command waits until the journal shows that. If no `keyround run` uses the journal, the command
//! drives the rotations itself, as `rotate` does.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::adapters::journal::Mode;
use crate::cli::args::{self, Format};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::layout::wrapped;
use crate::cli::login::operator;
use crate::cli::{Screen, acting, setup};
use crate::config::Settings;
use crate::core::rotation::{Ending, IncidentMode, Next, Rotation};
use crate::core::time::SystemClock;
use crate::engine::{Declaration, Meant, Scope, World, declare, meant, rotations_of};

/// How long the command waits for `keyround run` to set the keys Inactive.
const RUN_ACTS_WITHIN: Duration = Duration::from_secs(30);

/// The result for one user, in its JSON form.
#[derive(Serialize)]
struct View {
    vendor: String,
    iam_user: Option<String>,
    access_key_id: Option<String>,
    mode: &'static str,
    is_replaced: bool,
    rotation: Option<String>,
    sentence: String,
    done: bool,
}

pub(crate) async fn incident(config: Option<&Path>, asked: args::Incident, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let scope = scope(&settings, &asked)?;
    let (mode, why, by) = (asked.mode.into(), asked.why, operator());
    let mut declaration = Declaration { scope, mode, by, why, may_begin: true };
    if asked.dry_run {
        let world = setup::world(settings, Mode::Read).await?;
        return Ok(show_meant(&meant(&world, &declaration).await?, &declaration, screen));
    }
    if !asked.yes && !std::io::stdin().is_terminal() {
        let message = "without a terminal to ask on, nothing is declared; nothing was changed";
        return Err(Failure::new(Code::Usage, message)
            .hinted("--dry-run shows the affected keys; --yes declares the incident"));
    }
    let (world, drives) = acting::open(settings).await?;
    declaration.may_begin = drives || world.journal.checks_seal();
    if !asked.yes && !confirmed(&meant(&world, &declaration).await?, &declaration, screen)? {
        return Err(Failure::new(Code::Failed, "not declared; nothing was changed"));
    }
    let declared = declare(&world, &declaration).await?;
    let rotations = rotations_of(&declared);
    if drives {
        acting::carry_on(&world, rotations, screen).await?;
    } else if mode.cuts_first() {
        acting::wait_while(&world, &rotations, RUN_ACTS_WITHIN, Rotation::is_cut_due).await?;
    }
    report(&world, &declared, &declaration, drives, screen).await
}

fn scope(settings: &Settings, asked: &args::Incident) -> Result<Scope, Failure> {
    let only = &asked.only;
    if let Some(key) = &only.key {
        return Ok(Scope::Key(key.clone()));
    }
    if let Some(preset) = &only.preset {
        return Ok(Scope::Preset(preset.clone()));
    }
    if let Some(account) = &only.account {
        if !settings.accounts.contains_key(account) {
            let message = format!("there is no [account.{account}] in the configuration");
            return Err(Failure::new(Code::Usage, message));
        }
        return Ok(Scope::Account(account.clone()));
    }
    if only.all {
        return Ok(Scope::All);
    }
    setup::known(settings, &only.vendors)?;
    Ok(Scope::Vendors(only.vendors.clone()))
}

fn confirmed(meant: &[Meant], declaration: &Declaration, screen: &Screen) -> Result<bool, Failure> {
    let lines = meant.iter().map(|one| line(one, &will_be(one, declaration))).collect::<Vec<_>>();
    if meant.iter().all(|one| one.failure.is_some()) {
        return Err(nothing_meant(&lines, declaration));
    }
    screen.show(&wrapped(&lines.join("\n"), screen.columns));
    acting::confirmed("Declare this incident?")
}

/// The error if no incident can be declared for any user.
fn nothing_meant(lines: &[String], declaration: &Declaration) -> Failure {
    let message = match &declaration.scope {
        Scope::Key(key) if lines.is_empty() => format!(
            "the key {key} belongs to no IAM user of this configuration; it was left alone, and nothing was changed"
        ),
        _ if lines.is_empty() => "no vendor with a key is meant; nothing was changed".to_owned(),
        _ => lines.join("\n"),
    };
    Failure::new(Code::Failed, message)
}

async fn report(
    world: &World,
    declared: &[Meant],
    declaration: &Declaration,
    drives: bool,
    screen: &Screen,
) -> Ended {
    let mut views = Vec::new();
    for one in declared {
        let (sentence, done) = match (one.rotation, &one.failure) {
            (Some(id), None) => came_of(&acting::replayed(world, id).await?, one, declaration.mode, drives),
            (_, failure) => (failure.clone().unwrap_or_default(), false),
        };
        views.push(view(one, declaration, sentence, done));
    }
    if views.is_empty() {
        return Err(nothing_meant(&[], declaration));
    }
    let code = if views.iter().all(|view| view.done) { Code::Fine } else { Code::Failed };
    show(&views, screen);
    Ok(code)
}

/// The result of the declaration for one user as a sentence, and whether the requested change is done or under way.
fn came_of(rotation: &Rotation, one: &Meant, mode: IncidentMode, drives: bool) -> (String, bool) {
    let Some(key) = one.key.as_ref().or(rotation.old()) else { return (String::new(), false) };
    let cut = match rotation.cut_at(key) {
        Some(at) => format!("{key} is Inactive since {at}"),
        None => format!("{key} is not Inactive yet"),
    };
    let is_cut = rotation.cut_at(key).is_some();
    let is_late = !is_cut && (mode.cuts_first() || !one.is_replaced);
    let now = SystemClock.now();
    let (next, is_well) = match rotation.next(now) {
        Next::Perform(effect) if drives => (format!("next step: {}", effect.name()), true),
        Next::Perform(effect) => {
            (format!("next step: {}, by `keyround run` within seconds", effect.name()), true)
        }
        Next::Wait { until, why } => (why.until(until), rotation.last_fault().is_none()),
        Next::Stuck(blocker) => (blocker.to_string(), false),
        Next::Ended(Ending::Done) => ("it is replaced".to_owned(), true),
        Next::Ended(Ending::Offboarded) => {
            ("the vendor is offboarded, and its keys are deleted".to_owned(), true)
        }
        Next::Ended(Ending::Cut) => {
            ("it is not replaced, because it is not the vendor's present key".to_owned(), true)
        }
        Next::Ended(Ending::Abandoned) => ("the rotation was abandoned".to_owned(), false),
    };
    let new = rotation.stage().new_key().map(|new| format!("; the new key is {new}")).unwrap_or_default();
    let hint = match is_late && !drives {
        true => {
            "; keyround has not acted on it yet: check that `keyround run` works, or stop it and repeat this command"
        }
        false => "",
    };
    (format!("{cut}{new}; {next}{}{hint}", stays(one)), is_well && !is_late)
}

/// The addition to a sentence about the user's other key, which the incident does not touch.
fn stays(one: &Meant) -> String {
    one.stays.as_ref().map_or_else(String::new, |stays| {
        format!("; the user's other key {stays} stays as it is: if it is exposed too, declare it with --key {stays}")
    })
}

/// The sentence on what the declaration will do for one user.
fn will_be(one: &Meant, declaration: &Declaration) -> String {
    if let Some(failure) = &one.failure {
        return failure.clone();
    }
    let Some(key) = &one.key else { return String::new() };
    let what = match (one.is_replaced, declaration.mode) {
        (false, _) => {
            format!("{key} is set Inactive and not replaced, because it is not the vendor's present key")
        }
        (true, IncidentMode::ReplaceFirst) => {
            format!("{key} is replaced, and set Inactive as soon as the vendor holds the new key")
        }
        (true, IncidentMode::CutFirst) => {
            format!("{key} is set Inactive at once, so the vendor stops working until it has the new key")
        }
        (true, IncidentMode::CutAndHold) => format!(
            "{key} and every other key that the vendor was offered are set Inactive at once, and no new key is made before \
             `keyround resume`"
        ),
    };
    format!("{what}{}", stays(one))
}

fn show_meant(meant: &[Meant], declaration: &Declaration, screen: &Screen) -> Code {
    let view = |one: &Meant| view(one, declaration, will_be(one, declaration), one.failure.is_none());
    let views: Vec<View> = meant.iter().map(view).collect();
    let is_well = !views.is_empty() && views.iter().all(|view| view.done);
    match (views.is_empty(), screen.format) {
        (true, Format::Table) => screen.show(&nothing_meant(&[], declaration).message),
        _ => show(&views, screen),
    }
    if screen.format == Format::Table {
        screen.show("dry run: nothing was changed");
    }
    if is_well { Code::Fine } else { Code::Failed }
}

fn view(one: &Meant, declaration: &Declaration, sentence: String, done: bool) -> View {
    let (vendor, iam_user) = acting::named(&one.subject);
    View {
        vendor,
        iam_user,
        access_key_id: one.key.as_ref().map(ToString::to_string),
        mode: declaration.mode.as_str(),
        is_replaced: one.is_replaced,
        rotation: one.rotation.map(|id| id.to_string()),
        sentence,
        done,
    }
}

fn show(views: &[View], screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&views);
    }
    for view in views {
        let line = acting::line(&view.vendor, view.iam_user.as_deref(), &view.sentence);
        screen.show(&wrapped(&line, screen.columns));
    }
}

fn line(one: &Meant, sentence: &str) -> String {
    let (vendor, iam_user) = acting::named(&one.subject);
    acting::line(&vendor, iam_user.as_deref(), sentence)
}
