//! The operator's levers: each is one event in the journal, with who and why.
//!
//! They need no rotation to stand still: the append is compared, and the driver looks at the
//! journal before each effect.

use std::path::Path;

use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, setup};
use crate::ids::VendorName;
use crate::journal::Mode;
use crate::ports::{Entry, Journal, JournalError, Known, SecretChange};
use crate::rotation::{Event, Next, Rotation};
use crate::secrets::Secrets;
use crate::time::{SystemClock, Timestamp};

/// How often another writer may be faster before this gives up.
const ATTEMPTS_MAX: u32 = 20;

pub(crate) enum Lever {
    Hold { until: Option<Timestamp>, why: String },
    Resume,
    Reactivate { why: String },
    Abandon { why: String },
}

impl Lever {
    fn event(&self, at: Timestamp) -> Event {
        let by = operator();
        match self {
            Lever::Hold { until, why } => Event::Held { until: *until, by, why: why.clone(), at },
            Lever::Resume => Event::Resumed { by, at },
            Lever::Reactivate { why } => Event::ReactivationAsked { by, why: why.clone(), at },
            Lever::Abandon { why } => Event::Abandoned { by, why: why.clone(), at },
        }
    }
}

/// Who pulls the lever: the user behind sudo, if there is one.
fn operator() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"];
    names.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| "unknown".to_owned())
}

pub(crate) async fn pull(config: Option<&Path>, vendor: &VendorName, lever: Lever, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let session = std::sync::Arc::new(crate::aws::AwsSession::new(&settings.aws));
    let journal = setup::journal(&settings, &Secrets::new(&session), Mode::Operate).await?;
    let in_flight = journal.in_flight().await?;
    let known: Vec<Known> = in_flight.into_iter().filter(|known| known.subject.vendor == *vendor).collect();
    if known.is_empty() {
        let message = format!("{vendor} has no rotation in flight");
        return Err(Failure::new(Code::Failed, message).hinted("`keyround status` shows what is under way"));
    }
    for known in &known {
        let rotation = pull_one(journal.as_ref(), known, &lever).await?;
        screen.show(&format!("{vendor}, IAM user {}: {}", known.subject.iam_user, outlook(&rotation)));
    }
    Ok(Code::Fine)
}

async fn pull_one(journal: &dyn Journal, known: &Known, lever: &Lever) -> Result<Rotation, Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let events = journal.read(known.rotation).await?;
        let replayed = Rotation::replay(known.rotation, &events);
        let mut rotation = replayed.map_err(|illegal| Failure::new(Code::Config, illegal.to_string()))?;
        let stage = rotation.stage().name();
        let needed_secret = rotation.needs_secret();
        let event = lever.event(SystemClock.now());
        rotation.apply(&event).map_err(|_| {
            let message = format!("{} is not possible in stage {stage}; nothing was changed", event.name());
            Failure::new(Code::Failed, message)
        })?;
        let erase = needed_secret && !rotation.needs_secret();
        let entry = Entry {
            rotation: known.rotation,
            number: rotation.events(),
            event: &event,
            secret: if erase { SecretChange::Erase } else { SecretChange::Keep },
            ends: matches!(rotation.next(Timestamp::NEVER), Next::Ended(_)),
        };
        match journal.append(entry).await {
            Err(JournalError::Conflict { .. }) => {}
            appended => {
                appended?;
                return Ok(rotation);
            }
        }
    }
    Err(Failure::new(Code::TryAgain, "the rotation moved on each time; try again"))
}

fn outlook(rotation: &Rotation) -> String {
    match rotation.next(SystemClock.now()) {
        Next::Perform(effect) => format!("next step: {}, at the next pass", effect.name()),
        Next::Wait { why, .. } => why.to_string(),
        Next::Stuck(blocker) => blocker.to_string(),
        Next::Ended(ending) => format!("the rotation is over: {}", ending.as_str()),
    }
}
