//! Writes a file as a whole, so that a reader sees either all of it or the content before.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Replaces the file at this path by one with this content. The content is on the disk before it takes the place of the
/// old one. The new file can be read by its owner only, whatever the permissions of the old one. A symbolic link at the
/// path is replaced and not followed.
///
/// # Errors
///
/// No file can be created in the folder, or the disk is full. Then the file at the path is unchanged.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = draft_of(path);
    // A killed process with the same id may have left its draft.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written =
        file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&draft, path));
    written.inspect_err(|_| drop(fs::remove_file(&draft)))
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_replaced_file_is_private_and_links_in_its_place_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, target) = (folder.path().join("file"), folder.path().join("target"));
        fs::write(&target, "another file").expect("a file");
        symlink(&target, draft_of(&path)).expect("a draft that is a link");
        symlink(&target, &path).expect("a link");
        replace(&path, b"whole").expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("there"), "whole");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&target).expect("there"), "another file");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 2, "no draft is left");
        assert!(replace(&folder.path().join("missing/file"), b"x").is_err());
    }
}
