//! Reads `[exposure]`, and `[heartbeat]` and `[serve]`, with which other systems observe keyround.

use std::net::SocketAddr;
use std::time::Duration;

use super::reader::{self, Section, quoted};
use super::report::Mistake;
use super::steps;
use super::values::{self, Plaintext};
use crate::config::settings::{
    ExposureAction, ExposureSettings, HeartbeatSettings, HeartbeatUrl, ServeSettings,
};
use crate::core::rotation::IncidentMode;
use crate::core::time::in_words;

const POLL_DEFAULT: Duration = Duration::from_mins(1);
const POLL_MIN: Duration = Duration::from_secs(1);
/// More often than this is a load on an account that others call, too.
const POLL_SOON: Duration = Duration::from_secs(10);
const HEARTBEAT_HINT: &str = "such as https://hc-ping.com/…, or credential:heartbeat";
const PLAIN_HINT: &str = "use https: otherwise anybody on the network could report success";

pub(super) fn heartbeat(mut section: Section<'_>) -> Option<HeartbeatSettings> {
    let entry = section.required("url", HEARTBEAT_HINT);
    let url = entry.and_then(|entry| {
        let text = reader::unseen_string(section.report, "url", entry.value)?;
        if text.text.starts_with("https:") || text.text.starts_with("http:") {
            let address = values::address(section.report, text, Plaintext::Refused { hint: PLAIN_HINT });
            // Whoever knows the URL can report passes that did not happen, so reports do not show it.
            section.report.hide(text.span);
            return address.map(HeartbeatUrl::Plain);
        }
        reader::secret(section.report, entry.value).map(HeartbeatUrl::Secret)
    });
    let timeout = steps::timeout(&mut section);
    section.finish();
    Some(HeartbeatSettings { url: url?, timeout })
}

/// `[exposure]`
pub(super) fn exposure(mut section: Section<'_>) -> ExposureSettings {
    let poll = section.duration("poll", POLL_MIN).unwrap_or(POLL_DEFAULT);
    if poll < POLL_SOON {
        let poll = in_words(poll);
        section
            .report
            .warn(format!("[exposure]: poll = {poll} asks AWS three questions an account every {poll}"));
    }
    let action = section.string("action").and_then(|text| {
        let known = [
            ExposureAction::Alert,
            ExposureAction::Declare(IncidentMode::ReplaceFirst),
            ExposureAction::Declare(IncidentMode::CutFirst),
        ];
        let action = known.into_iter().find(|action| action.as_str() == text.text);
        if action.is_none() {
            let message = format!("{} is not what can be done about an exposed key", quoted(text.text));
            section
                .report
                .add(Mistake::new(text.span, message).hint("one of alert, replace-first and cut-first"));
        }
        action
    });
    section.finish();
    ExposureSettings { poll, action: action.unwrap_or(ExposureAction::Alert) }
}

pub(super) fn serve(mut section: Section<'_>) -> Option<ServeSettings> {
    let hint = "such as listen = \"127.0.0.1:9464\"";
    let entry = section.required("listen", hint);
    let text = entry.and_then(|entry| reader::string(section.report, "listen", entry.value));
    let token = section.secret("token");
    let listen = text.and_then(|text| {
        let listen = text.text.parse::<SocketAddr>().ok();
        if listen.is_none() {
            let message = format!("{} is not an IP address and a port", quoted(text.text));
            section.report.add(Mistake::new(text.span, message).hint(hint));
        }
        listen.map(|listen| (listen, text.span))
    });
    if let Some((listen, span)) = listen
        && !listen.ip().is_loopback()
        && section.place_of("token").is_none()
    {
        let message = "this address can be reached from other machines, and no token is asked for";
        let hint = "listen on 127.0.0.1, or say token = \"credential:serve-token\"";
        section.report.add(Mistake::new(span, message).hint(hint));
    }
    section.finish();
    listen.map(|(listen, _)| ServeSettings { listen, token })
}
