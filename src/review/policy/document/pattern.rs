//! Patterns such as `ec2:Describe*`: the meaning of `*` and `?` in actions and resources.

use std::fmt;

/// The number of fields of `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
const ARN_FIELDS: usize = 6;

/// An action or a resource as a policy writes it: `*` stands for any text, `?` for any one character.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern from its text.
    #[must_use]
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern stands for everything. AWS reads `**` and `*:*` as `*`.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.contains('*') && self.0.bytes().all(|byte| byte == b'*' || byte == b':')
    }

    /// Whether the pattern can stand for more than one name. `${…}` is one name, which IAM fills in.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// The service and the name of an action: `("ec2", "Describe*")`.
    #[must_use]
    pub fn action(&self) -> Option<(&str, &str)> {
        self.0.split_once(':')
    }

    /// Whether the pattern matches the name, without regard to case. Actions have no case; names of resources
    /// seldom differ by it alone, and one match too many does no harm.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let fold = |text: &str| text.to_ascii_lowercase().into_bytes();
        self.is_everything() || glob(&fold(&self.0), &fold(name))
    }

    /// Whether the pattern matches the name with regard to case: ARNs differ by it.
    #[must_use]
    pub fn matches_exactly(&self, name: &str) -> bool {
        self.is_everything() || glob(self.0.as_bytes(), name.as_bytes())
    }

    /// Whether the pattern matches every action that the other pattern matches, without regard to case.
    #[must_use]
    pub fn covers(&self, other: &Pattern) -> bool {
        let fold = |text: &str| text.to_ascii_lowercase().into_bytes();
        self.is_everything() || !other.is_everything() && contains(&fold(&self.0), &fold(&other.0))
    }

    /// The six fields of an ARN. As in IAM, missing fields are taken as `*`. `None`: the pattern is no ARN.
    #[must_use]
    pub fn arn(&self) -> Option<[&str; ARN_FIELDS]> {
        let mut fields = ["*"; ARN_FIELDS];
        let mut rest = self.0.as_str();
        for (number, field) in fields.iter_mut().enumerate() {
            let end = if number + 1 < ARN_FIELDS { end_of_field(rest) } else { None };
            *field = &rest[..end.unwrap_or(rest.len())];
            let Some(end) = end else { break };
            rest = &rest[end + 1..];
        }
        (fields[0] == "arn" && self.0.contains(':')).then_some(fields)
    }

    /// Whether the pattern matches every ARN, whatever its partition and account: `*`, `arn:aws:*`.
    #[must_use]
    pub fn is_every_resource(&self) -> bool {
        let is_any = |field: &str| field.contains('*') && field.bytes().all(|byte| byte == b'*');
        self.is_everything()
            || self.arn().is_some_and(|[_, _, service, region, _, resource]| {
                is_any(service) && is_any(region) && is_any(resource)
            })
    }

    /// Whether the pattern, as a resource, matches every resource that the other one matches. The partition is not
    /// compared, because an account is in only one.
    #[must_use]
    pub fn covers_resource(&self, other: &Pattern) -> bool {
        if self.is_everything() || self.0 == other.0 {
            return true;
        }
        match (self.arn(), other.arn()) {
            (Some(own), Some(others)) => {
                own.iter().zip(&others).skip(2).all(|(own, other)| field_covers(own, other))
            }
            _ => false,
        }
    }

    /// Whether some resource matches both patterns. The partition is not compared.
    #[must_use]
    pub fn meets_resource(&self, other: &Pattern) -> bool {
        if self.is_everything() || other.is_everything() {
            return true;
        }
        match (self.arn(), other.arn()) {
            (Some(own), Some(others)) => {
                own.iter().zip(&others).skip(2).all(|(own, other)| overlap(own.as_bytes(), other.as_bytes()))
            }
            _ => false,
        }
    }

    /// Whether the pattern matches the resource with this ARN, compared field by field.
    #[must_use]
    pub fn matches_resource(&self, name: &str) -> bool {
        let other = Pattern::new(name);
        match (self.arn(), other.arn()) {
            _ if self.is_everything() => true,
            (Some(own), Some(others)) => {
                own.iter().zip(&others).all(|(own, name)| glob(own.as_bytes(), name.as_bytes()))
            }
            _ => false,
        }
    }

    /// Whether some name matches both patterns, without regard to case.
    #[must_use]
    pub fn overlaps(&self, other: &Pattern) -> bool {
        let fold = |text: &str| text.to_ascii_lowercase().into_bytes();
        overlap(&fold(&self.0), &fold(&other.0))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The offset of the colon that ends a field. A colon within a variable such as `${aws:username}` does not end it.
fn end_of_field(text: &str) -> Option<usize> {
    let mut is_variable = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[..at].ends_with('$') => is_variable = true,
            b'}' => is_variable = false,
            b':' if !is_variable => return Some(at),
            _ => {}
        }
    }
    None
}

fn field_covers(own: &str, other: &str) -> bool {
    contains(own.as_bytes(), other.as_bytes())
}

/// Whether every name that matches `inner` also matches `outer`. A `*` of `inner` is treated as a character that
/// only `*` of `outer` matches, and a `?` of `inner` as one that `*` and `?` match. A cover that needs a different
/// alignment for different names is not recognised.
fn contains(outer: &[u8], inner: &[u8]) -> bool {
    // `reach[j]`: whether the characters of `outer` so far can stand for the first `j` characters of `inner`.
    let mut reach = vec![false; inner.len() + 1];
    reach[0] = true;
    for letter in outer {
        let before = reach.clone();
        reach[0] = before[0] && *letter == b'*';
        for (column, facing) in inner.iter().enumerate() {
            reach[column + 1] = match *letter {
                b'*' => reach[column] || before[column + 1],
                b'?' => before[column] && *facing != b'*',
                own => before[column] && own == *facing,
            };
        }
    }
    reach[inner.len()]
}

/// Whether the pattern matches the name. The time is at most proportional to the product of the lengths, whatever
/// the pattern.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[seen] => {
                at += 1;
                seen += 1;
            }
            Some(_) | None => {
                // Only the last `*` has to take more: whatever an earlier one could take, the last one can take as
                // well.
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                seen = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

/// Whether some name matches both patterns. Row by row, `reach[j]` says whether the characters of `one` so far and
/// the first `j` characters of `other` can stand for the same text.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    let mut reach = vec![false; other.len() + 1];
    reach[0] = true;
    for (column, letter) in other.iter().enumerate() {
        reach[column + 1] = reach[column] && *letter == b'*';
    }
    for letter in one {
        let before = reach.clone();
        reach[0] = before[0] && *letter == b'*';
        for (column, facing) in other.iter().enumerate() {
            let skips = (*letter == b'*' || *facing == b'*') && (reach[column] || before[column + 1]);
            let pairs = before[column] && (*letter == *facing || *letter == b'?' || *facing == b'?');
            reach[column + 1] = skips || pairs;
        }
    }
    reach[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_like_in_iam() {
        for (pattern, name) in [
            ("*", "anything:At"),
            ("*:*", "s3:GetObject"),
            ("ec2:Describe*", "ec2:DescribeInstances"),
            ("EC2:describe*", "ec2:DescribeInstances"),
            ("s3:?etObject", "s3:GetObject"),
            ("*:Get*", "s3:GetObject"),
            ("a*b*c", "aXbYbZc"),
            ("s3:GetObject", "s3:GetObject"),
        ] {
            assert!(Pattern::new(pattern).matches(name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("ec2:Describe*", "ec2:TerminateInstances"),
            ("s3:Get?", "s3:Get"),
            ("a*b*c", "aXbYbZ"),
            ("", "x"),
            ("s3:GetObject", "s3:GetObjectAcl"),
        ] {
            assert!(!Pattern::new(pattern).matches(name), "{pattern} {name}");
        }
        let slow = Pattern::new(&"a*".repeat(2000));
        assert!(!slow.matches(&format!("{}b", "a".repeat(1999))));
    }

    #[test]
    fn patterns_overlap_when_one_name_fits_both() {
        let overlaps = |one: &str, other: &str| {
            let (one, other) = (Pattern::new(one), Pattern::new(other));
            assert_eq!(one.overlaps(&other), other.overlaps(&one), "{one} {other}");
            one.overlaps(&other)
        };
        assert!(overlaps("iam:*", "iam:PassRole"));
        assert!(overlaps("i*", "*PassRole"));
        assert!(overlaps("s3:Get*", "s3:*Acl"));
        assert!(overlaps("s3:?et*", "s3:Get"));
        assert!(!overlaps("s3:Get*", "s3:Put*"));
        assert!(!overlaps("s3:GetObject", "s3:GetObjectAcl"));
        assert!(!overlaps("", "a"));
    }

    #[test]
    fn a_short_arn_is_completed_with_wildcards() {
        let resource = |text: &str| Pattern::new(text);
        assert_eq!(resource("arn:aws:sns:*").arn(), Some(["arn", "aws", "sns", "*", "*", "*"]));
        assert_eq!(resource("arn:aws:s3:::b/a:c").arn().map(|fields| fields[5]), Some("b/a:c"));
        let own = resource("arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username}");
        assert_eq!(own.arn().map(|fields| fields[5]), Some("user/${aws:username}"));
        assert!(resource("arn:aws:*").is_every_resource() && resource("arn:aws").is_every_resource());
        assert!(resource("arn:aws:*:*:111122223333:*").is_every_resource());
        assert!(!resource("arn:aws:s3:*").is_every_resource() && !resource("bucket").is_every_resource());
        assert!(resource("arn:aws:sqs").matches_resource("arn:aws:sqs:eu-west-1:111122223333:q"));
    }

    #[test]
    fn a_pattern_covers_only_a_narrower_or_equal_pattern() {
        let covers = |outer: &str, inner: &str| Pattern::new(outer).covers_resource(&Pattern::new(inner));
        assert!(covers("arn:aws:iam::*:user/*", "arn:aws:iam::111122223333:user/a?"));
        assert!(covers("arn:aws:iam::*", "arn:aws:iam::*:role/*") && covers("*", "arn:aws:s3:::b"));
        assert!(!covers("arn:aws:iam::*:user/a*", "arn:aws:iam::*:user/*"));
        assert!(!covers("arn:aws:iam::*:user/?", "arn:aws:iam::*:user/*"));
        assert!(!covers("arn:aws:iam::*:user/A", "arn:aws:iam::*:user/a"), "resources differ in case");
        assert!(Pattern::new("iam:*").covers(&Pattern::new("IAM:Create*")));
        assert!(!Pattern::new("iam:Create*").covers(&Pattern::new("iam:*")));
    }
}
