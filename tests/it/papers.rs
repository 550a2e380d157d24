//! The documentation: every command in it exists, every link in it has a target, and the README stays short.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::support::papers::{self, Paper};

const README_LINES_MAX: usize = 150;
/// The pages that the README must link to.
const PAGES: [&str; 12] = [
    "getting-started",
    "configuration",
    "vendors",
    "alerts",
    "operations",
    "incident",
    "audit",
    "receivers",
    "security",
    "architecture",
    "comparison",
    "style",
];

#[test]
fn the_readme_is_short_and_links_to_every_page() {
    let readme = papers::all().into_iter().find(|paper| paper.path == "README.md").expect("a README");
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES_MAX, "the README has {lines} lines");
    for page in PAGES {
        assert!(
            readme.text.contains(&format!("(docs/{page}.md)")),
            "the README does not lead to docs/{page}.md"
        );
    }
}

#[test]
fn every_documented_command_and_option_exists() {
    let mut program = Program::default();
    let papers = papers::all();
    let wrong: Vec<String> = papers.iter().flat_map(|paper| wrong_commands(paper, &mut program)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(program.helps.len() > 15, "hardly any command was found: {:?}", program.helps.keys());
}

#[test]
fn an_unknown_command_or_option_in_the_documentation_is_found() {
    let text = "```sh\nkeyround run\n$ keyround -c x.toml --format json status acme\nkeyround delete-it-all\n```\n\
                keyround is a program. `keyround rotate acme --forc` and `keyround journal rekey --lost`, `keyround alert tset`.\n";
    let paper = Paper { path: "x.md".to_owned(), text: text.to_owned() };
    let wrong = wrong_commands(&paper, &mut Program::default());
    let wrong: Vec<&str> = wrong.iter().filter_map(|wrong| wrong.rsplit(": ").next()).collect();
    assert_eq!(wrong, ["delete-it-all", "--forc", "tset"]);
}

#[test]
fn every_link_between_documentation_pages_resolves() {
    let papers = papers::all();
    let broken: Vec<String> = papers.iter().flat_map(|paper| broken_links(paper, &papers)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_broken_link_in_the_documentation_is_found() {
    let paper = |text: &str| Paper { path: "docs/x.md".to_owned(), text: text.to_owned() };
    let text = "# The head\n[a](y.md) [b](#the-head) [c](#no-head) [d](https://example.com) [e](../Cargo.toml)\n\
                ```sh\n[f](in-code)\n```\n![g](z.png)\n";
    let broken = broken_links(&paper(text), &[paper(text)]);
    let broken: Vec<&str> = broken.iter().filter_map(|broken| broken.rsplit(' ').next()).collect();
    assert_eq!(broken, ["y.md", "#no-head", "z.png"]);
}

/// The help texts of the program, each read once.
#[derive(Default)]
struct Program {
    helps: BTreeMap<Vec<String>, String>,
}

impl Program {
    fn help(&mut self, command: &[String]) -> &str {
        self.helps.entry(command.to_vec()).or_insert_with(|| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_keyround"));
            let output = program.args(command).arg("--help").output().expect("keyround runs");
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    }

    /// The subcommands of this command.
    fn commands(&mut self, command: &[String]) -> BTreeSet<String> {
        let lines = self.help(command).lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = lines.take_while(|line| !line.is_empty());
        listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }
}

fn wrong_commands(paper: &Paper, program: &mut Program) -> Vec<String> {
    let mut wrong = Vec::new();
    for call in calls(&paper.text) {
        if let Some(what) = wrong_in(&call, program) {
            wrong.push(format!("{}: keyround {call}: {what}", paper.path));
        }
    }
    wrong
}

/// The calls of `keyround` in fenced blocks and in code spans: what follows the program's name, without comments.
fn calls(text: &str) -> Vec<String> {
    let mut calls = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            calls.extend(line.trim_start_matches("$ ").strip_prefix("keyround ").map(str::to_owned));
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            calls.extend(spans.filter_map(|span| span.strip_prefix("keyround ")).map(str::to_owned));
        }
    }
    let bare = |call: String| call.split(" #").next().unwrap_or_default().trim().to_owned();
    calls.into_iter().map(bare).collect()
}

/// The first command or option of a call that the program does not have.
fn wrong_in(call: &str, program: &mut Program) -> Option<String> {
    let mut command: Vec<String> = Vec::new();
    let mut words = call.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if matches!(word, "-c" | "--config" | "--format" | "--log-format" | "--color") {
            words.next();
        } else if word.starts_with("--") {
            let option = word.split('=').next().unwrap_or(word);
            let help = program.help(&command);
            let has = help.split(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric());
            if !has.into_iter().any(|known| known == option) {
                return Some(option.to_owned());
            }
        } else if !word.starts_with('-') {
            let known = program.commands(&command);
            if known.contains(word) {
                command.push(word.to_owned());
            } else if command.is_empty() || is_command_due(&command, program) {
                return Some(word.to_owned());
            }
        }
    }
    None
}

/// Whether this command needs one of its subcommands.
fn is_command_due(command: &[String], program: &mut Program) -> bool {
    let help = program.help(command);
    help.lines().any(|line| line.starts_with("Usage: ") && line.ends_with(" <COMMAND>"))
}

fn broken_links(paper: &Paper, papers: &[Paper]) -> Vec<String> {
    let folder = Path::new(&paper.path).parent().unwrap_or(Path::new(""));
    let mut broken = Vec::new();
    for link in links(&paper.text).iter().filter(|link| !link.contains("://")) {
        let (file, anchor) =
            link.split_once('#').map_or((link.as_str(), None), |(file, to)| (file, Some(to)));
        let path = if file.is_empty() { paper.path.clone() } else { plain(&folder.join(file)) };
        let target = papers.iter().find(|other| other.path == path);
        let is_file = target.is_some() || papers::root().join(&path).exists();
        let has_anchor =
            anchor.is_none_or(|anchor| target.is_some_and(|page| headings(&page.text).contains(anchor)));
        if !is_file || !has_anchor {
            broken.push(format!("{}: nothing is at {link}", paper.path));
        }
    }
    broken
}

/// Removes `..` from a path: `docs/../src` becomes `src`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part.as_os_str().to_string_lossy().as_ref() {
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    parts.join("/")
}

/// The targets of links and pictures outside fenced blocks.
fn links(text: &str) -> Vec<String> {
    let prose = text.split("\n```").step_by(2);
    let targets = prose.flat_map(|prose| prose.split("](").skip(1));
    targets.filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The anchors that GitHub gives to the headings of a page.
fn headings(text: &str) -> BTreeSet<String> {
    let titles =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let letters = |title: &str| -> String {
        let kept =
            title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
    };
    titles.map(letters).collect()
}
