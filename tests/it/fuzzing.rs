//! The fuzz targets in the everyday test suite: the corpus, every input that ever failed, and some thousands of
//! mutations.
//!
//! `tests/fuzz/run` searches for as long as it is told to, guided by code coverage. Here nothing is compiled for
//! fuzzing, and the mutations are the same ones each time. An input that fuzzing finds is added to
//! `tests/fuzz/corpus/`, and these tests play it from then on.

#[path = "../fuzz/targets/mod.rs"]
#[expect(unreachable_pub, reason = "the library of the fuzzers is compiled from the same files")]
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use targets::{TARGETS, Target};

#[test]
fn fuzzed_vendor_answers_break_no_invariant() {
    play("answers", 1000);
}

#[test]
fn fuzzed_configurations_break_no_invariant() {
    play("configuration", 500);
}

#[test]
fn fuzzed_stored_events_break_no_invariant() {
    play("events", 1000);
}

#[test]
fn fuzzed_journal_files_break_no_invariant() {
    play("journals", 200);
}

#[test]
fn fuzzed_policies_break_no_invariant() {
    play("policies", 2000);
}

#[test]
fn fuzzed_rotations_break_no_invariant() {
    play("rotations", 500);
}

#[test]
fn fuzzed_schedules_break_no_invariant() {
    play("schedules", 500);
}

#[test]
fn fuzzed_secret_references_break_no_invariant() {
    play("secret_references", 300);
}

#[test]
fn fuzzed_templates_break_no_invariant() {
    play("templates", 500);
}

#[test]
fn fuzzed_webhook_secrets_break_no_invariant() {
    play("webhook_secrets", 1000);
}

#[test]
fn every_fuzz_target_has_a_binary_and_a_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let manifest = read("tests/fuzz/Cargo.toml");
    let binaries = manifest.split("[[bin]]").skip(1).filter_map(|binary| binary.split('"').nth(1));
    assert_eq!(binaries.map(str::to_owned).collect::<BTreeSet<_>>(), names);
    let folders = names_in(&root().join("tests/fuzz/corpus"));
    assert_eq!(folders.into_iter().collect::<BTreeSet<_>>(), names);
    for target in TARGETS {
        assert!(!seeds(target.name).is_empty(), "{} begins with nothing", target.name);
    }
}

/// The library of the fuzz targets leaves out the modules that call AWS. It must contain every module that the rest
/// uses.
#[test]
fn the_fuzz_crate_declares_every_module_that_it_uses() {
    let library = read("tests/fuzz/keyround.rs");
    let has = |module: &str| library.contains(&format!("pub mod {module};"));
    let (_, inside) = library.split_once("pub mod adapters {").expect("the adapters");
    let (adapters, _) = inside.split_once('}').expect("the end of the adapters");
    let adapters = adapters.lines().filter_map(|line| line.trim().strip_prefix("pub mod "));
    let adapters = adapters.map(|line| format!("src/adapters/{}/mod.rs", line.trim_end_matches(';')));
    let paths = library.split("#[path = \"../../").skip(1).filter_map(|rest| rest.split('"').next());
    let paths: Vec<String> = paths
        .filter(|path| path.starts_with("src/") && *path != "src/adapters")
        .map(str::to_owned)
        .chain(adapters)
        .collect();
    assert!(paths.len() > 5, "the modules were not found");
    for path in paths {
        for file in files_of_module(&root().join(path)) {
            let text = fs::read_to_string(&file).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let used = code.split("crate::").skip(1).map(|rest| {
                rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .filter(|word| !word.is_empty())
            });
            let missing: Vec<String> = used
                .filter_map(|mut words| match (words.next()?, words.next()) {
                    ("adapters", Some(adapter)) => (!has(adapter)).then(|| format!("adapters::{adapter}")),
                    (module, _) => (!has(module)).then(|| module.to_owned()),
                })
                .collect();
            let file = file.display();
            assert!(missing.is_empty(), "{file} uses {missing:?}: add them to tests/fuzz/keyround.rs");
        }
    }
}

#[test]
fn the_fuzz_lockfile_has_the_shipped_dependency_versions() {
    let (shipped, fuzzed) = (versions("Cargo.lock"), versions("tests/fuzz/Cargo.lock"));
    let differ = |(name, versions): &(&String, &BTreeSet<String>)| {
        shipped.get(*name).is_some_and(|shipped| !versions.is_subset(shipped))
    };
    let stale: Vec<&String> = fuzzed.iter().filter(differ).map(|(name, _)| name).collect();
    assert!(
        stale.is_empty(),
        "other versions than in Cargo.lock: {stale:?}; cp Cargo.lock tests/fuzz/ && cargo metadata --manifest-path \
         tests/fuzz/Cargo.toml >/dev/null"
    );
}

/// Plays all seeds of a target, and this many mutations of them.
fn play(name: &str, mutations: u32) {
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("a target");
    let seeds = seeds(name);
    for seed in &seeds {
        keep_promises(target, seed);
    }
    let mut dice = Dice::new(name);
    for _ in 0..mutations {
        keep_promises(target, &mutated(&seeds, &mut dice));
    }
}

fn keep_promises(target: Target, input: &[u8]) {
    let kept = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(
        kept.is_ok(),
        "{} breaks a promise, as said above, with b\"{}\"",
        target.name,
        input.escape_ascii()
    );
}

/// The corpus of a target, and the fixtures of other tests of the same kind.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let corpus = root().join("tests/fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = names_in(&corpus).iter().map(|name| corpus.join(name)).collect();
    match name {
        "configuration" => {
            let config = root().join("tests/config");
            let is_toml = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "toml");
            files.extend(names_in(&config).iter().map(|name| config.join(name)).filter(is_toml));
            files.push(root().join("rotation.toml.example"));
        }
        "events" => files.push(root().join("tests/events/v1.jsonl")),
        "policies" => {
            let policies = root().join("tests/policies");
            let is_json = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "json");
            files.extend(names_in(&policies).iter().map(|name| policies.join(name)).filter(is_json));
        }
        _ => {}
    }
    files.iter().map(|file| fs::read(file).expect("a seed")).collect()
}

/// A seed with some changes, as a careless or a malicious person might make them.
fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(input.len() + 1);
        let end = at + dice.below((input.len() - at + 1).min(64));
        match dice.below(7) {
            0 => drop(input.drain(at..end)),
            1 => input.insert(at, dice.byte()),
            2 => drop(input.splice(at..at, input[at..end].to_vec())),
            3 => input.truncate(at.max(1)),
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                let to = from + dice.below((other.len() - from + 1).min(64));
                drop(input.splice(at..end, other[from..to].iter().copied()));
            }
            5 => input.iter_mut().skip(at).take(4).for_each(|byte| *byte = dice.byte()),
            _ => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
        }
    }
    input
}

/// A generator (xorshift) seeded with the name of the target, so that it gives the same numbers each time.
struct Dice(u64);

impl Dice {
    fn new(name: &str) -> Dice {
        Dice(name.bytes().fold(0x9e37_79b9_7f4a_7c15, |seed, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file of the repository")
}

/// The names of a folder's entries, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The file of a module, or all files of its folder.
fn files_of_module(file: &Path) -> Vec<PathBuf> {
    if !file.ends_with("mod.rs") {
        return vec![file.to_owned()];
    }
    let (mut files, mut folders) = (Vec::new(), vec![file.parent().expect("a folder").to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in names_in(&folder).iter().map(|name| folder.join(name)) {
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
                false => {}
            }
        }
    }
    files
}

/// The versions of each crate in a lock file.
fn versions(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = read(lock);
    let lock: toml::Table = text.parse().expect("a lock file");
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("packages") {
        let word = |key: &str| package[key].as_str().expect("a word").to_owned();
        versions.entry(word("name")).or_default().insert(word("version"));
    }
    versions
}
