//! Where log lines go, and in which format.
//!
//! The formats are text for people, JSON for programs, and entries with fields for systemd's journal. The fields that
//! identify a rotation (its id, its vendor) are in every line that is logged on its behalf, whichever module logs it:
//! the engine opens a span with these fields, and each format writes the fields of the spans too.
//!
//! **Invariant:** all log lines go to standard error, or to the systemd journal that standard error is connected to.

use std::fmt;
use std::os::unix::fs::MetadataExt;

use serde_json::{Map, Value};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_serde::fields::AsMap;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::layer::{Filter, Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

use crate::cli::args::{Global, LogFormat};

/// The format of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lines {
    /// Text for a person.
    Text,
    /// Text for a person who reads systemd's journal: each line begins with its priority and has no time, which the
    /// journal adds.
    Prefixed,
    /// One JSON object for each line.
    Json,
    /// Entries of systemd's journal, with fields.
    Journal,
}

/// Starts logging. Under systemd, entries go to its journal in the native protocol unless the command line chooses
/// another format.
///
/// By default, the SDK logs from WARN on, because its lines at INFO name access keys. Its search for credentials logs
/// from ERROR on, because keyround itself reports the result of that search.
pub(crate) fn start(global: &Global, color: bool) -> Lines {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,aws_config=error,keyround=info",
        (false, 1) => "warn,keyround=debug",
        (false, _) => "info,keyround=trace,aws_config=warn,aws_sdk_iam=warn",
    };
    let asked = std::env::var("KEYROUND_LOG").ok();
    let filter = log_filter(asked.as_deref().unwrap_or(level), level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match (global.log_format, writes_to_journal()) {
        (Some(LogFormat::Json), _) => {
            let lines = lines.fmt_fields(JsonFields::new()).event_format(JsonLine);
            registry().with(lines.with_filter(filter)).init();
            Lines::Json
        }
        (None | Some(LogFormat::Text), false) => {
            registry().with(lines.with_ansi(color).event_format(TextLine).with_filter(filter)).init();
            Lines::Text
        }
        (None, true) => {
            let Ok(journal) = tracing_journald::layer() else {
                // The service's sandbox may hide the journal's socket. The stream that systemd connected still works.
                registry().with(lines.with_ansi(false).event_format(PrefixedLine).with_filter(filter)).init();
                return Lines::Prefixed;
            };
            let journal = journal.with_field_prefix(None).with_syslog_identifier("keyround".to_owned());
            registry().with(journal.with_priority_mappings(priorities()).with_filter(filter)).init();
            Lines::Journal
        }
        (Some(LogFormat::Text), true) => {
            registry().with(lines.with_ansi(false).event_format(PrefixedLine).with_filter(filter)).init();
            Lines::Prefixed
        }
    }
}

/// The filter for log lines: `asked`, or `otherwise` if `asked` cannot be parsed. At TRACE, the SDK and the libraries
/// beneath it quote requests and responses, which can contain session tokens, signed bodies, and whatever a broken
/// response contained. Such lines are never logged.
#[must_use]
pub fn log_filter<S>(asked: &str, otherwise: &str) -> impl Filter<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    const QUOTE: [&str; 7] = ["aws_", "h2", "hyper", "lettre", "reqwest", "rustls", "sqlx"];
    let filter = EnvFilter::try_new(asked).unwrap_or_else(|_| EnvFilter::new(otherwise));
    let is_quote = |line: &Metadata<'_>| {
        *line.level() == Level::TRACE && QUOTE.iter().any(|library| line.target().starts_with(library))
    };
    filter.and(filter_fn(move |line| !is_quote(line)))
}

/// Logs the error that ended the program, if the format is for programs. Returns whether it was logged; if not, the
/// caller prints it, so that it appears once.
pub(crate) fn say_last(lines: Lines, message: &str) -> bool {
    if !matches!(lines, Lines::Json | Lines::Journal) || !tracing::enabled!(Level::ERROR) {
        return false;
    }
    tracing::error!("{}", message.strip_prefix("error: ").unwrap_or(message));
    true
}

/// Whether standard error is the stream that systemd connected to its journal. The environment variable alone does not
/// prove this: a child process with another standard error inherits it.
fn writes_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

/// The syslog priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Formats a log line as `2026-11-23T03:00:00.123456Z  INFO acme: … rotation.stage="soak" rotation.id=…`
struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (dim, plain) = if writer.has_ansi_escapes() { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
        write!(writer, "{dim}")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "{plain} {} ", level_word(*event.metadata().level(), writer.has_ansi_escapes()))?;
        write_words(context, &mut writer, event)?;
        writeln!(writer)
    }
}

/// Formats a log line as `<6>acme: … rotation.stage="soak" rotation.id=…`. Each line of a message begins with the
/// priority.
struct PrefixedLine;

impl<S, N> FormatEvent<S, N> for PrefixedLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut words = String::new();
        write_words(context, &mut Writer::new(&mut words), event)?;
        writeln!(writer, "{}", prefixed(&words, *event.metadata().level()))
    }
}

/// The text with the syslog priority before each line, as systemd reads it from a stream.
pub(crate) fn prefixed(words: &str, level: Level) -> String {
    let lines: Vec<String> = words.lines().map(|line| format!("<{}>{line}", priority(level))).collect();
    lines.join("\n")
}

/// Writes the message and its fields, and then the fields of the spans, dimmed.
fn write_words<S, N>(
    context: &FmtContext<'_, S, N>,
    writer: &mut Writer<'_>,
    event: &Event<'_>,
) -> fmt::Result
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    context.format_fields(writer.by_ref(), event)?;
    let (dim, plain) = if writer.has_ansi_escapes() { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
    for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
        if let Some(fields) =
            span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty())
        {
            write!(writer, " {dim}{fields}{plain}")?;
        }
    }
    Ok(())
}

fn level_word(level: Level, color: bool) -> String {
    let number = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    match color {
        true => format!("\u{1b}[{number}m{level:>5}\u{1b}[0m"),
        false => format!("{level:>5}"),
    }
}

/// Formats a log line as one flat object: `{"level":"INFO","message":"…","rotation.id":"…","timestamp":"…",…}`.
struct JsonLine;

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = Map::new();
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            if let Some(Ok(Value::Object(fields))) = fields.map(|fields| serde_json::from_str(&fields.fields))
            {
                object.extend(fields);
            }
        }
        if let Ok(Value::Object(fields)) = serde_json::to_value(event.field_map()) {
            object.extend(fields);
        }
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        object.insert("timestamp".to_owned(), timestamp.into());
        object.insert("level".to_owned(), metadata.level().as_str().into());
        object.insert("target".to_owned(), metadata.target().into());
        writeln!(writer, "{}", Value::Object(object))
    }
}
