//! The copy of the tree, and its compilation.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::catalogue::Mutant;

/// The variable that holds the number of the enabled mutant.
pub(crate) const AWAKE: &str = "KEYROUND_MUTANT";
/// The variable that names a file, to which a test adds the mutants that it reaches.
pub(crate) const REACHED: &str = "KEYROUND_MUTANTS_REACHED";
/// The tests run the rotation machine for millions of steps, so it is compiled with optimisation.
const OPTIMISED: &str = "profile.dev.package.keyround.opt-level=1";

/// A copy of the tree, into which the mutants are planted.
pub(crate) struct Copy {
    root: PathBuf,
    pub(crate) tree: PathBuf,
    /// A target folder of its own, because the build would otherwise replace the everyday program by one with mutants.
    target: PathBuf,
}

impl Copy {
    pub(crate) fn new(root: &Path) -> Copy {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        let mutants = target.join("mutants");
        Copy { root: root.to_owned(), tree: mutants.join("tree"), target: mutants.join("build") }
    }

    /// Writes the tree as it is, with a module that enables one of these mutants. Returns a number that changes
    /// when any of them, or anything in `src/`, changes.
    pub(crate) fn prepare(&self, mutants: &[Mutant]) -> Result<u64, String> {
        let mut there = BTreeSet::new();
        let planted: BTreeSet<&Path> = mutants.iter().map(|mutant| Path::new(&mutant.file)).collect();
        self.copy(Path::new(""), &planted, &mut there)?;
        let waking = include_str!("waking.rs.txt").replace("COUNT", &mutants.len().to_string());
        self.write("src/mutation.rs", &waking)?;
        self.write("src/lib.rs", &format!("{}\npub mod mutation;\n", self.original("src/lib.rs")?))?;
        for path in files_below(&self.tree.join("src"))? {
            if !there.contains(&path) && !path.ends_with("src/mutation.rs") {
                fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        let mut hasher = DefaultHasher::new();
        for path in there.iter().filter(|path| path.starts_with(self.tree.join("src"))) {
            let file = path.strip_prefix(&self.tree).expect("it is below the tree");
            (file, fs::read(self.root.join(file)).ok()).hash(&mut hasher);
        }
        mutants.iter().for_each(|mutant| mutant.name.hash(&mut hasher));
        Ok(hasher.finish())
    }

    fn memory(&self) -> PathBuf {
        self.tree.with_file_name("memory.json")
    }

    pub(crate) fn remember(&self, program: u64, what: &impl Serialize) -> Result<(), String> {
        let text = serde_json::to_string(&(program, what)).map_err(|error| error.to_string())?;
        fs::write(self.memory(), text).map_err(|error| error.to_string())
    }

    /// The data that was stored for this program, if it was the last one.
    pub(crate) fn recall<T: DeserializeOwned>(&self, program: u64) -> Option<T> {
        let text = fs::read_to_string(self.memory()).ok()?;
        let (remembered, what): (u64, T) = serde_json::from_str(&text).ok()?;
        (remembered == program).then_some(what)
    }

    fn copy(
        &self,
        folder: &Path,
        planted: &BTreeSet<&Path>,
        there: &mut BTreeSet<PathBuf>,
    ) -> Result<(), String> {
        for entry in fs::read_dir(self.root.join(folder)).map_err(|error| error.to_string())? {
            let name = entry.map_err(|error| error.to_string())?.file_name();
            let path = folder.join(&name);
            if ["target", ".git"].iter().any(|other| name == *other) || path.ends_with("tests/mutants") {
                continue;
            }
            let from = self.root.join(&path);
            if from.is_dir() {
                self.copy(&path, planted, there)?;
                continue;
            }
            there.insert(self.tree.join(&path));
            if !planted.contains(path.as_path()) && path != Path::new("src/lib.rs") {
                let text = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
                self.write_bytes(&path, &text)?;
            }
        }
        Ok(())
    }

    pub(crate) fn original(&self, file: &str) -> Result<String, String> {
        fs::read_to_string(self.root.join(file)).map_err(|error| format!("{file}: {error}"))
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> Result<(), String> {
        self.write_bytes(Path::new(file), text.as_bytes())
    }

    /// A file whose content is already right keeps its date, so that cargo does not compile it again.
    fn write_bytes(&self, file: &Path, text: &[u8]) -> Result<(), String> {
        let path = self.tree.join(file);
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let folder = path.parent().expect("it is below the tree");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    fn cargo(&self, args: &[&str]) -> Result<Output, String> {
        Command::new("cargo")
            .args(args)
            .args(["--locked", "--quiet", "--message-format=json", "--config", OPTIMISED])
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "1")
            .current_dir(&self.tree)
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("cargo cannot be run: {error}"))
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        match path.is_dir() {
            true => found.extend(files_below(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

/// A compiler error, and its places.
pub(crate) struct Complaint {
    pub(crate) text: String,
    pub(crate) places: Vec<(String, Range<usize>)>,
}

#[derive(Deserialize)]
struct Line {
    reason: String,
    message: Option<Diagnostic>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    spans: Vec<DiagnosticSpan>,
}

#[derive(Deserialize)]
struct DiagnosticSpan {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
}

fn lines(output: &Output) -> impl Iterator<Item = Line> {
    output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// The compiler errors of the copy. This does not use `cargo check`, which would compile every dependency a second
/// time, and a copy without errors is compiled in any case.
pub(crate) fn check(copy: &Copy) -> Result<Vec<Complaint>, String> {
    let output = copy.cargo(&["test", "--no-run", "--lib"])?;
    let errors =
        lines(&output).filter(|line| line.reason == "compiler-message").filter_map(|line| line.message);
    let complaints: Vec<Complaint> = errors
        .filter(|message| message.level == "error" && !message.spans.is_empty())
        .map(|message| Complaint {
            text: message.rendered.unwrap_or_default(),
            places: message
                .spans
                .into_iter()
                .filter(|span| span.is_primary)
                .map(|span| (span.file_name, span.byte_start..span.byte_end))
                .collect(),
        })
        .collect();
    if complaints.is_empty() && !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(complaints)
}

/// The programs that contain the tests, those of the modules first, because they are quick.
pub(crate) fn bodies(copy: &Copy) -> Result<Vec<PathBuf>, String> {
    Ok(body(copy, &["--lib"])?.into_iter().chain(body(copy, &["--test", "it"])?).collect())
}

pub(crate) fn body(copy: &Copy, which: &[&str]) -> Result<Option<PathBuf>, String> {
    let output = copy.cargo(&[&["test", "--no-run"], which].concat())?;
    if !output.status.success() {
        let said = lines(&output).filter_map(|line| line.message?.rendered).collect::<String>();
        return Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let artifacts = lines(&output).filter(|line| line.reason == "compiler-artifact");
    Ok(artifacts
        .filter(|line| line.profile.as_ref().is_some_and(|profile| profile.test))
        .find_map(|line| line.executable))
}
