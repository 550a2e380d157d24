//! The table of AWS's actions: their names, their access levels, and the resources that they take.
//!
//! The table holds all services that the Service Authorization Reference listed when it was made. Nothing is known
//! of a newer service, and [`knows`] returns `false` for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::Pattern;

const TABLE: &str = include_str!("actions.txt");

/// The access level of an action, as in the Service Authorization Reference.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessLevel {
    /// Lists the names of resources.
    List,
    /// Reads the contents of resources.
    Read,
    /// Changes resources.
    Write,
    /// Changes tags.
    Tag,
    /// Changes permissions.
    Permissions,
}

/// One action of an AWS service.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// The service prefix, such as `s3`.
    pub service: &'static str,
    /// The name, such as `GetObject`.
    pub name: &'static str,
    /// The access level.
    pub level: AccessLevel,
    /// The indexes of its resource kinds in `arns`, such as `0,3`; `-`: it takes no resource.
    kinds: &'static str,
    arns: &'static Arns,
}

impl Action {
    /// The service prefix and the name, such as `s3:GetObject`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.service, self.name)
    }

    /// Whether a policy can name a `Resource` narrower than `*` for this action.
    #[must_use]
    pub fn is_scoped(&self) -> bool {
        self.kinds != "-"
    }

    /// The kinds of resources that it takes, each as an ARN without `arn:PARTITION:`, with `*` for each variable,
    /// such as `iam::*:role/*`. Empty: `Resource` can only be `*`.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> + use<> {
        let arns = self.arns;
        self.kinds.split(',').filter_map(|number| arns.get(number.parse::<usize>().ok()?).copied())
    }
}

/// The ARNs of the resource kinds of one service.
type Arns = Vec<&'static str>;

/// The ARNs of each service, by service prefix.
static SERVICES: LazyLock<BTreeMap<&'static str, Arns>> = LazyLock::new(|| {
    let mut services: BTreeMap<&'static str, Arns> = BTreeMap::new();
    for line in rows() {
        if let Some(line) = line.strip_prefix('@') {
            let mut words = line.split(' ');
            let service = words.next().expect("split gives at least one word");
            services.entry(service).or_default().extend(words);
        }
    }
    services
});

static ACTIONS: LazyLock<Vec<Action>> = LazyLock::new(|| {
    let mut of: Option<(&'static str, &'static Arns)> = None;
    let mut actions = Vec::new();
    for line in rows() {
        if let Some(line) = line.strip_prefix('@') {
            let service = line.split(' ').next().unwrap_or(line);
            of = SERVICES.get_key_value(service).map(|(service, arns)| (*service, arns));
            continue;
        }
        let (service, arns) = of.expect("the table names a service before its actions");
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a row of the table has a level, kinds and names");
        let (level, kinds) = (level(word()), word());
        actions.extend(words.map(|name| Action { service, name, level, kinds, arns }));
    }
    actions.sort_by_key(|action| (action.service, action.name));
    actions
});

/// The range of each service's actions in [`ACTIONS`].
static PLACES: LazyLock<BTreeMap<&'static str, Range<usize>>> = LazyLock::new(|| {
    let mut places: BTreeMap<&'static str, Range<usize>> = BTreeMap::new();
    for (number, action) in ACTIONS.iter().enumerate() {
        places.entry(action.service).or_insert(number..number).end = number + 1;
    }
    places
});

fn rows() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn level(word: &str) -> AccessLevel {
    match word {
        "list" => AccessLevel::List,
        "read" => AccessLevel::Read,
        "write" => AccessLevel::Write,
        "tag" => AccessLevel::Tag,
        "permissions" => AccessLevel::Permissions,
        other => unreachable!("the table has no level {other}"),
    }
}

/// All actions of the table, sorted by service and name.
#[must_use]
pub fn all() -> &'static [Action] {
    &ACTIONS
}

/// Whether the table has this service. Case is ignored.
#[must_use]
pub fn knows(service: &str) -> bool {
    PLACES.contains_key(service.to_ascii_lowercase().as_str())
}

/// The actions of this service; empty if the table lacks it. Case is ignored.
#[must_use]
pub fn of_service(service: &str) -> &'static [Action] {
    let place = PLACES.get(service.to_ascii_lowercase().as_str());
    place.map_or(&[], |place| &ACTIONS[place.clone()])
}

/// The action with this name, such as `s3:GetObject`. Case is ignored.
#[must_use]
pub fn named(name: &str) -> Option<&'static Action> {
    let (service, name) = name.split_once(':')?;
    of_service(service).iter().find(|action| action.name.eq_ignore_ascii_case(name))
}

/// The known actions that match this pattern.
#[must_use]
pub fn matching(pattern: &Pattern) -> Vec<&'static Action> {
    if pattern.is_everything() {
        return all().iter().collect();
    }
    let Some((service, name)) = pattern.action() else { return Vec::new() };
    let (service, name) = (Pattern::new(service), Pattern::new(name));
    let services = PLACES.iter().filter(|(known, _)| service.matches(known));
    let actions = services.flat_map(|(_, place)| &ACTIONS[place.clone()]);
    actions.filter(|action| name.matches(action.name)).collect()
}

/// The services that a policy names and the table lacks, and the actions that the table lacks of services that it
/// has. Sorted, each once.
#[must_use]
pub fn unknown(document: &super::Document) -> Vec<String> {
    let items = document.statements.iter().flat_map(|statement| &statement.actions.items);
    let of = |item: &super::Spanned<super::Pattern>| {
        let (service, _) = item.value.action()?;
        if service.contains('*') {
            None
        } else if !knows(service) {
            Some(service.to_lowercase())
        } else {
            matching(&item.value).is_empty().then(|| item.value.to_string())
        }
    };
    let mut unknown: Vec<String> = items.filter_map(of).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

/// The known action of this service that a misspelt name probably means; `None`: no name is close enough.
#[must_use]
pub fn meant(service: &str, name: &str) -> Option<&'static Action> {
    let name = name.to_ascii_lowercase();
    let distance = |action: &Action| strsim::damerau_levenshtein(&action.name.to_ascii_lowercase(), &name);
    let (distance, action) =
        of_service(service).iter().map(|action| (distance(action), action)).min_by_key(|near| near.0)?;
    (distance <= 1.max(name.len() / 6)).then_some(action)
}

/// The known service that a misspelt prefix probably means; `None`: no prefix is close enough.
#[must_use]
pub fn service_meant(prefix: &str) -> Option<&'static str> {
    let prefix = prefix.to_ascii_lowercase();
    let near = PLACES.keys().map(|known| (strsim::damerau_levenshtein(known, &prefix), *known)).min()?;
    (near.0 <= 1.max(prefix.len() / 6) && prefix.len() > 2).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_table_is_read_completely() {
        assert!(all().len() > 20_000 && PLACES.len() > 400, "{} {}", all().len(), PLACES.len());
        let one = |name: &str| *matching(&Pattern::new(name)).first().expect("it is in the table");
        assert_eq!(one("s3:getobject").level, AccessLevel::Read);
        assert!(one("s3:GetObject").is_scoped() && !one("s3:ListAllMyBuckets").is_scoped());
        assert!(!one("ec2:DescribeInstances").is_scoped() && one("ec2:StartInstances").is_scoped());
        assert_eq!(one("iam:PassRole").kinds().collect::<Vec<_>>(), ["iam::*:role/*"]);
        assert!(one("s3:GetObject").kinds().any(|kind| kind == "s3:::*/*"));
        for action in all() {
            let kinds = action.kinds().filter(|kind| kind.split(':').count() >= 4).count();
            assert_eq!(kinds > 0, action.is_scoped(), "{}", action.full_name());
        }
        assert_eq!(one("iam:AttachUserPolicy").level, AccessLevel::Permissions);
        assert!(knows("STS") && knows("quicksight") && !knows("quicksite"));
    }

    #[test]
    fn a_pattern_selects_the_actions_that_it_matches() {
        let names = |text: &str| matching(&Pattern::new(text)).len();
        assert_eq!(names("*"), all().len());
        assert_eq!(names("*:*"), all().len());
        assert_eq!(names("sts:AssumeRole"), 1);
        assert!(names("sts:*") > 10 && names("*:GetObject") > 1 && names("quicksite:*") == 0);
    }

    #[test]
    fn a_misspelt_action_is_recognised() {
        assert_eq!(meant("s3", "GetObjet").map(|action| action.name), Some("GetObject"));
        assert_eq!(meant("ec2", "StartInstance").map(|action| action.name), Some("StartInstances"));
        assert!(meant("s3", "SomethingElse").is_none());
        assert_eq!(
            (service_meant("quicksigt"), service_meant("dynamdb")),
            (Some("quicksight"), Some("dynamodb"))
        );
    }
}
