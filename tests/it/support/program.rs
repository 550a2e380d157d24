//! The program itself, run as an operator runs it: the real binary in a folder of its own, with the emulator in
//! place of AWS, and without any variable of this process's environment.
//!
//! Everything that it shows or leaves is kept: output, command line, environment, and each state in which a file of
//! its folder was seen while it ran. [`Program::assert_no_secret_was_seen`] searches all of that for every secret
//! of the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine};
use serde_json::Value;
use tempfile::TempDir;
use url::form_urlencoded::byte_serialize;

use super::moto::Emulator;

/// The settings without any waiting: no soak, no quiet time, no cooling, no pause between proofs.
pub(crate) const HASTE: &str = r#"
[defaults]
soak = "0s"
quiet_for = "0s"
cool = "0s"
require_use = false
prove_every = "0s"
prove_successes = 3
doubt_window = "1s"
"#;

/// A program that runs longer than this fails the test.
const RUN_MAX: Duration = Duration::from_mins(3);
/// How often the files and the process of a running program are inspected.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A folder with a configuration, in which the program is run.
pub(crate) struct Program {
    folder: TempDir,
    /// The credentials are in another folder, so that the program's own folder has no reason to hold a secret.
    credentials: TempDir,
    env: BTreeMap<String, String>,
    canaries: Mutex<BTreeSet<String>>,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen, and where. Files are kept in pieces, so that a part that does not change is stored once.
type Seen = BTreeSet<(String, Vec<u8>)>;

/// The size of a piece, and how far each one overlaps the next: by more than the length of any secret.
const PIECE: usize = 4096;
const OVERLAP: usize = 256;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; `None` if a signal ended the program.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The highest resident memory that was seen, in KiB.
    pub(crate) peak_kib: u64,
}

impl Program {
    /// Creates one with this `rotation.toml`. The journal is `keyround.db` beside it, unless the text names another.
    pub(crate) fn new(emulator: &Emulator, rotation_toml: &str) -> Program {
        let (folder, credentials) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let mut env: BTreeMap<String, String> =
            emulator.env().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        env.insert("CREDENTIALS_DIRECTORY".to_owned(), credentials.path().display().to_string());
        env.insert("HOME".to_owned(), folder.path().display().to_string());
        let (canaries, seen) = (Mutex::default(), Arc::default());
        let program = Program { folder, credentials, env, canaries, seen };
        program.configure(rotation_toml);
        program
    }

    /// Writes another `rotation.toml`.
    pub(crate) fn configure(&self, rotation_toml: &str) {
        fs::write(self.path("rotation.toml"), rotation_toml).expect("the folder can be written");
    }

    /// Provides `credential:NAME`. The value must not be seen in anything that the program shows or leaves.
    pub(crate) fn credential(&self, name: &str, value: &str) {
        let path = self.credentials.path().join(name);
        fs::write(&path, value).expect("the folder can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        self.canary(value);
    }

    /// Adds a value that must not be seen either.
    pub(crate) fn canary(&self, secret: &str) {
        self.canaries.lock().expect("the canaries").insert(secret.to_owned());
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Removes a variable from the program's environment.
    pub(crate) fn unset_env(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// The path of a file in the program's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names of the files in the program's folder.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        contents(self.folder.path()).into_iter().map(|(name, _)| name).collect()
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).wait()
    }

    /// Runs the program to its end with `--format json`, and requires that exit code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--format", "json"]].concat();
        let ran = self.run(&arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran}");
        ran.json()
    }

    /// Runs the program to its end for a person who may see the key that it prints. Its standard output is therefore
    /// not searched.
    #[track_caller]
    pub(crate) fn run_for_eyes(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        let shown = ("stdout".to_owned(), ran.stdout.clone().into_bytes());
        self.seen.lock().expect("what was seen").remove(&shown);
        ran
    }

    /// Starts the program without waiting for its end.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyround"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(super::mutant_awake())
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = read_all(child.stdout.take().expect("it is piped"));
        let stderr = read_all(child.stderr.take().expect("it is piped"));
        let (folder, seen) = (self.folder.path().to_owned(), Arc::clone(&self.seen));
        let mut running = Running { child: Tethered(child), stdout, stderr, folder, seen, peak_kib: 0 };
        running.look();
        running
    }

    /// Whether something was seen at this place: a file name, `stdout`, `stderr`, `argv` or `environ`.
    pub(crate) fn has_seen(&self, place: &str) -> bool {
        self.seen.lock().expect("what was seen").iter().any(|(other, _)| other == place)
    }

    /// Searches everything that was seen for each secret of this test (those of the emulator's users, and the
    /// credentials), as it is and in each encoding in which it may be written. Every test ends with this.
    #[track_caller]
    pub(crate) fn assert_no_secret_was_seen(&self, emulator: &Emulator) {
        for place in ["argv", "environ", "stdout", "stderr"] {
            assert!(self.has_seen(place), "the program was not run");
        }
        for key in emulator.all_keys() {
            self.canary(&key.secret);
        }
        let canaries = self.canaries.lock().expect("the canaries").clone();
        let mut seen = self.seen.lock().expect("what was seen");
        seen.extend(contents(self.folder.path()));
        let forms: Vec<String> = canaries.iter().flat_map(|canary| forms(canary)).collect();
        for (place, bytes) in seen.iter() {
            let text = String::from_utf8_lossy(bytes);
            let found = forms.iter().find(|form| text.contains(form.as_str()));
            assert_eq!(found, None, "a secret was seen in {place}");
        }
    }
}

/// A running program, which is ended when this is dropped.
pub(crate) struct Running {
    child: Tethered,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
    folder: PathBuf,
    seen: Arc<Mutex<Seen>>,
    peak_kib: u64,
}

struct Tethered(Child);

impl Drop for Tethered {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Running {
    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Sends the process a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.0.id().to_string()]).status();
        assert!(sent.expect("there is a kill").success(), "SIG{name} could not be sent");
    }

    /// Waits until the program ends.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ran {
        let started = Instant::now();
        let status = loop {
            self.look();
            if let Some(status) = self.child.0.try_wait().expect("it is our child") {
                break status;
            }
            if started.elapsed() > RUN_MAX {
                self.child.0.kill().expect("it can be killed");
                let status = self.child.0.wait().expect("it is our child");
                panic!("the program did not come to an end: {}", self.ended(status));
            }
            thread::sleep(LOOK_EVERY);
        };
        self.ended(status)
    }

    fn ended(self, status: ExitStatus) -> Ran {
        let mut seen = self.seen.lock().expect("what was seen");
        seen.extend(contents(&self.folder));
        let mut text = |name: &str, reader: JoinHandle<Vec<u8>>| {
            let bytes = reader.join().expect("the reader ends");
            seen.insert((name.to_owned(), bytes.clone()));
            String::from_utf8(bytes).expect("output is text")
        };
        let (stdout, stderr) = (text("stdout", self.stdout), text("stderr", self.stderr));
        Ran { code: status.code(), signal: status.signal(), stdout, stderr, peak_kib: self.peak_kib }
    }

    /// Records what can be seen of the process now. It may have ended already, and then shows nothing.
    fn look(&mut self) {
        let process = PathBuf::from(format!("/proc/{}", self.pid()));
        let mut seen = self.seen.lock().expect("what was seen");
        seen.extend(contents(&self.folder));
        for (place, file) in [("argv", "cmdline"), ("environ", "environ")] {
            seen.insert((place.to_owned(), fs::read(process.join(file)).unwrap_or_default()));
        }
        drop(seen);
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
        self.peak_kib = self.peak_kib.max(peak);
    }
}

impl Ran {
    /// Its standard output, parsed as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran { code, signal, stdout, stderr, .. } = self;
        write!(f, "exit code {code:?}, signal {signal:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

/// The files of a folder, in pieces. A file that disappears meanwhile is skipped.
fn contents(folder: &Path) -> Seen {
    let mut seen = Seen::new();
    for entry in fs::read_dir(folder).expect("the folder exists").flatten() {
        let Ok(bytes) = fs::read(entry.path()) else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        for start in (0..bytes.len().max(1)).step_by(PIECE) {
            let end = bytes.len().min(start + PIECE + OVERLAP);
            seen.insert((name.clone(), bytes[start..end].to_vec()));
        }
    }
    seen
}

/// The encodings in which a secret may be written. The decoded bytes of a `whsec_…` secret are a secret too.
fn forms(secret: &str) -> Vec<String> {
    let key = secret.split_once('_').map_or(secret, |(_, key)| key);
    let mut forms = vec![
        key.to_owned(),
        BASE64_STANDARD_NO_PAD.encode(key),
        byte_serialize(key.as_bytes()).collect(),
        key.replace('/', "\\/"),
    ];
    if secret.starts_with("whsec_") {
        let bytes = BASE64_STANDARD.decode(key).expect("it is base64");
        forms.push(
            String::from_utf8(bytes).expect("the tests' signing secrets are text, so that they can be found"),
        );
    }
    forms
}
