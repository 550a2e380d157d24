//! Writes metrics as text: Prometheus 0.0.4, or OpenMetrics 1.0 for clients that ask for it.
//!
//! The two formats differ in names, types and the end of the text, and no library writes both from one set of values.
//! So this module does.

use std::fmt::Write as _;

/// The text format of the metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExpositionFormat {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl ExpositionFormat {
    /// The format that an `Accept` header prefers. Prometheus if both weigh the same, or if neither is named.
    #[must_use]
    pub fn accepted(accept: &str) -> ExpositionFormat {
        let weight = |kind: &str| {
            let named = |range: &str| {
                let mut parts = range.split(';').map(str::trim);
                if parts.next() != Some(kind) {
                    return None;
                }
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                Some(weight.map_or(1.0, |weight| weight.parse::<f64>().unwrap_or(0.0)))
            };
            accept.split(',').filter_map(|range| named(range.trim())).fold(0.0, f64::max)
        };
        match weight("application/openmetrics-text") > weight("text/plain") {
            true => ExpositionFormat::OpenMetrics,
            false => ExpositionFormat::Prometheus,
        }
    }

    /// The `Content-Type` of the response.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            ExpositionFormat::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            ExpositionFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Info,
}

/// One metric, with all its samples.
pub(super) struct Family {
    /// The full name, with `_total` for a counter and `_info` for an info metric.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) samples: Vec<Sample>,
}

pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: i64,
}

/// The message of `expect` where text is written to a string: that cannot fail.
const ENDLESS: &str = "a string takes all that is written to it";

/// The metrics as text, in the given format.
pub(super) fn exposed(families: &[Family], form: ExpositionFormat) -> String {
    let mut text = String::new();
    for family in families {
        let (name, kind) = head(family, form);
        let escaped = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(text, "# HELP {name} {escaped}\n# TYPE {name} {kind}").expect(ENDLESS);
        for sample in &family.samples {
            writeln!(text, "{}{} {}", family.name, labels(&sample.labels), sample.value).expect(ENDLESS);
        }
    }
    if form == ExpositionFormat::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn head(family: &Family, form: ExpositionFormat) -> (&'static str, &'static str) {
    match (form, family.kind) {
        (_, Kind::Gauge) | (ExpositionFormat::Prometheus, Kind::Info) => (family.name, "gauge"),
        (ExpositionFormat::Prometheus, Kind::Counter) => (family.name, "counter"),
        (ExpositionFormat::OpenMetrics, Kind::Counter) => (family.name.trim_end_matches("_total"), "counter"),
        (ExpositionFormat::OpenMetrics, Kind::Info) => (family.name.trim_end_matches("_info"), "info"),
    }
}

fn labels(labels: &[(&'static str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> [Family; 2] {
        let sample = |labels, value| Sample { labels, value };
        [
            Family {
                name: "keyround_rotations_total",
                kind: Kind::Counter,
                help: "Rotations that ended.",
                samples: vec![sample(
                    vec![("vendor", "a\"b\\c\n".to_owned()), ("ending", "done".to_owned())],
                    3,
                )],
            },
            Family {
                name: "keyround_build_info",
                kind: Kind::Info,
                help: "This program.",
                samples: vec![sample(vec![("version", "1".to_owned())], 1)],
            },
        ]
    }

    #[test]
    fn prometheus_output_has_the_expected_form() {
        let expected = "# HELP keyround_rotations_total Rotations that ended.\n# TYPE keyround_rotations_total counter\n\
                        keyround_rotations_total{vendor=\"a\\\"b\\\\c\\n\",ending=\"done\"} 3\n\
                        # HELP keyround_build_info This program.\n# TYPE keyround_build_info gauge\n\
                        keyround_build_info{version=\"1\"} 1\n";
        assert_eq!(exposed(&families(), ExpositionFormat::Prometheus), expected);
    }

    #[test]
    fn openmetrics_output_omits_the_total_suffix_and_ends_with_eof() {
        let text = exposed(&families(), ExpositionFormat::OpenMetrics);
        assert!(text.starts_with(
            "# HELP keyround_rotations Rotations that ended.\n# TYPE keyround_rotations counter\n"
        ));
        assert!(
            text.contains("# TYPE keyround_build info\nkeyround_build_info{version=\"1\"} 1\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_accept_header_selects_the_exposition_format() {
        let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                               text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, form) in [
            ("", ExpositionFormat::Prometheus),
            ("*/*", ExpositionFormat::Prometheus),
            ("text/plain", ExpositionFormat::Prometheus),
            ("application/openmetrics-text", ExpositionFormat::OpenMetrics),
            ("application/openmetrics-text;q=0", ExpositionFormat::Prometheus),
            (
                "text/plain;q=0.9, application/openmetrics-text;version=1.0.0;q=0.3",
                ExpositionFormat::Prometheus,
            ),
            (prometheus_2_42, ExpositionFormat::OpenMetrics),
        ] {
            assert_eq!(ExpositionFormat::accepted(accept), form, "{accept}");
        }
    }
}
