//! Printing: data on standard output, talk on standard error.

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::value_of;

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document per line.
    Jsonl,
}

impl Format {
    /// As asked for; else by whether somebody watches.
    pub fn chosen(asked: Option<Self>) -> Self {
        asked.unwrap_or(if std::io::stdout().is_terminal() { Self::Table } else { Self::Json })
    }
}

/// Says something to whoever is watching.
pub fn talk(text: &str) {
    // Nobody may be there to hear it; that is no error.
    if writeln!(std::io::stderr(), "{text}").is_err() {}
}

/// Prints a line of data.
pub fn print(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        // The reader of a pipe is gone: there is nothing left to do.
        std::process::exit(0);
    }
}

/// Prints an answer: one object, or a list of them with these columns.
pub fn show(answer: &Value, columns: &[&str], format: Option<Format>) {
    let rows = match answer.get("data") {
        Some(Value::Array(rows)) => rows.clone(),
        _ => vec![answer.clone()],
    };
    match Format::chosen(format) {
        Format::Json => print(&format!("{answer:#}")),
        Format::Jsonl => rows.iter().for_each(|row| print(&row.to_string())),
        Format::Table if columns.is_empty() || answer.get("data").is_none() => print_object(answer),
        Format::Table => print_table(&rows, columns),
    }
}

/// The same of an answer that holds payloads, samples or schemas: its text is printed as it is but for blanks.
pub fn show_text(answer: &str, columns: &[&str], format: Option<Format>) {
    /// A list.
    #[derive(Deserialize)]
    struct Rows {
        data: Vec<Box<RawValue>>,
    }
    match Format::chosen(format) {
        Format::Table => show(&value_of(answer), columns, Some(Format::Table)),
        Format::Json => print(&indented(answer)),
        Format::Jsonl => match serde_json::from_str::<Rows>(answer) {
            Ok(rows) => rows.data.iter().for_each(|row| print(row.get())),
            Err(_) => print(answer),
        },
    }
}

/// Levels that are indented.
const INDENTED_MOST: usize = 64;

/// JSON with a line for each of its parts, and nothing but blanks between them changed.
fn indented(json: &str) -> String {
    let (mut lines, mut depth, mut is_text, mut is_escaped) = (String::with_capacity(json.len() * 2), 0_usize, false, false);
    let mut rest = json.chars().peekable();
    while let Some(character) = rest.next() {
        if is_text {
            lines.push(character);
            is_text = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                lines.push(character);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    lines.push(end);
                } else {
                    depth += 1;
                    break_line(&mut lines, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut lines, depth);
                lines.push(character);
            }
            ',' => {
                lines.push(character);
                break_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            _ => {
                is_text = character == '"';
                lines.push(character);
            }
        }
    }
    lines
}

fn break_line(lines: &mut String, depth: usize) {
    lines.push('\n');
    // Deeper than anybody reads: what is nested a hundred thousand times is printed all the same.
    lines.extend(std::iter::repeat_n("  ", depth.min(INDENTED_MOST)));
}

fn print_object(answer: &Value) {
    let Some(object) = answer.as_object() else { return print(&text(answer)) };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in object {
        print(&format!("{name:width$}  {}", text(value)));
    }
}

fn print_table(rows: &[Value], columns: &[&str]) {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|name| text(&row[*name])).collect()).collect();
    let width =
        |column: usize| cells.iter().map(|row| row[column].chars().count()).chain([columns[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: Vec<&str>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        print(cells.join("  ").trim_end());
    };
    line(columns.to_vec());
    for row in &cells {
        line(row.iter().map(String::as_str).collect());
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_indented_and_nothing_else() {
        let kept = r#"{"z":1.10,"a":[ 12345678901234567890123,{}, [ ],"\u00fc, \"x\\" ],"e":{"m":1e400}}"#;
        let expected = "{\n  \"z\": 1.10,\n  \"a\": [\n    12345678901234567890123,\n    {},\n    [],\n    \"\\u00fc, \\\"x\\\\\"\n  ],\n  \"e\": {\n    \"m\": 1e400\n  }\n}";
        assert_eq!(indented(kept), expected);
        let value: Value = serde_json::from_str(r#"{"a":{"b":[1,[],{"c":"\"}"}]},"d":""}"#).expect("JSON");
        assert_eq!(indented(&value.to_string()), format!("{value:#}"));
    }
}
