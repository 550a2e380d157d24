//! The command line of `keyround offboard`.

use clap::Args;

use crate::cli::terminal::reason;
use crate::core::ids::{IamUserName, VendorName};

#[derive(Debug, Args)]
pub(crate) struct Offboard {
    /// The vendor, as in `[vendor.NAME]`
    pub(crate) vendor: VendorName,
    /// The IAM user, if the vendor has several and not all are meant
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<IamUserName>,
    /// The reason; it is kept in the history, so it must not contain secrets
    #[arg(long, value_parser = reason)]
    pub(crate) why: String,
    /// Show what would be done to which key; changes nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Do it without asking, as is needed where there is no terminal
    #[arg(long)]
    pub(crate) yes: bool,
}
