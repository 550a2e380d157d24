//! Reads the sections `[vendor.NAME]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claims::{Claim, Claimed};
use super::needs;
use super::pairs;
use super::preset::Presets;
use super::reader::{self, Entry, Section, Text, quoted};
use super::report::{Mistake, Span};
use super::sections::not_empty;
use super::steps::{self, Recipe};
use super::terms::{self, Terms};
use super::together;
use super::values;
use crate::config::settings::{
    Access, AccountSettings, KeyAccess, Users, VendorNeeds, VendorSettings, VerifyStep, Written,
};
use crate::core::ids::{AccountId, AccountName, IamUserName, VendorName};

/// The keys that say which access a vendor was given; a vendor has exactly one of them.
const GIVEN: [&str; 4] = ["iam_user", "iam_users", "path", "role_arn"];
/// The keys that apply only to vendors with access keys.
const FOR_KEYS: [&str; 16] = [
    "account",
    "deliver",
    "verify",
    "max_age",
    "inactive_by",
    "slack",
    "warn_before",
    "overdue_after",
    "windows",
    "soak",
    "require_use",
    "quiet_for",
    "cool",
    "prove_successes",
    "prove_every",
    "doubt_window",
];

/// The sections `[account.NAME]` of all files.
pub(super) struct Accounts {
    pub(super) by_name: BTreeMap<AccountName, AccountSettings>,
    /// Whether every file could be read. If not, an unknown name may be in a file that could not be read.
    pub(super) is_whole: bool,
}

/// The parts of the configuration that vendors refer to.
pub(super) struct Context<'c> {
    pub(super) zone: chrono_tz::Tz,
    pub(super) terms: &'c Terms,
    pub(super) accounts: &'c Accounts,
    pub(super) presets: &'c Presets,
}

impl Context<'_> {
    /// Identifies the account: by its id if that is known, or else by its name. A section without a role means the
    /// account of the ambient credentials.
    fn account_identity(&self, name: Option<&AccountName>) -> String {
        let settings = name.and_then(|name| self.accounts.by_name.get(name));
        if let Some(id) = settings.and_then(|settings| settings.id.as_ref()) {
            return id.to_string();
        }
        let is_ambient = |settings: &AccountSettings| settings.role_arn.is_none();
        if let (Some(name), false) = (name, settings.is_none_or(is_ambient)) {
            return name.to_string();
        }
        let mut ambient = self.accounts.by_name.values().filter(|settings| is_ambient(settings));
        ambient.find_map(|settings| settings.id.as_ref()).map_or("", AccountId::as_str).to_owned()
    }
}

/// Reads the vendors, by name, and the users and paths that they claim.
pub(super) fn vendors<'a>(
    entries: &[Entry<'a>],
    context: &Context<'_>,
) -> (BTreeMap<VendorName, VendorSettings>, Vec<Claim<'a>>) {
    let (mut vendors, mut claims, mut names) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    for entry in entries {
        let report = entry.report;
        let name: Option<VendorName> = reader::parsed(report, Text { text: entry.key, span: entry.key_span });
        let title = reader::title("vendor", entry.key);
        let Some(section) = reader::section(report, "vendor", title, entry.value) else { continue };
        let mut claimed = Vec::new();
        let vendor = Vendor { name: entry.key, section, context, claims: &mut claimed };
        if let (Some(name), Some(read)) = (name, vendor.read()) {
            let Read { enabled, owner, access, needs } = read;
            let (line, columns) = (report.line_of(entry.key_span), report.columns_of(entry.key_span));
            let written = Written { file: Arc::clone(report.path()), line, columns };
            vendors.insert(name.clone(), VendorSettings { name, enabled, owner, access, needs, written });
        }
        // A copy of a vendor in another file was reported as a mistake already, so its users are not claimed again.
        if names.insert(entry.key) {
            claims.append(&mut claimed);
        }
    }
    (vendors, claims)
}

/// The settings of one vendor's section, without its name.
struct Read {
    enabled: bool,
    owner: Option<String>,
    access: Access,
    needs: VendorNeeds,
}

/// The keys of `[defaults]` that a vendor cannot have a value of its own for.
const FOR_ALL_VENDORS: [&str; 3] = ["concurrency", "first", "per_day"];

/// One vendor's section while it is read.
struct Vendor<'v, 'a> {
    name: &'a str,
    section: Section<'a>,
    context: &'v Context<'v>,
    claims: &'v mut Vec<Claim<'a>>,
}

impl<'a> Vendor<'_, 'a> {
    fn read(mut self) -> Option<Read> {
        let enabled = self.section.flag("enabled").unwrap_or(true);
        let owner = self.section.string("owner").and_then(|text| not_empty(self.section.report, text));
        for key in FOR_ALL_VENDORS {
            if let Some(entry) = self.section.entry(key) {
                let message = format!("{key} is for all vendors together");
                self.section.report.add(Mistake::new(entry.key_span, message).hint("set it in [defaults]"));
            }
        }
        let needs = needs::read(&mut self.section);
        let access = match self.given() {
            Some("role_arn") => self.role(),
            Some(_) => self.key(),
            // The section is read as one with a key, so that its other mistakes are reported in the same run.
            None => self.key().and(None),
        };
        self.section.finish();
        access.map(|access| Read { enabled, owner, access, needs })
    }

    /// The one key of [`GIVEN`] that the vendor's section has. None, or more than one, is a mistake.
    fn given(&mut self) -> Option<&'static str> {
        let mut said: Vec<(Span, &'static str)> =
            GIVEN.into_iter().filter_map(|key| Some((self.section.entry(key)?.key_span, key))).collect();
        said.sort_by_key(|(span, _)| span.start);
        let Some(((first, key), more)) = said.split_first() else {
            let message = format!("{} does not say which access the vendor has", self.section.title);
            let hint = "one of iam_user = \"…\", iam_users = [\"…\"], path = \"/…/\", role_arn = \"arn:…\"";
            self.section.report.add(Mistake::new(self.section.span, message).hint(hint));
            return None;
        };
        for (span, other) in more {
            let mistake = Mistake::new(*span, format!("{other} does not go with {key}"));
            let hint = "a vendor has one of iam_user, iam_users, path and role_arn";
            self.section.report.add(mistake.elsewhere(*first, format!("{key} stands here")).hint(hint));
        }
        more.is_empty().then_some(key)
    }

    fn role(&mut self) -> Option<Access> {
        let arn = self.section.string("role_arn")?;
        let account = values::role_account(self.section.report, arn);
        let vendor_account_id: Option<AccountId> = self.section.parsed("vendor_account_id");
        for key in FOR_KEYS {
            if let Some(entry) = self.section.entry(key) {
                let message = format!("{key} does not go with role_arn");
                let hint = "a vendor that assumes a role holds no key: there is nothing to rotate";
                self.section.report.add(Mistake::new(entry.key_span, message).hint(hint));
            }
        }
        account.map(|_| Access::Role { role_arn: arn.text.to_owned(), vendor_account_id })
    }

    fn key(&mut self) -> Option<Access> {
        let account = account(&mut self.section, self.context.accounts);
        let users = self.users(account.as_ref());
        let terms = terms::read(&mut self.section, self.context.terms, self.context.zone);
        together::judge(&self.section, &terms);
        let (name, presets) = (self.name, self.context.presets);
        let recipe = Recipe { name, accounts: self.context.accounts, account: account.as_ref(), presets };
        let mut ways = steps::deliver(&mut self.section, &recipe);
        if let Some(ways) = &mut ways {
            pairs::judge(&self.section, name, &mut ways.deliver);
        }
        let by_hand = steps::is_by_hand(&mut self.section);
        if by_hand {
            self.demand_use();
        }
        let verify = steps::verify(&mut self.section, self.name);
        let said_verify = self.section.place_of("verify").is_some();
        if let Some(entry) = self.section.entry("vendor_account_id")
            && self.section.place_of("role_arn").is_none()
        {
            let mistake = Mistake::new(entry.key_span, "vendor_account_id goes with role_arn");
            self.section.report.add(mistake.hint("it is the account from which the vendor assumes the role"));
        }
        if said_verify && verify.is_none() {
            return None;
        }
        let Terms { ages, mut plan, .. } = terms;
        plan.by_hand = by_hand;
        let windows = plan.windows.clone();
        let (users, ways) = (users?, ways?);
        // The vendor's own `verify` takes precedence over that of a preset.
        let of_preset = |step| VerifyStep::Http(Box::new(step));
        let verify = verify.unwrap_or_else(|| ways.verify.into_iter().map(of_preset).collect());
        let (deliver, presets, probe) = (ways.deliver, ways.presets, ways.probe);
        plan.can_ask_vendor = !verify.is_empty();
        let access = KeyAccess { account, users, ages, windows, plan, deliver, presets, verify, probe };
        Some(Access::Key(Box::new(access)))
    }

    /// Refuses `require_use = false`: the person who hands the key over may be mistaken or interrupted, so only a
    /// use shows that the vendor has the key.
    fn demand_use(&mut self) {
        let said_no =
            self.section.entry("require_use").filter(|said| said.value.get_ref().as_bool() == Some(false));
        if let Some(entry) = said_no {
            let mistake =
                Mistake::new(entry.span(), "require_use = false does not go with a delivery by hand");
            let hint = "leave it out: the old key then stays Active until the new one was seen in use";
            self.section.report.add(mistake.hint(hint));
        }
    }

    fn users(&mut self, account: Option<&AccountName>) -> Option<Users> {
        let one = self.section.string("iam_user");
        let many = self.section.strings("iam_users", "name at least one user, or leave the vendor out");
        if one.is_some() || many.is_some() {
            let texts = one.into_iter().chain(many.into_iter().flatten());
            return self.named(texts.collect(), account);
        }
        let text = self.section.string("path")?;
        if let Err((message, hint)) = judge_path(text.text) {
            self.section.report.add(Mistake::new(text.span, message).hint(hint));
            return None;
        }
        self.claim(account, Claimed::Path(text.text.to_owned()), text.span);
        Some(Users::Path(text.text.to_owned()))
    }

    fn named(&mut self, texts: Vec<Text<'a>>, account: Option<&AccountName>) -> Option<Users> {
        let mut users = Vec::new();
        for text in texts {
            let user: Option<IamUserName> = reader::parsed(self.section.report, text);
            if let Some(user) = user {
                self.claim(account, Claimed::User(user.as_str().to_lowercase()), text.span);
                users.push(user);
            }
        }
        (!users.is_empty()).then_some(Users::Named(users))
    }

    fn claim(&mut self, account: Option<&AccountName>, what: Claimed, span: Span) {
        let misnamed = account.is_none() && self.section.place_of("account").is_some();
        if !misnamed {
            let (vendor, account) = (self.name.to_owned(), self.context.account_identity(account));
            let report = self.section.report;
            self.claims.push(Claim { report, vendor, account, what, at: report.at(span) });
        }
    }
}

/// Reads `account`. A name without a section `[account.NAME]` is a mistake.
pub(super) fn account(section: &mut Section<'_>, accounts: &Accounts) -> Option<AccountName> {
    let known = &accounts.by_name;
    let text = section.string("account")?;
    let name = known.keys().find(|name| name.as_str() == text.text).cloned();
    if name.is_none() && accounts.is_whole {
        let mistake =
            Mistake::new(text.span, format!("there is no [account.{}]", reader::unquoted(text.text)));
        let hint = match values::nearest(text.text, known.keys().map(AccountName::as_str)) {
            Some(meant) => format!("did you mean {meant}?"),
            None if !known.is_empty() => {
                let names: Vec<&str> = known.keys().map(AccountName::as_str).collect();
                format!("the accounts of this configuration are {}", names.join(", "))
            }
            None => "leave it out for the account of the ambient credentials".to_owned(),
        };
        section.report.add(mistake.hint(hint));
    }
    name
}

/// Judges an IAM path. IAM's model allows `/`, or printable ASCII between two slashes, at most 512 characters in
/// all. The path `/` is refused, because it covers every user.
fn judge_path(path: &str) -> Result<(), (String, &'static str)> {
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic());
    if path == "/" {
        let hint = "put the vendors' users under a path of their own, such as /vendors/acme/";
        return Err((
            "the path / matches every user of the account, including those of people".to_owned(),
            hint,
        ));
    }
    if !(path.starts_with('/')
        && path.ends_with('/')
        && printable
        && path.len() <= 512
        && !path.contains("//"))
    {
        return Err((
            format!("{} is not an IAM path", quoted(path)),
            "it begins and ends with a slash: /vendors/acme/",
        ));
    }
    Ok(())
}
