//! Reads secrets from the five kinds of places that a [`SecretRef`] can name.
//!
//! A secret is read each time it is needed and is not kept, so a replaced secret takes effect at its next use.
//!
//! **Invariant:** a sentence names the reference and the problem, and contains nothing of the value.
//!
//! **Invariant:** a `file:` secret that other users can access is refused, because its content is not secret.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use serde_json::Value;
use tokio::sync::OnceCell;
use zeroize::{Zeroize, Zeroizing};

use crate::adapters::aws::throttling::ThrottlingCounter;
use crate::adapters::aws::{AwsSession, is_plain};
use crate::config::SecretRef;
use crate::core::secret::Secret;
use crate::files::trust;
use crate::ports::SecretSource;

mod clean;

/// The maximum size of a secret, in bytes, which is also the maximum of Secrets Manager.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The permission bits of the group and of all other users.
const FOREIGN_BITS: u32 = 0o077;

/// The source of secrets. It reads the environment, files, systemd credentials, Secrets Manager and Parameter Store.
#[derive(Debug)]
pub struct Secrets {
    session: Arc<AwsSession>,
    credentials_directory: Option<PathBuf>,
    manager: OnceCell<aws_sdk_secretsmanager::Client>,
    ssm: OnceCell<aws_sdk_ssm::Client>,
}

impl Secrets {
    /// Prepares the source. It calls AWS only when a reference names a secret there.
    #[must_use]
    pub fn new(session: &Arc<AwsSession>) -> Secrets {
        Secrets {
            session: Arc::clone(session),
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            manager: OnceCell::new(),
            ssm: OnceCell::new(),
        }
    }

    /// The same source, which reads credentials from `directory` instead of `$CREDENTIALS_DIRECTORY`.
    #[must_use]
    pub fn with_credentials_in(self, directory: PathBuf) -> Secrets {
        Secrets { credentials_directory: Some(directory), ..self }
    }

    /// The path of a systemd credential. Its mode is not checked, because systemd gives the directory to this service
    /// alone.
    fn credential(&self, name: &str) -> Result<PathBuf, String> {
        match &self.credentials_directory {
            Some(directory) => Ok(directory.join(name)),
            None => Err("$CREDENTIALS_DIRECTORY is not set; systemd sets it for LoadCredential".to_owned()),
        }
    }

    async fn secrets_manager(&self) -> &aws_sdk_secretsmanager::Client {
        let build = || async {
            let sdk = self.session.sdk().await;
            let mut config =
                aws_sdk_secretsmanager::config::Builder::from(sdk).interceptor(ThrottlingCounter);
            if let Some(url) = self.session.endpoint_url() {
                config = config.endpoint_url(url);
            }
            aws_sdk_secretsmanager::Client::from_conf(config.build())
        };
        self.manager.get_or_init(build).await
    }

    async fn ssm(&self) -> &aws_sdk_ssm::Client {
        let build = || async {
            let sdk = self.session.sdk().await;
            let mut config = aws_sdk_ssm::config::Builder::from(sdk).interceptor(ThrottlingCounter);
            if let Some(url) = self.session.endpoint_url() {
                config = config.endpoint_url(url);
            }
            aws_sdk_ssm::Client::from_conf(config.build())
        };
        self.ssm.get_or_init(build).await
    }

    async fn read_secrets_manager(&self, id: &str, pointer: Option<&str>) -> Result<Secret, String> {
        let request = self.secrets_manager().await.get_secret_value().secret_id(id);
        let answer = Box::pin(request.send()).await.map_err(|error| no_answer(&error))?;
        let text = answer.secret_string.ok_or("it is binary; keyround's secrets are text")?;
        let whole = Secret::new(text);
        match pointer {
            None => Ok(whole),
            Some(pointer) => at_pointer(&whole, pointer),
        }
    }

    async fn read_ssm(&self, name: &str) -> Result<Secret, String> {
        let request = self.ssm().await.get_parameter().name(name).with_decryption(true);
        let answer = Box::pin(request.send()).await.map_err(|error| no_answer(&error))?;
        let value = answer.parameter.and_then(|parameter| parameter.value);
        value.map(Secret::new).ok_or_else(|| "AWS answered without a value".to_owned())
    }

    async fn read(&self, reference: &SecretRef) -> Result<Secret, String> {
        match reference {
            SecretRef::Env(name) => from_environment(name),
            SecretRef::File(path) => from_file(path, true),
            SecretRef::Credential(name) => from_file(&self.credential(name)?, false),
            SecretRef::SecretsManager { id, pointer } => {
                self.read_secrets_manager(id, pointer.as_deref()).await
            }
            SecretRef::Ssm(name) => self.read_ssm(name).await,
        }
    }
}

#[async_trait]
impl SecretSource for Secrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, String> {
        let secret = self.read(reference).await.and_then(|secret| clean::cleaned(&secret));
        secret.map_err(|why| format!("{reference}: {why}"))
    }
}

fn from_environment(name: &str) -> Result<Secret, String> {
    match std::env::var(name) {
        Ok(text) => Ok(Secret::new(text)),
        Err(std::env::VarError::NotPresent) => Err("the environment has no such variable".to_owned()),
        Err(std::env::VarError::NotUnicode(_)) => Err("it is not UTF-8 text".to_owned()),
    }
}

/// Reads a file. If `is_judged`, the file is refused unless no other user can access it or could have written it.
fn from_file(path: &Path, is_judged: bool) -> Result<Secret, String> {
    let unopened = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidInput => "it is not a regular file".to_owned(),
        kind => format!("it cannot be opened: {kind}"),
    };
    let file = trust::open_regular(path).map_err(unopened)?;
    let metadata = file.metadata().map_err(unopened)?;
    if is_judged {
        private(&metadata)?;
        trust::judge(&file, path).map_err(|untrusted| untrusted.to_string())?;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity(&metadata)));
    let read = file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("it cannot be read: {}", error.kind()))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("it is longer than {} KiB", SECRET_BYTES_MAX / 1024));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok(Secret::from(text))
}

/// A capacity that holds the whole file with room to spare, so that the buffer does not grow and leave a partial copy
/// in memory.
fn capacity(metadata: &Metadata) -> usize {
    usize::try_from(metadata.len().min(SECRET_BYTES_MAX) + 2).unwrap_or_default()
}

fn private(metadata: &Metadata) -> Result<(), String> {
    let mode = metadata.mode() & 0o7777;
    if mode & FOREIGN_BITS == 0 {
        return Ok(());
    }
    Err(format!("it can be used by others (mode {mode:04o}); make it 0600: chmod 600"))
}

fn at_pointer(whole: &Secret, pointer: &str) -> Result<Secret, String> {
    // serde_json's message can quote the text, so it is not repeated.
    let mut document: Value =
        serde_json::from_str(whole.expose()).map_err(|_| "the secret is not a JSON document".to_owned())?;
    let found = match document.pointer(pointer) {
        Some(Value::String(text)) => Ok(Secret::from(text.as_str())),
        Some(_) => Err(format!("what stands at {pointer} is not a text")),
        None => Err(format!("nothing stands at {pointer}")),
    };
    wipe(&mut document);
    found
}

/// Wipes the texts of the document, so that no copy stays in memory.
fn wipe(document: &mut Value) {
    match document {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The sentence for a failed AWS call: the error code, or the kind of failure. The messages of AWS and of the SDK are
/// not repeated, because they can quote the request.
fn no_answer<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata,
{
    match error {
        SdkError::ServiceError(answer) => match answer.err().code() {
            Some("ResourceNotFoundException" | "ParameterNotFound") => "AWS has no such secret".to_owned(),
            Some("AccessDeniedException") => "the rotator may not read it (AccessDeniedException)".to_owned(),
            Some(code) if is_plain(code) => format!("AWS refused: {code}"),
            Some(_) | None => "AWS's answer cannot be read".to_owned(),
        },
        SdkError::TimeoutError(_) => "AWS did not answer in time".to_owned(),
        SdkError::DispatchFailure(_) => "AWS was not reached, or the rotator has no credentials".to_owned(),
        _ => "AWS gave no answer that can be believed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::settings::AwsSettings;

    const CANARY: &str = "canary-b1d";

    #[tokio::test]
    async fn a_variable_is_read_and_a_missing_one_is_named() {
        let path = std::env::var("PATH").expect("every process has one");
        assert_eq!(resolve("env:PATH", None).await, Ok(Secret::new(path)));
        let missing = resolve("env:KEYROUND_TEST_NO_SUCH_VARIABLE", None).await;
        let sentence = missing.expect_err("there is none");
        assert_eq!(sentence, "env:KEYROUND_TEST_NO_SUCH_VARIABLE: the environment has no such variable");
    }

    #[tokio::test]
    async fn only_the_trailing_newline_of_a_secret_file_is_removed() {
        for (written, read) in [("a b\n", "a b"), ("a\r\n", "a"), ("a", "a"), ("a\"b", "a\"b")] {
            let file = secret_file(written.as_bytes(), 0o600);
            let reference = format!("file:{}", file.path().display());
            assert_eq!(resolve(&reference, None).await, Ok(Secret::from(read)), "{written:?}");
        }
    }

    #[tokio::test]
    async fn a_secret_file_with_permissions_for_group_or_others_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let file = secret_file(CANARY.as_bytes(), mode);
            let sentence = refused(&format!("file:{}", file.path().display()), None).await;
            assert!(sentence.contains(&format!("mode {mode:04o}")), "{sentence}");
        }
    }

    #[tokio::test]
    async fn a_secret_file_must_be_a_bounded_regular_text_file() {
        let bound = usize::try_from(SECRET_BYTES_MAX).expect("it fits");
        let full = secret_file(&vec![b'a'; bound], 0o600);
        assert!(resolve(&format!("file:{}", full.path().display()), None).await.is_ok());
        let long = secret_file(&vec![b'a'; bound + 1], 0o600);
        assert!(
            refused(&format!("file:{}", long.path().display()), None).await.contains("longer than 64 KiB")
        );
        let binary = secret_file(&[0xff, 0xfe], 0o600);
        assert!(refused(&format!("file:{}", binary.path().display()), None).await.contains("UTF-8"));
        let empty = secret_file(b"\n", 0o600);
        assert!(refused(&format!("file:{}", empty.path().display()), None).await.contains("empty"));
        assert!(refused("file:/dev/zero", None).await.contains("not a regular file"));
        assert!(refused("file:/nowhere/at-all", None).await.contains("cannot be opened"));
    }

    #[tokio::test]
    async fn a_world_readable_systemd_credential_is_read_from_its_directory() {
        let file = secret_file(b"value\n", 0o444);
        let (directory, name) =
            (file.path().parent(), file.path().file_name().and_then(|name| name.to_str()));
        let reference = format!("credential:{}", name.expect("a name"));
        assert_eq!(resolve(&reference, directory).await, Ok(Secret::from("value")));
        assert!(refused("credential:no-such", directory).await.contains("cannot be opened"));
    }

    #[test]
    fn a_json_pointer_gives_a_text_or_an_error_without_the_secret() {
        let whole = Secret::from(r#"{"token":"canary-b1d","list":["x"],"number":7}"#);
        assert_eq!(at_pointer(&whole, "/token"), Ok(Secret::from(CANARY)));
        assert_eq!(at_pointer(&whole, "/list/0"), Ok(Secret::from("x")));
        for (text, pointer) in [(whole.expose(), "/nowhere"), (whole.expose(), "/number"), (CANARY, "/token")]
        {
            let sentence = at_pointer(&Secret::from(text), pointer).expect_err("no text there");
            assert!(!sentence.contains(CANARY), "{sentence}");
        }
    }

    async fn resolve(reference: &str, credentials: Option<&Path>) -> Result<Secret, String> {
        let mut secrets = Secrets::new(&Arc::new(AwsSession::new(&AwsSettings::default())));
        if let Some(directory) = credentials {
            secrets = secrets.with_credentials_in(directory.to_owned());
        }
        secrets.resolve(&reference.parse().expect("a reference")).await
    }

    async fn refused(reference: &str, credentials: Option<&Path>) -> String {
        let sentence = resolve(reference, credentials).await.expect_err("a refusal");
        assert!(sentence.starts_with(reference) && !sentence.contains(CANARY), "{sentence}");
        sentence
    }

    fn secret_file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), content).expect("it is written");
        std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).expect("its mode is set");
        file
    }
}
