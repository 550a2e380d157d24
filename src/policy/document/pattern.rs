//! `ec2:Describe*`: what `*` and `?` stand for in actions and resources.

use std::fmt;

/// An action or a resource as it is written in a policy: `*` is any text, `?` any one letter.
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

    /// Whether it stands for everything there is. AWS reads `**` and `*:*` as `*`.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.contains('*') && self.0.bytes().all(|byte| byte == b'*' || byte == b':')
    }

    /// Whether it stands for more than itself. `${…}` is one name, which IAM fills in.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// The service and the name of an action: `("ec2", "Describe*")`.
    #[must_use]
    pub fn action(&self) -> Option<(&str, &str)> {
        self.0.split_once(':')
    }

    /// Whether it stands for that name. Actions are the same in any case; names of resources mostly
    /// are, and whoever looks for too much loses nothing.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let fold = |text: &str| text.to_ascii_lowercase().into_bytes();
        self.is_everything() || glob(&fold(&self.0), &fold(name))
    }

    /// Whether some name is matched by both.
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

/// In time that grows with the product of the lengths, whatever the pattern.
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
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                seen = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

/// Row by row: `reach[j]` says whether the first letters of one can be the first `j` of the other.
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
    fn wildcards_match_as_iam_says() {
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
}
