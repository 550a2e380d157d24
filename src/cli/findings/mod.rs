//! Findings for other programs: each format in a file of its own, all from the same findings.

pub(crate) mod sarif;
