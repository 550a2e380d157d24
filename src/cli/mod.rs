//! The command line: parses the arguments, runs the command, and prints its result.
//!
//! This module also wires the adapters to the ports.
//!
//! **Invariant:** results go to standard output, logs and progress go to standard error, and no other module prints.

mod acting;
mod alert;
mod alert_task;
mod args;
mod audit;
mod check;
mod core_dumps;
mod exit;
mod explain;
mod exposure;
mod findings;
mod history;
mod incident;
mod init;
mod issue;
mod journal;
mod layout;
mod logging;
mod login;
mod manual;
mod metrics;
mod offboard;
mod operator;
mod policy;
mod progress;
mod rehearse;
mod report;
mod reveal;
mod rotate;
mod run;
mod setup;
mod status;
mod status_line;
mod systemd;
mod terminal;
mod vendors;
mod view;
mod webhook;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing::Level;

use args::{AlertCommand, Cli, Color, Command, Format, Global, Output, WebhookCommand};
use exit::{Code, Ended, Failure};
use logging::Lines;

pub use logging::log_filter;

use crate::core::secret::Secret;

/// Parses the command line, runs the command, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If the terminal is gone, this error cannot be reported anywhere.
            drop(error.print());
            return if error.use_stderr() { Code::Usage } else { Code::Fine }.into();
        }
    };
    let screen = Screen::new(&cli.global);
    if let Err(error) = core_dumps::forbid() {
        tracing::warn!("core dumps could not be switched off ({error}); a crash may write secrets to disk");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(async {
            let ended = dispatch(cli, &screen).await;
            setup::close_journals().await;
            ended
        }),
        Err(error) => Err(Failure::new(Code::TryAgain, format!("the runtime did not start: {error}"))),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => screen.fail(&failure),
    }
    .into()
}

/// Runs the command that the arguments name.
async fn dispatch(cli: Cli, screen: &Screen) -> Ended {
    let config = cli.global.config.as_deref();
    if !matches!(cli.command, Command::Audit(_) | Command::Policy(_)) {
        screen.demand_plain()?;
    }
    match cli.command {
        Command::Run => run::run(config, screen).await,
        Command::Rotate(rotate) => rotate::rotate(config, rotate, screen).await,
        Command::Status(only) => status::status(config, &only.vendors, screen).await,
        Command::Explain { vendor } => explain::explain(config, vendor, screen).await,
        Command::Check { online } => check::check(config, online, screen).await,
        Command::Alert { command: AlertCommand::Test { name } } => alert::test(config, name, screen).await,
        Command::Webhook { command: WebhookCommand::SendTest { vendor } } => {
            webhook::send_test(config, vendor, screen).await
        }
        Command::Metrics { command } => metrics::metrics(command, screen),
        Command::Report(report) => report::report(config, report, screen).await,
        Command::Rehearse(only) => rehearse::rehearse(config, &only.vendors, screen).await,
        Command::Vendors(catalogue) => vendors::vendors(&catalogue, screen),
        Command::Audit(asked) => audit::audit(config, asked, screen).await,
        Command::Policy(asked) => policy::policy(config, asked, screen).await,
        Command::History(history) => history::history(config, history, screen).await,
        Command::Journal { command } => journal::journal(config, command, screen).await,
        Command::Init { output } => init::init(config, output.as_deref(), screen).await,
        Command::Hold { vendor, until, why } => {
            operator::record(config, &vendor, operator::OperatorAction::Hold { until, why }, screen).await
        }
        Command::Resume { vendor } => {
            operator::record(config, &vendor, operator::OperatorAction::Resume, screen).await
        }
        Command::Reactivate { vendor, exposed, why } => {
            operator::record(config, &vendor, operator::OperatorAction::Reactivate { why, exposed }, screen)
                .await
        }
        Command::Reveal(reveal) => reveal::reveal(config, reveal, screen).await,
        Command::Ack { vendor, user } => {
            operator::record(config, &vendor, operator::OperatorAction::Acknowledge { user }, screen).await
        }
        Command::Abandon { vendor, why } => {
            operator::record(config, &vendor, operator::OperatorAction::Abandon { why }, screen).await
        }
        Command::Incident(asked) => incident::incident(config, asked, screen).await,
        Command::Offboard(asked) => offboard::offboard(config, asked, screen).await,
        Command::Issue(asked) => issue::issue(config, asked, screen).await,
        Command::Completions { shell } => Ok(manual::completions(shell, screen)),
        Command::Schema => Ok(manual::schema(screen)),
        Command::Man { command } => manual::man(command.as_deref(), screen),
    }
}

/// Prints results and the final error in the format, colour and width that the arguments and the terminal determine.
pub(crate) struct Screen {
    pub(crate) format: Format,
    /// The value of `--format`. It includes the formats for findings, which [`Format`] does not have.
    pub(crate) output: Output,
    pub(crate) color: bool,
    pub(crate) progress: bool,
    /// The format of log lines.
    log: Lines,
    /// The maximum width of tables and texts, in columns; `None`: no limit.
    pub(crate) columns: Option<usize>,
}

impl Screen {
    /// Reads the arguments and the terminal. This also starts logging.
    fn new(global: &Global) -> Screen {
        let terminal = std::io::stderr().is_terminal();
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
        };
        Screen {
            format: if global.format == Output::Table { Format::Table } else { Format::Json },
            output: global.format,
            color,
            progress: terminal && !global.quiet,
            log: logging::start(global, color),
            columns: layout::columns(),
        }
    }

    /// Refuses a format for findings. Only `audit` and `policy` have findings to write.
    fn demand_plain(&self) -> Result<(), Failure> {
        match self.output {
            Output::Table | Output::Json => Ok(()),
            Output::Csv | Output::Sarif | Output::Asff | Output::Ocsf => {
                let message = "this command writes --format table or json; the others are for findings";
                Err(Failure::new(Code::Usage, message))
            }
        }
    }

    /// Writes a result. If the reader has closed the pipe, as in `| head`, this is not an error.
    #[expect(clippy::unused_self, reason = "results go through the screen, so that they can be found")]
    pub(crate) fn show(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        drop(writeln!(out, "{}", terminal::shown(text.trim_end())));
    }

    /// Writes a result that is a secret. If the reader has closed the pipe, this is an error, because the secret was
    /// not shown.
    #[expect(clippy::unused_self, reason = "results go through the screen, so that they can be found")]
    pub(crate) fn show_secret(&self, text: &Secret) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", text.expose().trim_end())?;
        out.flush()
    }

    /// Writes a result as JSON.
    pub(crate) fn show_json(&self, value: &impl serde::Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.show(&text),
            Err(error) => tracing::error!("the result could not be written as JSON: {error}"),
        }
    }

    /// Reports the error that ends the program, and returns its exit code. If the log is for programs, the error is a
    /// log entry; if not, it is printed to standard error.
    fn fail(&self, failure: &Failure) -> Code {
        let hint = failure.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        if logging::say_last(self.log, &format!("{}{hint}", failure.message)) {
            return failure.code;
        }
        let (bold, plain) = if self.color { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
        let words = match failure.message.starts_with("error") {
            true => format!("{}{hint}", failure.message),
            false => format!("{bold}error{plain}: {}{hint}", failure.message),
        };
        let words = terminal::shown_in_color(&words);
        let mut err = std::io::stderr().lock();
        match self.log {
            Lines::Prefixed => drop(writeln!(err, "{}", logging::prefixed(&words, Level::ERROR))),
            Lines::Text | Lines::Json | Lines::Journal => drop(writeln!(err, "{words}")),
        }
        failure.code
    }
}
