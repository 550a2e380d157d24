//! `keyround issue`: makes and delivers an access key for a vendor whose IAM user has no Active one.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::cli::args::{self, Format};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::layout::wrapped;
use crate::cli::login::operator;
use crate::cli::{Screen, acting, setup};
use crate::core::ids::RotationId;
use crate::core::rotation::{Ending, Next, Rotation, Stage};
use crate::core::time::SystemClock;
use crate::engine::{Issue, Issued, UserReport, World, issue as ask_for};

/// How long the command waits for `keyround run` to make, prove and deliver the key.
const RUN_ACTS_WITHIN: Duration = Duration::from_mins(1);

/// The result for one user, in its JSON form.
#[derive(Serialize)]
struct View {
    vendor: String,
    iam_user: Option<String>,
    access_key_id: Option<String>,
    rotation: Option<String>,
    sentence: String,
    done: bool,
}

pub(crate) async fn issue(config: Option<&Path>, asked: args::Issue, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, std::slice::from_ref(&asked.vendor))?;
    let (world, drives) = acting::open(settings).await?;
    let may_begin = drives || world.journal.checks_seal();
    let asked = Issue { vendor: asked.vendor, user: asked.user, by: operator(), may_begin };
    let issued = ask_for(&world, &asked).await?;
    let rotations: BTreeSet<RotationId> =
        issued.iter().filter_map(|one| one.begun.as_ref().ok()).copied().collect();
    let found = if drives {
        acting::carry_on(&world, rotations, screen).await?
    } else {
        acting::wait_while(&world, &rotations, RUN_ACTS_WITHIN, is_being_made).await?;
        Vec::new()
    };
    let mut views = Vec::new();
    for one in &issued {
        views.push(view(&world, one, &found, drives).await?);
    }
    if views.is_empty() {
        let user = asked.user.map(|user| format!(" with the IAM user {user}")).unwrap_or_default();
        let message =
            format!("{} has no vendor's key{user} in the configuration; no key was made", asked.vendor);
        return Err(Failure::new(Code::Failed, message));
    }
    let code = if views.iter().all(|view| view.done) { Code::Fine } else { Code::Failed };
    show(&views, screen);
    Ok(code)
}

/// Whether the rotation has not reached the end of its verification and its last step did not fail, so that the engine
/// performs the next step soon.
fn is_being_made(rotation: &Rotation) -> bool {
    let before_verified = matches!(
        rotation.stage(),
        Stage::Survey
            | Stage::Create { .. }
            | Stage::Prove { .. }
            | Stage::Deliver { .. }
            | Stage::Verify { .. }
    );
    before_verified && rotation.last_fault().is_none()
}

async fn view(world: &World, one: &Issued, found: &[UserReport], drives: bool) -> Result<View, Failure> {
    let (vendor, iam_user) = acting::named(&one.subject);
    let id = match &one.begun {
        Ok(id) => *id,
        Err(sentence) => {
            let (sentence, done) = (sentence.clone(), false);
            return Ok(View { vendor, iam_user, access_key_id: None, rotation: None, sentence, done });
        }
    };
    let rotation = acting::replayed(world, id).await?;
    let visited = found.iter().find(|visited| visited.rotation.as_ref().is_some_and(|own| own.id() == id));
    let (sentence, done) = match visited.filter(|visited| visited.verdict.reason == "preflight_failed") {
        Some(visited) => (visited.sentence(), false),
        None => came_of(&rotation, drives),
    };
    Ok(View {
        vendor,
        iam_user,
        access_key_id: rotation.new_key().map(ToString::to_string),
        rotation: Some(id.to_string()),
        sentence: format!("{sentence}{}", one.beside_in_words()),
        done,
    })
}

/// The result as a sentence, and whether the key is delivered or its delivery is under way.
fn came_of(rotation: &Rotation, drives: bool) -> (String, bool) {
    let new = rotation.new_key().map(|new| format!("the new key is {new}; ")).unwrap_or_default();
    match rotation.next(SystemClock.now()) {
        Next::Ended(Ending::Done) => (format!("{new}the vendor has it"), true),
        Next::Ended(_) => (format!("{new}the rotation was abandoned"), false),
        Next::Stuck(blocker) => (format!("{new}{blocker}"), false),
        Next::Wait { until, why } => (format!("{new}{}", why.until(until)), rotation.last_fault().is_none()),
        Next::Perform(effect) if drives => {
            (format!("{new}next step: {}", effect.name()), rotation.last_fault().is_none())
        }
        Next::Perform(effect) if rotation.events() > 1 => {
            (format!("{new}next step: {}, by `keyround run` within seconds", effect.name()), true)
        }
        Next::Perform(_) => {
            let sentence = "keyround has not acted on it yet: `keyround status` says whether the delivery could be checked; if \
                            `keyround run` does not work, stop it and run `keyround rotate`";
            (sentence.to_owned(), false)
        }
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
