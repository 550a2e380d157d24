//! Removes the secrets of a request from the text of a response.
//!
//! **Invariant:** no eight consecutive letters and digits of a secret remain, whatever their case and whatever other
//! characters stand between them. If a decoded form of the text contains more of a secret than the text itself, the
//! whole text is dropped. The decoded forms are percent, JSON, HTML and quoted-printable escapes, base64 and
//! hexadecimal digits, also nested in one another.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::core::secret::Secret;

/// This many consecutive letters and digits of a secret are never shown together.
const GRAM: usize = 8;
/// Secrets with fewer letters and digits than this are not searched for, because they would be found in every text.
const SHORTEST: usize = 4;
/// The maximum number of decoded forms of one text that are tried, nested ones included. A text with more is dropped.
const READINGS_MAX: usize = 64;
/// How many encodings, one inside another, are undone.
const DEPTH_MAX: u8 = 3;
/// A run of letters, digits and `/+=_` that is at least this long and has both cases and a digit may be another
/// party's secret.
const RANDOM_MIN: usize = 32;
/// The replacement for each removed part.
const CUT: &str = "[cut]";

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// The secrets of a request, in the form in which texts are searched for them.
#[derive(Default)]
pub(super) struct Redaction {
    /// Every eight consecutive letters and digits of the secrets, in lower case and sorted.
    grams: Zeroizing<Vec<[u8; GRAM]>>,
    /// Secrets with fewer than eight letters and digits, in lower case.
    short: Vec<Zeroizing<Vec<u8>>>,
}

/// A text or a decoded form of it. `known` is the number of letters and digits of secrets that are expected in it;
/// more than that means that the encoding hid something.
struct Reading {
    text: Zeroizing<String>,
    known: usize,
    depth: u8,
}

impl Redaction {
    pub(super) fn of<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Redaction {
        let mut redaction = Redaction::default();
        for secret in secrets {
            let (letters, _) = letters(secret.expose());
            match letters.len() {
                GRAM.. => redaction.grams.extend(letters.windows(GRAM).map(|window| {
                    let mut gram = [0; GRAM];
                    gram.copy_from_slice(window);
                    gram
                })),
                SHORTEST.. => redaction.short.push(letters),
                _ => {}
            }
        }
        redaction.grams.sort_unstable();
        redaction.grams.dedup();
        redaction
    }

    /// The text with the secrets removed. `None` if a secret may be hidden in it by an encoding.
    pub(super) fn cut(&self, text: &str) -> Option<String> {
        let (places, known) = self.found(text);
        (!self.hides_something(text, known)).then(|| without(text, &places))
    }

    /// The same as [`Redaction::cut`], and also removes what looks like another party's secret.
    pub(super) fn cut_with_others(&self, text: &str) -> Option<String> {
        let (mut places, known) = self.found(text);
        mark_random(text, &mut places);
        (!self.hides_something(text, known)).then(|| without(text, &places))
    }

    /// Which bytes of the text belong to a secret, and how many letters and digits of secrets were found.
    fn found(&self, text: &str) -> (Vec<bool>, usize) {
        let (letters, at) = letters(text);
        let mut covered = vec![false; letters.len()];
        for (start, window) in letters.windows(GRAM).enumerate() {
            if self.grams.binary_search_by(|gram| gram.as_slice().cmp(window)).is_ok() {
                covered[start..start + GRAM].fill(true);
            }
        }
        for secret in &self.short {
            for (start, window) in letters.windows(secret.len()).enumerate() {
                if window == secret.as_slice() {
                    covered[start..start + secret.len()].fill(true);
                }
            }
        }
        let mut places = vec![false; text.len()];
        for (index, _) in covered.iter().enumerate().filter(|(_, covered)| **covered) {
            places[at[index]] = true;
            // The characters between two letters of a secret are removed with them.
            if index + 1 < covered.len() && covered[index + 1] {
                places[at[index]..at[index + 1]].fill(true);
            }
        }
        (places, covered.into_iter().filter(|covered| *covered).count())
    }

    fn hides_something(&self, text: &str, known: usize) -> bool {
        let mut readings =
            VecDeque::from([Reading { text: Zeroizing::new(text.to_owned()), known, depth: 0 }]);
        let mut tried = 0;
        while let Some(reading) = readings.pop_front() {
            for next in reading.inner() {
                tried += 1;
                let (_, found) = self.found(&next.text);
                if found > next.known || tried > READINGS_MAX {
                    return true;
                }
                if next.depth < DEPTH_MAX {
                    readings.push_back(next);
                }
            }
        }
        false
    }
}

impl Reading {
    /// The decoded forms of this text: its escapes undone, and its runs of base64 or hexadecimal digits decoded.
    fn inner(&self) -> Vec<Reading> {
        let same =
            [unescaped(&self.text), percent_decoded(&self.text, b'%'), percent_decoded(&self.text, b'=')];
        let same = same.into_iter().chain([html_decoded(&self.text)]);
        let same = same.filter(|text| text.as_str() != self.text.as_str()).map(|text| (text, self.known));
        let hidden = hidden_in(&self.text).into_iter().map(|text| (text, 0));
        let depth = self.depth + 1;
        same.chain(hidden).map(|(text, known)| Reading { text, known, depth }).collect()
    }
}

/// The letters and digits of a text in lower case, and the byte position of each. Every non-ASCII byte counts as a
/// letter.
fn letters(text: &str) -> (Zeroizing<Vec<u8>>, Vec<usize>) {
    let kept = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let at = text.bytes().enumerate().filter(|(_, byte)| kept(byte)).map(|(at, _)| at).collect();
    let letters = text.bytes().filter(kept).map(|byte| byte.to_ascii_lowercase()).collect();
    (Zeroizing::new(letters), at)
}

/// Marks each run of characters that looks like a random secret.
fn mark_random(text: &str, places: &mut [bool]) {
    let mut start = 0;
    for word in text.split(|letter: char| !(letter.is_ascii_alphanumeric() || "/+=_".contains(letter))) {
        if looks_random(word) {
            places[start..start + word.len()].fill(true);
        }
        start += word.len();
        start += text[start..].chars().next().map_or(0, char::len_utf8);
    }
}

/// The text with [`CUT`] in place of each run of marked bytes.
fn without(text: &str, places: &[bool]) -> String {
    let mut shown = String::new();
    let mut is_cut = false;
    for (at, letter) in text.char_indices() {
        let cut = places[at..at + letter.len_utf8()].contains(&true);
        match (cut, is_cut) {
            (true, false) => shown.push_str(CUT),
            (true, true) => {}
            (false, _) => shown.push(letter),
        }
        is_cut = cut;
    }
    shown
}

fn looks_random(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    word.len() >= RANDOM_MIN
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
}

/// The text with the escapes of JSON strings, and `\xNN`, undone wherever they stand.
fn unescaped(text: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut letters = after.chars();
        let kind = letters.next();
        rest = letters.as_str();
        let digits = match kind {
            Some('u') => 4,
            Some('x') => 2,
            _ => 0,
        };
        let code =
            rest.get(..digits).filter(|_| digits > 0).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match (code.and_then(char::from_u32), kind) {
            (Some(letter), _) => {
                plain.push(letter);
                rest = &rest[digits..];
            }
            (None, Some('n' | 'r' | 't')) => plain.push('\n'),
            (None, kind) => plain.extend(kind),
        }
    }
    plain.push_str(rest);
    plain
}

/// The text with percent-encoding undone, or quoted-printable if `mark` is `=`.
fn percent_decoded(text: &str, mark: u8) -> Zeroizing<String> {
    let bytes = text.as_bytes();
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == mark);
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            plain.push(byte);
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    Zeroizing::new(String::from_utf8_lossy(&plain).into_owned())
}

/// The text with HTML character references undone: the numeric ones, and the five common names.
fn html_decoded(text: &str) -> Zeroizing<String> {
    const NAMED: [(&str, char); 5] = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = after.split_once(';').filter(|(name, _)| name.len() <= 8);
        let letter = reference.and_then(|(name, _)| match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok().and_then(char::from_u32),
                None => number.parse().ok().and_then(char::from_u32),
            },
            None => NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, letter)| letter),
        });
        if let (Some(letter), Some((_, after))) = (letter, reference) {
            plain.push(letter);
            rest = after;
        } else {
            plain.push('&');
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

/// The runs of base64 and of hexadecimal digits, decoded from each offset at which they may begin: four for base64,
/// two for hexadecimal. White space does not end a run.
fn hidden_in(text: &str) -> Vec<Zeroizing<String>> {
    let joined: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect());
    let of_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/-_".contains(letter);
    let mut hidden = Vec::new();
    for offset in 0..4 {
        hidden.push(decoded(&joined, of_base64, |run| {
            let run = run.get(offset..)?.replace('-', "+").replace('_', "/");
            // A last group of one letter encodes less than a byte.
            let whole = run.len() - usize::from(run.len() % 4 == 1);
            BASE64.decode(&run[..whole]).ok()
        }));
    }
    for offset in 0..2 {
        hidden.push(decoded(
            &joined,
            |letter| letter.is_ascii_hexdigit(),
            |run| {
                let run = run.get(offset..)?.as_bytes();
                let pairs = run.chunks_exact(2).map(|pair| std::str::from_utf8(pair).ok());
                pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
            },
        ));
    }
    hidden.retain(|text| !text.is_empty());
    hidden
}

/// The printable parts of what `decode` makes of each run of these characters, joined with NUL bytes.
fn decoded(
    text: &str,
    belongs: impl Fn(char) -> bool,
    decode: impl Fn(&str) -> Option<Vec<u8>>,
) -> Zeroizing<String> {
    let mut readable = Zeroizing::new(String::new());
    for run in text.split(|letter| !belongs(letter)).filter(|run| run.len() >= GRAM) {
        let Some(bytes) = decode(run).map(Zeroizing::new) else { continue };
        for part in bytes.split(|byte| !(byte.is_ascii_graphic() || byte.is_ascii_whitespace())) {
            if part.len() >= SHORTEST {
                readable.push_str(&String::from_utf8_lossy(part));
                readable.push('\u{0}');
            }
        }
    }
    readable
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn cut(text: &str) -> Option<String> {
        let secrets = [Secret::from(SECRET), Secret::from("AKIANEW0000000000001"), Secret::from("t0k3n")];
        Redaction::of(&secrets).cut(text)
    }

    #[test]
    fn a_secret_in_plain_text_is_cut() {
        assert_eq!(cut(&format!("bad key {SECRET}, sorry")).as_deref(), Some("bad key [cut], sorry"));
        assert_eq!(cut("AKIANEW0000000000001 is unknown").as_deref(), Some("[cut] is unknown"));
        assert_eq!(cut("who is t0k3n?").as_deref(), Some("who is [cut]?"));
        assert_eq!(cut(&SECRET.to_lowercase()).as_deref(), Some("[cut]"));
        assert_eq!(cut(&SECRET[5..20]).as_deref(), Some("[cut]"));
        assert_eq!(cut("wJal rXUt nFEM I/K7\nMDEN").as_deref(), Some("[cut]"));
        assert_eq!(cut(&SECRET.replace('/', "\\/")).as_deref(), Some("[cut]"));
        assert_eq!(cut("quota exceeded: 5 of 5 keys").as_deref(), Some("quota exceeded: 5 of 5 keys"));
    }

    #[test]
    fn a_text_with_an_encoded_secret_is_withheld() {
        let escapes = |escape: fn(u8) -> String| SECRET.bytes().map(escape).collect::<String>();
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let hidden = [
            SECRET.replace('/', "%2F").replace('+', "%2b"),
            escapes(|byte| format!("%{byte:02X}")),
            escapes(|byte| format!("%25{byte:02x}")),
            escapes(|byte| format!("={byte:02X}")),
            escapes(|byte| format!("\\u{byte:04x}")),
            escapes(|byte| format!("&#{byte};")),
            escapes(|byte| format!("&#x{byte:x};")),
            escapes(|byte| format!("{byte:02x}")),
            escapes(|byte| format!("{byte:02X}")),
            base64(SECRET),
            base64(SECRET).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned(),
            base64(&format!("a{SECRET}")),
            base64(&format!("ab:{SECRET}")),
            base64(&base64(SECRET)),
            base64(&escapes(|byte| format!("%{byte:02X}"))),
            base64(SECRET).replace('R', "R\\n"),
            base64(&SECRET[..20]),
        ];
        for text in hidden {
            assert_eq!(cut(&format!("{{\"error\": \"no {text}\"}}")), None, "{text}");
            let both = format!("{SECRET} {text}");
            assert_eq!(cut(&both), None, "{both}");
        }
    }

    #[test]
    fn a_text_in_the_form_of_an_unknown_secret_is_cut() {
        let others = |text| Redaction::default().cut_with_others(text);
        let shown = others("was AbCdEfGhIjKlMnOpQrStUvWx1234567890+/abcd");
        assert_eq!(shown.as_deref(), Some("was [cut]"));
        let page = "see https://docs.acme.example/errors/forbidden for 123e4567-e89b-12d3-a456-426614174000";
        assert_eq!(others(page).as_deref(), Some(page));
    }
}
