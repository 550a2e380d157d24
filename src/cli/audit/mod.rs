//! `audit`: reviews the accounts, and writes the result for people or for programs.

mod declared;
mod since;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::adapters::aws::AwsSession;
use crate::adapters::aws::iam::AwsAccounts;
use crate::adapters::journal::Mode;
use crate::cli::args::{self, Output};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::findings::{asff, csv, ocsf, sarif};
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::config::settings::Access;
use crate::core::ids::{AccountId, AccountName, VendorName};
use crate::core::time::SystemClock;
use crate::ports::{Fault, Scope, Surveys};
use crate::review::audit::{self, Facts, Finding, Review};

pub(crate) use declared::{JournalKeys, account_of, declared, scope};
use view::AuditView;

/// One account, its facts and its review.
pub(crate) struct Reviewed {
    pub(crate) account: Option<AccountName>,
    pub(crate) facts: Facts,
    pub(crate) review: Review,
}

pub(crate) async fn audit(config: Option<&Path>, asked: args::Audit, screen: &Screen) -> Ended {
    let (path, settings) = setup::settings(config, screen.color)?;
    if let Some(name) = asked.vendors.iter().find(|name| !settings.vendors.contains_key(*name)) {
        return Err(Failure::new(Code::Usage, format!("there is no [vendor.{name}] in the configuration")));
    }
    let mut reviewed = reviews(&settings, !asked.quick, asked.origins).await?;
    if asked.since_last {
        let last = since::Last::read(&settings.journal.path)?;
        let found = since::ids(&reviewed);
        let gone = last.keep_new(&mut reviewed, &found);
        last.remember(&found)?;
        if !gone.is_empty() {
            tracing::info!("not found any more: {}", gone.join(", "));
        }
    }
    for one in &mut reviewed {
        narrow(&mut one.review, &asked);
    }
    show(&reviewed, &path, &settings, screen);
    Ok(code(&reviewed, &asked))
}

/// Reviews every account in the configuration. `usage` and `origins` are those of the [`Scope`].
pub(crate) async fn reviews(
    settings: &Settings,
    usage: bool,
    origins: bool,
) -> Result<Vec<Reviewed>, Failure> {
    reviews_of(settings, &journalled(settings).await?, usage, origins).await
}

/// The same, with what the journal records.
pub(crate) async fn reviews_of(
    settings: &Settings,
    journalled: &JournalKeys,
    usage: bool,
    origins: bool,
) -> Result<Vec<Reviewed>, Failure> {
    let session = Arc::new(AwsSession::new(&settings.aws));
    let accounts = AwsAccounts::connect(&session, &settings.accounts);
    let mut reviewed: Vec<Reviewed> = Vec::new();
    for account in accounts_of(settings) {
        let scope = Scope { usage, origins, ..declared::scope(settings, account.as_ref()) };
        let facts = facts(&accounts, account.as_ref(), &scope).await?;
        // Two names may mean the same account. It is reviewed once, with the vendors of both names.
        if reviewed.iter().any(|other| other.facts.account_id == facts.account_id) {
            continue;
        }
        let declared = declared::declared(settings, &facts.account_id, account.as_ref(), journalled);
        let review = audit::review(&facts, &declared);
        reviewed.push(Reviewed { account, facts, review });
    }
    Ok(reviewed)
}

/// The facts of one account. Without them there is no review.
pub(crate) async fn facts(
    accounts: &AwsAccounts,
    account: Option<&AccountName>,
    scope: &Scope,
) -> Result<Facts, Failure> {
    let now = SystemClock::now(SystemClock);
    accounts.survey(account).facts(scope, now).await.map_err(|fault| {
        let code = match &fault {
            Fault::Refused(_) => Code::Failed,
            Fault::Unknown(_) => Code::TryAgain,
        };
        let of = account.map(|name| format!(" {name}")).unwrap_or_default();
        Failure::new(code, format!("the account{of} cannot be reviewed: {}", fault.sentence()))
            .hinted("`keyround policy rotator --review` writes the rights that a review takes")
    })
}

/// The accounts that vendors are in; if there is none, the account of the ambient credentials.
fn accounts_of(settings: &Settings) -> BTreeSet<Option<AccountName>> {
    let mut accounts: BTreeSet<Option<AccountName>> = BTreeSet::new();
    for vendor in settings.vendors.values() {
        accounts.insert(match &vendor.access {
            Access::Key(access) => access.account.clone(),
            Access::Role { role_arn, .. } => declared::account_of(settings, role_arn),
        });
    }
    if accounts.is_empty() {
        accounts.insert(None);
    }
    accounts
}

/// What the journal records; empty if there is no journal.
async fn journalled(settings: &Settings) -> Result<JournalKeys, Failure> {
    if settings.journal.database.is_none() && !settings.journal.path.exists() {
        return Ok(JournalKeys::default());
    }
    let journal = setup::journal_alone(settings, Mode::Read).await?;
    Ok(JournalKeys::read(journal.as_ref()).await?)
}

fn show(reviewed: &[Reviewed], path: &Path, settings: &Settings, screen: &Screen) {
    let view = AuditView::new(reviewed);
    let findings: BTreeMap<&AccountId, &[Finding]> =
        reviewed.iter().map(|one| (&one.facts.account_id, one.review.findings.as_slice())).collect();
    match screen.output {
        Output::Table => screen.show(&view.as_table(screen.columns)),
        Output::Json => screen.show_json(&view),
        Output::Csv => screen.show(&csv::table(&findings)),
        Output::Sarif => {
            let configuration = sarif::Configuration::read(path, settings);
            screen.show_json(&sarif::log(&sarif::of_accounts(&findings, &configuration)));
        }
        Output::Asff => match asff::batches(reviewed, settings.aws.region.as_deref()).as_slice() {
            [one] => screen.show_json(one),
            // One list a line, so that a shell can hand each to one call.
            many => {
                for batch in many {
                    screen.show(&serde_json::json!(batch).to_string());
                }
            }
        },
        Output::Ocsf => screen.show_json(&ocsf::events(reviewed)),
    }
}

/// Removes everything but the vendors and severities that the command line asks for.
fn narrow(review: &mut Review, asked: &args::Audit) {
    let is_asked = |vendor: Option<&VendorName>| {
        asked.vendors.is_empty() || vendor.is_some_and(|name| asked.vendors.contains(name))
    };
    let is_bad = |finding: &Finding| asked.severity.is_none_or(|least| finding.severity() >= least);
    review.findings.retain(|finding| is_asked(finding.vendor.as_ref()) && is_bad(finding));
    review.scorecard.retain(|score| is_asked(Some(&score.vendor)));
    review.ranking.retain(|ranked| is_asked(ranked.vendor.as_ref()));
}

/// The exit code. A waived finding does not count.
fn code(reviewed: &[Reviewed], asked: &args::Audit) -> Code {
    let findings = reviewed.iter().flat_map(|one| &one.review.findings);
    let worst = findings.filter(|finding| finding.waived.is_none()).map(Finding::severity).max();
    match (asked.fail_on, worst) {
        (Some(level), Some(worst)) if worst >= level => Code::WorkIsDue,
        _ => Code::Fine,
    }
}
