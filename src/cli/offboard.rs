//! `keyround offboard`: ends the work with a vendor. Every access key of its IAM user is set Inactive at once, and
//! deleted after the cooling time.

use std::collections::BTreeSet;
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
use crate::core::ids::RotationId;
use crate::core::rotation::{Next, Rotation};
use crate::core::schedule::status_word;
use crate::core::time::SystemClock;
use crate::engine::{Leaver, Offboard, World, leavers, offboard as declare};

/// How long the command waits for `keyround run` to set the keys Inactive.
const RUN_ACTS_WITHIN: Duration = Duration::from_secs(30);

/// The result for one user, in its JSON form.
#[derive(Serialize)]
struct View {
    vendor: String,
    iam_user: Option<String>,
    access_key_ids: Vec<String>,
    rotation: Option<String>,
    sentence: String,
    done: bool,
}

pub(crate) async fn offboard(config: Option<&Path>, asked: args::Offboard, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, std::slice::from_ref(&asked.vendor))?;
    let (is_dry, is_sure) = (asked.dry_run, asked.yes);
    let mut asked =
        Offboard { vendor: asked.vendor, user: asked.user, by: operator(), why: asked.why, may_begin: true };
    if is_dry {
        let world = setup::world(settings, Mode::Read).await?;
        return Ok(show_meant(&leavers(&world, &asked).await?, screen));
    }
    if !is_sure && !std::io::stdin().is_terminal() {
        let message = "without a terminal to ask on, nothing is offboarded; nothing was changed";
        return Err(Failure::new(Code::Usage, message).hinted("--dry-run shows what is meant; --yes does it"));
    }
    let (world, drives) = acting::open(settings).await?;
    asked.may_begin = drives || world.journal.checks_seal();
    let meant = leavers(&world, &asked).await?;
    if !is_sure && meant.iter().any(|one| one.failure.is_none()) {
        for one in &meant {
            screen.show(&wrapped(&line(&view(one, will_be(one), false)), screen.columns));
        }
        if !acting::confirmed("Offboard this vendor?")? {
            return Err(Failure::new(Code::Failed, "not offboarded; nothing was changed"));
        }
    }
    let declared = declare(&world, &asked, meant).await;
    let rotations: BTreeSet<RotationId> =
        declared.iter().filter(|one| one.failure.is_none()).filter_map(|one| one.rotation).collect();
    if drives {
        acting::carry_on(&world, rotations, screen).await?;
    } else {
        acting::wait_while(&world, &rotations, RUN_ACTS_WITHIN, Rotation::is_cut_due).await?;
    }
    report(&world, &declared, drives, screen).await
}

async fn report(world: &World, declared: &[Leaver], drives: bool, screen: &Screen) -> Ended {
    let mut views = Vec::new();
    for one in declared {
        let (sentence, done) = match (one.rotation, &one.failure) {
            (Some(id), None) => came_of(&acting::replayed(world, id).await?, drives),
            (_, failure) => (failure.clone().unwrap_or_default(), false),
        };
        views.push(view(one, sentence, done));
    }
    show(&views, screen)
}

/// The result for one user as a sentence, and whether the offboarding is done or under way.
fn came_of(rotation: &Rotation, drives: bool) -> (String, bool) {
    if rotation.is_cut_due() {
        let hint = match drives {
            true => "repeat this command, or start `keyround run`",
            false => "check that `keyround run` works, or stop it and repeat this command",
        };
        let fault = rotation.last_fault().map(|fault| format!(": {fault}")).unwrap_or_default();
        return (format!("a key is not Inactive yet{fault}; {hint}"), false);
    }
    match rotation.next(SystemClock.now()) {
        Next::Wait { until, why } => (why.until(until), rotation.last_fault().is_none()),
        Next::Perform(effect) => (format!("next step: {}", effect.name()), true),
        Next::Stuck(blocker) => (blocker.to_string(), false),
        Next::Ended(_) => ("each key is deleted".to_owned(), true),
    }
}

/// The sentence on what the offboarding will do for one user.
fn will_be(one: &Leaver) -> String {
    if let Some(failure) = &one.failure {
        return failure.clone();
    }
    let keys: Vec<String> =
        one.keys.iter().map(|key| format!("{} ({})", key.id, status_word(key.status))).collect();
    let keys = if keys.is_empty() { "every key".to_owned() } else { keys.join(" and ") };
    format!(
        "{keys} is set Inactive at once, so the vendor stops working, and deleted after `cool`; until then `keyround reactivate` \
         gives it back"
    )
}

fn show_meant(meant: &[Leaver], screen: &Screen) -> Code {
    let views: Vec<View> = meant.iter().map(|one| view(one, will_be(one), one.failure.is_none())).collect();
    let code = show(&views, screen).unwrap_or(Code::Failed);
    if screen.format == Format::Table {
        screen.show("dry run: nothing was changed");
    }
    code
}

fn view(one: &Leaver, sentence: String, done: bool) -> View {
    let (vendor, iam_user) = acting::named(&one.subject);
    let access_key_ids = one.keys.iter().map(|key| key.id.to_string()).collect();
    View { vendor, iam_user, access_key_ids, rotation: one.rotation.map(|id| id.to_string()), sentence, done }
}

fn show(views: &[View], screen: &Screen) -> Ended {
    if views.is_empty() {
        return Err(Failure::new(Code::Failed, "no IAM user of the vendor is meant; nothing was changed"));
    }
    match screen.format {
        Format::Json => screen.show_json(&views),
        Format::Table => views.iter().for_each(|view| screen.show(&wrapped(&line(view), screen.columns))),
    }
    Ok(if views.iter().all(|view| view.done) { Code::Fine } else { Code::Failed })
}

fn line(view: &View) -> String {
    acting::line(&view.vendor, view.iam_user.as_deref(), &view.sentence)
}
