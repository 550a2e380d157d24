//! A real systemd of the test's own: process 1 of new namespaces over a throw-away copy of this machine's files,
//! with the units of `systemd/` and the program that was just built.
//!
//! It ends when this is dropped, and also when the test process ends.
//!
//! The same tests check an installed package, on the machine where it is installed: `KEYROUND_TEST_INSTALLED=1`.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::python::script;

/// The longest time that a test waits for anything, on a busy machine.
const WAIT_MAX: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Set if the package is installed on this machine and its files are the ones to test.
const INSTALLED: &str = "KEYROUND_TEST_INSTALLED";
/// The shipped files, and the places where a package installs them.
const SHIPPED: [(&str, &str); 4] = [
    ("keyround.service", "usr/lib/systemd/system/keyround.service"),
    ("keyround-rotate.service", "usr/lib/systemd/system/keyround-rotate.service"),
    ("keyround-rotate.timer", "usr/lib/systemd/system/keyround-rotate.timer"),
    ("keyround.sysusers", "usr/lib/sysusers.d/keyround.conf"),
];

/// A file of `systemd/`.
pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// A running machine that has the package installed.
pub(crate) struct Systemd {
    keeper: Child,
    pid: u32,
    /// The folder in which its files are prepared.
    _folder: TempDir,
}

impl Systemd {
    /// Boots one with the shipped files and with these: paths without the leading slash, and their texts.
    pub(crate) fn boot(files: &[(&str, &str)]) -> Systemd {
        assert!(is_root(), "a systemd of its own can only be booted by root");
        let found = Path::new("/lib/systemd/systemd").exists();
        assert!(found, "there is no systemd on this machine: install Debian's package systemd");
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("overlay")).expect("it is ours");
        let is_installed = std::env::var_os(INSTALLED).is_some();
        for (name, place) in SHIPPED.iter().filter(|_| !is_installed) {
            write(folder.path(), place, &fs::read(shipped(name)).expect("it is shipped"));
        }
        fs::create_dir_all(folder.path().join("files")).expect("it is ours");
        let program = if is_installed { "" } else { env!("CARGO_BIN_EXE_keyround") };
        for (place, text) in files {
            write(folder.path(), place, text.as_bytes());
        }
        let mut keeper = Command::new("bash")
            .arg(script("boot_systemd.sh"))
            .args([folder.path().as_os_str(), program.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a bash");
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it speaks");
        let Ok(pid) = line.trim().parse() else {
            let mut said = String::new();
            let stderr = keeper.stderr.as_mut().expect("it is piped");
            stderr.read_to_string(&mut said).expect("it is text");
            panic!("systemd does not boot here: {said}");
        };
        let systemd = Systemd { keeper, pid, _folder: folder };
        systemd.until("it has booted", || {
            systemd.run(&["systemctl", "is-active", "basic.target"]).status.success()
        });
        systemd.well(&["systemd-sysusers"]);
        systemd
    }

    /// Runs a command on that machine, as root.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        self.command(command).output().expect("there is an nsenter")
    }

    /// Runs a command that must succeed. Returns its standard output.
    #[track_caller]
    pub(crate) fn well(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}\n{}", output.status, self.log());
        out.trim_end().to_owned()
    }

    /// Runs a command that must succeed, with this text on its standard input.
    #[track_caller]
    pub(crate) fn feed(&self, command: &[&str], input: &str) {
        let mut child = self.command(command).stdin(Stdio::piped()).spawn().expect("there is an nsenter");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        assert!(child.wait().expect("it is our child").success(), "{command:?}");
    }

    /// A command that runs on that machine, not yet started.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["-t", &self.pid.to_string(), "-a", "--"]).args(command);
        nsenter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        nsenter
    }

    /// The version of systemd, such as 252.
    #[track_caller]
    pub(crate) fn version(&self) -> u32 {
        let said = self.well(&["systemctl", "--version"]);
        said.split_whitespace().nth(1).expect("a version").parse().expect("a number")
    }

    /// A property of a unit.
    #[track_caller]
    pub(crate) fn show(&self, unit: &str, property: &str) -> String {
        self.well(&["systemctl", "show", "--value", "--property", property, unit])
    }

    /// Writes a file on that machine, at an absolute path.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let place = self.outside(path);
        fs::create_dir_all(place.parent().expect("it has a folder")).expect("we are root");
        fs::write(&place, text).expect("we are root");
    }

    /// Reads a file on that machine.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.outside(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// The entries of a unit in the systemd journal, oldest first.
    #[track_caller]
    pub(crate) fn entries(&self, unit: &str) -> Vec<Value> {
        self.well(&["journalctl", "--sync"]);
        let lines = self.well(&["journalctl", "-u", unit, "-o", "json", "--no-pager"]);
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The messages of the unit's journal entries, one per line.
    #[track_caller]
    pub(crate) fn messages(&self, unit: &str) -> String {
        let entries = self.entries(unit);
        let messages = entries.iter().map(|entry| entry["MESSAGE"].as_str().unwrap_or_default());
        messages.collect::<Vec<_>>().join("\n")
    }

    /// Everything that was logged on that machine.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.run(&["journalctl", "--no-pager", "-o", "short"]).stdout).into_owned()
    }

    /// Waits until `is_so` holds; panics with `what` and the log if it takes too long.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < WAIT_MAX, "in vain: {what}\n{}", self.log());
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // The keeper cleans up when its standard input ends.
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

fn write(folder: &Path, place: &str, bytes: &[u8]) {
    let path = folder.join("files").join(place);
    fs::create_dir_all(path.parent().expect("it has a folder")).expect("it is ours");
    fs::write(&path, bytes).expect("it is ours");
    let mode = if place.starts_with("etc/credstore") { 0o600 } else { 0o644 };
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("it has a user");
    uids.split_whitespace().nth(1) == Some("0")
}
