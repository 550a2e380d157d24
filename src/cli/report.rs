//! `report`: the page as one file for a period, with evidence.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::cli::args;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, audit, setup};
use crate::driver::{self, Lookout, Observatory, Pass, Watcher};
use crate::journal::Mode;
use crate::overview::Happening;
use crate::page::{self, Period};
use crate::ports::{Recorded, Shown};
use crate::rotation::Event;

pub(crate) async fn report(config: Option<&Path>, asked: args::Report, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let reviewed = match asked.audit {
        true => audit::reviews(&settings, true, false).await?,
        false => Vec::new(),
    };
    let reviews = reviewed.into_iter().map(|one| one.review).collect();
    let world = setup::world(settings, Mode::Read).await?;
    let (now, journal) = (world.clock.now(), Arc::clone(&world.journal));
    let (events, head) = journal.verify_history().await?;
    let from = asked.since.unwrap_or_else(|| now.minus(std::time::Duration::from_hours(90 * 24)));
    let to = asked.until.unwrap_or(now);
    let history = happenings(&journal.history(None, crate::time::Timestamp::EPOCH).await?, from, to);
    let found = driver::status(&world, &[]).await?;
    let lookout = Arc::new(Lookout::default());
    lookout.pass_ended(&Pass::of_a_moment(now, true, found));
    let (_keep, worlds) = tokio::sync::watch::channel(world);
    let overview = Observatory::new(worlds, lookout).overview().await;
    let html = page::report(&overview, &Period { from, to, events, head, history, reviews });
    write(&asked.output, &html)?;
    screen.show(&format!("{}: {} events verified", asked.output.display(), events));
    Ok(Code::Fine)
}

/// The events of the period, each with the vendor that its rotation began with.
fn happenings(
    history: &[Recorded],
    from: crate::time::Timestamp,
    to: crate::time::Timestamp,
) -> Vec<Happening> {
    let mut vendors = std::collections::HashMap::new();
    let mut happenings = Vec::new();
    for recorded in history {
        if let Event::Started { subject, .. } = &recorded.event {
            vendors.insert(recorded.rotation, subject.vendor.to_string());
        }
        let at = recorded.event.at();
        if from <= at && at <= to {
            happenings.push(Happening {
                at,
                vendor: vendors.get(&recorded.rotation).cloned().unwrap_or_default(),
                rotation: recorded.rotation.to_string(),
                event: recorded.event.name(),
                sentence: recorded.event.in_words(),
                writer: recorded.writer.clone(),
                hash: recorded.hash.clone(),
                position: recorded.position,
            });
        }
    }
    happenings
}

/// Key ids, names of users and of people: not a secret, and nobody else's business.
fn write(path: &Path, html: &str) -> Result<(), Failure> {
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened
        .and_then(|mut file| file.write_all(html.as_bytes()))
        .map_err(|error| Failure::new(Code::Failed, format!("{} cannot be written: {error}", path.display())))
}
