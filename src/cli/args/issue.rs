//! The command line of `keyround issue`.

use clap::Args;

use crate::core::ids::{IamUserName, VendorName};

#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// The vendor, as in `[vendor.NAME]`
    pub(crate) vendor: VendorName,
    /// The IAM user, if the vendor has several
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<IamUserName>,
}
