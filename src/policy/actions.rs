//! What is known of AWS's actions: which there are, what kind each is, and whether a policy can name
//! the resources that it may touch.
//!
//! The table holds the services that vendors are given rights in. Of all others nothing is known, and
//! [`knows`] says so.

use std::sync::LazyLock;

const TABLE: &str = include_str!("actions.txt");

/// What kind of action it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Names of things.
    List,
    /// What is in them.
    Read,
    /// Changes.
    Write,
    /// Changes of tags.
    Tag,
    /// Changes of who may do what.
    Permissions,
}

/// One action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Action {
    /// Such as `s3`.
    pub service: &'static str,
    /// Such as `GetObject`.
    pub name: &'static str,
    /// What kind it is.
    pub level: Level,
    /// Whether `Resource` can be narrower than `*` for it.
    pub scoped: bool,
}

impl Action {
    /// Such as `s3:GetObject`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.service, self.name)
    }
}

static ACTIONS: LazyLock<Vec<Action>> = LazyLock::new(|| {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut actions: Vec<Action> = rows.flat_map(row).collect();
    actions.sort_by_key(|action| (action.service, action.name));
    actions
});

fn row(line: &'static str) -> impl Iterator<Item = Action> {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("a row of the table has a service, a level and a support");
    let service = word();
    let level = match word() {
        "list" => Level::List,
        "read" => Level::Read,
        "write" => Level::Write,
        "tag" => Level::Tag,
        "permissions" => Level::Permissions,
        other => unreachable!("the table has no level {other}"),
    };
    let scoped = word() == "scoped";
    words.map(move |name| Action { service, name, level, scoped })
}

/// All actions of the table, by service and name.
#[must_use]
pub fn all() -> &'static [Action] {
    &ACTIONS
}

/// Whether the table has this service.
#[must_use]
pub fn knows(service: &str) -> bool {
    all().iter().any(|action| action.service.eq_ignore_ascii_case(service))
}

/// The known actions that this pattern stands for.
#[must_use]
pub fn matching(pattern: &super::Pattern) -> Vec<&'static Action> {
    if pattern.is_everything() {
        return all().iter().collect();
    }
    let Some((service, _)) = pattern.action() else { return Vec::new() };
    let of_service = |action: &&Action| service.contains('*') || action.service.eq_ignore_ascii_case(service);
    all().iter().filter(of_service).filter(|action| pattern.matches(&action.full_name())).collect()
}

/// The services that a policy names and the table lacks, and the actions of other services that it lacks, each once.
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

/// The known action that was probably meant by a name of this service that there is not.
#[must_use]
pub fn meant(service: &str, name: &str) -> Option<&'static Action> {
    let name = name.to_ascii_lowercase();
    let distance = |action: &Action| strsim::damerau_levenshtein(&action.name.to_ascii_lowercase(), &name);
    let of_service = all().iter().filter(|action| action.service.eq_ignore_ascii_case(service));
    let (distance, action) = of_service.map(|action| (distance(action), action)).min_by_key(|near| near.0)?;
    (distance <= 1.max(name.len() / 6)).then_some(action)
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        assert!(all().len() > 3000, "{}", all().len());
        let one = |name: &str| *matching(&Pattern::new(name)).first().expect("it is in the table");
        assert_eq!(one("s3:getobject").level, Level::Read);
        assert!(one("s3:GetObject").scoped && !one("s3:ListAllMyBuckets").scoped);
        assert!(!one("ec2:DescribeInstances").scoped && one("ec2:StartInstances").scoped);
        assert_eq!(one("iam:AttachUserPolicy").level, Level::Permissions);
        assert!(knows("STS") && !knows("quicksight"));
    }

    #[test]
    fn a_pattern_stands_for_the_actions_that_it_matches() {
        let names = |text: &str| matching(&Pattern::new(text)).len();
        assert_eq!(names("*"), all().len());
        assert_eq!(names("*:*"), all().len());
        assert_eq!(names("sts:AssumeRole"), 1);
        assert!(names("sts:*") > 10 && names("*:GetObject") == 1 && names("quicksight:*") == 0);
    }

    #[test]
    fn a_misspelt_action_is_recognised() {
        assert_eq!(meant("s3", "GetObjet").map(|action| action.name), Some("GetObject"));
        assert_eq!(meant("ec2", "StartInstance").map(|action| action.name), Some("StartInstances"));
        assert_eq!(meant("s3", "SomethingElse"), None);
    }
}
