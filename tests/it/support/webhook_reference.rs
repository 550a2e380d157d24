//! Independent implementations of webhook signatures and sealed boxes, called in their own language.

use super::python;

/// Prepares the reference. A message is valid for five minutes only, and the first call may have to wait longer
/// than that.
pub(crate) fn prepare() {
    python::interpreter();
}

/// The answer of the reference to `question`; the script documents the questions.
pub(crate) fn ask(question: &serde_json::Value) -> Result<String, String> {
    python::ask("verify_webhook.py", question)
}
