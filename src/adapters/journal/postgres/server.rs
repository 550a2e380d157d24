//! The PostgreSQL server of a journal: its address, TLS, time limits, and its errors in words.
//!
//! **Invariant:** no message and no debug output contains the password of the URL.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::str::FromStr as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, raw_sql};
use url::Url;

use crate::adapters::journal::failure::{Failure, Operation};
use crate::core::secret::Secret;
use crate::ports::JournalError;

/// The time limit of name resolution, connection, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit of one operation on this side. It is longer than each limit of the server below, so that the server
/// normally answers first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// The settings of each connection. `idle_in_transaction_session_timeout` frees the row lock of a process that was
/// stopped inside a transaction; the keepalives end the session of a machine that is gone.
const SESSION: &str = "SET statement_timeout = '30s'; \
     SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '20s'; \
     SET tcp_keepalives_idle = 10; \
     SET tcp_keepalives_interval = 5; \
     SET tcp_keepalives_count = 3; \
     SET default_transaction_isolation = 'read committed'; \
     SET search_path = pg_catalog, pg_temp; \
     SET standard_conforming_strings = on; \
     SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') IN ('off', 'local')";
const READ_ONLY: &str = "SET default_transaction_read_only = on";
/// The parameters that the URL may have.
const PARAMETERS: [&str; 9] =
    ["host", "port", "dbname", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// A server, and the database there that holds the journal.
pub(super) struct Server {
    options: PgConnectOptions,
    /// The URL without user, password and parameters, for messages.
    name: String,
    password: Option<Secret>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Server {
    /// Reads the URL. Without `sslmode`, the server's certificate and host name are verified; only a Unix socket and a
    /// loopback address may be without TLS then. Without `sslrootcert`, the certificate authorities of the operating
    /// system are trusted.
    pub(super) fn from_url(text: &Secret) -> Result<Server, JournalError> {
        // Errors of the parsers are not repeated: they may contain parts of the URL.
        let bad = |what: &str| {
            JournalError::Unavailable(format!("the url of [journal] {what}; nothing was touched"))
        };
        let text = text.expose().trim();
        let url = Url::parse(text).map_err(|_| bad("is not a URL such as postgres://user@host/database"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(bad("does not begin with postgres:// or postgresql://"));
        }
        let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
        if let Some((key, _)) = url.query_pairs().find(|(key, _)| !PARAMETERS.contains(&&**key)) {
            let known = PARAMETERS.join(", ");
            return Err(bad(&format!(
                "has the unknown parameter {:?}; known are {known}",
                key.escape_debug().to_string()
            )));
        }
        let mode = parameter("sslmode");
        if mode.as_ref().is_some_and(|mode| PgSslMode::from_str(mode).is_err()) {
            return Err(bad("has an unknown sslmode: verify-full, verify-ca, require, prefer or disable"));
        }
        let mut options = PgConnectOptions::from_str(text)
            .map_err(|_| bad("is not a URL that PostgreSQL knows, such as postgres://user@host/database"))?
            .application_name("keyround")
            .disable_statement_logging();
        let is_socket = options.get_socket().is_some();
        if mode.is_none() {
            let default = match (is_socket, is_loopback(options.get_host())) {
                (true, _) => PgSslMode::Disable,
                (false, true) => PgSslMode::Prefer,
                (false, false) => PgSslMode::VerifyFull,
            };
            options = options.ssl_mode(default);
        }
        let verifies = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa);
        let has_roots = parameter("sslrootcert").is_some() || std::env::var_os("PGSSLROOTCERT").is_some();
        if verifies && !has_roots {
            options = options.ssl_root_cert_from_pem(roots_of_the_system());
        }
        let database = options.get_database().unwrap_or(options.get_username());
        let name = match options.get_socket() {
            Some(folder) => format!("postgres://{}:{}/{database}", folder.display(), options.get_port()),
            None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
        };
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = url.password().map(decoded).or(parameter("password").map(Cow::into_owned));
        let password = password.filter(|password| !password.is_empty()).map(Secret::new);
        Ok(Server { options, name, password })
    }

    /// Connects, and makes the settings of the session.
    pub(super) async fn connect(&self, read_only: bool) -> Result<PgConnection, Failure> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            raw_sql(SESSION).execute(&mut connection).await?;
            if read_only {
                raw_sql(READ_ONLY).execute(&mut connection).await?;
            }
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(out_of_time(CONNECT_TIMEOUT)),
        }
    }

    pub(super) fn in_words(&self, failure: Failure, doing: Operation) -> JournalError {
        let error = match failure {
            Failure::Judged(error) => return error,
            Failure::Database(error) => error,
        };
        let (done, safe) = doing.words();
        let why = self.without_password(&in_words(&error));
        if is_damage(&error) {
            return JournalError::Unusable(format!(
                "the journal {self} is damaged, or another program changed it ({why}){safe}; restore it from a backup"
            ));
        }
        JournalError::Unavailable(format!("the journal {self} could not be {done}: {why}{safe}"))
    }

    fn without_password(&self, text: &str) -> String {
        match &self.password {
            Some(password) => text.replace(password.expose(), "…"),
            None => text.to_owned(),
        }
    }

    pub(super) fn unusable(&self, what: &str) -> Failure {
        Failure::Judged(JournalError::Unusable(format!("the journal {self} {what}; nothing was touched")))
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificate authorities of the operating system, as PEM. One that the TLS library cannot read is left out,
/// because it would make every connection fail.
fn roots_of_the_system() -> Vec<u8> {
    let mut pem = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        if RootCertStore::empty().add(certificate.clone()).is_ok() {
            let text = STANDARD.encode(&certificate);
            writeln!(pem, "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----")
                .expect("writing to a string does not fail");
        }
    }
    if pem.is_empty() {
        tracing::warn!(
            "no certificate authorities were found on this machine: no database server will be trusted"
        );
    }
    pem.into_bytes()
}

/// Waits for an operation, for at most [`ANSWER_TIMEOUT`]. A connection whose operation ran out of time must not be used
/// again.
pub(super) async fn answered<T, E: Into<Failure>>(
    operation: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_TIMEOUT, operation).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(out_of_time(ANSWER_TIMEOUT)),
    }
}

fn out_of_time(limit: Duration) -> Failure {
    let why = format!("the server did not answer within {} s", limit.as_secs());
    Failure::Database(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
}

/// Whether this failure ends the connection. The effect of the last statement is then unknown.
pub(super) fn is_lost(failure: &Failure) -> bool {
    match failure {
        Failure::Judged(_) | Failure::Database(sqlx::Error::RowNotFound) => false,
        Failure::Database(error) => match error.as_database_error() {
            Some(error) => !matches!(
                error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity),
                Some(PgSeverity::Error)
            ),
            None => !matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)),
        },
    }
}

/// The five characters of PostgreSQL's error code.
fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether a statement of keyround found something else than keyround writes.
fn is_damage(error: &sqlx::Error) -> bool {
    if let Some(code) = code(error) {
        // Not 42501: a missing privilege. The others of class 42 are missing tables, columns and functions; 23 are
        // violated constraints, XX is internal damage, P0 comes from a trigger.
        return code != "42501" && ["42", "23", "XX", "P0"].iter().any(|class| code.starts_with(class));
    }
    matches!(error, sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))
}

fn in_words(error: &sqlx::Error) -> String {
    let said = match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => String::new(),
    };
    match (code(error).as_deref(), error) {
        (Some("57014"), _) => "the database did not finish a statement in time; try again".to_owned(),
        (Some("55P03"), _) => {
            "another process is writing to it and did not let go in time; try again".to_owned()
        }
        (Some("25006"), _) => "the database is read-only, as a standby is".to_owned(),
        (Some("42501"), _) => format!("the database user lacks a privilege ({said})"),
        (Some(code), _) if code.starts_with("28") => format!("the server refused the login ({said})"),
        (Some("3D000"), _) => format!("the server has no such database ({said})"),
        (Some(code), _) => format!("the server answered with an error ({said}, {code})"),
        (None, sqlx::Error::Io(error)) => format!("the server cannot be reached ({error})"),
        (None, sqlx::Error::Tls(error)) => {
            format!("TLS with the server failed ({error}); see sslmode and sslrootcert of the url")
        }
        (None, sqlx::Error::RowNotFound) => "a row is missing".to_owned(),
        (None, error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        Server::from_url(&Secret::from(url)).expect("a URL").options.get_ssl_mode()
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_the_url_says_otherwise() {
        assert!(matches!(mode("postgres://keyround@db.example/keyround"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgresql://keyround@127.0.0.1/keyround"), PgSslMode::Prefer));
        assert!(matches!(mode("postgres://keyround@[::1]/keyround"), PgSslMode::Prefer));
        assert!(matches!(mode("postgres:///keyround?host=/run/postgresql"), PgSslMode::Disable));
        assert!(matches!(mode("postgres://a@db.example/b?sslmode=disable"), PgSslMode::Disable));
        assert!(matches!(mode("postgres://a@127.0.0.1/b?sslmode=verify-full"), PgSslMode::VerifyFull));
    }

    #[test]
    fn a_bad_url_is_refused_without_its_password() {
        for bad in [
            "postgres://u:canary@db.example/k?sslmode=canary",
            "postgres://u:canary@db.example/k?application=canary",
            "postgres://u:canary@db.example:port/k",
            "mysql://u:canary@db.example/k",
            "canary",
        ] {
            let refused = Server::from_url(&Secret::from(bad)).expect_err(bad).to_string();
            assert!(!refused.contains("canary"), "{refused}");
        }
        let server = Server::from_url(&Secret::from("postgres://u:can%41ry@db.example/k")).expect("a URL");
        assert_eq!(server.to_string(), "postgres://db.example:5432/k");
        assert!(!format!("{server:?}").contains("canAry"));
        assert_eq!(server.without_password("a canAry sings"), "a … sings");
    }
}
