//! The rules of the repository as a test, so that reviewers need not remember them.
//!
//! Each rule reads text instead of syntax trees, so that it is simple enough to be trusted. Every rule also has a
//! piece of bad code that it must report, so that a rule that no longer works is noticed.
//!
//! **Invariant:** a rule has no list of exceptions by file name, except the places where the thing that it forbids
//! belongs.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules ("rooms"), each with its layer, as in the table of `src/lib.rs`. A room may import from the layers
/// below its own.
///
/// 1 values and the pure core, 2 the pure review, 3 configuration, 4 ports, 5 adapters and the engine, 6 status, 7
/// alerting, 8 the command line.
const LAYERS: [(&str, u8); 16] = [
    ("core", 1),
    ("files", 1),
    ("review", 2),
    ("config", 3),
    ("ports", 4),
    ("adapters::aws", 5),
    ("adapters::delivery", 5),
    ("adapters::journal", 5),
    ("adapters::net", 5),
    ("adapters::notify", 5),
    ("adapters::rehearsal", 5),
    ("adapters::secrets", 5),
    ("engine", 5),
    ("status", 6),
    ("alerting", 7),
    ("cli", 8),
];
/// Pairs of a room and one that it may import although both are in one layer: adapters to the same service share
/// how they reach it.
const SHARED: [(&str, &str); 5] = [
    ("adapters::aws", "adapters::net"),
    ("adapters::delivery", "adapters::net"),
    ("adapters::notify", "adapters::aws"),
    ("adapters::notify", "adapters::net"),
    ("adapters::secrets", "adapters::aws"),
];
/// The only module that may import the adapters: the command line, which wires them to the ports.
const KNOWS_ADAPTERS: &str = "cli";

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

struct Rule {
    name: &'static str,
    complaints: fn(&Source) -> Vec<String>,
    /// The path of a file, and text in it that this rule must report.
    bad: (&'static str, &'static str),
    /// Text for the same path that this rule must accept.
    good: &'static str,
}

const RULES: [Rule; 14] = [
    Rule {
        name: "a module imports from its layer's own side only",
        complaints: wrong_imports,
        bad: ("src/status/store.rs", "use crate::{core::ids::Subject, adapters::{journal::{Sqlite, Seal}}};"),
        good: "use crate::{core::ids::Subject, ports::{Journal, Iam}}; #[cfg(test)] mod tests { use crate::adapters::journal::X; }",
    },
    Rule {
        name: "another module is named from the root",
        complaints: |source| in_code(source, "super::super::"),
        bad: ("src/adapters/aws/iam/client.rs", "use super::super::journal::Sqlite;"),
        good: "use super::account::Account;",
    },
    Rule {
        name: "the core is pure",
        complaints: impurities,
        bad: ("src/core/schedule/cron.rs", "async fn next() {}"),
        good: "/// Not async.\nfn next() {}",
    },
    Rule {
        name: "the clock has one reader",
        complaints: clock_readers,
        bad: ("src/cli/run.rs", "let now = std::time::SystemTime::now();"),
        good: "let now = clock.now();",
    },
    Rule {
        name: "only the shell sleeps, the pacing of IAM, and a journal that waits for its database",
        complaints: sleepers,
        bad: ("src/adapters/delivery/http.rs", "tokio::time::sleep(wait).await;"),
        good: "tokio::time::timeout(request.timeout, sent).await;",
    },
    Rule {
        name: "only the command line prints",
        complaints: prints,
        bad: ("src/engine/drive.rs", "eprintln!(\"here\");"),
        good: "tracing::info!(\"eprintln!\");",
    },
    Rule {
        name: "a file begins with why it exists",
        complaints: |source| match source.text.starts_with("//! ") {
            true => vec![],
            false => vec!["it does not begin with `//! `".to_owned()],
        },
        bad: ("src/adapters/aws/iam/client.rs", "use std::fmt;"),
        good: "//! The calls.",
    },
    Rule {
        name: "a file is one concept long",
        complaints: |source| {
            let lines = source.code.lines().count();
            if lines > FILE_LINES_MAX { vec![format!("{lines} lines without tests")] } else { vec![] }
        },
        bad: ("src/adapters/aws/iam/client.rs", LONG_FILE),
        good: "//! Short.",
    },
    Rule {
        name: "a function fits on a screen",
        complaints: long_functions,
        bad: ("src/adapters/aws/iam/client.rs", LONG_FUNCTION),
        good: "fn short() {\n}\nconst F: fn(u32) = short;\n",
    },
    Rule {
        name: "nothing is left for later",
        complaints: |source| {
            [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")]
                .into_iter()
                .filter(|word| has_word(&source.text, word))
                .map(str::to_owned)
                .collect()
        },
        bad: ("tests/it/kill.rs", concat!("// TO", "DO: more")),
        good: "// AKIAXXXXXXXXXXXXXXXX",
    },
    Rule {
        name: "a lint is expected with a reason, not allowed",
        complaints: |source| in_text(source, &[concat!("#[al", "low("), concat!("#![al", "low(")]),
        bad: ("src/adapters/aws/iam/client.rs", concat!("#[al", "low(dead_code)]")),
        good: "#[expect(dead_code, reason = \"because\")]",
    },
    Rule {
        name: "nothing is unwrapped",
        complaints: |source| in_code(source, ".unwrap()"),
        bad: ("src/adapters/aws/iam/client.rs", "let key = keys.first().unwrap();"),
        good: "let key = keys.first()?; #[cfg(test)] mod tests { fn f() { x.unwrap(); } }",
    },
    Rule {
        name: "plain English",
        complaints: riddles,
        bad: ("README.md", "A lost answer is told\nfor\never, out\nloud."),
        good: "It is kept for every vendor, and read aloud by those who want to be told.",
    },
    Rule {
        name: "no path of one machine is written down",
        complaints: |source| {
            in_text(source, &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")])
        },
        bad: ("dist/keyround.service", concat!("ExecStart=/ro", "ot/keyround/target/release/keyround run")),
        good: "ExecStart=/usr/bin/keyround run",
    },
];

#[test]
fn every_source_file_follows_the_house_rules() {
    let mut complaints = Vec::new();
    for source in sources() {
        for rule in RULES.iter().filter(|rule| applies(rule, &source)) {
            let found = (rule.complaints)(&source);
            complaints.extend(found.iter().map(|what| format!("{}: {}: {what}", source.path, rule.name)));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_house_rule_rejects_its_bad_example_and_accepts_the_good_one() {
    for rule in &RULES {
        let (path, bad) = rule.bad;
        let [bad, good] = [bad, rule.good].map(|text| Source::new(path, text));
        assert!(applies(rule, &bad), "{} is not asked about {path}", rule.name);
        assert!(!(rule.complaints)(&bad).is_empty(), "{} accepts {}", rule.name, bad.text);
        assert!((rule.complaints)(&good).is_empty(), "{} refuses {}", rule.name, good.text);
    }
}

#[test]
fn every_source_file_is_reached_by_a_mod_declaration() {
    let sources = sources();
    let src: Vec<&Source> = sources.iter().filter(|source| source.is_program()).collect();
    let dead: Vec<&str> =
        src.iter().filter(|file| !is_declared(file, &src)).map(|file| file.path.as_str()).collect();
    assert!(dead.is_empty(), "no `mod` leads to {dead:?}");
    let orphan = Source::new("src/adapters/aws/iam/orphan.rs", "//! Nobody knows me.");
    assert!(!is_declared(&orphan, &src));
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let text = "let a = \"x.unwrap()\"; // y.unwrap()\nlet b = r#\"z\".unwrap()\"#; let c = '\"'; d();\n\
                #[cfg(test)]\nmod tests { fn f() { e(); } }\nlet g = '\\''; h::<'static>();\n";
    let source = Source::new("src/adapters/aws/iam/client.rs", text);
    assert!(!source.code.contains("unwrap") && !source.code.contains("e();"), "{}", source.code);
    assert!(source.code.contains("d();") && source.code.contains("h::<'static>();"), "{}", source.code);
}

// The rules.

fn wrong_imports(source: &Source) -> Vec<String> {
    let Some(from) = source.room() else { return vec![] };
    let wrong = |to: &String| match (layer(&from), layer(to)) {
        (Some(_), Some(_)) if may_import(&from, to) => None,
        (Some(_), Some(_)) => Some(format!("`{from}` may not know of `{to}`")),
        (None, _) => Some(format!("`{from}` has no layer: give it one")),
        (_, None) => Some(format!("`{to}` has no layer: give it one, or name it by its module")),
    };
    imports(&source.code).iter().filter_map(wrong).collect()
}

fn layer(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

fn may_import(from: &str, to: &str) -> bool {
    let is_adapter = |room: &str| room.starts_with("adapters::");
    let is_below = layer(to) < layer(from) && (!is_adapter(to) || from == KNOWS_ADAPTERS);
    from == to || is_below || SHARED.contains(&(from, to))
}

/// The rooms that are named after `crate::` or `keyround::`, also inside `{ … }`. A room of `adapters` is named
/// with its parent.
fn imports(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for root in ["crate::", "keyround::"] {
        for (at, _) in code.match_indices(root).filter(|(at, _)| !ends_in_word(&code[..*at])) {
            rooms.extend(first_words(&code[at + root.len()..]).into_iter().flat_map(|(word, rest)| {
                match word.as_str() {
                    "adapters" => {
                        first_words(rest).into_iter().map(|(word, _)| format!("adapters::{word}")).collect()
                    }
                    _ => vec![word],
                }
            }));
        }
    }
    rooms
}

/// The first word of a path, or of each path in `{ … }`, and what follows it after `::`.
fn first_words(path: &str) -> Vec<(String, &str)> {
    let parts: Vec<&str> = match path.starts_with('{') {
        true => at_depth_one(&path[..block_length(path)]).collect(),
        false => vec![path],
    };
    let words = parts.into_iter().map(|part| {
        let (part, word) = (part.trim_start(), first_word(part));
        let rest = part.get(word.len()..).and_then(|rest| rest.strip_prefix("::")).unwrap_or_default();
        (word, rest)
    });
    words.filter(|(word, _)| !word.is_empty()).collect()
}

/// The parts of `{a, b::{c, d}}`: `a` and `b::{c, d}`.
fn at_depth_one(block: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    block.split(move |letter| {
        depth = match letter {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        (letter == ',' || letter == '{' || letter == '}') && depth <= 1
    })
}

fn impurities(source: &Source) -> Vec<String> {
    const IMPURE: [&str; 10] =
        ["async", "await", "tokio", "rand", "fs", "net", "env", "thread", "process", "SystemTime"];
    // These three files wrap what the other files of the core must not use directly.
    let wraps = ["src/core/secret.rs", "src/core/time.rs", "src/core/ids.rs"].contains(&source.path.as_str());
    if wraps || !matches!(source.module(), Some("core" | "review")) {
        return vec![];
    }
    IMPURE.iter().filter(|word| has_word(&source.code, word)).map(|word| format!("`{word}`")).collect()
}

fn clock_readers(source: &Source) -> Vec<String> {
    const READS: [&str; 3] = ["SystemTime::now", "Utc::now", "Local::now"];
    if source.path == "src/core/time.rs" {
        return vec![];
    }
    READS.iter().flat_map(|read| in_code(source, read)).collect()
}

fn sleepers(source: &Source) -> Vec<String> {
    const SLEEPS: [&str; 5] =
        ["time::sleep", "time::interval", "thread::sleep", "time::Instant", "Instant::now"];
    // Only `core::time` may compare the system clock with the monotonic one. The rate limits for an account's API
    // are counted in real time, whatever clock the rotations use.
    if source.path == "src/core/time.rs" || source.path.starts_with("src/adapters/aws/") {
        return vec![];
    }
    // A database that restarts while it commits an append is asked again after pauses of real time.
    if source.path == "src/adapters/journal/postgres/mod.rs" {
        return vec![];
    }
    match source.module() {
        Some("engine" | "alerting" | "cli" | "main") => vec![],
        _ => SLEEPS.iter().flat_map(|sleep| in_code(source, sleep)).collect(),
    }
}

fn prints(source: &Source) -> Vec<String> {
    const PRINTS: [&str; 6] = ["println!", "eprintln!", "print!", "eprint!", "io::stdout", "io::stderr"];
    match source.module() {
        Some("cli" | "main") => vec![],
        _ => PRINTS.iter().flat_map(|print| in_code(source, print)).collect(),
    }
}

fn long_functions(source: &Source) -> Vec<String> {
    let starts =
        source.scrubbed.match_indices("fn ").filter(|(at, _)| !ends_in_word(&source.scrubbed[..*at]));
    let measured = starts.filter_map(|(at, _)| {
        let function = &source.scrubbed[at..];
        let name = first_word(&function["fn ".len()..]);
        let end = item_length(function)?;
        Some((name, function[..end].lines().count()))
    });
    measured
        .filter(|(name, lines)| !name.is_empty() && *lines > FUNCTION_LINES_MAX)
        .map(|(name, lines)| format!("`{name}` has {lines} lines"))
        .collect()
}

fn is_declared(file: &Source, src: &[&Source]) -> bool {
    let path = Path::new(&file.path);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let (name, folder) = match stem.as_str() {
        "lib" | "main" => return true,
        "mod" => (folder.file_name().map(|name| name.to_string_lossy().into_owned()), folder.parent()),
        _ => (Some(stem), Some(folder)),
    };
    let (Some(name), Some(folder)) = (name, folder) else { return false };
    let beside = folder.with_extension("rs");
    let parents = [folder.join("mod.rs"), folder.join("lib.rs"), beside];
    let declaration = format!("mod {name};");
    src.iter().any(|source| {
        parents.iter().any(|parent| Path::new(&source.path) == parent)
            && source.scrubbed.contains(&declaration)
    })
}

/// Phrases of docs/style.md that a reader cannot understand at first sight. It also names them, as examples.
const RIDDLES: [&str; 9] = [
    "out loud",
    "those who are told",
    "is said to be",
    "nobody is told",
    "nobody hears",
    "who hears",
    "what is over",
    "did not take part",
    "for ever",
];

/// The banned phrases in texts that a reader of the program or of its documentation sees.
fn riddles(source: &Source) -> Vec<String> {
    let is_read = source.path.starts_with("src/")
        || source.path.starts_with("docs/") && source.path != "docs/style.md"
        || source.path.starts_with("systemd/")
        || !source.path.contains('/') && matches!(source.path.rsplit('.').next(), Some("md" | "example"));
    if !is_read {
        return vec![];
    }
    let text = in_one_line(&source.text).to_lowercase();
    let stands = |phrase: &&str| {
        text.match_indices(*phrase).any(|(at, _)| {
            let after = text[at + phrase.len()..].chars().next();
            !ends_in_word(&text[..at]) && !after.is_some_and(char::is_alphanumeric)
        })
    };
    RIDDLES.iter().filter(|phrase| stands(phrase)).map(|phrase| format!("`{phrase}`")).collect()
}

/// A text with comments and broken strings joined, so that a phrase is found across the ends of lines.
fn in_one_line(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim().trim_end_matches('\\').trim_end();
        line.trim_start_matches("//").trim_start_matches(['/', '!', '#']).trim_start()
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn in_code(source: &Source, forbidden: &str) -> Vec<String> {
    let starts = source.code.match_indices(forbidden);
    let found = starts.filter(|(at, _)| forbidden.starts_with('.') || !ends_in_word(&source.code[..*at]));
    found.map(|_| format!("`{forbidden}`")).collect()
}

fn in_text(source: &Source, forbidden: &[&str]) -> Vec<String> {
    forbidden.iter().filter(|text| source.text.contains(**text)).map(|text| format!("`{text}`")).collect()
}

// Reading the repository and its Rust code.

/// A file of the repository.
struct Source {
    /// The path from the root, with `/` as separator.
    path: String,
    text: String,
    /// The text with comments and literals blanked; empty for other than Rust files.
    scrubbed: String,
    /// `scrubbed` without the items that are `#[cfg(test)]`.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let scrubbed = if is_rust(path) { scrubbed(text) } else { String::new() };
        let code = if is_test_file(path) { String::new() } else { without_tests(&scrubbed) };
        Source { path: path.to_owned(), text: text.to_owned(), scrubbed, code }
    }

    /// The top module: `core` for `src/core/schedule/cron.rs`. `None` for `src/lib.rs` and files outside `src/`.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let top = inside.split('/').next()?;
        Some(top.strip_suffix(".rs").unwrap_or(top)).filter(|module| *module != "lib")
    }

    /// The top module, or for an adapter its path: `adapters::journal`. `None` also for `src/adapters/mod.rs`.
    fn room(&self) -> Option<String> {
        match self.module()? {
            "main" => Some(KNOWS_ADAPTERS.to_owned()),
            "adapters" => {
                let adapter = self.path.strip_prefix("src/adapters/")?.split('/').next()?;
                (adapter != "mod.rs").then(|| format!("adapters::{adapter}"))
            }
            module => Some(module.to_owned()),
        }
    }

    fn is_program(&self) -> bool {
        self.path.starts_with("src/") && is_rust(&self.path)
    }
}

/// A rule applies to files of the same kind as its bad example.
fn applies(rule: &Rule, source: &Source) -> bool {
    let (path, _) = rule.bad;
    match path {
        _ if path.starts_with("src/") => source.is_program(),
        _ if path.starts_with("tests/") => is_rust(&source.path),
        _ => true,
    }
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// Tests that are too long for their module's file are beside it, as `tests.rs`, or below it, in `tests/`.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || (path.starts_with("src/") && path.contains("/tests/"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the repository is readable") {
            let path = entry.expect("the repository is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let relative = path.strip_prefix(root()).expect("it is below the root").to_string_lossy();
                sources.push(Source::new(&relative, &text));
            }
        }
    }
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the repository was not found");
    sources
}

/// Replaces comments and literals by spaces, and keeps the line breaks.
fn scrubbed(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let prose = prose_length(rest, ends_in_word(&code));
        let (piece, after) = rest.split_at(prose.unwrap_or(letter.len_utf8()));
        match prose {
            Some(_) => code.extend(piece.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' })),
            None => code.push_str(piece),
        }
        rest = after;
    }
    code
}

/// The length of the comment or literal that begins here; `None` if neither begins here.
fn prose_length(rest: &str, in_word: bool) -> Option<usize> {
    let until = |from: usize, end: &str| {
        let length = rest.get(from..).and_then(|body| body.find(end));
        length.map_or(rest.len(), |length| from + length + end.len())
    };
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        let is_raw = rest[1 + hashes..].starts_with('"');
        return is_raw.then(|| until(2 + hashes, &format!("\"{}", "#".repeat(hashes))));
    }
    if rest.starts_with('"') {
        return Some(string_length(rest));
    }
    if rest.starts_with("'\\") {
        return Some(until(3, "'"));
    }
    let mut letters = rest.chars();
    let is_letter = letters.next() == Some('\'') && letters.nth(1) == Some('\'');
    is_letter.then(|| until(2, "'"))
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

fn without_tests(scrubbed: &str) -> String {
    let mut code = scrubbed.to_owned();
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = item_length(&code[start..]).map_or(code.len(), |length| start + length);
        code.replace_range(start..end, "");
    }
    code
}

/// The length of the item that begins here: to its `;`, or to the end of its block.
fn item_length(item: &str) -> Option<usize> {
    let begin = item.find(['{', ';'])?;
    let block = &item[begin..];
    Some(begin + if block.starts_with('{') { block_length(block) } else { 1 })
}

/// The length of the `{ … }` that begins here.
fn block_length(block: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in block.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    block.len()
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(is_of_word)
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|letter| is_of_word(*letter)).collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let mut found = text.match_indices(word);
    found.any(|(at, _)| !ends_in_word(&text[..at]) && !text[at + word.len()..].starts_with(is_of_word))
}

const LONG_FILE: &str = ascii(&[b'\n'; FILE_LINES_MAX + 1]);

const LONG_FUNCTION: &str = {
    const HEAD: &[u8] = b"fn long() {";
    const TEXT: [u8; HEAD.len() + FUNCTION_LINES_MAX + 1] = {
        let mut text = [b'\n'; HEAD.len() + FUNCTION_LINES_MAX + 1];
        text.split_at_mut(HEAD.len()).0.copy_from_slice(HEAD);
        text
    };
    ascii(&TEXT)
};

const fn ascii(text: &'static [u8]) -> &'static str {
    match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(_) => panic!("it is ASCII"),
    }
}
