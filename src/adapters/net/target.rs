//! Which addresses a request may be sent to. They are checked after rendering, because a template can render to any
//! address.

use std::net::IpAddr;

use url::{Host, Url};

/// Whether `http://` to a host other than this machine is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Plaintext {
    /// `allow_plaintext = true`: to any host.
    Allowed,
    /// Only to loopback addresses.
    LoopbackOnly,
}

impl Plaintext {
    pub(crate) fn from_setting(allow_plaintext: bool) -> Plaintext {
        match allow_plaintext {
            true => Plaintext::Allowed,
            false => Plaintext::LoopbackOnly,
        }
    }
}

/// Why an address is not used. The message does not repeat the address, which may contain a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BadTarget {
    #[error("the address is not a URL with a host")]
    NoUrl,
    #[error("the address contains white space or control characters")]
    ControlCharacters,
    #[error("the address names a user or a password; use auth instead")]
    UserInfo,
    #[error("the address is neither https nor http")]
    Scheme,
    #[error(
        "the host of the address depends on a secret, on an answer or on the key; it has to stand in the recipe"
    )]
    MovingHost,
    #[error(
        "a value of an answer, or a secret, would change the path or the parameters of the address; write \
         {{{{ … | urlencode }}}} in the recipe, and ask the vendor what it sent"
    )]
    MovingPath,
    #[error("the address is http and leaves this machine; use https, or set allow_plaintext = true")]
    Plaintext,
}

impl From<BadTarget> for String {
    fn from(bad: BadTarget) -> String {
        bad.to_string()
    }
}

/// Parses an address and checks that a request may be sent to it.
pub(crate) fn checked(text: &str, plaintext: Plaintext) -> Result<Url, BadTarget> {
    // The URL parser silently removes tabs and line breaks, so they are looked for first.
    if text.chars().any(|char| char.is_control() || char.is_whitespace()) {
        return Err(BadTarget::ControlCharacters);
    }
    let url = Url::parse(text).map_err(|_| BadTarget::NoUrl)?;
    if url.host().is_none() {
        return Err(BadTarget::NoUrl);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadTarget::UserInfo);
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if plaintext == Plaintext::Allowed || is_loopback(&url) => Ok(url),
        "http" => Err(BadTarget::Plaintext),
        _ => Err(BadTarget::Scheme),
    }
}

/// Whether a connection to the host of this URL stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// The host of the URL, as sentences name it.
pub(crate) fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("the vendor").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, BadTarget>) {
        let host = checked(text, Plaintext::LoopbackOnly).map(|url| host_of(&url));
        assert_eq!(host.as_deref(), expected.as_ref().copied(), "{text}");
    }

    #[test]
    fn plain_http_is_refused_outside_loopback_unless_it_is_allowed() {
        check("https://hooks.acme.example/aws", Ok("hooks.acme.example"));
        check("http://127.0.0.1:80/x", Ok("127.0.0.1"));
        check("http://localhost/x", Ok("localhost"));
        check("http://[::1]:8080/x", Ok("[::1]"));
        check("http://hooks.acme.example/aws", Err(BadTarget::Plaintext));
        check("http://127.0.0.1.acme.example/", Err(BadTarget::Plaintext));
        check("http://10.0.0.1/", Err(BadTarget::Plaintext));
        check("ftp://127.0.0.1/", Err(BadTarget::Scheme));
        assert!(checked("http://hooks.acme.example/", Plaintext::Allowed).is_ok());
    }

    #[test]
    fn an_address_with_user_info_or_control_characters_is_refused() {
        check("https://user@acme.example/", Err(BadTarget::UserInfo));
        check("https://user:pw@acme.example/", Err(BadTarget::UserInfo));
        check("https://acme.example/\r\nx: y", Err(BadTarget::ControlCharacters));
        check("https://acme.example/a b", Err(BadTarget::ControlCharacters));
        check("acme.example/aws", Err(BadTarget::NoUrl));
        check("https://", Err(BadTarget::NoUrl));
        check("", Err(BadTarget::NoUrl));
    }
}
