//! The command line of `keyround incident`.

use clap::{Args, ValueEnum};

use crate::cli::terminal::reason;
use crate::core::ids::{AccessKeyId, AccountName, VendorName};
use crate::core::rotation::IncidentMode;

/// The keys that are exposed.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Exposed {
    /// The present key of each IAM user of these vendors, as in `[vendor.NAME]`
    #[arg(value_name = "VENDOR")]
    pub(crate) vendors: Vec<VendorName>,
    /// This key; one that is not its vendor's present key is set Inactive and not replaced
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<AccessKeyId>,
    /// The present keys of the vendors that are delivered to with this preset
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// The present keys of the vendors in this account, as in `[account.NAME]`
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<AccountName>,
    /// The present keys of all vendors
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "keyround incident [OPTIONS] --mode <MODE> --why <WHY> <VENDOR>...")]
pub(crate) struct Incident {
    #[command(flatten)]
    pub(crate) only: Exposed,
    /// The order of things
    #[arg(long, value_enum)]
    pub(crate) mode: How,
    /// The reason; it is kept in the history, so it must not contain secrets
    #[arg(long, value_parser = reason)]
    pub(crate) why: String,
    /// Show what would be done to which key; changes nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Declare it without asking, as is needed where there is no terminal
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum How {
    /// The key leaked: the vendor gets a new key, then the exposed one is set Inactive at once
    ReplaceFirst,
    /// Somebody is using the key: it is set Inactive at once, then the vendor gets a new one
    CutFirst,
    /// The vendor is breached: its keys are set Inactive at once, and no new one is made before `resume`
    CutAndHold,
}

impl From<How> for IncidentMode {
    fn from(how: How) -> IncidentMode {
        match how {
            How::ReplaceFirst => IncidentMode::ReplaceFirst,
            How::CutFirst => IncidentMode::CutFirst,
            How::CutAndHold => IncidentMode::CutAndHold,
        }
    }
}
