//! Reads `actions` and `resources` of a vendor: what it is declared to need at AWS.

use super::reader::{Section, Text, quoted};
use super::report::{Mistake, Report};
use crate::config::settings::VendorNeeds;
use crate::review::policy::Pattern;
use crate::review::policy::generate::EVERYTHING;

const NONE: &str = "leave the key out when the vendor names none";

pub(super) fn read(section: &mut Section<'_>) -> VendorNeeds {
    let report = section.report;
    let actions = section.strings("actions", NONE).unwrap_or_default();
    let actions = actions.into_iter().filter_map(|text| action(report, text)).collect();
    let resources = section.strings("resources", NONE).unwrap_or_default();
    let resources = resources.into_iter().filter_map(|text| resource(report, text)).collect();
    if let (Some(place), None) = (section.place_of("resources"), section.place_of("actions")) {
        let mistake = Mistake::new(place, format!("{} has resources and no actions", section.title));
        report.add(mistake.hint("say which actions are needed on them: actions = [\"s3:PutObject\"]"));
    }
    VendorNeeds { actions, resources }
}

fn action(report: &Report<'_>, text: Text<'_>) -> Option<Pattern> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-*?_".contains(&byte);
    let is_action = text.text.split_once(':').is_some_and(|(service, name)| {
        !service.is_empty() && !name.is_empty() && service.bytes().chain(name.bytes()).all(plain)
    });
    if !is_action {
        let message = format!("{} is not an IAM action", quoted(text.text));
        report.add(Mistake::new(text.span, message).hint("such as s3:PutObject or ec2:Describe*"));
    }
    is_action.then(|| Pattern::new(text.text))
}

fn resource(report: &Report<'_>, text: Text<'_>) -> Option<String> {
    // With `*` the configuration states that the vendor reads the whole account.
    let is_arn =
        text.text.starts_with("arn:") && text.text.split(':').count() >= 6 || text.text == EVERYTHING;
    if !is_arn {
        let message = format!("{} is not an ARN", quoted(text.text));
        report.add(
            Mistake::new(text.span, message)
                .hint("such as arn:aws:s3:::logs/*, or * for a vendor that reads the whole account"),
        );
    }
    is_arn.then(|| text.text.to_owned())
}
