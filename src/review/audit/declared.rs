//! What the configuration and the journal declare, as far as the rules need it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::facts::{Facts, Role, User};
use super::known::{self, KnownVendor};
use crate::core::ids::{AccessKeyId, AccountId, IamUserName, VendorName};
use crate::core::schedule::Ages;
use crate::core::time::Timestamp;
use crate::review::policy::Pattern;

/// What the configuration and the journal say about one account.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The vendors of the account, sorted by name.
    pub vendors: Vec<DeclaredVendor>,
    /// The accounts that the configuration names as its own.
    pub own_accounts: BTreeSet<AccountId>,
    /// The users that have a rotation in progress.
    pub rotating: BTreeSet<IamUserName>,
    /// The keys that keyround created, by the journal.
    pub made: BTreeSet<AccessKeyId>,
    /// The vendor of each user's latest rotation, by the journal.
    pub rotated_for: BTreeMap<IamUserName, VendorName>,
    /// The number of alert sinks; `None`: the number is not judged.
    pub alert_sinks: Option<usize>,
    /// The waivers, which accept findings.
    pub waivers: Vec<Waiver>,
}

/// A vendor as the configuration declares it.
#[derive(Clone, Debug)]
pub struct DeclaredVendor {
    /// Its name.
    pub name: VendorName,
    /// Whether its keys are rotated; `enabled = false` in its section stops that.
    pub enabled: bool,
    /// The kind of access that the vendor was given.
    pub given: GivenAccess,
    /// The actions that the vendor is declared to need; empty: none are declared.
    pub actions: Vec<Pattern>,
    /// The entry of this vendor among the [`known`] vendors, if there is one.
    pub known: Option<&'static KnownVendor>,
}

/// The access that a vendor was given.
#[derive(Clone, Debug)]
pub enum GivenAccess {
    /// Access keys.
    Keys {
        /// The IAM users that its section names.
        users: Vec<IamUserName>,
        /// The IAM path whose users are all the vendor's, if its section has one.
        path: Option<String>,
        /// The ages at which a key is due and overdue.
        ages: Ages,
        /// How its keys are rotated.
        care: RotationPractice,
    },
    /// A role.
    Role {
        /// Its ARN.
        role_arn: String,
        /// The vendor's own account, if its section names it.
        vendor_account_id: Option<AccountId>,
    },
}

/// The safeguards in the rotation of a vendor's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RotationPractice {
    /// The least time for which both keys stay Active.
    pub soak: Duration,
    /// The time for which the old key stays Inactive before it is deleted.
    pub cool: Duration,
    /// Whether keyround asks the vendor which key is in force.
    pub verified: bool,
}

/// A waiver: it accepts the findings of one rule on one subject. All its fields are mandatory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiver {
    /// The rule's code.
    pub rule: String,
    /// The subject: an ARN, or the name at the end of one.
    pub subject: String,
    /// The reason why the findings are accepted.
    pub reason: String,
    /// The first moment at which the waiver no longer applies.
    pub until: Timestamp,
}

impl DeclaredVendor {
    /// Whether the keys of this user belong to the vendor.
    #[must_use]
    pub fn has(&self, user: &User) -> bool {
        match &self.given {
            GivenAccess::Keys { users, path, .. } => {
                let named = users.iter().any(|name| name.as_str().eq_ignore_ascii_case(user.name.as_str()));
                named || path.as_ref().is_some_and(|path| user.path.starts_with(path.as_str()))
            }
            GivenAccess::Role { .. } => false,
        }
    }

    /// The command that rotates the vendor's key, and what to change first if the vendor is disabled.
    #[must_use]
    pub fn rotate(&self, force: bool) -> String {
        let (name, force) = (&self.name, if force { " --force" } else { "" });
        let first = if self.enabled { "" } else { "set enabled = true in its section; then " };
        format!("{first}`keyround rotate {name}{force}`")
    }

    /// The services of the vendor's declared actions.
    #[must_use]
    pub fn services(&self) -> BTreeSet<String> {
        let service = |action: &Pattern| action.action().map(|(service, _)| service.to_ascii_lowercase());
        self.actions.iter().filter_map(service).collect()
    }
}

impl Declared {
    /// The vendors that claim this user. More than one is a finding.
    pub fn claimants(&self, user: &User) -> impl Iterator<Item = &DeclaredVendor> {
        self.vendors.iter().filter(|vendor| vendor.has(user))
    }

    /// The first vendor that claims this user.
    #[must_use]
    pub fn vendor_of(&self, user: &User) -> Option<&DeclaredVendor> {
        self.claimants(user).next()
    }

    /// The vendor that this role belongs to.
    #[must_use]
    pub fn vendor_of_role(&self, role: &Role) -> Option<&DeclaredVendor> {
        self.vendors.iter().find(|vendor| match &vendor.given {
            GivenAccess::Role { role_arn, .. } => *role_arn == role.arn,
            GivenAccess::Keys { .. } => false,
        })
    }

    /// The vendor with a role that had this user's keys before: found by the journal, or else by the user's name.
    #[must_use]
    pub fn moved_from(&self, user: &User) -> Option<&DeclaredVendor> {
        let same = |name: &&IamUserName| name.as_str().eq_ignore_ascii_case(user.name.as_str());
        let by_journal = self.rotated_for.keys().find(same).and_then(|name| self.rotated_for.get(name));
        let is_it = |vendor: &DeclaredVendor| match by_journal {
            Some(name) => vendor.name == *name,
            None => known::is_user_of(user.name.as_str(), vendor.name.as_str()),
        };
        self.vendors.iter().find(|vendor| matches!(vendor.given, GivenAccess::Role { .. }) && is_it(vendor))
    }

    /// Each user of a vendor that exists in the account, with its vendor.
    pub fn vendor_users<'d>(
        &'d self,
        facts: &'d Facts,
    ) -> impl Iterator<Item = (&'d DeclaredVendor, &'d User)> {
        facts.users.iter().filter_map(|user| Some((self.vendor_of(user)?, user)))
    }

    /// Each role of a vendor that exists in the account, with its vendor.
    pub fn vendor_roles<'d>(
        &'d self,
        facts: &'d Facts,
    ) -> impl Iterator<Item = (&'d DeclaredVendor, &'d Role)> {
        facts.roles.iter().filter_map(|role| Some((self.vendor_of_role(role)?, role)))
    }
}
