//! What the configuration says, as far as the rules need to know it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::facts::{Facts, Role, User};
use super::known::{self, KnownVendor};
use crate::core::ids::{AccessKeyId, AccountId, IamUserName, VendorName};
use crate::core::schedule::Ages;
use crate::core::time::Timestamp;
use crate::review::policy::Pattern;

/// What the configuration says of one account.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The vendors of that account, by name.
    pub vendors: Vec<DeclaredVendor>,
    /// The accounts that the configuration knows as its own.
    pub own_accounts: BTreeSet<AccountId>,
    /// The users of whom a rotation is under way.
    pub rotating: BTreeSet<IamUserName>,
    /// The keys that the journal made.
    pub made: BTreeSet<AccessKeyId>,
    /// The vendor for which each user was rotated last, by the journal.
    pub rotated_for: BTreeMap<IamUserName, VendorName>,
    /// How many alert sinks there are; `None`: this is not judged.
    pub alert_sinks: Option<usize>,
    /// What is accepted.
    pub waivers: Vec<Waiver>,
}

/// A vendor.
#[derive(Clone, Debug)]
pub struct DeclaredVendor {
    /// Its name.
    pub name: VendorName,
    /// Whether its keys are rotated; `enabled = false` stops that.
    pub enabled: bool,
    /// What it was given.
    pub given: Given,
    /// The actions that it says it needs; empty: it does not say.
    pub actions: Vec<Pattern>,
    /// What is known of it.
    pub known: Option<&'static KnownVendor>,
}

/// What a vendor was given.
#[derive(Clone, Debug)]
pub enum Given {
    /// Access keys.
    Keys {
        /// The users that are named.
        users: Vec<IamUserName>,
        /// The path under which every user is meant.
        path: Option<String>,
        /// When a key is due.
        ages: Ages,
        /// How its keys are rotated.
        care: Care,
    },
    /// A role.
    Role {
        /// Its ARN.
        role_arn: String,
        /// The vendor's own account.
        vendor_account_id: Option<AccountId>,
    },
}

/// How carefully a vendor's key is rotated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Care {
    /// Both keys stay active at least this long.
    pub soak: Duration,
    /// The old key stays Inactive this long.
    pub cool: Duration,
    /// Whether the vendor is asked which key is in force.
    pub verified: bool,
}

/// A finding that is accepted. All of it is demanded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiver {
    /// The rule's code.
    pub rule: String,
    /// The subject: an ARN, or the name at its end.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// The first moment at which it is not accepted any more.
    pub until: Timestamp,
}

impl DeclaredVendor {
    /// Whether this user's keys are the vendor's.
    #[must_use]
    pub fn has(&self, user: &User) -> bool {
        match &self.given {
            Given::Keys { users, path, .. } => {
                let named = users.iter().any(|name| name.as_str().eq_ignore_ascii_case(user.name.as_str()));
                named || path.as_ref().is_some_and(|path| user.path.starts_with(path.as_str()))
            }
            Given::Role { .. } => false,
        }
    }

    /// How its key is rotated now: a command, and what must be done before it.
    #[must_use]
    pub fn rotate(&self, force: bool) -> String {
        let (name, force) = (&self.name, if force { " --force" } else { "" });
        let first = if self.enabled { "" } else { "set enabled = true in its section; then " };
        format!("{first}`keyround rotate {name}{force}`")
    }

    /// The services that its declared actions are of.
    #[must_use]
    pub fn services(&self) -> BTreeSet<String> {
        let service = |action: &Pattern| action.action().map(|(service, _)| service.to_ascii_lowercase());
        self.actions.iter().filter_map(service).collect()
    }
}

impl Declared {
    /// The vendors that claim this user.
    pub fn claimants(&self, user: &User) -> impl Iterator<Item = &DeclaredVendor> {
        self.vendors.iter().filter(|vendor| vendor.has(user))
    }

    /// The vendor whose user this is.
    #[must_use]
    pub fn vendor_of(&self, user: &User) -> Option<&DeclaredVendor> {
        self.claimants(user).next()
    }

    /// The vendor whose role this is.
    #[must_use]
    pub fn vendor_of_role(&self, role: &Role) -> Option<&DeclaredVendor> {
        self.vendors.iter().find(|vendor| match &vendor.given {
            Given::Role { role_arn, .. } => *role_arn == role.arn,
            Given::Keys { .. } => false,
        })
    }

    /// The vendor with a role that had this user's keys before: by the journal, or by the user's name.
    #[must_use]
    pub fn moved_from(&self, user: &User) -> Option<&DeclaredVendor> {
        let same = |name: &&IamUserName| name.as_str().eq_ignore_ascii_case(user.name.as_str());
        let by_journal = self.rotated_for.keys().find(same).and_then(|name| self.rotated_for.get(name));
        let is_it = |vendor: &DeclaredVendor| match by_journal {
            Some(name) => vendor.name == *name,
            None => known::is_user_of(user.name.as_str(), vendor.name.as_str()),
        };
        self.vendors.iter().find(|vendor| matches!(vendor.given, Given::Role { .. }) && is_it(vendor))
    }

    /// Each vendor's users that there are.
    pub fn vendor_users<'d>(
        &'d self,
        facts: &'d Facts,
    ) -> impl Iterator<Item = (&'d DeclaredVendor, &'d User)> {
        facts.users.iter().filter_map(|user| Some((self.vendor_of(user)?, user)))
    }

    /// Each vendor's roles that there are.
    pub fn vendor_roles<'d>(
        &'d self,
        facts: &'d Facts,
    ) -> impl Iterator<Item = (&'d DeclaredVendor, &'d Role)> {
        facts.roles.iter().filter_map(|role| Some((self.vendor_of_role(role)?, role)))
    }
}
