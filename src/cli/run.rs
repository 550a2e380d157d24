//! `run`: the long-running scheduler and its signals.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::progress::Reporter;
use crate::cli::systemd::{self, Supervised};
use crate::cli::{Screen, setup};
use crate::driver::{Cadence, Engine, Watcher, World};
use crate::journal::Mode;

pub(crate) async fn run(config: Option<&Path>, screen: &Screen) -> Ended {
    let (path, settings) = setup::settings(config, screen.color)?;
    let world = setup::world(settings, Mode::Drive).await?;
    let vendors = world.settings.vendors.len();
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let (newest, worlds) = watch::channel(world);
    let supervised = Arc::new(Supervised::new(Reporter::new(false)));
    let hangup = listen(SignalKind::hangup())?;
    let reload = tokio::spawn(reload_on_hangup(hangup, path, newest, screen.color, Arc::clone(&supervised)));
    let watcher = Arc::clone(&supervised) as Arc<dyn Watcher>;
    let mut engine = Engine::new(worlds, stop, watcher).with_pulse(systemd::pulse());
    tracing::info!("keyround {} starts; vendors: {vendors}", env!("CARGO_PKG_VERSION"));
    let found = engine.work(&Cadence::Scheduled).await;
    supervised.stopping();
    reload.abort();
    found?;
    tracing::info!("stopped; what is under way goes on from the journal when keyround runs again");
    Ok(Code::Fine)
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Code::Failed, format!("no signal handler: {error}")))
}

/// SIGTERM and SIGINT: no effect is begun any more, those under way are let finish. A Ctrl-C after
/// that comes from a person who is in a hurry, and may be: what is under way was written down
/// before it was begun. A supervisor may repeat its SIGTERM, which says nothing new.
pub(crate) fn stop_on_signals(stop: &CancellationToken) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop: finishing what is under way; Ctrl-C stops at once");
        stop.cancel();
        interrupt.recv().await;
        tracing::warn!("stopped at once: what is under way goes on from the journal next time");
        std::process::exit(i32::from(Code::TryAgain as u8));
    });
    Ok(())
}

/// SIGHUP: the configuration is read again. A bad one changes nothing.
async fn reload_on_hangup(
    mut hangup: Signal,
    path: PathBuf,
    newest: watch::Sender<World>,
    color: bool,
    supervised: Arc<Supervised>,
) {
    while hangup.recv().await.is_some() {
        supervised.reloading();
        let (current, journal, now) = {
            let world = newest.borrow();
            (Arc::clone(&world.settings), Arc::clone(&world.journal), world.clock.now())
        };
        let reloaded = setup::settings(Some(&path), color).and_then(|(_, settings)| {
            if settings.journal != current.journal {
                let message = "the journal cannot be changed while running; restart keyround for that";
                return Err(Failure::new(Code::Config, message));
            }
            setup::world_again(settings, journal)
        });
        match reloaded {
            Ok(world) => {
                let vendors = world.settings.vendors.len();
                tracing::info!("the configuration was read again; vendors: {vendors}");
                newest.send_replace(world);
                supervised.reloaded(None);
            }
            Err(failure) => {
                tracing::error!(
                    "the old configuration stays in force, because the new one is bad: {failure}"
                );
                supervised.reloaded(Some(now));
            }
        }
    }
}
