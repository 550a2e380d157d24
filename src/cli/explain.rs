//! `explain`: says in sentences why a key is due or not, what happens next, and why.

use std::path::Path;

use serde::Serialize;

use crate::adapters::journal::Mode;
use crate::cli::args::Format;
use crate::cli::exit::Ended;
use crate::cli::layout::wrapped;
use crate::cli::status::code_of;
use crate::cli::{Screen, setup};
use crate::config::settings::{Access, KeyAccess};
use crate::core::ids::VendorName;
use crate::core::rotation::{KeyMetadata, KeyUsage, Rotation};
use crate::core::time::{Timestamp, days_in_words, in_words};
use crate::engine::{self, Step, UserReport, World, steps};
use crate::ports::overview::{Status, status_word};
use crate::status::status_of;

#[derive(Serialize)]
struct Explanation {
    #[serde(flatten)]
    status: Status,
    text: String,
}

pub(crate) async fn explain(config: Option<&Path>, vendor: VendorName, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, std::slice::from_ref(&vendor))?;
    let world = setup::world(settings, Mode::Read).await?;
    let found = engine::status(&world, std::slice::from_ref(&vendor)).await?;
    let now = world.clock.now();
    let text: Vec<String> = found.iter().map(|user_report| in_sentences(&world, user_report, now)).collect();
    let text = text.join("\n");
    match screen.format {
        Format::Json => screen.show_json(&Explanation { status: status_of(&found, now), text }),
        Format::Table => screen.show(&wrapped(&text, screen.columns)),
    }
    Ok(code_of(&found))
}

/// One user in sentences, for an operator: the state and its reason, the keys, the rotation, the next steps and the
/// rules.
fn in_sentences(world: &World, user_report: &UserReport, now: Timestamp) -> String {
    let verdict = &user_report.verdict;
    let user = user_report.iam_user.as_ref().map(|user| format!(" (IAM user {user})")).unwrap_or_default();
    let mut text = format!("{}{user}: {}, {}\n\n", user_report.vendor, verdict.state, verdict.reason);
    say(&mut text, &user_report.sentence());
    if !user_report.keys.is_empty() {
        text.push_str("\nKeys\n");
    }
    for key in &user_report.keys {
        say(&mut text, &key_in_words(user_report, key, now));
    }
    let access = world.settings.vendors.get(&user_report.vendor).and_then(|vendor| match &vendor.access {
        Access::Key(access) => Some(access.as_ref()),
        Access::Role { .. } => None,
    });
    if let Some(rotation) = &user_report.rotation {
        under_way(&mut text, rotation, access);
    } else if let (Some(access), Some(_)) = (access, &verdict.old) {
        to_come(&mut text, "\nWhen it is replaced\n", &steps(&access.plan, access.deliver.len()));
    }
    if let (Some(access), Some(_)) = (access, &user_report.iam_user) {
        text.push_str("\nRules\n");
        say(&mut text, &rules(access));
    }
    text
}

fn key_in_words(user_report: &UserReport, key: &KeyMetadata, now: Timestamp) -> String {
    let used = match user_report.usage.get(&key.id) {
        Some(usage @ KeyUsage::Used { .. }) => format!("last {}", usage.in_words()),
        Some(usage @ KeyUsage::Never) => usage.in_words(),
        Some(KeyUsage::Gone) | None => "last use unknown".to_owned(),
    };
    let age = days_in_words(now.days_since(key.created_at));
    format!("{}: {}, {age} old, {used}", key.id, status_word(key.status))
}

fn under_way(text: &mut String, rotation: &Rotation, access: Option<&KeyAccess>) {
    text.push_str("\nRotation\n");
    let stage = rotation.stage().beneath().name();
    let new = match (rotation.old(), rotation.new_key()) {
        _ if rotation.offboarding().is_some() => "the vendor is being offboarded".to_owned(),
        (Some(old), Some(new)) => format!("the key {old} is being replaced by {new}"),
        (Some(old), None) => format!("the key {old} is being replaced, and there is no new one yet"),
        (None, Some(new)) => format!("the vendor is being given the key {new}, and none is replaced"),
        (None, None) => {
            "the vendor is being given a key, which was not made yet; none is replaced".to_owned()
        }
    };
    say(text, &format!("{new}; in stage {stage} since {}; rotation id {}", rotation.since(), rotation.id()));
    if let Some(fault) = rotation.last_fault() {
        say(text, &format!("the last attempt failed: {fault}"));
    }
    if let Some(words) = rotation.half_written() {
        say(
            text,
            &format!("{words}; the new pair is written again before anything else is done for this vendor"),
        );
    }
    let mut life = steps(rotation.plan(), access.map_or(1, |access| access.deliver.len()));
    if rotation.offboarding().is_some() {
        return;
    }
    if rotation.is_issue() {
        life.retain(|step| !matches!(step.stage, "soak" | "cool"));
    }
    let here = life.iter().position(|step| step.stage == stage).unwrap_or(0);
    to_come(text, "\nStill to come\n", &life[here..]);
}

fn to_come(text: &mut String, title: &str, steps: &[Step]) {
    text.push_str(title);
    for (step, number) in steps.iter().zip(1..) {
        text.extend(["  ", &number.to_string(), ". ", &step.what, "\n"]);
    }
}

fn rules(access: &KeyAccess) -> String {
    let ages = access.ages;
    let (due, warn_before, overdue_after) =
        (in_words(ages.max_age), in_words(ages.warn_before), in_words(ages.overdue_after));
    let due = match ages.deadline {
        None => format!(
            "a key is due when it is {due} old, which is announced {warn_before} before, and overdue {overdue_after} after"
        ),
        Some(deadline) => format!(
            "a key is to be Inactive when it is {} old; so it is due when it is {due} old and up to {} later, which differs \
             from user to user and is announced {warn_before} before; it is overdue {overdue_after} after that, and at \
             the latest at {0}",
            in_words(deadline.inactive_by),
            in_words(deadline.slack),
        ),
    };
    format!("{due}; a rotation under way keeps the settings that it began with")
}

/// Appends a sentence on its own line, indented, with an upper-case first letter and a period.
fn say(text: &mut String, sentence: &str) {
    let mut letters = sentence.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    text.extend(["  ", &first, letters.as_str(), ".\n"]);
}
