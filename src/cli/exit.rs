//! Exit codes, and the failures that end a command.

use std::fmt;
use std::process::ExitCode;

use crate::ports::JournalError;

/// The exit codes. They are part of the documented interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Code {
    /// The command succeeded, or nothing was due.
    Fine = 0,
    /// An operation failed or a vendor is stuck; the other vendors continued.
    Failed = 1,
    /// Work is due; only with an option that asks for this code.
    WorkIsDue = 2,
    /// The command line is wrong (sysexits `EX_USAGE`).
    Usage = 64,
    /// The journal or AWS cannot be reached; try again later (sysexits `EX_TEMPFAIL`).
    TryAgain = 75,
    /// The configuration, or the journal's content, is wrong (sysexits `EX_CONFIG`).
    Config = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// Why a command ended before it could do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// The message. It may have several lines, which are already laid out.
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The journal error that caused the failure, if one did.
    pub(crate) journal: Option<JournalError>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: None, journal: None }
    }

    pub(crate) fn hinted(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Failure {
        let code = match &error {
            JournalError::Unusable(_) | JournalError::SealKey(_) => Code::Config,
            JournalError::InUse(_)
            | JournalError::Unavailable(_)
            | JournalError::Conflict { .. }
            | JournalError::AlreadyRotating { .. } => Code::TryAgain,
        };
        let failure = Failure::new(code, error.to_string());
        Failure { journal: Some(error), ..failure }
    }
}

/// The result of a command: its exit code, or the failure that ended it.
pub(crate) type Ended = Result<Code, Failure>;
