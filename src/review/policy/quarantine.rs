//! The policies that AWS attaches to a user whose access key it has found in public.
//!
//! They deny what a thief does first, to every key of the user: a new key cannot do it either.

/// Their names, in the order in which AWS published them.
pub const QUARANTINE_POLICIES: [&str; 3] =
    ["AWSCompromisedKeyQuarantine", "AWSCompromisedKeyQuarantineV2", "AWSCompromisedKeyQuarantineV3"];

/// Whether this is the ARN of one of them, in whichever partition. A policy of the account's own may have the same name.
#[must_use]
pub fn is_quarantine(arn: &str) -> bool {
    let name = arn.split_once(":iam::aws:policy/").map(|(_, name)| name);
    name.is_some_and(|name| QUARANTINE_POLICIES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_policies_of_aws_itself_are_a_quarantine() {
        assert!(is_quarantine("arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantine"));
        assert!(is_quarantine("arn:aws-cn:iam::aws:policy/AWSCompromisedKeyQuarantineV3"));
        assert!(!is_quarantine("arn:aws:iam::111122223333:policy/AWSCompromisedKeyQuarantineV3"));
        assert!(!is_quarantine("arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV33"));
        assert!(!is_quarantine("arn:aws:iam::aws:policy/ReadOnlyAccess"));
    }
}
