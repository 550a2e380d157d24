//! Tries mutants: runs the tests that reach a mutant while it is enabled, quick ones first, until one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::abreast::abreast;
use crate::build::{self, AWAKE, Copy, REACHED};
use crate::catalogue::Mutant;

/// The tests of the modules themselves, and those integration tests that need no emulator and kill no process.
const MODULES: [&str; 12] = [
    "core::rotation::",
    "core::schedule::",
    "engine::",
    "status::",
    "alerting::",
    "adapters::journal::",
    "crash_matrix::",
    "driver_engine::",
    "events::",
    "journal_contract::",
    "rehearsal_months::",
    "simulation::",
];
/// The other parts of the program are tested by integration tests that start the real program with an emulator.
/// They take seconds, so they are tried only if no other test notices a mutant, and only those that concern its file.
const BY_PROGRAM: [(&str, &[&str]); 7] = [
    ("src/alerting/routes.rs", &["alerts::", "review::told"]),
    ("src/alerting/reviews.rs", &["review::told", "review::shown"]),
    ("src/alerting/notifier.rs", &["alerts::", "review::told"]),
    ("src/status/store.rs", &["serve::", "alerts::"]),
    ("src/status/view.rs", &["serve::"]),
    ("src/engine/", &["rotate_moto::", "cli::", "run_service::", "manual::"]),
    ("src/adapters/journal/", &["faults::", "cli::"]),
];
const BY_PROGRAM_MAX: Duration = Duration::from_mins(10);
/// A test that takes this many times its usual time counts as an endless loop. The factor allows for a busy machine.
const PATIENCE: u32 = 10;
const PATIENCE_MIN: Duration = Duration::from_secs(60);
/// Tests that are quicker than this are run together.
const QUICK: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Caught { by: String },
    TimedOut { by: String },
    Missed { reached: bool },
    Unviable,
}

impl Verdict {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Verdict::Caught { .. } => "caught",
            Verdict::TimedOut { .. } => "timeout",
            Verdict::Missed { .. } => "MISSED",
            Verdict::Unviable => "unviable",
        }
    }

    /// The text after the mutant's name in the line that reports its verdict.
    pub(crate) fn by(&self) -> String {
        match self {
            Verdict::Caught { by } | Verdict::TimedOut { by } => format!("  [{by}]"),
            Verdict::Missed { reached: false } => "  [no test reaches it]".to_owned(),
            Verdict::Missed { reached: true } | Verdict::Unviable => String::new(),
        }
    }
}

/// A test, the mutants that it reaches, and the time that it takes.
pub(crate) struct Test {
    body: PathBuf,
    name: String,
    took: Duration,
    reaches: Vec<usize>,
}

/// Runs each test by itself and records which mutants it reaches.
pub(crate) fn reach(copy: &Copy, bodies: &[PathBuf]) -> Result<Vec<Test>, String> {
    let mut all = Vec::new();
    for body in bodies {
        all.extend(names(body)?.into_iter().map(|name| (body, name)));
    }
    let tried = abreast(&all, |number, (body, name)| {
        let list = copy.tree.with_file_name(format!("reached-{number}"));
        let begun = Instant::now();
        let environment = [(REACHED, list.display().to_string())];
        let ran = run(copy, body, &[name], &environment, Duration::from_mins(30));
        let took = begun.elapsed();
        let reached = fs::read_to_string(&list).unwrap_or_default();
        drop(fs::remove_file(&list));
        let reaches = reached.lines().filter_map(|line| line.parse().ok()).collect();
        let test = Test { body: body.to_path_buf(), name: name.clone(), took, reaches };
        if matches!(ran, Ran::Passed) { Ok(test) } else { Err(name.clone()) }
    });
    let (mut tests, mut failed) = (Vec::new(), Vec::new());
    for test in tried {
        match test {
            Ok(test) => tests.push(test),
            Err(name) => failed.push(name),
        }
    }
    if !failed.is_empty() {
        return Err(format!("these tests fail although no mutant is awake: {}", failed.join(", ")));
    }
    tests.sort_by_key(|test| test.took);
    for test in tests.iter().rev().take(10) {
        println!("{:>6.1} s  {}", test.took.as_secs_f32(), test.name);
    }
    Ok(tests)
}

/// The tests of [`MODULES`] in that program.
fn names(body: &Path) -> Result<Vec<String>, String> {
    names_in(body, &MODULES)
}

fn names_in(body: &Path, modules: &[&str]) -> Result<Vec<String>, String> {
    let listed = Command::new(body)
        .args(["--list", "--format", "terse"])
        .output()
        .map_err(|error| format!("{}: {error}", body.display()))?;
    let ignored = Command::new(body)
        .args(["--list", "--format", "terse", "--ignored"])
        .output()
        .map_err(|error| format!("{}: {error}", body.display()))?;
    let of = |output: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(output);
        text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
    };
    let (mut names, ignored) = (of(&listed.stdout), of(&ignored.stdout));
    names.retain(|name| !ignored.contains(name) && modules.iter().any(|module| name.starts_with(module)));
    Ok(names)
}

/// Tries a mutant that is in the copy, by enabling it.
pub(crate) fn wake(copy: &Copy, index: usize, tests: &[Test]) -> Verdict {
    let reaching: Vec<&Test> = tests.iter().filter(|test| test.reaches.contains(&index)).collect();
    let environment = [(AWAKE, index.to_string())];
    let (quick, slow): (Vec<&Test>, Vec<&Test>) = reaching.iter().partition(|test| test.took < QUICK);
    let mut together: BTreeMap<&Path, Vec<&Test>> = BTreeMap::new();
    for test in quick {
        together.entry(&test.body).or_default().push(test);
    }
    let mut batches: Vec<Vec<&Test>> = together.into_values().collect();
    batches.sort_by_key(|batch| batch.iter().map(|test| test.took).sum::<Duration>());
    batches.extend(slow.into_iter().map(|test| vec![test]));
    for batch in batches {
        let names: Vec<&str> = batch.iter().map(|test| test.name.as_str()).collect();
        let took: Duration = batch.iter().map(|test| test.took).sum();
        let ran = run(copy, &batch[0].body, &names, &environment, PATIENCE_MIN.max(took * PATIENCE));
        if let Some(verdict) = ran.verdict(&names) {
            return verdict;
        }
    }
    Verdict::Missed { reached: !reaching.is_empty() }
}

/// The tests that start the real program, by the part of the tree that they concern.
pub(crate) struct Programs(Vec<AboutPlace>);

struct AboutPlace {
    place: &'static str,
    body: PathBuf,
    tests: Vec<String>,
}

impl Programs {
    /// Those for the files of these mutants. They must pass while no mutant is enabled.
    pub(crate) fn of<'a>(
        copy: &Copy,
        mutants: impl Iterator<Item = &'a Mutant>,
        bodies: &[PathBuf],
    ) -> Result<Programs, String> {
        let places: BTreeSet<_> = mutants.filter_map(|mutant| place_of(&mutant.file)).collect();
        let mut programs = Vec::new();
        for (place, modules) in BY_PROGRAM.into_iter().filter(|(place, _)| places.contains(place)) {
            for body in bodies {
                let tests = names_in(body, modules)?;
                if tests.is_empty() {
                    continue;
                }
                let ran = run(copy, body, &borrowed(&tests), &[], BY_PROGRAM_MAX);
                if !matches!(ran, Ran::Passed) {
                    let modules = modules.join(" ");
                    return Err(format!("{modules} fail although no mutant is awake: {ran:?}"));
                }
                programs.push(AboutPlace { place, body: body.clone(), tests });
            }
        }
        Ok(Programs(programs))
    }

    /// Tries a mutant that no other test noticed; `None` if these tests do not notice it either.
    pub(crate) fn wake(&self, copy: &Copy, index: usize, mutant: &Mutant) -> Option<Verdict> {
        let environment = [(AWAKE, index.to_string())];
        let about = self.0.iter().filter(|about| place_of(&mutant.file) == Some(about.place));
        for AboutPlace { body, tests, .. } in about {
            let names = borrowed(tests);
            let verdict = run(copy, body, &names, &environment, BY_PROGRAM_MAX).verdict(&names);
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }
}

/// The first entry of [`BY_PROGRAM`] that contains this file.
fn place_of(file: &str) -> Option<&'static str> {
    BY_PROGRAM.iter().map(|(place, _)| *place).find(|place| file.starts_with(place))
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Writes one mutant into the copy, as the only one of its file, and compiles it.
pub(crate) fn alone(copy: &Copy, mutant: &Mutant) -> Result<Verdict, String> {
    let text = copy.original(&mutant.file)?;
    let (start, end) = (mutant.span.start.offset(&text), mutant.span.end.offset(&text));
    copy.write(&mutant.file, &format!("{}{}{}", &text[..start], mutant.replacement, &text[end..]))?;
    let verdict = if build::check(copy)?.is_empty() { alone_compiled(copy) } else { Ok(Verdict::Unviable) };
    copy.write(&mutant.file, &text)?;
    verdict
}

fn alone_compiled(copy: &Copy) -> Result<Verdict, String> {
    for which in [&["--lib"][..], &["--test", "it"]] {
        let Some(body) = build::body(copy, which)? else { continue };
        let all = names(&body)?;
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        if let Some(verdict) = run(copy, &body, &names, &[], Duration::from_mins(30)).verdict(which) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Missed { reached: true })
}

#[derive(Debug)]
enum Ran {
    Passed,
    Failed(String),
    TooLong,
}

impl Ran {
    /// The verdict on the mutant that was enabled in this run; `None` if the tests passed.
    fn verdict(self, tests: &[&str]) -> Option<Verdict> {
        match self {
            Ran::Passed => None,
            Ran::Failed(by) => Some(Verdict::Caught { by }),
            Ran::TooLong => Some(Verdict::TimedOut { by: tests.join(" ") }),
        }
    }
}

/// Runs these tests, one after another, until one fails.
fn run(copy: &Copy, body: &Path, names: &[&str], environment: &[(&str, String)], patience: Duration) -> Ran {
    let mut child = Command::new(body)
        .args(["--exact", "--test-threads=1"])
        .args(names)
        // One failing input of a property test is enough, so proptest does not shrink it.
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .current_dir(&copy.tree)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it was listed a moment ago");
    let lines = lines_of(&mut child);
    let deadline = Instant::now() + patience;
    let mut last = None;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
                    last = Some(name.0.to_owned());
                }
                if line.ends_with("FAILED") {
                    end(&mut child);
                    return Ran::Failed(last.unwrap_or_default());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child);
                return Ran::TooLong;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ran::Passed,
        // After a panic while panicking, or an exhausted stack, no test can report its failure.
        _ => Ran::Failed(format!("the process died after {}", last.unwrap_or_default())),
    }
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let out = child.stdout.take().expect("it is piped");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}
