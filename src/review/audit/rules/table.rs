//! All rules for accounts, each with its code, severity, reason, fix and sources.

use crate::review::policy::rule::Reference::{Cis, Fsbp, Iam, Paper, ThirdParty};
use crate::review::policy::rule::{Reference, Rule, Severity};
use Severity::{Critical, High, Info, Low, Medium};

/// All rules. The meaning of a code never changes.
pub const TABLE: [&Rule; 41] = [
    &SHARED_USER,
    &FOREIGN_SERVICE,
    &FOREIGN_PLACE,
    &PERSONS_USER,
    &CONSOLE_PASSWORD,
    &ROOT_KEYS,
    &ROOT_USED,
    &KEY_NOT_ROLE,
    &NO_EXTERNAL_ID,
    &TRUSTS_ANYBODY,
    &TRUSTS_ITSELF,
    &EXTERNAL_ID_REUSED,
    &EXTERNAL_ID_GUESSABLE,
    &WRONG_ACCOUNT,
    &NO_SUCH_ROLE,
    &UNKNOWN_ACCOUNT,
    &ANY_TOKEN,
    &TOO_OLD,
    &NEVER_USED,
    &IDLE_KEY,
    &TWO_ACTIVE,
    &LEFT_INACTIVE,
    &NOT_CONFIGURED,
    &EXPIRED,
    &QUARANTINED,
    &NOT_DECLARED,
    &WAYS_TOGETHER,
    &NOT_USED,
    &NO_TRAIL,
    &NOT_LOGGING,
    &NO_MANAGEMENT_EVENTS,
    &NO_VALIDATION,
    &DELIVERY_FAILS,
    &SHORT_SOAK,
    &SHORT_COOL,
    &NOT_VERIFIED,
    &NO_SINKS,
    &LONG_AGE,
    &NOT_CHECKED,
    &WAIVER_ENDED,
    &WAIVER_UNUSED,
];

const UNIQUE: Reference = ThirdParty("Use Unique Credentials");
const ROLES: Reference = ThirdParty("Third-Party IAM Roles");
const KEYS: Reference = ThirdParty("IAM User Access Keys");
const CONFUSED_DEPUTY: Reference = Iam("confused-deputy");
const UNUSED: [Reference; 3] = [Cis { v7: Some("2.11"), v6: Some("2.11") }, Fsbp("IAM.8"), Fsbp("IAM.22")];

/// KR101: two vendors claim one IAM user.
pub static SHARED_USER: Rule = Rule {
    code: "KR101",
    severity: High,
    title: "one IAM user belongs to two vendors",
    why: "when the key is abused, CloudTrail cannot tell which vendor did it, and deleting it cuts both off",
    fix: "make a user for each vendor, and name each user in one vendor's section only",
    references: &[UNIQUE],
};
/// KR102: a vendor's key is used for a service that the vendor does not declare.
pub static FOREIGN_SERVICE: Rule = Rule {
    code: "KR102",
    severity: High,
    title: "a vendor's key is used for a service that the vendor does not declare",
    why: "another party than the vendor uses the key, or the vendor does more than it declared",
    fix: "ask the vendor; if it is not the vendor, rotate the key now: `keyround rotate VENDOR --force`",
    references: &[UNIQUE],
};
/// KR103: the keys of two vendors are used from the same address.
pub static FOREIGN_PLACE: Rule = Rule {
    code: "KR103",
    severity: High,
    title: "a vendor's key is used from where another vendor's key is used",
    why: "two vendors at one address are one vendor, or one of them has the other's key",
    fix: "ask both vendors; if it is not theirs, rotate both keys now: `keyround rotate VENDOR --force`",
    references: &[UNIQUE],
};
/// KR104: a person uses the vendor's user: its console password was used, or has a second factor.
pub static PERSONS_USER: Rule = Rule {
    code: "KR104",
    severity: High,
    title: "a vendor was given the key of a person's user",
    why: "the vendor may do all that the person may, and CloudTrail cannot tell the two apart",
    fix: "make a user for the vendor, give it a policy from `keyround policy vendor NAME`, and rotate over to it",
    references: &[UNIQUE],
};
/// KR105: a vendor's user has a console password that was never used.
pub static CONSOLE_PASSWORD: Rule = Rule {
    code: "KR105",
    severity: Medium,
    title: "a vendor's user has a console password",
    why: "programs do not sign in to the console; a password is one more credential, and it is not rotated",
    fix: "aws iam delete-login-profile --user-name NAME",
    references: &[Fsbp("IAM.5"), UNIQUE],
};
/// KR201: root has access keys.
pub static ROOT_KEYS: Rule = Rule {
    code: "KR201",
    severity: Critical,
    title: "root has access keys",
    why: "no policy limits root: a holder of such a key controls the whole account",
    fix: "sign in as root, look under Security credentials when each key was last used, deactivate it, then delete it",
    references: &[
        Cis { v7: Some("2.4"), v6: Some("2.3") },
        Fsbp("IAM.4"),
        ThirdParty("AWS Root Account Credentials"),
    ],
};
/// KR202: root was used within the last 45 days.
pub static ROOT_USED: Rule = Rule {
    code: "KR202",
    severity: High,
    title: "root was used lately",
    why: "root is for the few tasks that need it; daily use exposes its credentials daily",
    fix: "find out who it was (CloudTrail, userIdentity.type = Root), and give them a user or a role of their own",
    references: &[ThirdParty("AWS Root Account Credentials")],
};
/// KR301: a vendor that accepts a role has an access key.
pub static KEY_NOT_ROLE: Rule = Rule {
    code: "KR301",
    severity: Medium,
    title: "the vendor needs no key and has one",
    why: "a role cannot leak: it opens only for the vendor's own account, and nothing needs to be rotated",
    fix: "move the vendor to a role",
    references: &[ROLES, Iam("id_roles_common-scenarios_third-party")],
};
/// KR302: a vendor's role admits accounts without an exact external id.
pub static NO_EXTERNAL_ID: Rule = Rule {
    code: "KR302",
    severity: High,
    title: "a vendor's role opens without an external id",
    why: "any customer of the vendor who knows the role's ARN can have the vendor assume it for them",
    fix: "demand sts:ExternalId under StringEquals: `keyround policy trust NAME`",
    references: &[CONFUSED_DEPUTY, ROLES],
};
/// KR303: a role admits every AWS account.
pub static TRUSTS_ANYBODY: Rule = Rule {
    code: "KR303",
    severity: Critical,
    title: "a role opens for every AWS account",
    why: "a principal of * is anybody who has an account at AWS; an external id is no password and does not help",
    fix: "name the vendor's account in Principal: `keyround policy trust NAME`",
    references: &[ROLES, Iam("reference_policies_elements_principal")],
};
/// KR304: a vendor's role admits callers from this account.
pub static TRUSTS_ITSELF: Rule = Rule {
    code: "KR304",
    severity: Medium,
    title: "a vendor's role opens for users of this account",
    why: "every principal that may call sts:AssumeRole in this account can act as the vendor, and CloudTrail shows the vendor",
    fix: "name the vendor's account alone in Principal: `keyround policy trust NAME`",
    references: &[ROLES],
};
/// KR305: the roles of two vendors accept the same external id.
pub static EXTERNAL_ID_REUSED: Rule = Rule {
    code: "KR305",
    severity: High,
    title: "one external id opens the roles of two vendors",
    why: "a vendor that knows the id of another can have itself taken for it, should it learn the role's ARN",
    fix: "have each vendor make an id of its own, and write it into that vendor's role only",
    references: &[CONFUSED_DEPUTY, ThirdParty("Third-Party IAM Roles: the external ID should be unique")],
};
/// KR306: an external id that can be guessed, such as `acme`.
pub static EXTERNAL_ID_GUESSABLE: Rule = Rule {
    code: "KR306",
    severity: Medium,
    title: "an external id that can be guessed",
    why: "an id that is a name or a number is chosen twice, and then two customers share it",
    fix: "have the vendor make one; if it lets you choose, `keyround policy trust NAME` suggests one",
    references: &[
        CONFUSED_DEPUTY,
        ThirdParty("Third-Party IAM Roles: it should be generated for you by the vendor"),
    ],
};
/// KR307: a vendor's role admits an account that is not the vendor's.
pub static WRONG_ACCOUNT: Rule = Rule {
    code: "KR307",
    severity: Critical,
    title: "a vendor's role opens for an account that is not the vendor's",
    why: "another party than the vendor can act in this account",
    fix: "put the vendor's account into Principal: `keyround policy trust NAME`",
    references: &[ROLES],
};
/// KR308: the configuration names a role that the account does not have.
pub static NO_SUCH_ROLE: Rule = Rule {
    code: "KR308",
    severity: Medium,
    title: "the configuration names a role that is not there",
    why: "its trust cannot be reviewed, and the vendor uses something else, or nothing",
    fix: "correct role_arn in the vendor's section, or take the section out",
    references: &[ROLES],
};
/// KR309: a role that belongs to no vendor admits an account that the configuration does not name.
pub static UNKNOWN_ACCOUNT: Rule = Rule {
    code: "KR309",
    severity: Medium,
    title: "a role opens for an account that the configuration does not know",
    why: "a third party may act in this account, and the configuration does not name it",
    fix: "add a [vendor.NAME] with role_arn and vendor_account_id, or an [account.NAME] with its id",
    references: &[ROLES],
};
/// KR310: a role admits every token of an identity provider.
pub static ANY_TOKEN: Rule = Rule {
    code: "KR310",
    severity: High,
    title: "a role opens for every token of an identity provider",
    why: "every customer of the provider can get such a token: any repository of any owner",
    fix: "ask for the subject: a condition on PROVIDER:sub that names the organization and the repository",
    references: &[Iam("id_roles_providers_oidc_secure-by-default"), Iam("id_roles_create_for-idp_oidc")],
};
/// KR401: an Active key is older than its age limit.
pub static TOO_OLD: Rule = Rule {
    code: "KR401",
    severity: Medium,
    title: "an access key is older than it may be",
    why: "a key that leaked long ago still works, and the longer it lives the more places it has been in",
    fix: "keyround rotate VENDOR",
    references: &[Cis { v7: Some("2.12"), v6: Some("2.13") }, Fsbp("IAM.3"), KEYS],
};
/// KR402: an Active key was never used since it was created, at least 45 days ago.
pub static NEVER_USED: Rule = Rule {
    code: "KR402",
    severity: Medium,
    title: "an access key was never used",
    why: "an unused key can only do harm",
    fix: "ask its owner, then deactivate it, and later delete it",
    references: &UNUSED,
};
/// KR403: an Active key was not used for at least 45 days.
pub static IDLE_KEY: Rule = Rule {
    code: "KR403",
    severity: Medium,
    title: "an access key was not used for 45 days",
    why: "an unused key can only do harm",
    fix: "ask its owner, then deactivate it, and later delete it",
    references: &UNUSED,
};
/// KR404: a user has two Active keys and no rotation in progress.
pub static TWO_ACTIVE: Rule = Rule {
    code: "KR404",
    severity: Medium,
    title: "a user has two active access keys and no rotation is under way",
    why: "one of them is forgotten; it also takes the slot that the next rotation needs",
    fix: "see which one is used, and deactivate the other",
    references: &[Cis { v7: None, v6: Some("2.12") }, KEYS],
};
/// KR405: an Inactive key was not used for at least 45 days, and no rotation is in progress.
pub static LEFT_INACTIVE: Rule = Rule {
    code: "KR405",
    severity: Low,
    title: "an access key is Inactive and was left so",
    why: "one call makes it work again, and it takes the slot that the next rotation needs",
    fix: "aws iam delete-access-key --user-name USER --access-key-id KEY",
    references: &UNUSED,
};
/// KR406: an Active key of a user that no configured vendor has.
pub static NOT_CONFIGURED: Rule = Rule {
    code: "KR406",
    severity: Medium,
    title: "an access key that the configuration does not know",
    why: "it is not rotated, and its holder is not on record",
    fix: "add a [vendor.NAME] for it (`keyround init` drafts one), or give its owner a role and delete it",
    references: &[KEYS, UNIQUE],
};
/// KR407: a key with the status Expired.
pub static EXPIRED: Rule = Rule {
    code: "KR407",
    severity: Medium,
    title: "an access key is Expired",
    why: "AWS has disabled it, and its users are cut off",
    fix: "aws iam delete-access-key --user-name USER --access-key-id KEY",
    references: &UNUSED,
};
/// KR408: a user has a quarantine policy of AWS.
pub static QUARANTINED: Rule = Rule {
    code: "KR408",
    severity: Critical,
    title: "AWS has quarantined a user, because a key of it is public",
    why: "whoever found the key can use it, and while the policy is attached a new key of the user does not work either",
    fix: "replace the key (`keyround incident`), follow the case of AWS Support, and detach the policy only after that",
    references: &[KEYS],
};
/// KR520: a policy allows actions that its vendor does not declare.
pub static NOT_DECLARED: Rule = Rule {
    code: "KR520",
    severity: High,
    title: "a vendor may do more than it declares",
    why: "the vendor is not expected to do this, so abuse of its key goes unnoticed",
    fix: "attach what `keyround policy vendor NAME` writes in place of it",
    references: &[ThirdParty(
        "IAM Access Policies: it should not permit more than you are expecting it to permit",
    )],
};
/// KR521: the policies of a vendor together open a way of privilege escalation that none of them opens alone.
pub static WAYS_TOGETHER: Rule = Rule {
    code: "KR521",
    severity: Critical,
    title: "a vendor's policies together let it gain more rights than they give",
    why: "no single policy grants it, so reading them one by one does not show it",
    fix: "take one of the actions out",
    references: &[Paper("AWS IAM Privilege Escalation: Methods and Mitigation (Rhino Security Labs)")],
};
/// KR522: a vendor may use services that it has not used for 90 days.
pub static NOT_USED: Rule = Rule {
    code: "KR522",
    severity: Low,
    title: "a vendor may use services that it has not used for 90 days",
    why: "unused rights only help an attacker",
    fix: "remove the services; `keyround policy vendor NAME --from used` writes a policy of the used ones",
    references: &[
        Iam("access_policies_access-advisor"),
        ThirdParty("IAM Access Policies: it should not be overly broad"),
    ],
};
/// KR601: no trail records every region.
pub static NO_TRAIL: Rule = Rule {
    code: "KR601",
    severity: High,
    title: "no trail records every region",
    why: "activity of an attacker in unused regions is not recorded (unless CloudTrail Lake records it)",
    fix: "aws cloudtrail create-trail --name all --s3-bucket-name BUCKET --is-multi-region-trail --enable-log-file-validation && aws cloudtrail start-logging --name all",
    references: &[
        Cis { v7: Some("4.1"), v6: Some("4.1") },
        Fsbp("CloudTrail.1"),
        ThirdParty("Amazon CloudTrail"),
    ],
};
/// KR602: a trail is switched off.
pub static NOT_LOGGING: Rule = Rule {
    code: "KR602",
    severity: High,
    title: "a trail is switched off",
    why: "a trail seems to exist and records nothing; attackers switch trails off first",
    fix: "aws cloudtrail start-logging --name TRAIL",
    references: &[Cis { v7: Some("4.1"), v6: Some("4.1") }, ThirdParty("Amazon CloudTrail")],
};
/// KR603: no trail of every region records all management events.
pub static NO_MANAGEMENT_EVENTS: Rule = Rule {
    code: "KR603",
    severity: Medium,
    title: "no trail of every region records all management events",
    why: "who made a key, changed a policy or assumed a role cannot be found out later",
    fix: "record management events, reads and writes, with a trail of every region",
    references: &[Cis { v7: Some("4.1"), v6: Some("4.1") }, Fsbp("CloudTrail.1")],
};
/// KR604: a trail writes no digest files, so changes to its log files cannot be detected.
pub static NO_VALIDATION: Rule = Rule {
    code: "KR604",
    severity: Low,
    title: "a trail's files cannot be checked for changes",
    why: "a user who can write to the bucket can change the record unnoticed",
    fix: "aws cloudtrail update-trail --name TRAIL --enable-log-file-validation",
    references: &[Cis { v7: Some("4.2"), v6: Some("4.2") }, Fsbp("CloudTrail.4")],
};
/// KR605: a trail could not write to its bucket.
pub static DELIVERY_FAILS: Rule = Rule {
    code: "KR605",
    severity: Medium,
    title: "a trail cannot write to its bucket",
    why: "it is switched on, and nothing is kept",
    fix: "correct the bucket's policy, or the trail's bucket",
    references: &[Cis { v7: Some("4.1"), v6: Some("4.1") }],
};
/// KR701: the soak of a vendor is shorter than one hour.
pub static SHORT_SOAK: Rule = Rule {
    code: "KR701",
    severity: Medium,
    title: "an old key is retired before its vendor can have been seen to use the new one",
    why: "a vendor that works once a day, or caches its key, is cut off",
    fix: "soak = \"24h\" in the vendor's section",
    references: &[KEYS],
};
/// KR702: the cooling time of a vendor is shorter than one day.
pub static SHORT_COOL: Rule = Rule {
    code: "KR702",
    severity: Medium,
    title: "an old key is deleted before anybody can have noticed that it is missed",
    why: "an Inactive key is switched on again in a second; a deleted one never",
    fix: "cool = \"7d\" in the vendor's section",
    references: &[KEYS],
};
/// KR703: keyround cannot ask the vendor which key is in force.
pub static NOT_VERIFIED: Rule = Rule {
    code: "KR703",
    severity: Low,
    title: "the vendor is not asked which key is in force",
    why: "a vendor that accepts a key and forgets it is noticed only when the old key is gone",
    fix: "add a [vendor.NAME.verify] if the vendor can be asked; else keep require_use = true",
    references: &[KEYS],
};
/// KR704: no alert sink is configured.
pub static NO_SINKS: Rule = Rule {
    code: "KR704",
    severity: Medium,
    title: "no alert is sent when a rotation fails",
    why: "a rotation that is stuck looks like one that goes well, until the key is cut off",
    fix: "add an [alert.NAME]",
    references: &[KEYS],
};
/// KR705: keys of a vendor may grow older than 90 days.
pub static LONG_AGE: Rule = Rule {
    code: "KR705",
    severity: Low,
    title: "keys of a vendor may grow older than 90 days",
    why: "the benchmarks require 90 days; a longer age should be a recorded decision",
    fix: "max_age = \"90d\" in the vendor's section, or a [[waiver]] that says why not",
    references: &[Cis { v7: Some("2.12"), v6: Some("2.13") }, Fsbp("IAM.3"), KEYS],
};
/// KR901: something could not be read or compared.
pub static NOT_CHECKED: Rule = Rule {
    code: "KR901",
    severity: Medium,
    title: "something could not be checked",
    why: "parts that could not be read were not checked: the absence of a finding there proves nothing",
    fix: "grant what `keyround policy rotator --review` writes",
    references: &[Paper("keyround")],
};
/// KR902: a waiver has ended, and a finding still matches it.
pub static WAIVER_ENDED: Rule = Rule {
    code: "KR902",
    severity: Medium,
    title: "a waiver has ended",
    why: "an exception that was accepted for a time needs a new decision when it ends",
    fix: "mend the finding, or decide again: a new `until`, with a reason",
    references: &[Paper("keyround")],
};
/// KR903: a waiver matches no finding.
pub static WAIVER_UNUSED: Rule = Rule {
    code: "KR903",
    severity: Info,
    title: "a waiver waives nothing",
    why: "it would silently accept the finding, should it come back",
    fix: "take the waiver out",
    references: &[Paper("keyround")],
};
