//! `report`: writes the status page of a period, with evidence, into one file.

use std::path::Path;
use std::sync::Arc;

use crate::adapters::journal::Mode;
use crate::cli::args;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, audit, setup};
use crate::engine::{self, Pass, Watcher};
use crate::files::whole_file;
use crate::ports::overview::HistoryLine;
use crate::ports::{Recorded, Shown};
use crate::status::page::{self, Period};
use crate::status::{StatusStore, StatusView};

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
    let history = happenings(&journal.history(None, crate::core::time::Timestamp::EPOCH).await?, from, to);
    let found = engine::status(&world, &[]).await?;
    let status_store = Arc::new(StatusStore::default());
    status_store.pass_ended(&Pass::of_a_moment(now, true, found));
    let (_keep, worlds) = tokio::sync::watch::channel(world);
    let overview = StatusView::new(worlds, status_store).overview().await;
    let html = page::report(&overview, &Period { from, to, events, head, history, reviews });
    write(&asked.output, &html)?;
    screen.show(&format!("{}: {} events verified", asked.output.display(), events));
    Ok(Code::Fine)
}

/// The events of the period, each with the vendor that its rotation began with.
fn happenings(
    history: &[Recorded],
    from: crate::core::time::Timestamp,
    to: crate::core::time::Timestamp,
) -> Vec<HistoryLine> {
    let mut vendors = std::collections::HashMap::new();
    let mut happenings = Vec::new();
    for recorded in history {
        if let Some(subject) = recorded.event.begins() {
            vendors.insert(recorded.rotation, subject.vendor.to_string());
        }
        let at = recorded.event.at();
        if from <= at && at <= to {
            happenings.push(HistoryLine {
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

/// Writes the report with mode 0600: key ids and the names of users and people are not secret, but not public either. A
/// link at the path, which another user may have put there, is refused; an existing file is replaced as a whole.
fn write(path: &Path, html: &str) -> Result<(), Failure> {
    let failed =
        |what: String| Failure::new(Code::Failed, format!("{} cannot be written: {what}", path.display()));
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(failed("it is a link or no regular file, so it was left as it is".to_owned()));
    }
    whole_file::replace(path, html.as_bytes()).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_report_replaces_a_file_and_follows_no_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (report, target) = (folder.path().join("report.html"), folder.path().join("target"));
        fs::write(&report, "before").expect("a file");
        write(&report, "after").expect("replaced");
        assert_eq!(fs::read_to_string(&report).expect("there"), "after");
        assert_eq!(fs::metadata(&report).expect("there").permissions().mode() & 0o777, 0o600);
        fs::write(&target, "another file").expect("a file");
        fs::remove_file(&report).expect("removed");
        symlink(&target, &report).expect("a link");
        let refused = write(&report, "after").expect_err("a link");
        assert!(refused.message.contains("it is a link"), "{refused}");
        assert_eq!(fs::read_to_string(&target).expect("there"), "another file");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 2, "no draft is left");
    }
}
