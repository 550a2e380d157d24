//! `kind = "command"`: runs a program of the operator, which reads the notification as JSON from its standard input.
//!
//! **Invariant:** the program receives nothing else: only the arguments of the configuration, and of our environment,
//! which may contain secrets, only `PATH`.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::adapters::notify::document::Document;
use crate::adapters::notify::misconfigured;
use crate::core::alert::Notification;
use crate::core::rotation::RefusalCode;
use crate::core::time::{Timestamp, in_words};
use crate::ports::{Answer, Fault, Sink};

/// The `PATH` of the program if our own environment has none.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub(super) struct Program {
    pub(super) command: Vec<String>,
    pub(super) timeout: Duration,
}

#[async_trait]
impl Sink for Program {
    async fn tell(
        &self,
        notification: &Notification,
        _now: Timestamp,
        _holds_until: Timestamp,
    ) -> Answer<()> {
        let document = Document::new(notification).to_json();
        let ran = tokio::time::timeout(self.timeout, self.run(&document)).await;
        ran.unwrap_or_else(|_| {
            let limit = in_words(self.timeout);
            Err(Fault::unknown(format!("{} did not end within {limit} and was killed", self.program()?)))
        })
    }

    async fn probe(&self) -> Answer<String> {
        use std::os::unix::fs::PermissionsExt;

        let program = self.program()?;
        let metadata = tokio::fs::metadata(program).await;
        let metadata = metadata.map_err(|error| misconfigured(format!("{program}: {}", error.kind())))?;
        match metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            true => Ok(format!("{program} is there and can be run")),
            false => Err(misconfigured(format!("{program} is no program"))),
        }
    }
}

impl Program {
    fn program(&self) -> Answer<&String> {
        self.command.first().ok_or_else(|| misconfigured("the command is empty"))
    }

    async fn run(&self, document: &str) -> Answer<()> {
        let program = self.program()?;
        let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
        let mut child = Command::new(program)
            .args(&self.command[1..])
            .env_clear()
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| misconfigured(format!("{program} cannot be run: {}", error.kind())))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read all of its input may still have succeeded, which its exit code tells.
            drop(stdin.write_all(document.as_bytes()).await);
        }
        let ended = child.wait().await;
        let ended = ended.map_err(|error| Fault::unknown(format!("{program} was lost: {}", error.kind())))?;
        match ended.code() {
            Some(0) => Ok(()),
            Some(code) => Err(Fault::refused(RefusalCode::Other, format!("{program} exited with {code}"))),
            None => Err(Fault::unknown(format!("{program} was killed"))),
        }
    }
}
