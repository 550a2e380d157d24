//! Lays out text for the terminal.
//!
//! In a pipe, a row is one line with its sentence at the end, which suits `grep`. On a terminal that is too narrow for
//! that, the sentence is below its row, indented and wrapped.

use std::io::IsTerminal;

use comfy_table::{ContentArrangement, Table, presets};
use terminal_size::{Width, terminal_size_of};

/// The minimum width; narrower output would be unreadable.
const COLUMNS_MIN: usize = 40;
const INDENT: &str = "    ";

/// The width of the output in columns; `None` if it is unlimited.
pub(crate) fn columns() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
    let seen = || {
        let out = std::io::stdout();
        let size = if out.is_terminal() { terminal_size_of(out) } else { None };
        size.map(|(Width(columns), _)| usize::from(columns))
    };
    told.or_else(seen).map(|columns| columns.max(COLUMNS_MIN))
}

/// One row: short cells, and a sentence that may be long.
pub(crate) struct Row {
    pub(crate) cells: Vec<String>,
    pub(crate) sentence: String,
}

/// A table without rules. The last name of the header is the heading of the sentences.
pub(crate) fn table(header: &[&str], rows: Vec<Row>, columns: Option<usize>) -> String {
    let whole = |row: &Row| row.cells.iter().chain([&row.sentence]).cloned().collect();
    let wide = aligned(header, rows.iter().map(whole).collect());
    let fits = |columns: usize| wide.lines().all(|line| line.chars().count() <= columns);
    let Some(columns) = columns.filter(|columns| !fits(*columns)) else { return wide };
    let (_, short_header) = header.split_last().unwrap_or((&"", header));
    let (cells, sentences): (Vec<_>, Vec<_>) = rows.into_iter().map(|row| (row.cells, row.sentence)).unzip();
    let narrow = aligned(short_header, cells);
    let mut lines = narrow.lines();
    let mut text: Vec<String> = lines.next().map(str::to_owned).into_iter().collect();
    for (line, sentence) in lines.zip(sentences) {
        text.push(line.to_owned());
        text.push(wrapped(&format!("{INDENT}{sentence}"), Some(columns)));
    }
    text.join("\n")
}

fn aligned(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    for row in rows {
        // A line break inside a cell would split the row.
        table.add_row(row.into_iter().map(|cell| cell.replace('\n', " ")));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Wraps each line of the text between words, and keeps the line's indentation.
pub(crate) fn wrapped(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    text.lines().map(|line| wrapped_line(line, columns)).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, columns: usize) -> String {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    let mut wrapped = String::new();
    let mut used = 0;
    for word in body.split_whitespace() {
        let letters = word.chars().count();
        if used > 0 && used + 1 + letters <= columns {
            wrapped.push(' ');
            used += 1;
        } else {
            if used > 0 {
                wrapped.push('\n');
            }
            wrapped.push_str(indent);
            used = indent.chars().count();
        }
        wrapped.push_str(word);
        used += letters;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |vendor: &str, sentence: &str| Row {
            cells: vec![vendor.to_owned(), "ok".to_owned()],
            sentence: sentence.to_owned(),
        };
        vec![
            row("acme", "the key is young and nothing needs to be done for it before long"),
            row("b", "fine"),
        ]
    }

    #[test]
    fn a_table_row_is_one_line_when_the_terminal_is_wide() {
        let wide = table(&["VENDOR", "STATE", "WHY"], rows(), None);
        assert_eq!(wide.lines().count(), 3);
        assert_eq!(wide, table(&["VENDOR", "STATE", "WHY"], rows(), Some(100)));
        assert!(wide.ends_with("b       ok     fine"), "{wide}");
    }

    #[test]
    fn a_sentence_goes_below_its_row_in_a_narrow_terminal() {
        let narrow = table(&["VENDOR", "STATE", "WHY"], rows(), Some(40));
        let expect = "VENDOR  STATE\nacme    ok\n    the key is young and nothing needs\n    to be done for it before long\n\
                      b       ok\n    fine";
        assert_eq!(narrow, expect);
    }

    #[test]
    fn a_word_that_is_too_long_gets_a_line_of_its_own() {
        assert_eq!(wrapped("  a bbbbbbbbbb c", Some(6)), "  a\n  bbbbbbbbbb\n  c");
        assert_eq!(wrapped("x\n\ny", Some(6)), "x\n\ny");
    }
}
