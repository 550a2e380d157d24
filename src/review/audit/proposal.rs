//! Which presets of the catalogue fit a user, by the words of its name.
//!
//! **Invariant:** a word that is also the name of a program that many firms host themselves is not enough:
//! `terraform-ci` is not taken for a user of HCP Terraform.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::known::{stand_in, words};

/// A preset that a draft can propose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proposal {
    /// The name of the preset.
    pub name: String,
    /// Its title: the vendor, a colon, and what the preset writes there.
    pub title: String,
    /// The domains of the vendor's API; may be empty.
    pub domains: BTreeSet<String>,
    /// The lines of its section `params`.
    pub parameter_lines: String,
}

/// Words that name a program that many firms host, or a firm with several products. They recognise a preset only
/// as a part of a longer name: `azure-devops`.
const NEVER_ALONE: [&str; 6] = ["ansible", "apache", "azure", "hashicorp", "hcp", "terraform"];
/// Words that recognise a preset only when they are the whole name of a user: `mongodb-backup` can be anybody's.
const ONLY_ALONE: [&str; 13] = [
    "airflow",
    "awx",
    "elastic",
    "forgejo",
    "gitea",
    "jenkins",
    "kafka",
    "kubernetes",
    "mongodb",
    "nexus",
    "sentry",
    "vault",
    "zabbix",
];

impl Proposal {
    /// The vendor.
    #[must_use]
    pub fn vendor(&self) -> &str {
        self.title.split(':').next().unwrap_or_default()
    }

    /// Names of the vendor, each in words: of the preset, of its title, of its domains.
    fn names(&self) -> Vec<Vec<String>> {
        let mut names = vec![words(&self.name)];
        names.extend(self.vendor().split(" and ").map(words));
        names.extend(self.domains.iter().map(|domain| words(domain)));
        // `sumologic` is Sumo Logic too.
        let joined: Vec<_> = names.iter().map(|name| vec![name.concat()]).collect();
        let first: Vec<_> = names.iter().filter_map(|name| Some(vec![name.first()?.clone()])).collect();
        names.extend(joined);
        names.extend(first);
        names
    }

    /// How many words of the user's name this preset explains; `None` if the preset does not fit.
    fn fit(&self, user: &[String]) -> Option<usize> {
        let is_enough = |name: &Vec<String>| match name.as_slice() {
            [word] if NEVER_ALONE.contains(&word.as_str()) => false,
            [word] if ONLY_ALONE.contains(&word.as_str()) => user.len() == 1,
            _ => true,
        };
        let fits = self.names().into_iter().filter(|name| is_enough(name) && stand_in(name, user));
        let longest = fits.map(|name| name.len()).max()?;
        Some(longest.max(words(&self.name).iter().filter(|word| user.contains(word)).count()))
    }
}

/// The presets that fit a user, the best first.
#[must_use]
pub fn proposed<'p>(user: &str, catalogue: &'p [Proposal]) -> Vec<&'p Proposal> {
    let user = words(user);
    let fitting = catalogue.iter().filter_map(|preset| Some((preset.fit(&user)?, preset)));
    let mut fitting: Vec<_> = fitting.collect();
    fitting.sort_by_key(|(fit, preset)| (Reverse(*fit), words(&preset.name).len(), preset.name.clone()));
    fitting.into_iter().map(|(_, preset)| preset).collect()
}
