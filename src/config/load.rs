//! Finds the configuration file and reads it.

use std::env;
use std::path::{Path, PathBuf};

use crate::config::diagnostic::Diagnostics;
use crate::config::file;
use crate::config::settings::Settings;
use crate::config::text::{self, NoText};
use crate::files::trust::{self, Untrusted};

/// The name of the journal's file if neither the configuration nor the service manager gives one.
pub const JOURNAL_NAME: &str = "keyround.db";
/// The path of the configuration if neither the user nor the current folder gives one.
const LAST_PLACE: &str = "/etc/keyround/rotation.toml";

/// Values from the process environment that replace missing settings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Environment {
    /// The first folder of `$STATE_DIRECTORY`, which systemd sets for the files of a service.
    pub state_directory: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Environment {
        let directories = env::var_os("STATE_DIRECTORY").unwrap_or_default();
        // systemd separates several folders with colons, and so does the search path format that `split_paths` reads.
        let state_directory = env::split_paths(&directories).find(|path| !path.as_os_str().is_empty());
        Environment { state_directory }
    }

    /// The path of the journal if the configuration gives none. A relative path starts from the configuration's folder.
    fn journal(&self) -> PathBuf {
        match &self.state_directory {
            Some(directory) => directory.join("journal.db"),
            None => PathBuf::from(JOURNAL_NAME),
        }
    }
}

/// The reason why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no file with that path.
    #[error(
        "there is no configuration {path}; it is looked for at --config, $KEYROUND_CONFIG, ./rotation.toml and {LAST_PLACE}"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file exists and cannot be read.
    #[error("the configuration {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Another user could have written the file, and no person named it.
    #[error("the configuration is not read: {0}")]
    Untrusted(#[from] Untrusted),
    /// The file is not UTF-8 text.
    #[error("the configuration {path} is not UTF-8 text: line {line} has a byte that no text has")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The number of the first line that is not UTF-8, from 1.
        line: usize,
    },
    /// The file is larger than 16 MiB, the limit for a configuration.
    #[error("the configuration {path} is larger than 16 MiB: that is not a configuration")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Diagnostics),
}

/// The path of a configuration, and how it was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Whether a person named this file, on the command line or in `$KEYROUND_CONFIG`. A file that was only found in
    /// the current folder may have been put there by another user.
    pub is_named: bool,
}

/// Finds the configuration: the path on the command line, else `$KEYROUND_CONFIG`, else `./rotation.toml` if it
/// exists, else `/etc/keyround/rotation.toml`.
#[must_use]
pub fn find(explicit: Option<&Path>) -> Found {
    let named = |path: PathBuf| Found { path, is_named: true };
    if let Some(path) = explicit {
        return named(path.to_owned());
    }
    if let Some(path) = env::var_os("KEYROUND_CONFIG").filter(|path| !path.is_empty()) {
        return named(PathBuf::from(path));
    }
    let here = Path::new("rotation.toml");
    let path = if here.exists() { here } else { Path::new(LAST_PLACE) };
    Found { path: path.to_owned(), is_named: false }
}

/// Reads the configuration at a path that a person named.
///
/// # Errors
///
/// The file does not exist, cannot be read, or has mistakes.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    load_found(&Found { path: path.to_owned(), is_named: true })
}

/// Reads the configuration that was found. A file that another user could have written is refused, unless a person
/// named it: then it gives a warning.
///
/// # Errors
///
/// The file does not exist, cannot be read, could have been written by another user, or has mistakes.
pub fn load_found(found: &Found) -> Result<Settings, ConfigError> {
    let path = &found.path;
    let (text, untrusted) = read(path)?;
    let warning = match untrusted {
        Some(untrusted) if !found.is_named => return Err(untrusted.into()),
        untrusted => untrusted
            .map(|why| format!("{why}. A user who can write the configuration can redirect the next keys")),
    };
    let mut settings = parse(&path.display().to_string(), &text, &Environment::of_process())?;
    settings.warnings.extend(warning);
    Ok(settings)
}

/// Parses a configuration from memory. Mistakes name it by `name`; files that it includes are read from the disk.
///
/// # Errors
///
/// Every mistake that it has.
pub fn parse(name: &str, text: &str, environment: &Environment) -> Result<Settings, Diagnostics> {
    file::parse(name, text, environment.journal())
}

/// The text of the file, and the reason not to trust it, if another user could have written it.
fn read(path: &Path) -> Result<(String, Option<Untrusted>), ConfigError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
        _ => ConfigError::Unreadable { path: path.to_owned(), source },
    };
    let file = trust::open_regular(path).map_err(failed)?;
    let untrusted = trust::judge(&file, path).err();
    let text = text::read(file, text::BYTES_MAX).map_err(|why| match why {
        NoText::Unreadable(source) => failed(source),
        NoText::TooLarge => ConfigError::TooLarge { path: path.to_owned() },
        NoText::NotText { line } => ConfigError::NotText { path: path.to_owned(), line },
    })?;
    Ok((text, untrusted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        file
    }

    #[test]
    fn each_kind_of_unusable_configuration_file_has_its_own_error() {
        let missing = load(Path::new("/nonexistent/rotation.toml"));
        assert!(matches!(missing, Err(ConfigError::Missing { .. })));
        assert!(matches!(load(Path::new("/")), Err(ConfigError::Unreadable { .. })));
        let not_text = load(written(b"# one\n# tw\xff\n").path());
        assert!(matches!(not_text, Err(ConfigError::NotText { line: 2, .. })));
        let large = written(&vec![b'\n'; 16 * 1024 * 1024 + 1]);
        assert!(matches!(load(large.path()), Err(ConfigError::TooLarge { .. })));
        let just_so = written(&vec![b'\n'; 16 * 1024 * 1024]);
        assert!(load(just_so.path()).is_ok());
    }

    #[test]
    fn a_world_writable_configuration_is_refused_unless_it_was_named() {
        use std::os::unix::fs::PermissionsExt;

        let file = written(b"");
        let settings = |mode, is_named| {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).expect("a mode");
            load_found(&Found { path: file.path().to_owned(), is_named })
        };
        for is_named in [true, false] {
            let settings = settings(0o644, is_named).expect("settings");
            assert_eq!(settings.warnings.len(), 1, "only that there is no vendor");
        }
        let warnings = settings(0o666, true).expect("settings").warnings;
        assert!(warnings.iter().any(|warning| warning.contains("mode 0666")), "{warnings:?}");
        assert!(matches!(settings(0o666, false), Err(ConfigError::Untrusted(_))));
    }

    #[test]
    fn the_journal_path_follows_the_state_directory_and_the_configuration() {
        let path = |environment: &Environment| parse("x", "", environment).expect("settings").journal.path;
        assert_eq!(path(&Environment::default()), Path::new("keyround.db"));
        let beside =
            parse("/etc/x/rotation.toml", "", &Environment::default()).expect("settings").journal.path;
        assert_eq!(beside, Path::new("/etc/x/keyround.db"));
        let text = "[journal]\nurl = \"sqlite://state/j.db\"\n";
        let beside = parse("/etc/x/rotation.toml", text, &Environment::default()).expect("settings");
        assert_eq!(beside.journal.path, Path::new("/etc/x/state/j.db"));
        let service = Environment { state_directory: Some("/var/lib/keyround".into()) };
        assert_eq!(path(&service), Path::new("/var/lib/keyround/journal.db"));
    }

    #[test]
    fn a_configuration_path_given_as_an_argument_is_used() {
        let found = find(Some(Path::new("/x/y.toml")));
        assert_eq!(found, Found { path: "/x/y.toml".into(), is_named: true });
    }
}
