//! The policies that AWS attaches to an IAM user when it finds one of the user's access keys in public.
//!
//! They deny the actions that a thief takes first. They apply to every key of the user, so a new key cannot take these
//! actions either.

/// The names of the quarantine policies, in the order in which AWS published them.
pub const QUARANTINE_POLICIES: [&str; 3] =
    ["AWSCompromisedKeyQuarantine", "AWSCompromisedKeyQuarantineV2", "AWSCompromisedKeyQuarantineV3"];

/// Whether this is the ARN of a quarantine policy, in any partition. A customer managed policy may have the same name;
/// it is not one.
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
