//! The users that a pass reconciles: those that the configuration names, and those of rotations under way that the
//! configuration does not name any more.
//!
//! A rotation belongs to an IAM user of an account. The vendor that has that user in the configuration now owns the
//! rotation, whatever name the vendor had when the rotation began.
//!
//! **Invariant:** every pass reports a rotation whose user has left the configuration, or whose vendor is disabled, and
//! no pass drives it, unless it is an offboarding.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use crate::config::Settings;
use crate::config::settings::{Access, KeyAccess, Users, VendorSettings};
use crate::core::ids::{RotationId, Subject, VendorName, Who};
use crate::core::rotation::Rotation;
use crate::core::schedule::Verdict;
use crate::engine::World;
use crate::engine::reconcile::{UserReport, unlisted};
use crate::ports::{Journal, JournalError, KnownRotation};

/// A user to be reconciled, under the name of the vendor that has it now, with its rotation under way if there is one.
#[derive(Clone, Debug)]
pub(crate) struct TargetUser {
    pub(crate) subject: Subject,
    pub(crate) rotation: Option<RotationId>,
}

/// What a pass reconciles for one vendor.
pub(crate) enum VendorTargets {
    /// These users.
    Users(Vec<Subject>),
    /// No user, for the reason in the verdict: a role, a disabled vendor, or a path without users.
    Nobody(Box<UserReport>),
    /// Not known: AWS did not list the users.
    Unlisted(Box<UserReport>),
}

/// The users of one vendor. The users under a path are listed at AWS each time.
pub(crate) async fn targets(world: &World, vendor: &VendorSettings) -> VendorTargets {
    let without_user = |verdict| Box::new(UserReport::of(vendor.name.clone(), None, verdict));
    let access = match &vendor.access {
        Access::Role { role_arn, .. } => return VendorTargets::Nobody(without_user(Verdict::role(role_arn))),
        Access::Key(_) if !vendor.enabled => return VendorTargets::Nobody(without_user(Verdict::disabled())),
        Access::Key(access) => access,
    };
    let users = match &access.users {
        Users::Named(users) => users.clone(),
        Users::Path(path) => match world.accounts.iam(access.account.as_ref()).users_under(path).await {
            Ok(users) => users,
            Err(fault) => {
                let user_report = without_user(unlisted(&fault));
                return VendorTargets::Unlisted(Box::new(UserReport { failed: true, ..*user_report }));
            }
        },
    };
    if let (Users::Path(path), true) = (&access.users, users.is_empty()) {
        return VendorTargets::Nobody(without_user(Verdict::without_users(path)));
    }
    let subject =
        |iam_user| Subject { vendor: vendor.name.clone(), account: access.account.clone(), iam_user };
    VendorTargets::Users(users.into_iter().map(subject).collect())
}

/// Whether AWS must be asked for the users of this vendor.
pub(crate) fn must_be_listed(vendor: &VendorSettings) -> bool {
    vendor.enabled && matches!(&vendor.access, Access::Key(access) if matches!(access.users, Users::Path(_)))
}

/// Which vendor owns a user, as far as the configuration alone can tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ownership {
    /// An enabled vendor.
    Vendor(VendorName),
    /// A disabled vendor: its rotation is reported and not driven.
    Disabled(VendorName),
    /// No vendor of the configuration.
    Nobody,
}

impl Ownership {
    fn vendor(&self) -> Option<&VendorName> {
        match self {
            Ownership::Vendor(vendor) | Ownership::Disabled(vendor) => Some(vendor),
            Ownership::Nobody => None,
        }
    }
}

/// Which vendor owns the user of this rotation now. A vendor with a path keeps the users whose rotations began under
/// its name.
pub(crate) fn claim(settings: &Settings, began_as: &Subject) -> Ownership {
    let names_user = |access: &KeyAccess| match &access.users {
        Users::Named(users) => users.contains(&began_as.iam_user),
        Users::Path(_) => false,
    };
    let has_path = |access: &KeyAccess| matches!(access.users, Users::Path(_));
    let with_key = settings.vendors.values().filter_map(|vendor| match &vendor.access {
        Access::Key(access) if access.account == began_as.account => Some((vendor, access)),
        Access::Key(_) | Access::Role { .. } => None,
    });
    let mut named = with_key.clone().filter(|(_, access)| names_user(access));
    let mut by_path = with_key.filter(|(vendor, access)| vendor.name == began_as.vendor && has_path(access));
    match named.next().or_else(|| by_path.next()) {
        Some((vendor, _)) if vendor.enabled => Ownership::Vendor(vendor.name.clone()),
        Some((vendor, _)) => Ownership::Disabled(vendor.name.clone()),
        None => Ownership::Nobody,
    }
}

/// The vendor that has the user of a rotation now, whichever vendor had it when the rotation began; `None`: no vendor
/// has it.
#[must_use]
pub fn owner(settings: &Settings, began_as: &Subject) -> Option<VendorName> {
    claim(settings, began_as).vendor().cloned()
}

/// The target that continues a rotation without a listing of users; `None` when no enabled vendor has its user.
pub(crate) fn call_for(settings: &Settings, known: &KnownRotation) -> Option<TargetUser> {
    let Ownership::Vendor(vendor) = claim(settings, &known.subject) else { return None };
    let subject = Subject { vendor, ..known.subject.clone() };
    Some(TargetUser { subject, rotation: Some(known.rotation) })
}

/// The same, and the call of an offboarding whose user no enabled vendor has: it needs no vendor.
pub(crate) async fn call_for_any(world: &World, known: &KnownRotation) -> Option<TargetUser> {
    if let Some(call) = call_for(&world.settings, known) {
        return Some(call);
    }
    let rotation = replayed(world, known.rotation).await.ok()?;
    let call = TargetUser { subject: known.subject.clone(), rotation: Some(known.rotation) };
    rotation.offboarding().map(|_| call)
}

/// The targets of one pass: collects the lists of users as they arrive, and tells which rotations are in none of them.
#[derive(Debug, Default)]
pub(crate) struct TargetSet {
    asked: Vec<VendorName>,
    in_flight: BTreeMap<Who, KnownRotation>,
    claimed: BTreeSet<Who>,
    unlisted: BTreeSet<VendorName>,
}

impl TargetSet {
    /// Creates the set for these vendors (an empty slice means all) while these rotations are under way.
    pub(crate) fn new(asked: &[VendorName], in_flight: Vec<KnownRotation>) -> TargetSet {
        let mut target_set = TargetSet { asked: asked.to_vec(), ..TargetSet::default() };
        target_set.refresh(in_flight);
        target_set
    }

    /// Replaces the rotations that are known to be under way.
    pub(crate) fn refresh(&mut self, in_flight: Vec<KnownRotation>) {
        self.in_flight = in_flight.into_iter().map(|known| (known.subject.who(), known)).collect();
    }

    pub(crate) fn is_asked(&self, vendor: &VendorName) -> bool {
        self.asked.is_empty() || self.asked.contains(vendor)
    }

    /// Turns a list of users into targets, each with its rotation under way.
    pub(crate) fn call(&mut self, subjects: Vec<Subject>) -> Vec<TargetUser> {
        let mut call = |subject: Subject| {
            let who = subject.who();
            let rotation = self.in_flight.get(&who).map(|known| known.rotation);
            self.claimed.insert(who);
            TargetUser { subject, rotation }
        };
        subjects.into_iter().map(&mut call).collect()
    }

    /// Notes that this vendor's users are not known in this pass. Its rotations are continued all the same.
    pub(crate) fn without_targets(&mut self, vendor: VendorName) {
        self.unlisted.insert(vendor);
    }

    /// Once every list has arrived: the rotations that are continued although AWS did not list their users, and those
    /// that are only reported.
    pub(crate) fn left_over(
        &self,
        settings: &Settings,
    ) -> (Vec<TargetUser>, Vec<(KnownRotation, Ownership)>) {
        let (mut calls, mut nobodys) = (Vec::new(), Vec::new());
        let unclaimed = self.in_flight.iter().filter(|(who, _)| !self.claimed.contains(who));
        for (_, known) in unclaimed {
            match claim(settings, &known.subject) {
                Ownership::Vendor(vendor) if self.unlisted.contains(&vendor) => {
                    calls.extend(call_for(settings, known));
                }
                // A vendor that has the user now and was asked for has claimed the rotation already, if it listed the
                // user.
                claim if self.is_asked(claim.vendor().unwrap_or(&known.subject.vendor)) => {
                    nobodys.push((known.clone(), claim));
                }
                Ownership::Vendor(_) | Ownership::Disabled(_) | Ownership::Nobody => {}
            }
        }
        (calls, nobodys)
    }
}

/// The report on a rotation that is not driven.
async fn left_alone(world: &World, known: &KnownRotation, claim: &Ownership) -> UserReport {
    let vendor = claim.vendor().unwrap_or(&known.subject.vendor).clone();
    let subject = Subject { vendor, ..known.subject.clone() };
    let rotation = match replayed(world, known.rotation).await {
        Ok(rotation) => rotation,
        Err(error) => return UserReport::without_journal(&subject, &error.into()),
    };
    let verdict = match claim {
        Ownership::Disabled(_) => Verdict::switched_off(&rotation),
        Ownership::Vendor(_) | Ownership::Nobody => Verdict::orphaned(&rotation, &known.subject.vendor),
    };
    let failed = !matches!(claim, Ownership::Disabled(_));
    let user_report = UserReport::of(subject.vendor, Some(subject.iam_user), verdict);
    UserReport { rotation: Some(rotation), failed, ..user_report }
}

/// Once every roster is in: the rotations that are carried on all the same, and the reports on those that are not.
pub(crate) async fn left_over(
    world: &World,
    target_set: &TargetSet,
) -> (Vec<TargetUser>, Vec<(KnownRotation, UserReport)>) {
    let (mut calls, nobodys) = target_set.left_over(&world.settings);
    let mut reports = Vec::new();
    for (known, claim) in nobodys {
        let is_owned = matches!(claim, Ownership::Vendor(_));
        if let Some(call) = call_for_any(world, &known).await.filter(|_| !is_owned) {
            calls.push(call);
        } else {
            let user_report = left_alone(world, &known, &claim).await;
            reports.push((known, user_report));
        }
    }
    (calls, reports)
}

pub(crate) async fn replayed(world: &World, id: RotationId) -> Result<Rotation, JournalError> {
    replayed_from(world.journal.as_ref(), id).await
}

pub(crate) async fn replayed_from(journal: &dyn Journal, id: RotationId) -> Result<Rotation, JournalError> {
    let events = journal.read(id).await?;
    Rotation::replay(id, &events).map_err(|illegal| JournalError::Unusable(illegal.to_string()))
}

/// The number of attempts to append an operator's event to a rotation. An attempt fails if another process appends to
/// the rotation first.
pub const ATTEMPTS_MAX: u32 = 20;

/// The reason why a process without the journal's seal key cannot carry out a command that must begin a rotation.
pub(super) const NO_SEAL_KEY: &str = "a rotation must begin for this, and a process that cannot read the journal's seal key \
                                      cannot begin one; run this as the user of `keyround run`";

/// The rotation of this user that is under way now; `None`: the user has none.
///
/// # Errors
///
/// The journal cannot be read.
pub(super) async fn under_way(world: &World, subject: &Subject) -> Result<Option<RotationId>, JournalError> {
    let in_flight = world.journal.in_flight().await?;
    let of_user = in_flight.iter().find(|known| known.subject.who() == subject.who());
    Ok(of_user.map(|known| known.rotation))
}

/// All targets of a command that only reads: the users to look at, and the finished reports on the vendors and
/// rotations without one.
pub(crate) async fn everybody(
    world: &World,
    vendors: &[VendorName],
) -> Result<(Vec<TargetUser>, Vec<UserReport>), JournalError> {
    let mut target_set = TargetSet::new(vendors, world.journal.in_flight().await?);
    let chosen: Vec<_> =
        world.settings.vendors.values().filter(|vendor| target_set.is_asked(&vendor.name)).collect();
    // The futures are made first: one that is held by a stream with a closure over a reference cannot be spawned.
    let all_targets: Vec<_> = chosen.into_iter().map(|vendor| targets(world, vendor)).collect();
    let all_targets = stream::iter(all_targets);
    let (mut calls, mut others) = (Vec::new(), Vec::new());
    for targets in all_targets.buffered(world.settings.concurrency).collect::<Vec<_>>().await {
        match targets {
            VendorTargets::Users(subjects) => calls.extend(target_set.call(subjects)),
            VendorTargets::Nobody(user_report) => others.push(*user_report),
            VendorTargets::Unlisted(user_report) => {
                target_set.without_targets(user_report.vendor.clone());
                others.push(*user_report);
            }
        }
    }
    let (carried_on, nobodys) = left_over(world, &target_set).await;
    calls.extend(carried_on);
    for (_, user_report) in nobodys {
        others.retain(|other| other.iam_user.is_some() || other.vendor != user_report.vendor);
        others.push(user_report);
    }
    Ok((calls, others))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{self, Environment};
    use crate::core::time::Timestamp;

    /// Vendors with a user, with a user in another account, with a path, and disabled ones.
    fn settings() -> Settings {
        let vendors = [
            ("acme", "iam_user = \"user-a\""),
            ("elsewhere", "iam_user = \"user-a\"\naccount = \"production\""),
            ("fleet", "path = \"/fleet/\""),
            ("off", "iam_user = \"user-off\"\nenabled = false"),
            ("off-fleet", "path = \"/off/\"\nenabled = false"),
        ];
        let vendors = vendors.map(|(name, users)| {
            format!(
                "[vendor.{name}]\n{users}\n[[vendor.{name}.deliver]]\nkind = \"webhook\"\n\
                 url = \"https://{name}.example/\"\nsecret = \"env:SECRET\"\n"
            )
        });
        let account = "[account.production]\nid = \"444455556666\"\n\
                       role_arn = \"arn:aws:iam::444455556666:role/keyround\"\n";
        let text = format!("{account}{}", vendors.concat());
        let environment = Environment { state_directory: Some(PathBuf::from("/nowhere")) };
        config::parse("test.toml", &text, &environment).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    fn name(text: &str) -> VendorName {
        text.parse().expect("a name")
    }

    fn subject(vendor: &str, account: Option<&str>, user: &str) -> Subject {
        let account = account.map(|account| account.parse().expect("an account"));
        Subject { vendor: name(vendor), account, iam_user: user.parse().expect("a user") }
    }

    fn known(vendor: &str, user: &str) -> KnownRotation {
        let (subject, at) = (subject(vendor, None, user), Timestamp::EPOCH);
        let rotation = RotationId::new(&subject, &"AKIAIOSFODNN7EXAMPLE".parse().expect("a key"), at);
        KnownRotation { rotation, subject, started_at: at, ended: false }
    }

    #[test]
    fn a_user_belongs_to_the_vendor_that_names_it_or_rotated_it_by_path() {
        let settings = settings();
        for (vendor, account, user, expect) in [
            ("acme", None, "user-a", Ownership::Vendor(name("acme"))),
            ("renamed", None, "user-a", Ownership::Vendor(name("acme"))),
            ("acme", Some("production"), "user-a", Ownership::Vendor(name("elsewhere"))),
            ("acme", None, "user-b", Ownership::Nobody),
            ("fleet", None, "user-b", Ownership::Vendor(name("fleet"))),
            ("fleet", Some("production"), "user-b", Ownership::Nobody),
            ("renamed", None, "user-b", Ownership::Nobody),
            ("renamed", None, "user-off", Ownership::Disabled(name("off"))),
            ("off-fleet", None, "user-b", Ownership::Disabled(name("off-fleet"))),
        ] {
            let began_as = subject(vendor, account, user);
            assert_eq!(claim(&settings, &began_as), expect, "{began_as:?}");
            assert_eq!(owner(&settings, &began_as).as_ref(), expect.vendor());
        }
    }

    #[test]
    fn a_rotation_continues_under_the_current_name_of_its_vendor() {
        let call = call_for(&settings(), &known("renamed", "user-a")).expect("acme has the user");
        assert_eq!(call.subject, subject("acme", None, "user-a"));
        assert_eq!(call.rotation, Some(known("renamed", "user-a").rotation));
        assert!(call_for(&settings(), &known("off", "user-off")).is_none());
    }

    #[test]
    fn only_a_vendor_with_an_enabled_path_must_be_listed() {
        let settings = settings();
        let listed = settings.vendors.values().filter(|vendor| must_be_listed(vendor));
        assert_eq!(listed.map(|vendor| vendor.name.as_str()).collect::<Vec<_>>(), ["fleet"]);
    }

    /// `asked`: the vendors that are asked for. `unlisted`: those whose users AWS did not list. `carried_on` and
    /// `nobodys`: the users whose rotations are expected to be continued, and to be reported without an owner.
    #[track_caller]
    fn check(asked: &[&str], unlisted: &[&str], carried_on: &[&str], nobodys: &[&str]) {
        let asked: Vec<VendorName> = asked.iter().map(|asked| name(asked)).collect();
        let in_flight = [("acme", "user-a"), ("fleet", "user-f"), ("gone", "user-g"), ("former", "user-off")];
        let in_flight = in_flight.map(|(vendor, user)| known(vendor, user)).to_vec();
        let mut target_set = TargetSet::new(&asked, in_flight);
        for vendor in unlisted {
            target_set.without_targets(name(vendor));
        }
        let (calls, left) = target_set.left_over(&settings());
        let called: Vec<&str> = calls.iter().map(|call| call.subject.iam_user.as_str()).collect();
        assert_eq!(called, carried_on);
        let left: Vec<&str> = left.iter().map(|(known, _)| known.subject.iam_user.as_str()).collect();
        assert_eq!(left, nobodys);
    }

    #[test]
    fn an_unclaimed_rotation_continues_only_if_its_vendor_was_not_listed() {
        check(&[], &["fleet"], &["user-f"], &["user-a", "user-g", "user-off"]);
        check(&[], &[], &[], &["user-a", "user-f", "user-g", "user-off"]);
        check(&["gone"], &[], &[], &["user-g"]);
        check(&["off"], &[], &[], &["user-off"]);
        check(&["former"], &[], &[], &[]);
    }

    #[test]
    fn a_listed_user_is_targeted_with_its_rotation_and_not_left_over() {
        let mut target_set = TargetSet::new(&[], vec![known("before", "user-a")]);
        let calls = target_set.call(vec![subject("acme", None, "user-a"), subject("acme", None, "user-b")]);
        let rotations: Vec<_> = calls.iter().map(|call| call.rotation).collect();
        assert_eq!(rotations, [Some(known("before", "user-a").rotation), None]);
        assert!(target_set.left_over(&settings()).1.is_empty());
    }

    #[test]
    fn a_user_of_another_vendor_is_not_reported_to_its_former_vendor() {
        let target_set = TargetSet::new(&[name("before")], vec![known("before", "user-a")]);
        let (calls, left) = target_set.left_over(&settings());
        assert!(calls.is_empty() && left.is_empty());
    }
}
