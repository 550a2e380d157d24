//! Mutation testing of the core, the engine and the journal: which small changes of the program would no test notice?
//!
//! The mutants are those that `cargo mutants --list` finds, under `.cargo/mutants.toml`, which also says why some
//! of them change nothing. `cargo mutants` itself compiles and links the program and its tests once for each of
//! them, which takes hours. Here all of them are compiled into one copy of the program (below `target/mutants/`),
//! disabled ("asleep"), and an environment variable enables ("wakes") one of them. Each mutant is tried with the
//! tests that reach it, the quick ones first, and those that start the real program last. A mutant that cannot be
//! enabled in a running program, such as the value of a `const`, is compiled by itself.
//!
//! ```sh
//! cargo install cargo-mutants --locked
//! cargo run --release --manifest-path tests/mutants/Cargo.toml      # all
//! cargo run --release --manifest-path tests/mutants/Cargo.toml -- src/engine retry  # whose name has one of these
//! ```
//!
//! It prints a table at the end, and exits with status 1 when a mutant survived.

mod abreast;
mod build;
mod catalogue;
mod plant;
mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use abreast::abreast;
use catalogue::Mutant;
use trial::Verdict;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("this is in the tree");
    match campaign(&root, &wanted) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("the mutants were not tried: {why}");
            ExitCode::from(2)
        }
    }
}

/// Returns the number of mutants that survived.
fn campaign(root: &Path, wanted: &[String]) -> Result<usize, String> {
    let mutants = catalogue::list(root, wanted)?;
    println!("{} mutants", mutants.len());
    let copy = build::Copy::new(root);
    let planted = plant::all(&copy, &mutants)?;
    let bodies = build::bodies(&copy)?;
    let reach = trial::reach(&copy, &bodies)?;

    let all: Vec<usize> = (0..mutants.len()).collect();
    let mut verdicts = try_all(&mutants, &all, |index| match planted.fate(index) {
        plant::Fate::Asleep => Some(trial::wake(&copy, index, &reach)),
        plant::Fate::Unviable => Some(Verdict::Unviable),
        plant::Fate::Alone => None,
    });
    let is_missed = |index: &usize| matches!(verdicts.get(index), Some(Verdict::Missed { .. }));
    let missed: Vec<usize> = all.into_iter().filter(is_missed).collect();
    println!("{} are missed so far: now by the tests that start the program", missed.len());
    let programs = trial::Programs::of(&copy, missed.iter().map(|index| &mutants[*index]), &bodies)?;
    verdicts.extend(try_all(&mutants, &missed, |index| programs.wake(&copy, index, &mutants[index])));
    let alone = |index: &usize| planted.fate(*index) == plant::Fate::Alone;
    for index in (0..mutants.len()).filter(alone) {
        let verdict = trial::alone(&copy, &mutants[index])?;
        tell(&mutants[index], &verdict);
        verdicts.insert(index, verdict);
    }
    Ok(table(&mutants, &verdicts))
}

/// Tries these mutants, and prints the verdict of each as soon as it is known.
fn try_all(
    mutants: &[Mutant],
    indices: &[usize],
    try_one: impl Fn(usize) -> Option<Verdict> + Sync,
) -> BTreeMap<usize, Verdict> {
    let tried = abreast(indices, |_, index| {
        let verdict = try_one(*index)?;
        tell(&mutants[*index], &verdict);
        Some((*index, verdict))
    });
    tried.into_iter().flatten().collect()
}

fn tell(mutant: &Mutant, verdict: &Verdict) {
    println!("{:<9} {}{}", verdict.word(), mutant.name, verdict.by());
}

fn table(mutants: &[Mutant], verdicts: &BTreeMap<usize, Verdict>) -> usize {
    let mut folders: BTreeMap<PathBuf, BTreeMap<&str, usize>> = BTreeMap::new();
    for (index, verdict) in verdicts {
        let folder = Path::new(&mutants[*index].file).parent().unwrap_or(Path::new("")).to_owned();
        *folders.entry(folder).or_default().entry(verdict.word()).or_default() += 1;
    }
    println!(
        "\n{:<16} {:>7} {:>7} {:>7} {:>9} {:>6}",
        "folder", "caught", "timeout", "missed", "unviable", "score"
    );
    let mut survivors = 0;
    for (folder, counts) in &folders {
        let count = |word: &str| counts.get(word).copied().unwrap_or(0);
        let (caught, late, missed) = (count("caught"), count("timeout"), count("MISSED"));
        survivors += missed;
        let score = 100.0 * (caught + late) as f64 / (caught + late + missed).max(1) as f64;
        let (folder, unviable) = (folder.display().to_string(), count("unviable"));
        println!("{folder:<16} {caught:>7} {late:>7} {missed:>7} {unviable:>9} {score:>5.1}%");
    }
    survivors
}
