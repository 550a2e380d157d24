//! The command line of `keyround reveal`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::terminal::reason;
use crate::config::Recipient;
use crate::core::ids::{IamUserName, VendorName};

#[derive(Debug, Args)]
pub(crate) struct Reveal {
    /// The vendor, as in `[vendor.NAME]`
    pub(crate) vendor: VendorName,
    /// The IAM user, if the vendor has several
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<IamUserName>,
    /// Encrypt the key to this age recipient (age1…)
    #[arg(long = "for", value_name = "RECIPIENT")]
    pub(crate) recipient: Option<Recipient>,
    /// Write the encrypted key to this new file, with mode 0600
    #[arg(long, value_name = "FILE", requires = "recipient")]
    pub(crate) output: Option<PathBuf>,
    /// Show the key although it was shown before
    #[arg(long, requires = "why")]
    pub(crate) again: bool,
    /// The reason for showing it again; it is kept in the history, so it must not contain secrets
    #[arg(long, requires = "again", value_parser = reason)]
    pub(crate) why: Option<String>,
}
