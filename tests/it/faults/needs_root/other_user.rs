//! Another process of the same user cannot read the memory or the environment of the running program.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The user id of `nobody` on every Linux.
const USER: u32 = 65_534;

#[test]
#[ignore = "needs root: runs the program as another user"]
fn a_process_of_the_same_user_cannot_read_the_memory_of_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    chown(folder.path(), Some(USER), Some(USER)).expect("this is root");
    // The program is copied, because that user may have no access to the build folder.
    let program = folder.path().join("keyround");
    fs::copy(env!("CARGO_BIN_EXE_keyround"), &program).expect("it can be copied");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is ours");
    let toml = "[vendor.acme]\niam_user = \"acme\"\n[[vendor.acme.deliver]]\nkind = \"webhook\"\n\
                url = \"https://hooks.acme.invalid/\"\nsecret = \"env:SIGNING\"\n";
    fs::write(folder.path().join("rotation.toml"), toml).expect("written");
    let child = Command::new(&program)
        .arg("run")
        .current_dir(folder.path())
        .env_clear()
        .env("SIGNING", "whsec_canary")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut service = Service(child);
    let process = format!("/proc/{}", service.0.id());
    service.wait_until(|| folder.path().join("keyround.db").exists());

    let limits = fs::read_to_string(format!("{process}/limits")).expect("this is root");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // The kernel makes root the owner of the files of a process that may not be dumped.
    let owner = fs::metadata(format!("{process}/mem")).expect("it runs").uid();
    assert_eq!(owner, 0);
    for file in ["mem", "environ", "maps"] {
        let path = format!("{process}/{file}");
        let looked = Command::new("head").args(["-c", "1", &path]).uid(USER).gid(USER).output();
        let looked = looked.expect("there is a head");
        let told = String::from_utf8_lossy(&looked.stderr);
        assert!(!looked.status.success() && told.contains("Permission denied"), "{file}: {told}");
        println!("/proc/PID/{file}, to the program's own user: {}", told.trim());
    }
}

/// A running program, which does not outlive the test.
struct Service(Child);

impl Service {
    #[track_caller]
    fn wait_until(&mut self, arrived: impl Fn() -> bool) {
        let begun = Instant::now();
        while !arrived() {
            assert!(self.0.try_wait().expect("it is our child").is_none(), "it ended");
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not come");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}
