//! Reads `kind = "command"`: a program that gets the pair on its standard input.

use super::answer;
use super::literal;
use super::reader::{self, Section};
use super::report::Mistake;
use super::steps;
use super::template::Scope;
use crate::config::settings::CommandStep;

const ARGV_HINT: &str = "such as argv = [\"/usr/local/bin/hand-over\", \"acme\"]";

/// Reads the program, and what is expected and captured from its output. Only a delivery can encrypt its data.
pub(super) fn command(mut section: Section<'_>, scope: &Scope) -> Option<CommandStep> {
    let argv = argv(&mut section);
    let timeout = steps::timeout(&mut section);
    let expect = answer::expect_output(&mut section, scope);
    let capture = answer::capture_output(&mut section);
    let encrypt_to = match scope.has_secret {
        true => steps::encrypt_to(&mut section),
        false => None,
    };
    section.finish();
    Some(CommandStep { argv: argv?, expect, capture, timeout, encrypt_to })
}

fn argv(section: &mut Section<'_>) -> Option<Vec<String>> {
    let entry = section.required("argv", ARGV_HINT)?;
    let list = reader::list(section.report, "argv", entry.value, ARGV_HINT)?;
    let texts: Vec<_> = list.iter().map(|value| reader::string(section.report, "argv", value)).collect();
    if let Some(program) = texts.iter().flatten().next().filter(|program| !program.text.starts_with('/')) {
        let mistake = Mistake::new(program.span, "the program is not named by an absolute path");
        section
            .report
            .add(mistake.hint("a search path can be changed by others, and this program gets a secret"));
    }
    for text in texts.iter().flatten().filter(|text| text.text.contains("{{") || text.text.contains("{%")) {
        let mistake = Mistake::new(
            text.span,
            "an argument cannot be a template: every user of the machine can read it",
        );
        section.report.add(mistake.hint("the program gets the values as JSON on its standard input"));
    }
    literal::judge_argv(section.report, &texts.iter().flatten().copied().collect::<Vec<_>>());
    for text in texts.iter().flatten().filter(|text| text.text.contains('\0')) {
        section.report.add(Mistake::new(text.span, "an argument cannot hold a NUL"));
    }
    texts.into_iter().map(|text| text.map(|text| text.text.to_owned())).collect()
}
