//! The part of a vendor's response that is kept for the operator when it is not an acceptance.
//!
//! **Invariant:** the body of a successful response is not kept, because it may contain what the vendor stores, such
//! as the old pair. The body of a response to a question is not kept either: the secret of the new pair is not
//! available there, so it could not be removed from the text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::adapters::delivery::auth::Header;
use crate::adapters::delivery::redaction::Redaction;
use crate::adapters::delivery::template::TemplateContext;
use crate::core::rotation::{Doubt, Refusal, VendorAnswer};
use crate::core::secret::Secret;
use crate::ports::{Fault, Response};

/// The maximum length of the kept text of a response, in characters.
const WORDS_MAX: usize = 300;
/// The maximum length of the kept path of a request, in characters.
const PATH_MAX: usize = 200;
/// The maximum length of the part of a body that is looked at, in bytes.
const BODY_MAX: usize = 4096;
/// How many bytes at the end of the examined part of a longer body are dropped, because a secret may be cut off there
/// and not be recognized.
const TAIL: usize = 64;

/// A request that was sent: what is reported of it, and the secrets that must be removed from its response.
pub(super) struct Sent {
    method: String,
    /// The path of the URL. `None` for a webhook, whose address may be a secret.
    path: Option<Secret>,
    secrets: Vec<Secret>,
    /// Whether the secret of the new pair is among `secrets`.
    knows_pair: bool,
}

impl Sent {
    /// The request of a webhook, which contains these secrets.
    pub(super) fn webhook(secrets: &[&Secret]) -> Sent {
        let secrets = secrets.iter().map(|secret| (*secret).clone()).collect();
        Sent { method: "POST".to_owned(), path: None, secrets, knows_pair: true }
    }

    /// A request that was made with these template variables, and that also contains the secrets `others`.
    pub(super) fn new(method: &str, path: &str, words: &TemplateContext, others: &[Secret]) -> Sent {
        let secrets = words.secrets().iter().chain(others).cloned().collect();
        let path = Some(Secret::from(path));
        Sent { method: method.to_owned(), path, secrets, knows_pair: words.know_pair() }
    }

    /// Adds to the fault what the vendor answered.
    pub(super) fn with_answer(&self, fault: Fault, response: &Response) -> Fault {
        let said = Some(Box::new(self.said(response)));
        match fault {
            Fault::Refused(refusal) => Fault::Refused(Refusal { said, ..refusal }),
            Fault::Unknown(doubt) => Fault::Unknown(Doubt { said, ..doubt }),
        }
    }

    fn said(&self, response: &Response) -> VendorAnswer {
        let redaction = Redaction::of(&self.secrets);
        let path = self.path.as_ref().map(|path| {
            let path = redaction.cut(path.expose());
            path.map_or_else(|| "[cut]".to_owned(), |path| one_line(&path, PATH_MAX))
        });
        let status = response.status;
        let are_kept = self.knows_pair && !(200..300).contains(&status);
        let words = are_kept.then(|| words(&redaction, response.body.expose())).flatten();
        VendorAnswer { method: self.method.clone(), path, status, words }
    }
}

fn words(redaction: &Redaction, body: &str) -> Option<String> {
    let read = match body.len() {
        0..=BODY_MAX => body,
        _ => &body[..body.floor_char_boundary(BODY_MAX - TAIL)],
    };
    let words = one_line(&redaction.cut_with_others(read)?, WORDS_MAX);
    (!words.is_empty()).then_some(words)
}

/// The secrets of an authentication header: its value without the scheme, and the password in it if it is a Basic
/// one.
pub(super) fn secrets_of(header: &Header) -> Vec<Secret> {
    let (_, value) = header;
    let token = value.expose().split_once(' ').map_or(value.expose(), |(_, token)| token);
    let pair = BASE64.decode(token).ok().and_then(|pair| String::from_utf8(pair).ok()).map(Secret::new);
    let password = pair.as_ref().and_then(|pair| pair.expose().split_once(':')).map(|(_, password)| password);
    [Some(token), password].into_iter().flatten().map(Secret::from).collect()
}

/// The beginning of a text, on one line, without characters that move the cursor, change the writing direction, or
/// are invisible.
fn one_line(text: &str, chars_max: usize) -> String {
    let is_unseen = |letter: char| {
        matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    let plain = text.chars().map(|letter| match letter {
        '"' => '\'',
        letter if letter.is_control() || letter.is_whitespace() => ' ',
        letter if is_unseen(letter) => '\u{fffd}',
        letter => letter,
    });
    let plain: String = plain.collect();
    let line = plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", line[..line.floor_char_boundary(end - 1)].trim_end()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::adapters::delivery::message::tests::offer;
    use crate::adapters::delivery::template::{Captured, Params};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn sent(secret: Option<&Secret>) -> Sent {
        let words = TemplateContext::new(&offer(), secret, &Params::default(), &Captured::new());
        Sent::new("PUT", &format!("/v1/keys/{SECRET}/x"), &words, &[])
    }

    fn said(status: u16, body: &str) -> VendorAnswer {
        let response = Response { status, headers: BTreeMap::new(), body: Secret::from(body) };
        sent(Some(&Secret::from(SECRET))).said(&response)
    }

    #[test]
    fn an_answer_text_is_kept_only_if_the_request_had_the_secret() {
        let response = Response { status: 403, headers: BTreeMap::new(), body: Secret::from("no") };
        assert_eq!(sent(None).said(&response).words, None);
        assert_eq!(said(403, "no").words.as_deref(), Some("no"));
    }

    #[test]
    fn a_refusal_text_is_kept_on_one_line_and_a_success_text_is_dropped() {
        let body = "{\n  \"error\":\t\"quota\u{1b}[31m exceeded\u{202e}\"\r\n}";
        let kept = said(403, body);
        assert_eq!(kept.words.as_deref(), Some("{ 'error': 'quota [31m exceeded\u{fffd}' }"));
        assert_eq!(kept.path.as_deref(), Some("/v1/keys/[cut]/x"));
        assert_eq!(said(200, body).words, None);
        assert_eq!(said(403, " \n ").words, None);
    }

    #[test]
    fn an_answer_text_is_bounded_and_a_secret_at_the_limit_is_cut_whole() {
        for before in 0..400 {
            let words = said(500, &format!("{}{SECRET} and more", "é".repeat(before))).words.expect("words");
            assert!(words.chars().count() <= WORDS_MAX && !words.contains("wJalr"), "{words}");
        }
        for before in BODY_MAX - TAIL - 60..BODY_MAX + 10 {
            // Most of the body before it is a secret and is cut, so the end of the examined part is within the kept
            // length.
            let most = SECRET.repeat(before / SECRET.len());
            let before = before - most.len();
            let body = format!("{}{most}{SECRET} and more", ".".repeat(before));
            let words = said(500, &body).words.expect("words");
            assert!(!words.contains("wJalr") && !words.contains("KEY"), "{words}");
        }
    }

    #[test]
    fn the_secrets_of_a_header_are_its_token_and_its_password() {
        let of = |value: &str| {
            let header = ("authorization".to_owned(), Secret::from(value));
            secrets_of(&header).iter().map(|secret| secret.expose().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("Bearer t0ken"), ["t0ken"]);
        assert_eq!(of("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ["QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "open sesame"]);
        assert_eq!(of("t0ken"), ["t0ken"]);
    }
}
