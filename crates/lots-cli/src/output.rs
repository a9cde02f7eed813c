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
