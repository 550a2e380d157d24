//! The alert about an IAM user that AWS has quarantined because one of its access keys is public.

use crate::core::alert::active::Alert;
use crate::core::alert::condition::Condition;
use crate::core::ids::{AccountName, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::IncidentMode;
use crate::core::time::Timestamp;

/// An IAM user that has a quarantine policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exposure {
    /// The user.
    pub subject: Subject,
    /// The person or team to ask about the vendor, from the configuration.
    pub owner: Option<String>,
    /// The names of the quarantine policies that the user has; at least one.
    pub policies: Vec<String>,
    /// The time at which keyround first saw one of them.
    pub since: Timestamp,
    /// The rotation in which an incident was declared for this exposure; `None` if none was.
    pub rotation: Option<RotationId>,
    /// keyround's response to the exposure.
    pub response: Response,
}

/// keyround's response to an exposure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response {
    /// None: an operator must act.
    ByHand,
    /// An incident is declared: by keyround just now in this mode, or earlier, by keyround or by an operator (`None`).
    Declared(Option<IncidentMode>),
    /// keyround could not declare an incident, for the reason in this sentence. It tries again.
    Failed(String),
}

/// The result of the last poll of one account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExposureReading {
    /// The account; `None`: the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// The users with a quarantine policy. If the poll failed, those of the last poll that AWS answered.
    pub exposed: Vec<Exposure>,
    /// The users of the configuration that have no quarantine policy. Empty if the poll failed.
    pub clear: Vec<Subject>,
    /// The reason why AWS could not be asked; `None` if AWS answered.
    pub not_checked: Option<String>,
}

impl ExposureReading {
    /// The quarantine policies of this user, empty if it has none; `None` if the poll failed or did not include it.
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

/// The sentence about an exposed user: what the quarantine means, how keyround responds, and what an operator must do.
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
    /// The alert of the condition `exposed` about this user.
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
