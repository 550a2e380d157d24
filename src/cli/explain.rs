//! `explain`: why a key is (not) due, what happens next and why, in sentences.

use std::path::Path;

use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::exit::Ended;
use crate::cli::status::code_of;
use crate::cli::view::{StatusView, status_word};
use crate::cli::{Screen, setup};
use crate::config::settings::{Access, KeyAccess};
use crate::driver::{self, Visited, World};
use crate::ids::VendorName;
use crate::journal::Mode;
use crate::rotation::KeyUsage;
use crate::time::{Timestamp, in_words};

#[derive(Serialize)]
struct Explanation {
    #[serde(flatten)]
    status: StatusView,
    text: String,
}

pub(crate) async fn explain(config: Option<&Path>, vendor: VendorName, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, std::slice::from_ref(&vendor))?;
    let world = setup::world(settings, Mode::Read).await?;
    let found = driver::status(&world, std::slice::from_ref(&vendor)).await?;
    let now = world.clock.now();
    let text: Vec<String> = found.iter().map(|visited| in_sentences(&world, visited, now)).collect();
    let text = text.join("\n");
    match screen.format {
        Format::Json => screen.show_json(&Explanation { status: StatusView::new(&found, now), text }),
        Format::Table => screen.show(&text),
    }
    Ok(code_of(&found))
}

fn in_sentences(world: &World, visited: &Visited, now: Timestamp) -> String {
    let verdict = &visited.verdict;
    let user = visited.iam_user.as_ref().map(|user| format!(", IAM user {user}")).unwrap_or_default();
    let mut text = format!("{}{user}: {} ({})\n", visited.vendor, verdict.state, verdict.reason);
    say(&mut text, &format!("{}.", verdict.sentence));
    for key in &visited.keys {
        let used = match visited.usage.get(&key.id) {
            Some(KeyUsage::Used { last_used_at, service }) => {
                format!("last used at {last_used_at} for {service}")
            }
            Some(KeyUsage::Never) => "never used".to_owned(),
            Some(KeyUsage::Gone) | None => "last use unknown".to_owned(),
        };
        let age = now.days_since(key.created_at);
        say(&mut text, &format!("Key {}: {}, {age} days old, {used}.", key.id, status_word(key.status)));
    }
    if let Some(rotation) = &visited.rotation {
        let stage = rotation.stage().name();
        say(&mut text, &format!("Rotation {}: in stage {stage} since {}.", rotation.id(), rotation.since()));
        if let Some(fault) = rotation.last_fault() {
            say(&mut text, &format!("Last failure: {fault}."));
        }
    }
    if let Some(vendor) = world.settings.vendors.get(&visited.vendor)
        && let Access::Key(access) = &vendor.access
    {
        rules(&mut text, access);
    }
    text
}

fn rules(text: &mut String, access: &KeyAccess) {
    let (ages, plan) = (access.ages, &access.plan);
    say(
        text,
        &format!(
            "A key is due when it is {} old, and overdue {} after that.",
            in_words(ages.max_age),
            in_words(ages.overdue_after)
        ),
    );
    let mut gates = vec![format!("both keys stay Active for at least {}", in_words(plan.soak))];
    if plan.require_use {
        gates.push("until IAM has seen the new key in use".to_owned());
    }
    if !plan.quiet_for.is_zero() {
        gates.push(format!("until the old one has been unused for {}", in_words(plan.quiet_for)));
    }
    let asked = if plan.can_ask_vendor { "and says that it is in force" } else { "(it cannot be asked)" };
    say(
        text,
        &format!(
            "After the vendor accepted the new key {asked}, {}; then the old key is Inactive for {} before it is deleted.",
            gates.join(", and "),
            in_words(plan.cool)
        ),
    );
}

fn say(text: &mut String, line: &str) {
    text.push_str("  ");
    text.push_str(line);
    text.push('\n');
}
