//! An IAM policy as types, each part with the bytes of the text that it was read from.
//!
//! **Invariant:** every mistake of a text is reported in one run, at its place. A statement that cannot be read
//! hides no other: [`Document::read`] gives the statements that can be read beside the mistakes.

mod grammar;
mod pattern;
mod reader;
mod wrapped;

pub use grammar::{MANAGED_CHARACTERS, ROLE_CHARACTERS, USER_CHARACTERS, size};
pub use pattern::Pattern;
pub use wrapped::{Part, parts};

/// A text longer than this is no policy: IAM allows 10,240 characters, without white space.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the text.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

/// A place in a text, for people: both counted from 1, the column in characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// Where this byte of the text is.
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

/// A value and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its bytes; of a string with its quotes.
    pub span: Span,
}

/// What is wrong with a text that should be a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Mistake {
    /// Where.
    pub span: Span,
    /// What, as a sentence without its full stop.
    pub message: String,
}

/// A policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Document {
    /// `Version`, if it is said.
    pub version: Option<Spanned<String>>,
    /// `Statement`; one that stands alone is a list of one.
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

    /// Reads as much of a policy as can be read: the statements without the ones that are too broken to be
    /// judged, and every mistake. `None`: there is no policy in the text.
    #[must_use]
    pub fn read(text: &str) -> (Option<Document>, Vec<Mistake>) {
        reader::read(text)
    }

    /// Whether it says who may assume a role, rather than what somebody may do.
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

/// What a statement does.
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
    /// All of it.
    pub span: Span,
    /// `Sid`
    pub sid: Option<Spanned<String>>,
    /// `Effect`
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`, in policies of resources and in trust policies.
    pub principals: Option<Principals>,
    /// `Action` or `NotAction`
    pub actions: Listed,
    /// `Resource` or `NotResource`; trust policies have none.
    pub resources: Option<Listed>,
    /// `Condition`, one entry for each operator and key.
    pub conditions: Vec<Condition>,
}

/// A list that may be turned into its opposite.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// `NotAction`, `NotResource`: all but these.
    pub negated: bool,
    /// Where the word itself stands.
    pub key: Span,
    /// The items; at least one.
    pub items: Vec<Spanned<Pattern>>,
}

impl Statement {
    /// Whether it is about everything that there is.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        let is_all = |item: &Spanned<Pattern>| item.value.is_every_resource();
        self.resources.as_ref().is_none_or(|list| list.negated || list.items.iter().any(is_all))
    }
}

impl Listed {
    /// Whether this action or resource is one of those that the statement is about.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.items.iter().any(|item| item.value.matches(name)) != self.negated
    }

    /// The first item that is a lone `*`.
    #[must_use]
    pub fn everything(&self) -> Option<&Spanned<Pattern>> {
        self.items.iter().find(|item| !self.negated && item.value.is_everything())
    }
}

/// `Principal` or `NotPrincipal`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principals {
    /// `NotPrincipal`: all but these.
    pub negated: bool,
    /// Where the word itself stands.
    pub key: Span,
    /// `("AWS", "arn:aws:iam::111122223333:root")` and the like; `"*"` alone is `("*", "*")`.
    pub items: Vec<(String, Spanned<String>)>,
}

/// One line of `Condition`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// Such as `StringEquals`.
    pub operator: Spanned<String>,
    /// Such as `sts:ExternalId`.
    pub key: Spanned<String>,
    /// The values, as text.
    pub values: Vec<Spanned<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_letters_not_bytes() {
        assert_eq!(Place::of("a\nключ x", "a\nключ ".len()), Place { line: 2, column: 6 });
        assert_eq!(Place::of("", 7), Place { line: 1, column: 1 });
        assert_eq!(Place::of("é", 1), Place { line: 1, column: 1 });
    }

    #[test]
    fn all_but_these_covers_the_others() {
        let item = |text: &str| Spanned { value: Pattern::new(text), span: Span { start: 0, end: 0 } };
        let listed = |negated| Listed { negated, key: Span { start: 0, end: 0 }, items: vec![item("iam:*")] };
        assert!(listed(false).covers("iam:PassRole") && !listed(false).covers("s3:GetObject"));
        assert!(!listed(true).covers("iam:PassRole") && listed(true).covers("s3:GetObject"));
    }

    #[test]
    fn everything_has_several_spellings() {
        let on = |resource: &str| {
            let text = format!(r#"{{"Statement":{{"Effect":"Allow","Action":"*","Resource":{resource}}}}}"#);
            Document::parse(&text).expect("a policy").statements.remove(0)
        };
        assert!(on(r#""*""#).is_everywhere() && on(r#""arn:aws:*""#).is_everywhere());
        assert!(!on(r#""arn:aws:s3:::b""#).is_everywhere());
    }

    #[test]
    fn a_trust_policy_is_told_from_the_policy_of_a_bucket() {
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
        let bucket =
            r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}"#;
        assert!(Document::parse(trust).expect("a policy").is_trust());
        assert!(!Document::parse(bucket).expect("a policy").is_trust());
    }
}
