//! Policies within other JSON: the output of the AWS CLI, and the input of `CloudFormation` and Terraform.
//!
//! A policy is an object with `Statement`, or a string that holds such an object, plain or percent-encoded. In a
//! list of policy versions with a default version, the other versions are left out.

use jsonc_parser::ast::{Object, Value};
use percent_encoding::percent_decode_str;

use super::{Document, Mistake, Span, Spanned, reader};

/// How deeply nested objects and lists are searched for policies. The JSON parser has a depth limit of its own.
const DEPTH_MAX: usize = 32;

/// One policy that was found in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// The path to the policy in the JSON, such as `PolicyVersion.Document`; empty: the text itself is the policy.
    pub path: String,
    /// The part of the policy that could be read.
    pub document: Option<Document>,
    /// The mistakes in the policy.
    pub mistakes: Vec<Mistake>,
    /// The number of its characters that IAM counts; 0: AWS manages the policy, so no quota applies.
    pub characters: usize,
}

/// The policies in a text: the text itself, or those that are nested in it.
#[must_use]
pub fn parts(text: &str) -> Vec<Part> {
    let whole = |(document, mistakes)| {
        let characters = super::size(text);
        vec![Part { path: String::new(), document, mistakes, characters }]
    };
    let Ok(Some(value)) = reader::parse(text) else { return whole(reader::read(text)) };
    let mut found = Vec::new();
    match &value {
        Value::Object(object) if looks_like_one(object) => {}
        other => search(text, other, String::new(), 0, &mut found),
    }
    match (&value, found.is_empty()) {
        (_, false) => found,
        (Value::Object(object), true) if !looks_like_one(object) => {
            let message = "there is no policy in this JSON: nothing in it has a Statement".to_owned();
            let start = object.range.start;
            whole((None, vec![Mistake { span: Span { start, end: start + 1 }, message }]))
        }
        (_, true) => whole(reader::read(text)),
    }
}

/// Whether the object is meant as a policy, even if it is written wrongly.
fn looks_like_one(object: &Object<'_>) -> bool {
    let is_member = |name: &str| name.eq_ignore_ascii_case("Statement") || name == "Version" || name == "Id";
    let has_statement = object.properties.iter().any(|member| member.name.as_str() == "Statement");
    has_statement || object.properties.iter().all(|member| is_member(member.name.as_str()))
}

fn search(text: &str, value: &Value<'_>, path: String, depth: usize, found: &mut Vec<Part>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(object) if object.get("Statement").is_some() => {
            let (document, mistakes) = reader::read_object(object);
            let characters = super::size(&text[object.range.start..object.range.end]);
            found.push(Part { path, document, mistakes, characters });
        }
        Value::Object(object) => {
            let before = found.len();
            for member in &object.properties {
                let name = member.name.as_str();
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                search(text, &member.value, path, depth + 1, found);
            }
            // AWS's own managed policies may be larger than the quota for customers' policies.
            if object.get("Arn").is_some_and(|arn| is_of_aws(&arn.value)) {
                found[before..].iter_mut().for_each(|part| part.characters = 0);
            }
        }
        Value::Array(list) => {
            let has_default = list.elements.iter().any(|element| is_default(element) == Some(true));
            for (number, element) in list.elements.iter().enumerate() {
                if !(has_default && is_default(element) == Some(false)) {
                    search(text, element, format!("{path}[{number}]"), depth + 1, found);
                }
            }
        }
        Value::StringLit(inner) => found.extend(within(&inner.value, reader::span(inner), path)),
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {}
    }
}

fn is_of_aws(arn: &Value<'_>) -> bool {
    matches!(arn, Value::StringLit(arn) if arn.value.contains(":iam::aws:policy/"))
}

/// The member `IsDefaultVersion` of a policy version; `None`: the value is not a policy version.
fn is_default(value: &Value<'_>) -> Option<bool> {
    let Value::Object(object) = value else { return None };
    match &object.get("IsDefaultVersion")?.value {
        Value::BooleanLit(truth) => Some(truth.value),
        _ => None,
    }
}

/// The policy that a JSON string holds. Each part of it gets the place of the whole string, because offsets within
/// an encoded string do not match the text.
fn within(text: &str, span: Span, path: String) -> Option<Part> {
    let is_object = |text: &str| text.trim_start().starts_with('{') && text.contains("\"Statement\"");
    let decoded = match is_object(text) {
        true => text.to_owned(),
        false => percent_decode_str(text).decode_utf8().ok()?.into_owned(),
    };
    if !is_object(&decoded) {
        return None;
    }
    let (mut document, mut mistakes) = reader::read(&decoded);
    for mistake in &mut mistakes {
        mistake.span = span;
    }
    if let Some(document) = &mut document {
        place_at(document, span);
    }
    Some(Part { path, document, mistakes, characters: super::size(&decoded) })
}

fn place_at(document: &mut Document, span: Span) {
    let text = |text: &mut Spanned<String>| text.span = span;
    document.version.iter_mut().for_each(text);
    for statement in &mut document.statements {
        statement.span = span;
        statement.sid.iter_mut().for_each(text);
        for list in std::iter::once(&mut statement.actions).chain(&mut statement.resources) {
            list.key = span;
            list.items.iter_mut().for_each(|item| item.span = span);
        }
        if let Some(principals) = &mut statement.principals {
            principals.key = span;
            principals.items.iter_mut().for_each(|(_, who)| who.span = span);
        }
        for condition in &mut statement.conditions {
            condition.operator.span = span;
            condition.key.span = span;
            condition.values.iter_mut().for_each(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

    fn paths(text: &str) -> Vec<String> {
        parts(text).into_iter().map(|part| part.path).collect()
    }

    #[test]
    fn a_policy_is_found_in_the_output_of_the_aws_cli() {
        let encoded = percent_encoding::utf8_percent_encode(POLICY, percent_encoding::NON_ALPHANUMERIC);
        let quoted = serde_json::to_string(POLICY).expect("JSON");
        assert_eq!(paths(POLICY), [""]);
        assert_eq!(
            paths(&format!(r#"{{"PolicyVersion":{{"Document":{POLICY}}}}}"#)),
            ["PolicyVersion.Document"]
        );
        assert_eq!(paths(&format!(r#"{{"PolicyDocument":"{encoded}"}}"#)), ["PolicyDocument"]);
        assert_eq!(paths(&format!(r#"{{"Policy":{quoted}}}"#)), ["Policy"]);
        assert_eq!(paths(&format!("[{POLICY},{POLICY}]")), ["[0]", "[1]"]);
        let versions = format!(
            r#"{{"PolicyVersionList":[{{"IsDefaultVersion":false,"Document":{POLICY}}},{{"IsDefaultVersion":true,"Document":{POLICY}}}]}}"#
        );
        assert_eq!(paths(&versions), ["PolicyVersionList[1].Document"]);
        let size = |arn: &str| parts(&format!(r#"{{"Arn":"{arn}","Document":{POLICY}}}"#))[0].characters;
        assert_eq!(size("arn:aws:iam::aws:policy/ReadOnlyAccess"), 0);
        assert_ne!(size("arn:aws:iam::111122223333:policy/reader"), 0);
    }

    #[test]
    fn json_without_a_policy_statement_is_reported() {
        let said = |text: &str| parts(text).remove(0).mistakes.remove(0).message;
        assert_eq!(
            said(r#"{"UserName":"x"}"#),
            "there is no policy in this JSON: nothing in it has a Statement"
        );
        assert_eq!(said(r#"{"Version":"2012-10-17","statement":[]}"#), "the policy has no Statement");
        assert_eq!(said("{}"), "the policy has no Statement");
        assert_eq!(said("7"), "a policy is an object");
    }

    #[test]
    fn a_policy_inside_a_json_string_is_positioned_at_the_string() {
        let quoted = serde_json::to_string(POLICY).expect("JSON");
        let text = format!(r#"{{"Policy": {quoted}}}"#);
        let part = parts(&text).remove(0);
        let statement = part.document.expect("a policy").statements.remove(0);
        assert_eq!(&text[statement.span.start..statement.span.end], quoted);
        assert_eq!(statement.actions.items[0].span, statement.span);
        assert_eq!(part.characters, POLICY.len());
    }
}
