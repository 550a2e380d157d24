//! Decides whether a file can be trusted: whether another user than its owner could have written it.
//!
//! keyround runs as a service, often as root, and does what its files say. A file that another user can write, or put
//! in the place of the real one, lets that user run programs and receive keys.
//!
//! **Invariant:** [`judge`] judges the file that was opened, and not only its path, because the path may lead to
//! another file by the time it is read.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// In a folder with this bit, only root and the owner of the file or of the folder may remove or rename a file.
const STICKY: u32 = 0o1000;

/// Why a file is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It belongs to a user who is neither root nor the one that keyround runs as.
    #[error(
        "{path} belongs to the user with the id {owner}, who could write anything there: only files of root and of the user that \
         keyround runs as (id {us}) are used; chown {us} {path}"
    )]
    Owner {
        /// The file, or a folder that it is in.
        path: PathBuf,
        /// The user id of the owner.
        owner: u32,
        /// The user id of this process.
        us: u32,
    },
    /// Other users can write it.
    #[error("{path} can be written by other users (mode {mode:04o}), so it is not used; chmod go-w {path}")]
    Writable {
        /// The file, or a folder that it is in.
        path: PathBuf,
        /// Its permission bits, without the file type.
        mode: u32,
    },
    /// The path leads to another file than the one that was opened.
    #[error("{path} was replaced while it was being opened, so it is not used")]
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// The system does not tell who can write the file.
    #[error("it cannot be found out who may write {path}: {source}")]
    Unknown {
        /// The path.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
}

/// Judges a file that was opened through `path`. It is trusted if root or the user of this process owns it, and if
/// nobody else can write it or a folder on the way to it. The group of root and the group of this process count as the
/// owner.
///
/// # Errors
///
/// Another user could have written the file, or could put another one in its place.
pub fn judge(file: &File, path: &Path) -> Result<(), Untrusted> {
    let unknown = |source| Untrusted::Unknown { path: path.to_owned(), source };
    let opened = file.metadata().map_err(unknown)?;
    judge_one(path, &opened)?;
    let there = std::fs::metadata(path).map_err(unknown)?;
    if (there.dev(), there.ino()) != (opened.dev(), opened.ino()) {
        return Err(Untrusted::Replaced { path: path.to_owned() });
    }
    judge_path(path)
}

/// As [`judge`], for a file that this process does not open itself, such as a program: a program with no read
/// permission cannot be opened.
///
/// # Errors
///
/// Another user could have written the file, or could put another one in its place.
pub fn judge_path(path: &Path) -> Result<(), Untrusted> {
    let unknown = |source| Untrusted::Unknown { path: path.to_owned(), source };
    let real = std::fs::canonicalize(path).map_err(unknown)?;
    judge_one(&real, &std::fs::metadata(&real).map_err(unknown)?)?;
    judge_folders(&real)?;
    // A symbolic link can be trusted as far as the folder that holds it.
    judge_folders(&std::path::absolute(path).map_err(unknown)?)
}

/// Judges the folders that lead to `path`, which is absolute, as [`judge`] does.
///
/// # Errors
///
/// Another user could put another file at the path.
pub fn judge_folders(path: &Path) -> Result<(), Untrusted> {
    for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
        let metadata = std::fs::metadata(folder);
        let metadata = metadata.map_err(|source| Untrusted::Unknown { path: folder.to_owned(), source })?;
        judge_one(folder, &metadata)?;
    }
    Ok(())
}

fn judge_one(path: &Path, metadata: &Metadata) -> Result<(), Untrusted> {
    let us = geteuid().as_raw();
    let owner = metadata.uid();
    if owner != 0 && owner != us {
        return Err(Untrusted::Owner { path: path.to_owned(), owner, us });
    }
    let mode = metadata.mode() & 0o7777;
    let is_ours = [0, getegid().as_raw()].contains(&metadata.gid());
    let foreign = if is_ours { OTHERS_WRITE } else { OTHERS_WRITE | GROUP_WRITES };
    if mode & foreign != 0 && !(metadata.is_dir() && mode & STICKY != 0) {
        return Err(Untrusted::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Opens a regular file for reading. A pipe or a device is refused before it is opened, because opening it could block.
///
/// # Errors
///
/// There is no such file, it cannot be opened, or it is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    if !std::fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    let file = File::open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    const STRANGER: u32 = 4_000_001;

    /// A file in a folder of its own, both with safe permissions.
    fn world() -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().expect("a folder");
        let folder = top.path().join("folder");
        create_dir(&folder).expect("a folder");
        let path = folder.join("file");
        write(&path, "x").expect("a file");
        for (path, mode) in [(top.path(), 0o755), (&folder, 0o755), (&path, 0o644)] {
            set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
        }
        (top, path)
    }

    fn judged(path: &Path) -> Result<(), Untrusted> {
        judge(&open_regular(path).expect("it opens"), path)
    }

    #[test]
    fn a_file_is_trusted_unless_it_or_its_folder_is_writable_by_others() {
        let (_top, path) = world();
        judged(&path).expect("it is ours");
        set_permissions(&path, Permissions::from_mode(0o646)).expect("a mode");
        assert!(matches!(judged(&path), Err(Untrusted::Writable { mode: 0o646, .. })));
        set_permissions(&path, Permissions::from_mode(0o644)).expect("a mode");
        let folder = path.parent().expect("a folder");
        set_permissions(folder, Permissions::from_mode(0o777)).expect("a mode");
        assert!(matches!(judged(&path), Err(Untrusted::Writable { mode: 0o777, .. })));
        set_permissions(folder, Permissions::from_mode(0o1777)).expect("a mode");
        judged(&path).expect("nobody else may remove it from there");
    }

    #[test]
    fn a_symlink_is_trusted_only_if_its_place_and_its_target_are() {
        let ((top, path), (elsewhere, target)) = (world(), world());
        let link = path.with_file_name("link");
        symlink(&target, &link).expect("a link");
        judged(&link).expect("both are ours");
        set_permissions(elsewhere.path(), Permissions::from_mode(0o777)).expect("a mode");
        judged(&link).expect_err("its target can be replaced");
        set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).expect("a mode");
        set_permissions(top.path(), Permissions::from_mode(0o777)).expect("a mode");
        judged(&link).expect_err("the link can be replaced");
    }

    #[test]
    fn a_pipe_and_a_device_are_not_opened() {
        for path in ["/dev/zero", "/dev/null", "/"] {
            assert!(open_regular(Path::new(path)).is_err(), "{path}");
        }
        let (_top, path) = world();
        let pipe = path.with_file_name("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success() && open_regular(&pipe).is_err());
    }

    /// Only root can change the owner of a file; CI runs the tests as root.
    #[test]
    fn needs_root_a_file_of_another_user_is_not_used() {
        if !geteuid().is_root() {
            return;
        }
        let (top, path) = world();
        for given in [&path, path.parent().expect("a folder"), top.path()] {
            chown(given, Some(STRANGER), None).expect("it is given away");
            assert!(matches!(judged(&path), Err(Untrusted::Owner { owner: STRANGER, .. })), "{given:?}");
            chown(given, Some(0), Some(STRANGER)).expect("it is taken back");
            judged(&path).expect("a group that may not write is no matter");
            set_permissions(given, Permissions::from_mode(0o775)).expect("a mode");
            assert!(matches!(judged(&path), Err(Untrusted::Writable { mode: 0o775, .. })), "{given:?}");
            chown(given, Some(0), Some(0)).expect("it is taken back");
            judged(&path).expect("the group is root's");
        }
    }
}
