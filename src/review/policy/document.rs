//! An IAM policy as types, each part with the byte range of the text that it was read from.
//!
//! **Invariant:** every mistake of a text is reported in one run, at its place. A statement that cannot be read
//! hides no other: [`Document::read`] returns the readable statements together with the mistakes.

mod grammar;
mod pattern;
mod reader;
mod wrapped;

pub use grammar::{MANAGED_CHARACTERS, ROLE_CHARACTERS, USER_CHARACTERS, size};
pub use pattern::Pattern;
pub use wrapped::{Part, parts};

/// The longest text that is parsed as a policy, in bytes. IAM allows 10,240 characters, not counting white space.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A range of bytes of the text.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// The offset of the first byte.
    pub start: usize,
    /// The offset after the last byte.
    pub end: usize,
}

/// A place in a text as people count it: both numbers start at 1, and the column counts characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The line and column of a byte offset. An offset beyond the text counts as its end.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Place {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let start_of_line = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: 1 + before.matches('\n').count(), column: 1 + before[start_of_line..].chars().count() }
    }
}

/// A value and its place in the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The bytes that hold the value; a string's include its quotes.
    pub span: Span,
}

/// A reason why a text is not a policy that IAM accepts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Mistake {
    /// The place of the mistake.
    pub span: Span,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
}

/// A parsed policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Document {
    /// `Version`, if the policy has it.
    pub version: Option<Spanned<String>>,
    /// `Statement`; a single statement outside a list is a list of one.
    pub statements: Vec<Statement>,
}

impl Document {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// Every mistake that keeps the text from being a policy.
    pub fn parse(text: &str) -> Result<Document, Vec<Mistake>> {
        match Document::read(text) {
            (Some(document), mistakes) if mistakes.is_empty() => Ok(document),
            (_, mistakes) => Err(mistakes),
        }
    }

    /// Reads as much of a policy as can be read: the statements that are complete enough to be judged, and every
    /// mistake. `None`: the text holds no policy.
    #[must_use]
    pub fn read(text: &str) -> (Option<Document>, Vec<Mistake>) {
        reader::read(text)
    }

    /// Whether this is a trust policy: each statement has principals, and at least one has an action that begins
    /// with `sts:AssumeRole`.
    #[must_use]
    pub fn is_trust(&self) -> bool {
        !self.statements.is_empty()
            && self.statements.iter().all(|statement| statement.principals.is_some())
            && self.statements.iter().any(|statement| {
                let mut items = statement.actions.items.iter();
                items.any(|action| action.value.as_str().to_ascii_lowercase().starts_with("sts:assumerole"))
            })
    }
}

/// The effect of a statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// `Allow`
    Allow,
    /// `Deny`
    Deny,
}

/// One statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    /// The bytes of the whole statement.
    pub span: Span,
    /// `Sid`
    pub sid: Option<Spanned<String>>,
    /// `Effect`
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`, in resource policies and trust policies.
    pub principals: Option<Principals>,
    /// `Action` or `NotAction`
    pub actions: Listed,
    /// `Resource` or `NotResource`; trust policies have none.
    pub resources: Option<Listed>,
    /// `Condition`, flattened: one entry for each pair of operator and key.
    pub conditions: Vec<Condition>,
}

/// The items of `Action` or `Resource`, or of their negated forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Whether the list is `NotAction` or `NotResource`, so that it stands for everything except its items.
    pub negated: bool,
    /// The place of the member's name.
    pub key: Span,
    /// The items; at least one.
    pub items: Vec<Spanned<Pattern>>,
}

impl Statement {
    /// Whether the statement applies to every resource, or to every one except some.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        let is_all = |item: &Spanned<Pattern>| item.value.is_every_resource();
        self.resources.as_ref().is_none_or(|list| list.negated || list.items.iter().any(is_all))
    }
}

impl Listed {
    /// Whether the statement applies to this action or resource.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.items.iter().any(|item| item.value.matches(name)) != self.negated
    }

    /// The first item that stands for everything, such as `*`; `None` for a negated list.
    #[must_use]
    pub fn everything(&self) -> Option<&Spanned<Pattern>> {
        self.items.iter().find(|item| !self.negated && item.value.is_everything())
    }
}

/// `Principal` or `NotPrincipal`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principals {
    /// Whether this is `NotPrincipal`, so that it stands for every principal except these.
    pub negated: bool,
    /// The place of the member's name.
    pub key: Span,
    /// Pairs of kind and principal, such as `("AWS", "arn:aws:iam::111122223333:root")`; `"*"` alone is `("*",
    /// "*")`.
    pub items: Vec<(String, Spanned<String>)>,
}

/// One operator and key of `Condition`, with the values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// The operator, such as `StringEquals`.
    pub operator: Spanned<String>,
    /// The condition key, such as `sts:ExternalId`.
    pub key: Spanned<String>,
    /// The values, as text.
    pub values: Vec<Spanned<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_characters_not_bytes() {
        assert_eq!(Place::of("a\nключ x", "a\nключ ".len()), Place { line: 2, column: 6 });
        assert_eq!(Place::of("", 7), Place { line: 1, column: 1 });
        assert_eq!(Place::of("é", 1), Place { line: 1, column: 1 });
    }

    #[test]
    fn a_negated_list_covers_all_other_actions() {
        let item = |text: &str| Spanned { value: Pattern::new(text), span: Span { start: 0, end: 0 } };
        let listed = |negated| Listed { negated, key: Span { start: 0, end: 0 }, items: vec![item("iam:*")] };
        assert!(listed(false).covers("iam:PassRole") && !listed(false).covers("s3:GetObject"));
        assert!(!listed(true).covers("iam:PassRole") && listed(true).covers("s3:GetObject"));
    }

    #[test]
    fn both_spellings_of_every_resource_are_recognised() {
        let on = |resource: &str| {
            let text = format!(r#"{{"Statement":{{"Effect":"Allow","Action":"*","Resource":{resource}}}}}"#);
            Document::parse(&text).expect("a policy").statements.remove(0)
        };
        assert!(on(r#""*""#).is_everywhere() && on(r#""arn:aws:*""#).is_everywhere());
        assert!(!on(r#""arn:aws:s3:::b""#).is_everywhere());
    }

    #[test]
    fn a_trust_policy_is_distinguished_from_a_bucket_policy() {
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
        let bucket =
            r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}"#;
        assert!(Document::parse(trust).expect("a policy").is_trust());
        assert!(!Document::parse(bucket).expect("a policy").is_trust());
    }
}
