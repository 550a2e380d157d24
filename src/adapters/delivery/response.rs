//! The content of a response: whether it is as expected, and the values that are captured for later steps.
//!
//! **Invariant:** if several items of a list match, none is taken, because a program must not guess which one is
//! meant.

use minijinja::value::{Serde, Value as Word};
use serde_json::Value;

use crate::adapters::delivery::template::{Captured, CapturedValue, TemplateContext, missing_in_answer};
use crate::adapters::delivery::{Tools, misconfigured};
use crate::config::settings::{AnswerPlace, Capture, HttpStep};
use crate::core::rotation::RefusalCode;
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault, Response};

/// The result of comparing a response with what the step expects.
pub(super) enum Finding {
    AsExpected,
    Differs {
        /// The value that was found in place of the expected one, if a value was found.
        held: Option<Secret>,
        /// The meaning of the difference for the operator, without the value.
        sentence: String,
    },
}

/// The pages of a response; at least one.
pub(super) struct Answered {
    pub(super) host: String,
    responses: Vec<Response>,
}

impl Answered {
    pub(super) fn new(host: String, response: Response) -> Answered {
        Answered { host, responses: vec![response] }
    }

    pub(super) fn add_page(&mut self, response: Response) {
        self.responses.push(response);
    }

    pub(super) fn pages(&self) -> u32 {
        u32::try_from(self.responses.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn status(&self) -> u16 {
        self.first().status
    }

    fn first(&self) -> &Response {
        &self.responses[0]
    }

    pub(super) fn last(&self) -> &Response {
        &self.responses[self.responses.len() - 1]
    }

    /// The text at a JSON pointer of the last page. `None` if no text, number or boolean is there.
    pub(super) fn last_text_at(&self, pointer: &str) -> Answer<Option<Secret>> {
        Ok(self.document(self.last())?.pointer(pointer).and_then(text_of))
    }

    /// The URL in the `Link` header whose relation is `next` (RFC 8288).
    pub(super) fn next_link(&self) -> Option<&str> {
        let links = self.last().headers.get("link")?.split(',');
        links.into_iter().find_map(|link| {
            let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
            parameters.split(';').any(is_next).then_some(address)
        })
    }

    /// Checks `expect.absent` (pointers that must lead to nothing) and the expected value of the response.
    pub(super) fn plain_finding(
        &self,
        tools: &Tools,
        step: &HttpStep,
        words: &TemplateContext,
        equals: Option<&Secret>,
    ) -> Answer<Finding> {
        let expect = &step.expect;
        if !expect.absent.is_empty() {
            let document = self.document(self.first())?;
            let stands =
                |pointer: &&String| document.pointer(pointer).is_some_and(|value| !is_nothing(value));
            if let Some(pointer) = expect.absent.iter().find(stands) {
                let sentence = format!("has something at {pointer:?}, where nothing should be");
                return Ok(self.differs(step, None, &sentence));
            }
        }
        let whole = AnswerPlace::Pointer(String::new());
        let place = match (&expect.place, equals) {
            (Some(place), _) => place,
            (None, Some(_)) => &whole,
            (None, None) => return Ok(Finding::AsExpected),
        };
        let found = match place {
            // Anything at the pointer that is not a text counts as another value, and not as missing.
            AnswerPlace::Pointer(pointer) => self.document(self.first())?.pointer(pointer).map(any),
            AnswerPlace::Document(_) | AnswerPlace::Header(_) | AnswerPlace::Search { .. } => {
                self.at(tools, place, words)?
            }
        };
        Ok(match (found, equals) {
            (None, _) => return Err(self.nothing_at(place)),
            (Some(_), None) => Finding::AsExpected,
            (Some(CapturedValue::Text(text)), Some(expected)) if text == *expected => Finding::AsExpected,
            (Some(other), Some(_)) => {
                let held = match other {
                    CapturedValue::Text(text) => text,
                    CapturedValue::Document(_) => Secret::from(""),
                };
                self.differs(step, Some(held), &format!("has another value {} than expected", shown(place)))
            }
        })
    }

    /// Checks the recipe's own predicate, `expect.that`.
    pub(super) fn judged(&self, tools: &Tools, step: &HttpStep, words: &TemplateContext) -> Answer<Finding> {
        let Some(source) = &step.expect.that else { return Ok(Finding::AsExpected) };
        let document = self.document(self.first())?;
        let words = words.with("answer", Word::from(Serde(document)));
        let unusable = |problem: &str| {
            let (host, status) = (&self.host, self.status());
            misconfigured(format!(
                "{host} answered {status}, and whether that is an acceptance is not known: {problem}; correct the template, \
                 or let it ask first whether there is such a value (is defined)"
            ))
        };
        let said = tools.render("expect.that", source, &words);
        if said.as_ref().is_ok_and(|said| matches!(said.expose().trim(), "true" | "True")) {
            return Ok(Finding::AsExpected);
        }
        match (&missing_in_answer(source, &words)[..], said) {
            ([], Ok(_)) => Ok(self.differs(step, None, "does not match expect.that")),
            ([], Err(fault)) => Err(unusable(fault.sentence())),
            (missing, _) => {
                let names = missing.join(", ");
                Err(unusable(&format!(
                    "the template of expect.that speaks of {names}, which has no value there"
                )))
            }
        }
    }

    /// Captures the values that the step names. A default replaces a value that the response does not have.
    pub(super) fn capture(
        &self,
        tools: &Tools,
        step: &HttpStep,
        words: &TemplateContext,
        captured: &mut Captured,
    ) -> Answer<()> {
        for (name, Capture { place, default }) in &step.capture {
            let found = match (self.at(tools, place, words), default) {
                (Ok(Some(kept)), _) => kept,
                (Ok(None), Some(default)) => CapturedValue::Text(Secret::from(default.as_str())),
                (Ok(None), None) => return Err(self.nothing_at(place)),
                // A response with status 404 may have a body that is not JSON. The thing does not exist, so the
                // default applies.
                (Err(Fault::Unknown(_)), Some(default)) if self.status() == 404 => {
                    CapturedValue::Text(Secret::from(default.as_str()))
                }
                (Err(fault), _) => return Err(fault),
            };
            captured.insert(name.clone(), found);
        }
        Ok(())
    }

    fn at(
        &self,
        tools: &Tools,
        place: &AnswerPlace,
        words: &TemplateContext,
    ) -> Answer<Option<CapturedValue>> {
        match place {
            AnswerPlace::Header(name) => {
                let value = self.first().headers.get(name);
                Ok(value.map(|text| CapturedValue::Text(Secret::from(text.as_str()))))
            }
            AnswerPlace::Pointer(pointer) => {
                let document = self.document(self.first())?;
                Ok(document.pointer(pointer).and_then(text_of).map(CapturedValue::Text))
            }
            AnswerPlace::Document(pointer) => {
                let document = self.document(self.first())?;
                let part = document.pointer(pointer).filter(|value| !value.is_null());
                Ok(part.map(|value| CapturedValue::Document(Secret::new(value.to_string()))))
            }
            AnswerPlace::Search { list, matching, take } => {
                let rendered = matching
                    .iter()
                    .map(|(pointer, source)| Ok((pointer.as_str(), tools.render("where", source, words)?)));
                let matching: Vec<(&str, Secret)> = rendered.collect::<Answer<_>>()?;
                self.search(list, &matching, take)
            }
        }
    }

    fn search(&self, list: &str, matching: &[(&str, Secret)], take: &str) -> Answer<Option<CapturedValue>> {
        let mut found = Vec::new();
        for response in &self.responses {
            let document = self.document(response)?;
            let Some(items) = document.pointer(list) else { continue };
            let Some(items) = items.as_array() else { return Err(self.nothing_at_pointer(list)) };
            let matches = |item: &&Value| {
                matching.iter().all(|(pointer, text)| {
                    item.pointer(pointer).and_then(text_of).is_some_and(|value| value == *text)
                })
            };
            found.extend(items.iter().filter(matches).map(|item| item.pointer(take).and_then(kept)));
        }
        if found.len() > 1 {
            let (host, items) = (&self.host, found.len());
            let sentence = format!("{host} has {items} items that match, and none is taken by guessing");
            return Err(Fault::refused(RefusalCode::VendorRefused, sentence));
        }
        Ok(found.pop().flatten())
    }

    /// Parses the body of a response. A body that is truncated, garbled or not JSON is an unknown outcome, because it
    /// does not tell what was done.
    fn document(&self, response: &Response) -> Answer<Value> {
        let document = serde_json::from_str(response.body.expose());
        let (host, status) = (&self.host, response.status);
        document.map_err(|_| {
            Fault::unknown(format!("{host} answered {status}, but not with the JSON that was expected"))
        })
    }

    fn differs(&self, step: &HttpStep, held: Option<Secret>, what: &str) -> Finding {
        let (host, status) = (&self.host, self.status());
        let sentence = match &step.expect.refusal {
            Some(meaning) => format!("{host} answered {status}, but {meaning}"),
            None => format!("{host} answered {status}, but its answer {what}"),
        };
        Finding::Differs { held, sentence }
    }

    fn nothing_at(&self, place: &AnswerPlace) -> Fault {
        let (host, status) = (&self.host, self.status());
        let sentence = format!("{host} answered {status}, but its answer has no value {}", shown(place));
        Fault::refused(RefusalCode::VendorRefused, sentence)
    }

    fn nothing_at_pointer(&self, pointer: &str) -> Fault {
        self.nothing_at(&AnswerPlace::Pointer(pointer.to_owned()))
    }
}

fn shown(place: &AnswerPlace) -> String {
    match place {
        AnswerPlace::Pointer(pointer) | AnswerPlace::Document(pointer) => format!("at {pointer:?}"),
        AnswerPlace::Header(name) => format!("in the header {name}"),
        AnswerPlace::Search { list, .. } => format!("of that name in the list at {list:?}"),
    }
}

/// Whether the value is null, or a list or an object without content.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn kept(value: &Value) -> Option<CapturedValue> {
    (!value.is_null()).then(|| any(value))
}

fn any(value: &Value) -> CapturedValue {
    text_of(value)
        .map_or_else(|| CapturedValue::Document(Secret::new(value.to_string())), CapturedValue::Text)
}

/// A value as a template would print it. `None` for lists, objects and null.
pub(super) fn text_of(value: &Value) -> Option<Secret> {
    match value {
        Value::String(text) => Some(Secret::from(text.as_str())),
        Value::Number(_) | Value::Bool(_) => Some(Secret::new(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
