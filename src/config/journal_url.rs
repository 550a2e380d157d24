//! `[journal] url`: where the journal is.

use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::config::SecretRef;

/// Where a journal is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JournalUrl {
    /// `sqlite://PATH`: a SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Database(DatabaseUrl),
}

/// The URL of a PostgreSQL database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DatabaseUrl {
    /// A URL without a password.
    Plain(String),
    /// A reference to the URL, which may have a password.
    Referred(SecretRef),
}

/// Why a text is not the URL of a journal. The text may hold a password, so the error does not repeat it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadJournalUrl {
    /// It is neither a file, nor a database, nor a reference.
    #[error(
        "the journal's url is not sqlite:// and the path of a file, and not the postgres:// URL of a database"
    )]
    Unknown,
    /// It begins as the URL of a database, and the rest is none.
    #[error("the journal's url begins with postgres:// and is not the URL of a database")]
    NotAUrl,
    /// It has a password.
    #[error("the journal's url has a password, and a secret is never written here")]
    Password,
    /// It begins as a reference to a secret, and is none.
    #[error("the journal's url is not a complete reference to a secret")]
    Reference,
}

const REFERENCES: [&str; 5] = ["env:", "file:", "credential:", "secretsmanager:", "ssm:"];

impl FromStr for JournalUrl {
    type Err = BadJournalUrl;

    fn from_str(text: &str) -> Result<JournalUrl, BadJournalUrl> {
        if REFERENCES.iter().any(|start| text.starts_with(start)) {
            let reference = text.parse().map_err(|_| BadJournalUrl::Reference)?;
            return Ok(JournalUrl::Database(DatabaseUrl::Referred(reference)));
        }
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return database(text).map(JournalUrl::Database);
        }
        let path = text.strip_prefix("sqlite://").ok_or(BadJournalUrl::Unknown)?;
        let is_file = !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '#', '\0']);
        if is_file { Ok(JournalUrl::File(PathBuf::from(path))) } else { Err(BadJournalUrl::Unknown) }
    }
}

fn database(text: &str) -> Result<DatabaseUrl, BadJournalUrl> {
    // The password is looked for in the text too: a URL that cannot be parsed may have one.
    let url = Url::parse(text).map_err(|_| match text.contains('@') {
        true => BadJournalUrl::Password,
        false => BadJournalUrl::NotAUrl,
    })?;
    if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
        return Err(BadJournalUrl::Password);
    }
    let is_hierarchy = text.contains("://") && url.fragment().is_none();
    if is_hierarchy { Ok(DatabaseUrl::Plain(text.to_owned())) } else { Err(BadJournalUrl::NotAUrl) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_journal_names_a_file_a_database_or_a_secret() {
        let parsed = |text: &str| text.parse::<JournalUrl>();
        assert_eq!(parsed("sqlite:///var/j.db"), Ok(JournalUrl::File("/var/j.db".into())));
        for plain in ["postgres://k@db.example/k", "postgresql:///k?host=/run/postgresql&sslmode=disable"] {
            assert_eq!(parsed(plain), Ok(JournalUrl::Database(DatabaseUrl::Plain(plain.to_owned()))));
        }
        let reference = SecretRef::Credential("journal".to_owned());
        let database = JournalUrl::Database(DatabaseUrl::Referred(reference));
        assert_eq!(parsed("credential:journal"), Ok(database));
        for (text, why) in [
            ("postgres://k:canary@db.example/k", BadJournalUrl::Password),
            ("postgres://k:canary@db.example:x/k", BadJournalUrl::Password),
            ("postgres://db.example/k?password=canary", BadJournalUrl::Password),
            ("postgres:canary", BadJournalUrl::NotAUrl),
            ("credential:", BadJournalUrl::Reference),
            ("mysql://db.example/k", BadJournalUrl::Unknown),
            ("sqlite://", BadJournalUrl::Unknown),
        ] {
            assert_eq!(parsed(text), Err(why), "{text}");
            assert!(!why.to_string().contains("canary"));
        }
    }
}
