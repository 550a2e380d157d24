//! The timeline of a rehearsal: day by day, with each request as it would be sent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::adapters::rehearsal::{Exchange, RehearsalWorld, Reply};
use crate::cli::rehearse::day;
use crate::cli::rehearse::notebook::{Note, Notebook};
use crate::config::settings::KeyAccess;
use crate::core::ids::{AccessKeyId, Subject, VendorName};
use crate::core::time::{Timestamp, in_words};

const HEADING: &str = "\
A rehearsal: AWS and the vendors are stand-ins in this process, and the clock jumps. No credential was
read and nothing was sent. <…> stands where a secret would be.";

/// The indentation of a request below its line.
const INDENT: &str = "                              | ";

/// The rehearsal of one user.
#[derive(Serialize)]
pub(super) struct Play {
    vendor: String,
    iam_user: Option<String>,
    summary: String,
    ended: bool,
    outage: Option<String>,
    lines: Vec<Line>,
    aws_calls: BTreeMap<&'static str, u64>,
}

/// One line of the timeline.
#[derive(Serialize)]
struct Line {
    day: u64,
    at: Timestamp,
    what: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestView>,
}

#[derive(Serialize)]
struct RequestView {
    line: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    /// The HTTP status of the reply; `None` for a program or a stored secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    reply: String,
}

impl Play {
    pub(super) fn nothing_to_rotate(vendor: &VendorName, role_arn: &str) -> Play {
        Play {
            vendor: vendor.to_string(),
            iam_user: None,
            summary: format!("the vendor assumes {role_arn}: there is no key to rotate"),
            ended: true,
            outage: None,
            lines: Vec::new(),
            aws_calls: BTreeMap::new(),
        }
    }

    pub(super) fn new(
        subject: &Subject,
        day_0: Timestamp,
        first_key: &AccessKeyId,
        access: &KeyAccess,
        notebook: &Notebook,
        stage: &RehearsalWorld,
    ) -> Play {
        let (notes, ended) = notebook.read();
        let mut lines =
            vec![Line::plain(day_0, day_0, "made", format!("{first_key} is made, and the vendor uses it"))];
        lines.extend(notes.iter().map(|note| Line::new(day_0, note)));
        let last = lines.last().map_or(0, |line| line.day);
        let outage = stage.outage();
        let working = match &outage {
            None => "the vendor had a working key all the time".to_owned(),
            Some(outage) => format!("BUT {outage}"),
        };
        let due = in_words(access.ages.max_age);
        let summary = match ended {
            true => format!("due at {due}, replaced and deleted on day {last}; {working}"),
            false => format!("due at {due}, and NOT over on day {last}; {working}"),
        };
        let (vendor, iam_user) = (subject.vendor.to_string(), Some(subject.iam_user.to_string()));
        Play { vendor, iam_user, summary, ended, outage, lines, aws_calls: stage.calls() }
    }

    /// Whether the rotation ended and the vendor had a working key all the time.
    pub(super) fn is_good(&self) -> bool {
        self.ended && self.outage.is_none()
    }

    fn render(&self, out: &mut Vec<String>) {
        let user = self.iam_user.as_ref().map(|user| format!(", IAM user {user}")).unwrap_or_default();
        out.push(String::new());
        out.push(format!("{}{user}", self.vendor));
        let mut shown_day = None;
        let mut shown_requests = BTreeSet::new();
        for line in &self.lines {
            let date = (shown_day != Some(line.day)).then(|| format!("day {:>3}", line.day));
            shown_day = Some(line.day);
            let time = &line.at.to_string()[..16];
            let date = date.unwrap_or_default();
            out.push(format!("  {date:<7}  {time}Z  {:<12} {}", line.what, line.text));
            match &line.request {
                Some(request) if shown_requests.insert((&request.line, &request.body)) => request.render(out),
                Some(request) => out.push(format!("{INDENT}as before; {}", request.reply)),
                None => {}
            }
        }
        let calls: Vec<String> =
            self.aws_calls.iter().map(|(call, count)| format!("{count} {call}")).collect();
        if !calls.is_empty() {
            out.push(format!("  AWS calls in all: {}", calls.join(", ")));
        }
        out.push(format!("  {}", self.summary));
    }
}

impl Line {
    fn plain(day_0: Timestamp, at: Timestamp, what: &str, text: String) -> Line {
        Line { day: day(day_0, at), at, what: what.to_owned(), text, request: None }
    }

    fn new(day_0: Timestamp, note: &Note) -> Line {
        let at = note.at();
        match note {
            Note::Verdict { state, sentence, .. } => {
                Line::plain(day_0, at, &format!("[{state}]"), sentence.clone())
            }
            Note::Event { name, words, .. } => Line::plain(day_0, at, name, words.clone()),
            Note::Exchange(exchange) => Line {
                request: Some(RequestView::new(exchange)),
                ..Line::plain(day_0, at, "request", exchange.line.clone())
            },
        }
    }
}

impl RequestView {
    fn new(exchange: &Exchange) -> RequestView {
        RequestView {
            line: exchange.line.clone(),
            headers: exchange.headers.clone(),
            body: exchange.body.clone(),
            status: match exchange.reply {
                Reply::Status(status) => Some(status),
                Reply::Exit(_) | Reply::Stored => None,
            },
            reply: exchange.reply.to_string(),
        }
    }

    fn render(&self, out: &mut Vec<String>) {
        out.extend(self.headers.iter().map(|(name, value)| format!("{INDENT}{name}: {value}")));
        if let Some(body) = &self.body {
            out.extend(readable(body).lines().map(|line| format!("{INDENT}{line}")));
        }
        out.push(format!("{INDENT}{}", self.reply));
    }
}

/// The body with JSON pretty-printed; any other text unchanged.
fn readable(body: &str) -> String {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(body);
    parsed.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| body.to_owned())
}

pub(super) fn render(plays: &[Play]) -> String {
    let mut out = vec![HEADING.to_owned()];
    for play in plays {
        play.render(&mut out);
    }
    out.join("\n")
}
