//! `vendors` lists the presets that come with the program; `vendors show` shows one, with a configuration to paste.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::cli::Screen;
use crate::cli::args::{Catalogue, CatalogueCommand, Format};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::layout::{Row, table, wrapped};
use crate::config::catalogue::{Parameter, Preset, catalogue};

/// The minimum similarity, from 0 to 1, at which a preset is suggested for a misspelled name.
const ALIKE_MIN: f64 = 0.75;
/// The maximum length of a new preset's name, in bytes.
const NAME_MAX: usize = 64;
/// The text of a new preset, with comments. `NAME` stands for its name.
const NEW_PRESET: &str = include_str!("new_preset.toml");

#[derive(Serialize)]
struct PresetView<'a> {
    preset: &'a str,
    title: &'a str,
    evidence: &'static str,
    read_back: &'a str,
    source: &'a str,
    can_verify: bool,
    can_probe: bool,
    notes: &'a [String],
    permissions: &'a [String],
    parameters: Vec<ParameterView<'a>>,
}

#[derive(Serialize)]
struct ParameterView<'a> {
    name: &'a str,
    secret: bool,
    required: bool,
    r#type: &'static str,
    default: Option<&'a str>,
    choices: &'a [String],
    doc: &'a str,
}

impl<'a> PresetView<'a> {
    fn new(preset: &'a Preset) -> PresetView<'a> {
        PresetView {
            preset: &preset.name,
            title: &preset.title,
            evidence: preset.evidence.as_str(),
            read_back: &preset.read_back,
            source: &preset.source,
            can_verify: preset.can_verify,
            can_probe: preset.can_probe,
            notes: &preset.notes,
            permissions: &preset.permissions,
            parameters: preset.parameters.iter().map(ParameterView::new).collect(),
        }
    }
}

impl<'a> ParameterView<'a> {
    fn new(parameter: &'a Parameter) -> ParameterView<'a> {
        ParameterView {
            name: &parameter.name,
            secret: parameter.secret,
            required: parameter.required,
            r#type: parameter.kind.as_str(),
            default: parameter.default.as_deref(),
            choices: &parameter.choices,
            doc: &parameter.doc,
        }
    }
}

pub(crate) fn vendors(asked: &Catalogue, screen: &Screen) -> Ended {
    let presets = catalogue();
    match &asked.command {
        None => list(&presets, screen),
        Some(CatalogueCommand::Show { preset }) => show(known(&presets, preset)?, screen),
        Some(CatalogueCommand::New { name, output }) => write_new(name, output.as_deref(), screen)?,
    }
    Ok(Code::Fine)
}

fn known<'p>(presets: &'p [Preset], name: &str) -> Result<&'p Preset, Failure> {
    if let Some(preset) = presets.iter().find(|preset| preset.name == name) {
        return Ok(preset);
    }
    let failure = Failure::new(Code::Usage, format!("there is no preset {name:?}"));
    let alike = |preset: &&Preset| strsim::jaro_winkler(&preset.name, name);
    let nearest = presets.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    Err(match nearest.filter(|nearest| alike(nearest) >= ALIKE_MIN) {
        Some(nearest) => failure.hinted(format!("did you mean {}?", nearest.name)),
        None => failure.hinted("`keyround vendors` lists the presets that there are"),
    })
}

fn list(presets: &[Preset], screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&presets.iter().map(PresetView::new).collect::<Vec<_>>());
    }
    let row = |preset: &Preset| {
        let asked = if preset.can_verify {
            preset.read_back.clone()
        } else {
            format!("{}, not asked", preset.read_back)
        };
        let cells = vec![preset.name.clone(), asked, preset.evidence.as_str().to_owned()];
        Row { cells, sentence: preset.title.clone() }
    };
    let header = ["PRESET", "READ BACK", "EVIDENCE", "WHAT IT WRITES"];
    let rows = table(&header, presets.iter().map(row).collect(), screen.columns);
    let foot = "READ BACK, what the vendor shows: R1 the key id, R2 the pair, R3 a time or a version, R4 a masked tail, \
                R5 nothing.\n\
                EVIDENCE: openapi: its requests are validated against the vendor's API description; docs: written from \
                the vendor's documentation.\n\
                keyround vendors show PRESET shows its parameters, and a configuration to paste.";
    screen.show(&format!("{rows}\n\n{}", wrapped(foot, screen.columns)));
}

fn show(preset: &Preset, screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&PresetView::new(preset));
    }
    let mut lines = vec![format!("{}: {}", preset.name, preset.title), String::new()];
    lines.extend(preset.notes.iter().map(|note| format!("- {note}")));
    let asks_back = match preset.can_verify {
        true => "the vendor is asked which key is in force",
        false => "not verified: the vendor cannot be asked which key is in force",
    };
    lines.push(format!("- {} ({}).", capitalised(asks_back), preset.read_back));
    if !preset.permissions.is_empty() {
        lines.push(format!("- The vendor needs: {}.", preset.permissions.join(", ")));
    }
    lines.push(format!("- Evidence: {}. Source: {}", preset.evidence.as_str(), preset.source));
    let head = wrapped(&lines.join("\n"), screen.columns);
    screen.show(&format!("{head}\n\nA configuration to paste:\n\n{}", preset.configuration()));
}

/// Writes a commented preset into a new file. Fails if the file exists.
fn write_new(name: &str, output: Option<&Path>, screen: &Screen) -> Result<(), Failure> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
        let message = format!("{name:?} cannot be the name of a preset");
        return Err(
            Failure::new(Code::Usage, message).hinted("lower-case letters, digits and dashes: acme-logs")
        );
    }
    let file = format!("{name}.toml");
    let path = output.unwrap_or_else(|| Path::new(&file));
    let shown = path.display();
    let written = File::options()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(NEW_PRESET.replace("NAME", name).as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Code::Usage, format!("{shown} exists, and was not changed"))
        }
        _ => Failure::new(Code::Failed, format!("{shown} cannot be written: {error}")),
    })?;
    let next = format!(
        "wrote {shown}; fill it in, name its folder in rotation.toml ([presets] folder), and try it with keyround check and \
         keyround rehearse"
    );
    match screen.format {
        Format::Json => screen.show_json(&serde_json::json!({ "preset": name, "file": path })),
        Format::Table => screen.show(&wrapped(&next, screen.columns)),
    }
    Ok(())
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
