//! A user that AWS has quarantined because a key of it is public, as an alert.

use crate::core::alert::active::Alert;
use crate::core::alert::condition::Condition;
use crate::core::ids::{AccountName, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::IncidentMode;
use crate::core::time::Timestamp;

/// A user that has a quarantine policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exposure {
    /// The user.
    pub subject: Subject,
    /// Whom to ask about the vendor.
    pub owner: Option<String>,
    /// The quarantine policies that it has; at least one.
    pub policies: Vec<String>,
    /// When that was first seen.
    pub since: Timestamp,
    /// The rotation in which an incident was declared for it.
    pub rotation: Option<RotationId>,
    /// What was done about it.
    pub response: Response,
}

/// What was done about an exposure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response {
    /// Nothing: that is for a person.
    ByHand,
    /// An incident is declared in this mode, or a person has declared one.
    Declared(Option<IncidentMode>),
    /// An incident was to be declared, and could not be.
    Failed(String),
}

/// What the last question about one account came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExposureReading {
    /// The account; `None`: that of the ambient credentials.
    pub account: Option<AccountName>,
    /// The users with a quarantine policy. Where this question failed, those of the last answer.
    pub exposed: Vec<Exposure>,
    /// The users of the configuration that have none.
    pub clear: Vec<Subject>,
    /// Why it is not known; `None`: AWS has answered.
    pub not_checked: Option<String>,
}

impl ExposureReading {
    /// The quarantine policies of this user; `None`: it is not known.
    #[must_use]
    pub fn policies_of(&self, vendor: &VendorName, user: &IamUserName) -> Option<&[String]> {
        if self.not_checked.is_some() {
            return None;
        }
        let is_it = |subject: &Subject| subject.vendor == *vendor && subject.iam_user == *user;
        let exposed = self.exposed.iter().find(|exposure| is_it(&exposure.subject));
        let exposed = exposed.map(|exposure| exposure.policies.as_slice());
        exposed.or_else(|| self.clear.iter().any(is_it).then_some(&[]))
    }
}

/// What there is to say of an exposed user: what it means, what is done, and what a person has to do.
#[must_use]
pub fn exposed_in_words(
    vendor: &VendorName,
    user: &IamUserName,
    policies: &[String],
    response: &Response,
) -> String {
    let names = policies.join(" and ");
    let done = match response {
        Response::ByHand => format!(
            "replace the exposed key with `keyround incident {vendor} --mode cut-first --why TEXT`, unless that was done"
        ),
        Response::Declared(Some(mode)) => {
            format!(
                "keyround declared an incident ({}), and `keyround status` shows how far it is",
                mode.as_str()
            )
        }
        Response::Declared(None) => {
            "an incident is declared, and `keyround status` shows how far it is".to_owned()
        }
        Response::Failed(why) => format!("keyround could not declare an incident: {why}"),
    };
    format!(
        "AWS attached {names} to the IAM user {user} because a key of it is public, and while that is attached a new key \
         cannot work for {vendor} either; {done}. Then follow the case that AWS Support opened, and detach the policy by \
         hand only after that; keyround never detaches it"
    )
}

impl Exposure {
    /// The alert.
    pub(super) fn alert(&self) -> Alert {
        let Subject { vendor, account, iam_user } = &self.subject;
        let sentence = exposed_in_words(vendor, iam_user, &self.policies, &self.response);
        Alert {
            vendor: Some(vendor.clone()),
            iam_user: Some(iam_user.clone()),
            account: account.clone(),
            owner: self.owner.clone(),
            rotation: self.rotation,
            ..Alert::of_house(Condition::Exposed, "quarantined", sentence, self.since)
        }
    }
}
