//! The wiring: settings become a world to work in. The only place that names concrete adapters.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::aws::AwsSession;
use crate::cli::exit::{Code, Failure};
use crate::config::{self, ConfigError, SecretRef, Settings};
use crate::delivery::{ConfiguredVendors, HttpsEgress, LocalPrograms, Ways};
use crate::driver::World;
use crate::drop_offs::AwsDropOffs;
use crate::iam::AwsAccounts;
use crate::ids::VendorName;
use crate::journal::{self, Mode, SealKey};
use crate::ports::{Clock, Journal, SecretSource};
use crate::secrets::Secrets;
use crate::time::{SystemClock, Timestamp};

/// Sleeping is cut into pieces, so that a clock that is set, or a machine that slept, is noticed.
const LONGEST_SLEEP_SECS: u64 = 60;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemClock::now(*self)
    }

    async fn sleep_until(&self, until: Timestamp) {
        loop {
            let left = until.since(SystemClock::now(*self));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(std::time::Duration::from_secs(LONGEST_SLEEP_SECS))).await;
        }
    }
}

/// Reads the configuration that the command line names.
pub(crate) fn settings(path: Option<&Path>, color: bool) -> Result<(PathBuf, Settings), Failure> {
    let path = config::find(path);
    let settings = config::load(&path).map_err(|error| {
        let message = match &error {
            ConfigError::Mistakes(mistakes) => mistakes.render(color),
            other => other.to_string(),
        };
        Failure::new(Code::Config, message)
    })?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    Ok((path, settings))
}

/// A world that works on the real AWS, the real vendors and this journal.
pub(crate) async fn world(settings: Settings, mode: Mode) -> Result<World, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    let secrets: Arc<dyn SecretSource> = Arc::new(Secrets::new(&session));
    let journal = journal(&settings, secrets.as_ref(), mode).await?;
    world_with(settings, &session, secrets, journal)
}

/// The same world after the configuration was read again; the journal stays the one that is open.
pub(crate) fn world_again(settings: Settings, journal: Arc<dyn Journal>) -> Result<World, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    let secrets: Arc<dyn SecretSource> = Arc::new(Secrets::new(&session));
    world_with(settings, &session, secrets, journal)
}

fn world_with(
    settings: Settings,
    session: &Arc<AwsSession>,
    secrets: Arc<dyn SecretSource>,
    journal: Arc<dyn Journal>,
) -> Result<World, Failure> {
    let egress = HttpsEgress::new().map_err(|error| Failure::new(Code::Failed, error.to_string()))?;
    let ways = Ways {
        egress: Arc::new(egress),
        drop_offs: Arc::new(AwsDropOffs::new(session, &settings.accounts)),
        programs: Arc::new(LocalPrograms),
    };
    let vendors = ConfiguredVendors::new(&settings.vendors, ways, secrets);
    let accounts = AwsAccounts::connect(session, &settings.accounts);
    Ok(World {
        settings: Arc::new(settings),
        clock: Arc::new(SystemClock),
        journal,
        accounts: Arc::new(accounts),
        vendors: Arc::new(vendors),
    })
}

/// The journal, for commands that need nothing else of the world.
pub(crate) async fn journal_alone(settings: &Settings, mode: Mode) -> Result<Arc<dyn Journal>, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    journal(settings, &Secrets::new(&session), mode).await
}

/// Opens the journal of these settings.
async fn journal(
    settings: &Settings,
    secrets: &dyn SecretSource,
    mode: Mode,
) -> Result<Arc<dyn Journal>, Failure> {
    let path = &settings.journal.path;
    let Some(reference) = &settings.journal.seal_key else {
        return Ok(journal::open(path, None, mode).await?);
    };
    match (seal_key(reference, secrets).await, mode) {
        (Ok(key), _) => Ok(journal::open(path, Some(key), mode).await?),
        // A credential of the service is out of an operator's reach, and needed neither to look nor to pull a lever.
        (Err(_), Mode::Read) => Ok(journal::open(path, None, mode).await?),
        (Err(_), Mode::Operate) if path.exists() => Ok(journal::open_without_key(path).await?),
        (Err(failure), Mode::Drive | Mode::Operate) => Err(failure),
    }
}

async fn seal_key(reference: &SecretRef, secrets: &dyn SecretSource) -> Result<SealKey, Failure> {
    let unusable = |sentence: String| Failure::new(Code::Config, format!("[journal] seal_key: {sentence}"));
    let text = secrets.resolve(reference).await.map_err(unusable)?;
    SealKey::from_base64(&text).map_err(|bad| unusable(format!("{reference}: {bad}; nothing was touched")))
}

/// Names that are less alike than this are not taken for a typing error.
const ALIKE_MIN: f64 = 0.75;

/// The vendors that were asked for must be in the configuration.
pub(crate) fn known(settings: &Settings, asked: &[VendorName]) -> Result<(), Failure> {
    let Some(name) = asked.iter().find(|name| !settings.vendors.contains_key(*name)) else { return Ok(()) };
    let failure = Failure::new(Code::Usage, format!("there is no vendor {name} in the configuration"));
    let alike = |other: &VendorName| strsim::jaro_winkler(other.as_str(), name.as_str());
    let nearest = settings.vendors.keys().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    Err(match nearest.filter(|nearest| alike(nearest) >= ALIKE_MIN) {
        Some(nearest) => failure.hinted(format!("did you mean {nearest}?")),
        None => failure.hinted("`keyround status` shows the vendors that there are"),
    })
}
