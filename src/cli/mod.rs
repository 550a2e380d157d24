//! The command line: what was asked, done, and shown.
//!
//! **Invariant:** results go to standard output, logs and progress to standard error, and this is
//! the only module that prints.

mod args;
mod check;
mod core_dumps;
mod exit;
mod explain;
mod history;
mod layout;
mod levers;
mod progress;
mod rehearse;
mod rotate;
mod run;
mod setup;
mod status;
mod vendors;
mod view;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Filter, Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

use args::{Cli, Color, Command, Format, Global, LogFormat};
use exit::{Code, Ended, Failure};

/// Parses the command line, runs the command, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a terminal that is gone.
            drop(error.print());
            return if error.use_stderr() { Code::Usage } else { Code::Fine }.into();
        }
    };
    let screen = Screen::new(&cli.global);
    start_logging(&cli.global, screen.color);
    if let Err(error) = core_dumps::forbid() {
        tracing::warn!("core dumps could not be switched off ({error}); a crash may write secrets to disk");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(cli, &screen)),
        Err(error) => Err(Failure::new(Code::TryAgain, format!("the runtime did not start: {error}"))),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => screen.fail(&failure),
    }
    .into()
}

async fn dispatch(cli: Cli, screen: &Screen) -> Ended {
    let config = cli.global.config.as_deref();
    match cli.command {
        Command::Run => run::run(config, screen).await,
        Command::Rotate(rotate) => rotate::rotate(config, rotate, screen).await,
        Command::Status(only) => status::status(config, &only.vendors, screen).await,
        Command::Explain { vendor } => explain::explain(config, vendor, screen).await,
        Command::Check { online } => check::check(config, online, screen).await,
        Command::Rehearse(only) => rehearse::rehearse(config, &only.vendors, screen).await,
        Command::Vendors(catalogue) => vendors::vendors(&catalogue, screen),
        Command::History(history) => history::history(config, history, screen).await,
        Command::Hold { vendor, until, why } => {
            levers::pull(config, &vendor, levers::Lever::Hold { until, why }, screen).await
        }
        Command::Resume { vendor } => levers::pull(config, &vendor, levers::Lever::Resume, screen).await,
        Command::Reactivate { vendor, why } => {
            levers::pull(config, &vendor, levers::Lever::Reactivate { why }, screen).await
        }
        Command::Abandon { vendor, why } => {
            levers::pull(config, &vendor, levers::Lever::Abandon { why }, screen).await
        }
    }
}

/// Where results and messages go, and how they look.
pub(crate) struct Screen {
    pub(crate) format: Format,
    pub(crate) color: bool,
    pub(crate) progress: bool,
    /// How wide tables and texts may be; `None`: as wide as they are.
    pub(crate) columns: Option<usize>,
}

impl Screen {
    fn new(global: &Global) -> Screen {
        let terminal = std::io::stderr().is_terminal();
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
        };
        Screen {
            format: global.format,
            color,
            progress: terminal && !global.quiet,
            columns: layout::columns(),
        }
    }

    /// Writes a result. A reader that went away (`| head`) is no failure of ours.
    #[expect(clippy::unused_self, reason = "results go through the screen, so that they can be found")]
    pub(crate) fn show(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        drop(writeln!(out, "{}", text.trim_end()));
    }

    /// Writes a result as JSON.
    pub(crate) fn show_json(&self, value: &impl serde::Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.show(&text),
            Err(error) => tracing::error!("the result could not be written as JSON: {error}"),
        }
    }

    fn fail(&self, failure: &Failure) -> Code {
        let (bold, plain) = if self.color { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
        let mut err = std::io::stderr().lock();
        match failure.message.starts_with("error") {
            true => drop(writeln!(err, "{}", failure.message)),
            false => drop(writeln!(err, "{bold}error{plain}: {}", failure.message)),
        }
        if let Some(hint) = &failure.hint {
            drop(writeln!(err, "hint: {hint}"));
        }
        failure.code
    }
}

/// Logs go to standard error. The SDK's own lines at INFO name access keys, so they start at WARN.
fn start_logging(global: &Global, color: bool) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,keyround=info",
        (false, 1) => "warn,keyround=debug",
        (false, _) => "info,keyround=trace,aws_config=warn,aws_sdk_iam=warn",
    };
    let asked = std::env::var("KEYROUND_LOG").ok();
    let filter = log_filter(asked.as_deref().unwrap_or(level), level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(color);
    match global.log_format {
        LogFormat::Text => registry().with(lines.with_target(false).with_filter(filter)).init(),
        LogFormat::Json => registry().with(lines.json().with_filter(filter)).init(),
    }
}

/// What is logged: what was asked for, or if that cannot be understood, this. At TRACE the SDK quotes the answers of AWS
/// and its messages, in which there can be session tokens, and whatever a broken answer brought; that is never logged.
pub fn log_filter<S>(asked: &str, otherwise: &str) -> impl Filter<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    const QUOTES: &str = "aws_smithy_runtime::client::orchestrator";
    let filter = EnvFilter::try_new(asked).unwrap_or_else(|_| EnvFilter::new(otherwise));
    let is_quote = |line: &Metadata<'_>| *line.level() == Level::TRACE && line.target().starts_with(QUOTES);
    filter.and(filter_fn(move |line| !is_quote(line)))
}
