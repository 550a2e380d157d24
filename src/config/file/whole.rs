//! All files of a configuration together: the main file, and the fragments that it includes.
//!
//! **Invariant:** each `[vendor.NAME]`, `[account.NAME]` and `[alert.NAME]` is in one file only, so no fragment changes
//! the settings of another.

use std::collections::{HashMap, HashSet};

use super::reader::{self, Entry, Section};
use super::report::{Mistake, Report, Span};
use super::{Document, include, literal, values, waivers};
use crate::review::audit::Waiver;

/// The sections that a fragment may have.
const OF_FRAGMENTS: [&str; 4] = ["vendor", "account", "alert", "waiver"];
/// The keys and sections that only the main file may have.
const OF_MAIN: [&str; 9] =
    ["include", "journal", "schedule", "defaults", "aws", "presets", "exposure", "heartbeat", "serve"];

/// The files of a configuration that could be read.
pub(super) struct Whole<'a> {
    main: Section<'a>,
    fragments: Vec<Section<'a>>,
    documents: Vec<(&'a Report<'a>, &'a Document<'a>)>,
    /// The patterns of `include`, as they are written.
    pub(super) include: Vec<String>,
    /// Whether every file could be read.
    pub(super) all_read: bool,
}

impl<'a> Whole<'a> {
    /// Joins the files. The first one must be the main file, and must be readable.
    pub(super) fn new(
        files: impl Iterator<Item = (&'a Report<'a>, &'a Document<'a>)>,
        all_read: bool,
    ) -> Whole<'a> {
        let documents: Vec<_> = files.filter(|(_, document)| document.is_readable).collect();
        let root = |(report, document): &(&'a Report<'a>, &'a Document<'a>), title: &str| {
            let start = Span { start: 0, end: 0 };
            Section::new(report, title.to_owned(), start, document.toml.get_ref())
        };
        let mut main = root(&documents[0], "the file");
        // The patterns were read before, so their mistakes are reported already.
        let include = main.strings("include", include::LIST_HINT).unwrap_or_default();
        let include = include.iter().map(|text| text.text.to_owned()).collect();
        let fragments = documents[1..].iter().map(|file| root(file, "the fragment")).collect();
        Whole { main, fragments, documents, include, all_read }
    }

    /// The main file, which includes the others.
    pub(super) fn main(&mut self) -> &mut Section<'a> {
        &mut self.main
    }

    /// The sections `[kind.NAME]` of all files, by file and place. A name that an earlier file has is a mistake.
    pub(super) fn named(&mut self, kind: &'static str) -> Vec<Entry<'a>> {
        let title = format!("[{kind}.NAME]");
        let mut entries = self.main.named(kind, &title);
        entries.extend(self.fragments.iter_mut().flat_map(|fragment| fragment.named(kind, &title)));
        let mut first: HashMap<&str, Entry<'a>> = HashMap::new();
        for entry in &entries {
            let earlier = *first.entry(entry.key).or_insert(*entry);
            if !std::ptr::eq(earlier.report, entry.report) {
                entry.report.add(twice(kind, &earlier, entry));
            }
        }
        entries
    }

    /// The entries of `[[waiver]]` in all files.
    pub(super) fn waivers(&mut self) -> Vec<Waiver> {
        let mut found = waivers::read(&mut self.main);
        found.extend(self.fragments.iter_mut().flat_map(waivers::read));
        found
    }

    /// The paths of the fragments, as mistakes name them.
    pub(super) fn included(&self) -> Vec<String> {
        self.fragments.iter().map(|fragment| fragment.report.path().to_string()).collect()
    }

    /// Reports unknown keys, misplaced keys and values that look like a token, and returns the warnings of all files.
    pub(super) fn finish(self) -> Vec<String> {
        let main = self.main.report.path();
        for fragment in &self.fragments {
            for name in fragment.unasked() {
                fragment.report.clear(name.span().into());
                let mistake = misplaced(name.get_ref(), name.span().into(), main);
                fragment.report.add(mistake);
            }
        }
        self.main.finish();
        let (mut warnings, mut seen) = (Vec::new(), HashSet::new());
        for (report, document) in self.documents {
            literal::judge_file(report, document.toml.get_ref());
            warnings
                .extend(report.take_warnings().into_iter().filter(|warning| seen.insert(warning.clone())));
        }
        warnings
    }
}

/// The mistake for a name that an earlier file already has.
fn twice(kind: &str, earlier: &Entry<'_>, entry: &Entry<'_>) -> Mistake {
    let title = reader::title(kind, entry.key);
    let line = earlier.report.line_of(earlier.key_span);
    let message = format!("{title} is already in {}, on line {line}", earlier.report.path());
    Mistake::new(entry.key_span, message)
        .elsewhere_at(earlier.report.at(earlier.key_span), "first here")
        .hint("a name can be in one file only: remove or rename one of the two")
}

/// The mistake for a key at the top of a fragment that a fragment may not have.
fn misplaced(name: &str, span: Span, main: &str) -> Mistake {
    if name == "include" {
        return Mistake::new(span, "a fragment includes no other files")
            .hint(format!("put the pattern into the include of {main}"));
    }
    if OF_MAIN.contains(&name) {
        return Mistake::new(span, format!("[{name}] does not belong in a fragment"))
            .hint(format!("move it to {main}, which includes this file"));
    }
    let hint = match values::nearest(name, OF_FRAGMENTS.into_iter().chain(OF_MAIN)) {
        Some(meant) if OF_FRAGMENTS.contains(&meant) => format!("did you mean {meant}?"),
        _ => format!(
            "a fragment holds [vendor.NAME], [account.NAME], [alert.NAME] and [[waiver]]; everything else belongs in {main}"
        ),
    };
    Mistake::new(span, format!("unknown key {} in the fragment", reader::quoted(name))).hint(hint)
}
