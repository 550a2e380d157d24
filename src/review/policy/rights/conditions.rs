//! Conditions: whether one request meets them, and whether every request or no request can.
//!
//! The meaning of each operator follows "IAM JSON policy elements: Condition operators". A missing key does not
//! meet an operator that demands a value; it meets an operator that forbids one, `…IfExists` and `ForAllValues:`.

use std::collections::BTreeMap;

use crate::core::time::Timestamp;
use crate::review::policy::address::{Network, are_everywhere};
use crate::review::policy::{Condition, Pattern};

/// The condition keys of a request, in lower case, with their values. A key with no values is known to be missing.
pub type Context = BTreeMap<String, Vec<String>>;

/// Which requests meet a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Met {
    /// Every request.
    Always,
    /// No request.
    Never,
    /// Some requests, or it is not known which.
    Depends,
}

/// Condition keys that are present in every request made with credentials.
const PRESENT: [&str; 9] = [
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principaltype",
    "aws:securetransport",
    "aws:sourceip",
    "aws:userid",
    "aws:viaawsservice",
];
const TOKEN_ISSUED: &str = "aws:tokenissuetime";
const NOW: &str = "aws:currenttime";
/// A moment in the past, so that every date before it has passed. No token issued before it is still valid, because
/// a session lasts 36 hours at most.
const OVER: &str = "2025-01-01T00:00:00Z";

/// A condition operator, split into its parts.
struct Operator {
    /// In lower case, such as `stringequals`.
    base: String,
    if_exists: bool,
    set: Option<Set>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Set {
    Any,
    All,
}

impl Operator {
    fn of(condition: &Condition) -> Operator {
        let written = condition.operator.value.to_ascii_lowercase();
        let (set, rest) = match written.split_once(':') {
            Some(("foranyvalue", rest)) => (Some(Set::Any), rest),
            Some(("forallvalues", rest)) => (Some(Set::All), rest),
            _ => (None, written.as_str()),
        };
        let bare = rest.strip_suffix("ifexists");
        Operator { base: bare.unwrap_or(rest).to_owned(), if_exists: bare.is_some(), set }
    }

    fn is_negated(&self) -> bool {
        self.base.contains("not")
    }
}

/// Which requests meet all of these conditions, given the values in `known`.
#[must_use]
pub fn met_by(conditions: &[Condition], known: &Context) -> Met {
    let met: Vec<Met> = conditions.iter().map(|one| met(one, known)).collect();
    match () {
        () if met.contains(&Met::Never) => Met::Never,
        () if met.iter().all(|one| *one == Met::Always) => Met::Always,
        () => Met::Depends,
    }
}

fn met(condition: &Condition, known: &Context) -> Met {
    let key = condition.key.value.to_ascii_lowercase();
    if known.contains_key(&key) {
        return if meets(condition, known) { Met::Always } else { Met::Never };
    }
    let operator = Operator::of(condition);
    let values = || condition.values.iter().map(|value| value.value.as_str());
    let is_present = PRESENT.contains(&key.as_str());
    let passes_missing = operator.if_exists || operator.set == Some(Set::All);
    let is_any = |value: &str| value.contains('*') && value.bytes().all(|byte| byte == b'*');
    match operator.base.as_str() {
        "null" if is_present => bool_met(values().all(|value| value.eq_ignore_ascii_case("false"))),
        "stringlike" | "arnlike" | "arnequals" if values().any(is_any) && (is_present || passes_missing) => {
            Met::Always
        }
        "stringnotlike" | "arnnotlike" | "arnnotequals" if values().any(is_any) && is_present => Met::Never,
        "ipaddress" if is_every_address(values()) => Met::Always,
        "notipaddress" if is_every_address(values()) && key == "aws:sourceip" => Met::Never,
        "bool"
            if key == "aws:securetransport" && values().all(|value| value.eq_ignore_ascii_case("true")) =>
        {
            Met::Always
        }
        "datelessthan" | "datelessthanequals" if is_of_time(&key) && values().all(is_over) => {
            if passes_missing && key == TOKEN_ISSUED {
                Met::Depends
            } else {
                Met::Never
            }
        }
        "dategreaterthan" | "dategreaterthanequals" if key == NOW && values().all(is_over) => Met::Always,
        _ => Met::Depends,
    }
}

fn bool_met(met: bool) -> Met {
    if met { Met::Always } else { Met::Never }
}

fn is_of_time(key: &str) -> bool {
    [NOW, TOKEN_ISSUED].contains(&key)
}

fn is_over(value: &str) -> bool {
    moment(value).is_some_and(|at| moment(OVER).is_some_and(|over| at < over))
}

fn is_every_address<'v>(values: impl Iterator<Item = &'v str>) -> bool {
    are_everywhere(&values.filter_map(Network::parse).collect::<Vec<_>>())
}

/// Whether a request with these keys meets the condition.
#[must_use]
pub fn meets(condition: &Condition, context: &Context) -> bool {
    let operator = Operator::of(condition);
    let key = condition.key.value.to_ascii_lowercase();
    let found: &[String] = context.get(&key).map_or(&[], Vec::as_slice);
    if operator.base == "null" {
        return condition
            .values
            .iter()
            .any(|value| value.value.eq_ignore_ascii_case("true") == found.is_empty());
    }
    if found.is_empty() {
        return match operator.set {
            Some(Set::All) => true,
            Some(Set::Any) => operator.if_exists,
            None => operator.if_exists || operator.is_negated(),
        };
    }
    let wanted = || condition.values.iter().map(|value| value.value.as_str());
    let one = |found: &String| match operator.is_negated() {
        false => wanted().any(|wanted| compares(&operator.base, found, wanted)),
        true => !wanted().any(|wanted| compares(&operator.base.replacen("not", "", 1), found, wanted)),
    };
    match operator.set {
        Some(Set::Any) => found.iter().any(one),
        Some(Set::All) | None => found.iter().all(one),
    }
}

/// Compares one value of the request with one value of the condition. `operator` is in lower case and has no `not`.
fn compares(operator: &str, found: &str, wanted: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let numbers = || number(found).zip(number(wanted));
    let dates = || moment(found).zip(moment(wanted));
    match operator {
        "stringequals" | "binaryequals" => found == wanted,
        "stringequalsignorecase" | "bool" => found.eq_ignore_ascii_case(wanted),
        "stringlike" => Pattern::new(wanted).matches_exactly(found),
        "arnequals" | "arnlike" => Pattern::new(wanted).matches_resource(found),
        "numericequals" => numbers().is_some_and(|(found, wanted)| found.total_cmp(&wanted).is_eq()),
        "numericlessthan" => numbers().is_some_and(|(found, wanted)| found < wanted),
        "numericlessthanequals" => numbers().is_some_and(|(found, wanted)| found <= wanted),
        "numericgreaterthan" => numbers().is_some_and(|(found, wanted)| found > wanted),
        "numericgreaterthanequals" => numbers().is_some_and(|(found, wanted)| found >= wanted),
        "dateequals" => dates().is_some_and(|(found, wanted)| found == wanted),
        "datelessthan" => dates().is_some_and(|(found, wanted)| found < wanted),
        "datelessthanequals" => dates().is_some_and(|(found, wanted)| found <= wanted),
        "dategreaterthan" => dates().is_some_and(|(found, wanted)| found > wanted),
        "dategreaterthanequals" => dates().is_some_and(|(found, wanted)| found >= wanted),
        "ipaddress" => is_in(found, wanted),
        _ => false,
    }
}

/// Seconds since 1970, from a number of seconds, an RFC 3339 time, or a day (`YYYY-MM-DD`, taken as midnight UTC).
fn moment(text: &str) -> Option<i64> {
    let seconds = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::unix_seconds);
    text.parse::<i64>().ok().or_else(|| seconds(text)).or_else(|| seconds(&format!("{text}T00:00:00Z")))
}

fn is_in(address: &str, network: &str) -> bool {
    Network::parse(network).zip(Network::parse(address)).is_some_and(|(outer, inner)| outer.contains(&inner))
}
