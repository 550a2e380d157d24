//! Reads a [`Document`] from text. `jsonc-parser`, restricted to strict JSON, reads the JSON itself: it keeps
//! offsets and bounds its own depth. This module decides which members a policy may have.

use jsonc_parser::ast::{Array, Object, ObjectProp, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{
    Condition, Document, Effect, Listed, Mistake, Pattern, Principals, Span, Spanned, Statement,
    TEXT_BYTES_MAX, grammar,
};

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};
const MEMBERS: [&str; 3] = ["Version", "Id", "Statement"];
const STATEMENT_MEMBERS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

/// The kinds of principal that `Principal` may name.
const PRINCIPALS: [&str; 4] = ["AWS", "Service", "Federated", "CanonicalUser"];

pub(super) fn read(text: &str) -> (Option<Document>, Vec<Mistake>) {
    let value = match parse(text) {
        Ok(value) => value,
        Err(mistakes) => return (None, mistakes),
    };
    let mut reader = Reader::default();
    let document = match &value {
        Some(Value::Object(object)) => reader.document(object),
        Some(other) => reader.wrong(other, "a policy is an object"),
        None => reader.add(Span { start: 0, end: text.len().min(1) }, "there is no policy here"),
    };
    reader.end(document)
}

/// Reads a policy from a JSON object within a larger text.
pub(super) fn read_object(object: &Object<'_>) -> (Option<Document>, Vec<Mistake>) {
    let mut reader = Reader::default();
    let document = reader.document(object);
    reader.end(document)
}

/// Reads strict JSON. `None`: the text holds no value.
pub(super) fn parse(text: &str) -> Result<Option<Value<'_>>, Vec<Mistake>> {
    let whole = Span { start: 0, end: text.len().min(1) };
    if text.len() > TEXT_BYTES_MAX {
        let message = "this is larger than 1 MiB: that is not a policy".to_owned();
        return Err(vec![Mistake { span: whole, message }]);
    }
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT).map_err(|error| {
        let message = format!("this is not JSON: {}", error.kind().to_string().to_lowercase());
        vec![Mistake { span: span(&error.range()), message }]
    })?;
    // `jsonc-parser` accepts some texts that IAM refuses, such as a line break within a string; `serde_json`
    // refuses them.
    if parsed.value.is_some() {
        serde_json::from_str::<serde_json::Value>(text).map_err(|error| vec![not_json(text, &error)])?;
    }
    Ok(parsed.value)
}

/// `serde_json` reports the place as line and column, both counted from 1.
fn not_json(text: &str, error: &serde_json::Error) -> Mistake {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let start = (before + error.column().saturating_sub(1)).min(text.len());
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said);
    let span = Span { start, end: (start + 1).min(text.len()) };
    Mistake { span, message: format!("this is not JSON: {what}") }
}

pub(super) fn span(of: &impl Ranged) -> Span {
    Span { start: of.start(), end: of.end() }
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    /// Adds what IAM refuses in a policy that could be read, and sorts the mistakes by place.
    fn end(mut self, document: Option<Document>) -> (Option<Document>, Vec<Mistake>) {
        self.mistakes.extend(document.iter().flat_map(grammar::refused));
        self.mistakes.sort_by_key(|mistake| mistake.span);
        (document, self.mistakes)
    }

    fn add<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.mistakes.push(Mistake { span, message: message.into() });
        None
    }

    fn wrong<T>(&mut self, value: &Value<'_>, message: &str) -> Option<T> {
        self.add(span(value), message)
    }

    fn document(&mut self, object: &Object<'_>) -> Option<Document> {
        self.members(object, &MEMBERS, "a policy");
        let version = object.get("Version").and_then(|member| self.string("Version", &member.value));
        if let Some(version) = &version
            && !["2012-10-17", "2008-10-17"].contains(&version.value.as_str())
        {
            self.add::<()>(version.span, "Version is \"2012-10-17\" (or, long ago, \"2008-10-17\")");
        }
        if let Some(id) = object.get("Id") {
            self.string("Id", &id.value);
        }
        let Some(member) = object.get("Statement") else {
            return self.add(start(object), "the policy has no Statement");
        };
        let written: Vec<&Value<'_>> = match &member.value {
            Value::Array(list) => list.elements.iter().collect(),
            other => vec![other],
        };
        if written.is_empty() {
            self.wrong::<()>(&member.value, "Statement is empty: this policy has no effect");
        }
        let statements = written.into_iter().filter_map(|value| match value {
            Value::Object(object) => self.statement(object),
            other => self.wrong(other, "a statement is an object"),
        });
        let statements = statements.collect();
        Some(Document { version, statements })
    }

    /// Reports unknown and repeated members.
    fn members(&mut self, object: &Object<'_>, known: &[&str], what: &str) {
        for (number, member) in object.properties.iter().enumerate() {
            let name = member.name.as_str();
            let place = name_span(member);
            if !known.contains(&name) {
                let meant = known.iter().find(|other| other.eq_ignore_ascii_case(name));
                let hint = meant.map(|meant| format!("; it is written {meant}")).unwrap_or_default();
                let shown: String = name.chars().take(80).collect();
                self.add::<()>(place, format!("{what} has no member {shown:?}{hint}"));
            } else if object.properties[..number].iter().any(|other| other.name.as_str() == name) {
                self.add::<()>(place, format!("{name} is here twice, and only one of them counts"));
            }
        }
    }

    fn statement(&mut self, object: &Object<'_>) -> Option<Statement> {
        self.members(object, &STATEMENT_MEMBERS, "a statement");
        let sid = object.get("Sid").and_then(|member| self.string("Sid", &member.value));
        let effect = self.effect(object);
        let principals = self.principals(object);
        let actions = self.listed(object, "Action", "NotAction");
        let resources = self.listed(object, "Resource", "NotResource");
        if actions.is_none() && object.get("Action").or(object.get("NotAction")).is_none() {
            self.add::<()>(start(object), "the statement has no Action");
        }
        let no_resource = object.get("Resource").or(object.get("NotResource")).is_none();
        if principals.is_none() && no_resource {
            self.add::<()>(start(object), "the statement has neither Resource nor Principal");
        }
        // Without a readable resource it is not known what the statement would allow, so the statement is left out.
        let is_about = resources.is_some() || no_resource && principals.is_some();
        let conditions =
            object.get("Condition").map(|member| self.conditions(&member.value)).unwrap_or_default();
        let span = span(object);
        is_about.then_some(())?;
        Some(Statement { span, sid, effect: effect?, principals, actions: actions?, resources, conditions })
    }

    fn effect(&mut self, object: &Object<'_>) -> Option<Effect> {
        let Some(member) = object.get("Effect") else {
            return self.add(start(object), "the statement has no Effect");
        };
        let effect = self.string("Effect", &member.value)?;
        match effect.value.as_str() {
            "Allow" => Some(Effect::Allow),
            "Deny" => Some(Effect::Deny),
            _ => self.add(effect.span, "Effect is \"Allow\" or \"Deny\", written so"),
        }
    }

    fn listed(&mut self, object: &Object<'_>, plain: &str, not: &str) -> Option<Listed> {
        let (member, negated) = match (object.get(plain), object.get(not)) {
            (Some(_), Some(both)) => {
                return self.add(name_span(both), format!("a statement has {plain} or {not}, not both"));
            }
            (Some(member), None) => (member, false),
            (None, Some(member)) => (member, true),
            (None, None) => return None,
        };
        let name = member.name.as_str();
        let texts = self.strings(name, &member.value);
        let is_action = plain == "Action";
        for text in &texts {
            if is_action && text.value != "*" && !is_action_name(&text.value) {
                self.add::<()>(text.span, "an action is a service and a name, such as s3:GetObject");
            }
            if !is_action && let Some(message) = grammar::not_a_resource(&text.value) {
                self.add::<()>(text.span, message);
            }
        }
        let item = |text: Spanned<String>| Spanned { value: Pattern::new(&text.value), span: text.span };
        let items: Vec<Spanned<Pattern>> = texts.into_iter().map(item).collect();
        (!items.is_empty()).then(|| Listed { negated, key: name_span(member), items })
    }

    fn principals(&mut self, object: &Object<'_>) -> Option<Principals> {
        let member = object.get("Principal").or(object.get("NotPrincipal"))?;
        let mut items = Vec::new();
        match &member.value {
            Value::StringLit(text) if text.value == "*" => {
                items.push(("*".to_owned(), Spanned { value: "*".to_owned(), span: span(text) }));
            }
            Value::Object(kinds) => {
                self.members(kinds, &PRINCIPALS, "Principal");
                for kind in &kinds.properties {
                    let name = kind.name.as_str().to_owned();
                    items.extend(
                        self.strings(&name, &kind.value).into_iter().map(|text| (name.clone(), text)),
                    );
                }
            }
            other => {
                self.wrong::<()>(other, "Principal is \"*\", or an object such as {\"AWS\": …}");
            }
        }
        Some(Principals { negated: member.name.as_str() == "NotPrincipal", key: name_span(member), items })
    }

    fn conditions(&mut self, value: &Value<'_>) -> Vec<Condition> {
        let Value::Object(operators) = value else {
            return self.wrong(value, "Condition is an object of operators").unwrap_or_default();
        };
        let mut conditions = Vec::new();
        for operator in &operators.properties {
            let Value::Object(keys) = &operator.value else {
                self.wrong::<()>(&operator.value, "an operator has an object of keys");
                continue;
            };
            for key in &keys.properties {
                let values = self.strings(key.name.as_str(), &key.value);
                let named = |member: &ObjectProp<'_>| Spanned {
                    value: member.name.as_str().to_owned(),
                    span: name_span(member),
                };
                conditions.push(Condition { operator: named(operator), key: named(key), values });
            }
        }
        conditions
    }

    fn string(&mut self, name: &str, value: &Value<'_>) -> Option<Spanned<String>> {
        match value {
            Value::StringLit(text) => Some(Spanned { value: text.value.to_string(), span: span(text) }),
            Value::NumberLit(_)
            | Value::BooleanLit(_)
            | Value::Object(_)
            | Value::Array(_)
            | Value::NullKeyword(_) => self.wrong(value, &format!("{name} is a string")),
        }
    }

    /// One text or a list of texts. Values of conditions may be numbers and booleans, which IAM reads as text.
    fn strings(&mut self, name: &str, value: &Value<'_>) -> Vec<Spanned<String>> {
        let text = |text: &str| Spanned { value: text.to_owned(), span: span(value) };
        match value {
            Value::StringLit(_) => self.string(name, value).into_iter().collect(),
            Value::NumberLit(number) => vec![text(number.value)],
            Value::BooleanLit(truth) => vec![text(if truth.value { "true" } else { "false" })],
            Value::Array(list) => self.list(name, list),
            Value::Object(_) | Value::NullKeyword(_) => {
                self.wrong(value, &format!("{name} is a string or a list of strings")).unwrap_or_default()
            }
        }
    }

    fn list(&mut self, name: &str, list: &Array<'_>) -> Vec<Spanned<String>> {
        if list.elements.is_empty() {
            self.add::<()>(span(list), format!("{name} is empty"));
        }
        let mut texts = Vec::new();
        for element in &list.elements {
            match element {
                Value::Array(_) => {
                    self.wrong::<()>(element, &format!("{name} is a list of strings, not of lists"));
                }
                other => texts.extend(self.strings(name, other)),
            }
        }
        texts
    }
}

fn name_span(member: &ObjectProp<'_>) -> Span {
    span(&member.name)
}

/// The place of the brace that opens the object.
fn start(object: &Object<'_>) -> Span {
    let start = object.range.start;
    Span { start, end: start + 1 }
}

/// Whether the text is a service and a name. In the service, IAM accepts `*` as the only wildcard.
fn is_action_name(text: &str) -> bool {
    text.split_once(':').is_some_and(|(service, name)| {
        let of_service = |byte: u8| byte.is_ascii_alphanumeric() || b"-*".contains(&byte);
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte);
        !service.is_empty()
            && service.bytes().all(of_service)
            && !name.is_empty()
            && name.bytes().all(of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let (_, mistakes) = read(text);
        assert!(!mistakes.is_empty(), "{text}");
        let shown = mistakes.iter().map(|mistake| {
            let Place { line, column } = Place::of(text, mistake.span.start);
            format!("{line}:{column} {mistake}")
        });
        shown.collect()
    }

    #[test]
    fn a_policy_is_read_with_its_source_positions() {
        let text = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\",\n    \"Action\": [\"s3:GetObject\", \"s3:Put*\"],\n    \"Resource\": \"arn:aws:s3:::b/*\",\n    \"Condition\": {\"Bool\": {\"aws:SecureTransport\": true}}}}";
        let document = Document::parse(text).expect("a policy");
        let statement = &document.statements[0];
        let second = &statement.actions.items[1];
        assert_eq!(&text[second.span.start..second.span.end], "\"s3:Put*\"");
        assert_eq!(Place::of(text, second.span.start), Place { line: 4, column: 32 });
        assert_eq!(statement.conditions[0].values[0].value, "true");
        assert_eq!(statement.effect, Effect::Allow);
    }

    #[test]
    fn every_mistake_is_found_in_one_run() {
        let text = r#"{"version": "1", "Statement": [{"Effect": "allow", "Action": "s3", "Resource": "bucket"}, 5,
 {"Effect": "Deny", "Action": [], "NotAction": "s3:*", "Resource": "*", "Resource": "*"}]}"#;
        let found = mistakes(text);
        let expect = [
            "1:2 a policy has no member \"version\"; it is written Version",
            "1:43 Effect is \"Allow\" or \"Deny\", written so",
            "1:62 an action is a service and a name, such as s3:GetObject",
            "1:80 a resource is * or an ARN, such as arn:aws:s3:::bucket/*",
            "1:91 a statement is an object",
            "2:35 a statement has Action or NotAction, not both",
            "2:73 Resource is here twice, and only one of them counts",
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn text_that_is_not_a_json_policy_is_reported() {
        assert_eq!(mistakes(""), ["1:1 there is no policy here"]);
        assert_eq!(mistakes("[]"), ["1:1 a policy is an object"]);
        assert!(mistakes("{\"Statement\": [}")[0].starts_with("1:16 this is not JSON"));
        assert!(mistakes("{} // no")[0].contains("this is not JSON"));
        assert_eq!(
            mistakes("{\"Id\":\n \"a\u{1e}\"}"),
            ["2:4 this is not JSON: control character (\\u0000-\\u001F) found while parsing a string"]
        );
        assert!(mistakes(r#"{"Id": "\ud800"}"#)[0].contains("this is not JSON"));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(mistakes(&deep)[0].contains("nesting depth"));
    }
}
