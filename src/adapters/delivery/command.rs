//! `kind = "command"`: a program on this machine that delivers a key to a vendor, or asks the vendor for its key.
//!
//! The program receives the message as JSON on its standard input. Its exit code is the result, and its standard
//! output may contain values to compare or to capture.
//!
//! **Invariant:** the pair is in no argument and in no environment variable. The program's standard error is logged
//! only if it contains no part of a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde_json::Value;

use crate::adapters::delivery::message::{Message, Payload, message_id};
use crate::adapters::delivery::template::{Captured, CapturedValue, Params, TemplateContext};
use crate::adapters::delivery::{Tools, response};
use crate::config::settings::CommandStep;
use crate::core::rotation::{RefusalCode, Verification};
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault, Finished, Offer, Program, Purpose, RecipePart};

/// The exit code for success.
const ACCEPTED: i32 = 0;
/// The exit code for a refusal, which means that certainly nothing was done. No shell and no well-known tool ends
/// with this number by itself. Every other end may have done something, also that of a script that failed half-way.
pub const REFUSED: i32 = 113;
/// The maximum number of characters of the standard error that are logged. The end is kept, because the last lines
/// explain the most.
const COMPLAINT_CHARS_MAX: usize = 500;
/// A text that has this many consecutive characters in common with a secret is treated as containing a part of it.
const SHARED_CHARS: usize = 10;
/// A shorter captured value is not treated as a secret. It is more likely the number of a site or of a version.
const SECRET_CHARS_MIN: usize = 8;

/// Runs step `number`, from 1, and captures the values that the step names from the program's output.
pub(super) async fn deliver(
    tools: &Tools,
    step: &CommandStep,
    number: usize,
    offer: &Offer,
    secret: &Secret,
    captured: &mut Captured,
) -> Answer<()> {
    let id = message_id(offer, number);
    let message = Message {
        offer,
        payload: Payload::Secret(secret),
        id: Some(&id),
        captured: Some(captured),
        encrypt_to: step.encrypt_to.as_ref(),
    };
    let words = TemplateContext::new(offer, Some(secret), &Params::default(), captured);
    let purpose = Purpose { subject: offer.subject.clone(), part: RecipePart::Deliver { step: number - 1 } };
    let input = message.into_json()?;
    let mut secrets = vec![secret];
    secrets.extend(captured.values().map(CapturedValue::text));
    let said = run(tools, step, purpose, input, &words, &secrets).await?;
    if !said.is_as_expected(step)? {
        let sentence = format!("{}, but its output has another value than expected", said.end);
        return Err(Fault::refused(RefusalCode::VendorRefused, sentence));
    }
    said.capture(step, captured)
}

/// Runs a program that asks the vendor which key is in force.
pub(super) async fn verify(
    tools: &Tools,
    step: &CommandStep,
    number: usize,
    offer: &Offer,
    captured: &mut Captured,
) -> Answer<Verification> {
    let message =
        Message { offer, payload: Payload::Question, id: None, captured: Some(captured), encrypt_to: None };
    let words = TemplateContext::new(offer, None, &Params::default(), captured);
    let purpose = Purpose { subject: offer.subject.clone(), part: RecipePart::Verify { step: number } };
    let key = &offer.access_key_id;
    let other = |end: &str| {
        Fault::refused(RefusalCode::NotInForce, format!("{end}: another key is in force, not {key}"))
    };
    let secrets: Vec<&Secret> = captured.values().map(CapturedValue::text).collect();
    let said = match run(tools, step, purpose, message.into_json()?, &words, &secrets).await {
        Err(Fault::Refused(refusal)) if refusal.code == RefusalCode::VendorRefused => {
            return Err(other(&refusal.sentence));
        }
        said => said?,
    };
    match said.is_as_expected(step)? {
        true => said.capture(step, captured).map(|()| Verification::Asked),
        false => Err(other(&said.end)),
    }
}

/// The name of the program in sentences: the last part of its path.
pub(super) fn named(step: &CommandStep) -> &str {
    let path = step.argv.first().map_or("", String::as_str);
    path.rsplit('/').next().unwrap_or(path)
}

async fn run(
    tools: &Tools,
    step: &CommandStep,
    purpose: Purpose,
    input: Secret,
    words: &TemplateContext,
    secrets: &[&Secret],
) -> Answer<Said> {
    let equals = step.expect.equals.as_deref();
    let equals = equals.map(|source| tools.render("expect.equals", source, words)).transpose()?;
    let program = Program { argv: &step.argv, input, timeout: step.timeout };
    let Finished { code, output, complaint } = tools.programs.run(&purpose, program).await?;
    pass_on(named(step), &purpose, &complaint, secrets);
    let end = match code {
        Some(code) => format!("{} ended with exit code {code}", named(step)),
        None => format!("{} was ended by a signal", named(step)),
    };
    match code {
        Some(ACCEPTED) => Ok(Said { end, output, equals }),
        Some(REFUSED) => Err(Fault::refused(RefusalCode::VendorRefused, end)),
        Some(_) | None => Err(Fault::unknown(format!("{end}; it may have done something"))),
    }
}

/// Logs the standard error of a program for the operator. If it contains a part of a secret, only that fact is
/// logged.
fn pass_on(name: &str, purpose: &Purpose, complaint: &Secret, secrets: &[&Secret]) {
    let text = complaint.expose().trim();
    if text.is_empty() {
        return;
    }
    let vendor = &purpose.subject.vendor;
    if secrets.iter().any(|secret| shares_a_part(text, secret)) {
        tracing::warn!(vendor.name = %vendor, "{name} wrote a part of a secret to its standard error; it is not repeated");
        return;
    }
    let start = text.char_indices().rev().nth(COMPLAINT_CHARS_MAX).map_or(0, |(at, _)| at);
    tracing::info!(vendor.name = %vendor, "{name} wrote to its standard error: {:?}", &text[start..]);
}

/// Whether the text contains a part of the secret, unencoded or in base64.
fn shares_a_part(text: &str, secret: &Secret) -> bool {
    if secret.expose().len() < SECRET_CHARS_MIN {
        return false;
    }
    // The base64 form of a secret inside a longer text depends on its offset modulo 3, so all three forms are
    // searched for.
    let forms =
        ["", "-", "--"].map(|before| Secret::new(BASE64.encode(format!("{before}{}", secret.expose()))));
    let exact = std::iter::once(secret.expose());
    let mut pieces = exact.chain(forms.iter().map(Secret::expose)).flat_map(pieces);
    pieces.any(|piece| text.contains(piece))
}

/// All pieces of [`SHARED_CHARS`] bytes of a text. A shorter text is one piece.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let whole = (text.len() < SHARED_CHARS).then_some(text);
    let windows =
        (0..(text.len() + 1).saturating_sub(SHARED_CHARS)).filter_map(|at| text.get(at..at + SHARED_CHARS));
    whole.into_iter().chain(windows)
}

/// The result of a program that ended with exit code 0.
struct Said {
    end: String,
    output: Secret,
    equals: Option<Secret>,
}

impl Said {
    fn is_as_expected(&self, step: &CommandStep) -> Answer<bool> {
        let Some(pointer) = &step.expect.pointer else { return Ok(true) };
        let document = self.document()?;
        let Some(value) = document.pointer(pointer) else { return Err(self.nothing_at(pointer)) };
        Ok(self.equals.as_ref().is_none_or(|expected| response::text_of(value).as_ref() == Some(expected)))
    }

    fn capture(&self, step: &CommandStep, captured: &mut Captured) -> Answer<()> {
        if step.capture.is_empty() {
            return Ok(());
        }
        let document = self.document()?;
        for (name, pointer) in &step.capture {
            let value = document.pointer(pointer).and_then(response::text_of);
            captured
                .insert(name.clone(), CapturedValue::Text(value.ok_or_else(|| self.nothing_at(pointer))?));
        }
        Ok(())
    }

    fn document(&self) -> Answer<Value> {
        let document = serde_json::from_str(self.output.expose());
        document.map_err(|_| {
            Fault::unknown(format!("{}, but its output is not the JSON that was expected", self.end))
        })
    }

    fn nothing_at(&self, pointer: &str) -> Fault {
        let sentence = format!("{}, but its output has no value at {pointer:?}", self.end);
        Fault::refused(RefusalCode::VendorRefused, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_secret_is_detected_in_plain_text_and_in_base64() {
        let secret = Secret::from("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let inside = base64::engine::general_purpose::STANDARD.encode(format!("user:{}", secret.expose()));
        for text in [secret.expose(), "… lrXUtnFEMI/K7 …", "YEXAMPLEKEY", &inside] {
            assert!(shares_a_part(text, &secret), "{text}");
        }
        for text in ["", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtn", "curl: (7) Failed to connect to acme.example"] {
            assert!(!shares_a_part(text, &secret), "{text}");
        }
        assert!(shares_a_part("x hunter22 y", &Secret::from("hunter22")));
        for short in ["", "7", "v2"] {
            assert!(!shares_a_part("7 v2 anything", &Secret::from(short)));
        }
    }
}
