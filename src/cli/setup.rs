//! The wiring: builds a [`World`] from the settings. This is the only module that names concrete adapters.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;

use crate::adapters::aws::AwsSession;
use crate::adapters::aws::iam::AwsAccounts;
use crate::adapters::aws::secret_store::AwsSecretStores;
use crate::adapters::delivery::{ConfiguredVendors, HttpsEgress, LocalPrograms, Transports};
use crate::adapters::journal::{self, Mode, SealKey};
use crate::adapters::notify::{HttpHeartbeat, routes};
use crate::adapters::secrets::Secrets;
use crate::alerting::Routing;
use crate::cli::exit::{Code, Failure};
use crate::config::{self, ConfigError, DatabaseUrl, SecretRef, Settings};
use crate::core::ids::VendorName;
use crate::core::secret::Secret;
use crate::core::time::{MonotonicInstant, SystemClock, Timestamp};
use crate::engine::World;
use crate::ports::{Accounts, Clock, Heartbeat, Journal, JournalError, SecretSource, Shown, SinkTransport};
use crate::status::metrics::{Calls, CountedAccounts};
use crate::status::server::{self, Server};

/// The longest single sleep. A longer one is split, so that a changed clock or a suspended machine is noticed.
const LONGEST_SLEEP_SECS: u64 = 60;
/// A sleep ends early if the clock was changed by more than this.
const SET_SECS_MIN: u64 = 5;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemClock::now(*self)
    }

    async fn sleep_until(&self, until: Timestamp) {
        let (from, began) = (SystemClock::now(*self), MonotonicInstant::now());
        loop {
            let now = SystemClock::now(*self);
            let left = until.since(now);
            // The readings of two clocks in whole seconds may differ by one, and a time service slews the clock, so a
            // small difference does not count as a change.
            let passed = began.elapsed().as_secs().cast_signed();
            let was_set = (now.unix_seconds() - from.unix_seconds() - passed).unsigned_abs() > SET_SECS_MIN;
            if left.is_zero() || was_set {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(LONGEST_SLEEP_SECS))).await;
        }
    }

    fn set_forward_since(&self, at: Timestamp) -> std::time::Duration {
        SystemClock::set_forward_since(*self, at)
    }
}

/// Loads the configuration that the command line names. Mistakes in it are rendered into the failure; warnings are
/// logged.
pub(crate) fn settings(path: Option<&Path>, color: bool) -> Result<(PathBuf, Settings), Failure> {
    let found = config::find(path);
    let settings = config::load_found(&found).map_err(|error| {
        let message = match &error {
            ConfigError::Mistakes(mistakes) => mistakes.render(color),
            other => other.to_string(),
        };
        Failure::new(Code::Config, message)
    })?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    Ok((found.path, settings))
}

/// A world with the real AWS, the real vendors and the configured journal.
pub(crate) async fn world(settings: Settings, mode: Mode) -> Result<World, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    let secrets: Arc<dyn SecretSource> = Arc::new(Secrets::new(&session));
    let journal = journal(&settings, secrets.as_ref(), mode).await?;
    world_with(settings, &session, secrets, journal)
}

/// A world with newly loaded settings and the journal that is already open.
pub(crate) fn world_again(settings: Settings, journal: Arc<dyn Journal>) -> Result<World, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    let secrets: Arc<dyn SecretSource> = Arc::new(Secrets::new(&session));
    world_with(settings, &session, secrets, journal)
}

/// The real vendors, without a journal and without a call to IAM.
pub(crate) fn vendors(settings: &Settings) -> Result<ConfiguredVendors, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    let secrets: Arc<dyn SecretSource> = Arc::new(Secrets::new(&session));
    vendors_with(settings, &session, secrets)
}

fn vendors_with(
    settings: &Settings,
    session: &Arc<AwsSession>,
    secrets: Arc<dyn SecretSource>,
) -> Result<ConfiguredVendors, Failure> {
    let egress = HttpsEgress::new().map_err(|error| Failure::new(Code::Failed, error.to_string()))?;
    let ways = Transports {
        egress: Arc::new(egress),
        secret_stores: Arc::new(AwsSecretStores::new(session, &settings.accounts)),
        programs: Arc::new(LocalPrograms),
    };
    Ok(ConfiguredVendors::new(&settings.vendors, ways, secrets))
}

fn world_with(
    settings: Settings,
    session: &Arc<AwsSession>,
    secrets: Arc<dyn SecretSource>,
    journal: Arc<dyn Journal>,
) -> Result<World, Failure> {
    let vendors = vendors_with(&settings, session, secrets)?;
    let accounts: Arc<dyn Accounts> = Arc::new(AwsAccounts::connect(session, &settings.accounts));
    Ok(World {
        settings: Arc::new(settings),
        clock: Arc::new(SystemClock),
        journal,
        accounts,
        vendors: Arc::new(vendors),
        starts: Arc::default(),
    })
}

/// The alert sinks and the heartbeat. They have their own HTTP connections, so that a slow sink delays no vendor.
pub(crate) fn routing(settings: &Settings) -> Result<Routing, Failure> {
    if settings.alerts.is_empty() && settings.heartbeat.is_none() {
        return Ok(Routing::default());
    }
    let session = Arc::new(AwsSession::new(&settings.aws));
    let secrets: Arc<dyn SecretSource> = Arc::new(Secrets::new(&session));
    let egress = HttpsEgress::new().map_err(|error| Failure::new(Code::Failed, error.to_string()))?;
    let transport: Arc<dyn SinkTransport> = Arc::new(egress);
    let heartbeat = settings.heartbeat.as_ref().map(|heartbeat| {
        let heartbeat: Arc<dyn Heartbeat> = Arc::new(HttpHeartbeat::new(heartbeat, &transport, &secrets));
        heartbeat
    });
    Ok(Routing { routes: routes(&settings.alerts, &transport, &secrets, &session), heartbeat })
}

/// The same world, with its calls to AWS counted in `calls`.
pub(crate) fn counted(world: World, calls: &Arc<Calls>) -> World {
    let accounts = CountedAccounts { accounts: world.accounts, calls: Arc::clone(calls) };
    World { accounts: Arc::new(accounts), ..world }
}

/// The HTTP server of `[serve]`, listening; `None` if it is not configured. A new address or token takes effect only
/// after a restart.
pub(crate) async fn server(
    settings: &Settings,
    shown: Arc<dyn Shown>,
    calls: Arc<Calls>,
) -> Result<Option<(Server, TcpListener)>, Failure> {
    let Some(serve) = &settings.serve else { return Ok(None) };
    let token = match &serve.token {
        None => None,
        Some(reference) => {
            let secrets = Secrets::new(&Arc::new(AwsSession::new(&settings.aws)));
            let unusable = |why: String| Failure::new(Code::Config, format!("the token of [serve] {why}"));
            Some(secrets.resolve(reference).await.map_err(unusable)?)
        }
    };
    let listener = server::listen(serve.listen).await;
    let listener = listener.map_err(|error| Failure::new(Code::TryAgain, error.to_string()))?;
    tracing::info!("serving the page, /metrics, /healthz and /api/status at http://{}", serve.listen);
    Ok(Some((Server { shown, calls, token }, listener)))
}

/// Opens the journal for commands that need nothing else of the world.
pub(crate) async fn journal_alone(settings: &Settings, mode: Mode) -> Result<Arc<dyn Journal>, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    journal(settings, &Secrets::new(&session), mode).await
}

/// How often a journal does its pending work on disk, such as wiping an erased secret from the write-ahead log.
const TEND_EVERY: Duration = Duration::from_secs(5);

/// Every journal that this process opened, so that each one is closed whichever way the command ends.
static OPENED: Mutex<Vec<Arc<dyn Journal>>> = Mutex::new(Vec::new());

/// Closes all opened journals. Afterwards each is one file, and a copy of that file is complete.
pub(crate) async fn close_journals() {
    let opened = std::mem::take(&mut *OPENED.lock().unwrap_or_else(PoisonError::into_inner));
    for journal in opened {
        if let Err(error) = journal.close().await {
            tracing::warn!("{error}");
        }
    }
}

/// Opens the configured journal and registers it for closing. If it may be written, a task does its pending work.
async fn journal(
    settings: &Settings,
    secrets: &dyn SecretSource,
    mode: Mode,
) -> Result<Arc<dyn Journal>, Failure> {
    let journal = open_journal(settings, secrets, mode).await?;
    OPENED.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&journal));
    if mode != Mode::Read {
        let tended = Arc::downgrade(&journal);
        tokio::spawn(async move {
            while let Some(journal) = tended.upgrade() {
                journal.tend().await;
                drop(journal);
                tokio::time::sleep(TEND_EVERY).await;
            }
        });
    }
    Ok(journal)
}

async fn open_journal(
    settings: &Settings,
    secrets: &dyn SecretSource,
    mode: Mode,
) -> Result<Arc<dyn Journal>, Failure> {
    let path = &settings.journal.path;
    if let Some(database) = &settings.journal.database {
        return open_database(settings, database, secrets, mode).await;
    }
    check_that_it_exists(path, mode)?;
    let Some(reference) = &settings.journal.seal_key else {
        return Ok(journal::open(path, None, mode).await?);
    };
    match (seal_key(reference, secrets).await, mode) {
        (Ok(key), _) => Ok(journal::open(path, Some(key), mode).await?),
        // An operator may be unable to read a credential of the service. Neither reading nor an operator command needs
        // the key.
        (Err(_), Mode::Read) => Ok(journal::open(path, None, mode).await?),
        (Err(_), Mode::Operate) if path.exists() => Ok(journal::open_without_key(path).await?),
        (Err(failure), Mode::Drive | Mode::Operate) => Err(failure),
    }
}

async fn open_database(
    settings: &Settings,
    database: &DatabaseUrl,
    secrets: &dyn SecretSource,
    mode: Mode,
) -> Result<Arc<dyn Journal>, Failure> {
    let url = database_url(database, secrets).await?;
    let key = match &settings.journal.seal_key {
        Some(reference) => seal_key(reference, secrets).await.map(Some),
        None => Ok(None),
    };
    let key = match (key, mode) {
        (Ok(key), _) => key,
        // As for a file: neither reading nor an operator command needs the key.
        (Err(_), Mode::Read | Mode::Operate) => None,
        (Err(failure), Mode::Drive) => return Err(failure),
    };
    Ok(journal::open_database(&url, key, mode).await?)
}

/// Resolves the URL of a database.
pub(crate) async fn database_url(
    database: &DatabaseUrl,
    secrets: &dyn SecretSource,
) -> Result<Secret, Failure> {
    match database {
        DatabaseUrl::Plain(url) => Ok(Secret::from(url.as_str())),
        DatabaseUrl::Referred(reference) => {
            let unusable = |sentence: String| {
                JournalError::Unavailable(format!("the url of the journal cannot be read: {sentence}"))
            };
            Ok(secrets.resolve(reference).await.map_err(unusable)?)
        }
    }
}

/// Warns if a journal to be read does not exist, because rotations under way are then not shown. Fails if the journal
/// is in the current folder instead, where earlier versions kept it.
fn check_that_it_exists(path: &Path, mode: Mode) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let here = Path::new(config::JOURNAL_NAME);
    if path.file_name() == Some(here.as_os_str()) && here.exists() {
        let message = format!(
            "there is a journal in the current folder and none at {}, where it belongs: beside the configuration",
            path.display()
        );
        return Err(Failure::new(Code::Config, message)
            .hinted("stop keyround and move keyround.db* and seal.key there, or write [journal] url"));
    }
    if mode == Mode::Read {
        tracing::warn!(
            "there is no journal at {}: rotations of another journal are not shown",
            path.display()
        );
    }
    Ok(())
}

/// Resolves a reference to the seal key.
pub(crate) async fn seal_key(reference: &SecretRef, secrets: &dyn SecretSource) -> Result<SealKey, Failure> {
    let unusable =
        |sentence: String| Failure::from(JournalError::SealKey(format!("[journal] seal_key: {sentence}")));
    let text = secrets.resolve(reference).await.map_err(unusable)?;
    SealKey::from_base64(&text).map_err(|bad| unusable(format!("{reference}: {bad}; nothing was touched")))
}

/// The minimum similarity, from 0 to 1, at which a vendor name is suggested for a misspelled one.
const ALIKE_MIN: f64 = 0.75;

/// Fails if one of the given vendors is not in the configuration, and suggests a similar name.
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
