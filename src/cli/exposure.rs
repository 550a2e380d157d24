//! Starts and ends the `[exposure]` task of `keyround run`, and keeps the known exposures in a file beside the journal.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alerting::Exposures;
use crate::engine::World;
use crate::files::whole_file;
use crate::ports::{ExposureMemory, KnownExposure};
use crate::status::StatusStore;

const FILE: &str = "exposures.json";
/// The time that the task gets to end. It is short, so that a slow response of AWS does not delay the program's exit.
const PATIENCE: Duration = Duration::from_secs(3);

/// The file beside the journal that keeps the known exposures over a restart.
struct ExposureFile(PathBuf);

impl ExposureMemory for ExposureFile {
    fn read(&self) -> Vec<KnownExposure> {
        let known = match std::fs::read_to_string(&self.0) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        };
        known.unwrap_or_else(|error| {
            let shown = self.0.display();
            tracing::warn!("{shown} cannot be read, so exposures that are known are taken for new: {error}");
            Vec::new()
        })
    }

    fn write(&self, known: &[KnownExposure]) {
        let text = serde_json::json!(known).to_string();
        if let Err(error) = whole_file::replace(&self.0, text.as_bytes()) {
            let shown = self.0.display();
            tracing::error!(
                "{shown} cannot be written, so an incident may be declared again after a restart: {error}"
            );
        }
    }
}

/// The task that polls AWS for exposures while the engine runs.
pub(crate) struct ExposureWatch {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ExposureWatch {
    pub(crate) fn start(
        worlds: watch::Receiver<World>,
        status_store: &Arc<StatusStore>,
        journal: &Path,
    ) -> ExposureWatch {
        let memory = Arc::new(ExposureFile(journal.with_file_name(FILE)));
        let mut exposures = Exposures::new(worlds, Arc::clone(status_store), memory);
        let stop = CancellationToken::new();
        let told = stop.clone();
        ExposureWatch { stop, task: tokio::spawn(async move { exposures.work(&told).await }) }
    }

    /// Stops the task. A declaration under way is completed, unless it takes longer than [`PATIENCE`].
    pub(crate) async fn end(self) {
        self.stop.cancel();
        let under_way = self.task.abort_handle();
        if tokio::time::timeout(PATIENCE, self.task).await.is_err() {
            under_way.abort();
        }
    }
}
