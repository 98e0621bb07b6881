//! Printing: data on standard output, talk on standard error.

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde_json::Value;

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
