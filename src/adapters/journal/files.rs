//! The files of a journal: the database, its instance lock, and the seal key beside it.
//!
//! **Invariant:** a new file appears under its final name complete or not at all, and never replaces another file.
//! **Invariant:** only the owner can read each file.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::chain::hex;
use super::seal::{BadSealKey, SealKey, random_bytes};
use crate::core::secret::Secret;
use crate::ports::JournalError;

/// "krnd": SQLite's `application_id` in the header of each journal.
pub(super) const APPLICATION_ID: u32 = 0x6b72_6e64;
/// The newest schema version that this version of keyround knows.
pub(super) const SCHEMA: u32 = 3;
/// The first schema version with a seal over the head of the history.
pub(super) const SEALED_SCHEMA: u32 = 3;

const OWNER_ONLY: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// A seal key file has 44 base64 characters and a newline; more than this many bytes are not read.
const SEAL_KEY_BYTES_MAX: u64 = 1024;
const LOCK_BYTES_MAX: u64 = 256;
/// The infix of a draft's file name, between the final name and the draft's random number.
const DRAFT: &str = ".new-";
const DRAFT_NUMBER_BYTES: usize = 8;
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
const SQLITE_HEADER_LEN: usize = 100;

/// What is at the journal's path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// No file.
    Nothing,
    /// A journal with a known schema version, as its header says.
    Journal,
}

/// Reads the header of the file. The file is not opened as a database, because that would create files beside it.
pub(super) fn inspect(path: &Path) -> Result<Found, JournalError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(unavailable(path, "cannot be opened", &error)),
    };
    let length = file.metadata().map_err(|error| unavailable(path, "cannot be read", &error))?.len();
    let mut header = Vec::with_capacity(SQLITE_HEADER_LEN);
    let limit = SQLITE_HEADER_LEN as u64;
    (&mut file)
        .take(limit)
        .read_to_end(&mut header)
        .map_err(|error| unavailable(path, "cannot be read", &error))?;
    judge_header(path, &header, length)?;
    Ok(Found::Journal)
}

fn judge_header(path: &Path, header: &[u8], length: u64) -> Result<(), JournalError> {
    let name = path.display();
    let foreign = || {
        JournalError::Unusable(format!(
            "{name} is not a keyround journal; it was not touched; give [journal] url another path"
        ))
    };
    if !header.starts_with(SQLITE_MAGIC) && !SQLITE_MAGIC.starts_with(header) {
        return Err(foreign());
    }
    if header.len() < SQLITE_HEADER_LEN {
        return Err(truncated(path, length));
    }
    let field = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if field(68) != APPLICATION_ID {
        return Err(foreign());
    }
    judge_schema(path, field(60))?;
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    // After a crash, the missing pages may be in the write-ahead log.
    if length < page_bytes * u64::from(field(28)) && !has_log(path) {
        return Err(truncated(path, length));
    }
    Ok(())
}

/// Refuses a schema version that is newer than this version of keyround knows.
pub(super) fn judge_schema(path: &Path, schema: u32) -> Result<(), JournalError> {
    if schema <= SCHEMA {
        return Ok(());
    }
    Err(JournalError::Unusable(format!(
        "the journal {} is from a newer version of keyround (schema {schema}, this version knows {SCHEMA}); \
         it was not touched; run that version or a later one",
        path.display()
    )))
}

fn truncated(path: &Path, length: u64) -> JournalError {
    JournalError::Unusable(format!(
        "the journal {} is truncated: {length} bytes are left of it; it was not touched; restore it from a backup",
        path.display()
    ))
}

/// Whether the journal has a write-ahead log that is not empty, which may hold pages that the file lacks.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.is_file() && log.len() > 0)
}

/// Appends a suffix to a path: `journal.db` and `-wal` give `journal.db-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates the journal's folder with mode 0700 if it is missing.
pub(super) fn make_folder(path: &Path) -> Result<(), JournalError> {
    let folder = folder_of(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| unavailable(&folder, "cannot be made", &error))
}

/// Refuses to create a journal beside the write-ahead log of a removed one: SQLite could play that log back into the
/// new database.
pub(super) fn refuse_orphaned_log(path: &Path) -> Result<(), JournalError> {
    if !has_log(path) {
        return Ok(());
    }
    Err(JournalError::Unusable(format!(
        "the journal {} is missing, but its write-ahead log {} is there; nothing was touched; restore the journal, \
         or move the log away to begin a new one",
        path.display(),
        beside(path, "-wal").display()
    )))
}

/// Removes all access for group and others from the journal's files.
pub(super) fn keep_to_owner(path: &Path) -> Result<(), JournalError> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        let Ok(found) = fs::metadata(&file) else { continue };
        if found.mode() & OTHERS != 0 {
            fs::set_permissions(&file, Permissions::from_mode(OWNER_ONLY))
                .map_err(|error| unavailable(&file, "cannot be kept to its owner", &error))?;
        }
    }
    Ok(())
}

/// A file under a temporary name until it is complete. The temporary name is removed on drop.
pub(super) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Creates an empty draft beside `path`.
    pub(super) fn beside(path: &Path) -> Result<Draft, JournalError> {
        let draft = beside(path, &format!("{DRAFT}{}", hex(&random_bytes::<DRAFT_NUMBER_BYTES>())));
        create_new(&draft).map_err(|error| unavailable(&draft, "cannot be made", &error))?;
        Ok(Draft { path: draft })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the draft its final name, durably. If a file with that name exists, that file stays and the draft is
    /// deleted.
    pub(super) fn publish(self, path: &Path) -> Result<(), JournalError> {
        let failed = |error: &io::Error| unavailable(path, "cannot be made", error);
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(|error| failed(&error))?;
        match fs::hard_link(&self.path, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(&error)),
            Ok(()) | Err(_) => {}
        }
        fs::remove_file(&self.path).map_err(|error| failed(&error))?;
        File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Whether it was published or not, only the draft's name is removed. A draft that cannot be removed has mode
        // 0600.
        drop(fs::remove_file(&self.path));
    }
}

/// Removes the drafts of a process that was killed while it created a journal. If it was killed right after publishing,
/// the draft is a second name of the seal key, which a backup that excludes `seal.key` would include.
pub(super) fn sweep_drafts(journal: &Path) {
    let Ok(entries) = fs::read_dir(folder_of(journal)) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if is_draft_of(&path, journal) || is_draft_of(&path, &seal_key_path(journal)) {
            // A draft that cannot be removed does no harm; the next start tries again.
            drop(fs::remove_file(path));
        }
    }
}

/// Whether the path has the name of a draft of `whole`, or of a file that SQLite keeps beside such a draft. The number
/// is checked because files of other programs may contain `.new-` too.
fn is_draft_of(path: &Path, whole: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let (Some(name), Some(whole)) = (name(path), name(whole)) else { return false };
    let Some(number) = name.strip_prefix(&whole).and_then(|rest| rest.strip_prefix(DRAFT)) else {
        return false;
    };
    let number =
        ["-journal", "-wal", "-shm"].iter().find_map(|end| number.strip_suffix(end)).unwrap_or(number);
    number.len() == 2 * DRAFT_NUMBER_BYTES && number.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)
}

/// The path of the journal's seal key, unless the configuration names another one.
fn seal_key_path(journal: &Path) -> PathBuf {
    journal.with_file_name("seal.key")
}

/// Reads the seal key beside an existing journal. A missing key is not created: another key would not open the sealed
/// secrets.
pub(super) fn seal_key_of(journal: &Path) -> Result<SealKey, JournalError> {
    let path = seal_key_path(journal);
    read_seal_key(&path)?.ok_or_else(|| {
        JournalError::SealKey(format!(
            "the journal {} is there, but its seal key {} is missing; nothing was touched; restore the file, name the \
             key as [journal] seal_key, or, if the key is lost, run `keyround journal rekey --lost`",
            journal.display(),
            path.display()
        ))
    })
}

/// The seal key beside the journal if it can be read; a reader can work without it.
pub(super) fn readable_seal_key(journal: &Path) -> Option<SealKey> {
    read_seal_key(&seal_key_path(journal)).ok().flatten()
}

/// The seal key for a journal that is about to be created; the key is created if it is missing.
pub(super) fn seal_key_for_new(journal: &Path) -> Result<SealKey, JournalError> {
    read_or_make_seal_key(&seal_key_path(journal))
}

fn read_or_make_seal_key(path: &Path) -> Result<SealKey, JournalError> {
    if let Some(key) = read_seal_key(path)? {
        return Ok(key);
    }
    make_seal_key(path)?;
    // Read back from disk: if two processes created a key at the same time, both use the one that was published first.
    read_seal_key(path)?.ok_or_else(|| {
        JournalError::SealKey(format!("{} was deleted as soon as it was made", path.display()))
    })
}

fn make_seal_key(path: &Path) -> Result<(), JournalError> {
    let draft = Draft::beside(path)?;
    let text = SealKey::random().to_base64();
    OpenOptions::new()
        .write(true)
        .open(draft.path())
        .and_then(|mut file| file.write_all(text.expose().as_bytes()).and_then(|()| file.write_all(b"\n")))
        .map_err(|error| unavailable(path, "cannot be made", &error))?;
    draft.publish(path)
}

/// The path of a new seal key until the journal is sealed with it.
fn next_seal_key_path(journal: &Path) -> PathBuf {
    journal.with_file_name("seal.key.next")
}

/// Whether a change of the seal key was started and not completed.
pub(super) fn has_next_seal_key(journal: &Path) -> bool {
    next_seal_key_path(journal).exists()
}

/// The key that the journal is about to be sealed with, already on disk; it is created if it is missing.
pub(super) fn next_seal_key(journal: &Path) -> Result<SealKey, JournalError> {
    read_or_make_seal_key(&next_seal_key_path(journal))
}

/// Replaces `seal.key` with `seal.key.next`, durably. Returns the path of `seal.key`.
pub(super) fn publish_next_seal_key(journal: &Path) -> Result<PathBuf, JournalError> {
    let path = seal_key_path(journal);
    fs::rename(next_seal_key_path(journal), &path)
        .and_then(|()| File::open(folder_of(&path)).and_then(|folder| folder.sync_all()))
        .map_err(|error| unavailable(&path, "cannot be replaced", &error))?;
    Ok(path)
}

fn unreadable(path: &Path, what: &str, error: &std::io::Error) -> JournalError {
    JournalError::SealKey(format!("the seal key {} {what}: {error}; nothing was touched", path.display()))
}

fn read_seal_key(path: &Path) -> Result<Option<SealKey>, JournalError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, "cannot be opened", &error)),
    };
    let mode = file.metadata().map_err(|error| unreadable(path, "cannot be read", &error))?.mode();
    if mode & OTHERS != 0 {
        return Err(JournalError::SealKey(format!(
            "the seal key {} can be read by others than its owner (mode {:04o}); nothing was touched; chmod 0600 it, \
             and if somebody may have read it, count the secrets that were sealed with it as known",
            path.display(),
            mode & 0o7777
        )));
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(SEAL_KEY_BYTES_MAX).unwrap_or_default()));
    file.take(SEAL_KEY_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, "cannot be read", &error))?;
    std::str::from_utf8(&bytes)
        .map_err(|_| BadSealKey::NotBase64)
        .and_then(|text| SealKey::from_base64(&Secret::from(text)))
        .map(Some)
        .map_err(|bad| JournalError::SealKey(format!("{}: {bad}; nothing was touched", path.display())))
}

/// The lock that allows only this process to drive rotations with the journal. It is held until the value is dropped.
#[derive(Debug)]
pub(super) struct InstanceLock {
    _held: File,
}

impl InstanceLock {
    /// Takes the lock. If another process holds it, the error names that process.
    pub(super) fn take(journal: &Path, holder: &str) -> Result<InstanceLock, JournalError> {
        let path = beside(journal, ".lock");
        let failed = |error: &io::Error| unavailable(&path, "cannot be locked", error);
        // Not truncated on opening: the file may hold the name of the process that has the lock.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY)
            .open(&path)
            .map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(journal, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{holder}")).map_err(|error| failed(&error))?;
        Ok(InstanceLock { _held: file })
    }
}

fn in_use(journal: &Path, file: &mut File) -> JournalError {
    let mut words = String::new();
    let read = file.take(LOCK_BYTES_MAX).read_to_string(&mut words);
    let holder = match words.trim().rsplit_once(':').filter(|_| read.is_ok()) {
        Some((host, pid)) => format!("process {pid} on {host}"),
        None => "another process".to_owned(),
    };
    JournalError::InUse(format!(
        "the journal {} is in use by {holder}, and only one process may drive rotations; stop it or wait until it is \
         done; status, explain and history work meanwhile",
        journal.display()
    ))
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn unavailable(path: &Path, what: &str, error: &io::Error) -> JournalError {
    JournalError::Unavailable(format!("{} {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_missing_file_counts_as_no_journal_or_no_seal_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal.db");
        assert!(matches!(inspect(&journal), Ok(Found::Nothing)));
        assert!(read_seal_key(&journal).is_ok_and(|found| found.is_none()));
        // Something is at the path, but it cannot be opened.
        symlink(&journal, &journal).expect("a link to itself");
        assert!(matches!(inspect(&journal), Err(JournalError::Unavailable(_))));
        assert!(matches!(read_seal_key(&journal), Err(JournalError::SealKey(_))));
    }

    #[test]
    fn an_empty_wal_file_is_not_part_of_a_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal.db");
        assert!(!has_log(&journal));
        fs::write(beside(&journal, "-wal"), "").expect("written");
        assert!(!has_log(&journal));
        fs::write(beside(&journal, "-wal"), "x").expect("written");
        assert!(has_log(&journal));
    }

    #[test]
    fn a_journal_file_loses_the_permissions_of_group_and_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal.db");
        fs::write(&journal, "").expect("written");
        for (before, after) in [(0o644, 0o600), (0o660, 0o600), (0o600, 0o600), (0o400, 0o400)] {
            fs::set_permissions(&journal, Permissions::from_mode(before)).expect("ours");
            keep_to_owner(&journal).expect("ours");
            let mode = fs::metadata(&journal).expect("there").mode() & 0o777;
            assert_eq!(mode, after, "{before:o}");
        }
    }

    #[test]
    fn a_draft_is_removed_and_never_replaces_an_existing_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = || fs::read_dir(folder.path()).expect("there").count();
        let journal = folder.path().join("journal.db");
        drop(Draft::beside(&journal).expect("a draft"));
        assert_eq!(names(), 0);
        let endless = folder.path().join("x".repeat(300));
        let draft = Draft::beside(&journal).expect("a draft");
        assert!(matches!(draft.publish(&endless), Err(JournalError::Unavailable(_))));
        assert_eq!(names(), 0);
        // If two processes publish, the file of the first one stays.
        fs::write(&journal, "the first").expect("written");
        Draft::beside(&journal).expect("a draft").publish(&journal).expect("it is there");
        assert_eq!(fs::read(&journal).expect("there"), b"the first");
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_bare_file_name_is_in_the_current_directory() {
        assert_eq!(folder_of(Path::new("journal.db")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/journal.db")), Path::new("a"));
    }
}
