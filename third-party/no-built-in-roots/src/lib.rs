//! An empty list of certificate authorities, in place of the one that the crate webpki-roots has.

/// No authority.
pub const TLS_SERVER_ROOTS: &[pki_types::TrustAnchor<'static>] = &[];
