//! The real program as a process that can be stopped at any call, and the environment of one vendor around it.
//!
//! **Invariant:** everything that the program leaves behind, its output included, lies in one folder, so that one
//! search finds a secret wherever it was written.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, UNIX_EPOCH};

use aws_credential_types::Credentials;
use keyround::adapters::aws::AwsSession;
use keyround::adapters::aws::iam::AwsAccounts;
use keyround::config::settings::AwsSettings;
use keyround::core::secret::Secret;
use keyround::ports::{Accounts, Fault};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use super::moto::{ACCOUNT, Emulator, Key, Release, Rule, RuleId};
use super::vendor::{Moment, Pair, Pause, Vendor};

/// The vendor's signing secret, which must not be found on disk either.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// Longer than any process of these tests takes on a busy machine. A process that takes longer fails the test.
pub(crate) const PROCESS_MAX: Duration = Duration::from_secs(45);
/// The region of the vendor's own calls, which tells them apart from the program's.
pub(crate) const VENDOR_REGION: &str = "eu-west-1";
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Sets every wait of days to zero, so that a rotation consists only of its calls.
pub(crate) const NO_WAITS: &str = r#"
[defaults]
soak = "0s"
quiet_for = "0s"
cool = "0s"
require_use = true
prove_every = "0s"
prove_successes = 3
doubt_window = "1s"
"#;

/// One vendor with an old key, its IAM user, and the folder of a keyround that manages it.
pub(crate) struct Corner {
    pub(crate) emulator: &'static Emulator,
    pub(crate) vendor: Vendor,
    pub(crate) user: String,
    folder: TempDir,
    processes: Cell<u32>,
    log: Cell<&'static str>,
    env: RefCell<BTreeMap<&'static str, String>>,
}

impl Corner {
    /// Creates a vendor that takes a webhook, can be asked, and uses each key that it is given. Its key is 91 days old.
    pub(crate) fn new(emulator: &'static Emulator, user: &str) -> Corner {
        Corner::with_steps(emulator, user, &["/keys"])
    }

    /// Like [`Corner::new`], with a webhook to each of these paths.
    pub(crate) fn with_steps(emulator: &'static Emulator, user: &str, paths: &[&str]) -> Corner {
        let (access_key_id, secret_access_key) = emulator.seed_user(user, 91.0);
        let vendor = Vendor::start();
        vendor.hold(Pair { access_key_id, secret_access_key });
        vendor.on_taking(|pair| emulator.set_used(&pair.access_key_id, "s3", 0.0));
        let folder = tempfile::tempdir().expect("a folder");
        let (log, env) = (Cell::new("warn,keyround=trace"), RefCell::default());
        let (user, processes) = (user.to_owned(), Cell::new(0));
        let corner = Corner { emulator, vendor, user, folder, processes, log, env };
        corner.configure(&[NO_WAITS, &corner.vendor_section("acme", &corner.user, paths)].concat());
        corner
    }

    /// `[vendor.NAME]` with a webhook to each of these paths of the vendor's endpoint.
    pub(crate) fn vendor_section(&self, name: &str, user: &str, paths: &[&str]) -> String {
        let step = |path: &&str| {
            let url = self.vendor.url(path);
            format!(
                "[[vendor.{name}.deliver]]\nkind = \"webhook\"\nurl = \"{url}\"\nsecret = \"env:SIGNING\"\n"
            )
        };
        let steps: Vec<String> = paths.iter().map(step).collect();
        let url = self.vendor.url("/which");
        format!(
            "[vendor.{name}]\naccount = \"main\"\niam_user = \"{user}\"\n{}[vendor.{name}.verify]\nurl = \"{url}\"\n\
             expect = {{ pointer = \"/access_key_id\", equals = \"{{{{ access_key_id }}}}\" }}\n",
            steps.concat()
        )
    }

    /// Writes rotation.toml: the journal, the account, and this text.
    pub(crate) fn configure(&self, rest: &str) {
        let journal = self.path("journal/journal.db");
        let text = format!(
            "[journal]\nurl = \"sqlite://{}\"\n[account.main]\nid = \"{ACCOUNT}\"\n{rest}",
            journal.display()
        );
        fs::write(self.path("rotation.toml"), text).expect("the folder can be written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets the program, and the libraries in it, to their most detailed log level.
    pub(crate) fn log_everything(&self) {
        self.log.set("trace");
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn set_env(&self, name: &'static str, value: &str) {
        self.env.borrow_mut().insert(name, value.to_owned());
    }

    /// Starts the program with its own log at full detail. A write beyond the file size limit returns an error to
    /// it and does not end it, because SIGXFSZ is ignored, as under some shells and supervisors.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        self.processes.set(self.processes.get() + 1);
        let base = self.path(&format!("process-{}", self.processes.get()));
        let (out, err) = (base.with_extension("out"), base.with_extension("err"));
        let mut child = self
            .command("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_keyround")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let copiers = vec![
            copy(child.stdout.take().expect("it is piped"), &out),
            copy(child.stderr.take().expect("it is piped"), &err),
        ];
        Process { child, out, err, copiers }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .envs(super::mutant_awake())
            .envs(self.emulator.env())
            .env("SIGNING", WEBHOOK_SECRET)
            .env("KEYROUND_LOG", self.log.get())
            .envs(&*self.env.borrow());
        command
    }

    /// Runs the program on a terminal, where an operator types this answer. Returns its exit code, and what the
    /// terminal shows.
    pub(crate) fn run_on_terminal(&self, arguments: &str, typed: &str) -> (Option<i32>, String) {
        let program = format!("{} {arguments}", env!("CARGO_BIN_EXE_keyround"));
        let mut child = self
            .command("script")
            .args(["-qec", &program, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of the Debian package bsdutils starts");
        let mut keyboard = child.stdin.take().expect("it is piped");
        keyboard.write_all(typed.as_bytes()).expect("the terminal takes what is typed");
        let finished = child.wait_with_output().expect("it ends");
        (finished.status.code(), String::from_utf8_lossy(&finished.stdout).into_owned())
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.spawn(arguments).finish()
    }

    /// Runs the program to its end, and requires exit code 0.
    #[track_caller]
    pub(crate) fn run_well(&self, arguments: &[&str]) -> Finished {
        let finished = self.run(arguments);
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
        finished
    }

    /// The user's keys that exist at AWS.
    pub(crate) fn living_keys(&self) -> Vec<Key> {
        let keys = self.emulator.keys(&self.user).into_iter();
        keys.filter(|key| key.status != "Deleted").collect()
    }

    /// The key that the vendor works with.
    pub(crate) fn held(&self) -> Pair {
        self.vendor.held().expect("it was given one at the start")
    }

    /// The vendor signs a call with the key that it holds, and AWS must accept it.
    #[track_caller]
    pub(crate) fn assert_vendor_works(&self) {
        let settings = AwsSettings {
            region: Some(VENDOR_REGION.to_owned()),
            endpoint_url: Some(self.emulator.url()),
            ..AwsSettings::default()
        };
        let session =
            AwsSession::new(&settings).with_credentials(Credentials::new("none", "none", None, None, "test"));
        let iam = AwsAccounts::connect(&Arc::new(session), &BTreeMap::new()).iam(None);
        let held = self.held();
        let id = held.access_key_id.parse().expect("an access key id");
        let secret = Secret::new(held.secret_access_key);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // Only an answer of AWS counts. A connection can break on a busy machine, and a vendor's SDK tries again, too.
        let mut signed = runtime.block_on(iam.identify(&id, &secret));
        for _ in 0..2 {
            if let Err(Fault::Unknown(_)) = signed {
                signed = runtime.block_on(iam.identify(&id, &secret));
            }
        }
        assert!(signed.is_ok(), "the vendor's key {id} does not work: {signed:?}");
    }

    /// The vendor must not have held a key at the time of a call that deactivates or deletes it, or at any later time.
    #[track_caller]
    pub(crate) fn assert_no_held_key_was_touched(&self) {
        let holdings = self.vendor.holdings();
        let since =
            |index: usize| holdings[index].0.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        for call in self.emulator.calls_about(&self.user).iter().filter(|call| call.mutating) {
            let Some(key) = &call.access_key_id else { continue };
            for (index, (_, pair)) in holdings.iter().enumerate() {
                let held_until = if index + 1 < holdings.len() { since(index + 1) } else { f64::INFINITY };
                assert!(
                    pair.access_key_id != *key || held_until <= call.arrived_at,
                    "{} of {key} while the vendor holds it, or before it gets it",
                    call.action
                );
            }
        }
    }

    /// No secret that ever existed may be in any file: the journal, the configuration, or the output of a process.
    #[track_caller]
    pub(crate) fn assert_no_secret_on_disk(&self) {
        let keys = self.emulator.keys(&self.user);
        let mut secrets: Vec<&str> = keys.iter().map(|key| key.secret.as_str()).collect();
        secrets.extend([WEBHOOK_SECRET, WEBHOOK_SECRET.trim_start_matches("whsec_")]);
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // The file may be gone by now, because a process cleans up.
                let bytes = fs::read(&path).unwrap_or_default();
                for secret in &secrets {
                    let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                    assert!(!found, "a secret is in {}", path.display());
                }
            }
        }
    }

    /// The names of the events in the history, in order.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<String> {
        let history = self.run_well(&["history", "--format", "json"]).json();
        let rows = history.as_array().expect("rows").iter();
        rows.map(|row| row["event"]["event"].as_str().expect("a name").to_owned()).collect()
    }

    /// The names of the files in the journal's folder, in order.
    pub(crate) fn files_of_journal(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("journal")) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The vendor of this user in `status --format json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let mut status = self.run_well(&["status", "--format", "json"]).json();
        let vendors = status["vendors"].as_array_mut().expect("vendors");
        let ours = vendors.iter().position(|vendor| vendor["iam_user"] == *self.user);
        vendors.swap_remove(ours.expect("this user"))
    }

    /// Asserts that the rotation has finished and that the vendor, AWS and the files are in the expected state.
    #[track_caller]
    pub(crate) fn assert_rotated_from(&self, old: &str) {
        let (held, living) = (self.held(), self.living_keys());
        assert_eq!(living.len(), 1, "{living:?}");
        assert_eq!(living[0].access_key_id, held.access_key_id, "the vendor holds the key that is left");
        assert_eq!(living[0].status, "Active");
        assert_ne!(held.access_key_id, old);
        self.assert_vendor_works();
        self.assert_no_held_key_was_touched();
        self.run_well(&["history", "verify"]);
        let status = self.status();
        assert_eq!((&status["state"], &status["rotation"]), (&Value::from("ok"), &Value::Null), "{status}");
        self.assert_no_secret_on_disk();
    }

    /// Makes one call wait, before or after its effect.
    pub(crate) fn gate(&self, place: Place, moment: Moment) -> Gate {
        match place {
            Place::Aws(skip) => {
                let rule = Rule::pause("*").about(&self.user).skip(skip);
                let rule = if moment == Moment::After { rule.after() } else { rule };
                Gate::Aws(self.emulator, self.emulator.order(&rule))
            }
            Place::Vendor(skip) => Gate::Vendor(self.vendor.pause(moment, skip)),
        }
    }
}

/// A call of the program, given by the number of earlier calls to the same side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Aws(u32),
    Vendor(u32),
}

/// The place at which one call waits, until the test releases it.
pub(crate) enum Gate {
    Aws(&'static Emulator, RuleId),
    Vendor(Arc<Pause>),
}

impl Gate {
    pub(crate) fn has_arrived(&self) -> bool {
        match self {
            Gate::Aws(emulator, rule) => emulator.has_arrived(*rule),
            Gate::Vendor(pause) => pause.has_arrived(),
        }
    }

    pub(crate) fn release(&self, how: Release) {
        match self {
            Gate::Aws(emulator, rule) => emulator.release(*rule, how),
            Gate::Vendor(pause) => pause.release(how),
        }
    }
}

/// A running program. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    /// The threads that copy its output through pipes into files, so that a limit on its files does not apply to
    /// its output.
    copiers: Vec<JoinHandle<()>>,
}

/// The result of a program that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; `None` if a signal ended the program.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Process {
    /// A file of the process's folder in `/proc`.
    pub(crate) fn proc_file(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What it has written to standard error so far.
    pub(crate) fn err(&self) -> String {
        fs::read_to_string(&self.err).expect("its output is a file")
    }

    /// Waits until `arrived`; returns false if the process ended before that.
    #[track_caller]
    pub(crate) fn lives_until(&mut self, arrived: impl Fn(&Process) -> bool) -> bool {
        let begun = Instant::now();
        while !arrived(self) {
            if self.ended().is_some() {
                return arrived(self);
            }
            assert!(begun.elapsed() < PROCESS_MAX, "it does not come: {}", self.err());
            thread::sleep(LOOK_EVERY);
        }
        true
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sets a limit beyond which none of its files can grow from now on.
    pub(crate) fn limit_files(&self, bytes: u64) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(pid, Resource::Fsize, limit).expect("it is our child");
    }

    /// Sends SIGKILL. When this returns, the process has ended, and all of its output is in its files.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.hear_out();
    }

    fn hear_out(&mut self) {
        self.copiers.drain(..).for_each(|copier| copier.join().expect("output can be copied"));
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.expect("a shell").success());
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            assert!(begun.elapsed() < PROCESS_MAX, "it does not end: {}", self.err());
            thread::sleep(LOOK_EVERY);
        };
        self.hear_out();
        let out = fs::read_to_string(&self.out).expect("its output is a file");
        Finished { code: status.code(), out, err: self.err() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

fn copy(mut from: impl Read + Send + 'static, path: &Path) -> JoinHandle<()> {
    let mut to = File::create(path).expect("the folder can be written");
    thread::spawn(move || drop(io::copy(&mut from, &mut to)))
}
