//! `kind = "http"`, and `verify`: one request made from templates, and the response that it requires.
//!
//! **Invariant:** rendered values are checked again before they are sent: the address must be allowed, and no header
//! may contain a line break.

use url::Url;

use crate::adapters::delivery::attempt::StepOutcome;
use crate::adapters::delivery::auth::{Credentials, Header};
use crate::adapters::delivery::response::{Answered, Finding};
use crate::adapters::delivery::said::{self, Sent};
use crate::adapters::delivery::secret_buffer::SecretBuffer;
use crate::adapters::delivery::template::{Captured, TemplateContext};
use crate::adapters::delivery::{Prepared, Tools, address, answer, auth, body, misconfigured, params};
use crate::adapters::net::target;
use crate::config::settings::{AnswerPlace, HttpStep, NextPage, Pages};
use crate::core::rotation::{RefusalCode, Verification};
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault, Offer, Purpose, RecipePart, Request, Response};

/// Headers that mark where a message ends. A recipe that set one could smuggle a second request into the connection.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Sends step `number`, from 1, and keeps the values of its response that the recipe captures.
pub(super) async fn send(
    tools: &Tools,
    step: &HttpStep,
    number: usize,
    offer: &Offer,
    secret: &Secret,
    captured: &mut Captured,
) -> Answer<StepOutcome> {
    let part = RecipePart::Deliver { step: number - 1 };
    let Some(asked) = ask(tools, step, offer, Some(secret), captured, part).await? else {
        tracing::debug!(vendor.name = %offer.subject.vendor, delivery.step = number, "a step was left out");
        return Ok(StepOutcome::LeftOut);
    };
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.step = number, delivery.host = %asked.answered.host,
        delivery.status = asked.answered.status(), "a step was answered"
    );
    let fault = match asked.finding(tools, step, captured) {
        Ok(Finding::AsExpected) => return Ok(StepOutcome::Done),
        // One value of a pair may have been written all the same, and the write of the other value depends on that.
        Ok(Finding::Differs { held: _, sentence }) if step.writes.is_some() => Fault::unknown(sentence),
        Ok(Finding::Differs { held: _, sentence }) => Fault::refused(RefusalCode::VendorRefused, sentence),
        // The vendor has already processed the request. A mistake in our own template does not tell whether it
        // accepted it.
        Err(fault) if step.changes && is_misconfigured(&fault) => Fault::unknown(fault.sentence()),
        Err(fault) => fault,
    };
    Err(asked.with_answer(fault))
}

fn is_misconfigured(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(refusal) if refusal.code == RefusalCode::Misconfigured)
}

/// Asks the vendor which key is in force. If the step's `when` excludes it from this delivery, the result is only
/// `Acceptance`: the vendor was not asked.
pub(super) async fn verify(
    tools: &Tools,
    step: &HttpStep,
    number: usize,
    offer: &Offer,
    captured: &mut Captured,
) -> Answer<Verification> {
    let part = RecipePart::Verify { step: number };
    let Some(asked) = ask(tools, step, offer, None, captured, part).await? else {
        return Ok(Verification::Acceptance);
    };
    let host = asked.answered.host.clone();
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.host = %host,
        delivery.status = asked.answered.status(), "the vendor was asked which key is in force"
    );
    let (held, sentence) = match asked.finding(tools, step, captured) {
        Ok(Finding::AsExpected) => return Ok(Verification::Asked),
        Ok(Finding::Differs { held, sentence }) => (held, sentence),
        Err(fault) => return Err(asked.with_answer(fault)),
    };
    let sentence = match held {
        Some(held) => {
            let held = shown_as_key_id(&held);
            format!("{host} answers that {held} is in force, not {}", offer.access_key_id)
        }
        None => sentence,
    };
    Err(asked.with_answer(Fault::refused(RefusalCode::NotInForce, sentence)))
}

/// Sends a probe, which changes nothing. Returns the host if its response is as expected, or `None` if `when`
/// excludes the step.
pub(super) async fn probe(
    tools: &Tools,
    step: &HttpStep,
    number: usize,
    offer: &Offer,
    captured: &mut Captured,
) -> Answer<Option<String>> {
    let part = RecipePart::Probe { step: number };
    let Some(asked) = ask(tools, step, offer, None, captured, part).await? else { return Ok(None) };
    let host = asked.answered.host.clone();
    match asked.finding(tools, step, captured) {
        Ok(Finding::AsExpected) => Ok(Some(host)),
        Ok(Finding::Differs { held: _, sentence }) => {
            Err(asked.with_answer(Fault::refused(RefusalCode::VendorRefused, sentence)))
        }
        Err(fault) => Err(asked.with_answer(fault)),
    }
}

/// A step that was sent and answered with an accepted status.
struct Asked {
    answered: Answered,
    words: TemplateContext,
    equals: Option<Secret>,
    sent: Sent,
}

impl Asked {
    fn finding(&self, tools: &Tools, step: &HttpStep, captured: &mut Captured) -> Answer<Finding> {
        finding(tools, step, &self.answered, &self.words, self.equals.as_ref(), captured)
    }

    fn with_answer(&self, fault: Fault) -> Fault {
        self.sent.with_answer(fault, self.answered.last())
    }
}

/// Compares the response with what the step expects, and captures values from it if it is as expected.
fn finding(
    tools: &Tools,
    step: &HttpStep,
    answered: &Answered,
    words: &TemplateContext,
    equals: Option<&Secret>,
    captured: &mut Captured,
) -> Answer<Finding> {
    let found = answered.plain_finding(tools, step, words, equals)?;
    if let Finding::Differs { .. } = found {
        return Ok(found);
    }
    // Judge before capturing: a rejection may lack the values to capture, and then the recipe's own sentence explains
    // more than a missing value does.
    let judged = answered.judged(tools, step, words)?;
    if let Finding::AsExpected = judged {
        answered.capture(tools, step, words, captured)?;
    }
    Ok(judged)
}

/// Checks the `sample` of a step against what the step expects of a response, and captures from it the values that
/// later steps need. `None` if the step has no sample.
pub(super) fn try_sample(
    tools: &Tools,
    step: &HttpStep,
    words: &TemplateContext,
    captured: &mut Captured,
) -> Option<Answer<()>> {
    let sample = step.sample.as_ref()?;
    Some(hold_sample(tools, step, sample, words, captured))
}

/// The sample with the names of its members rendered, because a name may contain a parameter.
fn named(tools: &Tools, sample: &serde_json::Value, words: &TemplateContext) -> Answer<serde_json::Value> {
    use serde_json::Value as Json;
    Ok(match sample {
        Json::Object(fields) => {
            let named = fields.iter().map(|(name, value)| {
                let name = tools.render("sample", name, words)?.expose().to_owned();
                Ok((name, named(tools, value, words)?))
            });
            Json::Object(named.collect::<Answer<_>>()?)
        }
        Json::Array(items) => {
            Json::Array(items.iter().map(|item| named(tools, item, words)).collect::<Answer<_>>()?)
        }
        Json::String(_) | Json::Number(_) | Json::Bool(_) | Json::Null => sample.clone(),
    })
}

fn hold_sample(
    tools: &Tools,
    step: &HttpStep,
    sample: &serde_json::Value,
    words: &TemplateContext,
    captured: &mut Captured,
) -> Answer<()> {
    let mut body = SecretBuffer::new();
    body::write_json(tools, &named(tools, sample, words)?, words, &mut body)?;
    let status = step.expect.status.first().copied().unwrap_or(200);
    let headers = step.capture.values().filter_map(|capture| match &capture.place {
        AnswerPlace::Header(name) => Some((name.clone(), "1".to_owned())),
        AnswerPlace::Pointer(_) | AnswerPlace::Document(_) | AnswerPlace::Search { .. } => None,
    });
    let response = Response { status, headers: headers.collect(), body: body.into_secret() };
    let answered = Answered::new("the sample".to_owned(), response);
    let equals = equals(tools, step, words)?;
    match finding(tools, step, &answered, words, equals.as_ref(), captured)? {
        Finding::AsExpected => Ok(()),
        Finding::Differs { .. } => Err(misconfigured(
            "the step's sample does not meet the step's own expect; correct one of the two",
        )),
    }
}

/// Makes the request of a step, sends it, and reads all pages of the response. `None` if `when` excludes the step.
async fn ask(
    tools: &Tools,
    step: &HttpStep,
    offer: &Offer,
    secret: Option<&Secret>,
    captured: &Captured,
    part: RecipePart,
) -> Answer<Option<Asked>> {
    let purpose = Purpose { subject: offer.subject.clone(), part };
    let words = TemplateContext::new(offer, secret, &params::read(tools, step).await?, captured);
    if !wanted(tools, step, &words)? {
        return Ok(None);
    }
    let credentials = auth::credentials(tools, step, &words, offer.now).await?;
    let request = request(tools, step, &words, captured)?;
    let equals = equals(tools, step, &words)?;
    let header = credentials.header(tools, &purpose, offer.now).await?;
    let target = request.target.clone();
    let secrets = header.as_ref().map(said::secrets_of).unwrap_or_default();
    let sent = Sent::new(&step.method, target.path(), &words, &secrets);
    let response = send_one(tools, &purpose, request, header.as_ref()).await?;
    let mut answered = Answered::new(target::host_of(&target), response);
    answer::accepted(&answered.host, answered.last(), &step.expect.status, offer.now)
        .map_err(|fault| sent.with_answer(fault, answered.last()))?;
    if let Some(pages) = &step.pages {
        let reading = Reading {
            tools,
            step,
            offer,
            words: &words,
            purpose: &purpose,
            header: header.as_ref(),
            sent: &sent,
        };
        reading.rest(&mut answered, &target, pages).await?;
    }
    Ok(Some(Asked { answered, words, equals, sent }))
}

/// Whether the step runs in this delivery: its `when` is missing, or renders to something other than an empty text or
/// `false`.
pub(super) fn wanted(tools: &Tools, step: &HttpStep, words: &TemplateContext) -> Answer<bool> {
    let Some(source) = &step.when else { return Ok(true) };
    let said = tools.render("when", source, words)?;
    Ok(!matches!(said.expose().trim(), "" | "false" | "False"))
}

async fn send_one(
    tools: &Tools,
    purpose: &Purpose,
    mut request: Prepared,
    header: Option<&Header>,
) -> Answer<Response> {
    add_header(&mut request.ready.headers, header.cloned())?;
    tools.egress.send(purpose, request.ready).await
}

/// What is needed to read the pages of a response after the first.
struct Reading<'a> {
    tools: &'a Tools,
    step: &'a HttpStep,
    offer: &'a Offer,
    words: &'a TemplateContext,
    purpose: &'a Purpose,
    header: Option<&'a Header>,
    sent: &'a Sent,
}

impl Reading<'_> {
    /// Reads the following pages, up to the bound of the recipe. It reads all of them, because a second match on a
    /// later page must not be missed.
    async fn rest(&self, answered: &mut Answered, first: &Url, pages: &Pages) -> Answer<()> {
        let mut here = first.clone();
        while let Some(next) = next_page(answered, &here, first, &pages.next, self.step)? {
            if answered.pages() >= pages.max {
                let sentence = format!("{} has more than {} pages of answers", answered.host, pages.max);
                return Err(Fault::refused(RefusalCode::VendorRefused, sentence));
            }
            let mut request = request(self.tools, self.step, self.words, &Captured::new())?;
            request.ready.url = Secret::from(next.as_str());
            here = next;
            let response = send_one(self.tools, self.purpose, request, self.header).await?;
            answer::accepted(&answered.host, &response, &self.step.expect.status, self.offer.now)
                .map_err(|fault| self.sent.with_answer(fault, &response))?;
            answered.add_page(response);
        }
        Ok(())
    }
}

/// The address of the page after this one, if there is one. The response chooses the page, but never the host.
fn next_page(
    answered: &Answered,
    here: &Url,
    first: &Url,
    next: &NextPage,
    step: &HttpStep,
) -> Answer<Option<Url>> {
    let url = match next {
        NextPage::Address(pointer) => answered.last_text_at(pointer)?.map(|text| here.join(text.expose())),
        NextPage::LinkHeader => answered.next_link().map(|text| here.join(text)),
        NextPage::Token { pointer, parameter } => {
            let token = answered.last_text_at(pointer)?.filter(|token| !token.expose().is_empty());
            token.map(|token| Ok(with_parameter(first, parameter, token.expose())))
        }
    };
    let Some(url) = url else { return Ok(None) };
    let next = url.ok().and_then(|url| address::next_page(&url, first, step).ok());
    next.map(Some).ok_or_else(|| {
        let sentence =
            format!("{} names a next page that does not have the same scheme, host and port", answered.host);
        Fault::refused(RefusalCode::VendorRefused, sentence)
    })
}

fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let mut next = url.clone();
    let others = url.query_pairs().filter(|(other, _)| other != name);
    next.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    next
}

/// Builds the request without its credentials. Sends nothing.
pub(super) fn request(
    tools: &Tools,
    step: &HttpStep,
    words: &TemplateContext,
    captured: &Captured,
) -> Answer<Prepared> {
    let target = address::render(tools, "the url", &step.url, step, words)?;
    let mut headers = Vec::new();
    for (name, value) in &step.headers {
        let value = tools.render(&format!("the header {name}"), value, words)?;
        add_header(&mut headers, Some((name.to_ascii_lowercase(), value)))?;
    }
    // A recipe leaves an optional header out by rendering it to an empty value.
    headers.retain(|(_, value)| !value.expose().is_empty());
    let (body, content_type) = body::body(tools, &step.body, words, captured)?;
    let has_type = headers.iter().any(|(name, _)| name == "content-type");
    if let (Some(content_type), false) = (content_type, has_type) {
        headers.push(("content-type".to_owned(), Secret::from(content_type)));
    }
    let url = Secret::from(target.as_str());
    let ready = Request { method: step.method.clone(), url, headers, body, timeout: step.timeout };
    Ok(Prepared { target, ready })
}

/// The value that the response must contain (`expect.equals`), rendered. `None` if the step requires no value.
pub(super) fn equals(tools: &Tools, step: &HttpStep, words: &TemplateContext) -> Answer<Option<Secret>> {
    let equals = step.expect.equals.as_deref();
    equals.map(|source| tools.render("expect.equals", source, words)).transpose()
}

fn add_header(headers: &mut Vec<Header>, header: Option<Header>) -> Answer<()> {
    let Some((name, value)) = header else { return Ok(()) };
    if FRAMING.contains(&name.as_str()) {
        return Err(misconfigured(format!("the header {name} is reserved")));
    }
    let is_printable = |char| matches!(char, ' '..='~');
    if !value.expose().chars().all(is_printable) {
        return Err(misconfigured(format!("the header {name} would contain more than printable ASCII")));
    }
    headers.retain(|(other, _)| *other != name);
    headers.push((name, value));
    Ok(())
}

/// The addresses that a step contacts: the token endpoint, if its credentials need one, and its own. Sends nothing.
pub(super) fn targets(credentials: &Answer<Credentials>, request: &Prepared) -> Vec<Url> {
    let token = match credentials {
        Ok(Credentials::Token(token)) => Some(token.0.target.clone()),
        Ok(Credentials::Nothing | Credentials::Header(_)) | Err(_) => None,
    };
    token.into_iter().chain([request.target.clone()]).collect()
}

/// The value that a vendor reports as its key, as a sentence may show it. It is shown only if it certainly is an
/// access key id, because a wrong pointer in the recipe may lead to the secret.
fn shown_as_key_id(held: &Secret) -> &str {
    let text = held.expose();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    match text.starts_with("AKIA") && (16..=24).contains(&text.len()) && is_plain {
        true => text,
        false => "another value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_value_in_the_form_of_a_key_id_is_shown() {
        let shown = |text: &str| shown_as_key_id(&Secret::from(text)).to_owned();
        assert_eq!(shown("AKIAIOSFODNN7EXAMPLE"), "AKIAIOSFODNN7EXAMPLE");
        for other in ["", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIA", "AKIAlower00000000000"] {
            assert_eq!(shown(other), "another value");
        }
    }

    #[test]
    fn a_header_value_cannot_inject_another_header() {
        let mut headers = Vec::new();
        let mut add =
            |name: &str, value: &str| add_header(&mut headers, Some((name.to_owned(), Secret::from(value))));
        assert_eq!(add("x-key", "a b~"), Ok(()));
        for bad in ["a\r\nx: y", "a\nb", "a\0", "\u{7f}", "ü", "a\tb"] {
            assert!(add("x-key", bad).is_err(), "{bad:?}");
        }
        assert!(add("content-length", "0").is_err());
        assert!(add("transfer-encoding", "chunked").is_err());
        assert_eq!(add("x-key", "later"), Ok(()));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_page_token_replaces_the_previous_one_in_the_url() {
        let url = Url::parse("https://a.example/x?owner=1&page-token=a").expect("a URL");
        let next = with_parameter(&url, "page-token", "b&c");
        assert_eq!(next.as_str(), "https://a.example/x?owner=1&page-token=b%26c");
    }
}
