//! `man`, `completions` and `schema`: files that packages and editors need beside the program. The first two are
//! generated from the definition of the command line, so they agree with `--help`.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Screen;
use crate::cli::args::Cli;
use crate::cli::exit::{Code, Ended, Failure};
use crate::config;

/// The sections of the main manual page for which the definition of the command line has no place: a heading, and pairs
/// of a term and its meaning.
const SECTIONS: [(&str, &[(&str, &str)]); 4] = [
    (
        "EXIT STATUS",
        &[
            ("0", "Fine; also when nothing was due."),
            ("1", "An operation failed or a vendor is stuck; the other vendors continued."),
            ("2", "Only with --detailed-exitcode: work is due or under way."),
            ("64", "The command line is wrong."),
            ("75", "The journal or AWS cannot be reached; try again later."),
            ("78", "The configuration, or the content of the journal, is wrong."),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "No new effect begins. The program ends when the effects under way have finished.",
            ),
            (
                "SIGHUP",
                "run reads the configuration again. If it has mistakes, the previous one stays in force.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("KEYROUND_CONFIG", "The configuration, when --config does not name it."),
            ("KEYROUND_LOG", "A filter for log lines, such as warn,keyround=debug."),
            ("CREDENTIALS_DIRECTORY", "Where credential:NAME is read; systemd sets it."),
            (
                "STATE_DIRECTORY",
                "The folder of the journal, when the configuration does not name one; systemd sets it.",
            ),
            ("NO_COLOR", "When it is set, the output has no colour unless --color asks for it."),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/keyround/rotation.toml", "The configuration, when there is no ./rotation.toml."),
            (
                "/var/lib/keyround/",
                "The journal of the service and, unless the configuration names another, its seal key.",
            ),
        ],
    ),
];

/// Writes the completion script for this shell.
pub(crate) fn completions(shell: Shell, screen: &Screen) -> Code {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keyround", &mut script);
    screen.show(&String::from_utf8_lossy(&script));
    Code::Fine
}

/// Writes the JSON Schema of the configuration.
pub(crate) fn schema(screen: &Screen) -> Code {
    screen.show(config::SCHEMA);
    Code::Fine
}

/// Writes the manual page of the program, or of one command.
pub(crate) fn man(command: Option<&str>, screen: &Screen) -> Ended {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let page = match command {
        None => rendered(&Man::new(program), &SECTIONS),
        Some(name) => {
            let Some(found) = program.find_subcommand(name) else {
                let failure = Failure::new(Code::Usage, format!("there is no command {name}"));
                return Err(failure.hinted("`keyround --help` shows the commands that there are"));
            };
            rendered(&Man::new(found.clone().display_name(format!("keyround-{name}"))), &[])
        }
    };
    let page = page.map_err(|error| Failure::new(Code::Failed, format!("no manual page: {error}")))?;
    screen.show(&String::from_utf8_lossy(&page));
    Ok(Code::Fine)
}

fn rendered(man: &Man, sections: &[(&str, &[(&str, &str)])]) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut more = Roff::new();
    for (heading, entries) in sections {
        more.control("SH", [*heading]);
        for (word, meaning) in *entries {
            more.control("TP", []);
            more.text([bold(*word)]);
            more.text([roman(*meaning)]);
        }
    }
    more.to_writer(&mut page)?;
    Ok(page)
}
