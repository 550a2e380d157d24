//! Reading a file of the configuration as text, of bounded length.

use std::fs::File;
use std::io::{self, Read as _};

/// The largest configuration, all its files together: 10,000 vendors are a third of this.
pub(super) const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a file is no text.
#[derive(Debug)]
pub(super) enum NoText {
    /// What the system says.
    Unreadable(io::Error),
    /// It is longer than was allowed.
    TooLarge,
    /// It is not UTF-8; the first such line, from 1.
    NotText { line: usize },
}

/// The text of a file that is no longer than this many bytes.
///
/// # Errors
///
/// It cannot be read, or is no such text.
pub(super) fn read(file: File, bytes_max: u64) -> Result<String, NoText> {
    let mut bytes = Vec::new();
    // One byte more than is allowed tells too large from just large enough.
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(NoText::Unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(NoText::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        NoText::NotText { line: good.split(|byte| *byte == b'\n').count() }
    })
}
