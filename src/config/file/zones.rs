//! Time zones: the meaning of a name, and hints for abbreviations.
//!
//! An abbreviation stands for an offset and not for a place, and several of them have more than one meaning. A hint
//! never suggests a zone with another meaning.

use chrono_tz::{TZ_VARIANTS, Tz};

const SUCH_AS: &str = "an IANA name such as UTC or Europe/Berlin";

/// Abbreviations that are not zone names, each with the places that may be meant.
const ABBREVIATIONS: [(&str, &str); 38] = [
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("PT", "America/Los_Angeles"),
    ("EDT", "America/New_York"),
    ("ET", "America/New_York"),
    ("CST", "America/Chicago, Asia/Shanghai or America/Havana"),
    ("CDT", "America/Chicago or America/Havana"),
    ("CT", "America/Chicago"),
    ("MDT", "America/Denver"),
    ("MT", "America/Denver"),
    ("AKST", "America/Anchorage"),
    ("AKDT", "America/Anchorage"),
    ("AST", "America/Halifax or Asia/Riyadh"),
    ("ADT", "America/Halifax"),
    ("NST", "America/St_Johns"),
    ("BRT", "America/Sao_Paulo"),
    ("ART", "America/Argentina/Buenos_Aires"),
    ("BST", "Europe/London or Asia/Dhaka"),
    ("IST", "Asia/Kolkata, Europe/Dublin or Asia/Jerusalem"),
    ("CEST", "Europe/Berlin or Europe/Paris"),
    ("MEZ", "Europe/Berlin"),
    ("MESZ", "Europe/Berlin"),
    ("EEST", "Europe/Athens or Europe/Helsinki"),
    ("WEST", "Europe/Lisbon"),
    ("MSK", "Europe/Moscow"),
    ("TRT", "Europe/Istanbul"),
    ("SAST", "Africa/Johannesburg"),
    ("WAT", "Africa/Lagos"),
    ("EAT", "Africa/Nairobi"),
    ("GST", "Asia/Dubai"),
    ("PKT", "Asia/Karachi"),
    ("SGT", "Asia/Singapore"),
    ("HKT", "Asia/Hong_Kong"),
    ("JST", "Asia/Tokyo"),
    ("KST", "Asia/Seoul"),
    ("AEST", "Australia/Sydney or Australia/Brisbane"),
    ("AEDT", "Australia/Sydney"),
    ("NZST", "Pacific/Auckland"),
];

/// Abbreviations that the time-zone database has as zone names, each with a place that may be meant.
const KNOWN_ABBREVIATIONS: [(&str, &str); 7] = [
    ("EST", "America/New_York"),
    ("MST", "America/Denver"),
    ("HST", "Pacific/Honolulu"),
    ("CET", "Europe/Berlin"),
    ("MET", "Europe/Berlin"),
    ("EET", "Europe/Athens"),
    ("WET", "Europe/Lisbon"),
];

/// The zone with this name, and a warning if the name has another meaning than many people expect.
///
/// # Errors
///
/// A hint for what to write instead.
pub(super) fn zone(name: &str) -> Result<(Tz, Option<String>), String> {
    let zone: Option<Tz> = name.parse().ok();
    zone.map(|zone| (zone, doubt(name))).ok_or_else(|| hint(name))
}

fn doubt(name: &str) -> Option<String> {
    if let Some((_, place)) = KNOWN_ABBREVIATIONS.iter().find(|(known, _)| *known == name) {
        let kept = match name {
            "EST" | "MST" | "HST" => "is a fixed offset without daylight saving time",
            _ => "has daylight saving time, although its name is that of the winter time",
        };
        return Some(format!("timezone = \"{name}\" {kept}; write a place, such as {place}"));
    }
    let offset = name.strip_prefix("Etc/GMT").filter(|offset| offset.starts_with(['+', '-']))?;
    if offset == "+0" || offset == "-0" {
        return None;
    }
    let side = if offset.starts_with('+') { "behind" } else { "ahead of" };
    Some(format!(
        "timezone = \"{name}\" is {} hours {side} UTC: the sign in such names is reversed",
        &offset[1..]
    ))
}

fn hint(name: &str) -> String {
    let upper = name.trim().to_uppercase();
    if let Some((_, places)) = ABBREVIATIONS.iter().find(|(known, _)| *known == upper) {
        return format!("{upper} is an abbreviation; write a place: {places}");
    }
    let offset = ["UTC", "GMT"].iter().find_map(|start| upper.strip_prefix(start)).unwrap_or(&upper);
    if offset.starts_with(['+', '-']) && offset.len() > 1 {
        return "an offset names no place; write one, such as Europe/Berlin".to_owned();
    }
    let lower = name.trim().to_lowercase().replace(' ', "_");
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let same = names().find(|known| known.to_lowercase() == lower);
    let city = || names().find(|known| known.to_lowercase().rsplit('/').next() == Some(lower.as_str()));
    // A difference of one letter counts as a typing error only in a long name with a slash. In an abbreviation one
    // letter makes another zone, and in the name of a city two letters do.
    let slip = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &lower) == 1;
    let is_place = lower.contains('/') && lower.len() < 64;
    let near = || names().filter(|known| is_place && known.len() > 8).find(|known| slip(known));
    let upper = upper.as_str();
    let is_abbreviation = name.len() <= 5 && name == upper;
    match same.or_else(|| (!is_abbreviation).then(city).flatten()).or_else(near) {
        Some(meant) => format!("did you mean {meant}?"),
        None => SUCH_AS.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_time_zone_is_refused_with_a_hint() {
        for (name, expect) in [
            ("PST", "America/Los_Angeles"),
            ("pst", "America/Los_Angeles"),
            ("IST", "Asia/Kolkata, Europe/Dublin or Asia/Jerusalem"),
            ("BST", "Europe/London"),
            ("CST", "America/Chicago, Asia/Shanghai"),
            ("Europe/Berln", "did you mean Europe/Berlin?"),
            ("europe/berlin", "did you mean Europe/Berlin?"),
            ("Berlin", "did you mean Europe/Berlin?"),
            ("New York", "did you mean America/New_York?"),
            ("Europe/Munich", SUCH_AS),
            ("XST", SUCH_AS),
            ("ABC", SUCH_AS),
            ("UTC+2", "an offset names no place"),
            ("+02:00", "an offset names no place"),
            ("", SUCH_AS),
        ] {
            let hint = zone(name).expect_err("no zone");
            assert!(hint.contains(expect), "{name}: {hint}");
        }
        for (abbreviation, places) in ABBREVIATIONS {
            assert!(zone(abbreviation).is_err(), "{abbreviation} is a zone");
            for place in places.split([',', ' ']).filter(|word| word.contains('/')) {
                assert!(place.parse::<Tz>().is_ok(), "{place}");
            }
        }
    }

    #[test]
    fn a_misleading_time_zone_name_gives_a_warning() {
        for (name, expect) in [
            ("EST", "without daylight saving time"),
            ("CET", "has daylight saving time"),
            ("Etc/GMT+5", "5 hours behind UTC"),
            ("Etc/GMT-2", "2 hours ahead of UTC"),
        ] {
            let warning = zone(name).expect("a zone").1.expect("a warning");
            assert!(warning.contains(expect), "{name}: {warning}");
        }
        for name in ["UTC", "Europe/Berlin", "GMT", "Etc/GMT+0", "Etc/UTC"] {
            assert_eq!(zone(name).expect("a zone").1, None, "{name}");
        }
    }
}
