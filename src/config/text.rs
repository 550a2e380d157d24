//! Reads a file of the configuration as text, up to a maximal length.

use std::fs::File;
use std::io::{self, Read as _};

/// The largest configuration, in bytes, with all its files. One with 10,000 vendors has a third of this.
pub(super) const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The reason why a file could not be read as text.
#[derive(Debug)]
pub(super) enum NoText {
    /// The operating system reported this error.
    Unreadable(io::Error),
    /// The file is longer than allowed.
    TooLarge,
    /// The file is not UTF-8. `line` is the number of the first line that is not, from 1.
    NotText { line: usize },
}

/// Reads the text of a file of at most `bytes_max` bytes.
///
/// # Errors
///
/// The file cannot be read, is longer, or is not UTF-8.
pub(super) fn read(file: File, bytes_max: u64) -> Result<String, NoText> {
    let mut bytes = Vec::new();
    // Reading one byte more than allowed shows whether the file is too large.
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(NoText::Unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(NoText::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        NoText::NotText { line: good.split(|byte| *byte == b'\n').count() }
    })
}
