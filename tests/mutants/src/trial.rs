//! Tries mutants: the tests that reach one are run with it, quick ones first, until one fails.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::build::{self, AWAKE, Copy, REACHED};
use crate::catalogue::Mutant;

/// The tests of the folders themselves, and of those that need more than one module the ones that need
/// no emulator and kill no process.
const MODULES: [&str; 10] = [
    "rotation::",
    "schedule::",
    "driver::",
    "journal::",
    "crash_matrix::",
    "driver_engine::",
    "events::",
    "journal_contract::",
    "rehearsal_months::",
    "simulation::",
];
/// A test that takes so many times its time has lost its way, on a machine that has other things to do.
const PATIENCE: u32 = 10;
const PATIENCE_MIN: Duration = Duration::from_secs(60);
/// Tests quicker than this are run together.
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

    /// For the line that tells of it.
    pub(crate) fn by(&self) -> String {
        match self {
            Verdict::Caught { by } | Verdict::TimedOut { by } => format!("  [{by}]"),
            Verdict::Missed { reached: false } => "  [no test reaches it]".to_owned(),
            Verdict::Missed { reached: true } | Verdict::Unviable => String::new(),
        }
    }
}

/// A test, what it reaches, and how long it takes.
pub(crate) struct Test {
    body: PathBuf,
    name: String,
    took: Duration,
    reaches: Vec<usize>,
}

/// Runs each test by itself and sees what it reaches.
pub(crate) fn reach(copy: &Copy, bodies: &[PathBuf]) -> Result<Vec<Test>, String> {
    let list = copy.tree.with_file_name("reached");
    let (mut tests, mut failed) = (Vec::new(), Vec::new());
    for body in bodies {
        for name in names(body)? {
            drop(fs::remove_file(&list));
            let begun = Instant::now();
            let environment = [(REACHED, list.display().to_string())];
            if !matches!(run(copy, body, &[&name], &environment, Duration::from_mins(30)), Ran::Passed) {
                failed.push(name);
                continue;
            }
            let reached = fs::read_to_string(&list).unwrap_or_default();
            let reaches = reached.lines().filter_map(|line| line.parse().ok()).collect();
            tests.push(Test { body: body.clone(), name, took: begun.elapsed(), reaches });
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

fn names(body: &Path) -> Result<Vec<String>, String> {
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
    names.retain(|name| !ignored.contains(name) && MODULES.iter().any(|module| name.starts_with(module)));
    Ok(names)
}

/// Wakes a mutant that is asleep in the copy.
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
        match run(copy, &batch[0].body, &names, &environment, PATIENCE_MIN.max(took * PATIENCE)) {
            Ran::Passed => {}
            Ran::Failed(by) => return Verdict::Caught { by },
            Ran::TooLong => return Verdict::TimedOut { by: names.join(" ") },
        }
    }
    Verdict::Missed { reached: !reaching.is_empty() }
}

/// Puts one mutant into the copy in the place of all others of its file, and compiles it.
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
        match run(copy, &body, &names, &[], Duration::from_mins(30)) {
            Ran::Passed => {}
            Ran::Failed(by) => return Ok(Verdict::Caught { by }),
            Ran::TooLong => return Ok(Verdict::TimedOut { by: which.join(" ") }),
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

/// Runs these tests, one after another, until one fails.
fn run(copy: &Copy, body: &Path, names: &[&str], environment: &[(&str, String)], patience: Duration) -> Ran {
    let mut child = Command::new(body)
        .args(["--exact", "--test-threads=1"])
        .args(names)
        // That a property fails is enough; the smallest example of it is not looked for.
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
        // A panic while panicking, an exhausted stack: no test has the time to say that it failed.
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
