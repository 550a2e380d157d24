//! `rehearse`: simulates the whole life of a rotation with the operator's own configuration.
//!
//! Each user has a simulated world, in which its key is new on day 0. The real engine runs its real passes in that
//! world until the key is replaced, and everything that happens is recorded.

mod notebook;
mod person;
mod timeline;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::adapters::delivery::{ConfiguredVendors, Transports};
use crate::adapters::journal::MemoryJournal;
use crate::adapters::rehearsal::{
    JumpingClock, PlaceholderSecrets, RehearsalWorld, StandInAccounts, StandInVendors,
};
use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::config::settings::{Access, KeyAccess, Users, VendorSettings};
use crate::core::ids::{AccountId, AccountName, IamUserName, Subject, VendorName};
use crate::core::rotation::{KeyMetadata, KeyStatus};
use crate::core::time::{SystemClock, Timestamp};
use crate::engine::{Cadence, Engine, World, delivery_checks};
use crate::ports::Check;

use notebook::Notebook;
use timeline::Play;

/// A rotation that has not finished this long after all its waits is shown unfinished.
const PATIENCE: Duration = Duration::from_hours(30 * 24);

pub(crate) async fn rehearse(config: Option<&Path>, only: &[VendorName], screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, only)?;
    let mut plays = Vec::new();
    for vendor in settings.vendors.values() {
        if !only.is_empty() && !only.contains(&vendor.name) {
            continue;
        }
        match &vendor.access {
            Access::Role { role_arn, .. } => plays.push(Play::nothing_to_rotate(&vendor.name, role_arn)),
            Access::Key(access) => {
                for user in cast(access) {
                    plays.push(play(&settings, vendor, access, &user).await?);
                }
            }
        }
    }
    match screen.format {
        Format::Json => screen.show_json(&plays),
        Format::Table => screen.show(&timeline::render(&plays)),
    }
    Ok(if plays.iter().all(Play::is_good) { Code::Fine } else { Code::Failed })
}

/// Checks the sample responses in the steps of this vendor against what the steps expect. Returns only failed checks.
pub(super) async fn wrong_samples(settings: &Settings, vendor: &VendorSettings) -> Vec<Check> {
    let Access::Key(access) = &vendor.access else { return Vec::new() };
    let Some(user) = cast(access).into_iter().next() else { return Vec::new() };
    let now = SystemClock.now();
    let subject =
        Subject { vendor: vendor.name.clone(), account: access.account.clone(), iam_user: user.clone() };
    let stage = RehearsalWorld::new(now, account_ids(settings));
    let id = stage.hand_out_key(&subject, now);
    let stand_ins = StandInVendors::new(stage.clone(), &settings.vendors);
    let clock = JumpingClock::new(stage.clone(), now, CancellationToken::new());
    let world = world(settings, vendor, &user, &stage, stand_ins, clock);
    let old = KeyMetadata { id, status: KeyStatus::Active, created_at: now };
    let account_id = stage.account_id(&subject);
    let mut checks = delivery_checks(&world, &subject, Some(&old.id), account_id).await;
    checks.retain(|check| !check.ok && check.check.ends_with(": sample"));
    checks
}

/// The users of a vendor. Only AWS knows which users are under a path, so one is made up for it.
fn cast(access: &KeyAccess) -> Vec<IamUserName> {
    match &access.users {
        Users::Named(users) => users.clone(),
        Users::Path(_) => {
            vec!["somebody-under-this-path".parse().expect("letters and dashes are a user name")]
        }
    }
}

async fn play(
    settings: &Settings,
    vendor: &VendorSettings,
    access: &KeyAccess,
    user: &IamUserName,
) -> Result<Play, Failure> {
    let day_0 = SystemClock.now();
    let subject =
        Subject { vendor: vendor.name.clone(), account: access.account.clone(), iam_user: user.clone() };
    let stage = RehearsalWorld::new(day_0, account_ids(settings));
    let first_key = stage.hand_out_key(&subject, day_0);
    let stand_ins = StandInVendors::new(stage.clone(), &settings.vendors);
    let notebook = Arc::new(Notebook::new(stage.clone(), stand_ins.clone()));
    let end = day_0 + lifetime(access);
    let clock = |curtain: &CancellationToken| JumpingClock::new(stage.clone(), end, curtain.clone());
    let world = world(settings, vendor, user, &stage, stand_ins, clock(&CancellationToken::new()));
    loop {
        let curtain = CancellationToken::new();
        notebook.begin_rehearsal(curtain.clone());
        let (_keep, worlds) = watch::channel(World { clock: Arc::new(clock(&curtain)), ..world.clone() });
        let mut engine = Engine::new(worlds, curtain, Arc::clone(&notebook) as _);
        engine.work(&Cadence::Scheduled).await?;
        if !notebook.waits_for_person() {
            break;
        }
        person::hand_over(&world, &notebook).await?;
    }
    Ok(Play::new(&subject, day_0, &first_key, access, &notebook, &stage))
}

fn lifetime(access: &KeyAccess) -> Duration {
    let plan = &access.plan;
    access.ages.limit() + plan.soak + plan.quiet_for + plan.cool + PATIENCE
}

fn account_ids(settings: &Settings) -> std::collections::BTreeMap<AccountName, AccountId> {
    let known =
        settings.accounts.iter().filter_map(|(name, account)| Some((name.clone(), account.id.clone()?)));
    known.collect()
}

/// A world with the operator's configuration reduced to one vendor and one user, in which AWS and the vendor are
/// stand-ins.
fn world(
    settings: &Settings,
    vendor: &VendorSettings,
    user: &IamUserName,
    stage: &RehearsalWorld,
    stand_ins: StandInVendors,
    clock: JumpingClock,
) -> World {
    let mut settings = settings.clone();
    let mut vendor = VendorSettings { enabled: true, ..vendor.clone() };
    if let Access::Key(access) = &mut vendor.access {
        access.users = Users::Named(vec![user.clone()]);
    }
    settings.vendors = [(vendor.name.clone(), vendor)].into();
    let secrets = PlaceholderSecrets::new(&settings.vendors);
    let stand_ins = Arc::new(stand_ins);
    let ways =
        Transports { egress: stand_ins.clone(), secret_stores: stand_ins.clone(), programs: stand_ins };
    let vendors = ConfiguredVendors::new(&settings.vendors, ways, Arc::new(secrets));
    World {
        settings: Arc::new(settings),
        clock: Arc::new(clock),
        journal: Arc::new(MemoryJournal::default()),
        accounts: Arc::new(StandInAccounts(stage.clone())),
        vendors: Arc::new(vendors),
        starts: Arc::default(),
    }
}

/// The number of days since the rehearsal began, as the timeline counts them.
fn day(day_0: Timestamp, at: Timestamp) -> u64 {
    at.days_since(day_0)
}
