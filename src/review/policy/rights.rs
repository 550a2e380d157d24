//! What a principal may do: which actions, on which resources, under which conditions, after every Deny,
//! `NotAction`, `NotResource` and permissions boundary. Every rule that judges a policy uses this module.
//!
//! The order follows "Policy evaluation logic" in the IAM User Guide: an explicit Deny wins; an action that no
//! Allow names is denied; a permissions boundary grants nothing and limits everything.
//!
//! **Invariant:** a Deny takes away only what it denies for certain. A Deny whose condition may not be met, or that
//! covers a resource only together with another Deny, takes nothing away, so that a right is never overlooked.

mod conditions;

pub use conditions::{Context, Met, meets, met_by};

use super::actions::{self, Action};
use super::{Document, Effect, Pattern, Span, Spanned, Statement};
use crate::review::policy::document::Listed;

/// The rights of one principal, computed from all of its policies.
#[derive(Clone, Debug, Default)]
pub struct Rights<'d> {
    allows: Vec<&'d Statement>,
    denies: Vec<&'d Statement>,
    /// One entry for each permissions boundary: its Allow statements. Its Deny statements are in `denies`.
    boundaries: Vec<Vec<&'d Statement>>,
    known: Context,
}

/// The resource of a grant: one item of `Resource`, everything except some items, or none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'d> {
    /// The statement names no resource: it applies to the resource that the policy is attached to.
    Itself,
    /// One item of `Resource`.
    Named(&'d Spanned<Pattern>),
    /// Every resource except the items of `NotResource`.
    AllBut(&'d Listed),
}

/// A right: the statement that grants it, and the resource that it is granted on.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'d> {
    /// The statement that grants the right.
    pub statement: &'d Statement,
    /// The resource that the right applies to.
    pub target: Target<'d>,
}

/// The result of evaluating a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// A statement allows the request, every boundary permits it, and no statement denies it.
    Allowed,
    /// No statement allows the request, or a boundary does not permit it.
    ImplicitlyDenied,
    /// A statement denies the request.
    ExplicitlyDenied,
}

impl<'d> Rights<'d> {
    /// The rights of a principal that has all of these policies.
    #[must_use]
    pub fn of(documents: &[&'d Document]) -> Rights<'d> {
        let mut rights = Rights::default();
        for statement in documents.iter().flat_map(|document| &document.statements) {
            rights.take(statement);
        }
        rights
    }

    fn take(&mut self, statement: &'d Statement) {
        match statement.effect {
            Effect::Allow => self.allows.push(statement),
            Effect::Deny => self.denies.push(statement),
        }
    }

    /// The same rights, limited by a permissions boundary.
    #[must_use]
    pub fn within(mut self, boundary: &'d Document) -> Rights<'d> {
        let (allows, denies): (Vec<_>, Vec<_>) =
            boundary.statements.iter().partition(|statement| statement.effect == Effect::Allow);
        self.boundaries.push(allows);
        self.denies.extend(denies);
        self
    }

    /// The same rights, with condition keys whose values are known for every request, such as `aws:PrincipalArn`.
    #[must_use]
    pub fn knowing(mut self, known: Context) -> Rights<'d> {
        self.known.extend(known);
        self
    }

    /// The condition keys whose values are known for every request.
    #[must_use]
    pub fn known_of_all(&self) -> Context {
        self.known.clone()
    }

    /// The same rights with the Allow statements of one policy only: what that policy grants after all Denies and
    /// boundaries.
    #[must_use]
    pub fn of_one(&self, document: &'d Document) -> Rights<'d> {
        let allows = document.statements.iter().filter(|one| one.effect == Effect::Allow).collect();
        Rights { allows, ..self.clone() }
    }

    /// The same rights without any Deny and without any boundary.
    #[must_use]
    pub fn unlimited(&self) -> Rights<'d> {
        Rights { denies: Vec::new(), boundaries: Vec::new(), ..self.clone() }
    }

    /// Whether there is no Deny and no boundary.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.denies.is_empty() && self.boundaries.is_empty()
    }

    /// The grants of one action, such as `iam:PassRole`.
    #[must_use]
    pub fn grants(&self, action: &str) -> Vec<Grant<'d>> {
        let action = Pattern::new(action);
        let allowing = self.allows.iter().filter(|one| one.actions.covers(action.as_str()));
        allowing.flat_map(|one| self.left(one, &action)).collect()
    }

    /// The grants of a statement for one action, or for a pattern of actions, that are in effect. Left out are
    /// grants that are denied for certain, that a boundary does not permit, or whose condition no request can meet.
    #[must_use]
    pub fn left(&self, statement: &'d Statement, action: &Pattern) -> Vec<Grant<'d>> {
        if met_by(&statement.conditions, &self.known) == Met::Never {
            return Vec::new();
        }
        let known = actions::named(action.as_str());
        let targets = targets(statement).into_iter();
        let left = targets.filter(|target| match known {
            Some(known) => self.is_left(statement, action, *target, &kinds(known)),
            None => self.is_left(statement, action, *target, &unknown_kind(action)),
        });
        left.map(|target| Grant { statement, target }).collect()
    }

    /// The known actions that match the pattern and for which this statement still grants something.
    #[must_use]
    pub fn left_of(&self, statement: &'d Statement, pattern: &Pattern) -> Vec<&'static Action> {
        let mut known = actions::matching(pattern);
        known.retain(|action| !self.left(statement, &Pattern::new(&action.full_name())).is_empty());
        known
    }

    fn is_left(
        &self,
        statement: &Statement,
        action: &Pattern,
        target: Target<'d>,
        kinds: &[Pattern],
    ) -> bool {
        let pieces = pieces(target, kinds);
        if self.is_unlimited() {
            return !pieces.is_empty();
        }
        let is_permitted = |piece: &Pattern| {
            self.boundaries.iter().all(|allows| {
                allows.iter().any(|one| {
                    met_by(&one.conditions, &self.known) != Met::Never
                        && meets_action(&one.actions, action)
                        && meets_resource(one.resources.as_ref(), piece)
                })
            })
        };
        let is_denied = |piece: &Pattern| {
            self.denies.iter().any(|one| {
                met_by(&one.conditions, &self.known) == Met::Always
                    && is_for(one, statement)
                    && covers_action(&one.actions, action)
                    && covers_resource(one.resources.as_ref(), piece, target)
            })
        };
        pieces.iter().any(|piece| is_permitted(piece) && !is_denied(piece))
    }

    /// Evaluates one request. Policy variables, such as `${aws:username}`, are not replaced.
    #[must_use]
    pub fn verdict(&self, action: &str, resource: &str, context: &Context) -> Verdict {
        let is_about = |statement: &&&Statement| {
            statement.actions.covers(action)
                && statement.resources.as_ref().is_none_or(|list| {
                    list.items.iter().any(|item| item.value.matches_resource(resource)) != list.negated
                })
                && statement.conditions.iter().all(|one| meets(one, context))
        };
        let mut boundaries = self.boundaries.iter();
        if self.denies.iter().any(|one| is_about(&one)) {
            Verdict::ExplicitlyDenied
        } else if self.allows.iter().any(|one| is_about(&one))
            && boundaries.all(|allows| allows.iter().any(|one| is_about(&one)))
        {
            Verdict::Allowed
        } else {
            Verdict::ImplicitlyDenied
        }
    }
}

impl Target<'_> {
    /// Whether the target covers everything that the action can apply to: `*`, every bucket, every secret of the
    /// account. A target that matches only some of the action's kinds of resources must cover all resources of
    /// these kinds.
    #[must_use]
    pub fn is_every(&self, action: &Action) -> bool {
        match self {
            Target::Itself => false,
            Target::AllBut(_) => true,
            Target::Named(item) => {
                let pattern = &item.value;
                if pattern.is_every_resource() {
                    return true;
                }
                let mut touched =
                    kinds(action).into_iter().filter(|kind| meets_kind(pattern, kind)).peekable();
                touched.peek().is_some() && touched.all(|kind| covers_kind(pattern, &kind))
            }
        }
    }

    /// Whether the target is an item that matches resources of at least one kind that the action takes.
    #[must_use]
    pub fn is_beside(&self, action: &Action) -> bool {
        match self {
            Target::Named(item) => kinds(action).iter().any(|kind| meets_kind(&item.value, kind)),
            Target::Itself | Target::AllBut(_) => false,
        }
    }

    /// Whether this target covers everything that the other one covers.
    #[must_use]
    pub fn covers(&self, other: &Target<'_>) -> bool {
        match (self, other) {
            (Target::Named(own), Target::Named(other)) => own.value.covers_resource(&other.value),
            _ => self == other,
        }
    }

    /// The place of the target in the policy's text; `None`: the statement has no resource element.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        match self {
            Target::Named(item) => Some(item.span),
            Target::AllBut(list) => Some(list.key),
            Target::Itself => None,
        }
    }

    /// Whether the target can match more than one resource.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Target::Itself => false,
            Target::AllBut(_) => true,
            Target::Named(item) => item.value.has_wildcard(),
        }
    }
}

fn targets(statement: &Statement) -> Vec<Target<'_>> {
    match &statement.resources {
        None => vec![Target::Itself],
        Some(list) if list.negated => vec![Target::AllBut(list)],
        Some(list) => list.items.iter().map(Target::Named).collect(),
    }
}

/// Whether the pattern matches some resource of this kind. A bucket's name has no slash, so a pattern with a slash
/// matches no bucket.
fn meets_kind(resource: &Pattern, kind: &Pattern) -> bool {
    let is_bucket = kind.arn().is_some_and(|fields| fields[2..] == ["s3", "", "", "*"]);
    let has_slash = || resource.arn().is_some_and(|fields| fields[5].contains('/'));
    resource.meets_resource(kind) && !(is_bucket && has_slash())
}

/// Whether at least one of the actions that match the pattern can apply to this resource.
#[must_use]
pub fn may_be_about(action: &Pattern, resource: &Pattern) -> bool {
    let known = actions::matching(action);
    let is_about = |kinds: &[Pattern]| kinds.iter().any(|kind| meets_kind(resource, kind));
    if known.is_empty() {
        is_about(&unknown_kind(action))
    } else {
        known.iter().any(|known| is_about(&kinds(known)))
    }
}

/// The kinds of resources that an action takes, each as an ARN pattern. An account of `*` in them stands for any
/// account except AWS's own, which is named `aws`.
fn kinds(action: &Action) -> Vec<Pattern> {
    action.kinds().map(|kind| Pattern::new(&format!("arn:*:{kind}"))).collect()
}

/// For an action that the table lacks: any resource of its service.
fn unknown_kind(action: &Pattern) -> Vec<Pattern> {
    let service = action.action().map_or("*", |(service, _)| service);
    vec![Pattern::new(&format!("arn:*:{}:*:*:*", service.to_ascii_lowercase()))]
}

/// Splits a target into the resource patterns to check for an action that takes resources of these kinds: the kind
/// itself where the target covers all of it, and otherwise the item as it is written. Empty: the action cannot
/// apply to the target.
fn pieces(target: Target<'_>, kinds: &[Pattern]) -> Vec<Pattern> {
    match target {
        Target::Itself => vec![Pattern::new("*")],
        // IAM evaluates an action that takes no resources against `*`.
        Target::Named(item) if kinds.is_empty() => {
            if item.value.is_everything() {
                vec![Pattern::new("*")]
            } else {
                Vec::new()
            }
        }
        Target::AllBut(list) if kinds.is_empty() => {
            if list.items.iter().any(|item| item.value.is_everything()) {
                Vec::new()
            } else {
                vec![Pattern::new("*")]
            }
        }
        Target::Named(item) if item.value.arn().is_none() && !item.value.is_everything() => {
            vec![item.value.clone()]
        }
        Target::Named(item) => {
            let touched =
                kinds.iter().filter(|kind| meets_kind(&item.value, kind) && may_be_own(&item.value, kind));
            let piece = |kind: &Pattern| match covers_kind(&item.value, kind) && !is_pinned(&item.value) {
                true => kind.clone(),
                false => item.value.clone(),
            };
            touched.map(piece).collect()
        }
        Target::AllBut(list) => {
            let is_excluded = |kind: &&Pattern| list.items.iter().any(|item| covers_kind(&item.value, kind));
            kinds.iter().filter(|kind| !is_excluded(kind)).cloned().collect()
        }
    }
}

/// Whether the pattern can match a resource of this kind that an account owns. AWS's own policies and the like are
/// in the account `aws`, and no customer can change them.
fn may_be_own(pattern: &Pattern, kind: &Pattern) -> bool {
    let account = |pattern: &Pattern| pattern.arn().map_or("*".to_owned(), |fields| fields[4].to_owned());
    account(pattern) != "aws" || account(kind) == "aws"
}

/// Whether the ARN names one region or one account.
fn is_pinned(pattern: &Pattern) -> bool {
    pattern.arn().is_some_and(|[_, _, _, region, account, _]| {
        [region, account].iter().any(|field| !field.is_empty() && !field.contains('*'))
    })
}

/// Whether the pattern covers every resource of a kind within its own region and account. `?*` stands for each name
/// here, because the name of a resource is never empty.
fn covers_kind(pattern: &Pattern, kind: &Pattern) -> bool {
    if pattern.is_everything() {
        return true;
    }
    let (Some(own), Some(kinds)) = (pattern.arn(), kind.arn()) else { return false };
    let name = Pattern::new(&kinds[5].replace('*', "?*"));
    meets_kind(pattern, kind) && Pattern::new(own[5]).covers(&name)
}

fn covers_action(list: &Listed, action: &Pattern) -> bool {
    match list.negated {
        false => list.items.iter().any(|item| item.value.covers(action)),
        true => !list.items.iter().any(|item| item.value.overlaps(action)),
    }
}

fn meets_action(list: &Listed, action: &Pattern) -> bool {
    match list.negated {
        false => list.items.iter().any(|item| item.value.overlaps(action)),
        true => !list.items.iter().any(|item| item.value.covers(action)),
    }
}

/// Whether the resources of a Deny cover everything that a piece of a target stands for.
fn covers_resource(list: Option<&Listed>, piece: &Pattern, target: Target<'_>) -> bool {
    let Some(list) = list else { return true };
    let covers = |outer: &Pattern, inner: &Pattern| {
        // A piece with the account `*` means the caller's own account, so a Deny that names an account covers it as
        // well.
        outer.covers_resource(inner) || outer.covers_resource(&with_account_of(outer, inner))
    };
    match (list.negated, target) {
        (false, _) => list.items.iter().any(|item| covers(&item.value, piece)),
        (true, Target::AllBut(allowed)) => list.items.iter().all(|except| {
            allowed.items.iter().any(|item| item.value.covers_resource(&except.value))
                || !except.value.meets_resource(piece)
        }),
        (true, _) => !list.items.iter().any(|item| item.value.meets_resource(piece)),
    }
}

/// The same resource, with the account of `other` in place of the account `*`.
fn with_account_of(other: &Pattern, resource: &Pattern) -> Pattern {
    match (other.arn(), resource.arn()) {
        (Some(other), Some(mut fields)) if fields[4] == "*" => {
            fields[4] = other[4];
            Pattern::new(&fields.join(":"))
        }
        _ => resource.clone(),
    }
}

fn meets_resource(list: Option<&Listed>, piece: &Pattern) -> bool {
    let Some(list) = list else { return true };
    match list.negated {
        false => list.items.iter().any(|item| item.value.meets_resource(piece)),
        true => !list.items.iter().any(|item| item.value.covers_resource(piece)),
    }
}

/// Whether the Deny applies to every principal that the other statement applies to.
pub(super) fn is_for(deny: &Statement, allow: &Statement) -> bool {
    let Some(denied) = &deny.principals else { return true };
    let is_anybody =
        |(kind, who): &(String, Spanned<String>)| kind == "*" || kind == "AWS" && who.value == "*";
    let is_among = |one: &(String, Spanned<String>)| {
        denied.items.iter().any(|other| other.0 == one.0 && other.1.value == one.1.value)
    };
    let Some(allowed) = &allow.principals else { return !denied.negated };
    match (denied.negated, allowed.negated) {
        (false, _) if denied.items.iter().any(is_anybody) => true,
        (false, false) => allowed.items.iter().all(is_among),
        (true, false) => !allowed.items.iter().any(|one| is_among(one) || is_anybody(one)),
        (_, true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(statements: &str) -> Document {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        Document::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}"))
    }

    fn one(effect: &str, action: &str, resource: &str, more: &str) -> String {
        format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"{more}}}"#)
    }

    #[track_caller]
    fn check(statements: &[String], action: &str, is_granted: bool) {
        let document = document(&statements.join(","));
        let granted = !Rights::of(&[&document]).grants(action).is_empty();
        assert_eq!(granted, is_granted, "{action}: {statements:#?}");
    }

    #[test]
    fn a_resource_must_be_of_a_kind_that_the_action_takes() {
        let allow = |action: &str, resource: &str| [one("Allow", action, resource, "")];
        check(&allow("iam:CreatePolicyVersion", "*"), "iam:CreatePolicyVersion", true);
        check(
            &allow("iam:CreatePolicyVersion", "arn:aws:iam::*:policy/x-*"),
            "iam:CreatePolicyVersion",
            true,
        );
        check(
            &allow("iam:CreatePolicyVersion", "arn:aws:iam::aws:policy/x"),
            "iam:CreatePolicyVersion",
            false,
        );
        check(&allow("iam:CreatePolicyVersion", "arn:aws:iam::*:role/x"), "iam:CreatePolicyVersion", false);
        check(&allow("*", "arn:aws:s3:::b/*"), "iam:PassRole", false);
        check(&allow("sts:AssumeRole", "arn:aws:iam::111122223333:role/x"), "sts:AssumeRole", true);
        check(&allow("ec2:DescribeInstances", "arn:aws:ec2:*:*:instance/*"), "ec2:DescribeInstances", false);
        check(&allow("newservice:Do", "arn:aws:newservice:*:*:x"), "newservice:Do", true);
        check(&allow("newservice:Do", "arn:aws:s3:::b"), "newservice:Do", false);
    }

    #[test]
    fn a_deny_removes_a_right_only_if_it_applies_with_certainty() {
        let all = one("Allow", "iam:*", "*", "");
        let with = |deny: String| [all.clone(), deny];
        let role = |resource: &str, more: &str| with(one("Deny", "iam:PassRole", resource, more));
        check(&role("*", ""), "iam:PassRole", false);
        check(&role("arn:aws:iam::*:role/*", ""), "iam:PassRole", false);
        check(&role("arn:aws:iam::111122223333:*", ""), "iam:PassRole", false);
        check(&role("arn:aws:*", ""), "iam:PassRole", false);
        check(&role("arn:aws:iam::*:role/admin", ""), "iam:PassRole", true);
        check(&role("arn:aws:iam::*:user/*", ""), "iam:PassRole", true);
        check(
            &role("*", r#","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}"#),
            "iam:PassRole",
            true,
        );
        check(&role("*", r#","Condition":{"StringLike":{"aws:PrincipalArn":"*"}}"#), "iam:PassRole", false);
        check(
            &with(r#"{"Effect":"Deny","NotAction":"s3:*","Resource":"*"}"#.to_owned()),
            "iam:PassRole",
            false,
        );
        check(
            &with(r#"{"Effect":"Deny","NotAction":"iam:Pass*","Resource":"*"}"#.to_owned()),
            "iam:PassRole",
            true,
        );
        let but = |resource: &str| {
            with(format!(r#"{{"Effect":"Deny","Action":"iam:*","NotResource":"{resource}"}}"#))
        };
        check(&but("arn:aws:iam::*:role/app"), "iam:PassRole", true);
        check(&but("arn:aws:iam::*:user/app"), "iam:PassRole", false);
        check(&but("arn:aws:iam::*:role/app"), "iam:CreateUser", false);
    }

    #[test]
    fn an_allow_with_an_unsatisfiable_condition_grants_nothing() {
        let allow = |more: &str| [one("Allow", "iam:PassRole", "*", &format!(r#","Condition":{more}"#))];
        check(
            &allow(r#"{"DateLessThan":{"aws:TokenIssueTime":"2020-01-01T00:00:01Z"}}"#),
            "iam:PassRole",
            false,
        );
        check(
            &allow(r#"{"DateGreaterThan":{"aws:TokenIssueTime":"2020-01-01T00:00:01Z"}}"#),
            "iam:PassRole",
            true,
        );
        check(&allow(r#"{"Null":{"aws:PrincipalArn":"true"}}"#), "iam:PassRole", false);
    }

    #[test]
    fn a_boundary_limits_rights_and_grants_none() {
        let wide = document(&one("Allow", "*", "*", ""));
        let narrow = document(&one("Allow", "s3:*", "*", ""));
        let may = |action: &str| !Rights::of(&[&wide]).within(&narrow).grants(action).is_empty();
        assert!(may("s3:GetObject") && !may("iam:PassRole"));
        assert!(Rights::of(&[&narrow]).within(&wide).grants("iam:PassRole").is_empty());
    }

    #[test]
    fn conditions_on_the_principal_are_decided_by_its_known_arn() {
        let document = document(
            &[
                one("Allow", "iam:*", "*", ""),
                one(
                    "Deny",
                    "iam:*",
                    "*",
                    r#","Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/admin"}}"#,
                ),
            ]
            .join(","),
        );
        let of = |arn: &str| {
            let known = Context::from([("aws:principalarn".to_owned(), vec![arn.to_owned()])]);
            !Rights::of(&[&document]).knowing(known).grants("iam:PassRole").is_empty()
        };
        assert!(of("arn:aws:iam::111122223333:role/admin") && !of("arn:aws:iam::111122223333:user/vendor"));
    }

    #[test]
    fn a_wildcard_over_a_resource_type_counts_as_every_resource() {
        let every = |action: &str, resource: &str| {
            let document = document(&one("Allow", action, resource, ""));
            let rights = Rights::of(&[&document]);
            let action = actions::named(action).expect("it is known");
            rights.grants(&action.full_name()).iter().any(|grant| grant.target.is_every(action))
        };
        for (action, resource) in [
            ("s3:GetObject", "arn:aws:s3:::*"),
            ("s3:GetObject", "arn:aws:s3:::*/*"),
            ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:111122223333:secret:*"),
            ("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:111122223333:table/*"),
            ("ec2:StartInstances", "arn:aws:ec2:*:*:*"),
            ("sqs:SendMessage", "arn:aws:sqs"),
        ] {
            assert!(every(action, resource), "{action} {resource}");
        }
        for (action, resource) in [
            ("s3:GetObject", "arn:aws:s3:::b/*"),
            ("s3:GetObject", "arn:aws:s3:::logs-*"),
            ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:acme-??????"),
            ("ec2:StartInstances", "arn:aws:ec2:*:*:instance/i-0*"),
        ] {
            assert!(!every(action, resource), "{action} {resource}");
        }
    }
}
