//! The command line, as typed.

mod incident;
mod issue;
mod journal;
mod offboard;
mod reveal;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::terminal::reason;
use crate::core::ids::{AccountId, AccountName, IamUserName, SinkName, VendorName};
use crate::core::time::Timestamp;
use crate::review::policy::Severity;

pub(crate) use incident::Incident;
pub(crate) use issue::Issue;
pub(crate) use journal::JournalCommand;
pub(crate) use offboard::Offboard;
pub(crate) use reveal::Reveal;

/// Rotate the AWS access keys of third-party vendors without cutting one of them off.
#[derive(Debug, Parser)]
#[command(name = "keyround", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const CONFIG_HELP: &str =
    "Configuration [default: $KEYROUND_CONFIG, ./rotation.toml, /etc/keyround/rotation.toml]";

/// What holds for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    // Not a doc comment: clap would show the backticks that a doc comment needs.
    #[arg(short, long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    pub(crate) config: Option<PathBuf>,
    /// How results are written to standard output
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) format: Output,
    /// How log lines are written to standard error [default: text; fields, where that is systemd's journal]
    #[arg(long, global = true, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// Log more details; can be repeated
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Log only errors, and show no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// What every command can write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Table,
    Json,
}

/// What can be asked for. Findings can be written for other programs too.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
    /// Findings only: comma-separated values
    Csv,
    /// Findings only: SARIF 2.1.0, for code scanning
    Sarif,
    /// Findings only: AWS Security Finding Format, for `BatchImportFindings`
    Asff,
    /// Findings only: OCSF compliance findings
    Ocsf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the scheduler until it is stopped
    Run,
    /// Make one pass: drive each rotation as far as it can go now
    Rotate(Rotate),
    /// Show keys, ages, verdicts and rotations in flight
    Status(Vendors),
    /// Explain why a vendor's key is due or not, and what happens next
    Explain {
        /// The vendor, as in `[vendor.NAME]`
        vendor: VendorName,
    },
    /// Check the configuration; with --online also AWS, rights, vendors and alert sinks
    Check {
        /// Also contact AWS, vendors and alert sinks. Read-only; sends no alerts
        #[arg(long)]
        online: bool,
    },
    /// Play the whole life of a rotation with your configuration, against simulated AWS and vendors
    Rehearse(Vendors),
    /// List the presets for vendors, or show one with a configuration to paste
    #[command(args_conflicts_with_subcommands = true)]
    Vendors(Catalogue),
    /// Send a test alert
    Alert {
        #[command(subcommand)]
        command: AlertCommand,
    },
    /// Send a test message to the webhooks of a vendor
    Webhook {
        #[command(subcommand)]
        command: WebhookCommand,
    },
    /// Review the account: the keys and roles of third parties, and their rights
    Audit(Audit),
    /// Write least-privilege policies, and check policies
    #[command(subcommand)]
    Policy(Policy),
    /// Show what was done, when and by whom
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    History(History),
    /// Check the journal, or change the key that seals it
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Write a report on a period as one HTML file, with evidence
    Report(Report),
    /// Print alert rules and a dashboard for the metrics of `run`
    Metrics {
        #[command(subcommand)]
        command: MetricsCommand,
    },
    /// Draft a configuration from what is found in the account
    ///
    /// An existing file is not overwritten.
    Init {
        /// The file to write; - is standard output [default: the file of --config, or ./rotation.toml]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the new key of a delivery by hand, once
    ///
    /// The journal records this before the key is shown. From then on keyround does not discard the key, even when
    /// the rotation is abandoned.
    Reveal(Reveal),
    /// Confirm that the vendor has the new key of a delivery by hand
    ///
    /// keyround then erases the secret. The old key stays Active until the new one was seen in use.
    Ack {
        /// The vendor, as in `[vendor.NAME]`
        vendor: VendorName,
        /// The IAM user, if the vendor has several
        #[arg(long, value_name = "NAME")]
        user: Option<IamUserName>,
    },
    /// Stop a rotation in flight where it is, until it is resumed
    ///
    /// If the old key is Inactive already, keyround still checks the vendor, and sets the old key Active again if the
    /// vendor needs it. Only a rotation in flight can be held. To prevent one from starting, set `enabled = false` or
    /// `windows` in the vendor's section.
    Hold {
        /// The vendor, as in `[vendor.NAME]`
        vendor: VendorName,
        /// Continue at this time without `resume` (RFC 3339)
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// The reason; it is kept in the history, so it must not contain secrets
        #[arg(long, value_parser = reason)]
        why: String,
    },
    /// Continue a rotation that is held or stuck
    ///
    /// It continues at the next pass: that of the running scheduler, or `keyround rotate VENDOR`.
    Resume {
        /// The vendor, as in `[vendor.NAME]`
        vendor: VendorName,
    },
    /// Set the old key Active again, and start the soak again
    ///
    /// It happens at the next pass: that of the running scheduler, or `keyround rotate VENDOR`.
    Reactivate {
        /// The vendor, as in `[vendor.NAME]`
        vendor: VendorName,
        /// Also a key that an incident was declared for
        #[arg(long)]
        exposed: bool,
        /// The reason; it is kept in the history, so it must not contain secrets
        #[arg(long, value_parser = reason)]
        why: String,
    },
    /// Give a rotation up, and keep every key that the vendor may hold
    ///
    /// A new key that was never offered to the vendor is discarded. If it was offered, the vendor may hold either
    /// key, so both stay as they are, and no other rotation begins before a person has deleted one of them.
    Abandon {
        /// The vendor, as in `[vendor.NAME]`
        vendor: VendorName,
        /// The reason; it is kept in the history, so it must not contain secrets
        #[arg(long, value_parser = reason)]
        why: String,
    },
    /// Declare keys exposed: replace them, or set them Inactive, before all else
    ///
    /// It overrides a rotation under way, holds, windows and every gate of the plan. `keyround run` acts on it within
    /// seconds; where it does not run, this command carries it on. keyround never sets an exposed key Active again.
    Incident(Incident),
    /// Make a key for a vendor whose user has no Active one
    ///
    /// The key is proved at AWS, delivered and verified, and none is replaced. The user must exist, and have no Active
    /// key: `keyround rotate --force` replaces that.
    Issue(Issue),
    /// Set every key of a vendor's user Inactive, and delete it after `cool`
    ///
    /// Until then `keyround reactivate` gives the vendor its keys back. No rotation begins for the user any more, before
    /// `keyround issue`.
    Offboard(Offboard),
    /// Write a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the JSON Schema of rotation.toml, for editors and other programs
    Schema,
    /// Write the manual page, or that of one command
    Man {
        /// The command
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Vendors {
    /// These vendors only; can be repeated
    #[arg(value_name = "VENDOR")]
    pub(crate) vendors: Vec<VendorName>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags of a command line")]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) only: Vendors,
    /// Show what a pass would do and check that it could; changes nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    /// Rotate whether a key is due or not, also outside the vendor's windows
    #[arg(long)]
    pub(crate) force: bool,
    /// With --force and without a vendor: do not ask on the terminal
    #[arg(long)]
    pub(crate) yes: bool,
    /// Wait until each rotation has ended, or needs a person
    #[arg(long)]
    pub(crate) wait: bool,
    /// Exit with 2 when work is due or under way
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Catalogue {
    #[command(subcommand)]
    pub(crate) command: Option<CatalogueCommand>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CatalogueCommand {
    /// Show a preset: what it does, its parameters, and a configuration to paste
    Show {
        /// The preset, as in `preset = "NAME"`
        #[arg(value_name = "PRESET")]
        preset: String,
    },
    /// Write a preset of your own, with comments, to be filled in
    New {
        /// The preset's name: lower-case letters, digits and dashes
        #[arg(value_name = "NAME")]
        name: String,
        /// Write this file, which must not exist yet; without it, NAME.toml in this folder
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Show the findings of these vendors only; can be repeated
    #[arg(value_name = "VENDOR")]
    pub(crate) vendors: Vec<VendorName>,
    /// Show findings of this severity or above
    #[arg(long, value_name = "LEVEL", value_parser = severity)]
    pub(crate) severity: Option<Severity>,
    /// Show only findings that the last review with this option did not have; its findings are kept beside the journal
    #[arg(long)]
    pub(crate) since_last: bool,
    /// Exit with 2 when there is a finding of this severity or above that is not waived
    #[arg(long, value_name = "LEVEL", value_parser = severity)]
    pub(crate) fail_on: Option<Severity>,
    /// Skip the calls that ask AWS what each vendor has used
    #[arg(long)]
    pub(crate) quick: bool,
    /// Ask CloudTrail for the addresses that use each vendor's key, at two keys a second
    #[arg(long)]
    pub(crate) origins: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Write the least-privilege policy of keyround for this configuration
    Rotator(Rotator),
    /// Write the least-privilege policy of a vendor, from its declared actions or from its use
    Vendor(ForVendor),
    /// Write the trust policy of a vendor's role, with an external id
    Trust(Trust),
    /// Check policies of third parties for excess rights
    Lint(Lint),
}

#[derive(Debug, Args)]
pub(crate) struct Rotator {
    /// For the role in this account, as in `[account.NAME]` [default: the ambient credentials]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountName>,
    /// Ask IAM for the account and the paths of the users
    #[arg(long)]
    pub(crate) online: bool,
    /// Include the permissions that `audit` and `init` need
    #[arg(long)]
    pub(crate) review: bool,
    /// Write the trust policy of the role in place of its rights: for the account that the rotator comes from
    #[arg(long, requires = "account", conflicts_with_all = ["online", "review"])]
    pub(crate) trust: bool,
    /// The account that the rotator comes from [default: that of the account that is reached without a role]
    #[arg(long, value_name = "ID", requires = "trust")]
    pub(crate) from_account: Option<AccountId>,
}

#[derive(Debug, Args)]
pub(crate) struct ForVendor {
    /// The vendor, as in `[vendor.NAME]`
    pub(crate) vendor: VendorName,
    /// The source of the actions
    #[arg(long, value_enum, default_value_t = From::Declared)]
    pub(crate) from: From,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum From {
    /// `actions = […]` of the vendor's section
    Declared,
    /// The actions that it has used in the last 90 days, according to IAM
    Used,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// The vendor, as in `[vendor.NAME]`
    pub(crate) vendor: VendorName,
    /// The vendor's account [default: `vendor_account_id` of the vendor's section]
    #[arg(long, value_name = "ID")]
    pub(crate) vendor_account: Option<AccountId>,
    /// The external id that the vendor made for you [default: one is suggested]
    #[arg(long, value_name = "ID", value_parser = external_id)]
    pub(crate) external_id: Option<String>,
}

/// STS's model of an external id.
fn external_id(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    match (2..=1224).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("2 to 1224 letters, digits or any of _+=,.@:/-".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Policies as JSON; with no file, or -, they are read from standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The holder of the policies
    #[arg(long = "for", value_enum, default_value_t = Holder::ThirdParty)]
    pub(crate) holder: Holder,
    /// Exit with 2 when there is a finding of this severity or above
    #[arg(long, value_name = "LEVEL", value_parser = severity)]
    pub(crate) fail_on: Option<Severity>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Holder {
    ThirdParty,
    Rotator,
}

fn severity(text: &str) -> Result<Severity, String> {
    text.parse()
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// This vendor only
    pub(crate) vendor: Option<VendorName>,
    /// From this time on (RFC 3339), or from this day on
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) since: Option<Timestamp>,
    #[command(subcommand)]
    pub(crate) command: Option<HistoryCommand>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Recompute the hash chain over the whole history
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Send a test alert to every sink, or to this one
    Test {
        /// The alert, as in `[alert.NAME]`
        name: Option<SinkName>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Send a signed message without an access key, and show the response
    ///
    /// Its type is `access_key.test`. It is signed, and encrypted, as the message with a new key will be.
    SendTest {
        /// The vendor, as in `[vendor.NAME]`
        vendor: VendorName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The file, which only its owner can read
    #[arg(long, value_name = "FILE.html")]
    pub(crate) output: PathBuf,
    /// Include each vendor's scorecard and the findings of `keyround audit`
    #[arg(long)]
    pub(crate) audit: bool,
    /// From this time on (RFC 3339), or from this day on [default: 90 days ago]
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) since: Option<Timestamp>,
    /// Until this time (RFC 3339), or until this day begins [default: now]
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum MetricsCommand {
    /// Alert rules for Prometheus
    Rules,
    /// A dashboard for Grafana
    Dashboard,
}

fn date(text: &str) -> Result<Timestamp, String> {
    let midnight = format!("{text}T00:00:00Z");
    let parsed = text.parse().or_else(|_| midnight.parse::<Timestamp>());
    parsed.map_err(|_| "not a date such as 2026-11-23, or a time such as 2026-11-23T03:00:00Z".to_owned())
}
