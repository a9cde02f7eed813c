//! What is printed: results on stdout, messages on stderr.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind as Usage;
use serde::Serialize;

/// Prints a result.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to the standard output")
}

/// Prints a result as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}

/// Whether printing failed because whoever read has seen enough, as `head` has.
pub(crate) fn reader_left(printed: Result<()>) -> Result<bool> {
    match printed {
        Err(e) if !is_broken_pipe(&e) => Err(e),
        printed => Ok(printed.is_err()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

/// Tells what happens beside the results. A reader who left misses nothing else.
pub(crate) fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "{}", message.replace(char::is_control, " "));
}

/// Tells an error in one line.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    tell(&format!("error: {error:#}"));
    ExitCode::from(2)
}

/// Prints the help that was asked for, or tells in one line what is wrong with the arguments.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), Usage::DisplayHelp | Usage::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == Usage::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(2);
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let told: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .collect();
    tell(&format!("{}; --help tells more", told.join(" ")));
    ExitCode::from(2)
}

/// No text is shortened to less.
const SHORTEST: usize = 8;

/// Columns of a terminal.
pub(crate) const COLUMNS: usize = 80;

/// Shortens texts in `columns` of a table, the longest first and in their middle, until its lines fit a terminal.
pub(crate) fn narrow(rows: &mut [Vec<String>], columns: &[usize]) {
    let length = |cell: &String| cell.chars().count();
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let total = |limit: usize| -> usize {
        let narrowed =
            |(column, &width)| if columns.contains(&column) { limit.min(width) } else { width };
        widths.iter().enumerate().map(narrowed).sum::<usize>() + 2 * count.saturating_sub(1)
    };
    let limit =
        (SHORTEST..=COLUMNS).rev().find(|&limit| total(limit) <= COLUMNS).unwrap_or(SHORTEST);
    for row in rows {
        for &column in columns {
            row[column] = shortened(&row[column], limit);
        }
    }
}

/// `text` with its middle left out where it is longer than `limit`.
fn shortened(text: &str, limit: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= limit {
        return text.to_owned();
    }
    let end = (limit - 1) / 2;
    let (begin, end) = (&characters[..limit - 1 - end], &characters[characters.len() - end..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

/// Rows of text in columns; columns of `right` are flush right.
pub(crate) fn table(rows: &[Vec<String>], right: &[bool]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..right.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, &width), &right) in row.iter().zip(&widths).zip(right) {
            let _ = if right {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// `text` in lines that fit a terminal; the first and the later ones are indented by so many columns.
pub(crate) fn paragraph([first, later]: [usize; 2], text: &str) -> String {
    let mut lines = vec![" ".repeat(first)];
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let length = |text: &str| text.chars().count();
        let is_full = |line: &String| length(line) + 1 + length(word) > COLUMNS;
        if !is_empty && lines.last().is_some_and(is_full) {
            lines.push(" ".repeat(later));
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
    }
    lines.join("\n") + "\n"
}
