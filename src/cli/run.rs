//! `run`: the long-running scheduler and its signals.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::alerting::Routing;
use crate::cli::alert_task::{self, AlertTask};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::exposure::ExposureWatch;
use crate::cli::progress::Reporter;
use crate::cli::systemd::{self, Supervised};
use crate::cli::{Screen, setup};
use crate::engine::{Cadence, Engine, Watchers, World};
use crate::status::metrics::Calls;
use crate::status::{StatusStore, StatusView};

/// How soon the scheduler acts on `incident`, `hold`, `resume`, `reactivate`, `abandon`, `reveal` and `ack`. Each look
/// at the journal costs one query.
const OPERATOR_COMMANDS_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(config: Option<&Path>, screen: &Screen) -> Ended {
    let (path, settings) = setup::settings(config, screen.color)?;
    let (newest_tellers, routing) = watch::channel(setup::routing(&settings)?);
    let calls = Arc::new(Calls::default());
    let world = setup::counted(alert_task::world(settings).await?, &calls);
    let vendors = world.settings.vendors.len();
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let (newest, worlds) = watch::channel(world);
    let status_store = Arc::new(StatusStore::default());
    let shown = Arc::new(StatusView::new(worlds.clone(), Arc::clone(&status_store)));
    let settings = Arc::clone(&worlds.borrow().settings);
    if let Some((server, listener)) = setup::server(&settings, shown, Arc::clone(&calls)).await? {
        tokio::spawn(server.work(listener, stop.clone()));
    }
    let newest = Newest { world: newest, routing: newest_tellers, calls };
    let supervised = Arc::new(Supervised::new(Reporter::new(false)));
    let hangup = listen(SignalKind::hangup())?;
    let reload = tokio::spawn(reload_on_hangup(hangup, path, newest, screen.color, Arc::clone(&supervised)));
    let alert_task = AlertTask::start(alert_task::alerts(worlds.clone(), routing, &status_store));
    let exposure = ExposureWatch::start(worlds.clone(), &status_store, &settings.journal.path);
    let watchers = Watchers(vec![Arc::clone(&supervised) as _, status_store]);
    let engine = Engine::new(worlds, stop, Arc::new(watchers)).with_pulse(systemd::pulse());
    let mut engine = engine.noticing_operator_commands(OPERATOR_COMMANDS_EVERY);
    tracing::info!("keyround {} starts; vendors: {vendors}", env!("CARGO_PKG_VERSION"));
    let found = engine.work(&Cadence::Scheduled).await;
    supervised.stopping();
    reload.abort();
    exposure.end().await;
    alert_task.end(found.as_ref().err()).await;
    found?;
    tracing::info!("stopped; rotations in flight continue from the journal when keyround runs again");
    Ok(Code::Fine)
}

/// What a reload needs: the channels that take the new world and routing, and the counters of calls to AWS.
struct Newest {
    world: watch::Sender<World>,
    routing: watch::Sender<Routing>,
    calls: Arc<Calls>,
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Code::Failed, format!("no signal handler: {error}")))
}

/// On SIGTERM or SIGINT, no new effect begins, and the effects under way are finished. A SIGINT (Ctrl-C) after that
/// comes from a person and ends the process at once. This is safe, because the journal records the intent of an effect
/// before the effect begins. A second SIGTERM is ignored, because a supervisor may repeat it.
pub(crate) fn stop_on_signals(stop: &CancellationToken) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping after the effects under way; Ctrl-C stops at once");
        stop.cancel();
        interrupt.recv().await;
        tracing::warn!("stopped at once; rotations in flight continue from the journal next time");
        std::process::exit(i32::from(Code::TryAgain as u8));
    });
    Ok(())
}

/// On SIGHUP, reloads the configuration. If it has mistakes, the previous one stays in force.
async fn reload_on_hangup(
    mut hangup: Signal,
    path: PathBuf,
    newest: Newest,
    color: bool,
    supervised: Arc<Supervised>,
) {
    while hangup.recv().await.is_some() {
        supervised.reloading();
        let (current, journal, now) = {
            let world = newest.world.borrow();
            (Arc::clone(&world.settings), Arc::clone(&world.journal), world.clock.now())
        };
        let reloaded = setup::settings(Some(&path), color).and_then(|(_, settings)| {
            if settings.journal != current.journal {
                let message = "the journal cannot be changed while running; restart keyround for that";
                return Err(Failure::new(Code::Config, message));
            }
            let routing = setup::routing(&settings)?;
            Ok((setup::world_again(settings, journal)?, routing))
        });
        match reloaded {
            Ok((world, routing)) => {
                let vendors = world.settings.vendors.len();
                tracing::info!("the configuration was read again; vendors: {vendors}");
                newest.world.send_replace(setup::counted(world, &newest.calls));
                newest.routing.send_replace(routing);
                supervised.reloaded(None);
            }
            Err(failure) => {
                tracing::error!(
                    "the previous configuration stays in force, because the new one has mistakes: {failure}"
                );
                supervised.reloaded(Some(now));
            }
        }
    }
}
