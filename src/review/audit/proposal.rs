//! Finds the presets of the catalogue that fit a user, by the words of its name.
//!
//! **Invariant:** a word that is also the name of a program that many firms host themselves is not enough:
//! `terraform-ci` does not count as a user of HCP Terraform.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::known::{stand_in, words};

/// A preset that a draft can propose for a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proposal {
    /// The name of the preset.
    pub name: String,
    /// Its title: the vendor's name, a colon, and what the preset writes there.
    pub title: String,
    /// The domains of the vendor's API; empty for a product that each customer hosts.
    pub domains: BTreeSet<String>,
    /// The lines for its `params` section.
    pub parameter_lines: String,
}

/// Words that name a program that many firms host themselves, or a firm with several products. They identify a
/// preset only as a part of a longer name, such as `azure-devops`.
const NEVER_ALONE: [&str; 6] = ["ansible", "apache", "azure", "hashicorp", "hcp", "terraform"];
/// Words that identify a preset only when they are the whole name of a user: `mongodb-backup` may be the firm's
/// own.
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
    /// The vendor's name: the part of the title before the colon.
    #[must_use]
    pub fn vendor(&self) -> &str {
        self.title.split(':').next().unwrap_or_default()
    }

    /// The names of the vendor, each as a list of words: from the preset's name, its title and its domains.
    fn names(&self) -> Vec<Vec<String>> {
        let mut names = vec![words(&self.name)];
        names.extend(self.vendor().split(" and ").map(words));
        names.extend(self.domains.iter().map(|domain| words(domain)));
        // A user may write the words as one: `sumologic` for Sumo Logic.
        let joined: Vec<_> = names.iter().map(|name| vec![name.concat()]).collect();
        let first: Vec<_> = names.iter().filter_map(|name| Some(vec![name.first()?.clone()])).collect();
        names.extend(joined);
        names.extend(first);
        names
    }

    /// The number of words of the user's name that match this preset; `None`: the preset does not fit.
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

/// The presets that fit a user, the best match first.
#[must_use]
pub fn proposed<'p>(user: &str, catalogue: &'p [Proposal]) -> Vec<&'p Proposal> {
    let user = words(user);
    let fitting = catalogue.iter().filter_map(|preset| Some((preset.fit(&user)?, preset)));
    let mut fitting: Vec<_> = fitting.collect();
    // Of equal fits, the one with the shorter name comes first: it has fewer words that the user's name lacks.
    fitting.sort_by_key(|(fit, preset)| (Reverse(*fit), words(&preset.name).len(), preset.name.clone()));
    fitting.into_iter().map(|(_, preset)| preset).collect()
}
