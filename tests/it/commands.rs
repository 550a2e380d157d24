//! Commands as a way to a vendor: the environment that they get, what their results mean, and that no process of
//! theirs remains.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyround::adapters::aws::AwsSession;
use keyround::adapters::delivery::{COMMAND_REFUSED, LocalPrograms};
use keyround::config::settings::AwsSettings;
use keyround::core::ids::Subject;
use keyround::core::rotation::{RefusalCode, Verification};
use keyround::core::secret::Secret;
use keyround::ports::{Fault, Finished, Program, Programs as _, Purpose, RecipePart};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::moto::Emulator;
use crate::support::program::{HASTE, Program as Keyround};
use crate::support::recipe::{NEW_KEY, deliver, offer, vendor};

#[tokio::test]
async fn a_command_gets_its_input_on_stdin_and_a_minimal_environment() {
    let folder = TempDir::new().expect("a folder");
    let script = script(
        &folder,
        "show",
        "cat; echo; env | sort; pwd; echo \"$0 $*\"; cat /proc/$$/cmdline | tr '\\0' ' '",
    );
    let finished = run(&[&script, &"eu", &"two words"], "canary-input", 20).await.expect("it ends");
    assert_eq!(finished.code, Some(0));
    let lines: Vec<&str> = finished.output.expose().lines().collect();
    assert_eq!(lines[0], "canary-input");
    let variables: Vec<&str> = lines[1..].iter().copied().take_while(|line| line.contains('=')).collect();
    let names: Vec<&str> = variables.iter().filter_map(|line| line.split('=').next()).collect();
    // The shell itself sets PWD, and some shells set OLDPWD, SHLVL and _.
    assert!(
        names.iter().all(|name| ["LANG", "OLDPWD", "PATH", "PWD", "SHLVL", "_"].contains(name)),
        "{names:?}"
    );
    assert!(names.contains(&"PATH") && names.contains(&"LANG"), "{names:?}");
    assert!(lines.contains(&"/"), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with("show eu two words")), "{lines:?}");
    assert_eq!(
        finished.output.expose().matches("canary-input").count(),
        1,
        "it is in no argument and no variable"
    );
}

#[tokio::test]
async fn a_command_past_its_timeout_is_killed_with_its_child_processes() {
    let folder = TempDir::new().expect("a folder");
    let pids = folder.path().join("pids");
    let script =
        script(&folder, "slow", &format!("sleep 600 & echo $! >{0}; echo $$ >>{0}; wait", pids.display()));
    let begun = Instant::now();
    let fault = run(&[&script], "x", 1).await.err().expect("its time is over");
    assert!(
        matches!(&fault, Fault::Unknown(_)) && fault.sentence().contains("did not end within 1s"),
        "{fault:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_gone(&pids);
}

#[tokio::test]
async fn child_processes_that_outlive_a_command_are_killed() {
    let folder = TempDir::new().expect("a folder");
    let pids = folder.path().join("pids");
    let script = script(&folder, "leaves", &format!("sleep 600 & echo $! >{}; echo done", pids.display()));
    let begun = Instant::now();
    let finished = run(&[&script], "x", 60).await.expect("it ends");
    assert_eq!((finished.code, finished.output.expose()), (Some(0), "done\n"));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_gone(&pids);
}

#[tokio::test]
async fn a_command_is_killed_when_its_caller_stops_waiting() {
    let folder = TempDir::new().expect("a folder");
    let pids = folder.path().join("pids");
    let script = script(&folder, "slow", &format!("echo $$ >{}; sleep 600", pids.display()));
    let argv = [script.display().to_string()];
    let purpose = purpose();
    let running = LocalPrograms.run(&purpose, program(&argv, "x", 60));
    assert!(tokio::time::timeout(Duration::from_secs(1), running).await.is_err());
    assert_gone(&pids);
}

#[tokio::test]
async fn command_output_is_bounded_and_death_by_signal_has_no_exit_code() {
    let folder = TempDir::new().expect("a folder");
    let talks = script(
        &folder,
        "talks",
        "head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2",
    );
    let Finished { code, output, complaint } = run(&[&talks], "x", 60).await.expect("it ends");
    assert_eq!((code, output.expose().len(), complaint.expose().len()), (Some(0), 64 * 1024, 64 * 1024));
    let dies = script(&folder, "dies", "kill -SEGV $$");
    assert_eq!(run(&[&dies], "x", 60).await.expect("it ends").code, None);
    // A command that does not read its input is no error.
    let deaf = script(&folder, "deaf", "exec 0<&-; exit 3");
    assert_eq!(run(&[&deaf], &"x".repeat(60_000), 60).await.expect("it ends").code, Some(3));
}

#[tokio::test]
async fn a_missing_unexecutable_or_world_writable_command_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let open = script(&folder, "open", "cat");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("it is ours");
    let plain = script(&folder, "plain", "cat");
    fs::set_permissions(&plain, Permissions::from_mode(0o644)).expect("it is ours");
    for (path, code, words) in [
        (open, RefusalCode::Misconfigured, "can be changed by everybody"),
        (plain, RefusalCode::Misconfigured, "is not a program"),
        (folder.path().to_owned(), RefusalCode::Misconfigured, "is not a program"),
        (folder.path().join("nothing"), RefusalCode::NotSent, "cannot be run"),
    ] {
        let fault = run(&[&path], "canary", 5).await.err().expect(words);
        assert!(matches!(&fault, Fault::Refused(refusal) if refusal.code == code), "{fault:?}");
        assert!(fault.sentence().contains(words) && !fault.sentence().contains("canary"), "{fault:?}");
    }
}

/// A vendor that is reached by two commands: one delivers the key and keeps it in a file, the other answers checks.
const BY_PROGRAMS: &str = r#"
[vendor.acme]
iam_user = "vendor-acme"
[[vendor.acme.deliver]]
kind = "command"
argv = ["FOLDER/hand-over", "eu"]
expect = { pointer = "/stored", equals = "{{ access_key_id }}" }
capture = { revision = "/revision" }
[[vendor.acme.deliver]]
kind = "command"
argv = ["FOLDER/activate"]
[vendor.acme.verify]
kind = "command"
argv = ["FOLDER/ask"]
expect = { pointer = "/in_force", equals = "{{ access_key_id }}" }
"#;

/// A command that writes a part of the secret to its standard error, as `set -x` would.
const HAND_OVER: &str = r#"cat >FOLDER/held
id=$(sed 's/.*"access_key_id":"\([A-Z0-9]*\)".*/\1/' FOLDER/held)
sed 's/.*"secret_access_key":"\([^"]*\)".*/+ curl -d \1/' FOLDER/held >&2
echo "{\"stored\": \"$id\", \"revision\": 7}""#;

#[test]
fn command_steps_rotate_a_vendor_and_their_stderr_leaks_no_secret() {
    let (emulator, folder) = (Emulator::start(), TempDir::new().expect("a folder"));
    let (_, secret) = emulator.seed_user("vendor-acme", 120.0);
    let keyround = by_programs(
        &emulator,
        &folder,
        &[
            ("hand-over", HAND_OVER),
            ("activate", "cat >FOLDER/activated; echo 'all is well' >&2"),
            (
                "ask",
                "cat >FOLDER/asked; sed 's/.*\"access_key_id\":\"\\([A-Z0-9]*\\)\".*/{\"in_force\": \"\\1\"}/' FOLDER/held",
            ),
        ],
    );
    let ran = keyround.run(&["rotate", "--wait", "-vv", "--log-format", "json"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let keys = emulator.keys("vendor-acme");
    let new = keys.iter().find(|key| key.status == "Active").expect("a new key");
    let held = json_in(&folder, "held");
    assert_eq!(held["type"], "access_key.rotated");
    assert_eq!(held["data"]["secret_access_key"], json!(new.secret));
    assert_eq!(held["data"]["access_key_id"], json!(new.access_key_id));
    assert!(held["id"].as_str().is_some_and(|id| id.starts_with("msg_")), "{held}");
    assert_eq!(json_in(&folder, "activated")["data"]["captured"], json!({ "revision": "7" }));
    let asked = json_in(&folder, "asked");
    assert_eq!(
        (&asked["type"], &asked["data"]["secret_access_key"]),
        (&json!("access_key.verify"), &Value::Null)
    );
    assert!(ran.stderr.contains("hand-over wrote a part of a secret to its standard error"), "{ran}");
    assert!(ran.stderr.contains("all is well"), "{ran}");
    keyround.canary(&secret);
    keyround.assert_no_secret_was_seen(&emulator);
}

#[tokio::test]
async fn a_commands_exit_code_means_accepted_refused_or_unknown() {
    let folder = TempDir::new().expect("a folder");
    let stored = format!("cat >/dev/null; echo '{{\"stored\": \"{NEW_KEY}\"}}'");
    let refused = Some(RefusalCode::VendorRefused);
    for (text, answer, words) in [
        (stored.clone(), Ok(()), ""),
        (format!("{stored}; exit {COMMAND_REFUSED}"), Err(refused), "ended with exit code 113"),
        (format!("{stored}; exit 1"), Err(None), "ended with exit code 1; it may have done something"),
        (format!("{stored}; kill -9 $$"), Err(None), "was ended by a signal; it may have done something"),
        ("echo no JSON".to_owned(), Err(None), "its output is not the JSON that was expected"),
        ("echo '{\"stored\": \"AKIAOTHER\"}'".to_owned(), Err(refused), "another value than expected"),
        ("echo '{}'".to_owned(), Err(refused), "no value at \"/stored\""),
    ] {
        let program = script(&folder, "hand-over", &text);
        let steps = format!(
            "[[vendor.acme.deliver]]\nkind = \"command\"\nargv = [\"{}\"]\n\
             expect = {{ pointer = \"/stored\", equals = \"{{{{ access_key_id }}}}\" }}\n",
            program.display()
        );
        let done = deliver(&vendor(&session(), &steps).0).await;
        let code = |fault: &Fault| match fault {
            Fault::Refused(refusal) => Some(refusal.code),
            Fault::Unknown(_) => None,
        };
        assert_eq!(done.as_ref().copied().map_err(code), answer, "{text}");
        let sentence = done.err().map(|fault| fault.sentence().to_owned()).unwrap_or_default();
        assert!(sentence.contains(words) && !sentence.contains("canary"), "{text}: {sentence}");
    }
}

#[tokio::test]
async fn a_verify_commands_exit_code_says_whether_the_key_is_in_force() {
    let folder = TempDir::new().expect("a folder");
    for (code, answer) in [(0, Some(Verification::Asked)), (COMMAND_REFUSED, None), (1, None)] {
        let program = script(&folder, "ask", &format!("cat >/dev/null; exit {code}"));
        let steps = format!(
            "[[vendor.acme.deliver]]\nkind = \"command\"\nargv = [\"{0}\"]\n\
             [vendor.acme.verify]\nkind = \"command\"\nargv = [\"{0}\"]\n",
            program.display()
        );
        let said = vendor(&session(), &steps).0.verify(&offer()).await;
        assert_eq!(said.as_ref().ok(), answer.as_ref(), "{code}: {said:?}");
        let other = matches!(&said, Err(Fault::Refused(refusal)) if refusal.code == RefusalCode::NotInForce);
        assert_eq!(other, code == COMMAND_REFUSED, "{said:?}");
    }
}

fn session() -> Arc<AwsSession> {
    Arc::new(AwsSession::new(&AwsSettings::default()))
}

#[test]
fn a_dry_run_runs_no_program() {
    let (emulator, folder) = (Emulator::start(), TempDir::new().expect("a folder"));
    emulator.seed_user("vendor-acme", 120.0);
    let keyround = by_programs(
        &emulator,
        &folder,
        &[("hand-over", "touch FOLDER/ran"), ("activate", "touch FOLDER/ran")],
    );
    let shown = keyround.json(1, &["rotate", "--dry-run"]);
    let checks = shown["vendors"][0]["preflight"].as_array().expect("checks").clone();
    let ok = |name: &str| checks.iter().find(|check| check["check"] == name).map(|check| check["ok"].clone());
    assert_eq!(ok("step 1: command"), Some(json!(true)));
    assert_eq!(ok("verify: command"), Some(json!(false)), "there is no such program");
    assert!(!folder.path().join("ran").exists());
}

fn by_programs(emulator: &Emulator, folder: &TempDir, scripts: &[(&str, &str)]) -> Keyround {
    let here = folder.path().display().to_string();
    for (name, text) in scripts {
        script(folder, name, &text.replace("FOLDER", &here));
    }
    let toml = format!("{HASTE}{}", BY_PROGRAMS.replace("FOLDER", &here));
    Keyround::new(emulator, &toml)
}

fn json_in(folder: &TempDir, name: &str) -> Value {
    let text = fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn script(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the folder can be written");
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
    path
}

async fn run(argv: &[&dyn AsArgument], input: &str, secs: u64) -> Result<Finished, Fault> {
    let argv: Vec<String> = argv.iter().map(|argument| argument.text()).collect();
    LocalPrograms.run(&purpose(), program(&argv, input, secs)).await
}

trait AsArgument: Sync {
    fn text(&self) -> String;
}

impl AsArgument for PathBuf {
    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl AsArgument for &str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

fn program<'a>(argv: &'a [String], input: &str, secs: u64) -> Program<'a> {
    Program { argv, input: Secret::from(input), timeout: Duration::from_secs(secs) }
}

fn purpose() -> Purpose {
    let subject = Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: None,
        iam_user: "vendor-acme".parse().expect("a user"),
    };
    Purpose { subject, part: RecipePart::Deliver { step: 0 } }
}

/// Asserts that none of these processes runs any more. A process that was just killed may still be a zombie.
#[track_caller]
fn assert_gone(pids: &Path) {
    let pids = fs::read_to_string(pids).expect("they were written down");
    for pid in pids.lines() {
        let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let runs = |state: &str| {
            state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
        };
        let until = Instant::now() + Duration::from_secs(10);
        while runs(&state()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!runs(&state()), "{pid} runs on: {}", state());
    }
}
