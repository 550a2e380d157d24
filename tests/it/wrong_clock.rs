//! The real binary on a machine whose clock is wrong: libfaketime sets the clock of the program, and of no other
//! process.

use std::fs;
use std::path::PathBuf;

use crate::support::moto::Emulator;
use crate::support::program::Program;
use crate::support::vendor::{Pair, Vendor};

/// The library of Debian's package libfaketime, which has a folder for each architecture.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("/usr/lib can be read").flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries
        .find(|library| library.exists())
        .expect("this test needs libfaketime: install Debian's package libfaketime")
}

const SETTINGS: &str = r#"
[defaults]
soak = "0s"
quiet_for = "0s"
cool = "7d"
require_use = false
prove_every = "0s"
prove_successes = 1
doubt_window = "1s"
"#;

#[test]
#[ignore = "needs Debian's package libfaketime"]
fn no_key_is_deleted_while_the_clock_is_days_ahead_of_aws() {
    let library = library().display().to_string();
    let (emulator, vendor) = (Emulator::start(), Vendor::start());
    let (old, secret) = emulator.seed_user("vendor-acme", 120.0);
    vendor.hold(Pair { access_key_id: old.clone(), secret_access_key: secret });
    let url = vendor.url("/aws");
    let program = |offset: Option<&str>, program: &mut Program| {
        program.set_env("LD_PRELOAD", if offset.is_some() { &library } else { "" });
        program.set_env("FAKETIME", offset.unwrap_or("+0d"));
    };
    let toml = format!(
        "{SETTINGS}\n[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"http\"\n\
         method = \"PUT\"\nurl = \"{url}\"\nauth = {{ bearer = \"credential:acme\" }}\n\
         json = {{ id = \"{{{{ access_key_id }}}}\", secret = \"{{{{ secret_access_key }}}}\" }}\n"
    );
    let mut here = Program::new(&emulator, &toml);
    here.credential("acme", "token-of-acme-5f1c8a");
    let status = |key: &str| {
        let keys = emulator.keys("vendor-acme");
        keys.into_iter().find(|known| known.access_key_id == key).expect("a key").status
    };

    program(None, &mut here);
    let ran = here.run(&["rotate"]);
    assert_eq!(status(&old), "Inactive", "{ran}");

    for ahead in ["+8d", "+30d", "-8d"] {
        program(Some(ahead), &mut here);
        let ran = here.run(&["rotate"]);
        assert_eq!(status(&old), "Inactive", "{ahead}: {ran}");
        if ahead.starts_with('+') {
            assert_eq!(ran.code, Some(1), "{ahead}: {ran}");
            let told =
                format!("{}{}", ran.stdout, ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(told.contains("this machine's clock is") && told.contains("ahead of AWS's"), "{ran}");
        }
    }

    program(None, &mut here);
    let ran = here.run(&["rotate"]);
    assert_eq!((ran.code, status(&old).as_str()), (Some(0), "Inactive"), "{ran}");
}
