//! `include`: finds the fragments of a configuration by patterns, and reads them.
//!
//! **Invariant:** a fragment is read only if no other user could have written it, even if a person named the
//! configuration. A person names only the pattern, and it also matches a file that another user put into the folder.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use super::reader::{Section, Text, quoted};
use super::report::{Mistake, Report, Span};
use crate::config::text::{self, NoText};
use crate::files::trust;

pub(super) const LIST_HINT: &str = "such as include = [\"rotation.d/*.toml\"], or leave it out";
const FOLDER_HINT: &str =
    "fragments are files: write \"rotation.d/*.toml\" for those in the folder rotation.d";
/// The most files that a pattern may match: twice as many as one fragment for each of ten thousand vendors.
const FILES_MAX: usize = 20_000;

/// One included file.
pub(super) struct Fragment {
    /// The path, as mistakes name it.
    pub(super) path: String,
    pub(super) text: String,
}

/// The fragments that were found.
pub(super) struct Included {
    /// The fragments in the order of the patterns, and for each pattern in the order of their paths.
    pub(super) fragments: Vec<Fragment>,
    /// Whether every file that the patterns name could be read.
    pub(super) is_whole: bool,
}

/// A message about what is wrong with a pattern or a file, and a hint.
type Wrong = (String, Option<&'static str>);

/// Reads the fragments of the configuration at this path. The size limit covers the configuration and all fragments
/// together.
pub(super) fn read(report: &Report<'_>, document: &Spanned<DeTable<'_>>, main: &Path) -> Included {
    let start = Span { start: 0, end: 0 };
    let patterns = Section::new(report, "the file".to_owned(), start, document.get_ref())
        .strings("include", LIST_HINT)
        .unwrap_or_default();
    let left = text::BYTES_MAX.saturating_sub(report.end() as u64);
    let said =
        document.get_ref().get("include").map_or(Some(0), |list| Some(list.get_ref().as_array()?.len()));
    let mut reading = Reading {
        report,
        beside: main.parent().unwrap_or(Path::new("")),
        main: identity(main),
        seen: BTreeSet::new(),
        left,
        // An entry that is not a string may be meant to name files. They are not read, so the configuration is not
        // whole.
        included: Included { fragments: Vec::new(), is_whole: said == Some(patterns.len()) },
    };
    for pattern in patterns {
        reading.pattern(pattern);
    }
    reading.included
}

/// The device and the inode, which identify a file that can be reached by several paths.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The state of reading the fragments that the patterns name.
struct Reading<'r, 'a> {
    report: &'r Report<'a>,
    /// The folder of the configuration's main file. Patterns start from it.
    beside: &'r Path,
    /// The configuration's main file, which must not be read as a fragment of itself.
    main: Option<Identity>,
    /// The files that were read: a file that two patterns match is read once.
    seen: BTreeSet<Identity>,
    /// The number of bytes that may still be read.
    left: u64,
    included: Included,
}

impl Reading<'_, '_> {
    /// Reads the files that a pattern matches, and reports those that cannot be read.
    fn pattern(&mut self, pattern: Text<'_>) {
        match self.matches(pattern.text) {
            Err(wrong) => self.wrong(pattern.span, wrong),
            Ok(paths) if paths.is_empty() => {
                self.report.warn(format!("include: no file matches {}", quoted(pattern.text)));
            }
            Ok(paths) => {
                for path in paths {
                    if let Err(wrong) = self.file(&path) {
                        self.wrong(pattern.span, wrong);
                    }
                }
            }
        }
    }

    fn wrong(&mut self, span: Span, (message, hint): Wrong) {
        self.included.is_whole = false;
        let mistake = Mistake::new(span, plain(&message));
        self.report.add(match hint {
            Some(hint) => mistake.hint(hint),
            None => mistake,
        });
    }

    /// The paths that a pattern matches, sorted. A pattern without `*` and `?` is a path itself, even if there is no
    /// such file, so that the missing file is reported.
    fn matches(&self, pattern: &str) -> Result<Vec<PathBuf>, Wrong> {
        judge(pattern)?;
        let mut paths =
            vec![if pattern.starts_with('/') { PathBuf::from("/") } else { self.beside.to_owned() }];
        let mut is_sure = true;
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            if !part.contains(['*', '?']) {
                for path in &mut paths {
                    path.push(part);
                }
                continue;
            }
            let mut next = Vec::new();
            for path in paths {
                match entries(&path, part) {
                    Ok(found) => next.extend(found),
                    // A path that an earlier part of the pattern matched need not be a folder.
                    Err(_) if !is_sure => {}
                    Err(error) => return Err(no_folder(&path, &error)),
                }
            }
            is_sure = false;
            paths = next;
            if paths.len() > FILES_MAX {
                return Err((format!("{} matches more than {FILES_MAX} files", quoted(pattern)), None));
            }
        }
        paths.retain(|path| is_sure || fs::symlink_metadata(path).is_ok());
        paths.sort();
        Ok(paths)
    }

    /// Reads one fragment, unless an earlier pattern has already matched it.
    fn file(&mut self, path: &Path) -> Result<(), Wrong> {
        let shown = shown(path);
        let unreadable = |error: &io::Error| unreadable(path, error);
        let file = trust::open_regular(path).map_err(|error| unreadable(&error))?;
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        let identity = (metadata.dev(), metadata.ino());
        if self.main == Some(identity) {
            let hint = "put the fragments into a folder of their own, such as \"rotation.d/*.toml\"";
            return Err((format!("{shown} is this file itself"), Some(hint)));
        }
        if !self.seen.insert(identity) {
            return Ok(());
        }
        trust::judge(&file, path).map_err(|untrusted| {
            let why = "whoever can write a fragment gets the next keys of its vendors";
            (untrusted.to_string(), Some(why))
        })?;
        let text = text::read(file, self.left).map_err(|why| match why {
            NoText::Unreadable(error) => unreadable(&error),
            NoText::TooLarge => {
                (format!("with {shown}, the configuration is larger than 16 MiB in all"), None)
            }
            NoText::NotText { line } => {
                (format!("{shown} is not UTF-8 text: line {line} has a byte that no text has"), None)
            }
        })?;
        self.left -= text.len() as u64;
        self.included.fragments.push(Fragment { path: shown, text });
        Ok(())
    }
}

/// A path as text for a message.
fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

/// Replaces control characters, which the name of a file may hold.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Refuses a pattern that is empty, names a folder, or has a sign other than `*` and `?`.
fn judge(pattern: &str) -> Result<(), Wrong> {
    if pattern.trim().is_empty() {
        return Err(("this pattern is empty".to_owned(), Some(LIST_HINT)));
    }
    if pattern.ends_with('/') {
        return Err((format!("{} is a folder", quoted(pattern)), Some(FOLDER_HINT)));
    }
    if pattern.contains("**") || pattern.contains(['[', ']', '{', '}', '\\']) {
        let message = format!("{} is more than a pattern of include can say", quoted(pattern));
        return Err((message, Some("* stands for any letters of a name, ? for one; there is no other sign")));
    }
    Ok(())
}

fn no_folder(path: &Path, error: &io::Error) -> Wrong {
    match error.kind() {
        ErrorKind::NotFound => {
            let hint = "patterns start from the folder of this file; make the folder, or correct its name";
            (format!("there is no folder {}", shown(path)), Some(hint))
        }
        ErrorKind::NotADirectory => (format!("{} is not a folder", shown(path)), None),
        _ => (format!("the folder {} cannot be read: {error}", shown(path)), None),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Wrong {
    let there = fs::symlink_metadata(path);
    let is_link = there.as_ref().is_ok_and(fs::Metadata::is_symlink);
    let path_shown = shown(path);
    match error.kind() {
        ErrorKind::NotFound if is_link => (format!("{path_shown} is a link that leads nowhere"), None),
        ErrorKind::NotFound => {
            let hint = "patterns start from the folder of this file";
            (format!("there is no file {path_shown}"), Some(hint))
        }
        ErrorKind::InvalidInput if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) => {
            (format!("{path_shown} is a folder"), Some(FOLDER_HINT))
        }
        ErrorKind::InvalidInput if there.is_ok() => (format!("{path_shown} is not a regular file"), None),
        _ => (format!("{path_shown} cannot be read: {error}"), None),
    }
}

/// The entries of a folder whose names match. As in a shell, only a pattern that begins with a dot matches a name that
/// begins with one.
fn entries(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for entry in fs::read_dir(here)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with('.') == pattern.starts_with('.') && fits(pattern, &text) {
            found.push(folder.join(&name));
        }
    }
    Ok(found)
}

/// Whether a name matches a pattern, in which `*` stands for any text and `?` for one character.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The position of the last `*` in the pattern, and the end of the text that it stands for.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, end)) = star else { return false };
                star = Some((at, end + 1));
                p = at + 1;
                n = end + 1;
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}
